//! The audit trail of the real server: what it records, who sees it, and that nothing done to it stays unseen.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::full_disk::SmallDisk;
use crate::harness::{Reply, Server, repository};
use crate::s3::{ACCESS_KEY, Proxy, S3, SECRET_KEY};

const START_NS: i64 = 1_768_471_200_000_000_000;
const TRAIL: &str = r#"{service="millrace", logger="audit"}"#;
/// How long records may take to be readable.
const WAIT: Duration = Duration::from_secs(20);

fn bearer(token: &str) -> (&'static str, &str) {
    // Leaked so that a table of headers can borrow it: a test makes a handful.
    ("Authorization", Box::leak(format!("Bearer {token}").into_boxed_str()))
}

/// A server with the shipped roles; a screen has a hundred rows.
fn start(data: &Path, audit: &str) -> Server {
    let mut config = std::fs::read_to_string(repository("examples/roles.yaml")).expect("the example");
    for token in ["DEV", "SRE", "SEC", "AUDIT", "AGENT", "OPERATOR"] {
        config = config.replace(&format!("${{{token}_TOKEN}}"), &format!("{}-token", token.to_lowercase()));
    }
    config.push_str("limits_config: {reject_old_samples: false, max_entries_limit_per_query: 100}\n");
    config.push_str("compactor: {retention_enabled: true, retention_delete_delay: 0s}\n");
    config.push_str(&format!("millrace: {{audit: {{heads_interval: 1s, {audit}}}}}\n"));
    let path = data.with_extension("yaml");
    std::fs::write(&path, config).expect("written");
    Server::start(data, Some(&path), &["--http-address", "127.0.0.1"])
}

fn get(server: &Server, token: &str, path: &str, params: &[(&str, &str)]) -> Reply {
    server.get_with(path, params, &[bearer(token)])
}

fn ask(server: &Server, token: &str, query: &str) -> Reply {
    let of_the_push = [("start", "1768471100"), ("end", "1768471300")];
    let mut params = vec![("query", query)];
    params.extend(of_the_push.iter().filter(|_| !query.starts_with(TRAIL)));
    get(server, token, "/loki/api/v1/query_range", &params)
}

fn sql(server: &Server, token: &str, text: &str) -> Value {
    let answer = get(server, token, "/api/v1/sql", &[("query", text)]);
    assert_eq!(answer.status, 200, "{text}: {}", answer.text());
    answer.json()
}

fn push(server: &Server, service: &str, lines: usize) -> Reply {
    let values: Vec<Value> =
        (0..lines).map(|at| json!([(START_NS + at as i64).to_string(), format!("line {at}")])).collect();
    let stream = json!({"service": service, "logger": "audit"});
    let body = json!({"streams": [{"stream": stream, "values": values}]}).to_string();
    server.post("/loki/api/v1/push", &[("Content-Type", "application/json"), bearer("agent-token")], body.as_bytes())
}

