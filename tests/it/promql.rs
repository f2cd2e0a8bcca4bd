//! Derived metrics of the real binary: Prometheus' API as Grafana and Python ask it, `kill -9`, files, tenants.

use std::process::Command;

use millrace::remote_write::proto;
use millrace::types::labels::Labels;
use millrace::types::sample::Sample;
use millrace::types::time::UnixNanos;
use serde_json::{Value, json};

use crate::harness::{Server, repository};

/// 2026-01-15T10:00:00Z.
const START_S: i64 = 1_768_471_200;
const STEP_S: i64 = 15;

pub(crate) const RECEIVER_ON: &str = "millrace:\n  metrics:\n    remote_write_receiver: true\n";

/// A metric `log:error_rate:1m` of two services and a counter, `count` samples each from `START_S` on.
pub(crate) fn samples(count: i64) -> Vec<Sample> {
    let mut samples = Vec::new();
    for at in 0..count {
        let time = UnixNanos((START_S + at * STEP_S) * 1_000_000_000);
        for (service, value) in [("gateway", at as f64), ("billing", 100.0 - at as f64)] {
            let labels = [("__name__", "log:error_rate:1m"), ("service", service), ("source", "loki")];
            samples.push(Sample { labels: Labels::from_pairs(labels), time, value });
        }
        let counter = Labels::from_pairs([("__name__", "lines_total"), ("service", "gateway")]);
        samples.push(Sample { labels: counter, time, value: (at * 30) as f64 });
    }
    samples
}

pub(crate) fn write(server: &Server, tenant: Option<&str>, samples: &[Sample]) {
    let mut headers = vec![("Content-Type", "application/x-protobuf"), ("Content-Encoding", "snappy")];
    headers.extend(tenant.map(|tenant| ("X-Scope-OrgID", tenant)));
    let answer = server.post("/prometheus/api/v1/write", &headers, &proto::encode(samples));
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn start(directory: &std::path::Path, config: &str) -> Server {
    let file = directory.join("config.yaml");
    std::fs::write(&file, config).expect("written");
    Server::start(&directory.join("data"), Some(&file), &[])
}

/// The data of a successful answer.
fn ask(server: &Server, path: &str, params: &[(&str, &str)]) -> Value {
    let answer = server.get(&format!("/prometheus/api/v1/{path}"), params);
    assert_eq!(answer.status, 200, "{path} {params:?}: {}", answer.text());
    let body = answer.json();
    assert_eq!(body["status"], "success", "{body}");
    body["data"].clone()
}

fn values(server: &Server, query: &str, at_s: i64) -> Vec<String> {
    let data = ask(server, "query", &[("query", query), ("time", &at_s.to_string())]);
    let result = data["result"].as_array().expect("a vector").clone();
    result.iter().map(|one| one["value"][1].as_str().expect("a string").to_owned()).collect()
}

#[test]
fn what_grafana_asks_is_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = start(directory.path(), &format!("auth_enabled: false\n{RECEIVER_ON}"));
    write(&server, None, &samples(41));
    let end = (START_S + 40 * STEP_S).to_string();
    let start = START_S.to_string();

    // Save & test, and what the query builder asks.
    assert_eq!(ask(&server, "query", &[("query", "1+1"), ("time", "4")])["result"], json!([4, "2"]));
    assert!(
        ask(&server, "status/buildinfo", &[])["version"].as_str().is_some_and(|version| version.contains("millrace"))
    );
    let span = [("start", start.as_str()), ("end", end.as_str())];
    assert_eq!(ask(&server, "labels", &span), json!(["__name__", "service", "source"]));
    assert_eq!(ask(&server, "label/__name__/values", &span), json!(["lines_total", "log:error_rate:1m"]));
    let matching = [span[0], span[1], ("match[]", "log:error_rate:1m"), ("limit", "40000")];
    assert_eq!(ask(&server, "label/service/values", &matching), json!(["billing", "gateway"]));
    let series = ask(&server, "series", &[span[0], span[1], ("match[]", "{service=\"gateway\"}")]);
    assert_eq!(series.as_array().map(Vec::len), Some(2));
    assert_eq!(ask(&server, "metadata", &[])["lines_total"][0]["type"], "gauge");
    assert_eq!(ask(&server, "query_exemplars", &[("query", "lines_total")]), json!([]));
    assert!(
        ask(&server, "status/config", &[])["yaml"].as_str().is_some_and(|yaml| yaml.contains("remote_write_receiver"))
    );
    for path in ["status/flags", "status/runtimeinfo", "status/tsdb", "targets", "alertmanagers"] {
        assert!(ask(&server, path, &[]).is_object(), "{path}");
    }

    // A panel: a form in a POST, as Grafana sends it.
    let form = format!("query=sum+by+(service)+(rate(lines_total[1m]))&start={start}&end={end}&step=60");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = server.post("/prometheus/api/v1/query_range", &headers, form.as_bytes()).json();
    let result = answer["data"]["result"].as_array().expect("a matrix").clone();
    assert_eq!((answer["data"]["resultType"].as_str(), result.len()), (Some("matrix"), 1));
    assert_eq!(result[0]["values"].as_array().map(Vec::len), Some(10), "the first minute has too few samples");
    let rates = result[0]["values"].as_array().expect("values").iter();
    let rates: Vec<f64> = rates.filter_map(|value| value[1].as_str()?.parse().ok()).collect();
    assert!(rates.iter().all(|rate| (rate - 2.0).abs() < 1e-9), "{rates:?}");

    // Rules that read what others recorded, and the newest values for a scrape.
    assert_eq!(values(&server, "log:error_rate:1m{service=\"gateway\"} > 1", START_S + 600), ["40"]);
    assert_eq!(values(&server, "log:error_rate:1m offset 5m > 60", START_S + 600), ["80"]);
    assert_eq!(values(&server, "log:error_rate:1m > 1e9", START_S + 600), [""; 0]);
    let stats = ask(&server, "query", &[("query", "lines_total"), ("time", &end), ("stats", "all")]);
    assert_eq!(stats["stats"]["samples"]["totalQueryableSamples"], 20);

    // Errors as Prometheus words them.
    let refused = |path: &str, params: &[(&str, &str)]| {
        let answer = server.get(&format!("/prometheus/api/v1/{path}"), params);
        (answer.status, answer.json()["errorType"].as_str().unwrap_or("").to_owned(), answer.text())
    };
    let (status, kind, text) = refused("query", &[("query", "sum(")]);
    assert!(status == 400 && kind == "bad_data" && text.contains("parse error"), "{status} {text}");
    let (status, kind, _) =
        refused("query", &[("query", "log:error_rate:1m + on () log:error_rate:1m"), ("time", &end)]);
    assert_eq!((status, kind.as_str()), (422, "execution"));
    let (status, kind, _) = refused("query", &[("query", "max_over_time(up[10y:1ms])")]);
    assert_eq!((status, kind.as_str()), (422, "execution"));
    assert_eq!(refused("query_range", &[("query", "up"), ("start", "1"), ("end", "0"), ("step", "1")]).0, 400);
    assert_eq!(refused("series", &[]).0, 400);
}

