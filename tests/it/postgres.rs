//! SQL over the Postgres wire, asked by psql, psycopg and SQLAlchemy.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clients::{installed, run};
use crate::harness::{Server, repository};

pub(crate) const START_NS: i64 = 1_768_471_200_000_000_000;

pub(crate) fn with_rows(config: Option<&str>) -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("config.yaml");
    let text = config
        .map_or_else(|| std::fs::read_to_string(repository("tests/golden/config.yaml")), |text| Ok(text.to_owned()));
    std::fs::write(&path, text.expect("the golden settings")).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&path), &["--http-address", "127.0.0.1"]);
    (directory, server)
}

pub(crate) fn push(server: &Server, tenant: Option<&str>, token: Option<&str>) {
    for (at, service) in ["api", "api", "worker"].iter().enumerate() {
        let ts = (START_NS + at as i64 * 60_000_000_000 + 7).to_string();
        let metadata = json!({"trace_id": format!("t{at}")});
        let line = format!("level=info n={at}{}", tenant.map(|tenant| format!(" of {tenant}")).unwrap_or_default());
        let body = json!({"streams": [{"stream": {"service": service}, "values": [[ts, line, metadata]]}]});
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(tenant.map(|tenant| ("X-Scope-OrgID", tenant)));
        let token = token.map(|token| format!("Bearer {token}"));
        headers.extend(token.as_deref().map(|token| ("Authorization", token)));
        let answer = server.post("/loki/api/v1/push", &headers, body.to_string().as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.text());
        if at == 0 && token.is_none() {
            server.flush();
        }
    }
}

/// Where the door is.
fn place(server: &Server) -> (String, String) {
    let address = server.address("postgres ");
    let (host, port) = address.rsplit_once(':').expect("an address");
    (host.to_owned(), port.to_owned())
}

fn has_psql() -> bool {
    let found = Command::new("psql").arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: psql not tested, because there is none; .ci/run installs it");
    }
    found
}

fn psql(server: &Server, user: &str, password: &str, database: &str, arguments: &[&str]) -> Output {
    let (host, port) = place(server);
    Command::new("psql")
        .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", &host, "-p", &port, "-U", user, "-d", database])
        .args(arguments)
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "30")
        .output()
        .expect("psql runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn python(script: &PathBuf, server: &Server, what: &str, more: &[&str]) -> BTreeMap<String, Value> {
    let (host, port) = place(server);
    let said =
        run(Command::new(script).arg(repository("tests/clients/postgres.py")).args([what, &host, &port]).args(more));
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{said}")));
    lines.map(|line| (line["check"].as_str().expect("a name").to_owned(), line["value"].clone())).collect()
}

#[test]
fn psql_asks_describes_and_is_told_what_is_wrong() {
    if !has_psql() {
        return;
    }
    let (_directory, server) = with_rows(None);
    push(&server, None, None);
    let check = |command: &str, expected: &str| {
        let output = psql(&server, "ana", "", "millrace", &["-c", command]);
        assert_eq!(said(&output).trim_end(), expected, "{command}");
    };
    check("select count(*) from logs", "3");
    check(
        "select timestamp, labels['service'], line, metadata from logs order by timestamp limit 1",
        r#"2026-01-15 10:00:00.000000+00|api|level=info n=0|{"trace_id":"t0"}"#,
    );
    check("select 1; select 'two'; begin; commit", "1\ntwo\nBEGIN\nCOMMIT");
    check("select 1 as a union all select null order by a", "1");
    check("select current_database(), current_user", "millrace|ana");
    check("values (1, 'a'), (2, 'b')", "1|a\n2|b");
    check("show transaction_read_only", "on");
    for (command, expected) in
        [("\\d logs", "timestamp"), ("\\dt", "rules"), ("\\dv", "logs"), ("\\l", "millrace"), ("\\dn", "public")]
    {
        let output = psql(&server, "ana", "", "millrace", &["-c", command]);
        let said = said(&output);
        assert!(output.status.success() && said.contains(expected), "{command}: {said}");
    }
    for (sql, expected) in [
        ("selec", "ERROR:  42601"),
        ("delete from logs", "ERROR:  25006: cannot execute DELETE in a read-only transaction"),
        ("drop table logs", "ERROR:  25006: cannot execute DROP TABLE in a read-only transaction"),
        ("select * from nothing", "ERROR:  42P01"),
    ] {
        let output = psql(
            &server,
            "ana",
            "",
            "millrace",
            &["-v", "VERBOSITY=sqlstate", "-c", "\\set VERBOSITY verbose", "-c", sql],
        );
        assert!(!output.status.success() && said(&output).contains(expected), "{sql}: {}", said(&output));
    }
    let wrong = psql(&server, "ana", "", "nothing", &["-c", "select 1"]);
    assert!(said(&wrong).contains("database \"nothing\" does not exist"), "{}", said(&wrong));
    assert_eq!(server.metric("millrace_sql_connections{door=\"postgres\"}"), 0.0);
}

