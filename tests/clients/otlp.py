"""Sends logs with the OpenTelemetry SDK. usage: otlp.py http|grpc ENDPOINT LINES [COMPRESSION]"""
import logging, sys, time
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

how, endpoint, lines = sys.argv[1], sys.argv[2], int(sys.argv[3])
compression = sys.argv[4] if len(sys.argv) > 4 else None
if how == "http":
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    exporter = OTLPLogExporter(endpoint=endpoint, compression=Compression(compression) if compression else None)
else:
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    exporter = OTLPLogExporter(endpoint=endpoint, insecure=True, compression=grpc.Compression.Gzip if compression else None)
failed = []
logging.getLogger("opentelemetry").addHandler(type("Note", (logging.Handler,), {"emit": lambda self, record: failed.append(record.getMessage())})())
provider = LoggerProvider(resource=Resource.create({"service.name": "otel-" + how, "k8s.pod.name": "pod-1", "host.name": "h"}))
provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
logger = logging.getLogger("millrace.test")
logger.setLevel(logging.INFO)
logger.addHandler(LoggingHandler(logger_provider=provider))
span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, False))
with trace.use_span(span):
    for at in range(lines):
        logger.warning("otel line %d", at, extra={"part": at % 2, "user": {"id": f"u{at}"}})
provider.force_flush()
provider.shutdown()
if failed:
    sys.exit(f"{len(failed)} complaints, first: {failed[0]}")