#[test]
fn tenants_see_their_own_series() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = start(directory.path(), &format!("auth_enabled: true\n{RECEIVER_ON}"));
    write(&server, Some("one"), &samples(2));
    let ask = |tenant: &str| {
        let params = [("query", "count({__name__=~\".+\"})"), ("time", &START_S.to_string())];
        server.get_with("/prometheus/api/v1/query", &params, &[("X-Scope-OrgID", tenant)]).json()["data"]["result"]
            .clone()
    };
    assert_eq!(ask("one")[0]["value"][1], "3");
    assert_eq!(ask("two"), json!([]));
    assert_eq!(server.get("/prometheus/api/v1/query", &[("query", "1")]).status, 401);
    assert_eq!(server.get("/metrics/derived", &[]).status, 401);
}

#[test]
fn the_receiver_is_off_unless_it_is_switched_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = start(directory.path(), "auth_enabled: false\n");
    assert_eq!(server.post("/prometheus/api/v1/write", &[], &proto::encode(&samples(1))).status, 404);
}

#[test]
fn what_is_recorded_survives_kill_nine_and_becomes_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = format!("auth_enabled: false\n{RECEIVER_ON}");
    let count = |server: &Server| values(server, "sum(count_over_time({__name__=~\".+\"}[1h]))", START_S + 3_599);
    let all = samples(60);
    let server = start(directory.path(), &config);
    write(&server, None, &all[..90]);
    server.kill();
    let server = start(directory.path(), &config);
    assert_eq!(count(&server), ["90"]);
    // A clean stop makes files; what is sent again, before and after it, counts once.
    write(&server, None, &all[60..120]);
    server.stop();
    let files =
        std::fs::read_dir(directory.path().join("data/metrics/tenant=fake/date=2026-01-15")).expect("files").count();
    assert!(files >= 1);
    let server = start(directory.path(), &config);
    assert_eq!(count(&server), ["120"]);
    write(&server, None, &all[100..]);
    server.kill();
    let server = start(directory.path(), &config);
    assert_eq!(count(&server), ["180"]);
    assert_eq!(values(&server, "lines_total", START_S + 59 * STEP_S), ["1770"]);
    let metrics = server.get("/metrics", &[]).text();
    assert!(metrics.contains("millrace_metrics_files 1"), "{metrics}");
}

