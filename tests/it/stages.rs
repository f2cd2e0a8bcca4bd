//! Stages at ingest, with the real server: what is masked was never stored, whatever door it came by.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Server, repository};

const START_NS: i64 = 1_768_471_200_000_000_000;
/// How long what runs in the background may take on a busy machine in a debug build.
const PATIENCE: Duration = Duration::from_secs(60);

/// The stages of the exercise's first job, as they are printed.
fn exercise() -> Value {
    let text = std::fs::read_to_string(repository("tests/configs/exercise-promtail.yaml")).expect("readable");
    millrace::pipeline::yaml::parse(&text).expect("YAML")["scrape_configs"][0]["pipeline_stages"].clone()
}

/// The golden configuration with stages for everyone, and more.
fn config(directory: &Path, stages: &Value, more: &str) -> PathBuf {
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let path = directory.join("config.yaml");
    std::fs::write(&path, format!("{golden}  pipeline_stages: {stages}\n{more}")).expect("written");
    path
}

/// Streams with their lines, as the range query gives them: the log's labels, then its lines.
fn streams(server: &Server, query: &str) -> Vec<(Value, Vec<String>)> {
    let (start, end) = ((START_NS - 3_600_000_000_000).to_string(), (START_NS + 3_600_000_000_000).to_string());
    let params = [("query", query), ("start", &start), ("end", &end), ("direction", "forward")];
    let answer = server.get("/loki/api/v1/query_range", &params).json();
    let of = |stream: &Value| {
        let values = stream["values"].as_array().expect("a list").iter();
        (stream["stream"].clone(), values.map(|value| value[1].as_str().expect("a line").to_owned()).collect())
    };
    answer["data"]["result"].as_array().expect("a list").iter().map(of).collect()
}

/// Whether any file below has these bytes: of the log, where nothing is compressed.
fn has_bytes(directory: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).any(|path| {
        if path.is_dir() {
            return has_bytes(&path, bytes);
        }
        memchr::memmem::find(&std::fs::read(&path).expect("readable"), bytes).is_some()
    })
}

fn line(level: &str, at: usize) -> String {
    let time = chrono::DateTime::from_timestamp_nanos(START_NS + at as i64).to_rfc3339();
    json!({
        "time": time, "level": level, "logger": "gateway", "message": format!("User test{at}@example.com logged in"),
        "user_id": format!("secret-{at}"), "latency_ms": 0.3,
    })
    .to_string()
}

#[test]
fn the_exercises_pipeline_works_in_the_server_and_what_it_masks_is_never_stored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = config(directory.path(), &exercise(), "");
    let server = Server::start(&data, Some(&config), &[]);
    let values: Vec<_> = (0..20)
        // The times of the push are an hour too late: the lines' own count.
        .map(|at| {
            json!([(START_NS + 3_000_000_000_000).to_string(), line(if at % 4 == 0 { "error" } else { "info" }, at)])
        })
        .collect();
    server.push(&json!({"streams": [{"stream": {"service": "gateway"}, "values": values}]}));
    // The log has the rows, and nothing else does yet.
    assert!(has_bytes(&data, b"REDACTED_EMAIL") && !has_bytes(&data, b"@example.com") && !has_bytes(&data, b"secret-"));
    for state in ["head", "files"] {
        let found = streams(&server, r#"{service="gateway"} |= "logged in""#);
        let mut levels: Vec<_> = found.iter().map(|(labels, lines)| (labels["level"].clone(), lines.len())).collect();
        levels.sort_by_key(|(_, lines)| *lines);
        assert_eq!(levels, [(json!("error"), 5), (json!("info"), 15)], "{state}");
        for (labels, lines) in &found {
            assert_eq!((&labels["logger"], &labels["service_name"]), (&json!("gateway"), &json!("gateway")), "{state}");
            for line in lines {
                assert!(
                    line.contains("User ***REDACTED_EMAIL*** logged in") && line.contains("***REDACTED***"),
                    "{line}"
                );
                assert!(!line.contains('@') && !line.contains("secret"), "{line}");
            }
        }
        server.flush();
    }
    let lines = r#"promtail_custom_log_lines_total{level="error",logger="gateway",service="gateway",tenant="fake"}"#;
    assert_eq!(server.metric(lines), 5.0);
    let errors = r#"promtail_custom_log_errors_total{level="error",logger="gateway",service="gateway",tenant="fake"}"#;
    assert_eq!(server.metric(errors), 5.0);
    server.stop();
    // What was counted until the end is there for PromQL, and under the tenant alone.
    let server = Server::start(&data, Some(&config), &[]);
    let query = "sum by (level) (promtail_custom_request_duration_seconds_from_logs_bucket{le=\"0.5\"})";
    let answer = server.get("/prometheus/api/v1/query", &[("query", query)]).json();
    let mut counts: Vec<_> = answer["data"]["result"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|series| (series["metric"]["level"].clone(), series["value"][1].clone()))
        .collect();
    counts.sort_by_key(|(level, _)| level.to_string());
    assert_eq!(counts, [(json!("error"), json!("5")), (json!("info"), json!("15"))], "{answer}");
}

