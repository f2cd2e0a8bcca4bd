//! Rules as YAML again: what the API answers, what it stores, what `rules diff` compares.
//!
//! Invariant: what is written here, `read` reads as the same rules (lines aside).

use std::collections::BTreeMap;
use std::fmt::Write;

use super::model::{Rule, RuleFile, RuleGroup, RuleKind};
use crate::types::labels::push_json_string;
use crate::types::units::GoDuration;

/// A whole file.
pub fn write_file(file: &RuleFile) -> String {
    let mut out = String::from("groups:\n");
    for group in &file.groups {
        push_group(&mut out, group, "  ", true);
    }
    if file.groups.is_empty() {
        return "groups: []\n".to_owned();
    }
    out
}

/// One group, as the API answers it.
pub fn write_group(group: &RuleGroup) -> String {
    let mut out = String::new();
    push_group(&mut out, group, "", false);
    out
}

/// Namespaces with their groups, as the API lists them.
pub fn write_namespaces<'a>(namespaces: impl IntoIterator<Item = (&'a str, &'a RuleFile)>) -> String {
    let mut out = String::new();
    for (namespace, file) in namespaces {
        push_scalar(&mut out, namespace);
        out.push_str(":\n");
        for group in &file.groups {
            push_group(&mut out, group, "    ", true);
        }
    }
    out
}

/// Prometheus' form: `1h30m`, `0s`.
pub fn prometheus_duration(duration: GoDuration) -> String {
    let mut millis = duration.0 / 1_000_000;
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    let units = [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    for (unit, size) in units {
        // Prometheus writes weeks and days alone or not at all.
        if size >= 86_400_000 && millis % size != 0 {
            continue;
        }
        let count = millis / size;
        if count > 0 {
            let _ = write!(out, "{count}{unit}");
            millis %= size;
        }
    }
    out
}

fn push_group(out: &mut String, group: &RuleGroup, indent: &str, is_item: bool) {
    let inner = if is_item { format!("{indent}  ") } else { indent.to_owned() };
    let mut first = if is_item { format!("{indent}- ") } else { indent.to_owned() };
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(out, "{first}{key}: {value}");
        first.clone_from(&inner);
    };
    line("name", &scalar(&group.name));
    for (key, duration) in
        [("interval", group.interval), ("query_offset", group.query_offset), ("lateness", group.lateness)]
    {
        if let Some(duration) = duration {
            line(key, &prometheus_duration(duration));
        }
    }
    if group.limit > 0 {
        line("limit", &group.limit.to_string());
    }
    push_map(out, "labels", &group.labels, &inner);
    let _ = writeln!(out, "{inner}rules:{}", if group.rules.is_empty() { " []" } else { "" });
    for rule in &group.rules {
        push_rule(out, rule, &format!("{inner}  "));
    }
}

fn push_rule(out: &mut String, rule: &Rule, indent: &str) {
    let inner = format!("{indent}  ");
    match &rule.kind {
        RuleKind::Recording { metric } => {
            let _ = writeln!(out, "{indent}- record: {}", scalar(metric));
        }
        RuleKind::Alerting { alert, .. } => {
            let _ = writeln!(out, "{indent}- alert: {}", scalar(alert));
        }
    }
    if rule.text.contains('\n') && !rule.text.contains(['\t', '\r']) && !rule.text.starts_with(' ') {
        let _ = writeln!(out, "{inner}expr: |-");
        for line in rule.text.lines() {
            let _ = writeln!(out, "{inner}  {line}");
        }
    } else {
        let _ = writeln!(out, "{inner}expr: {}", scalar(&rule.text));
    }
    if let RuleKind::Alerting { hold, keep_firing, .. } = &rule.kind {
        for (key, duration) in [("for", hold), ("keep_firing_for", keep_firing)] {
            if duration.0 != 0 {
                let _ = writeln!(out, "{inner}{key}: {}", prometheus_duration(*duration));
            }
        }
    }
    push_map(out, "labels", &rule.labels, &inner);
    if let RuleKind::Alerting { annotations, .. } = &rule.kind {
        push_map(out, "annotations", annotations, &inner);
    }
}

fn push_map(out: &mut String, key: &str, map: &BTreeMap<String, String>, indent: &str) {
    if map.is_empty() {
        return;
    }
    let _ = writeln!(out, "{indent}{key}:");
    for (name, value) in map {
        let _ = writeln!(out, "{indent}  {}: {}", scalar(name), scalar(value));
    }
}

/// Plain where YAML takes it for nothing but this text, else quoted.
fn scalar(text: &str) -> String {
    let mut out = String::new();
    push_scalar(&mut out, text);
    out
}

fn push_scalar(out: &mut String, text: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' ' | '(' | ')' | '=');
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(plain);
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    if is_word && !text.ends_with(' ') && !reserved.contains(&text.to_ascii_lowercase().as_str()) {
        out.push_str(text);
    } else {
        push_json_string(out, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::read::{read_group, read_rules};

    #[test]
    fn durations_are_prometheus_own() {
        for (text, expected) in [
            ("0", "0s"),
            ("90s", "1m30s"),
            ("1h", "1h"),
            ("36h", "36h"),
            ("48h", "2d"),
            ("2w", "2w"),
            ("1500ms", "1s500ms"),
        ] {
            assert_eq!(prometheus_duration(text.parse().expect(text)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = r#"
groups:
- name: "odd: name"
  interval: 90s
  lateness: 2m
  limit: 3
  labels: {a: "1", "b": "true"}
  rules:
  - record: x:y
    expr: |
      sum(
        rate({a="b"} |= "q\"uote" [1m])
      )
    labels: {c: 'it''s'}
  - alert: A
    expr: x:y > 1
    for: 5m
    keep_firing_for: 1d
    annotations: {s: "{{ $value }}\nnext"}
- name: empty
"#;
        let file = read_rules(text).expect("good");
        let without_lines = |mut file: RuleFile| {
            for group in &mut file.groups {
                std::sync::Arc::make_mut(group).rules.iter_mut().for_each(|rule| rule.line = 0);
            }
            file
        };
        let again = read_rules(&write_file(&file)).unwrap_or_else(|e| panic!("{e}\n{}", write_file(&file)));
        assert_eq!(without_lines(again), without_lines(file.clone()));
        let group = read_group(&write_group(&file.groups[0])).expect("good");
        assert_eq!(group.name, "odd: name");
        assert!(
            write_namespaces([("ns", &file)]).starts_with("ns:\n    - name: \"odd: name\"\n      interval: 1m30s\n")
        );
    }
}
