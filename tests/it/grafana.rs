//! The requests that Grafana sends, replayed: Explore, Logs Drilldown, context, annotations, variables, alerting.
//!
//! Grafana's parser reads keys in order (`converter/prom.go`), so the order of keys is checked too.

use serde_json::Value;

use crate::dataset::{END_S, START_S, serve};
use crate::harness::{Reply, Server};

const CATEGORIZE: (&str, &str) = ("X-Loki-Response-Encoding-Flags", "categorize-labels");

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn nanos(seconds: i64) -> String {
    format!("{seconds}000000000")
}

/// A frame of lines, as strict as Grafana reads it.
fn check_streams(answer: &Reply, what: &str) -> Value {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    let body = answer.json();
    assert_eq!(keys(&body), ["status", "data"], "{what}");
    assert_eq!(keys(&body["data"]), ["resultType", "encodingFlags", "result", "stats"], "{what}");
    assert_eq!(body["data"]["resultType"], "streams", "{what}");
    for stream in body["data"]["result"].as_array().expect("an array, never null") {
        assert_eq!(keys(stream), ["stream", "values"], "{what}");
        for entry in stream["values"].as_array().expect("an array") {
            let entry = entry.as_array().expect("an array");
            assert_eq!(entry.len(), 3, "{what}: {entry:?}");
            assert!(entry[0].is_string() && entry[1].is_string(), "{what}: {entry:?}");
            assert!(
                keys(&entry[2]).iter().all(|key| ["structuredMetadata", "parsed"].contains(key)),
                "{what}: {entry:?}"
            );
        }
    }
    body
}