#[test]
fn tenants_have_stages_of_their_own_that_change_while_the_server_runs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let overrides = directory.path().join("overrides.yaml");
    let write = |stages: &str| {
        std::fs::write(&overrides, format!("overrides: {{a: {{pipeline_stages: {stages}}}}}\n")).expect("written");
    };
    write("[{replace: {expression: '(secret)', replace: '***'}}]");
    let path = directory.path().join("config.yaml");
    let text = format!(
        "auth_enabled: true\nlimits_config: {{reject_old_samples: false}}\nruntime_config: {{file: {}, period: 100ms}}\n",
        overrides.display()
    );
    std::fs::write(&path, text).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&path), &[]);
    let mut sent = 0;
    let mut push = |tenant: &str, line: &str| {
        sent += 1;
        let value = json!([(START_NS + sent).to_string(), line]);
        let body = json!({"streams": [{"stream": {"service": "s"}, "values": [value]}]}).to_string();
        let headers = [("Content-Type", "application/json"), ("X-Scope-OrgID", tenant)];
        let answer = server.post("/loki/api/v1/push", &headers, body.as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.text());
        let at = (START_NS + sent).to_string();
        let params = [("query", r#"{service="s"}"#), ("start", &at), ("end", &(START_NS + sent + 1).to_string())];
        let found = server.get_with("/loki/api/v1/query_range", &params, &[("X-Scope-OrgID", tenant)]).json();
        found["data"]["result"][0]["values"][0][1].as_str().unwrap_or("nothing").to_owned()
    };
    assert_eq!((push("a", "a secret"), push("b", "a secret")), ("a ***".to_owned(), "a secret".to_owned()));
    // A file that is bad changes nothing.
    write("[{replce: {}}]");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(push("a", "a secret"), "a ***");
    write("[{drop: {expression: secret}}]");
    let started = Instant::now();
    while push("a", "a secret") != "nothing" {
        assert!(started.elapsed() < PATIENCE, "the new stages do not act");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((push("a", "open"), push("b", "a secret")), ("open".to_owned(), "a secret".to_owned()));
    let dropped = r#"logentry_dropped_lines_total{reason="drop_stage",tenant="a"}"#;
    assert_eq!(server.metric(dropped), 1.0);
}

#[test]
fn stages_that_a_server_cannot_have_stop_the_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = config(directory.path(), &json!([{"tenant": {"value": "b"}}]), "");
    let Err(_) = Server::launch(&directory.path().join("data"), Some(&config), &[], &[]) else {
        panic!("it started");
    };
    // The log file is written by a thread.
    let log = directory.path().join("data.log");
    let started = Instant::now();
    let expected = "limits_config.pipeline_stages: invalid tenant stage config: not at ingest";
    while !std::fs::read_to_string(&log).unwrap_or_default().contains(expected) {
        assert!(started.elapsed() < PATIENCE, "{:?}", std::fs::read_to_string(&log));
        std::thread::sleep(Duration::from_millis(50));
    }
}
