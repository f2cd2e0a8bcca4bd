//! Limits on queries and the turns of tenants, by the real server.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Reply, Server};

const START_NS: i64 = 1_768_471_200_000_000_000;

fn start(directory: &Path, config: &str) -> Server {
    let path = directory.join("config.yaml");
    let text = format!("auth_enabled: true\nserver: {{http_listen_address: 127.0.0.1}}\n{config}");
    std::fs::write(&path, text).expect("written");
    Server::start(&directory.join("data"), Some(&path), &[])
}

fn push(server: &Server, tenant: &str, lines: usize) {
    for part in 0..lines.div_ceil(20_000) {
        let values: Vec<_> = (part * 20_000..lines.min((part + 1) * 20_000))
            .map(|at| {
                json!([
                    (START_NS + at as i64 * 1_000_000).to_string(),
                    format!("level=info n={at} user=u{} took={}ms", at % 977, at % 313)
                ])
            })
            .collect();
        let body = json!({"streams": [{"stream": {"app": "a", "env": "dev"}, "values": values}]}).to_string();
        let headers = [("Content-Type", "application/json"), ("X-Scope-OrgID", tenant)];
        let answer = server.post("/loki/api/v1/push", &headers, body.as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

fn get(server: &Server, tenant: &str, path: &str, params: &[(&str, &str)]) -> Reply {
    let mut all = vec![("start", "1768471200"), ("end", "1768471500"), ("time", "1768471500")];
    all.extend_from_slice(params);
    server.get_with(path, &all, &[("X-Scope-OrgID", tenant)])
}

fn ask(server: &Server, tenant: &str, query: &str) -> Reply {
    get(server, tenant, "/loki/api/v1/query_range", &[("query", query)])
}

#[test]
fn what_a_tenants_queries_may_ask_is_limited_in_lokis_words() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let overrides = directory.path().join("overrides.yaml");
    let text = "overrides:\n  team:\n    required_labels: [app]\n    minimum_labels_number: 2\n    max_streams_matchers_per_query: 3\n    max_query_range: 1h\n    max_query_bytes_read: 2KB\n    blocked_queries:\n    - pattern: '{app=\"a\", env=\"dev\"} |= \"forbidden\"'\n    - {pattern: '.*quantile.*', regex: true, types: 'metric'}\n    - {pattern: '.*from streams.*', regex: true, types: [sql]}\n    - {tags: {source: robot}}\n";
    std::fs::write(&overrides, text).expect("written");
    let config =
        format!("runtime_config: {{file: {}}}\nlimits_config: {{reject_old_samples: false}}\n", overrides.display());
    let server = start(directory.path(), &config);
    push(&server, "team", 200);
    push(&server, "free", 200);
    let refused = |reply: Reply, text: &str| {
        assert_eq!((reply.status, reply.text().trim()), (400, text));
    };
    let is_fine = |reply: Reply| assert_eq!(reply.status, 200, "{}", reply.text());
    let missing = "stream selector is missing required matchers [app], labels present in the query were [env]";
    refused(ask(&server, "team", r#"{env="dev"}"#), missing);
    refused(ask(&server, "team", r#"sum(rate({env="dev"}[1m]))"#), missing);
    refused(
        ask(&server, "team", r#"{app="a"}"#),
        "stream selector has less label matchers than required: (present: [app], number_present: 1, required_number_label_matchers: 2)",
    );
    refused(
        ask(&server, "team", r#"{app="a", app!="b", app!="c", env="dev"}"#),
        "max streams matchers per query exceeded, matchers-count > limit (4 > 3)",
    );
    refused(
        ask(&server, "team", r#"rate({app="a", env="dev"}[26h])"#),
        "[interval] value exceeds limit: [1d2h] > [1h]",
    );
    let read = ask(&server, "team", r#"{app="a", env="dev"}"#);
    assert!(
        read.status == 400 && read.text().starts_with("the query would read too many bytes (query: 6.9 KiB"),
        "{}",
        read.text()
    );
    assert!(
        read.text().contains(", limit: 2.0 KiB); consider adding more specific stream selectors"),
        "{}",
        read.text()
    );
    refused(ask(&server, "team", r#"{app="a", env="dev"} |= "forbidden""#), "query blocked by policy");
    refused(
        ask(&server, "team", r#"quantile_over_time(0.9, {app="a", env="dev"} | logfmt | unwrap n [1m])"#),
        "query blocked by policy",
    );
    let tagged = server.get_with(
        "/loki/api/v1/query_range",
        &[("query", r#"{app="a", env="dev"}"#)],
        &[("X-Scope-OrgID", "team"), ("X-Query-Tags", "Source=robot")],
    );
    refused(tagged, "query blocked by policy");
    // SQL is held to the same.
    let sql = |tenant: &str, text: &str| get(&server, tenant, "/api/v1/sql", &[("query", text)]);
    refused(sql("team", "select line from logs where labels['env'] = 'dev'"), missing);
    refused(sql("team", "select * from streams"), "query blocked by policy");
    let read = sql("team", "select sum(length(line)) from logs where labels['env'] = 'dev' and labels['app'] = 'a'");
    assert!(read.status == 400 && read.text().contains("the query would read too many bytes"), "{}", read.text());
    let by_logql = sql("team", r#"select * from logql('{env="dev"}', '2026-01-15T10:00:00Z', '2026-01-15T10:05:00Z')"#);
    assert!(by_logql.status == 400 && by_logql.text().contains(missing), "{}", by_logql.text());
    is_fine(sql("team", "select count(*) from logs where labels['env'] = 'dev' and labels['app'] = 'a'"));
    // Another tenant has none of it.
    for query in [r#"{env="dev"}"#, r#"rate({app="a"}[26h])"#, r#"{app="a", env="dev"} |= "forbidden""#] {
        is_fine(ask(&server, "free", query));
    }
    is_fine(sql("free", "select * from streams"));
}

#[test]
fn a_heavy_tenant_does_not_hold_up_another() {
    const HEAVY: usize = 24;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = "querier: {max_concurrent: 2}\nlimits_config: {reject_old_samples: false, ingestion_rate_mb: 0, ingestion_burst_size_mb: 0}\nquery_range: {cache_results: false}\n";
    let server = start(directory.path(), config);
    push(&server, "heavy", 60_000);
    push(&server, "light", 50);
    let heavy = r#"sum by (user) (rate({app="a"} | logfmt | n > 5 [1m]))"#;
    let done = AtomicUsize::new(0);
    let params = [("query", heavy), ("step", "1")];
    std::thread::scope(|scope| {
        for _ in 0..HEAVY {
            scope.spawn(|| {
                let answer = get(&server, "heavy", "/loki/api/v1/query_range", &params);
                assert!([200, 400].contains(&answer.status), "{}", answer.text());
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        let started = Instant::now();
        while server.metric("millrace_queries_waiting ") < (HEAVY - 4) as f64 {
            assert!(started.elapsed() < Duration::from_secs(20), "they do not wait");
            std::thread::sleep(Duration::from_millis(5));
        }
        let done_before = done.load(Ordering::SeqCst);
        for _ in 0..5 {
            let answer = ask(&server, "light", r#"{app="a"} |= "n=7""#);
            assert_eq!(answer.status, 200, "{}", answer.text());
            // While it runs, and after it, the heavy tenant's queue is still long: nobody stood behind it.
            assert!(server.metric("millrace_queries_waiting ") > 0.0, "the queue was empty: nothing is shown");
        }
        let done_after = done.load(Ordering::SeqCst);
        assert!(
            done_after < HEAVY - 2,
            "{done_before} then {done_after} of {HEAVY} heavy queries before five light ones"
        );
    });
    assert_eq!(done.load(Ordering::SeqCst), HEAVY);
    assert!(server.metric("millrace_queries_running ") < 0.5 && server.metric("millrace_queries_waiting ") < 0.5);
}

#[test]
fn a_queue_is_bounded_and_only_its_tenant_hears_of_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = "querier: {max_concurrent: 1}\nfrontend: {max_outstanding_per_tenant: 2}\nlimits_config: {reject_old_samples: false, ingestion_rate_mb: 0, ingestion_burst_size_mb: 0}\nquery_range: {cache_results: false}\n";
    let server = start(directory.path(), config);
    push(&server, "heavy", 60_000);
    push(&server, "light", 50);
    let heavy = r#"sum by (user) (rate({app="a"} | logfmt | n > 5 [1m]))"#;
    let params = [("query", heavy), ("step", "1")];
    let refused = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let answer = get(&server, "heavy", "/loki/api/v1/query_range", &params);
                if answer.status == 429 {
                    assert_eq!(answer.text(), "too many outstanding requests");
                    refused.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let started = Instant::now();
        while server.metric("millrace_queries_refused_total ") < 1.0 {
            assert!(started.elapsed() < Duration::from_secs(20), "nothing is refused");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(ask(&server, "light", r#"{app="a"}"#).status, 200);
    });
    assert!((1..12).contains(&refused.load(Ordering::SeqCst)), "{refused:?}");
}

#[test]
fn memory_is_shared_so_that_each_tenant_has_some() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = "millrace: {query: {memory_bytes_max: 16MB, tenant_memory_bytes_max: 1MB}}\nlimits_config: {reject_old_samples: false, ingestion_rate_mb: 0, ingestion_burst_size_mb: 0}\n";
    let server = start(directory.path(), config);
    push(&server, "heavy", 60_000);
    push(&server, "light", 50);
    // Distinct texts of sixty thousand lines do not fit a megabyte, and there is nowhere to spill a group by to.
    let heavy = "select count(*) from (select line, array_agg(line) from logs group by line)";
    let answer = get(&server, "heavy", "/api/v1/sql", &[("query", heavy)]);
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(answer.text().contains("the query needs more memory than queries may have"), "{}", answer.text());
    assert_eq!(get(&server, "light", "/api/v1/sql", &[("query", heavy)]).status, 200);
    // A query lets go of its plan a moment after its last rows.
    let started = Instant::now();
    while server.metric("millrace_query_memory_bytes ") >= 0.5 {
        assert!(started.elapsed() < Duration::from_secs(10), "memory is given back");
        std::thread::sleep(Duration::from_millis(10));
    }
}
