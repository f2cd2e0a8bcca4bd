use super::*;

const GOOD: &str = r#"
groups:
  - name: metrics
    interval: 30s
    limit: 10
    query_offset: 1m
    labels: {team: ml}
    rules:
      - record: log:errors:1m
        expr: |
          sum by (service) (
            rate({service=~".+"} |= "error" [1m])
          )
        labels:
          source: loki
          code: 500
      - alert: High
        expr: log:errors:1m > 1
        for: 5m
        keep_firing_for: 1h30m
        annotations:
          summary: "{{ $labels.service }} has {{ $value | humanize }}"
"#;

#[test]
fn a_good_file_is_read_whole() {
    let file = read_rules(GOOD).expect("good");
    let group = &file.groups[0];
    assert_eq!((group.name.as_str(), group.limit, group.rules.len()), ("metrics", 10, 2));
    assert_eq!(group.interval, Some(GoDuration::from_secs(30)));
    assert_eq!(group.query_offset, Some(GoDuration::from_secs(60)));
    let labels = group.rules[0].all_labels(group);
    assert_eq!(
        labels.into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(","),
        "code=500,source=loki,team=ml"
    );
    assert_eq!((group.rules[0].line, group.rules[1].line), (9, 17));
    let RuleKind::Alerting { hold, keep_firing, .. } = &group.rules[1].kind else { panic!("an alert") };
    assert_eq!((hold.0, keep_firing.0), (300_000_000_000, 5_400_000_000_000));
    assert_eq!(read_rules("# nothing\n"), Ok(RuleFile::default()));
    assert_eq!(read_rules("groups: []"), Ok(RuleFile::default()));
}

#[test]
fn every_problem_says_where_it_is() {
    let check = |text: &str, expected: &[&str]| {
        let problems = read_rules(text).expect_err(text).problems;
        let got: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(got.len(), expected.len(), "{got:#?}");
        for (got, expected) in got.iter().zip(expected) {
            assert!(got.contains(expected), "{got}\nlacks\n{expected}");
        }
    };
    check("groups:\n- name: a\n- name: a\n", &["line 3: groupname: \"a\" is repeated in the same file"]);
    check("groups:\n- rules: []\n", &["line 2: group 0: Groupname must not be empty"]);
    check("groups:\n- name: a\n  intervall: 1m\n", &["line 3: "]);
    check("groups:\n- name: a\n  rules:\n  - recrod: x\n    expr: vector(1)\n", &["line 4: "]);
    check(
        "groups:\n- name: a\n  rules:\n  - record: x\n    expr: |\n      sum(rate({a=\"b\"} | json [5m])\n",
        &["line 6: group \"a\", rule \"x\": could not parse expression: "],
    );
    check(
        "groups:\n- name: a\n  rules:\n  - expr: vector(1)\n",
        &["rule \"#0\": one of 'record' or 'alert' must be set"],
    );
    check(
        "groups:\n- name: a\n  rules:\n  - record: x y\n    alert: b\n    for: 5m\n",
        &[
            "only one of 'record' and 'alert'",
            "field 'expr' must be set in rule",
            "invalid field 'for' in recording rule",
            "invalid recording rule name: x y",
        ],
    );
    check(
        "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: vector(1)\n    labels: {1a: b, __name__: c}\n    annotations: {s: '{{ $labels.x', t: '{{ nope }}'}\n",
        &["invalid label name: 1a", "invalid label name: __name__", "annotation \"s\"", "annotation \"t\""],
    );
    check("groups:\n- name: a\n  interval: soon\n", &["soon"]);
    check("a: [", &["line"]);
}

#[test]
fn a_group_alone_is_what_the_api_takes() {
    let group = read_group("name: g\nrules:\n- record: x\n  expr: vector(1)\n").expect("good");
    assert_eq!((group.name.as_str(), group.rules.len()), ("g", 1));
    assert!(read_group("name: ''\n").is_err());
    assert!(read_group("- x").is_err());
}