#[test]
fn newest_values_are_exposed() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = start(directory.path(), &format!("auth_enabled: false\n{RECEIVER_ON}"));
    let now = UnixNanos(chrono::Utc::now().timestamp_millis() * 1_000_000);
    let labels = Labels::from_pairs([("__name__", "log:error_rate:1m"), ("service", "gateway")]);
    write(&server, None, &[Sample { labels, time: now, value: 0.25 }]);
    let text = server.get("/metrics/derived", &[]).text();
    let expected = format!(
        "# TYPE log:error_rate:1m gauge\nlog:error_rate:1m{{service=\"gateway\"}} 0.25 {}\n",
        now.0 / 1_000_000
    );
    assert_eq!(text, expected);
}

#[test]
fn the_python_client_reads_frames() {
    let Some(python) = crate::clients::installed("MILLRACE_TEST_PYTHON", "prometheus-pandas") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let server = start(directory.path(), &format!("auth_enabled: false\n{RECEIVER_ON}"));
    write(&server, None, &samples(41));
    let script = repository("tests/clients/prometheus_frames.py");
    let said = crate::clients::run(Command::new(python).arg(script).args([&server.url, &START_S.to_string()]));
    assert!(said.contains("frames agree"), "{said}");
}

#[test]
fn sql_sees_samples_as_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = start(directory.path(), &format!("auth_enabled: false\n{RECEIVER_ON}"));
    let mut all = samples(41);
    let gone = Labels::from_pairs([("__name__", "lines_total"), ("service", "gateway")]);
    all.push(Sample::stale(gone, UnixNanos((START_S + 900) * 1_000_000_000)));
    write(&server, None, &all);
    let csv = |sql: &str| {
        let answer = server.get_with("/api/v1/sql", &[("query", sql)], &[("Accept", "text/csv")]);
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text()
    };
    let by_metric = "select metric, labels['service'] as service, count(*) as n, max(value) as most from metrics group by 1, 2 order by 1, 2";
    let expected = "metric,service,n,most\nlines_total,gateway,41,1200.0\nlog:error_rate:1m,billing,41,100.0\nlog:error_rate:1m,gateway,41,40.0\n";
    assert_eq!(csv(by_metric), expected);
    let narrow = "select count(*) as n from metrics where metric = 'lines_total' and timestamp > '2026-01-15T10:00:00Z' and timestamp <= '2026-01-15T10:01:00Z'";
    assert_eq!(csv(narrow), "n\n4\n");
    assert_eq!(
        csv("select timestamp, value from metrics where value = 1200"),
        "timestamp,value\n2026-01-15T10:10:00Z,1200.0\n"
    );
}

#[test]
fn rules_record_and_others_read_what_they_recorded() {
    let directory = tempfile::tempdir().expect("a directory");
    let rules = directory.path().join("rules/fake");
    std::fs::create_dir_all(&rules).expect("made");
    let groups = "groups:\n  - name: errors\n    interval: 1s\n    rules:\n      - record: log:errors:count10s\n        expr: sum by (service) (count_over_time({service=~\".+\"} |= \"error\" [10s]))\n        labels:\n          source: loki\n      - alert: ManyErrors\n        expr: log:errors:count10s{service=\"gateway\"} > 2\n";
    std::fs::write(rules.join("rules.yaml"), groups).expect("written");
    let config = format!(
        "auth_enabled: false\nruler:\n  storage:\n    type: local\n    local:\n      directory: {}\n",
        directory.path().join("rules").display()
    );
    let server = start(directory.path(), &config);
    let patience = std::time::Duration::from_secs(30);
    let started = std::time::Instant::now();
    loop {
        let now = chrono::Utc::now().timestamp_nanos_opt().expect("this century");
        let values: Vec<_> = (0..3).map(|at| json!([(now + at).to_string(), "an error"])).collect();
        server.push(&json!({"streams": [{"stream": {"service": "gateway"}, "values": values}]}));
        let recorded = server.get("/prometheus/api/v1/query", &[("query", "log:errors:count10s")]).json();
        let alerts = server.get("/prometheus/api/v1/alerts", &[]).json();
        let value = recorded["data"]["result"][0]["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
        let is_firing = alerts["data"]["alerts"].as_array().is_some_and(|alerts| {
            alerts.iter().any(|alert| alert["labels"]["alertname"] == "ManyErrors" && alert["state"] == "firing")
        });
        if value.is_some_and(|value| value > 2.0) && is_firing {
            assert_eq!(recorded["data"]["result"][0]["metric"]["source"], "loki");
            return;
        }
        assert!(started.elapsed() < patience, "{recorded} {alerts}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
