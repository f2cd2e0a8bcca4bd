//! Programs nobody here wrote: public Loki clients push, the Python `deltalake` package reads the table.
//!
//! `.ci/run` installs them and names where they are; without that the tests say so loudly and do nothing.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Server, repository};

pub(crate) fn installed(variable: &str, what: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        eprintln!("SKIPPED: {what} not tested, because {variable} is not set; .ci/run installs it and sets it");
    }
    found
}

pub(crate) fn now_s() -> i64 {
    chrono::Utc::now().timestamp()
}

pub(crate) fn run(command: &mut Command) -> String {
    let ended = command.output().expect("the client runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn python_logging_loki_pushes() {
    let Some(python) = installed("MILLRACE_TEST_PYTHON", "python-logging-loki") else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    run(Command::new(python).arg(repository("tests/clients/python_logging_loki.py")).args([&server.url, "20"]));
    assert_eq!(server.number(r#"sum(count_over_time({client="python-logging-loki"}[1h]))"#, now_s() + 5), 20.0);
    assert_eq!(server.number(r#"sum(count_over_time({part="1"} |= "python line" [1h]))"#, now_s() + 5), 10.0);
}

#[test]
fn winston_loki_pushes_json_and_protobuf() {
    let Some(modules) = installed("MILLRACE_TEST_NODE_MODULES", "winston-loki") else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let script = repository("tests/clients/winston_loki.js");
    run(Command::new("node").env("NODE_PATH", modules).arg(script).args([&server.url, "30"]));
    for encoding in ["json", "protobuf"] {
        let query = format!(r#"sum(count_over_time({{client="winston-loki", encoding="{encoding}"}}[1h]))"#);
        assert_eq!(server.number(&query, now_s() + 5), 30.0, "{encoding}");
    }
}

#[test]
fn the_delta_table_is_read_by_the_python_deltalake_package() {
    let Some(python) = installed("MILLRACE_TEST_PYTHON", "deltalake") else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let server = Server::start(&data, Some(&repository("tests/golden/config.yaml")), &[]);
    for part in 0..3 {
        let values: Vec<_> = (0..7)
            .map(|at| {
                serde_json::json!([
                    (1_768_471_200_000_000_000_i64 + part * 100 + at).to_string(),
                    format!("row {part} {at}")
                ])
            })
            .collect();
        server.push(&serde_json::json!({"streams": [{"stream": {"service": "delta"}, "values": values}]}));
        server.flush();
    }
    let said = run(Command::new(python).arg(repository("tests/clients/read_delta.py")).arg(data.join("logs")));
    assert!(said.contains("21"), "{said}");
}
