"""An MCP server with the Events extension for the tests: `server.py FOLDER [http]`.

Its events are the lines of FOLDER/events, each a JSON occurrence; a cursor is how many of them have been. It misbehaves by the words
in FOLDER/fault, which is read anew for each message. Each `events/poll` is noted in FOLDER/polls.
"""

import http.server
import json
import os
import sys
import time

FOLDER = sys.argv[1]
NAME = "issue.opened"
EXTENSION = "io.modelcontextprotocol/events"


def read(name):
    path = os.path.join(FOLDER, name)
    return open(path).read() if os.path.exists(path) else ""


def faults():
    return read("fault").split()


def note(name, what):
    # one write for each line, so that a kill leaves whole lines
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write(what + "\n")


def occurrences():
    lines = [line for line in read("events").split("\n")[:-1] if line]
    events = [json.loads(line) for line in lines]
    stamp = {"name": NAME, "timestamp": "2026-11-30T09:00:00Z"}
    return [{**stamp, **event} if isinstance(event, dict) else event for event in events]


def error(code, message):
    return {"error": {"code": code, "message": message}}


def poll(params):
    note("polls", json.dumps(params))
    wrong = faults()
    all_events, cursor = occurrences(), params.get("cursor")
    if "slow" in wrong:
        time.sleep(3600)
    if "die" in wrong:
        sys.stderr.write("upstream is gone\n")
        sys.stderr.flush()
        os._exit(3)
    if "forbidden" in wrong:
        return error(-32012, "not for you")
    if "fails" in wrong:
        return error(-32603, "upstream \x1b[31mfailed\x1b[0m\nreally")
    if "args" in wrong or params["name"] != NAME:
        return error(-32602, "arguments do not fit")
    if "endless" in wrong:
        return {"result": {"events": [], "cursor": str(time.time_ns()), "hasMore": True, "nextPollMs": 0}}
    if "null" in wrong:
        given = int(read("given") or 0)
        with open(os.path.join(FOLDER, "given"), "w") as file:
            file.write(str(len(all_events)))
        return {"result": {"events": all_events[given:], "cursor": None, "hasMore": False}}
    if cursor is None:
        # from now on
        return {"result": {"events": [], "cursor": "at %d" % len(all_events), "truncated": False, "hasMore": False}}
    if "refuse" in wrong:
        return error(-32602, "that cursor is not one of ours")
    place = int(cursor.split()[1])
    if "truncate" in wrong:
        place = len(all_events)
        return {"result": {"events": [], "cursor": "at %d" % place, "truncated": True, "hasMore": False}}
    most = len(all_events) if "all" in wrong else params.get("maxEvents", 50)
    end = min(place + most, len(all_events))
    # some that have been come again
    begin = max(0, place - 5) if "again" in wrong else place
    events = all_events[begin:end]
    if "twice" in wrong:
        events = [event for event in events for _ in range(2)]
    answer = {"events": events, "cursor": "at %d" % end, "truncated": False, "hasMore": end < len(all_events)}
    return {"result": {**answer, "nextPollMs": 0}}


def answer(message):
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        note("hello", json.dumps(params))
        capabilities = {"tools": {}, "extensions": {EXTENSION: {}}}
        if "none" in faults():
            capabilities = {"tools": {}}
        about = {"protocolVersion": "2025-06-18", "capabilities": capabilities}
        return {"result": {**about, "serverInfo": {"name": "t", "version": "1"}}}
    if method == "tools/list":
        return {"result": {"tools": []}}
    if method == "ping":
        return {"result": {}}
    if method == "events/list" and "none" not in faults():
        of = {
            "name": NAME, "description": read("describe") or "An issue was opened.", "delivery": ["push", "poll"],
            "inputSchema": {"type": "object", "properties": {"repo": {"type": "string"}}},
            "payloadSchema": {"type": "object"},
        }
        push = {**of, "name": "issue.closed", "delivery": ["push"]}
        return {"result": {"events": [of, push]}}
    if method == "events/poll" and "none" not in faults():
        return poll(params)
    return error(-32601, "no method " + method)


class Http(http.server.BaseHTTPRequestHandler):
    def send(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "down" in faults():
            return self.send(503, b"")
        if "id" not in message:
            return self.send(202, b"")
        reply = answer(message)
        status = 400 if "error" in reply else 200
        self.send(status, json.dumps({"jsonrpc": "2.0", "id": message["id"], **reply}).encode())

    def do_GET(self):
        self.send(405, b"")

    do_DELETE = do_GET

    def log_message(self, *_):
        pass


if sys.argv[2:] == ["http"]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Http)
    print(server.server_address[1], flush=True)
    server.serve_forever()
if "down" in faults():
    sys.stderr.write("no credentials\n")
    sys.exit(4)
for line in sys.stdin:
    message = json.loads(line)
    if "method" in message and "id" in message:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer(message)}) + "\n")
        sys.stdout.flush()
