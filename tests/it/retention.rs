//! Retention in the running server: the exercise's classes, single lines, and the preview before it.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Server, repository};

const DAY_S: i64 = 86_400;

fn now_s() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

/// Lines of a class, `days` old each; the level is in the line.
fn push(server: &Server, class: &str, level: &str, days: &[f64]) {
    let now = now_s();
    let values: Vec<Value> = days
        .iter()
        .map(|days| {
            let ts = (now - (days * DAY_S as f64) as i64) * 1_000_000_000;
            json!([ts.to_string(), format!("level={level} {days} days old")])
        })
        .collect();
    server.push(&json!({"streams": [{"stream": {"service": "kept", "log_class": class}, "values": values}]}));
}

fn ages(server: &Server, class: &str) -> Vec<String> {
    let (start, end) = ((now_s() - 500 * DAY_S).to_string(), (now_s() + 60).to_string());
    let query = format!(r#"{{service="kept", log_class="{class}"}}"#);
    let params = [("query", query.as_str()), ("start", &start), ("end", &end), ("direction", "backward")];
    let answer = server.get("/loki/api/v1/query_range", &params);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let streams = body["data"]["result"].as_array().expect("streams").clone();
    let values = streams.iter().flat_map(|stream| stream["values"].as_array().expect("values").clone());
    let mut found: Vec<(String, String)> = values
        .map(|value| {
            let line = value[1].as_str().expect("a line").to_owned();
            (value[0].as_str().expect("a time").to_owned(), line)
        })
        .collect();
    found.sort();
    found.reverse();
    found.into_iter().map(|(_, line)| line.split(' ').nth(1).expect("an age").to_owned()).collect()
}

#[test]
fn the_exercises_classes_keep_what_they_should() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    // The shipped example, with the limits of queries and of age wide enough to look.
    let example = std::fs::read_to_string(repository("examples/retention.yaml")).expect("the shipped example");
    assert!(example.contains("limits_config:\n") && example.contains("compactor:\n"), "{example}");
    let example = example
        .replace("limits_config:\n", "limits_config:\n  reject_old_samples: false\n  max_query_length: 0s\n")
        .replace("  compaction_interval: 10m\n", "  compaction_interval: 1h\n");
    let config = directory.path().join("config.yaml");
    std::fs::write(&config, &example).expect("written");
    let server = Server::start(&data, Some(&config), &[]);
    for (class, period) in [("application", 30.0), ("access", 90.0), ("audit", 365.0), ("debug", 3.0), ("system", 14.0)]
    {
        push(&server, class, "info", &[0.1, period - 1.5, period + 2.5, 400.0]);
    }
    push(&server, "other", "info", &[0.1, 29.0, 33.0]);
    // Beyond Loki: single lines, by level, whatever their class.
    push(&server, "application", "debug", &[2.0, 6.0]);
    server.flush();
    let preview = server.get("/api/v1/retention/preview", &[]);
    assert_eq!(preview.status, 200, "{}", preview.text());
    let rows: i64 =
        preview.json().as_array().expect("entries").iter().map(|entry| entry["rows"].as_i64().unwrap_or(0)).sum();
    assert_eq!(rows, 5 * 2 + 1 + 1, "{}", preview.text());
    let cli = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["retention", "preview", "--config"])
        .arg(&config)
        .arg("--data")
        .arg(&data)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&cli.stdout).into_owned();
    assert!(said.contains(r#"{log_class="audit"} after 8760h0m0s"#), "{said}{}", String::from_utf8_lossy(&cli.stderr));
    assert_eq!(ages(&server, "debug").len(), 4, "a preview takes nothing");
    server.stop();
    // With a short interval it acts.
    std::fs::write(&config, example.replace("  compaction_interval: 1h\n", "  compaction_interval: 100ms\n"))
        .expect("written");
    let server = Server::start(&data, Some(&config), &[]);
    let started = Instant::now();
    while server.get("/api/v1/retention/preview", &[]).json() != json!([]) {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", server.get("/api/v1/retention/preview", &[]).text());
        std::thread::sleep(Duration::from_millis(50));
    }
    for (class, expected) in [
        ("access", vec!["0.1", "88.5"]),
        ("audit", vec!["0.1", "363.5"]),
        ("debug", vec!["0.1", "1.5"]),
        ("system", vec!["0.1", "12.5"]),
        ("application", vec!["0.1", "2", "28.5"]),
        ("other", vec!["0.1", "29"]),
    ] {
        assert_eq!(ages(&server, class), expected, "{class}");
    }
    let metrics = server.get("/metrics", &[]).text();
    assert!(metrics.contains("millrace_retention_rows_total{tenant=\"fake\"} 12"), "{metrics}");
}
