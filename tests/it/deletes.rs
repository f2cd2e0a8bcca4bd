//! Deletes in the running server: hidden at every door at once, carried out, certified, and gone from the disk.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::compaction::configured;
use crate::harness::Server;

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
/// In every line that is deleted, and nowhere else.
const SECRET: &str = "ssn-078-05-1120";

fn quick(directory: &Path) -> std::path::PathBuf {
    let compactor = "  retention_enabled: true\n  compaction_interval: 100ms\n  retention_delete_delay: 0s\n  delete_request_cancel_period: 0s";
    configured(directory, compactor, "  compaction:\n    settled_after: 0s\n    min_files: 2")
}

fn slow(directory: &Path) -> std::path::PathBuf {
    let compactor = "  retention_enabled: true\n  compaction_interval: 1h\n  delete_request_cancel_period: 24h";
    configured(directory, compactor, "  compaction:\n    enabled: false")
}

fn push(server: &Server, from: i64, lines: i64) {
    let values: Vec<Value> = (from..from + lines)
        .map(|at| {
            let text = if at % 5 == 0 { format!("user {SECRET} came {at}") } else { format!("nobody came {at}") };
            json!([((START_S + at) * 1_000_000_000).to_string(), text])
        })
        .collect();
    let only_secret: Vec<Value> =
        values.iter().filter(|value| value[1].as_str().is_some_and(|t| t.contains(SECRET))).cloned().collect();
    server.push(&json!({"streams": [
        {"stream": {"service": "people"}, "values": values},
        {"stream": {"service": "people", "who": "known"}, "values": only_secret},
    ]}));
}

/// Asks lines away, seconds from [`START_S`]; answers the request's id.
pub(crate) fn delete(server: &Server, query: &str, from: i64, to: i64) -> String {
    let url = format!(
        "/loki/api/v1/delete?query={}&start={}&end={}",
        query.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>(),
        START_S + from,
        START_S + to
    );
    let answer = server.post(&url, &[], b"");
    assert_eq!(answer.status, 204, "{}", answer.text());
    requests(server).as_array().expect("a list").last().expect("one")["request_id"].as_str().expect("an id").to_owned()
}

fn requests(server: &Server) -> Value {
    server.get("/loki/api/v1/delete", &[]).json()
}

