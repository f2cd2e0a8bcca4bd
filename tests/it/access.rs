//! Who may see what, by every door of the real server: hidden streams leave no trace, masked values cannot be asked for.

use serde_json::json;

use crate::harness::{Reply, Server, repository};

const START_NS: i64 = 1_768_471_200_000_000_000;
const START_S: i64 = START_NS / 1_000_000_000;
const TENANTS: &str =
    "auth_enabled: true\nquerier: {multi_tenant_queries_enabled: true}\nlimits_config: {reject_old_samples: false}\n";

/// A server with the shipped roles; tokens are the words below.
fn with_roles() -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = std::fs::read_to_string(repository("examples/roles.yaml")).expect("the example");
    for token in ["DEV", "SRE", "SEC", "AUDIT", "AGENT", "OPERATOR"] {
        config = config.replace(&format!("${{{token}_TOKEN}}"), &format!("{}-token", token.to_lowercase()));
    }
    config.push_str("limits_config: {reject_old_samples: false, discover_service_name: []}\n");
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, config).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&path), &["--http-address", "127.0.0.1"]);
    for (at, service) in ["mine-api", "secret-vault", "mine-api"].iter().enumerate() {
        let ts = (START_NS + at as i64 * 1_000_000_000).to_string();
        let line = format!(r#"{{"level":"info","user_id":"u-{at}","msg":"mail to p{at}@example.com from {service}"}}"#);
        let metadata = json!({"contact": format!("p{at}@example.com")});
        let stream = json!({"service": service, "owner": format!("o{}@example.com", at % 2)});
        push(&server, "agent-token", &json!({"streams": [{"stream": stream, "values": [[ts, line, metadata]]}]}));
        if at == 1 {
            assert_eq!(server.post("/flush", &[bearer("operator-token")], b"").status, 204);
        }
    }
    (directory, server)
}

fn bearer(token: &str) -> (&'static str, &str) {
    // Leaked so that a table of headers can borrow it: a test makes a handful.
    ("Authorization", Box::leak(format!("Bearer {token}").into_boxed_str()))
}

fn push(server: &Server, token: &str, body: &serde_json::Value) {
    let headers = [("Content-Type", "application/json"), bearer(token)];
    let answer = server.post("/loki/api/v1/push", &headers, body.to_string().as_bytes());
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn ask(server: &Server, token: &str, path: &str, params: &[(&str, &str)]) -> Reply {
    let (start, end) = ((START_S - 60).to_string(), (START_S + 60).to_string());
    let mut all = vec![("start", start.as_str()), ("end", end.as_str())];
    all.extend_from_slice(params);
    server.get_with(path, &all, &[bearer(token)])
}

/// Every way to ask, each with a question that would touch what is hidden.
fn doors(selector: &str) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let query = |text: String| vec![("query", text)];
    let sql = |text: &str| ("/api/v1/sql", query(text.to_owned()));
    vec![
        ("/loki/api/v1/query_range", query(selector.to_owned())),
        ("/loki/api/v1/query_range", query(format!("sum by (service) (count_over_time({selector}[1m]))"))),
        ("/loki/api/v1/query_range", [query(selector.to_owned()), vec![("explain", "true".to_owned())]].concat()),
        ("/loki/api/v1/query", query(format!("count_over_time({selector}[10m])"))),
        ("/loki/api/v1/labels", query(String::new())),
        ("/loki/api/v1/label/service/values", query(String::new())),
        ("/loki/api/v1/label/owner/values", query(selector.to_owned())),
        ("/loki/api/v1/series", vec![("match[]", selector.to_owned())]),
        ("/loki/api/v1/index/stats", query(selector.to_owned())),
        ("/loki/api/v1/detected_fields", query(selector.to_owned())),
        ("/loki/api/v1/detected_field/msg/values", query(selector.to_owned())),
        ("/loki/api/v1/detected_labels", query(String::new())),
        ("/loki/api/v1/index/volume", query(selector.to_owned())),
        ("/loki/api/v1/index/volume_range", query(selector.to_owned())),
        (
            "/loki/api/v1/index/shards",
            [query(selector.to_owned()), vec![("targetBytesPerShard", "1MB".to_owned())]].concat(),
        ),
        ("/loki/api/v1/patterns", query(selector.to_owned())),
        ("/api/v1/queries", Vec::new()),
        ("/api/v1/storage", Vec::new()),
        sql("select * from logs"),
        sql("select * from streams"),
        sql("with hidden as (select line from logs) select * from hidden where line like '%va_lt%'"),
        sql("select a.line from logs a join streams b on b.labels like '%va_lt%'"),
        sql("explain select * from logs where labels['service'] like 'secret-va_lt'"),
        sql("select labels['service'], count(*) from logs group by 1"),
        sql("select cast(line as int) from logs"),
    ]
}

