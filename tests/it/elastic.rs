//! Elastic's own Python client and rsyslog's omelasticsearch send documents; what arrives is found by labels.

use std::process::Command;

use crate::clients::{installed, now_s, run};
use crate::harness::{Server, repository};

#[test]
fn the_python_client_indexes_documents() {
    let Some(python) = installed("MILLRACE_TEST_PYTHON", "the elasticsearch client") else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let url = format!("{}/elastic", server.url);
    run(Command::new(python).arg(repository("tests/clients/elastic_bulk.py")).args([&url, "700"]));
    let stream = r#"{index="app-logs", service_name="shop"}"#;
    let count = |query: &str| server.number(&format!("sum(count_over_time({query} [1h]))"), now_s() + 5);
    assert_eq!(count(&format!(r#"{stream} |= "bulk line" | log_level="warn""#)), 700.0);
    assert_eq!(count(r#"{index="app-logs", host="h1"}"#), 700.0);
    assert_eq!(count(&format!(r#"{stream} |= "bulk line alone""#)), 1.0);
    assert_eq!(count(&format!(r#"{stream} |= "beside a bad one""#)), 1.0);
    let old = r#"loki_discarded_samples_total{reason="greater_than_max_sample_age",tenant="fake"}"#;
    assert_eq!(server.metric(old), 1.0);
}

#[test]
fn a_tenant_over_its_rate_is_told_in_elastics_words() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.yaml");
    let text = "auth_enabled: true\nserver: {http_listen_address: 127.0.0.1}\nlimits_config: {ingestion_rate_mb: 0.0001, ingestion_burst_size_mb: 0.01}\n";
    std::fs::write(&config, text).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    let body = format!("{{\"create\":{{}}}}\n{{\"message\":\"{}\"}}\n", "x".repeat(10_000));
    let send = |path: &str, tenant: &str| server.post(path, &[("X-Scope-OrgID", tenant)], body.as_bytes());
    assert_eq!(send("/app/_bulk", "a").status, 200);
    let refused = send("/elastic/app/_bulk", "a");
    assert_eq!((refused.status, &refused.json()["status"]), (429, &429.into()));
    assert_eq!(refused.json()["error"]["type"], "es_rejected_execution_exception");
    assert_eq!(send("/app/_bulk", "b").status, 200, "a tenant too fast does not slow another");
    assert_eq!(server.post("/app/_bulk", &[], body.as_bytes()).status, 401);
    assert_eq!(send("/_bulk", "b").status, 400, "without an index in the path or the line");
}

#[test]
fn updates_by_script_are_refused_clearly() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let body = "{\"update\":{\"_index\":\"app\",\"_id\":\"1\"}}\n{\"script\":{\"source\":\"ctx._source.n += 1\"},\"upsert\":{\"n\":1}}\n{\"create\":{\"_index\":\"app\"}}\n{\"message\":\"kept\"}\n";
    let answer = server.post("/elastic/_bulk", &[("Content-Type", "application/x-ndjson")], body.as_bytes());
    let told = answer.json();
    assert_eq!((answer.status, &told["errors"]), (200, &true.into()), "{told}");
    let update = &told["items"][0]["update"];
    assert_eq!(
        (&update["status"], &update["error"]["type"]),
        (&400.into(), &"illegal_argument_exception".into()),
        "{told}"
    );
    assert!(
        update["error"]["reason"].as_str().is_some_and(|reason| reason.contains("logs are never changed")),
        "{told}"
    );
    assert_eq!(told["items"][1]["create"]["status"], 201, "{told}");
    for path in ["/elastic/app/_update/1", "/elastic/app/_update_by_query", "/elastic/app/_delete_by_query"] {
        let answer = server.post(path, &[("Content-Type", "application/json")], br#"{"script":{"source":"x"}}"#);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        let told = answer.json();
        assert_eq!(told["error"]["type"], "illegal_argument_exception", "{path}: {told}");
        assert!(answer.text().contains("logs are never changed"), "{path}: {told}");
    }
    assert_eq!(server.number(r#"sum(count_over_time({index="app"}[1h]))"#, now_s() + 5), 1.0);
}
