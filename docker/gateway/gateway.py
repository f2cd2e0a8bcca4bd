"""A demo inference gateway: answers predictions, logs each request as the exercise's JSON line.

    POST /api/v1/predict ─▶ answer ─▶ JSON line ─▶ stdout, and Kafka (KAFKA_BROKERS) or a push (PUSH_URL)

With REQUESTS_PER_SECOND it also makes its own traffic: mostly good, some slow, some failing, a spike every ten minutes.
Only the standard library, unless KAFKA_BROKERS is set.
"""

import json
import os
import queue
import random
import sys
import threading
import time
import urllib.request
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENVIRONMENT = os.environ.get("ENVIRONMENT", "lab")
MODELS = [("resnet50", "v1.0.0"), ("resnet50", "v1.1.0"), ("resnet50", "v1.2.0"), ("bert-base", "v2.0.1")]
ERRORS = ["FeatureNotFound: user_features", "upstream timeout after 2000ms", "CUDA out of memory"]
# Lines that wait to be sent; more are dropped, as a service must not wait for its logs.
WAITING_MAX = 10_000
waiting: "queue.Queue[str]" = queue.Queue(WAITING_MAX)


def line_of(method: str, path: str, spike: bool = False) -> dict:
    """What one request logs."""
    model, version = random.choice(MODELS)
    failed = random.random() < (0.5 if spike else 0.04)
    slow = random.random() < 0.05
    latency = random.uniform(400, 2500) if slow else random.lognormvariate(3.6, 0.5)
    status = random.choice([500, 503]) if failed else 200
    line = {
        "time": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
        "level": "error" if failed else "warning" if slow else "info",
        "logger": "uvicorn.access",
        "event": "http_request",
        "message": f"{method} {path} {status}",
        "trace_id": f"{random.getrandbits(128):032x}",
        "span_id": f"{random.getrandbits(64):016x}",
        "method": method,
        "path": path,
        "status_code": status,
        "latency_ms": round(latency, 1),
        "model_name": model,
        "model_version": version,
        "request_id": f"req_{random.getrandbits(24):06x}",
        "environment": ENVIRONMENT,
    }
    if failed:
        line["error"] = random.choice(ERRORS)
        line["message"] = f"Prediction failed: {line['error']}"
    return line


def log(line: dict) -> None:
    text = json.dumps(line, separators=(",", ":"))
    print(text)
    try:
        waiting.put_nowait(text)
    except queue.Full:
        pass


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(200 if self.path == "/health" else 404, {"status": "ok" if self.path == "/health" else "not found"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = line_of("POST", self.path)
        log(line)
        self.answer(line["status_code"], {"request_id": line["request_id"], "trace_id": line["trace_id"]})

    def answer(self, status: int, body: dict) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """The request logs itself."""


def own_traffic(a_second: float) -> None:
    while True:
        spike = time.time() % 600 < 60
        log(line_of(random.choice(["GET", "POST"]), random.choice(["/api/v1/predict", "/api/v1/models"]), spike))
        time.sleep(random.expovariate(a_second * (5 if spike else 1)))


def batch() -> list:
    lines = [waiting.get()]
    while len(lines) < 500:
        try:
            lines.append(waiting.get(timeout=0.2))
        except queue.Empty:
            break
    return lines


def send_to_kafka(brokers: str, topic: str) -> None:
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=brokers.split(","), linger_ms=100, acks="all")
    while True:
        for text in batch():
            producer.send(topic, text.encode())


def push(url: str) -> None:
    while True:
        lines = batch()
        streams: dict = {}
        for text in lines:
            line = json.loads(text)
            stamp = datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
            nanos = int(stamp.timestamp() * 1_000_000) * 1000
            streams.setdefault(line["level"], []).append([str(nanos), text, {"trace_id": line["trace_id"]}])
        labels = {"service": "inference-gateway", "environment": ENVIRONMENT, "cluster": "lab-cluster"}
        body = {"streams": [{"stream": labels | {"level": level}, "values": values} for level, values in streams.items()]}
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        for wait in (0.5, 1, 2, 4):
            try:
                urllib.request.urlopen(request, timeout=10).close()
                break
            except OSError as error:
                print(f"push failed: {error}; trying again", file=sys.stderr)
                time.sleep(wait)


def main() -> None:
    if brokers := os.environ.get("KAFKA_BROKERS"):
        sender = lambda: send_to_kafka(brokers, os.environ.get("KAFKA_TOPIC", "inference-logs"))
        threading.Thread(target=sender, daemon=True).start()
    elif url := os.environ.get("PUSH_URL"):
        threading.Thread(target=push, args=(url,), daemon=True).start()
    if a_second := float(os.environ.get("REQUESTS_PER_SECOND", "0")):
        threading.Thread(target=own_traffic, args=(a_second,), daemon=True).start()
    server = ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Handler)
    print(f"gateway listens on {server.server_port}", file=sys.stderr)
    server.serve_forever()


if __name__ == "__main__":
    main()