#[test]
fn a_hidden_stream_is_as_if_it_were_not_there() {
    let (_directory, server) = with_roles();
    let doors = doors(r#"{service=~".+"}"#);
    for (path, params) in &doors {
        let params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // Whoever may see everything asks first: what is kept of their answer must not be shown to others.
        ask(&server, "sec-token", path, &params);
        for token in ["dev-token", "audit-token"] {
            let answer = ask(&server, token, path, &params).text().to_lowercase();
            assert!(!answer.contains("vault"), "{token} {path} {params:?}: {answer}");
            assert!(
                !answer.contains("p1@") && !answer.contains("u-1") && !answer.contains("o1@"),
                "{token} {path} {params:?}: {answer}"
            );
        }
    }
    let count = |token: &str| {
        let lines = "select count(*) as n from logs where labels['service'] <> 'millrace'";
        let answer = ask(&server, token, "/api/v1/sql", &[("query", lines)]);
        answer.json()[0]["n"].as_i64().expect("a number")
    };
    assert_eq!((count("dev-token"), count("sre-token"), count("sec-token"), count("audit-token")), (2, 3, 3, 0));
}

#[test]
fn an_exact_question_about_what_is_hidden_tells_nothing() {
    let (_directory, server) = with_roles();
    let same = |path: &str, there: &[(&str, &str)], not_there: &[(&str, &str)]| {
        let tail = |reply: Reply| {
            let text = reply.text().replace("secret-vault", "x").replace("no-such", "x");
            (reply.status, text.split("\"stats\"").next().unwrap_or("").to_owned())
        };
        let (a, b) = (tail(ask(&server, "dev-token", path, there)), tail(ask(&server, "dev-token", path, not_there)));
        assert_eq!(a, b, "{path} {there:?}");
    };
    let hidden = r#"{service="secret-vault"}"#;
    let absent = r#"{service="no-such"}"#;
    for path in
        ["/loki/api/v1/query_range", "/loki/api/v1/index/stats", "/loki/api/v1/detected_fields", "/loki/api/v1/labels"]
    {
        same(path, &[("query", hidden)], &[("query", absent)]);
    }
    same(
        "/loki/api/v1/query_range",
        &[("query", hidden), ("explain", "true")],
        &[("query", absent), ("explain", "true")],
    );
    same("/loki/api/v1/series", &[("match[]", hidden)], &[("match[]", absent)]);
    let sql = |service: &str| format!("explain select * from logs where labels['service'] = '{service}'");
    same("/api/v1/sql", &[("query", &sql("secret-vault"))], &[("query", &sql("no-such"))]);
}

#[test]
fn masked_values_are_neither_shown_nor_found() {
    let (_directory, server) = with_roles();
    let lines = |token: &str, query: &str| ask(&server, token, "/loki/api/v1/query_range", &[("query", query)]).text();
    let seen = lines("dev-token", r#"{service="mine-api"}"#);
    assert!(seen.contains("***REDACTED_EMAIL***") && seen.contains(r#"\"user_id\":\"***REDACTED***\""#), "{seen}");
    assert!(!seen.contains("p0@example.com") && !seen.contains("o0@example.com"), "{seen}");
    for guess in [
        r#"{service="mine-api"} |= "p0@example.com""#,
        r#"{service="mine-api", owner="o0@example.com"}"#,
        r#"{service="mine-api"} | contact="p0@example.com""#,
        r#"{service="mine-api"} | json | user_id="u-0""#,
    ] {
        assert!(lines("dev-token", guess).contains(r#""result":[]"#), "{guess}");
        assert!(!lines("sec-token", guess).contains(r#""result":[]"#), "{guess}");
    }
    let sre = lines("sre-token", r#"{service="mine-api"}"#);
    assert!(sre.contains("u-0") && !sre.contains("p0@example.com"), "{sre}");
    let guess =
        "select count(*) as n from logs where line like '%p0@example.com%' or metadata['contact'] = 'p0@example.com'";
    assert_eq!(ask(&server, "dev-token", "/api/v1/sql", &[("query", guess)]).json(), json!([{"n": 0}]));
    assert_eq!(ask(&server, "sec-token", "/api/v1/sql", &[("query", guess)]).json(), json!([{"n": 1}]));
}

#[test]
fn actions_are_kept_to() {
    let (_directory, server) = with_roles();
    let refused = |reply: Reply, status: u16, text: &str| {
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.text().contains(text), "{}", reply.text());
    };
    refused(server.get("/loki/api/v1/labels", &[]), 401, "authentication required");
    refused(server.get_with("/loki/api/v1/labels", &[], &[bearer("nope")]), 401, "wrong token");
    refused(
        server.get_with("/loki/api/v1/labels", &[], &[bearer("agent-token")]),
        403,
        "promtail may not read in tenant fake",
    );
    let body = json!({"streams": []}).to_string();
    let headers = [("Content-Type", "application/json"), bearer("dev-token")];
    refused(server.post("/loki/api/v1/push", &headers, body.as_bytes()), 403, "dev may not write in tenant fake");
    for path in ["/config", "/metrics", "/log_level", "/services", "/flush"] {
        refused(server.get(path, &[]), 401, "authentication required");
        refused(server.get_with(path, &[], &[bearer("dev-token")]), 403, "dev may not do this");
        assert!(server.get_with(path, &[], &[bearer("operator-token")]).status < 300, "{path}");
    }
    assert_eq!(server.get("/ready", &[]).status, 200);
    let config = server.get_with("/config", &[], &[bearer("operator-token")]).text();
    assert!(!config.contains("dev-token"), "secrets are not for pages");
}

#[test]
fn who_sees_everything_sees_rules_but_none_of_audit_records() {
    let (_directory, server) = with_roles();
    let group = "name: g\ninterval: 1m\nrules:\n- {record: lines, expr: 'sum(count_over_time({service=\"mine-api\"}[1m]))'}\n- {alert: Spied, expr: 'sum(count_over_time({logger=\"audit\"}[1m])) > 0'}\n";
    let set = |token: &str| server.post("/loki/api/v1/rules/team", &[bearer(token)], group.as_bytes()).status;
    assert_eq!((set("sec-token"), set("sre-token")), (403, 202));
    let get = |token: &str, path: &str| server.get_with(path, &[], &[bearer(token)]);
    let names = |token: &str| {
        let answer = get(token, "/prometheus/api/v1/rules");
        let groups = if answer.status == 200 { answer.json()["data"]["groups"].clone() } else { json!([]) };
        let groups = groups.as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let names: Vec<String> = rules.map(|rule| rule["name"].as_str().expect("a name").to_owned()).collect();
        (answer.status, names.join(" "))
    };
    let started = std::time::Instant::now();
    while names("sre-token") != (200, "lines Spied".to_owned()) {
        assert!(started.elapsed().as_secs() < 60, "{:?}", names("sre-token"));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(names("sec-token"), (200, "lines".to_owned()));
    for token in ["dev-token", "audit-token", "agent-token", "operator-token"] {
        assert_eq!(names(token), (403, String::new()), "{token}");
        assert_eq!(get(token, "/prometheus/api/v1/alerts").status, 403, "{token}");
        assert_eq!(get(token, "/loki/api/v1/rules").status, 403, "{token}");
    }
    assert_eq!(get("sec-token", "/prometheus/api/v1/alerts").status, 200);
    assert_eq!(server.delete("/loki/api/v1/rules/team").status, 401);
}

#[test]
fn several_tenants_are_one_answer_with_a_label() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, TENANTS).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&path), &["--http-address", "127.0.0.1"]);
    for (at, tenant) in ["a", "b", "c"].iter().enumerate() {
        let ts = (START_NS + at as i64).to_string();
        let body = json!({"streams": [{"stream": {"app": "x"}, "values": [[ts, format!("of {tenant}")]]}]}).to_string();
        let headers = [("Content-Type", "application/json"), ("X-Scope-OrgID", *tenant)];
        assert_eq!(server.post("/loki/api/v1/push", &headers, body.as_bytes()).status, 204);
        if at == 0 {
            assert_eq!(server.post("/flush", &[], b"").status, 204);
        }
    }
    let (start, end) = ((START_S - 60).to_string(), (START_S + 60).to_string());
    let ask = |tenants: &str, path: &str, query: &str| {
        let params = [("query", query), ("start", start.as_str()), ("end", end.as_str()), ("time", end.as_str())];
        server.get_with(path, &params, &[("X-Scope-OrgID", tenants)])
    };
    let logs = ask("a|b", "/loki/api/v1/query_range", r#"{app="x"}"#).json();
    let seen: Vec<_> = logs["data"]["result"]
        .as_array()
        .expect("streams")
        .iter()
        .map(|s| s["stream"]["__tenant_id__"].clone())
        .collect();
    assert_eq!(seen, ["a", "b"]);
    let sum = ask("a|b", "/loki/api/v1/query", r#"sum(count_over_time({app="x"}[10m]))"#).json();
    assert_eq!(sum["data"]["result"][0]["value"][1], "2");
    let one = ask("a|b|c", "/loki/api/v1/query", r#"count_over_time({app="x", __tenant_id__=~"b|c"}[10m])"#).json();
    assert_eq!(one["data"]["result"].as_array().map(Vec::len), Some(2));
    let labels = ask("a|b", "/loki/api/v1/labels", "").json();
    assert!(labels["data"].as_array().expect("names").contains(&json!("__tenant_id__")), "{labels}");
    let sql = ask("a|c", "/api/v1/sql", "select labels['__tenant_id__'] as t, line from logs order by 1").json();
    assert_eq!(sql, json!([{"t": "a", "line": "of a"}, {"t": "c", "line": "of c"}]));
    let push =
        server.post("/loki/api/v1/push", &[("Content-Type", "application/json"), ("X-Scope-OrgID", "a|b")], b"{}");
    assert_eq!((push.status, push.text().trim()), (400, "multiple org IDs present"));
}