fn lines(server: &Server, filter: &str) -> usize {
    let (start, end) = (START_S.to_string(), (START_S + 3600).to_string());
    let query = format!(r#"{{service="people"}}{filter}"#);
    let params = [("query", query.as_str()), ("start", &start), ("end", &end), ("limit", "5000")];
    let answer = server.get("/loki/api/v1/query_range", &params);
    let body = answer.json();
    let streams = body["data"]["result"].as_array().expect("streams").clone();
    streams.iter().map(|stream| stream["values"].as_array().expect("values").len()).sum()
}

/// What every door says of the secret lines: LogQL, a metric, SQL, label values, series, stats.
fn traces(server: &Server) -> [i64; 6] {
    let (start, end) = (START_S.to_string(), (START_S + 3600).to_string());
    let range = [("start", start.as_str()), ("end", end.as_str())];
    let count = server
        .number(&format!(r#"sum(count_over_time({{service="people"}} |= "{SECRET}" [1h]))"#), START_S + 3590)
        as i64;
    let sql = format!("SELECT count(*) AS n FROM logs WHERE line LIKE '%{SECRET}%'");
    let sql = server.get("/api/v1/sql", &[("query", &sql)]);
    let sql: i64 = sql.text().chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(-1);
    let values = server.get("/loki/api/v1/label/who/values", &range).json();
    let values = values["data"].as_array().map_or(0, Vec::len) as i64;
    let series = server.get("/loki/api/v1/series", &[("match[]", r#"{who="known"}"#), range[0], range[1]]).json();
    let series = series["data"].as_array().map_or(0, Vec::len) as i64;
    let stats = server.get("/loki/api/v1/index/stats", &[("query", r#"{who="known"}"#), range[0], range[1]]).json();
    let stats = stats["entries"].as_i64().unwrap_or(-1);
    [lines(server, &format!(r#" |= "{SECRET}""#)) as i64, count, sql, values, series, stats]
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} took too long");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether any file below has the bytes; Parquet pages are packed, so rows are looked for by the engine too.
fn is_on_disk(directory: &Path, bytes: &[u8]) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let found = match path.is_dir() {
            true => is_on_disk(&path, bytes),
            false => memchr::memmem::find(&std::fs::read(&path).unwrap_or_default(), bytes).map(|_| path),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[test]
fn deleted_lines_are_hidden_everywhere_at_once_and_come_back_when_cancelled() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = slow(directory.path());
    let server = Server::start(&data, Some(&config), &[]);
    push(&server, 0, 100);
    server.flush();
    push(&server, 100, 100);
    let before = traces(&server);
    assert_eq!(before, [80, 80, 80, 1, 1, 40]);
    let all = lines(&server, "");
    assert_eq!(requests(&server), json!([]));
    let id = delete(&server, &format!(r#"{{service="people"}} |= "{SECRET}""#), 0, 3599);
    assert_eq!(traces(&server), [0; 6], "at once");
    assert_eq!(lines(&server, ""), all - 80);
    // What comes later is not touched: neither new lines nor the same ones again.
    push(&server, 300, 5);
    assert_eq!(traces(&server), [2, 2, 2, 1, 1, 1]);
    push(&server, 0, 1);
    assert_eq!(traces(&server), [4, 4, 4, 1, 1, 2], "a deleted line that is pushed again is a new one");
    server.kill();
    let server = Server::start(&data, Some(&config), &[]);
    assert_eq!(traces(&server), [4, 4, 4, 1, 1, 2], "after a crash");
    let shown = &requests(&server)[0];
    assert_eq!(
        (shown["status"].as_str(), shown["start_time"].as_i64(), shown["user_id"].as_str()),
        (Some("received"), Some(START_S), Some(""))
    );
    assert_eq!(server.get("/loki/api/v1/delete/certificate", &[("request_id", &id)]).status, 409);
    let cancel = |id: &str| server.delete(&format!("/loki/api/v1/delete?request_id={id}"));
    let unknown = cancel("00000000");
    assert_eq!((unknown.status, unknown.text().as_str()), (404, "could not find delete request with given id\n"));
    assert_eq!(cancel(&id).status, 204);
    // A log query shows equal entries once: those that were pushed again are beside their originals.
    assert_eq!(traces(&server), [82, 84, 84, 1, 1, 42], "cancelled");
    assert_eq!(requests(&server), json!([]));
}

#[test]
fn a_delete_is_carried_out_certified_and_no_byte_is_left() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = quick(directory.path());
    let server = Server::start(&data, Some(&config), &[]);
    for from in [0, 100, 200] {
        push(&server, from, 100);
        server.flush();
    }
    push(&server, 300, 50);
    assert!(is_on_disk(&data, SECRET.as_bytes()).is_some(), "the log has it");
    // Whole streams, without a filter; then by a filter.
    let whole = delete(&server, r#"{who="known"}"#, 0, 3599);
    let filtered = delete(&server, &format!(r#"{{service="people"}} |= "{SECRET}""#), 0, 3599);
    assert_eq!(traces(&server), [0; 6]);
    push(&server, 400, 4);
    for id in [&whole, &filtered] {
        wait_for("a certificate", || {
            server.get("/loki/api/v1/delete/certificate", &[("request_id", id)]).status == 200
        });
    }
    assert_eq!(traces(&server), [2, 2, 2, 1, 1, 1], "only what came later");
    assert!(requests(&server).as_array().expect("a list").iter().all(|request| request["status"] == "processed"));
    let certificate = server.get("/loki/api/v1/delete/certificate", &[("request_id", &filtered)]);
    let signed = certificate.json();
    // Both asked for the lines of one stream: who comes second finds those that the first has not taken yet.
    let rows = signed["certificate"]["rows_deleted"].as_u64().expect("a count");
    assert!((70..=140).contains(&rows), "{signed}");
    assert_eq!(signed["certificate"]["tenant"], "fake");
    let of_whole = server.get("/loki/api/v1/delete/certificate", &[("request_id", &whole)]).json();
    assert_eq!(of_whole["certificate"]["rows_deleted"], 70, "{of_whole}");
    for rewrite in signed["certificate"]["files"].as_array().expect("files") {
        assert!(!data.join("logs").join(rewrite["before"]["path"].as_str().expect("a path")).exists());
        assert_eq!(rewrite["before"]["sha256"].as_str().map(str::len), Some(64));
    }
    let file = directory.path().join("certificate.json");
    std::fs::write(&file, certificate.text()).expect("written");
    let verify = |file: &Path| {
        Command::new(env!("CARGO_BIN_EXE_millrace")).args(["delete", "verify"]).arg(file).output().expect("it runs")
    };
    let verified = verify(&file);
    assert!(verified.status.success(), "{verified:?}");
    assert!(String::from_utf8_lossy(&verified.stdout).contains("signature good"));
    std::fs::write(&file, certificate.text().replace(&format!("\"rows_deleted\":{rows}"), "\"rows_deleted\":141"))
        .expect("written");
    assert!(!verify(&file).status.success());
    // The later lines have the secret too: away with them, and the log is cut by the certificate's wait.
    let rest = delete(&server, &format!(r#"{{service=~".+"}} |= "{SECRET}""#), 0, 3599);
    wait_for("the last certificate", || {
        server.get("/loki/api/v1/delete/certificate", &[("request_id", &rest)]).status == 200
    });
    assert_eq!(lines(&server, "") as i64, 350 + 4 - 70 - 1);
    server.stop();
    let ledger = data.join("logs/_millrace");
    let moved = directory.path().join("ledger");
    std::fs::rename(&ledger, &moved).expect("the ledger, which has the query, aside");
    assert_eq!(is_on_disk(&data, SECRET.as_bytes()), None);
    // Packed pages are read by the engine: it finds none either, with nothing hidden.
    let server = Server::start(&data, Some(&config), &[]);
    assert_eq!(traces(&server), [0; 6]);
}

#[test]
fn whoever_may_not_delete_is_told_as_loki_tells() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = configured(directory.path(), "  compaction_interval: 1h", "  push: {}");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    let answer = server.get("/loki/api/v1/delete", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (400, "Retention is not enabled\n"));
    drop(server);
    let config = slow(directory.path());
    let text = std::fs::read_to_string(&config).expect("readable");
    assert!(text.contains("limits_config:\n"), "{text}");
    std::fs::write(&config, text.replace("limits_config:\n", "limits_config:\n  deletion_mode: disabled\n"))
        .expect("written");
    let server = Server::start(&directory.path().join("other"), Some(&config), &[]);
    let answer = server.get("/loki/api/v1/delete", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (403, "deletion is not available for this tenant\n"));
}