#[test]
fn psycopg_and_sqlalchemy_ask_with_parameters_and_see_types() {
    let Some(script) = installed("MILLRACE_TEST_PYTHON", "psycopg") else { return };
    let (_directory, server) = with_rows(None);
    push(&server, None, None);
    let seen = python(&script, &server, "queries", &[]);
    let check = |name: &str, expected: Value| assert_eq!(seen.get(name), Some(&expected), "{name}");
    let row = json!([
        "2026-01-15T10:00:00+00:00",
        "{\"service\":\"api\",\"service_name\":\"api\"}",
        "info",
        "level=info n=0",
        "{\"trace_id\":\"t0\"}"
    ]);
    check("row binary=False", row.clone());
    check("row binary=True", row);
    check("types", json!(["timestamptz", "text", "text", "text", "text"]));
    let numbers = json!([
        "1",
        "2",
        "3",
        "1.5",
        "12.345",
        "True",
        "None",
        "2026-01-15",
        "1:30:00",
        "18446744073709551615",
        "[1, 2, 3]",
        "x",
        "{\"b\": 1}",
        "7"
    ]);
    check("numbers binary=False", numbers.clone());
    check("numbers binary=True", numbers);
    check("nanoseconds", json!((START_NS + 7).to_string()));
    check("text parameter", json!(2));
    check("two parameters", json!([["level=info n=0"], ["level=info n=1"]]));
    check("time parameter", json!(2));
    check("text as time", json!(2));
    check("number parameter", json!(42));
    check("null parameter", json!(true));
    check("binary parameter", json!(2));
    check("prepared", json!(1));
    check("pipeline", json!([0, 1, 2, 3, 4]));
    check("cursor", json!([[100, 11, 890, 1000, "n"], [100, 11, 890, 1000, "n"]]));
    check("failed", json!(["42703", "25P02"]));
    check("after rollback", json!(2));
    for (sql, code) in [
        ("selec", "42601"),
        ("select * from no_such_view", "42P01"),
        ("select nope from logs", "42703"),
        ("select no_such_function(1)", "42883"),
        ("select 1 / 0", "22012"),
        ("select 'x'::int", "22P02"),
        ("insert into logs select * from logs", "25006"),
        ("delete from logs", "25006"),
        ("create table t as select 1", "25006"),
        ("copy (select 1) to '/tmp/out.csv'", "25006"),
        ("set datafusion.runtime.memory_limit = '1G'", "42704"),
        ("set role postgres", "42501"),
        ("explain analyze insert into logs select * from logs", "25006"),
        ("select * into t from logs", "25006"),
        ("prepare p as select 1", "0A000"),
        ("select $1", "08P01"),
        ("too many at once", "42601"),
    ] {
        check(sql, json!(code));
    }
    check("version", json!("PostgreSQL 16.6"));
    check("where", json!(["millrace", "public", "160006"]));
    check("settings", json!(["16.6", "Etc/UTC"]));
    check("set", json!(["test", "20000ms"]));
    let minute = (START_NS / 1_000_000_000) as f64;
    check("grafana", json!([[minute, "info", 1], [minute + 60.0, "info", 1], [minute + 120.0, "info", 1]]));
    check("grafana columns", json!(["labels", "level", "line", "metadata", "timestamp"]));
    check("grafana version", json!(1600));
    check("grafana tables", json!(true));
    check("copy", json!(["n,t", "1,one", "2,\"t,wo\"", "3,"]));
    check("copy binary", json!([[1, "one"], [2, "t,wo"], [3, null]]));
    check("copy text", json!("1\tone\n2\tt,wo\n3\t\\N\n"));
    check("sqlalchemy", json!(["level=info n=0", "level=info n=1"]));
    let tables = seen["sqlalchemy tables"].as_array().expect("names");
    assert!(tables.contains(&json!("logs")) && tables.contains(&json!("streams")), "{tables:?}");
    check("sqlalchemy columns", json!(["timestamp", "labels", "level", "line", "metadata"]));
    check("sqlalchemy table", json!(3));
}

