//! `millrace rules` on the command line, and continuous views: the real binary.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::repository;
use crate::rules::{World, now_ns, push, rule, until, write};

/// Runs `millrace rules …`; answers whether it was content, and what it said.
fn rules_command(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .arg("rules")
        .args(arguments)
        .current_dir(repository(""))
        .output()
        .expect("the binary starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_rules_of_the_repository_are_good_and_pass_their_tests() {
    let (is_good, said) = rules_command(&["check", "queries/rules/exercise.yaml"]);
    assert!(is_good, "{said}");
    assert!(said.contains("HighErrorRateFromLogs: PromQL, asked of derived metrics"), "{said}");
    assert!(said.contains("LogVolumeSpikeDetected: incremental, every 1s"), "{said}");
    let tests: Vec<String> = std::fs::read_dir(repository("queries/rules"))
        .expect("rules are there")
        .map(|entry| entry.expect("readable").path().to_string_lossy().into_owned())
        .filter(|path| path.ends_with(".test.yaml"))
        .collect();
    assert!(!tests.is_empty());
    let mut arguments = vec!["test"];
    arguments.extend(tests.iter().map(String::as_str));
    let (is_good, said) = rules_command(&arguments);
    assert!(is_good, "{said}");
}

#[test]
fn bad_rules_are_refused_with_their_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bad.yaml");
    write(
        &path,
        "groups:\n- name: g\n  rules:\n  - record: x\n    expr: 'sum('\n  - alert: y\n    expr: vector(1)\n    fro: 5m\n",
    );
    let (is_good, said) = rules_command(&["check", &path.to_string_lossy()]);
    assert!(!is_good && said.contains("bad.yaml: line 8: "), "{said}");
    write(&path, "groups:\n- name: g\n  rules:\n  - record: x\n    expr: 'sum('\n");
    let (is_good, said) = rules_command(&["check", &path.to_string_lossy()]);
    assert!(!is_good && said.contains("bad.yaml: line 5: group \"g\", rule \"x\": could not parse"), "{said}");
}

#[test]
fn files_are_compared_and_history_is_computed() {
    let rules = "groups: [{name: g, interval: 10s, rules: [{record: 'h:lines', expr: 'sum(count_over_time({service=\"gw\"}[10s]))'}]}]";
    let world = World::new("", "groups: []");
    let server = world.start();
    // An hour ago: no rule was there, and none looks back that far.
    let start_s = now_ns() / 1_000_000_000 / 10 * 10 - 3600;
    let values: Vec<Value> =
        (0..600).map(|at| json!([((start_s + at) * 1_000_000_000 + 1).to_string(), format!("line {at}")])).collect();
    server.push(&json!({"streams": [{"stream": {"service": "gw"}, "values": values}]}));
    let file = world.directory.path().join("history.yaml");
    write(&file, rules);
    let path = file.to_string_lossy().into_owned();
    let (is_same, said) = rules_command(&["diff", &path, "--url", &server.url]);
    assert!(!is_same && said.contains("history.yaml / g: not on the server"), "{said}");
    write(&world.rules().with_file_name("history.yaml"), rules);
    until("the rule runs", || (!rule(&server, "h:lines").is_null()).then_some(()));
    let (is_same, said) = rules_command(&["diff", &path, "--url", &server.url]);
    assert!(is_same, "{said}");
    write(&file, &rules.replace("10s", "20s"));
    let (is_same, said) = rules_command(&["diff", &path, "--url", &server.url]);
    assert!(!is_same && said.contains("  - interval: 10s\n  + interval: 20s"), "{said}");
    let (from, to) = (start_s.to_string(), (start_s + 600).to_string());
    let group = ["--namespace", "history.yaml", "--group", "g", "--from", &from, "--to", &to, "--url", &server.url];
    let (is_good, said) = rules_command(&[&["backfill"], &group[..]].concat());
    assert!(is_good && said.contains("h:lines: 61 evaluations, 60 samples"), "{said}");
    let query = "sum(sum_over_time(h:lines[15m]))";
    let answer = server.get("/prometheus/api/v1/query", &[("query", query), ("time", &(start_s + 620).to_string())]);
    assert_eq!(answer.json()["data"]["result"][0]["value"][1], "600", "{}", answer.text());
    let (is_good, said) = rules_command(&[
        "backfill",
        "--namespace",
        "history.yaml",
        "--group",
        "h",
        "--from",
        &from,
        "--to",
        &to,
        "--url",
        &server.url,
    ]);
    assert!(!is_good && said.contains("there is no group"), "{said}");
    server.stop();
}

#[test]
fn a_continuous_view_is_the_same_select_asked_afterwards() {
    let query = "SELECT date_bin(INTERVAL '2 seconds', timestamp) AS bin, labels['service'] AS service, count(*) AS lines, \
                 max(json_get_float(line, 'ms')) AS worst, avg(json_get_float(line, 'ms')) AS mean FROM logs \
                 WHERE labels['service'] IN ('a', 'b') AND line LIKE '%done%' GROUP BY bin, service";
    let views = format!("[{{name: recent, query: {}}}]", json!(query));
    let world = World::with_views("", "groups: []", &views);
    let server = world.start();
    until("the view runs", || (rule(&server, "recent:lines")["health"] == "ok").then_some(()));
    assert_eq!(rule(&server, "recent:worst")["evaluation"], "incremental");
    let started = Instant::now();
    let mut number = 0;
    while started.elapsed() < Duration::from_secs(5) {
        for service in ["a", "b", "c"] {
            number += 1;
            push(&server, service, &[&format!(r#"{{"ms":{number},"what":"done"}}"#), "done without a number", "other"]);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let sql = |statement: &str| {
        let answer = server.post("/api/v1/sql", &[], statement.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json().as_array().cloned().expect("rows")
    };
    let asked = sql(&format!("SELECT * FROM ({query}) ORDER BY bin, service"));
    assert!(asked.len() >= 4, "{asked:?}");
    let rows = until("all bins are over", || {
        let rows = sql("SELECT * FROM recent ORDER BY bin, service");
        (rows.len() >= asked.len()).then_some(rows)
    });
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    for (row, asked) in rows.iter().zip(&asked) {
        assert_eq!((&row["bin"], &row["service"]), (&asked["bin"], &asked["service"]));
        for column in ["lines", "worst", "mean"] {
            assert!((number(&row[column]) - number(&asked[column])).abs() < 1e-9, "{column}: {row} {asked}");
        }
    }
    assert_eq!(rows.len(), asked.len());
    let narrowed = sql("SELECT count(*) AS n FROM recent WHERE bin < timestamp '2020-01-01'");
    assert_eq!(narrowed[0]["n"], 0);
    server.stop();
}
