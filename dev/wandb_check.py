"""Has the real W&B client read an offline run that train/tracking/wandb wrote.

  wandb_check.py

writes a run with the Go test TestWriteForCheck, and compares every history row, the config, the summary, the output
and the exit code with what was written:
  - through the client's own reader of .wandb files, in versions that have it in Python (0.19 has, 0.31 has not),
  - through "wandb sync", which uploads the run to a server of this script on 127.0.0.1 that takes it down.
Nothing leaves the machine.

Needs: pip install wandb
"""

import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import wandb
import yaml

ROOT = Path(__file__).resolve().parent.parent
OWN = ("_runtime", "_timestamp", "_wandb")  # keys whose values depend on the clock

failures = []


def check(what, got, want):
    if not same(got, want):
        failures.append(what)
        print(f"  WRONG {what}: {str(got)[:300]}, want {str(want)[:300]}")


def same(a, b):
    """Equality in which NaN is NaN, in either of its forms."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    a, b = number(a), number(b)
    both = isinstance(a, float) and isinstance(b, float)
    return a == b or (both and math.isnan(a) and math.isnan(b))


def number(v):
    return float(v) if v in ("NaN", "Infinity", "-Infinity") else v


def without_clock(row):
    for key in ("_runtime", "_timestamp"):
        if not isinstance(row.get(key), (int, float)):
            failures.append(key)
            print(f"  WRONG {key} is {row.get(key)!r}")
    return {k: v for k, v in row.items() if k not in OWN}


def last_values(rows):
    summary = {}
    for row in rows:
        summary.update(row)
    return summary


def write_run(folder):
    subprocess.run(
        ["go", "test", "./train/tracking/wandb", "-count=1", "-run", "^TestWriteForCheck$", "-args", "-wandb.dir", folder],
        cwd=ROOT, check=True,
    )
    return json.loads((Path(folder) / "expected.json").read_text())


def check_reader(want):
    """Reads the records with the client's Python reader."""
    try:
        wandb._assert_is_internal_process = True
        from wandb.sdk.internal.datastore import DataStore
    except ImportError:
        print(f"reader: wandb {wandb.__version__} has none in Python, left out")
        return
    from wandb.proto import wandb_internal_pb2

    store = DataStore()
    store.open_for_scan(want["file"])
    rows, config, summary, output, kinds, run, exit_code = [], {}, {}, [], [], None, None
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        kinds.append(kind)
        check("number of a record", record.num, len(kinds))
        if kind == "history":
            row = {i.key: json.loads(i.value_json) for i in record.history.item}
            check("step of a history record", record.history.step.num, row["_step"])
            rows.append(without_clock(row))
        elif kind == "run":
            run = record.run
            config.update({i.key: json.loads(i.value_json) for i in run.config.update})
        elif kind == "config":
            config.update({i.key: json.loads(i.value_json) for i in record.config.update})
        elif kind == "summary":
            summary = {i.key: json.loads(i.value_json) for i in record.summary.update}
        elif kind == "output_raw":
            output.append(record.output_raw.line)
        elif kind == "exit":
            exit_code = record.exit.exit_code
    check("first records", kinds[:2], ["header", "run"])
    check("last records", kinds[-3:], ["exit", "final", "footer"])
    check("rows", rows, want["rows"])
    check("config", config, want["config"])
    check("summary", without_clock(summary), last_values(want["rows"]))
    check("output", [line.rstrip("\n") for line in output], want["output"])
    check("exit code", exit_code, want["exit"])
    for name, value in want["run"].items():
        got = getattr(run, name)
        check(name, list(got) if name == "tags" else got, value)
    print(f"reader: wandb {wandb.__version__} read {len(kinds)} records, {len(rows)} rows")


def check_files(want):
    """Reads what lies beside the records."""
    files = Path(want["dir"]) / "files"
    config = yaml.safe_load((files / "config.yaml").read_text())
    check("config.yaml", {k: v["value"] for k, v in config.items()}, want["config"])
    summary = json.loads((files / "wandb-summary.json").read_text())
    check("wandb-summary.json", without_clock(summary), last_values(want["rows"]))
    check("output.log", (files / "output.log").read_text().splitlines(), want["output"])
    check("wandb-metadata.json", json.loads((files / "wandb-metadata.json").read_text())["args"], ["train", "quickstart"])
    print("files: config.yaml, wandb-summary.json, output.log and wandb-metadata.json compared")