#[test]
fn statements_are_stopped_by_their_client_by_time_and_by_operators() {
    let Some(script) = installed("MILLRACE_TEST_PYTHON", "psycopg") else { return };
    let (_directory, server) = with_rows(None);
    let seen = python(&script, &server, "cancel", &[]);
    let expected = json!({
        "canceled": "57014", "soon": true, "goes on": 1, "timed out": "57014", "stream canceled": "57014", "still goes on": 2,
    });
    assert_eq!(serde_json::to_value(&seen).expect("JSON"), expected);
    // An operator sees it in the list and stops it.
    let (host, port) = place(&server);
    let long = "select count(*) from generate_series(1, 100000000) a, generate_series(1, 100000000) b";
    let mut asking = Command::new(&script);
    asking.arg(repository("tests/clients/postgres.py")).args(["login", &host, &port, "ana", "", "millrace", long]);
    let asking = std::thread::spawn(move || run(&mut asking));
    let id = wait_for(|| {
        let listed = server.get("/api/v1/queries", &[]).json();
        listed["queries"].as_array().and_then(|queries| queries.first().map(|query| query["id"].to_string()))
    });
    assert_eq!(server.delete(&format!("/api/v1/queries/{id}")).status, 204);
    let said = asking.join().expect("it ends");
    assert!(said.contains("57014") && said.contains("stopped by an operator"), "{said}");
    // One whose client goes away ends as well.
    let mut asking = Command::new(&script);
    asking.arg(repository("tests/clients/postgres.py")).args(["login", &host, &port, "ana", "", "millrace", long]);
    let mut client = asking.spawn().expect("it starts");
    let listed = || server.get("/api/v1/queries", &[]).json()["queries"].as_array().map_or(0, Vec::len);
    wait_for(|| (listed() == 1).then_some(()));
    client.kill().expect("it runs");
    client.wait().expect("it ends");
    wait_for(|| (listed() == 0).then_some(()));
    wait_for(|| (server.metric("millrace_sql_connections{door=\"postgres\"}") == 0.0).then_some(()));
}

pub(crate) fn wait_for<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn without_accounts_the_user_is_the_tenant() {
    if !has_psql() {
        return;
    }
    let config = "auth_enabled: true\nquerier: {multi_tenant_queries_enabled: true}\nlimits_config: {reject_old_samples: false}\n";
    let (_directory, server) = with_rows(Some(config));
    push(&server, Some("a"), None);
    push(&server, Some("b"), None);
    let rows = |user: &str| said(&psql(&server, user, "", "millrace", &["-c", "select count(*), max(line) from logs"]));
    assert_eq!(rows("a"), "3|level=info n=2 of a\n");
    assert_eq!(rows("b"), "3|level=info n=2 of b\n");
    assert_eq!(rows("a|b"), "6|level=info n=2 of b\n");
    assert_eq!(rows("c"), "0|\n");
    assert!(rows("../a").contains("unsupported character"), "{}", rows("../a"));
}

