//! SQL over Arrow Flight, asked by the ADBC driver and by pyarrow.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::clients::{installed, run};
use crate::harness::{Server, repository};
use crate::postgres::{START_NS, push, wait_for, with_roles, with_rows};

fn python(script: &PathBuf, server: &Server, what: &str, more: &[&str]) -> BTreeMap<String, Value> {
    let address = server.address("flight ");
    let said = run(Command::new(script).arg(repository("tests/clients/flight.py")).args([what, &address]).args(more));
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let seen: BTreeMap<_, _> =
        lines.map(|line| (line["check"].as_str().expect("a name").to_owned(), line["value"].clone())).collect();
    assert!(!seen.is_empty(), "{said}");
    seen
}

#[test]
fn adbc_and_pyarrow_ask_prepare_and_look_around() {
    let Some(script) = installed("MILLRACE_TEST_PYTHON", "ADBC") else { return };
    let (_directory, server) = with_rows(None);
    push(&server, None, None);
    let seen = python(&script, &server, "queries", &[]);
    let check = |name: &str, expected: Value| assert_eq!(seen.get(name), Some(&expected), "{name}");
    check("types", json!(["timestamp[ns, tz=UTC]", "string", "string", "string", "map<string, string>"]));
    check("nanoseconds", json!((START_NS + 7).to_string()));
    check("metadata", json!([["trace_id", "t0"]]));
    check("frame", json!(3));
    let interval = "MonthDayNano(months=0, days=0, nanoseconds=5400000000000)";
    check("numbers", json!(["1", "1.5", "12.345", "True", "None", interval, "18446744073709551615", "[1, 2]", "7"]));
    check("no rows", json!([]));
    check("with", json!([[2]]));
    check("explain", json!(true));
    check("text parameter", json!([[2]]));
    check("two parameters", json!([["level=info n=0"], ["level=info n=1"]]));
    check("prepared", json!([1, 2, 3]));
    check("parameters", json!(["int64", "string"]));
    let columns = json!(["timestamp", "labels", "level", "line", "metadata"]);
    check("objects", json!(["millrace", "public", "logs", "VIEW", columns]));
    check("table types", json!(["VIEW"]));
    check("schema", json!(["labels", "stream_id", "first_seen", "last_seen", "entries", "bytes"]));
    check("info", json!(["Millrace", env!("CARGO_PKG_VERSION")]));
    for sql in [
        "selec",
        "select * from no_such_view",
        "insert into logs select * from logs",
        "create table t as select 1",
        "copy (select 1) to '/tmp/out.csv'",
        "select 1 / 0",
        "set datafusion.runtime.memory_limit = '1G'",
    ] {
        check(sql, json!("INVALID_ARGUMENT"));
    }
    assert!(seen["ingest"].as_str().is_some_and(|said| said.contains("only reads")), "{}", seen["ingest"]);
    check("pyarrow", json!([{"n": 42}]));
    check("no command", json!("ArrowInvalid"));
    check("no ticket", json!("ArrowInvalid"));
}

#[test]
fn who_stops_reading_stops_the_work() {
    let Some(script) = installed("MILLRACE_TEST_PYTHON", "ADBC") else { return };
    let (_directory, server) = with_rows(None);
    let seen = python(&script, &server, "stream", &[]);
    assert!(seen["first rows"].as_u64().is_some_and(|rows| rows > 1000), "{seen:?}");
    let listed = || server.get("/api/v1/queries", &[]).json()["queries"].as_array().map_or(0, Vec::len);
    wait_for(|| (listed() == 0).then_some(()));
    wait_for(|| (server.metric("millrace_sql_connections{door=\"flight\"}") == 0.0).then_some(()));
}

#[test]
fn tenants_are_named_in_a_header() {
    let Some(script) = installed("MILLRACE_TEST_PYTHON", "ADBC") else { return };
    let config = "auth_enabled: true\nquerier: {multi_tenant_queries_enabled: true}\nlimits_config: {reject_old_samples: false}\n";
    let (_directory, server) = with_rows(Some(config));
    push(&server, Some("a"), None);
    push(&server, Some("b"), None);
    let sql = "select count(*), max(line) from logs";
    let rows = |tenant: &str| python(&script, &server, "ask", &[sql, &format!("tenant={tenant}")])["rows"].clone();
    assert_eq!(rows("a"), json!([[3, "level=info n=2 of a"]]));
    assert_eq!(rows("a|b"), json!([[6, "level=info n=2 of b"]]));
    let nobody = python(&script, &server, "ask", &[sql]);
    assert_eq!(nobody["error"][0], "UNAUTHENTICATED", "{nobody:?}");
}

#[test]
fn roles_hold_and_statements_are_recorded() {
    let Some(script) = installed("MILLRACE_TEST_PYTHON", "ADBC") else { return };
    let (_directory, server) = with_roles();
    let ask = |sql: &str, credentials: &[&str]| {
        let arguments: Vec<&str> = [sql].iter().chain(credentials).copied().collect();
        python(&script, &server, "ask", &arguments)
    };
    let count = "select count(*) from logs";
    assert_eq!(ask(count, &["token=dev-token"])["rows"], json!([[2]]));
    for wrong in [&["token=wrong"][..], &[], &["user=ana", "password=wrong"]] {
        assert_eq!(ask(count, wrong)["error"][0], "UNAUTHENTICATED", "{wrong:?}");
    }
    assert_eq!(ask(count, &["token=agent-token"])["error"][0], "UNAUTHORIZED", "who only pushes");
    for sql in [
        "select * from logs",
        "select * from streams",
        "select a.line from logs a join streams b on b.labels like '%vault%'",
        "explain select * from logs",
        "select cast(line as int) from logs",
    ] {
        let answer = format!("{:?}", ask(sql, &["token=dev-token"]));
        assert!(!answer.contains("secret") && !answer.contains("p1@") && !answer.contains("o1@"), "{sql}: {answer}");
    }
    let many = "select * from generate_series(1, 60)";
    let refused = ask(many, &["token=dev-token"]);
    assert!(refused["error"][1].as_str().is_some_and(|said| said.contains("more than 50 rows")), "{refused:?}");
    assert_eq!(ask(many, &["token=sec-token"])["rows"].as_array().map(Vec::len), Some(60));
    let trail = || {
        let sql = "select event, status, text from query_log where door = 'flight' order by timestamp";
        let headers = [("Authorization", "Bearer audit-token"), ("Accept", "text/csv")];
        server.get_with("/api/v1/sql", &[("query", sql)], &headers).text()
    };
    let exports = |trail: &str| trail.lines().filter(|line| line.starts_with("export,") && line.contains(many)).count();
    let trail = wait_for(|| Some(trail()).filter(|trail| exports(trail) == 2));
    assert!(trail.contains("denied,401,") && trail.contains("denied,403,") && trail.contains("login,200,"), "{trail}");
    assert!(trail.contains(&format!("query,200,{count}")), "{trail}");
}
