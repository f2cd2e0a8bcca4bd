//! OpenTelemetry's own SDK sends over HTTP and gRPC; what arrives is found by labels and metadata.

use std::process::Command;

use crate::clients::{installed, now_s, run};
use crate::harness::{Server, repository};

fn count(server: &Server, query: &str) -> f64 {
    server.number(&format!("sum(count_over_time({query}[1h]))"), now_s() + 5)
}

#[test]
fn the_python_sdk_exports_over_http_and_grpc() {
    let Some(python) = installed("MILLRACE_TEST_PYTHON", "the OpenTelemetry SDK") else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.yaml");
    let text = "auth_enabled: false\nserver: {http_listen_address: 127.0.0.1}\nmillrace: {otlp_grpc: {listen: \"127.0.0.1:0\"}}\n";
    std::fs::write(&config, text).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    let grpc = server.address("otlp   grpc ");
    let send = |arguments: &[&str]| {
        run(Command::new(&python)
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
            .arg(repository("tests/clients/otlp.py"))
            .args(arguments))
    };
    let http = format!("{}/otlp/v1/logs", server.url);
    send(&["http", &http, "20"]);
    send(&["http", &http, "20", "gzip"]);
    send(&["grpc", &grpc, "20"]);
    send(&["grpc", &grpc, "20", "gzip"]);
    for how in ["http", "grpc"] {
        let stream = format!(r#"{{service_name="otel-{how}", k8s_pod_name="pod-1"}}"#);
        assert_eq!(count(&server, &stream), 40.0, "{how}");
        assert_eq!(count(&server, &format!(r#"{stream} | part="1" |= "otel line""#)), 20.0, "{how}");
        let one = format!(
            r#"{stream} | host_name="h" | user_id="u7" | severity_text="WARN" | scope_name="millrace.test" | detected_level="warn" | trace_id="00000000000000000000000000000abc" | span_id="0000000000000def""#
        );
        assert_eq!(count(&server, &one), 2.0, "{how}");
    }
}

#[test]
fn grpc_tells_who_must_log_in_and_what_is_too_fast() {
    let Some(python) = installed("MILLRACE_TEST_PYTHON", "gRPC from Python") else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.yaml");
    let text = "auth_enabled: true\nserver: {http_listen_address: 127.0.0.1}\nlimits_config: {ingestion_rate_mb: 0.0001, ingestion_burst_size_mb: 0.01}\nmillrace: {otlp_grpc: {listen: \"127.0.0.1:0\"}}\n";
    std::fs::write(&config, text).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    let script = r#"
import sys, grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
stub = LogsServiceStub(grpc.insecure_channel(sys.argv[1]))
request = ExportLogsServiceRequest()
record = request.resource_logs.add().scope_logs.add().log_records.add()
record.body.string_value = "x" * 10000
def send(*tenant):
    try:
        stub.Export(request, metadata=tenant, timeout=60)
        return "OK"
    except grpc.RpcError as error:
        retry = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
        return f"{error.code().name} {error.details()} {b'RetryInfo' in retry}"
print(send())
print(send(("x-scope-orgid", "a")))
print(send(("x-scope-orgid", "a")))
print(send(("x-scope-orgid", "b")))
"#;
    let said = run(Command::new(&python).args(["-c", script, &server.address("otlp   grpc ")]));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "UNAUTHENTICATED no org id False", "{said}");
    assert_eq!(lines[1], "OK", "{said}");
    assert!(lines[2].starts_with("UNAVAILABLE ingestion rate limit exceeded for user a"), "{said}");
    assert!(lines[2].ends_with("True"), "{said}");
    assert_eq!(lines[3], "OK", "a tenant too fast does not slow another: {said}");
}
