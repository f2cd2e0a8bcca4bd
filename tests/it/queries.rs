//! Every query of `queries/` and of the dashboards is asked of the golden data set, and has an answer.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::dataset::{Run, ask, serve};
use crate::harness::repository;

/// A query of the repository.
struct Query {
    name: String,
    title: String,
    run: Run,
    text: String,
}

fn queries() -> Vec<Query> {
    let mut files: Vec<_> = std::fs::read_dir(repository("queries/logql"))
        .expect("the queries are in the repository")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let query = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).expect("readable");
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let header =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned());
        let run = match header("# run:").as_deref() {
            Some("logs") => Run::Logs,
            Some("instant") => Run::Instant,
            Some("range") => Run::Range,
            other => panic!("{name}: run is {other:?}"),
        };
        let title = header("# ").expect("a title").trim_end_matches('.').to_owned();
        Query { name, title, run, text }
    };
    files.into_iter().map(query).collect()
}

#[test]
fn every_query_has_an_answer() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = serve(&directory.path().join("data"));
    let mut without = Vec::new();
    let all = queries();
    assert!(all.len() > 30, "only {} queries", all.len());
    for query in &all {
        // The file as it is, comments and all: that is what people paste.
        if ask(&server, &query.text, query.run, &query.name).is_empty() {
            without.push(&query.name);
        }
    }
    assert!(without.is_empty(), "no answer: {without:?}");
}

#[test]
fn the_index_shows_every_query_as_it_is() {
    let index = std::fs::read_to_string(repository("queries/README.md")).expect("the index is there");
    for query in queries() {
        let body: Vec<&str> = query.text.lines().skip_while(|line| line.starts_with('#')).collect();
        let fenced = format!("```logql\n{}\n```", body.join("\n"));
        assert!(index.contains(&fenced), "{} is not in queries/README.md as it is", query.name);
        let link = format!("[{}](logql/{})", query.title, query.name);
        assert!(index.contains(&link), "queries/README.md has no {link}");
    }
    let listed = index.matches("(logql/").count();
    assert_eq!(listed, queries().len(), "queries/README.md names queries that are not there");
}

#[test]
fn every_sql_example_has_the_rows_it_had_and_is_in_the_index() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = serve(&directory.path().join("data"));
    let answer = |text: &str, name: &str| {
        let headers = [("Content-Type", "text/plain"), ("Accept", "text/csv")];
        let answer = server.post("/api/v1/sql", &headers, text.as_bytes());
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        answer.text()
    };
    let index = std::fs::read_to_string(repository("queries/README.md")).expect("the index is there");
    let mut files: Vec<_> = std::fs::read_dir(repository("queries/sql"))
        .expect("the statements are in the repository")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    assert!(files.len() >= 20);
    let mut answers = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("readable");
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        let found = answer(&text, &name);
        assert!(found.lines().count() > 1, "{name}: no rows");
        let golden = repository("tests/golden/sql").join(&name).with_extension("csv");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(repository("tests/golden/sql")).expect("made");
            std::fs::write(&golden, &found).expect("written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(found, expected, "{name} has other rows; UPDATE_GOLDEN=1 takes them over");
        answers.push((text.clone(), name.clone(), found));
        let body: Vec<&str> = text.lines().skip_while(|line| line.starts_with("--")).collect();
        assert!(index.contains(&format!("```sql\n{}\n```", body.join("\n"))), "{name} is not in the index as it is");
        assert!(index.contains(&format!("(sql/{name})")), "{name} has no link in the index");
    }
    // Rows in memory and rows in files give the same.
    server.flush();
    for (text, name, before) in answers {
        assert_eq!(answer(&text, &name), before, "{name}: other rows once all are in files");
    }
}

fn dashboard(name: &str) -> Value {
    let text = std::fs::read_to_string(repository("dashboards").join(name)).expect("the dashboard is there");
    serde_json::from_str(&text).expect("a dashboard is JSON")
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().into_iter().flatten().filter(|panel| panel["type"] != "row").collect()
}

