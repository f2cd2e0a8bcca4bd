//! Compaction in the running server: the same answers before, during and after, and few files left.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Server, repository};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
const LINES_A_FLUSH: usize = 40;

/// The golden configuration with quick upkeep and more of `millrace`.
pub(crate) fn configured(directory: &Path, compactor: &str, millrace: &str) -> std::path::PathBuf {
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let config = directory.join("config.yaml");
    let text = format!("{golden}\ncompactor:\n{compactor}\nmillrace:\n{millrace}\n");
    std::fs::write(&config, text).expect("written");
    config
}

fn push(server: &Server, flush: usize) {
    let values: Vec<Value> = (0..LINES_A_FLUSH)
        .map(|line| {
            let at = flush * LINES_A_FLUSH + line;
            // Times of neighbouring flushes overlap, and some repeat.
            let ts = START_S as usize * 1_000_000_000 + (at / 2 + line * 7) * 1_000_000;
            json!([ts.to_string(), format!("line {at} level=info"), {"at": at.to_string()}])
        })
        .collect();
    let stream = |part: usize| json!({"stream": {"service": "compacted", "part": part.to_string()}, "values": values});
    server.push(&json!({"streams": [stream(flush % 3), stream(3 + flush % 2)]}));
}

fn status(server: &Server) -> Value {
    let answer = server.get("/api/v1/table/status", &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn all_lines(server: &Server) -> Value {
    let (start, end) = (START_S.to_string(), (START_S + 3600).to_string());
    let params = [
        ("query", r#"{service="compacted"}"#),
        ("start", &start),
        ("end", &end),
        ("limit", "5000"),
        ("direction", "forward"),
    ];
    let mut body = server.get("/loki/api/v1/query_range", &params).json();
    body["data"].as_object_mut().expect("an answer").remove("stats");
    body
}

#[test]
fn many_flushes_become_few_files_and_no_answer_changes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let upkeep = "  compaction_interval: 1h\n  retention_delete_delay: 0s";
    let config = configured(directory.path(), upkeep, "  compaction:\n    min_files: 4\n    settled_after: 0s");
    let server = Server::start(&data, Some(&config), &[]);
    for flush in 0..20 {
        push(&server, flush);
        server.flush();
    }
    let before = all_lines(&server);
    assert_eq!(status(&server)["files"], 20);
    let stats = server.get(
        "/loki/api/v1/index/stats",
        &[
            ("query", r#"{service="compacted"}"#),
            ("start", &START_S.to_string()),
            ("end", &(START_S + 3600).to_string()),
        ],
    );
    let entries = stats.json()["entries"].clone();
    assert_eq!(server.post("/api/v1/table/upkeep", &[], b"").status, 204);
    let started = Instant::now();
    while status(&server)["files"] != 1 {
        assert_eq!(all_lines(&server), before, "while files are merged");
        assert!(started.elapsed() < Duration::from_secs(60), "{}", status(&server));
    }
    assert_eq!(all_lines(&server), before, "after files were merged");
    let stats = server.get(
        "/loki/api/v1/index/stats",
        &[
            ("query", r#"{service="compacted"}"#),
            ("start", &START_S.to_string()),
            ("end", &(START_S + 3600).to_string()),
        ],
    );
    assert_eq!(stats.json()["entries"], entries);
    // The old files go once nobody reads them.
    let started = Instant::now();
    while parquet_files(&data) > 1 {
        server.post("/api/v1/table/upkeep", &[], b"");
        std::thread::sleep(Duration::from_millis(20));
        assert!(started.elapsed() < Duration::from_secs(30), "{} files on disk", parquet_files(&data));
    }
    server.kill();
    let server = Server::start(&data, Some(&config), &[]);
    assert_eq!(status(&server)["files"], 1);
    assert_eq!(all_lines(&server), before, "after a restart");
    let metrics = server.get("/metrics", &[]).text();
    assert!(metrics.contains("millrace_table_files 1"), "{metrics}");
}

/// Data files in the directory, whether they count or not.
pub(crate) fn parquet_files(data: &Path) -> usize {
    fn count(directory: &Path) -> usize {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let of = |entry: std::fs::DirEntry| match entry.path() {
            path if path.is_dir() && !path.ends_with("_delta_log") => count(&path),
            path => usize::from(path.extension().is_some_and(|extension| extension == "parquet")),
        };
        entries.map(of).sum()
    }
    count(&data.join("logs"))
}

#[test]
fn what_a_crash_left_behind_is_swept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let upkeep = "  compaction_interval: 1h\n  retention_delete_delay: 0s";
    let config = configured(directory.path(), upkeep, "  compaction:\n    settled_after: 0s");
    let server = Server::start(&data, Some(&config), &[]);
    for flush in 0..3 {
        push(&server, flush);
        server.flush();
    }
    let before = all_lines(&server);
    server.kill();
    // Killed with the merged file written and not committed; then with it committed and not shown.
    for point in ["swap.commit", "swap.committed"] {
        let server = Server::start_with(&data, Some(&config), &[], &[("MILLRACE_FAILPOINT", point)]);
        server.wait_for_end();
    }
    let server = Server::start(&data, Some(&config), &[]);
    let started = Instant::now();
    while parquet_files(&data) > 1 || status(&server)["files"] != 1 {
        server.post("/api/v1/table/upkeep", &[], b"");
        std::thread::sleep(Duration::from_millis(20));
        assert!(started.elapsed() < Duration::from_secs(30), "{} files on disk", parquet_files(&data));
    }
    assert_eq!(all_lines(&server), before);
}
