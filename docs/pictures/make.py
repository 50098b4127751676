#!/usr/bin/env python3
"""Makes the pictures of this folder from a real daemon: a fleet in which things go wrong, over MINUTES, then what `bgagent why`
says of it in a terminal, and the page for the browser in light and dark.

    docs/pictures/make.py [--bgagent target/release/bgagent] [--minutes 60]

Needs chromium and chromedriver. Everything is in a folder of its own, and ends with the script.
"""
import argparse
import base64
import fcntl
import html
import http.server
import json
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess
import tempfile
import termios
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent

FLEET = """
[daemon]
max_parallel_runs = 8

[agents.backup]
description = "the database, to the other disk"
interval = "6m"
command = "sleep 3; echo 48210 rows"

[agents.disk-report]
interval = "2m"
command = ["df", "-h", "/"]

[agents.etl-orders]
description = "orders of the shop, as Parquet"
interval = "5m"
command = "rm -f orders.parquet; test $(($(date +%s) / 300 % 3)) = 0 || echo data > orders.parquet"
success_when = [{ command = ["test", "-s", "orders.parquet"] }]

[agents.transcode]
interval = "4m"
timeout = "20s"
command = "sleep $((5 + $(date +%s) / 240 % 4 * 7))"

[agents.log-rotate]
interval = "1m"
gate = { command = "test $(($(date +%s) / 60 % 7)) -lt 2" }
command = ["true"]

[agents.price-check]
description = "prices of the competition"
interval = "90s"
command = "test $(($(date +%s) % 1500)) -lt 1000 || { echo 'HTTP 503 from shop.example' >&2; exit 1; }"
retry = { max = 1, initial = "5s" }

[agents.triage]
on = { event = "incident_opened" }
overlap = "parallel"
command = "sleep 2; echo looked into it"

[agents.mail-digest]
cron = "*/10 * * * *"
command = "sleep 8; echo 12 messages"

[agents.lead-scorer]
description = "scores new leads"
interval = "3m"
query = "Score the newest lead from 0 to 100, in one line."
model = "small"
usd_per_day = 0.03

[models.small]
provider = "openai-compatible"
model = "qwen2.5-coder-1.5b-instruct"
base_url = "http://127.0.0.1:PORT/v1"
price = { input = 2.0, output = 8.0 }
max_output_tokens = 300
"""

# What goes wrong from outside, as a part of the time: (when, what).
DOWN_AT, UP_AT, PAUSED_AT = 0.30, 0.42, 0.72


class Model(http.server.BaseHTTPRequestHandler):
    """What a model's endpoint answers."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": "Lead 4711: 62, a company of 40 that asked for a price."}
        body = json.dumps({
            "id": "1", "object": "chat.completion", "created": int(time.time()), "model": "qwen2.5-coder-1.5b-instruct",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 212, "completion_tokens": 190, "total_tokens": 402},
        }).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Fleet:
    """A daemon in a folder of its own."""

    def __init__(self, program, folder, port):
        self.folder = folder
        (folder / "home").mkdir()
        self.program = [str(program), "--config", str(folder / "agents.toml"), "--state-dir", str(folder / "state")]
        (folder / "agents.toml").write_text(FLEET.replace("PORT", str(port)))
        keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.environment = keep | {"HOME": str(folder / "home"), "TZ": "UTC", "TERM": "xterm-256color"}
        self.daemon = None

    def start(self):
        log = open(self.folder / "log", "ab")
        self.daemon = subprocess.Popen([*self.program, "daemon", "--trust"], env=self.environment, stdout=log, stderr=log)
        while subprocess.run([*self.program, "status"], env=self.environment, capture_output=True).returncode:
            assert self.daemon.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.2)

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()

    def say(self, *arguments):
        """What a command prints on a terminal of 104 columns."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 104, 0, 0))
        asked = subprocess.Popen([*self.program, *arguments], env=self.environment, stdin=its, stdout=its, stderr=its)
        os.close(its)
        said = b""
        try:
            while more := os.read(ours, 65536):
                said += more
        except OSError:  # its other end is closed
            pass
        os.close(ours)
        asked.wait()
        return said.decode().replace("\r\n", "\n")

    def stop(self):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.terminate()
            self.daemon.wait()


