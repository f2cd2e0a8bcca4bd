#!/usr/bin/env python3
"""How fast the agent tails and ships, and what memory a thousand files take.

    cargo build --release && python3 benches/agent.py target/release/millrace [lines] [files]

Starts a server and an agent with the stages of tests/configs/exercise-promtail.yaml (or four of them), writes the files before the
agent starts, and measures CPU seconds and resident memory from /proc until the server has every line.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOUR = """
  - json: {expressions: {timestamp: time, level: level, message: message, trace_id: trace_id}}
  - timestamp: {source: timestamp, format: RFC3339Nano}
  - labels: {level: }
  - replace: {expression: '(?P<email>[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\\.[a-zA-Z]{2,})', replace: '***REDACTED_EMAIL***'}
"""
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_mb(pid, name="VmHWM"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024


def exercise_stages():
    text = (ROOT / "tests/configs/exercise-promtail.yaml").read_text()
    return text.split("pipeline_stages:\n", 1)[1].split("\n  ####", 1)[0] + "\n"


def line(at):
    now = time.time_ns() - 600_000_000_000 + at
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000)) + f".{now % 1_000_000_000:09}Z"
    return json.dumps({"time": stamp, "level": ["info", "info", "warning", "error"][at % 4], "logger": "app.http", "event": "http_request",
                       "message": f"request of user{at % 3000}@example.com completed", "trace_id": f"{at // 4:032x}",
                       "span_id": f"{at:016x}", "method": "GET", "path": "/api/v1/predict", "status_code": [200, 200, 404, 500][at % 4],
                       "latency_ms": (at % 900) / 1000, "user_id": f"user-{at % 3000}"}, separators=(",", ":"))


def start(command, log, want):
    child = subprocess.Popen(command, stdout=open(log, "w"), stderr=subprocess.STDOUT)
    for _ in range(300):
        found = re.search(want, pathlib.Path(log).read_text())
        if found:
            return child, found.group(1)
        time.sleep(0.1)
    raise SystemExit(f"{command[1]} did not start: {pathlib.Path(log).read_text()}")


def main():
    program, lines, files = sys.argv[1], int((sys.argv[2:] or ["1000000"])[0]), int((sys.argv[3:] or ["1"])[0])
    for name, stages in [("four", FOUR), ("exercise", exercise_stages())]:
        with tempfile.TemporaryDirectory() as place:
            place = pathlib.Path(place)
            (place / "in").mkdir()
            size = 0
            for file in range(files):
                text = "".join(line(at) + "\n" for at in range(file, lines, files))
                size += len(text)
                (place / "in" / f"{file}.log").write_text(text)
            (place / "server.yaml").write_text("auth_enabled: false\nlimits_config: {ingestion_rate_mb: 10000, ingestion_burst_size_mb: 10000}\n")
            server, url = start([program, "serve", "--http-port", "0", "--data", str(place / "data"), "--config", str(place / "server.yaml")],
                                place / "server.log", r"listen (http\S+)")
            (place / "agent.yaml").write_text(
                f"server: {{http_listen_port: 0, http_listen_address: 127.0.0.1}}\npositions: {{filename: {place}/positions.yaml}}\n"
                f"clients: [{{url: '{url}/loki/api/v1/push'}}]\nscrape_configs:\n- job_name: a\n  static_configs: [{{labels: {{job: a, "
                f"__path__: '{place}/in/*.log'}}}}]\n  pipeline_stages:\n{stages}")
            began = time.time()
            agent, _ = start([program, "agent", f"-config.file={place}/agent.yaml"], place / "agent.log", r"(server listening on addresses)")
            query = urllib.parse.urlencode({"query": 'sum(count_over_time({job="a"}[1h]))'})
            found = 0
            while found < lines and time.time() - began < 600:
                time.sleep(0.5)
                result = json.load(urllib.request.urlopen(f"{url}/loki/api/v1/query?{query}"))["data"]["result"]
                found = int(result[0]["value"][1]) if result else 0
            seconds, cpu = time.time() - began, cpu_seconds(agent.pid)
            print(f"{name:8} {found:>9} of {lines} lines in {files} files ({size / 1e6:.0f} MB): {seconds:.1f} s, agent {cpu:.2f} CPU s = "
                  f"{found / cpu:,.0f} lines a CPU second, peak {memory_mb(agent.pid):.0f} MB; server {cpu_seconds(server.pid):.2f} CPU s", flush=True)
            agent.terminate(), server.terminate()
            agent.wait(), server.wait()


main()
