//! SQL over HTTP: it reads, in three formats, and does nothing else.

use serde_json::json;

use crate::harness::{Server, repository};

const START_NS: i64 = 1_768_471_200_000_000_000;

fn with_rows() -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), Some(&repository("tests/golden/config.yaml")), &[]);
    for (at, service) in ["api", "api", "worker"].iter().enumerate() {
        let ts = (START_NS + at as i64 * 60_000_000_000 + 7).to_string();
        let metadata = json!({"trace_id": format!("t{at}")});
        let line = format!("level=info n={at}");
        server.push(&json!({"streams": [{"stream": {"service": service}, "values": [[ts, line, metadata]]}]}));
        if at == 0 {
            server.flush();
        }
    }
    (directory, server)
}

fn csv(server: &Server, sql: &str) -> String {
    let answer = server.get_with("/api/v1/sql", &[("query", sql)], &[("Accept", "text/csv")]);
    assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    answer.text()
}

#[test]
fn views_have_nanoseconds_labels_levels_and_metadata() {
    let (_directory, server) = with_rows();
    let rows = csv(
        &server,
        "select timestamp, labels['service'] as service, level, line, metadata['trace_id'] as trace from logs order by timestamp",
    );
    let lines: Vec<&str> = rows.lines().collect();
    assert_eq!(lines.len(), 4, "{rows}");
    assert!(lines[1].starts_with("2026-01-15T10:00:00.000000007Z,api,info,level=info n=0,"), "{}", lines[1]);
    assert!(lines[3].contains("worker") && lines[3].contains("t2"), "{}", lines[3]);
    let counted = csv(&server, "select labels['service'] as service, count(*) as n from logs group by 1 order by 1");
    assert_eq!(counted, "service,n\napi,2\nworker,1\n");
    let bounded = csv(
        &server,
        "select count(*) as n from logs where timestamp >= '2026-01-15T10:01:00Z' and labels['service'] = 'api'",
    );
    assert_eq!(bounded, "n\n1\n");
    let streams = csv(&server, "select count(*) as n, sum(entries) as rows from streams");
    assert_eq!(streams, "n,rows\n2,3\n");
}

#[test]
fn answers_come_as_json_csv_and_arrow() {
    let (_directory, server) = with_rows();
    let sql = "select count(*) as n from logs";
    let json_answer = server.get_with("/api/v1/sql", &[("query", sql)], &[("Accept", "application/json")]);
    assert_eq!(json_answer.json(), json!([{"n": 3}]));
    let headers = [("Accept", "application/vnd.apache.arrow.stream")];
    let arrow = server.get_with("/api/v1/sql", &[("query", sql)], &headers);
    let reader = arrow::ipc::reader::StreamReader::try_new(&arrow.body[..], None).expect("an Arrow stream");
    assert_eq!(reader.map(|batch| batch.expect("a batch").num_rows()).sum::<usize>(), 1);
    let posted = server.post("/api/v1/sql", &[("Accept", "text/csv"), ("Content-Type", "text/plain")], sql.as_bytes());
    assert_eq!(posted.text(), "n\n3\n");
}

#[test]
fn filters_on_time_and_labels_prune_the_scan() {
    let (_directory, server) = with_rows();
    let plan = csv(
        &server,
        "explain select line from logs where timestamp < '2026-01-15T10:00:30Z' and labels['service'] = 'api'",
    );
    assert!(plan.contains("ScanExec") && plan.contains("streams=1"), "{plan}");
    assert!(plan.contains("1768471230000000000"), "{plan}");
}

#[test]
fn whatever_writes_or_reads_files_is_refused() {
    let (directory, server) = with_rows();
    let outside = directory.path().join("secret.csv");
    std::fs::write(&outside, "a\n1\n").expect("written");
    let attempts = [
        "create table t as select 1".to_owned(),
        "drop table logs".to_owned(),
        "insert into logs select * from logs".to_owned(),
        "delete from logs".to_owned(),
        "update logs set line = 'x'".to_owned(),
        format!("copy (select * from logs) to '{}'", directory.path().join("out.csv").display()),
        format!("create external table f stored as csv location '{}'", outside.display()),
        format!("select * from '{}'", outside.display()),
        "set datafusion.execution.batch_size = 1".to_owned(),
        "select * from no_such_view".to_owned(),
        "selec".to_owned(),
    ];
    for sql in attempts {
        let answer = server.get("/api/v1/sql", &[("query", &sql)]);
        assert_eq!(answer.status, 400, "{sql}: {}", answer.text());
        assert!(!answer.text().is_empty(), "{sql} is refused without a word");
    }
    assert!(!directory.path().join("out.csv").exists());
    assert_eq!(csv(&server, "select count(*) as n from logs"), "n\n3\n");
}
