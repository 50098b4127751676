"""An agent program that does what its query says, in the words of Claude Code or of Codex (with --codex as first argument)."""
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

args = sys.argv[1:]
if args == ["--version"]:
    print("9.8.7 (fake)")
    sys.exit(0)
codex = args[:1] == ["--codex"]
query = args[-1]
resumed = "--resume" in args
session = "thread-1" if codex else args[args.index("--resume" if resumed else "--session-id") + 1]


def say(event):
    print(json.dumps(event), flush=True)


def begin():
    if codex:
        say({"type": "thread.started", "thread_id": session})
    else:
        say({"type": "system", "subtype": "init", "session_id": session, "claude_code_version": "9.8.7"})


def text(words):
    say({"type": "assistant", "message": {"model": "m", "content": [{"type": "text", "text": words}]}})


def tool(number, command):
    block = {"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {"command": command}}
    say({"type": "assistant", "message": {"model": "m", "content": [block]}})


def tool_end(number, words, wrong=False):
    block = {"type": "tool_result", "tool_use_id": f"t{number}", "content": words, "is_error": wrong}
    say({"type": "user", "message": {"content": [block]}})


def end(words, error=False, **more):
    say({"type": "result", "subtype": "success", "is_error": error, "result": words, **more})


def ask(words="hello", key=None):
    body = {"model": os.environ["ANTHROPIC_MODEL"], "max_tokens": 100, "messages": [{"role": "user", "content": words}]}
    headers = {"content-type": "application/json", "x-api-key": key or os.environ["ANTHROPIC_API_KEY"]}
    address = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def tools(method, params=None, key=None, body=None):
    """One message to the tools that it is handed."""
    body = body or json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}).encode()
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "authorization": "Bearer " + (key or os.environ["ANTHROPIC_API_KEY"]),
    }
    request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/mcp", body, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code


def call(name, **arguments):
    """What a tool that it is handed says; it is printed like those of its own."""
    block = {"type": "tool_use", "id": name, "name": "mcp__bgagent__" + name, "input": arguments}
    say({"type": "assistant", "message": {"model": "m", "content": [block]}})
    answer = tools("tools/call", {"name": name, "arguments": arguments})["result"]
    return ("error: " if answer["isError"] else "") + answer["content"][0]["text"]


def attempt(what):
    try:
        return what()
    except Exception as error:  # what is refused is what is asked about
        return f"refused: {type(error).__name__}"


def write(path, words):
    with open(path, "w") as file:
        file.write(words)
    return "written"


# the last line of the query is what is to be done
doing, _, about = query.splitlines()[-1].partition(" ")

if doing == "good":
    begin()
    text("I look first.")
    tool(1, "ls")
    ask()
    tool_end(1, "a\nb")
    ask("again")
    text("All is done.")
    end("All is done.")
elif doing == "context":
    begin()
    ask()
    told = attempt(lambda: open(os.path.join(os.environ["HOME"], ".claude/CLAUDE.md")).read())
    for place in re.findall(r"\(read `([^`]+)`\)", told):
        told += attempt(lambda: open(place).read())
    end(told)
elif doing in ("session", "session-breaks"):
    begin()
    ask()
    if doing == "session-breaks":
        sys.exit(3)
    folder = os.path.join(os.environ["HOME"], ".claude")
    place = os.path.join(folder, "projects/work", session + ".jsonl")
    turns = len(open(place).readlines()) if os.path.exists(place) else 0
    settings = os.path.exists(os.path.join(folder, "settings.json"))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "a") as file:
        file.write("a turn\n")
    write(os.path.join(folder, "settings.json"), "{}")
    end(json.dumps({"resumed": resumed, "session": session, "turns": turns, "settings": settings, "query": query}))
elif doing == "environment":
    begin()
    ask()
    everything = "\n".join(f"{name}={value}" for name, value in os.environ.items())
    end(everything + "\n" + " ".join(args))
