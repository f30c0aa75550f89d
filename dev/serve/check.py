"""Uses gojet serve as people do: with the openai package, in a browser, and with clients that are very slow.

  python dev/serve/check.py [--gojet FILE] [--model DIR] [--out DIR] [--chromium PATH] [--skip slow]

builds gojet, trains a small model by its quickstart if none is given (minutes; it stays in OUT), starts gojet serve and checks that
  api    the client completes, chats, streams, cancels, and raises its own exceptions for what the server refuses,
  page   headless Chromium shows the page without a request to anywhere else, streams a chat and a text, stops an answer; the
         screenshots in OUT are for looking at,
  slow   50 clients that send or read a byte a second slow the others by at most 10%.
Exit status 0 means that all of it holds.

Needs: pip install openai playwright; a Chromium (Debian: chromium), whose path is looked up.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import api
import page
import slow

ROOT = Path(__file__).resolve().parent.parent.parent
KEY = "sk-check"
TEMPLATE = "{% for m in messages %}// {{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}// assistant: {% endif %}"


class Server:
    """A running gojet serve."""

    def __init__(self, gojet, model, out, name="serve"):
        args = [gojet, "serve", model, "--port", "0", "--served-model-name", "tiny", "--max-model-len", "2048",
                "--body-timeout", "10m", "--write-timeout", "10m"]
        if not (model / "tokenizer.json").exists():
            (out / "template").write_text(TEMPLATE)
            args += ["--tokenizer", "bytes", "--chat-template", out / "template"]
        self.log = open(out / f"{name}.log", "w")
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, "GOJET_API_KEY": KEY})
        line = self.process.stdout.readline()
        found = re.match(r"serving tiny at (http://(.*):(\d+))$", line.strip())
        if not found:
            sys.exit(f"gojet serve did not begin, see {out / name}.log")
        self.url, self.host, self.port = found[1], found[2], int(found[3])
        self.key = KEY

    def metric(self, name):
        ask = urllib.request.Request(self.url + "/metrics", headers={"Authorization": "Bearer " + KEY})
        text = urllib.request.urlopen(ask).read().decode()
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)[1])

    def settle(self, what="free slots", seconds=60):
        """Waits until nothing is generated or queued."""
        end = time.monotonic() + seconds
        while self.metric("gojet_answers_running") + self.metric("gojet_answers_queued") > 0:
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain for {what}")
            time.sleep(0.02)

    def open_connections(self):
        """How many clients are connected, by the kernel's word."""
        port = f":{self.port:04X}"
        rows = [line.split() for line in open("/proc/net/tcp")][1:]
        return sum(1 for r in rows if r[1].endswith(port) and r[3] == "01")

    def stop(self):
        """Ends the server as a service manager does, and returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.log.close()
        return status


def make_model(gojet, out):
    """A model of bytes that writes something like Go."""
    run = out / "run"
    if not (run / "models" / "student").exists():
        print("training a small model", flush=True)
        shutil.rmtree(run, ignore_errors=True)
        with open(out / "train.log", "w") as log:
            subprocess.run([gojet, "train", "quickstart", f"output={run}", "stages.teacher.steps=300", "stages.align.steps=20", "stages.distill.steps=60"],
                           check=True, stdout=log, stderr=log)
    return run / "models" / "student"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gojet", type=Path, help="the command (default: it is built)")
    p.add_argument("--model", type=Path, help="folder of a model (default: one is trained)")
    p.add_argument("--out", type=Path, default=Path("/tmp/gojet-serve"), help="folder for screenshots, logs and the model")
    p.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    p.add_argument("--skip", action="append", default=[], choices=["api", "page", "slow"])
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    gojet = a.gojet or a.out / "gojet"
    if not a.gojet:
        subprocess.run(["go", "build", "-o", gojet, "./cmd/gojet"], cwd=ROOT, check=True)
    model = a.model or make_model(gojet, a.out)
    server = Server(gojet, model, a.out)
    failed = 0
    try:
        for name, check in [("api", api.check), ("page", lambda s: page.check(s, a.chromium, a.out)), ("slow", lambda s: slow.check(s, lambda: Server(gojet, model, a.out, "quiet")))]:
            if name in a.skip:
                continue
            try:
                print(f"{name}: {check(server)}", flush=True)
                server.settle()
            except Exception as e:  # the other checks go on
                failed += 1
                print(f"{name}: WRONG: {type(e).__name__}: {e}", flush=True)
    finally:
        status = server.stop()
    if status != 0:
        failed += 1
        print(f"end: WRONG: exit status {status} after SIGTERM")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