/// The number of records that `condition` chooses, once they are as many as expected.
fn wait_for(server: &Server, condition: &str, expected: i64) {
    let started = Instant::now();
    loop {
        let text = format!("select count(*) as n from query_log where {condition}");
        let found = sql(server, "audit-token", &text)[0]["n"].as_i64().expect("a number");
        if found == expected {
            return;
        }
        assert!(found < expected && started.elapsed() < WAIT, "{found} records of {condition}, not {expected}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn verify(data: &Path, more: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["audit", "verify"]).arg(data).args(more).env_remove("MILLRACE_CONFIG");
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

#[test]
fn what_is_done_is_recorded_and_shown_to_those_who_may_see_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = start(&directory.path().join("data"), "");
    assert_eq!(push(&server, "mine-api", 150).status, 204);
    assert_eq!(ask(&server, "dev-token", r#"{service="mine-api"} |= "line 7""#).status, 200);
    assert_eq!(get(&server, "dev-token", "/loki/api/v1/labels", &[]).status, 200);
    sql(&server, "sre-token", "select count(*) as n from logs");
    assert_eq!(sql(&server, "sre-token", "select line from logs").as_array().map(Vec::len), Some(150));
    assert_eq!(get(&server, "dev-token", "/config", &[]).status, 403);
    assert_eq!(server.get("/loki/api/v1/labels", &[]).status, 401);
    assert_eq!(get(&server, "no-such-token", "/loki/api/v1/labels", &[]).status, 401);
    assert_eq!(push(&server, "x", 0).status, 204);
    let delete = "/loki/api/v1/delete?query=%7Bservice%3D%22mine-api%22%7D&start=1768471200&end=1768471201";
    assert_eq!(server.post(delete, &[bearer("sec-token")], b"").status, 204);
    let group = b"name: g\nrules:\n- record: r\n  expr: sum(rate({service=\"mine-api\"}[1m]))\n";
    assert_eq!(server.post("/loki/api/v1/rules/ns", &[bearer("sre-token")], group).status, 202);
    assert_eq!(server.post("/log_level?log_level=warn", &[bearer("operator-token")], b"").status, 200);
    wait_for(&server, "event = 'admin'", 1);
    let columns = "event, phase, who, status, language, text, \"rows\"";
    let of_others = "who not in ('audit') order by seq";
    let found = sql(&server, "audit-token", &format!("select {columns} from query_log where {of_others}"));
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let found: Vec<String> = found
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row.as_object().expect("an object").values().map(shown).collect::<Vec<_>>().join(" "))
        .collect();
    let deleted = r#"{service="mine-api"}"#;
    let group = "ns: name: g\nrules:\n- record: r\n  expr: sum(rate({service=\"mine-api\"}[1m]))\n";
    assert_eq!(
        found,
        [
            "login null promtail 200 null null null".to_owned(),
            "login null dev 200 null null null".to_owned(),
            r#"query null dev 200 logql {service="mine-api"} |= "line 7" 11"#.to_owned(),
            "browse null dev 200 null null null".to_owned(),
            "login null sre 200 null null null".to_owned(),
            "query null sre 200 sql select count(*) as n from logs 1".to_owned(),
            "export asked sre null sql select line from logs 150".to_owned(),
            "export done sre 200 sql select line from logs 150".to_owned(),
            "denied null dev 403 null null null".to_owned(),
            "denied null  401 null null null".to_owned(),
            "denied null  401 null null null".to_owned(),
            "login null sec 200 null null null".to_owned(),
            format!("delete asked sec null logql {deleted} null"),
            format!("delete done sec 204 logql {deleted} null"),
            format!("rules asked sre null yaml {group} null"),
            format!("rules done sre 202 yaml {group} null"),
            "admin null operator 200 null warn null".to_owned(),
        ]
    );
    let more = "select source, door, endpoint, roles, tenant, error, bytes_read, rows_read, duration_ms from query_log";
    let query = &sql(&server, "audit-token", &format!("{more} where who = 'dev' and event = 'query'"))[0];
    assert_eq!((&query["source"], &query["tenant"]), (&json!("127.0.0.1"), &json!("fake")));
    assert_eq!((&query["roles"], &query["rows_read"]), (&json!(r#"["developer"]"#), &json!(150)));
    assert_eq!(query["endpoint"], "GET /loki/api/v1/query_range");
    assert!(query["bytes_read"].as_i64() > Some(800) && query["duration_ms"].as_f64() > Some(0.0), "{query}");
    let denied = &sql(&server, "audit-token", &format!("{more} where who = 'dev' and event = 'denied'"))[0];
    assert!(denied["error"].as_str().is_some_and(|text| text.contains("dev may not do this")), "{denied}");
    // Who has not the action sees none of it, by whatever door; who has sees it in LogQL too.
    for token in ["dev-token", "sre-token", "sec-token"] {
        assert!(ask(&server, token, TRAIL).text().contains(r#""result":[]"#), "{token}");
        assert_eq!(sql(&server, token, "select count(*) as n from query_log"), json!([{"n": 0}]), "{token}");
        let series = get(&server, token, "/loki/api/v1/series", &[("match[]", TRAIL)]);
        assert!(!series.text().contains("audit"), "{token}: {}", series.text());
    }
    let text = ask(&server, "audit-token", &format!(r#"{TRAIL} | json | event="denied""#)).text();
    assert!(text.contains("dev may not do this"), "{text}");
    let all = sql(&server, "audit-token", "select line from logs").to_string();
    assert!(!all.contains("-token") && all.contains("line 7"), "{all}");
}

#[test]
fn the_trail_belongs_to_nobody() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let server = start(&data, "");
    assert_eq!(push(&server, "mine-api", 1).status, 204);
    let forged = push(&server, "millrace", 1);
    assert_eq!(forged.status, 400);
    assert!(forged.text().contains("is kept for the server's own audit records"), "{}", forged.text());
    ask(&server, "dev-token", r#"{service="mine-api"}"#);
    wait_for(&server, "event = 'query' and who = 'dev'", 1);
    assert_eq!(server.post("/flush", &[bearer("operator-token")], b"").status, 204);
    // A delete of everything leaves it.
    let delete = "/loki/api/v1/delete?query=%7Bservice%3D~%22.%2B%22%7D&start=1768471200";
    assert_eq!(server.post(delete, &[bearer("sec-token")], b"").status, 204);
    assert_eq!(sql(&server, "sre-token", "select count(*) as n from logs"), json!([{"n": 0}]));
    wait_for(&server, "event = 'query' and who = 'dev'", 1);
    server.stop();
    let (output, text) = verify(&data, &[]);
    assert!(output.status.success() && text.contains(": whole"), "{text}");
}

#[test]
fn the_trail_goes_on_after_a_restart_and_is_seen_to_be_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    for round in 0..3 {
        let server = start(&data, "");
        if round == 0 {
            assert_eq!(push(&server, "mine-api", 1).status, 204);
        }
        for at in 0..3 {
            ask(&server, "dev-token", &format!(r#"{{service="mine-api"}} |= "{round} {at}""#));
        }
        wait_for(&server, "event = 'query' and who = 'dev'", (round + 1) * 3);
        // While it runs, too.
        let (output, text) = verify(&data, &[]);
        assert!(output.status.success() && text.contains(": whole"), "{text}");
        match round {
            0 => server.kill(),
            1 => server.stop(),
            _ => assert_eq!(server.post("/flush", &[bearer("operator-token")], b"").status, 204),
        }
    }
    let (output, text) = verify(&data, &["--public-key", "AAAA"]);
    assert!(output.status.code() == Some(1) && text.contains("are signed with"), "{text}");
    let (output, text) = verify(&directory.path().join("nowhere"), &[]);
    assert!(output.status.code() == Some(2) && text.contains("is not there"), "{text}");
}

/// A data directory with a trail in its log, whose heads are kept; where its segment is.
fn with_trail(directory: &Path) -> (PathBuf, PathBuf) {
    let data = directory.join("data");
    let server = start(&data, "");
    assert_eq!(push(&server, "mine-api", 1).status, 204);
    for at in 0..4 {
        ask(&server, "dev-token", &format!(r#"{{service="mine-api"}} |= "needle-{at}""#));
        wait_for(&server, "event = 'query' and who = 'dev'", at + 1);
    }
    // Time for the heads.
    std::thread::sleep(Duration::from_millis(2500));
    server.kill();
    let segments = std::fs::read_dir(data.join("wal")).expect("there").map(|entry| entry.expect("readable").path());
    let segment = segments.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).max();
    (data, segment.expect("a segment"))
}

/// Records of a segment: where each begins and ends.
fn wal_records(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut found) = (16, Vec::new());
    while at + 20 <= bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("four bytes")) as usize;
        found.push(at..at + 20 + length);
        at += 20 + length;
    }
    found
}

/// Writes a record's checksum anew, as somebody who knows the format would.
fn reseal(record: &mut [u8]) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&record[4..8]);
    crc.update(&record[12..]);
    let sum = crc.finalize().to_le_bytes();
    record[8..12].copy_from_slice(&sum);
}

#[test]
fn a_changed_record_is_found() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, segment) = with_trail(directory.path());
    let mut bytes = std::fs::read(&segment).expect("readable");
    let at = memchr::memmem::find(&bytes, b"needle-2").expect("the query is in the log");
    let record = wal_records(&bytes).into_iter().find(|record| record.contains(&at)).expect("in a record");
    bytes[at..at + 6].copy_from_slice(b"hidden");
    reseal(&mut bytes[record]);
    std::fs::write(&segment, bytes).expect("written");
    let (output, text) = verify(&data, &[]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is not as it was written: its hash is not that of its text"), "{text}");
    assert_eq!(text.matches("PROBLEM").count(), 1, "{text}");
}

#[test]
fn an_end_that_was_cut_off_is_found_and_stays_a_gap() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, segment) = with_trail(directory.path());
    let bytes = std::fs::read(&segment).expect("readable");
    let records = wal_records(&bytes);
    let kept = records[records.len() - 3].start;
    std::fs::write(&segment, &bytes[..kept]).expect("written");
    let (output, text) = verify(&data, &[]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("the end was cut off"), "{text}");
    let server = start(&data, "");
    ask(&server, "dev-token", r#"{service="mine-api"} |= "afterwards""#);
    wait_for(&server, "text like '%afterwards%' and event = 'query' and who = 'dev'", 1);
    assert!(
        server.get_with("/metrics", &[], &[bearer("operator-token")]).text().contains("millrace_audit_broken_chains 1")
    );
    server.stop();
    let (output, text) = verify(&data, &[]);
    assert!(output.status.code() == Some(1) && text.contains("are missing"), "{text}");
    // Heads that are taken away, too, are missed.
    let heads = data.join("logs/_millrace/audit");
    std::fs::remove_dir_all(heads).expect("removed");
    let (output, text) = verify(&data, &[]);
    assert!(output.status.code() == Some(1) && text.contains("no head of this chain is kept"), "{text}");
}

#[test]
fn retention_of_its_own_takes_what_is_old_and_verify_knows() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let server = start(&data, "");
    assert_eq!(push(&server, "mine-api", 1).status, 204);
    ask(&server, "dev-token", r#"{service="mine-api"}"#);
    wait_for(&server, "event = 'query' and who = 'dev'", 1);
    server.stop();
    std::thread::sleep(Duration::from_millis(1500));
    let server = start(&data, "retention: 1s");
    assert_eq!(server.post("/api/v1/table/upkeep", &[bearer("operator-token")], b"").status, 204);
    wait_for_none(&server, "event = 'query' and who = 'dev'");
    server.stop();
    let (output, text) = verify(&data, &["--retention", "1s"]);
    assert!(output.status.success() && text.contains("past their period and gone"), "{text}");
    let (output, text) = verify(&data, &[]);
    assert!(output.status.code() == Some(1) && text.contains("are missing"), "{text}");
}

fn wait_for_none(server: &Server, condition: &str) {
    let started = Instant::now();
    let text = format!("select count(*) as n from query_log where {condition}");
    while sql(server, "audit-token", &text) != json!([{"n": 0}]) {
        assert!(started.elapsed() < WAIT, "there are still records of {condition}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn tenants_have_chains_of_their_own_and_nobody_makes_a_tenant_by_asking() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let path = directory.path().join("config.yaml");
    let config = "auth_enabled: true\nmillrace: {audit: {enabled: true}}\nlimits_config: {reject_old_samples: false}\n";
    std::fs::write(&path, config).expect("written");
    let server = Server::start(&data, Some(&path), &["--http-address", "127.0.0.1"]);
    let of = |tenant: &'static str| ("X-Scope-OrgID", tenant);
    let body = json!({"streams": [{"stream": {"a": "b"}, "values": [[START_NS.to_string(), "x"]]}]}).to_string();
    for tenant in ["a", "b"] {
        let headers = [("Content-Type", "application/json"), of(tenant)];
        assert_eq!(server.post("/loki/api/v1/push", &headers, body.as_bytes()).status, 204);
    }
    let ask = |tenant: &'static str| {
        let params = [("query", r#"{a="b"}"#)];
        assert_eq!(server.get_with("/loki/api/v1/query_range", &params, &[of(tenant)]).status, 200);
    };
    ["a", "b", "a", "made-up"].into_iter().for_each(ask);
    assert_eq!(server.get("/loki/api/v1/labels", &[]).status, 401);
    let count = |tenant: &'static str, condition: &str| {
        let text = format!("select count(*) as n from query_log where {condition}");
        let answer = server.get_with("/api/v1/sql", &[("query", &text)], &[of(tenant)]);
        answer.json()[0]["n"].as_i64().expect("a number")
    };
    let started = Instant::now();
    while count("millrace", "tenant = 'made-up'") < 1 {
        assert!(started.elapsed() < WAIT, "no record");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((count("a", "language = 'logql'"), count("b", "language = 'logql'")), (2, 1));
    // A request without a tenant is the server's.
    assert_eq!((count("millrace", "event = 'denied'"), count("made-up", "true")), (1, 0));
    server.stop();
    let (output, text) = verify(&data, &[]);
    assert!(output.status.success() && text.matches(": whole").count() == 3, "{text}");
    assert!(!text.contains("made-up/"), "{text}");
}

#[test]
fn on_a_full_disk_questions_are_answered_and_deletes_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = SmallDisk::mount(directory.path().join("disk"), 8 << 20);
    let data = disk.directory.join("data");
    let path = directory.path().join("config.yaml");
    let config = "auth_enabled: false\nserver: {http_listen_address: 127.0.0.1}\nlimits_config: {reject_old_samples: false}\ncompactor: {retention_enabled: true}\nmillrace: {audit: {enabled: true, queue_records_max: 4, queue_wait: 20ms}}\n";
    std::fs::write(&path, config).expect("written");
    let server = Server::start(&data, Some(&path), &[]);
    server.push(&json!({"streams": [{"stream": {"a": "b"}, "values": [[START_NS.to_string(), "x"]]}]}));
    let params = [("query", r#"{a="b"}"#), ("start", "1768471100"), ("end", "1768471300")];
    let ask = || server.get("/loki/api/v1/query_range", &params).status;
    let count = |condition: &str| {
        let text = format!("select count(*) as n from query_log where {condition}");
        server.get("/api/v1/sql", &[("query", &text)]).json()[0]["n"].as_i64().expect("a number")
    };
    assert_eq!(ask(), 200);
    disk.fill(0);
    let started = Instant::now();
    while server.metric("millrace_audit_lost_records_total ") < 1.0 {
        assert_eq!(ask(), 200, "questions are answered");
        assert!(started.elapsed() < WAIT, "the queue is never full");
    }
    let delete = "/loki/api/v1/delete?query=%7Ba%3D%22b%22%7D&start=1768471200&end=1768471201";
    let refused = server.post(delete, &[], b"");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("takes no records now, so nothing was done"), "{}", refused.text());
    assert_eq!(server.get("/loki/api/v1/delete", &[]).json(), json!([]));
    disk.make_room();
    let started = Instant::now();
    while count("event = 'lost' and count >= 1") < 1 {
        assert!(started.elapsed() < WAIT, "the loss is not in the trail");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.post(delete, &[], b"").status, 204);
    let started = Instant::now();
    while count("event = 'delete' and phase = 'done' and status = 204") < 1 {
        assert!(started.elapsed() < WAIT, "the delete is not in the trail");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(count("event = 'delete' and phase = 'asked'") >= 1);
    server.stop();
    let (output, text) = verify(&data, &[]);
    assert!(output.status.success() && text.contains(": whole"), "{text}");
}

#[test]
fn a_trail_in_a_bucket_is_verified_and_read_without_a_server() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    let path = directory.path().join("config.yaml");
    let config = format!(
        "auth_enabled: false\nserver: {{http_listen_address: 127.0.0.1}}\nlimits_config: {{reject_old_samples: false}}\nmillrace:\n  audit: {{enabled: true}}\n  table:\n    url: s3://logs/table\n    options: {{aws_endpoint: '{}', aws_access_key_id: {ACCESS_KEY}, aws_secret_access_key: {SECRET_KEY}}}\n",
        proxy.endpoint
    );
    std::fs::write(&path, config).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&path), &[]);
    server.push(&json!({"streams": [{"stream": {"a": "b"}, "values": [[START_NS.to_string(), "x"]]}]}));
    let params = [("query", r#"{a="b"}"#), ("start", "1768471100"), ("end", "1768471300")];
    assert_eq!(server.get("/loki/api/v1/query_range", &params).status, 200);
    server.stop();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.args(arguments).env("AWS_ENDPOINT", &proxy.endpoint);
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        let output = command.output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, text) = run(&["audit", "verify", "s3://logs/table"]);
    assert!(code == Some(0) && text.contains("fake/") && text.contains(": whole"), "{text}");
    let sql = "select event, text from query_log where event = 'query'";
    let (code, text) = run(&["sql", "--url", "s3://logs/table", "-c", sql, "--format", "ndjson"]);
    assert_eq!((code, text.as_str()), (Some(0), "{\"event\":\"query\",\"text\":\"{a=\\\"b\\\"}\"}\n"));
    let (code, text) = run(&[
        "query",
        "--url",
        "s3://logs/table",
        "-o",
        "raw",
        r#"{a="b"}"#,
        "--from",
        "2026-01-15",
        "--to",
        "2026-01-16",
    ]);
    assert_eq!((code, text.as_str()), (Some(0), "x\n"));
}

#[test]
fn a_trail_is_whole_after_a_restore() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let server = start(&data, "");
    assert_eq!(push(&server, "mine-api", 1).status, 204);
    let millrace = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        let output = command.args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (config, repository) = (path(&data.with_extension("yaml")), path(&directory.path().join("backups")));
    for at in 0..3 {
        ask(&server, "dev-token", &format!(r#"{{service="mine-api"}} |= "{at}""#));
        wait_for(&server, "event = 'query' and who = 'dev'", at + 1);
        std::thread::sleep(Duration::from_millis(1100));
    }
    millrace(&["backup", "create", &repository, "--config", &config, "--data", &path(&data)]);
    ask(&server, "dev-token", r#"{service="mine-api"} |= "later""#);
    server.stop();
    let restored = directory.path().join("restored");
    millrace(&["backup", "restore", &repository, "--config", &config, "--data", &path(&restored)]);
    let (output, text) = verify(&restored, &[]);
    assert!(output.status.success() && text.contains(": whole"), "{text}");
    let server = start(&restored, "");
    ask(&server, "dev-token", r#"{service="mine-api"} |= "restored""#);
    wait_for(&server, "event = 'query' and who = 'dev'", 4);
    server.stop();
    let (output, text) = verify(&restored, &[]);
    assert!(output.status.success() && text.contains(": whole"), "{text}");
}
