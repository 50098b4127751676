"""A model on all four wires that calls the tool whose name ends with `remember` once, and then says what it gave.

It prints its port on its first line, and each request that has tools as a line of JSON in the file that is its argument."""
import http.server
import json
import sys
import uuid

ARGS = {"key": "k", "text": "from the model"}
# calls to make one after the other instead, each with the end of the tool's name and its arguments (Messages only)
CALLS = json.loads(sys.argv[2]) if len(sys.argv) > 2 else None


def results(request):
    return [
        block
        for message in request.get("messages", [])
        if isinstance(message.get("content"), list)
        for block in message["content"]
        if block.get("type") == "tool_result"
    ]


def next_call(request):
    """The next of the calls; None: all were made."""
    made = len(results(request))
    return CALLS[made] if made < len(CALLS) else None


def tool_named(request, ending="remember"):
    """Name and namespace of the tool, as the request writes them."""
    for tool in request.get("tools", []):
        inner = tool.get("functionDeclarations") or tool.get("tools") or [tool.get("function", tool)]
        for one in inner:
            if str(one.get("name", "")).endswith(ending):
                return one["name"], tool.get("name") if tool.get("type") == "namespace" else None
    return None, None


def given(request):
    """What the tool gave, as the request tells it; None: it was not called yet."""
    text = json.dumps(request)
    return "kept" if '\\"kept\\":true' in text or '\\\\\\"kept\\\\\\":true' in text else None


def event(body):
    return f"event: {body['type']}\ndata: {json.dumps(body)}\n\n"


def messages(name, space, words, args=ARGS):
    block = {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex}", "name": name, "input": {}} if name else {"type": "text", "text": ""}
    delta = (
        {"type": "input_json_delta", "partial_json": json.dumps(args)} if name else {"type": "text_delta", "text": words}
    )
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    return "".join(
        event(body)
        for body in [
            {"type": "message_start", "message": {**start, "usage": {"input_tokens": 10, "output_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use" if name else "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 10},
            },
            {"type": "message_stop"},
        ]
    )


def responses(name, space, words):
    if name:
        item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": json.dumps(ARGS)}
        if space:
            item["namespace"] = space
    else:
        content = [{"type": "output_text", "text": words, "annotations": []}]
        item = {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": content}
    delta = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": words}
    usage = {"input_tokens": 10, "output_tokens": 10, "total_tokens": 20}
    whole = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [item], "usage": usage}
    return "".join(
        event(body)
        for body in [
            {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            *([] if name else [delta]),
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": whole},
        ]
    )


def chat(name, space, words):
    delta = {"role": "assistant", "content": words}
    if name:
        function = {"name": name, "arguments": json.dumps(ARGS)}
        delta = {"role": "assistant", "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if name else "stop"}]},
        {**head, "choices": [], "usage": usage},
    ]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def gemini(name, space, words):
    part = {"functionCall": {"name": name, "args": ARGS}} if name else {"text": words}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 10, "totalTokenCount": 20}
    candidate = {"content": {"role": "model", "parts": [part]}, "index": 0, "finishReason": "STOP"}
    return f"data: {json.dumps({'candidates': [candidate], 'usageMetadata': usage})}\r\n\r\n"


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_GET(self):
        self.answer("application/json", '{"data": [], "models": []}')

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        path = self.path
        if "count_tokens" in path or ":countTokens" in path:
            return self.answer("application/json", '{"input_tokens": 10, "totalTokens": 10}')
        wire = gemini if "enerateContent" in path else messages if "/messages" in path else responses if "/responses" in path else chat
        (name, space), known = tool_named(request), given(request)
        if request.get("tools"):
            with open(sys.argv[1], "a") as seen:
                seen.write(json.dumps(request) + "\n")
        if CALLS is not None and wire is messages:
            call = next_call(request) if request.get("tools") else None
            name = tool_named(request, call[0])[0] if call else None
            words = json.dumps([block.get("content") for block in results(request)])
            return self.answer("text/event-stream", messages(name, None, words, call[1] if call else None))
        words = f"The note is {known}." if known else "There is no such tool."
        self.answer("text/event-stream", wire(None if known else name, space, words))

    def answer(self, kind, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
print(server.server_address[1], flush=True)
server.serve_forever()