elif doing == "ask":
    begin()
    for _ in range(int(about)):
        ask()
    text("All is done.")
    end("All is done.")
elif doing == "nothing":
    ask()
elif doing == "exit1":
    begin()
    ask()
    end("All is done.")
    sys.exit(1)
elif doing == "denied":
    begin()
    ask()
    end("All is done.", permission_denials=[{"tool_name": "Bash"}])
elif doing == "unasked":
    begin()
    end("All is done.")
elif doing == "silent":
    time.sleep(1000)
elif doing == "reconnects":
    begin()
    number = 0
    while True:
        number += 1
        say({"type": "error", "message": f"Reconnecting... {number}/5"})
        time.sleep(0.05)
elif doing == "stubborn":
    # says what it is, ignores that it is to end, leaves something behind, and asks on
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    begin()
    ask()
    left = subprocess.Popen(["sleep", "12345"], start_new_session=True)
    tool(1, f"{os.getpid()} {left.pid}")
    while True:
        ask("on and on")
        time.sleep(0.05)
elif doing == "reach":
    begin()
    ask()
    import socket

    secret, outside, port = about.split()
    told = {
        "state": attempt(lambda: open(secret).read()),
        "outside": attempt(lambda: write(outside, "x")),
        "net": attempt(lambda: socket.create_connection(("127.0.0.1", int(port)), 5) and "connected"),
        "work": attempt(lambda: write("made.txt", "made here")),
        "key": ask(key="sk-guessed").get("error", {}).get("message", "taken"),
    }
    end(json.dumps(told))
elif doing == "handed":
    begin()
    ask()
    told = {
        "version": tools("initialize", {"protocolVersion": "2025-06-18"})["result"]["protocolVersion"],
        "names": [tool["name"] for tool in tools("tools/list")["result"]["tools"]],
        "notice": tools("notifications/initialized", body=b'{"jsonrpc":"2.0","method":"notifications/initialized"}'),
        "kept": call("remember", key="k", text="v"),
        "recalled": call("recall"),
        "refused": call("say", command="hello"),
        "unknown": call("delete_all"),
        "wrong": call("remember", key=7),
        "guessed": tools("tools/list", key="sk-guessed"),
        "garbage": tools("", body=b"{")["error"]["code"],
        "huge": attempt(lambda: tools("", body=b"[" + b" " * (1 << 20) + b"]")),
    }
    end(json.dumps(told))
elif doing == "uses":
    # asks before each use of a tool of its own; once it goes on, it does again what it was ended in
    begin()
    ask()

    def may(tool_name, **arguments):
        answer = tools("tools/call", {"name": "permission", "arguments": {"tool_name": tool_name, "input": arguments}})
        told = json.loads(answer["result"]["content"][0]["text"])
        return told["behavior"] + (": " + told["message"] if "message" in told else "")

    end(
        json.dumps(
            {
                "asked": "--permission-prompt-tool" in args,
                "names": [tool["name"] for tool in tools("tools/list")["result"]["tools"]],
                "test": may("Bash", command="cargo test -q && git status"),
                "push": may("Bash", command="git push", description="x" if resumed else "y"),
                "told": call("outcomes") if resumed else "",
            }
        )
    )
elif doing == "hides":
    # is denied a tool of its own, and says nothing of it
    begin()
    ask()
    for tool_name, arguments in [("Bash", {"command": "cargo test; rm x"}), ("WebFetch", {"url": "http://x"})]:
        answer = tools("tools/call", {"name": "permission", "arguments": {"tool_name": tool_name, "input": arguments}})
        assert json.loads(answer["result"]["content"][0]["text"])["behavior"] == "deny", answer
    end("All is done.")
elif doing == "calls":
    begin()
    ask()
    end(json.dumps([call("recall") for _ in range(int(about))]))
elif doing == "wants":
    # the first attempt is ended in its call; the next one is told what came of it
    begin()
    ask()
    if resumed:
        end(call("outcomes") + "\n" + query)
    else:
        call("remember", key="k", text="v")
        end("nobody was asked")