/// The shipped roles, by tokens and one password.
pub(crate) fn with_roles() -> (tempfile::TempDir, Server) {
    let mut config = std::fs::read_to_string(repository("examples/roles.yaml")).expect("the example");
    for token in ["DEV", "SRE", "SEC", "AUDIT", "AGENT", "OPERATOR"] {
        config = config.replace(&format!("${{{token}_TOKEN}}"), &format!("{}-token", token.to_lowercase()));
    }
    config.push_str(
        "limits_config: {reject_old_samples: false, discover_service_name: [], max_entries_limit_per_query: 50}\n",
    );
    let (directory, server) = with_rows(Some(&config));
    for (at, service) in ["mine-api", "secret-vault", "mine-api"].iter().enumerate() {
        let ts = (START_NS + at as i64 * 1_000_000_000).to_string();
        let line = format!("mail to p{at}@example.com from {service}");
        let stream = json!({"service": service, "owner": format!("o{}@example.com", at % 2)});
        let body = json!({"streams": [{"stream": stream, "values": [[ts, line]]}]});
        let headers = [("Content-Type", "application/json"), ("Authorization", "Bearer agent-token")];
        assert_eq!(server.post("/loki/api/v1/push", &headers, body.to_string().as_bytes()).status, 204);
    }
    (directory, server)
}

#[test]
fn roles_hold_and_logins_statements_and_denials_are_recorded() {
    if !has_psql() {
        return;
    }
    let (_directory, server) = with_roles();
    let ask = |token: &str, sql: &str| said(&psql(&server, "somebody", token, "millrace", &["-c", sql]));
    assert!(ask("wrong", "select 1").contains("password authentication failed for user \"somebody\""), "a wrong token");
    assert_eq!(ask("dev-token", "select count(*) from logs"), "2\n");
    assert_eq!(ask("sec-token", "select count(*) from logs where labels['service'] <> 'millrace'"), "3\n");
    let masked = ask("dev-token", "select line from logs order by timestamp");
    assert!(masked.contains("mine-api") && !masked.contains("@example.com"), "{masked}");
    for sql in [
        "select * from streams",
        "select a.line from logs a join streams b on b.labels like '%vault%'",
        "with x as (select * from logs) select * from x where line like '%vault%'",
        "explain select * from logs",
        "select cast(line as int) from logs",
        "select * from pg_catalog.pg_class",
        "select * from information_schema.tables",
        "select * from logql('{service=~\".+\"}', '2026-01-15T10:00:00Z', '2026-01-15T10:05:00Z')",
    ] {
        let answer = ask("dev-token", sql);
        assert!(!answer.contains("secret") && !answer.contains("p1@") && !answer.contains("o1@"), "{sql}: {answer}");
    }
    // Who may not export gets a screen or nothing; who may gets all.
    let many = "select * from generate_series(1, 60)";
    assert!(ask("dev-token", many).contains("the answer has more than 50 rows"), "{}", ask("dev-token", many));
    assert_eq!(ask("sec-token", many).lines().count(), 60);
    // Who may not read is not let in at all.
    assert!(ask("agent-token", "select 1").contains("may not read"), "{}", ask("agent-token", "select 1"));
    // All of this is in the trail, the catalog's noise is not.
    let trail = || {
        let sql = "select event, who, door, status, text from query_log where door = 'postgres' order by timestamp";
        let headers = [("Authorization", "Bearer audit-token"), ("Accept", "text/csv")];
        server.get_with("/api/v1/sql", &[("query", sql)], &headers).text()
    };
    let of_security =
        |trail: &str| trail.lines().filter(|line| line.contains(many) && line.starts_with("export")).count();
    let trail = wait_for(|| Some(trail()).filter(|trail| of_security(trail) == 2));
    assert!(trail.lines().any(|line| line.starts_with("denied,") && line.contains(",401,")), "{trail}");
    assert!(trail.lines().any(|line| line.starts_with("denied,") && line.contains(",403,")), "{trail}");
    assert!(trail.lines().any(|line| line.starts_with("login,") && line.contains(",200,")), "{trail}");
    assert!(
        trail.lines().any(|line| line.starts_with("query,") && line.contains("select count(*) from logs")),
        "{trail}"
    );
    assert!(!trail.contains("dev-token"), "{trail}");
    let questions = |trail: &str| trail.lines().any(|line| line.contains("pg_class") && !line.starts_with("browse,"));
    assert!(!questions(&trail), "{trail}");
}

