//! The golden data set, pushed into a server: two hours of 2026-01-15 from 10:00 UTC.

use std::path::{Path, PathBuf};

use crate::harness::{Server, repository};

/// First second of the data set.
pub(crate) const START_S: i64 = 1_768_471_200;
/// The second after its last line.
pub(crate) const END_S: i64 = START_S + 7200;

/// A server with the data set: half of it in files, half in memory.
pub(crate) fn serve(data: &Path) -> Server {
    let server = Server::start(data, Some(&repository("tests/golden/config.yaml")), &[]);
    push(&server);
    server
}

fn push(server: &Server) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(repository("tests/golden/dataset"))
        .expect("the data set is in the repository")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let half = files.len() / 2;
    for (at, file) in files.iter().enumerate() {
        let body = std::fs::read(file).expect("readable");
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
        let answer = server.post("/loki/api/v1/push", &headers, &body);
        assert_eq!(answer.status, 204, "{}", answer.text());
        if at + 1 == half {
            server.flush();
        }
    }
}

/// How a query of the repository is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// Lines over the whole data set.
    Logs,
    /// Samples at its end.
    Instant,
    /// Samples over its second hour.
    Range,
}

/// Asks, and answers the items of the result; an error fails the test.
pub(crate) fn ask(server: &Server, query: &str, run: Run, what: &str) -> Vec<serde_json::Value> {
    let (start, middle, end) = (START_S.to_string(), (START_S + 3600).to_string(), END_S.to_string());
    let answer = match run {
        Run::Instant => server.get("/loki/api/v1/query", &[("query", query), ("time", &end)]),
        Run::Logs => {
            let params: &[(&str, &str)] = &[("query", query), ("start", &start), ("end", &end), ("limit", "1000")];
            server.get("/loki/api/v1/query_range", params)
        }
        Run::Range => {
            let params: &[(&str, &str)] = &[("query", query), ("start", &middle), ("end", &end), ("step", "60")];
            server.get("/loki/api/v1/query_range", params)
        }
    };
    assert_eq!(answer.status, 200, "{what}: {query}: {}", answer.text());
    answer.json()["data"]["result"].as_array().cloned().unwrap_or_default()
}
