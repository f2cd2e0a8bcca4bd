//! The exercise's `validate-logging.sh`, step by step as it is printed, against this server in place of Loki.
//!
//! The steps that ask Promtail's port are those of `millrace agent` and tested with it.

use std::process::Command;

use serde_json::json;

use crate::harness::{Server, repository};

/// Runs a line of the script with Loki's address replaced, and answers what it printed.
fn shell(server: &Server, line: &str) -> String {
    let line = line.replace("http://localhost:3100", &server.url);
    let ended = Command::new("bash").args(["-c", &line]).output().expect("bash runs");
    String::from_utf8_lossy(&ended.stdout).trim().to_owned()
}

#[test]
fn the_validation_script_works_as_printed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server =
        Server::start(&directory.path().join("data"), Some(&repository("tests/configs/exercise-loki.yaml")), &[]);
    let now = chrono::Utc::now().timestamp_nanos_opt().expect("a time of this century");
    for level in ["debug", "info", "warning", "error", "critical"] {
        let labels = json!({"service": "inference-gateway", "environment": "lab", "level": level});
        let values: Vec<_> =
            (0..20).map(|at| json!([(now - at).to_string(), format!(r#"{{"level":"{level}","n":{at}}}"#)])).collect();
        server.push(&json!({"streams": [{"stream": labels, "values": values}]}));
    }
    assert_eq!(shell(&server, "curl -s http://localhost:3100/ready"), "ready");
    let ingested = shell(&server, "curl -s http://localhost:3100/metrics | grep loki_distributor_bytes_received_total");
    let bytes = ingested.lines().last().and_then(|line| line.split_whitespace().last()?.parse::<f64>().ok());
    assert!(bytes.is_some_and(|bytes| bytes > 1000.0), "{ingested}");
    let streams = shell(&server, "curl -s http://localhost:3100/metrics | grep loki_ingester_streams");
    assert!(streams.lines().any(|line| line == "loki_ingester_streams 5"), "{streams}");
    let script = r#"curl -G -s "http://localhost:3100/loki/api/v1/query_range" \
  --data-urlencode 'query={service="inference-gateway"}' \
  --data-urlencode "start=$(date -u -d '5 minutes ago' +%s)000000000" \
  --data-urlencode "end=$(($(date -u +%s) + 1))000000000" \
  | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["data"]["result"]))'"#;
    assert_eq!(shell(&server, script), "5", "log streams found");
    // The troubleshooting guide's way to the labels.
    let labels = shell(&server, r#"curl -G -s "http://localhost:3100/loki/api/v1/label""#);
    assert!(labels.contains("\"environment\"") && labels.contains("\"level\""), "{labels}");
}

#[test]
fn the_metrics_that_the_exercise_watches_are_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server =
        Server::start(&directory.path().join("data"), Some(&repository("tests/configs/exercise-loki.yaml")), &[]);
    let now = chrono::Utc::now().timestamp_nanos_opt().expect("a time of this century");
    server.push(&json!({"streams": [{"stream": {"service": "a"}, "values": [[now.to_string(), "line"]]}]}));
    server.flush();
    server.number(r#"sum(count_over_time({service="a"}[5m]))"#, now / 1_000_000_000 + 1);
    let text = server.get("/metrics", &[]).text();
    for name in [
        "loki_distributor_bytes_received_total",
        "loki_ingester_streams",
        "loki_request_duration_seconds_bucket",
        "loki_logql_querystats_latency_seconds_count",
        "loki_logql_querystats_total{status=\"success\"}",
        "loki_ingester_chunks_flushed_total",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "no {name}");
    }
}