elif doing == "commit":
    begin()
    ask()

    def git(*words):
        subprocess.run(["git", *words], check=True, stdout=subprocess.DEVNULL)

    if about:
        write("made.txt", "made")
        git("add", "made.txt")
        git("commit", "--quiet", "--message", "made")
        write("left.txt", "left")
        # what would run as the person, were any of it looked at outside
        hook = os.path.abspath(".git/evil")
        write(hook, f"#!/bin/sh\ntouch {about}\n")
        os.chmod(hook, 0o755)
        os.makedirs(".git/hooks", exist_ok=True)
        for name in ["post-commit", "reference-transaction", "post-checkout", "pre-commit"]:
            os.symlink(hook, os.path.join(".git/hooks", name))
        for key in ["core.fsmonitor", "core.sshCommand", "diff.external", "core.pager"]:
            git("config", key, hook)
        for place in ["objects", "hooks/post-merge", "config"]:
            told = attempt(lambda: write(os.path.join(os.path.dirname(about), "app/.git", place, "x"), "x"))
            assert told.startswith("refused"), told
    text("It is done.")
    end("It is done.")
elif doing == "branches":
    begin()
    ask()
    git_quietly = lambda *words: subprocess.run(["git", *words], check=True, stdout=subprocess.DEVNULL)
    git_quietly("checkout", "--quiet", "-b", "fix/side")
    write("side.txt", "side")
    git_quietly("add", "side.txt")
    git_quietly("commit", "--quiet", "--message", "beside")
    git_quietly("checkout", "--quiet", "main")
    text("It is done.")
    end("It is done.")
elif doing == "blocks":
    # nothing can be put where its bundle is to be
    begin()
    ask()
    write("made.txt", "made")
    os.makedirs(os.path.join(os.environ["TMPDIR"], "result.bundle", "x"))
    text("It is done.")
    end("It is done.")
elif doing == "commit-and-wait":
    begin()
    ask()
    write("made.txt", "made")
    subprocess.run(["git", "add", "made.txt"], check=True)
    subprocess.run(["git", "commit", "--quiet", "--message", "made"], check=True)
    tool(1, "make")
    time.sleep(1000)
elif doing == "leak":
    # what is known as a secret, in a form that is one only when it is read
    begin()
    ask()
    line = json.dumps({"type": "result", "subtype": "success", "is_error": False, "result": "told: ?"})
    print(line.replace("?", "".join(f"\\u{ord(letter):04x}" for letter in about)), flush=True)
elif doing == "builds":
    # a tool that is silent for longer than `idle`
    begin()
    ask()
    tool(1, "make")
    time.sleep(4)
    tool_end(1, "made")
    ask()
    text("It is built.")
    end("It is built.")
elif doing == "forgets":
    # the first attempt is in a call; what has its session to go on with knows nothing of it
    if resumed:
        sys.exit("No conversation found with session ID: " + session)
    mark = os.path.join(os.environ["HOME"], "began")
    if os.path.exists(mark):
        begin()
        ask()
        end("anew in " + session)
    else:
        write(mark, session)
        begin()
        ask()
        tool(1, "make install")
        time.sleep(1000)
elif doing == "floods":
    begin()
    ask()
    for number in range(10100):
        say({"type": "assistant", "message": {"model": "m", "content": [{"type": "thinking", "thinking": str(number)}]}})
    text("All is said.")
    end("All is said.")
elif doing == "remember":
    # the first attempt leaves something in its home, and a call in flight; the next one must find it
    mark = os.path.join(os.environ["HOME"], "session")
    begin()
    ask()
    if resumed:
        text("found " + attempt(lambda: open(mark).read()) + " in " + session + "\n" + query)
        end("found " + attempt(lambda: open(mark).read()) + " in " + session + "\n" + query)
    else:
        write(mark, session)
        tool(1, "make install")
        time.sleep(1000)
else:
    sys.exit(f"what is `{doing}`?")
