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

/// JSON lines, logfmt lines and access lines, half of them in files.
fn with_lines() -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), Some(&repository("tests/golden/config.yaml")), &[]);
    let lines = [
        ("gateway", r#"{"level":"error","model":"resnet","latency_ms":900,"user":{"id":"u1"}}"#),
        ("gateway", r#"{"level":"info","model":"resnet","latency_ms":100,"user":{"id":"u2"}}"#),
        ("gateway", r#"{"level":"info","model":"bert","latency_ms":200,"user":{"id":"u1"}}"#),
        ("worker", "level=warn msg=\"slow job\" job=7 took=3s"),
        ("proxy", "10.0.0.1 - \"GET /api/v1/predict\" 200"),
    ];
    for (at, (service, line)) in lines.iter().enumerate() {
        let ts = (START_NS + at as i64 * 60_000_000_000).to_string();
        server.push(&json!({"streams": [{"stream": {"service": service}, "values": [[ts, line]]}]}));
        if at == 2 {
            server.flush();
        }
    }
    (directory, server)
}

#[test]
fn lines_are_taken_apart_by_json_and_by_logqls_own_parsers() {
    let (_directory, server) = with_lines();
    let check = |sql: &str, expected: &str| assert_eq!(csv(&server, sql), expected, "{sql}");
    check(
        "select json_get_str(line, 'model') as model, json_get_int(line, 'latency_ms') as ms from logs \
         where labels['service'] = 'gateway' and json_get_int(line, 'latency_ms') > 150 order by ms",
        "model,ms\nbert,200\nresnet,900\n",
    );
    check(
        "select line->'user'->>'id' as id, count(*) as n from logs where labels['service'] = 'gateway' group by 1 order by 1",
        "id,n\nu1,2\nu2,1\n",
    );
    check(
        "select logfmt(line)['msg'] as msg, logfmt(line)['job'] as job from logs where level = 'warn'",
        "msg,job\nslow job,7\n",
    );
    check(
        "select p['ip'] as ip, p['path'] as path from (select line_pattern(line, '<ip> - \"<_> <path>\" <status>') as p \
         from logs where labels['service'] = 'proxy')",
        "ip,path\n10.0.0.1,/api/v1/predict\n",
    );
    check("select line_json(line)['user_id'] as id from logs where level = 'error'", "id\nu1\n");
    check(
        "select line_regexp(line, 'took=(?P<seconds>[0-9]+)s')['seconds'] as s from logs where level = 'warn'",
        "s\n3\n",
    );
    check(
        "select count(*) as n from logs where logql_stages(line, '| json | latency_ms >= 200') is not null",
        "n\n2\n",
    );
    check(
        "select date_bin(interval '2 minutes', timestamp) as t, count(*) as n from logs group by 1 order by 1",
        "t,n\n2026-01-15T10:00:00Z,2\n2026-01-15T10:02:00Z,2\n2026-01-15T10:04:00Z,1\n",
    );
    check(
        "select approx_percentile_cont(json_get_int(line, 'latency_ms'), 0.5) as p50, \
         approx_distinct(line->'user'->>'id') as users from logs where labels['service'] = 'gateway'",
        "p50,users\n200.0,2\n",
    );
    check(
        "select regexp_replace(line, '[0-9.]+ - .*', 'x') as l from logs where labels['service'] = 'proxy'",
        "l\nx\n",
    );
    let bad = server.get("/api/v1/sql", &[("query", "select line_pattern(line, 'no capture') from logs")]);
    assert_eq!(bad.status, 400, "{}", bad.text());
}

#[test]
fn logql_answers_join_with_sql() {
    let (_directory, server) = with_lines();
    let range = "'2026-01-15T10:00:00Z', '2026-01-15T10:05:00Z'";
    let check = |sql: String, expected: &str| assert_eq!(csv(&server, &sql), expected, "{sql}");
    check(
        format!(
            "select labels['service'] as service, max(value) as most from logql('sum by (service) (count_over_time({{service=~\".+\"}}[5m]))', {range}, '1m') group by 1 order by 1"
        ),
        "service,most\ngateway,3.0\nproxy,1.0\nworker,1.0\n",
    );
    check(
        format!(
            "select l.line from logql('{{service=\"worker\"}} |= \"slow\"', {range}) l join streams s on s.labels = cast(l.labels as varchar)"
        ),
        "line\n\"level=warn msg=\"\"slow job\"\" job=7 took=3s\"\n",
    );
    let at = "timestamp '2026-01-15T10:05:00Z'";
    check(
        format!("select value from logql('sum(count_over_time({{service=\"gateway\"}}[10m]))', {at}, {at})"),
        "value\n3.0\n",
    );
    let plan = csv(&server, &format!("explain select * from logql('{{service=\"gateway\"}} |= \"resnet\"', {range})"));
    assert!(plan.contains("LogqlExec") && plan.contains("ScanExec") && plan.contains("streams=1"), "{plan}");
    let bad = server.get("/api/v1/sql", &[("query", "select * from logql('{service=', now(), now())")]);
    assert_eq!((bad.status, bad.text().contains("parse error")), (400, true), "{}", bad.text());
}

#[test]
fn filters_prune_the_scan_as_selectors_do() {
    let (_directory, server) = with_lines();
    let plan = |filter: &str| csv(&server, &format!("explain select line from logs where {filter}"));
    for (filter, expected) in [
        ("labels['service'] = 'gateway'", "streams=1, head_parts=0, row_groups=1"),
        ("labels['service'] in ('worker', 'proxy')", "streams=2, head_parts=1, row_groups=0"),
        ("labels['service'] like 'wor%'", "streams=1, head_parts=1, row_groups=0"),
        ("labels['service'] ~ 'ate'", "streams=1, head_parts=0, row_groups=1"),
        ("labels['service'] != 'gateway'", "streams=2, head_parts=1, row_groups=0"),
        ("timestamp < '2026-01-15T10:01:30Z'", "row_groups=1"),
        ("timestamp between '2026-01-15T10:03:00Z' and '2026-01-15T10:05:00Z'", "head_parts=1, row_groups=0"),
    ] {
        let plan = plan(filter);
        assert!(plan.contains(expected), "{filter}: {plan}");
    }
}

#[test]
fn statements_take_parameters_and_come_in_every_form() {
    let (_directory, server) = with_lines();
    let sql = "select line from logs where labels['service'] = $1 and timestamp >= $2 order by timestamp limit $3";
    let params = r#"["gateway", "2026-01-15T10:01:00Z", 5]"#;
    let answer = server.get("/api/v1/sql", &[("query", sql), ("params", params), ("format", "ndjson")]);
    assert_eq!((answer.status, answer.text().lines().count()), (200, 2), "{}", answer.text());
    let body = json!({"query": "select $1 as a, $2 as b", "params": ["x", 2.5], "format": "json"}).to_string();
    let answer = server.post("/api/v1/sql", &[("Content-Type", "application/json")], body.as_bytes());
    assert_eq!(answer.json(), json!([{"a": "x", "b": 2.5}]));
    let answer = server.get("/api/v1/sql", &[("query", "select * from logs"), ("format", "parquet")]);
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(answer.body));
    assert_eq!(reader.expect("Parquet").metadata().file_metadata().num_rows(), 5);
    for (params, why) in [(r#"[{}]"#, "lists and objects are not"), ("x", "not a JSON array"), ("[1]", "laceholder")] {
        let answer = server.get("/api/v1/sql", &[("query", "select $1, $2"), ("params", params)]);
        assert!(answer.status == 400 && answer.text().contains(why), "{params}: {}", answer.text());
    }
    let answer = server.get("/api/v1/sql", &[("query", "select 1"), ("format", "xml")]);
    assert_eq!(answer.status, 400);
}

#[test]
fn a_cursor_gives_one_snapshot_in_pages() {
    let (_directory, server) = with_lines();
    let params = [("query", "select line from logs order by timestamp"), ("page_rows", "2"), ("format", "ndjson")];
    let (first, headers) = server.get_full("/api/v1/sql", &params, &[]);
    assert_eq!((first.status, first.text().lines().count()), (200, 2), "{}", first.text());
    let id = headers.get("x-millrace-cursor").expect("a cursor").to_str().expect("text").to_owned();
    server.push(&json!({"streams": [{"stream": {"service": "late"}, "values": [[START_NS.to_string(), "late"]]}]}));
    let path = format!("/api/v1/sql/cursor/{id}");
    let (second, headers) = server.get_full(&path, &[], &[]);
    assert_eq!((second.text().lines().count(), headers.contains_key("x-millrace-cursor")), (2, true));
    let (third, headers) = server.get_full(&path, &[], &[]);
    assert_eq!((third.text().lines().count(), headers.contains_key("x-millrace-cursor")), (1, false));
    assert!(!third.text().contains("late"));
    assert_eq!(server.get(&path, &[]).status, 404);
}

#[test]
fn files_are_a_view() {
    let (_directory, server) = with_lines();
    assert_eq!(csv(&server, "select tenant, rows, streams from files"), "tenant,rows,streams\nfake,3,1\n");
}

#[test]
fn patterns_rules_and_tables_in_the_statement_are_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), Some(&repository("tests/golden/config.yaml")), &[]);
    for at in 0..40_i64 {
        let ts = (START_NS + at * 3_000_000_000).to_string();
        let line = format!("level=error job {at} failed after {}ms", at * 7);
        let service = if at % 4 == 0 { "worker" } else { "api" };
        server.push(&json!({"streams": [{"stream": {"service": service}, "values": [[ts, line]]}]}));
        if at == 20 {
            server.flush();
        }
    }
    let check = |sql: &str, expected: &str| assert_eq!(csv(&server, sql), expected, "{sql}");
    check(
        "select service, level, sum(lines) as lines, count(distinct pattern) as patterns from patterns group by 1, 2 order by 1",
        "service,level,lines,patterns\napi,error,30,1\nworker,error,10,1\n",
    );
    check(
        "select timestamp, sum(lines) as n from patterns where service = 'worker' and timestamp >= '2026-01-15T10:01:00Z' group by 1",
        "timestamp,n\n2026-01-15T10:01:00Z,5\n",
    );
    check(
        "select o.team, count(*) as n from logs l join csv('service,team\nworker,a\napi,b\n') o on o.service = l.labels['service'] group by 1 order by 1",
        "team,n\na,10\nb,30\n",
    );
    check("select sum(n) as n, max(at) as at from csv('n,at\n1,2026-01-15\n2,2026-01-16\n')", "n,at\n3,2026-01-16\n");
    for bad in ["select * from csv('')", "select * from csv('a,b\n1\n')", "select * from csv(1)"] {
        let answer = server.get("/api/v1/sql", &[("query", bad)]);
        assert!(answer.status == 400 && answer.text().contains("csv"), "{bad}: {}", answer.text());
    }
    check("select count(*) as n from rules", "n\n0\n");
    let group = b"name: g\ninterval: 15s\nrules:\n- record: r\n  expr: sum(rate({service=\"api\"}[1m]))\n- alert: a\n  expr: absent_over_time({service=\"x\"}[1m])\n  labels: {severity: page}\n";
    assert_eq!(server.post("/loki/api/v1/rules/ns", &[], group).status, 202);
    check(
        "select namespace, rule_group, name, type, interval_seconds, labels from rules order by name",
        "namespace,rule_group,name,type,interval_seconds,labels\nns,g,a,alerting,15.0,\"{\"\"severity\"\":\"\"page\"\"}\"\nns,g,r,recording,15.0,{}\n",
    );
    check("select count(*) as n from query_log", "n\n0\n");
}