class Browser:
    """Chromium, by WebDriver."""

    def __init__(self, scale):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        port = next(int(found[1]) for line in self.driver.stdout if (found := re.search(r"on port ([1-9]\d*)", line)))
        self.base = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--hide-scrollbars", f"--force-device-scale-factor={scale}"]
        options = {"goog:chromeOptions": {"args": arguments}}
        self.base += "/session/" + self.ask("/session", {"capabilities": {"alwaysMatch": options}})["sessionId"]

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["value"]

    def look(self, url, width, height, file, scheme="light"):
        emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.command("Emulation.setEmulatedMedia", emulated)
        self.command("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 0, "mobile": False})
        self.ask("/url", {"url": url})
        time.sleep(2)
        file.write_bytes(base64.b64decode(self.ask("/screenshot")))
        print(file.name, file.stat().st_size)

    def command(self, name, parameters):
        self.ask("/goog/cdp/execute", {"cmd": name, "params": parameters})

    def end(self):
        urllib.request.urlopen(urllib.request.Request(self.base, method="DELETE")).close()
        self.driver.terminate()
        self.driver.wait()


COLOURS = {30: "#6b7280", 31: "#ff7d70", 32: "#43c294", 33: "#e8ae45", 34: "#7db7ff", 35: "#cda2f5", 36: "#5cc8d7", 90: "#8b95a3"}


def coloured(text):
    """A terminal's output as HTML."""
    out, opened = [], 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", text):
        if not part.startswith("\x1b"):
            out.append(html.escape(part))
            continue
        codes = [int(code or 0) for code in part[2:-1].split(";")]
        if 0 in codes or codes == [39]:
            out.append("</span>" * opened)
            opened = 0
        styles = [f"color:{COLOURS[code % 60 + 30 if 90 < code < 98 else code]}" for code in codes if code in COLOURS or 90 < code < 98]
        styles += ["font-weight:bold"] * (1 in codes) + ["opacity:.7"] * (2 in codes)
        if styles:
            out.append(f'<span style="{";".join(styles)}">')
            opened += 1
    return "".join(out) + "</span>" * opened


TERMINAL = """<!doctype html><meta charset=utf-8><style>
body{margin:0;background:#0e1116;color:#e7ebf1;font:15px/1.45 'DejaVu Sans Mono',monospace}
pre{margin:0;padding:18px 22px;font:inherit;white-space:pre}
b{color:#43c294}</style><pre>%s</pre>"""


def terminal(browser, folder, asked, file):
    """A picture of a terminal in which these commands were asked."""
    lines = "\n".join(f"<b>$</b> bgagent {html.escape(' '.join(words))}\n{coloured(said.rstrip())}" for words, said in asked)
    page = folder / "terminal.html"
    page.write_text(TERMINAL % lines)
    rows = lines.count("\n") + 1
    browser.look(page.as_uri(), 990, int(rows * 21.75) + 36, file, "dark")


def page(browser, fleet, path, file, scheme):
    """A picture of a page: its link works once."""
    ui = subprocess.Popen([*fleet.program, "ui"], env=fleet.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    try:
        link = next(line.split()[0] for line in ui.stdout if line.startswith("http://127.0.0.1"))
        browser.ask("/url", {"url": link})
        browser.look(link.split("/open")[0] + path, 1180, 610, file, scheme)
    finally:
        ui.terminate()
        ui.wait()


def questions(fleet):
    """Five answers that differ, each of the newest slot that has it."""
    wanted = {"lead-scorer": "usd_per_day", "etl-orders": "proof", "transcode": "timed out", "log-rotate": "not running",
              "mail-digest": "moves"}
    now = time.time()
    times = [()] + [(time.strftime("%H:%M", time.gmtime(now - 60 * ago)),) for ago in range(60)]
    asked = []
    for agent, part in wanted.items():
        said = ((["why", agent, *when], fleet.say("why", agent, *when)) for when in times)
        found = next((one for one in said if part in one[1]), None)
        if found is None:
            print(f"{agent}: no slot of the last hour is about `{part}`")
        else:
            asked.append(found)
    return asked


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bgagent", type=pathlib.Path, default=HERE.parent.parent / "target/release/bgagent")
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bgagent-pictures-"))
    model = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    fleet = Fleet(options.bgagent.resolve(), folder, model.server_port)
    began = time.time()

    def until(part):
        time.sleep(max(0, began + part * options.minutes * 60 - time.time()))

    try:
        fleet.start()
        until(DOWN_AT)
        fleet.kill()
        until(UP_AT)
        fleet.start()
        until(PAUSED_AT)
        fleet.say("pause", "mail-digest", "--reason", "the mail server moves")
        until(1)
        browser = Browser(1)
        try:
            terminal(browser, folder, questions(fleet), HERE / "why.png")
            for scheme in ("light", "dark"):
                page(browser, fleet, "/timeline", HERE / f"timeline-{scheme}.png", scheme)
        finally:
            browser.end()
    finally:
        fleet.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