#[test]
fn passwords_are_shown_or_proven() {
    if !has_psql() {
        return;
    }
    let hashed = |password: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        let mut child = command.arg("password").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let child = child.as_mut().expect("it starts");
        child.stdin.take().expect("piped").write_all(password.as_bytes()).expect("written");
        let mut said = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
        child.wait().expect("it ends");
        said.lines().collect::<Vec<_>>().join(", ")
    };
    let config = format!(
        "auth_enabled: true\naccess:\n  roles: {{reader: [{{tenants: [a, b], actions: [read]}}], of_a: [{{tenants: [a], actions: [read]}}]}}\n  accounts:\n  - {{name: ana, roles: [reader], {}}}\n  - {{name: ben, roles: [of_a], {}}}\n",
        hashed("s3cret", &[]),
        hashed("pencil", &["--scram"]),
    );
    let (_directory, server) = with_rows(Some(&config));
    let ask = |user: &str, password: &str, database: &str, more: &[&str]| {
        let arguments = [more, &["-c", "select count(*) from logs"]].concat();
        said(&psql(&server, user, password, database, &arguments))
    };
    let refused = |user: &str| format!("password authentication failed for user \"{user}\"");
    assert_eq!(ask("ana", "s3cret", "a", &[]), "0\n");
    assert!(ask("ana", "pencil", "a", &[]).contains(&refused("ana")));
    assert!(ask("ana", "s3cret", "millrace", &[]).contains("name them as the database"));
    assert!(ask("ana", "s3cret", "c", &[]).contains("ana may not read in tenant c"));
    assert_eq!(ask("ben", "pencil", "millrace", &[]), "0\n");
    assert!(ask("ben", "s3cret", "a", &[]).contains(&refused("ben")));
    assert!(ask("ben", "", "a", &["-w"]).contains("no password supplied"));
    assert!(ask("eve", "s3cret", "a", &[]).contains(&refused("eve")));
    // The password of the second never came here: the client proved it.
    let (host, port) = place(&server);
    let required = format!("host={host} port={port} user=ben dbname=a require_auth=scram-sha-256");
    let output =
        Command::new("psql").args(["-X", "-A", "-t", &required, "-c", "select 1"]).env("PGPASSWORD", "pencil").output();
    let output = said(&output.expect("psql runs"));
    // libpq before 16 does not know the word.
    assert!(output == "1\n" || output.contains("invalid connection option"), "{output}");
    let Some(script) = installed("MILLRACE_TEST_PYTHON", "SCRAM of psycopg") else { return };
    let seen = python(&script, &server, "login", &["ben", "pencil", "a", "select current_user"]);
    assert_eq!(seen["rows"], json!([["ben"]]));
    let seen = python(&script, &server, "scram", &["ben", "pencil", "a"]);
    assert_eq!(seen["scram"], json!(["1", "refused"]), "{seen:?}");
}

#[test]
fn what_is_no_client_of_postgres_is_sent_away() {
    let (_directory, server) =
        with_rows(Some("millrace: {postgres: {listen: \"127.0.0.1:0\", connections_max: 1}}\nauth_enabled: false\n"));
    let address = server.address("postgres ");
    let talk = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.write_all(bytes).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    // A message of two gigabytes, HTTP, and a handshake of TLS where there is none.
    for bytes in [
        &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0][..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
    ] {
        let answer = talk(bytes);
        assert!(answer.is_empty() || answer.contains("08P01"), "{answer:?}");
        wait_for(|| (server.metric("millrace_sql_connections{door=\"postgres\"}") == 0.0).then_some(()));
    }
    let _first = TcpStream::connect(&address).expect("it listens");
    wait_for(|| (server.metric("millrace_sql_connections{door=\"postgres\"}") == 1.0).then_some(()));
    let answer = talk(&[]);
    assert!(answer.contains("53300"), "{answer:?}");
    assert_eq!(server.metric("millrace_sql_connections_refused_total{door=\"postgres\"}"), 1.0);
    assert_eq!(server.metric("loki_panic_total"), 0.0);
}