class Service(ThreadingHTTPServer):
    """Takes down what a client uploads."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.streams, self.uploads, self.variables, self.end = {}, {}, {}, None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may close as it likes
            super().handle_error(request, client_address)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def graphql(self, request):
        query, variables = request["query"], request.get("variables") or {}
        if "upsertBucket" in query:
            self.variables.update({k: v for k, v in variables.items() if v is not None})
            project = {"id": "1", "name": self.variables["project"], "entity": {"id": "2", "name": "team"}}
            bucket = {"id": "3", "name": variables["name"], "displayName": "", "description": None, "config": None,
                      "sweepName": None, "project": project, "historyLineCount": 0}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "createRunFiles" in query:
            files = [{"name": n, "uploadUrl": f"{self.address}/upload/{n}"} for n in variables["files"]]
            return {"createRunFiles": {"runID": "3", "uploadHeaders": [], "files": files}}
        if "viewer" in query:
            return {"viewer": {"id": "4", "entity": "team", "username": "user", "flags": "{}", "teams": {"edges": []}},
                    "serverInfo": {"cliVersionInfo": {"max_cli_version": wandb.__version__}}}
        if "project" in query and "bucket" in query:
            return {"model": {"bucket": None}, "project": None}
        return {"serverInfo": {"features": []}}

    def stream(self, request):
        for name, part in (request.get("files") or {}).items():
            lines = self.streams.setdefault(name, [])
            lines[part["offset"]:] = part["content"]
        if request.get("complete"):
            self.end = request


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        answer = {}
        if self.path.startswith("/upload/"):
            self.server.uploads[self.path.removeprefix("/upload/")] = body
        elif self.path.endswith("/file_stream"):
            self.server.stream(json.loads(body))
        else:
            answer = {"data": self.server.graphql(json.loads(body))}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PUT = do_POST

    def log_message(self, *_):
        pass


def check_sync(want):
    """Has "wandb sync" upload the run."""
    service = Service()
    env = os.environ | {"WANDB_BASE_URL": service.address, "WANDB_API_KEY": "0" * 40, "WANDB_ERROR_REPORTING": "false"}
    sync = subprocess.run([sys.executable, "-m", "wandb", "sync", want["dir"]], env=env, cwd=want["dir"],
                          capture_output=True, text=True, timeout=120)
    check("exit code of wandb sync", sync.returncode, 0)
    if sync.returncode:
        print(sync.stdout, sync.stderr)
    rows = [without_clock(json.loads(line)) for line in service.streams.get("wandb-history.jsonl", [])]
    check("uploaded rows", rows, want["rows"])
    summary = json.loads((service.streams.get("wandb-summary.json") or ["{}"])[-1])
    check("uploaded summary", without_clock(summary), last_values(want["rows"]))
    config = {k: v["value"] for k, v in json.loads(service.variables.get("config", "{}")).items() if k != "_wandb"}
    check("uploaded config", config, want["config"])
    for ours, theirs in {"run_id": "name", "project": "project", "display_name": "displayName", "run_group": "groupName",
                         "job_type": "jobType", "notes": "notes", "tags": "tags"}.items():
        check(f"uploaded {theirs}", service.variables.get(theirs), want["run"][ours])
    check("uploaded exit code", (service.end or {}).get("exitcode"), want["exit"])
    output = service.uploads.get("output.log", b"").decode() or "\n".join(service.streams.get("output.log", []))
    for line in want["output"]:
        check(f"uploaded output {line!r}", line in output, True)
    print(f"sync: wandb {wandb.__version__} uploaded {len(rows)} rows, exit code {(service.end or {}).get('exitcode')}, files {sorted(service.uploads)}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        want = write_run(folder)
        check_files(want)
        check_reader(want)
        check_sync(want)
    print("WRONG: " + ", ".join(failures) if failures else "all equal")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
