# An MCP server over stdio with one tool that changes something: it appends to a witness file. With a text
# that begins with "slow" it then does not answer.
import json, sys, time

def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()

for line in sys.stdin:
    call = json.loads(line)
    method, ident = call.get("method"), call.get("id")
    if method == "initialize":
        say({"jsonrpc": "2.0", "id": ident, "result": {
            "protocolVersion": call["params"]["protocolVersion"], "capabilities": {"tools": {}},
            "serverInfo": {"name": "witness", "version": "1"}}})
    elif method == "tools/list":
        say({"jsonrpc": "2.0", "id": ident, "result": {"tools": [{
            "name": "write", "description": "Writes a line.",
            "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "annotations": {"destructiveHint": False}}]}})
    elif method == "tools/call":
        text = call["params"]["arguments"]["text"]
        with open(sys.argv[1], "a") as witness:
            witness.write(text + "\n")
        if text.startswith("slow"):
            time.sleep(600)
        say({"jsonrpc": "2.0", "id": ident, "result": {"content": [{"type": "text", "text": "written"}]}})
    elif ident is not None:
        say({"jsonrpc": "2.0", "id": ident, "error": {"code": -32601, "message": "no such method"}})