/// Grafana's variables, as they stand when the dashboard is opened.
fn filled_in(expr: &str, dashboard: &Value) -> String {
    let mut expr = expr.to_owned();
    for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
        let (name, value) =
            (variable["name"].as_str().unwrap_or(""), variable["current"]["value"].as_str().unwrap_or(""));
        expr = expr.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
    }
    for name in ["$__auto", "$__interval", "$__rate_interval", "$__range"] {
        expr = expr.replace(name, "5m");
    }
    assert!(!expr.contains('$'), "{expr}: a variable is not known");
    expr
}

#[test]
fn every_panel_of_the_log_dashboards_has_data() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = serve(&directory.path().join("data"));
    for (name, panels_min) in [("logging-overview.json", 10), ("log-troubleshooting.json", 8)] {
        let dashboard = dashboard(name);
        let panels = panels(&dashboard);
        assert!(panels.len() >= panels_min, "{name} has {} panels", panels.len());
        for panel in panels {
            for target in panel["targets"].as_array().expect("a panel has targets") {
                let expr = filled_in(target["expr"].as_str().expect("an expr"), &dashboard);
                let run = match (target["queryType"].as_str(), panel["type"].as_str()) {
                    (Some("instant"), _) => Run::Instant,
                    (_, Some("logs")) => Run::Logs,
                    _ => Run::Range,
                };
                let what = format!("{name}: {}", panel["title"]);
                assert!(!ask(&server, &expr, run, &what).is_empty(), "{what}: no data for {expr}");
            }
        }
    }
}

#[test]
fn dashboards_are_sound() {
    for name in ["logging-overview.json", "log-troubleshooting.json", "millrace-operations.json"] {
        let dashboard = dashboard(name);
        assert_eq!(format!("{}.json", dashboard["uid"].as_str().expect("a uid")), name);
        assert!(dashboard["schemaVersion"].as_i64().expect("a number") >= 39, "{name} is of an old Grafana");
        let variables: BTreeSet<&str> = dashboard["templating"]["list"]
            .as_array()
            .expect("variables")
            .iter()
            .filter_map(|variable| variable["name"].as_str())
            .collect();
        assert!(variables.contains("datasource"), "{name} is tied to one data source");
        let mut ids = BTreeSet::new();
        for panel in dashboard["panels"].as_array().expect("panels") {
            assert!(ids.insert(panel["id"].as_i64().expect("an id")), "{name}: two panels have one id");
            let place = &panel["gridPos"];
            let (x, w) = (place["x"].as_i64().expect("a number"), place["w"].as_i64().expect("a number"));
            assert!(x + w <= 24, "{name}: {} is wider than the page", panel["title"]);
        }
    }
}

/// Names of metrics in PromQL, without what histograms add.
fn metric_names(expr: &str) -> BTreeSet<String> {
    let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| ["millrace_", "loki_", "process_"].iter().any(|prefix| word.starts_with(prefix)));
    metrics
        .map(|name| ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.strip_suffix(end).unwrap_or(name)))
        // A value of the label `route` looks like a metric.
        .filter(|name| !name.starts_with("loki_api_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_operations_dashboard_uses_metrics_that_exist() {
    let mut known = String::new();
    for entry in std::fs::read_dir(repository("src/telemetry")).expect("readable") {
        known.push_str(&std::fs::read_to_string(entry.expect("readable").path()).expect("readable"));
    }
    let dashboard = dashboard("millrace-operations.json");
    let mut seen = 0;
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().expect("targets") {
            let names = metric_names(target["expr"].as_str().expect("an expr"));
            assert!(!names.is_empty(), "{} asks for no metric", panel["title"]);
            for name in names {
                seen += 1;
                assert!(known.contains(&format!("\"{name}\"")), "{}: there is no metric {name}", panel["title"]);
            }
        }
    }
    assert!(seen > 25, "only {seen} metrics");
}