fn check_samples(answer: &Reply, kind: &str, what: &str) -> Value {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    let body = answer.json();
    let data = keys(&body["data"]);
    let expected = ["resultType", "encodingFlags", "result", "stats"];
    assert_eq!(data, expected.into_iter().filter(|key| data.contains(key)).collect::<Vec<_>>(), "{what}");
    assert_eq!(body["data"]["resultType"], kind, "{what}");
    let points = if kind == "matrix" { "values" } else { "value" };
    let result = body["data"]["result"].as_array().expect("an array");
    assert!(!result.is_empty(), "{what}: no series");
    for series in result {
        assert_eq!(keys(series), ["metric", points], "{what}");
        let first = if kind == "matrix" { &series[points][0] } else { &series[points] };
        assert!(first[0].is_number() && first[1].is_string(), "{what}: {first}");
    }
    body
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn explore_works_as_grafana_asks() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = serve(&directory.path().join("data"));
    let (start, end) = (nanos(START_S), nanos(END_S));
    let lines = |query: &str| {
        let params: &[(&str, &str)] = &[
            ("direction", "backward"),
            ("end", &end),
            ("limit", "1000"),
            ("query", query),
            ("start", &start),
            ("step", "2000ms"),
        ];
        server.get_with("/loki/api/v1/query_range", params, &[CATEGORIZE, ("X-Query-Tags", "Source=grafana")])
    };
    let raw = check_streams(&lines(r#"{service="inference-gateway"} |= `timeout` | json"#), "lines");
    let entry =
        &raw["data"]["result"].as_array().and_then(|streams| streams.first()).map(|stream| stream["values"][0].clone());
    if let Some(entry) = entry {
        assert!(
            entry[2]["parsed"]["trace_id_extracted"].is_string() || entry[2]["parsed"]["trace_id"].is_string(),
            "{entry}"
        );
    }
    check_streams(&lines(r#"{service="nobody"}"#), "no lines");
    // The volume above the lines.
    let volume =
        r#"sum by (level, detected_level) (count_over_time({service="inference-gateway"} | drop __error__[1m]))"#;
    let params: &[(&str, &str)] = &[
        ("direction", "backward"),
        ("end", end.as_str()),
        ("query", volume),
        ("start", start.as_str()),
        ("step", "60000ms"),
    ];
    check_samples(&server.get_with("/loki/api/v1/query_range", params, &[CATEGORIZE]), "matrix", "volume");
    // How much a query would read, shown under the query box.
    let stats = server
        .get(
            "/loki/api/v1/index/stats",
            &[("query", r#"{service="inference-gateway"}"#), ("start", &start), ("end", &end)],
        )
        .json();
    assert_eq!(keys(&stats), ["streams", "chunks", "bytes", "entries"]);
    assert!(stats["entries"].as_u64() > Some(1000) && stats["streams"].as_u64() > Some(1), "{stats}");
    // The label browser and completion.
    let names = server.get("/loki/api/v1/labels", &[("start", &start), ("end", &end)]).json();
    assert!(strings(&names["data"]).contains(&"service"), "{names}");
    let params: &[(&str, &str)] =
        &[("start", start.as_str()), ("end", &end), ("query", r#"{service="inference-gateway"}"#)];
    let values = server.get("/loki/api/v1/label/environment/values", params).json();
    assert_eq!(strings(&values["data"]), ["lab", "production", "staging"]);
    let shards = server.get("/loki/api/v1/label/__stream_shard__/values", params).json();
    assert!(strings(&shards["data"]).is_empty(), "{shards}");
    let sample = server.get_with(
        "/loki/api/v1/query_range",
        &[("query", r#"{service="feature-store"}"#), ("limit", "10"), ("start", &start), ("end", &end)],
        &[CATEGORIZE],
    );
    check_streams(&sample, "the sample for the query builder");
}

#[test]
fn the_context_of_a_line_is_found() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = serve(&directory.path().join("data"));
    let selector = r#"{cluster="us-east-1",environment="lab",level="error",service="inference-gateway"}"#;
    let middle: &[(&str, &str)] = &[
        ("query", selector),
        ("limit", "1"),
        ("start", &nanos(START_S + 1800)),
        ("end", &nanos(END_S)),
        ("direction", "forward"),
    ];
    let row = check_streams(&server.get_with("/loki/api/v1/query_range", middle, &[CATEGORIZE]), "the row");
    let at: i64 = row["data"]["result"][0]["values"][0][0].as_str().expect("a time").parse().expect("a number");
    let two_hours = 7_200_000_000_000;
    let (before, after, now) = ((at - two_hours).to_string(), (at + two_hours).to_string(), at.to_string());
    let side = |start: &str, end: &str, direction: &str| {
        let params: &[(&str, &str)] =
            &[("query", selector), ("limit", "10"), ("start", start), ("end", end), ("direction", direction)];
        check_streams(&server.get_with("/loki/api/v1/query_range", params, &[CATEGORIZE]), direction)
    };
    let times = |body: &Value| -> Vec<i64> {
        let values = body["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
        values.iter().map(|entry| entry[0].as_str().expect("text").parse().expect("a number")).collect()
    };
    let earlier = times(&side(&before, &now, "backward"));
    assert!(!earlier.is_empty() && earlier.iter().all(|time| *time < at), "{earlier:?} before {at}");
    let later = times(&side(&now, &after, "forward"));
    assert_eq!(later.first(), Some(&at), "the row itself is the first of the forward half: its start is inside");
}

#[test]
fn logs_drilldown_works() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = serve(&directory.path().join("data"));
    let (start, end) = (START_S.to_string(), END_S.to_string());
    let asked = |path: &str, params: &[(&str, &str)]| {
        let params: Vec<_> = params.iter().copied().chain([("start", start.as_str()), ("end", end.as_str())]).collect();
        let answer = server.get(path, &params);
        assert_eq!(answer.status, 200, "{path} {params:?}: {}", answer.text());
        answer.json()
    };
    // The services, largest first.
    let volume = asked(
        "/loki/api/v1/index/volume",
        &[("query", r#"{service_name=~".+"}"#), ("limit", "5000"), ("targetLabels", "service_name")],
    );
    assert_eq!(volume["data"]["resultType"], "vector");
    let first = &volume["data"]["result"][0];
    assert_eq!(first["metric"]["service_name"], "inference-gateway", "{volume}");
    assert_eq!(keys(first), ["metric", "value"]);
    let bytes: f64 = first["value"][1].as_str().expect("text").parse().expect("a number");
    assert_eq!(
        bytes,
        server.number(r#"sum(bytes_over_time({service_name="inference-gateway"}[3h]))"#, END_S),
        "bytes of lines"
    );
    // A service's lines, labels, fields, patterns.
    let selector = r#"{service_name="inference-gateway"}"#;
    let labels = asked("/loki/api/v1/detected_labels", &[("query", selector)]);
    assert!(
        labels["detectedLabels"]
            .as_array()
            .is_some_and(|labels| labels.iter().any(|label| label["label"] == "environment"))
    );
    let fields = asked("/loki/api/v1/detected_fields", &[("query", selector), ("line_limit", "1000")]);
    assert!(
        fields["fields"].as_array().is_some_and(|fields| fields.iter().any(|field| field["label"] == "status_code"))
    );
    let values = asked("/loki/api/v1/detected_field/method/values", &[("query", selector), ("line_limit", "1000")]);
    assert!(strings(&values["values"]).contains(&"GET"), "{values}");
    let query = r#"sum by (detected_level) (count_over_time({service_name="inference-gateway"} | json | logfmt | drop __error__, __error_details__ | method="GET" [60s]))"#;
    check_samples(
        &server.get("/loki/api/v1/query_range", &[("query", query), ("start", &start), ("end", &end), ("step", "60")]),
        "matrix",
        "a field",
    );
    let query = r#"avg_over_time({service_name="inference-gateway"} | json | logfmt | drop __error__, __error_details__ | unwrap latency_ms | __error__="" [60s]) by ()"#;
    check_samples(
        &server.get("/loki/api/v1/query_range", &[("query", query), ("start", &start), ("end", &end), ("step", "60")]),
        "matrix",
        "an average",
    );
    let patterns = asked("/loki/api/v1/patterns", &[("query", selector), ("step", "60s")]);
    assert_eq!(keys(&patterns["data"][0]), ["pattern", "level", "samples"], "{patterns}");
    let limits = server.get("/loki/api/v1/drilldown-limits", &[]).json();
    assert_eq!(keys(&limits), ["limits", "pattern_ingester_enabled", "version"]);
    assert_eq!(limits["limits"]["volume_enabled"], true);
}

#[test]
fn volumes_are_exact_from_memory_and_from_files() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = serve(&directory.path().join("data"));
    let (start, end) = ((START_S + 600).to_string(), (END_S - 600).to_string());
    for flushed in [false, true] {
        if flushed {
            server.flush();
        }
        // Windows of a volume begin at their start, those of a metric after it: no line of these streams is on an edge.
        let params: &[(&str, &str)] = &[
            ("query", r#"{service="feature-store"}"#),
            ("start", &start),
            ("end", &end),
            ("step", "600"),
            ("targetLabels", "environment"),
        ];
        let volume = server.get("/loki/api/v1/index/volume_range", params).json();
        assert_eq!(volume["data"]["resultType"], "matrix", "{volume}");
        let series = volume["data"]["result"].as_array().expect("series");
        assert!(series.len() >= 2, "{volume}");
        for one in series {
            let environment = one["metric"]["environment"].as_str().expect("a label");
            let points = one["values"].as_array().expect("points");
            assert_eq!(points.len(), 10, "{points:?}");
            for point in &points[..9] {
                let at = point[0].as_f64().expect("a time");
                assert_eq!(
                    (at * 1000.0).round() as i64 % 600_000,
                    599_999,
                    "a step ends a millisecond before the next"
                );
                let query =
                    format!(r#"sum(bytes_over_time({{service="feature-store", environment="{environment}"}}[10m]))"#);
                let exact = server.number(&query, (at + 0.001).round() as i64);
                assert_eq!(
                    point[1].as_str().expect("text").parse::<f64>().expect("a number"),
                    exact,
                    "{environment} {at}"
                );
            }
        }
        let by_label = server
            .get(
                "/loki/api/v1/index/volume",
                &[("query", "{}"), ("start", &start), ("end", &end), ("aggregateBy", "labels"), ("limit", "3")],
            )
            .json();
        let result = by_label["data"]["result"].as_array().expect("labels");
        assert_eq!(result.len(), 3);
        assert_eq!(
            result[0]["metric"].as_object().map(|metric| metric.values().cloned().collect::<Vec<_>>()),
            Some(vec!["".into()])
        );
    }
    let check = |params: &[(&str, &str)], text: &str| {
        let answer = server.get("/loki/api/v1/index/volume", params);
        assert_eq!((answer.status, answer.text().as_str()), (400, text), "{params:?}");
    };
    check(&[("query", "{}"), ("aggregateBy", "x")], "invalid aggregation option");
    check(&[("query", "{}"), ("limit", "-1")], "limit must be a positive value");
    let shards = server
        .get(
            "/loki/api/v1/index/shards",
            &[
                ("query", r#"{service="feature-store"}"#),
                ("targetBytesPerShard", "64MB"),
                ("start", &start),
                ("end", &end),
            ],
        )
        .json();
    assert_eq!(keys(&shards), ["shards", "statistics", "chunkGroups"]);
    assert_eq!(keys(&shards["shards"][0]), ["bounds", "stats"]);
    let refused = server.get("/loki/api/v1/index/shards", &[("query", r#"{service="feature-store"}"#)]);
    assert_eq!(refused.text(), "targetBytesPerShard must be a positive value");
}

/// Patterns and their totals, levels together.
fn pattern_totals(server: &Server, selector: &str) -> Vec<(String, f64)> {
    let params: &[(&str, &str)] =
        &[("query", selector), ("start", &START_S.to_string()), ("end", &END_S.to_string()), ("step", "60s")];
    let answer = server.get("/loki/api/v1/patterns", params);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut totals: Vec<(String, f64)> = Vec::new();
    for pattern in answer.json()["data"].as_array().expect("patterns") {
        let text = pattern["pattern"].as_str().expect("text");
        let count: f64 =
            pattern["samples"].as_array().expect("samples").iter().filter_map(|sample| sample[1].as_f64()).sum();
        match totals.iter_mut().find(|(known, _)| known == text) {
            Some((_, total)) => *total += count,
            None => totals.push((text.to_owned(), count)),
        }
    }
    totals
}

#[test]
fn the_counts_of_patterns_are_those_of_their_filter() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let mut server = serve(&data);
    for place in ["half and half", "files", "after a restart"] {
        if place == "files" {
            server.flush();
        }
        if place == "after a restart" {
            server.stop();
            server = Server::start(&data, Some(&crate::harness::repository("tests/golden/config.yaml")), &[]);
        }
        for selector in [
            r#"{service="inference-gateway"}"#,
            r#"{service="edge-nginx"}"#,
            r#"{service="system"}"#,
            r#"{service="feature-store"}"#,
        ] {
            let totals = pattern_totals(&server, selector);
            assert!(!totals.is_empty() && totals.len() < 100, "{place}: {selector} has {} patterns", totals.len());
            for (pattern, total) in &totals {
                assert!(!pattern.contains('`'), "{pattern}");
                // The window of a metric is open at its start; the first line is on it.
                let query = format!("sum(count_over_time({selector} |> `{pattern}` [2h1s]))");
                assert_eq!(server.number(&query, END_S), *total, "{place}: {selector} {pattern}");
            }
            let all = server.number(&format!("sum(count_over_time({selector}[2h1s]))"), END_S);
            let sum: f64 = totals.iter().map(|(_, total)| total).sum();
            assert!(sum >= all && sum < 2.0 * all, "{place}: {selector}: {sum} of {all} lines have a pattern");
        }
    }
}

#[test]
fn the_pages_of_operators_are_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    for page in ["/ring", "/distributor/ring", "/compactor/ring", "/ruler/ring", "/memberlist"] {
        let answer = server.get(page, &[]);
        assert!(answer.status == 200 && answer.text().contains("ACTIVE"), "{page}: {}", answer.text());
        let json = server.get_with(page, &[], &[("Accept", "application/json")]).json();
        assert_eq!(json["shards"][0]["state"], "ACTIVE", "{page}");
    }
    let prepared = || server.get("/ingester/prepare_shutdown", &[]).text();
    assert_eq!(prepared(), "unset");
    assert_eq!(server.post("/ingester/prepare_shutdown", &[], b"").status, 204);
    assert_eq!(prepared(), "set");
    assert!(server.get("/config/tenant/v1/limits", &[]).text().contains("max_query_series:"));
    assert_eq!(server.get("/api/v1/queries", &[]).json()["queries"], serde_json::json!([]));
    assert_eq!(server.get("/api/v1/storage", &[]).json()["files"]["count"], 0);
    let stay = server.post("/ingester/shutdown?terminate=false", &[], b"");
    assert_eq!((stay.status, server.get("/ready", &[]).status), (204, 200));
    assert_eq!(server.post("/ingester/shutdown", &[], b"").status, 204);
    let started = std::time::Instant::now();
    while server.get("/ready", &[]).status != 0 {
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "the process does not end");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn variables_annotations_and_alerts_are_answered() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = serve(&directory.path().join("data"));
    let (start, end) = (nanos(START_S), nanos(END_S));
    let range = [("start", start.as_str()), ("end", end.as_str())];
    // label_values(service), label_values({…}, environment)
    let services = server.get("/loki/api/v1/label/service/values", &range).json();
    assert!(strings(&services["data"]).contains(&"inference-gateway"));
    let params: &[(&str, &str)] = &[("match[]", r#"{service="inference-gateway"}"#), ("start", &start), ("end", &end)];
    let series = server.get("/loki/api/v1/series", params).json();
    assert!(
        series["data"].as_array().is_some_and(|series| series.iter().all(|labels| labels["environment"].is_string())),
        "{series}"
    );
    // An annotation is a query of lines with a limit.
    let params: &[(&str, &str)] = &[
        ("query", r#"{service="inference-gateway", level="critical"}"#),
        ("limit", "100"),
        ("direction", "backward"),
        ("start", &start),
        ("end", &end),
        ("step", "3600000ms"),
    ];
    check_streams(&server.get_with("/loki/api/v1/query_range", params, &[CATEGORIZE]), "annotations");
    // Unified alerting asks for a vector.
    let rule = r#"sum(rate({service="inference-gateway", level=~"error|critical"}[5m])) * 60"#;
    let params: &[(&str, &str)] = &[("query", rule), ("direction", "backward"), ("time", &end)];
    check_samples(&server.get_with("/loki/api/v1/query", params, &[CATEGORIZE]), "vector", "an alert");
}
