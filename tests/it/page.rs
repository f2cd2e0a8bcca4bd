//! The page at `/`, in a real headless Chromium: completion, ten thousand lines, live tail, SQL, keys, light and dark.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Server, repository};

const LINES: usize = 12_000;

fn push_lines(server: &Server) {
    let now = chrono::Utc::now().timestamp_nanos_opt().expect("a time of this century");
    let levels = ["info", "info", "info", "warning", "error"];
    for part in 0..LINES / 2000 {
        let streams = levels.iter().enumerate().map(|(number, level)| {
            let values: Vec<_> = (0..400)
                .map(|at| {
                    // Spread over fifty minutes.
                    let row = (part * 400 + at) * levels.len() + number;
                    let ts = now - (row as i64) * 3_000_000_000_000 / LINES as i64;
                    json!([
                        ts.to_string(),
                        format!(r#"{{"level":"{level}","message":"request {row} done","latency_ms":{}}}"#, row % 97)
                    ])
                })
                .collect();
            json!({"stream": {"service": "page-test", "level": level, "n": number.to_string()}, "values": values})
        });
        let gateway =
            json!({"stream": {"service": "inference-gateway"}, "values": [[(now - part as i64).to_string(), "x"]]});
        server.push(&json!({"streams": streams.chain([gateway]).collect::<Vec<_>>()}));
    }
}

#[test]
fn the_query_box_knows_where_it_is() {
    let ended = Command::new("node").arg(repository("tests/clients/logql_test.js")).output().expect("node runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn the_page_works_in_a_browser() {
    let Some(modules) = std::env::var_os("MILLRACE_TEST_NODE_MODULES") else {
        eprintln!("SKIPPED: the page not tested, because MILLRACE_TEST_NODE_MODULES is not set; .ci/run sets it");
        return;
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.yaml");
    let settings = "auth_enabled: false\nserver: {http_listen_address: 127.0.0.1}\nlimits_config: {max_entries_limit_per_query: 10000, ingestion_rate_mb: 100, ingestion_burst_size_mb: 100}\n";
    std::fs::write(&config, settings).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    push_lines(&server);
    let screenshots = if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(repository("docs/images")).expect("made");
        repository("docs/images").to_string_lossy().into_owned()
    } else {
        String::new()
    };
    let ended = Command::new("node")
        .env("NODE_PATH", modules)
        .arg(repository("tests/clients/page.js"))
        .args([&server.url, &screenshots])
        .output()
        .expect("node runs");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    let seen: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(seen["foreign"], json!([]), "the page asks no other server");
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(seen["unlabelled"], json!([]), "every control has a name");
    assert_eq!(seen["query"], r#"{service="page-test"}"#, "completion wrote the query");
    for class in ["t-label", "t-text", "t-sign"] {
        assert!(
            seen["colours"].as_array().is_some_and(|colours| colours.iter().any(|colour| colour == class)),
            "{seen}"
        );
    }
    assert!(
        seen["rowsInDocument"].as_u64().is_some_and(|rows| rows < 120),
        "only rows in sight are in the document: {seen}"
    );
    // A debug build on a shared machine: far from a benchmark, but a page that builds 10,000 rows would need seconds.
    assert!(seen["scroll"]["medianMs"].as_f64().is_some_and(|ms| ms < 100.0), "{seen}");
    assert!(seen["bars"].as_u64().is_some_and(|bars| bars > 50), "{seen}");
    for field in ["level", "service", "message", "latency_ms"] {
        assert!(
            seen["fields"].as_array().is_some_and(|fields| fields.iter().any(|found| found == field)),
            "no {field}: {seen}"
        );
    }
    assert!(
        seen["filtered"].as_str().is_some_and(|query| query.starts_with(r#"{service="page-test", level=""#)),
        "{seen}"
    );
    assert!(seen["mistake"].as_str().is_some_and(|text| text.contains("parse error")), "{seen}");
    assert_eq!(seen["liveLevel"], "line error");
    assert_eq!(seen["sqlColumns"], json!(["minute", "level", "lines"]));
    assert!(seen["storage"].as_str().is_some_and(|text| text.contains("rows in memory")), "{seen}");
    assert_eq!(seen["dark"], "rgb(20, 24, 27)", "dark where the system is");
}
