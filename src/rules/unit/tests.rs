use std::path::Path;

use super::*;

const RULES: &str = r#"
groups:
- name: metrics
  interval: 1m
  rules:
  - record: log:errors:1m
    expr: sum by (service) (count_over_time({service=~".+"} |= "error" [1m]))
- name: alerts
  interval: 1m
  rules:
  - alert: Errors
    expr: log:errors:1m{service="a"} > 5
    for: 2m
    annotations: {summary: "{{ $labels.service }}: {{ $value }}"}
"#;

async fn run(directory: &Path, test: &str) -> Report {
    std::fs::write(directory.join("rules.yaml"), RULES).expect("written");
    let path = directory.join("test.yaml");
    std::fs::write(&path, test).expect("written");
    run_file(&path).await.expect("the file is good")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_become_metrics_and_metrics_alerts() {
    let directory = tempfile::tempdir().expect("a directory");
    let test = r#"
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
- name: errors
  input_streams:
  - stream: '{service="a"}'
    entries: [{from: 1s, to: 10m, every: 10s, line: "error $n"}]
  input_series:
  - {series: 'other{x="y"}', values: '1+1x10'}
  alert_rule_test:
  - {eval_time: 2m, alertname: Errors}
  - eval_time: 5m
    alertname: Errors
    exp_alerts:
    - exp_labels: {service: a}
      exp_annotations: {summary: "a: 6"}
  promql_expr_test:
  - expr: log:errors:1m
    eval_time: 5m
    exp_samples: [{labels: 'log:errors:1m{service="a"}', value: 6}]
  - expr: sum(other)
    eval_time: 3m
    exp_samples: [{labels: '{}', value: 4}]
  logql_expr_test:
  - expr: sum(count_over_time({service="a"}[2m]))
    eval_time: 5m
    exp_samples: [{labels: '{}', value: 12}]
"#;
    let report = run(directory.path(), test).await;
    assert_eq!(report, Report { tests: 1, checks: 5, failures: Vec::new() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_is_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let test = r#"
rule_files: [rules.yaml]
tests:
- input_streams:
  - stream: '{service="a"}'
    entries: [{from: 1s, to: 10m, every: 10s, line: "error $n"}]
  alert_rule_test:
  - eval_time: 5m
    alertname: Errors
    exp_alerts:
    - exp_labels: {service: b}
      exp_annotations: {summary: "b: 6"}
  logql_expr_test:
  - {expr: 'sum(count_over_time({service="a"}[1m]))', eval_time: 5m, exp_samples: [{value: 5}]}
  - {expr: 'sum(', eval_time: 5m}
"#;
    let report = run(directory.path(), test).await;
    assert_eq!(report.failures.len(), 3, "{:#?}", report.failures);
    let alerts = "test 1: alertname Errors at 5m0s:\n      - {alertname=\"Errors\", service=\"b\"}\n      -     summary: \"b: 6\"\n      + {alertname=\"Errors\", service=\"a\"}\n      +     summary: \"a: 6\"\n";
    assert_eq!(report.failures[0], alerts);
    assert!(report.failures[1].ends_with("      - {} 5\n      + {} 6\n"), "{}", report.failures[1]);
    assert!(report.failures[2].contains("parse error"), "{}", report.failures[2]);
}

#[test]
fn wrong_files_say_where() {
    assert!(read_tests("tests:\n- input_stream: []\n").expect_err("unknown key").contains("line 2"));
}
