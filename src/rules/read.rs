//! Rule files, Loki's and Prometheus' format, read strictly.
//!
//! ```text
//! YAML ─▶ groups with the lines they stand at ─▶ checks (all of them) ─▶ RuleFile
//! ```
//!
//! Checks are those of Prometheus' `rulefmt` and of Loki's ruler, with the words of the latter; each problem names
//! group, rule and line. An unknown key is a problem.
//! Errors: [`RuleFileError`], with every problem of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::expr::RuleExpr;
use super::model::{Rule, RuleFile, RuleGroup, RuleKind};
use crate::template::{ALERT_DEFINITIONS, Template, alert_functions};
use crate::types::labels::push_go_quoted;
use crate::types::units::GoDuration;

/// Groups of one file, rules of one group.
const GROUPS_MAX: usize = 10_000;
const RULES_MAX: usize = 10_000;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1; 0 when it is not known.
    pub line: u32,
    pub group: Option<String>,
    pub rule: Option<String>,
    pub words: String,
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct RuleFileError {
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if let Some(group) = &self.group {
            write!(f, "group {group:?}, ")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, "rule {rule:?}: ")?;
        }
        f.write_str(&self.words)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileYaml {
    #[serde(default)]
    groups: Option<Vec<Spanned<GroupYaml>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupYaml {
    #[serde(default)]
    name: String,
    interval: Option<GoDuration>,
    limit: Option<usize>,
    query_offset: Option<GoDuration>,
    lateness: Option<GoDuration>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    rules: Option<Vec<Spanned<RuleYaml>>>,
    /// Mimir's and Cortex' keys that have no meaning here.
    #[serde(rename = "source_tenants")]
    _source_tenants: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleYaml {
    record: Option<String>,
    alert: Option<String>,
    expr: Option<Spanned<String>>,
    #[serde(rename = "for")]
    hold: Option<GoDuration>,
    keep_firing_for: Option<GoDuration>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Reads a whole file.
pub fn read_rules(text: &str) -> Result<RuleFile, RuleFileError> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(RuleFile::default());
    }
    let file: FileYaml = serde_saphyr::from_str(text).map_err(not_yaml)?;
    let groups = file.groups.unwrap_or_default();
    let mut checker = Checker::default();
    if groups.len() > GROUPS_MAX {
        checker.at(0, format!("{} groups; at most {GROUPS_MAX} in a file", groups.len()));
    }
    let mut names = BTreeSet::new();
    let mut read = Vec::with_capacity(groups.len());
    for (at, group) in groups.into_iter().enumerate() {
        let line = line_of(&group);
        checker.group = None;
        if group.value.name.is_empty() {
            checker.at(line, format!("group {at}: Groupname must not be empty"));
        } else if !names.insert(group.value.name.clone()) {
            checker.at(line, format!("groupname: \"{}\" is repeated in the same file", group.value.name));
        }
        read.push(Arc::new(checker.group(group.value, line)));
    }
    checker.finish(RuleFile { groups: read })
}

/// Reads one group, as the API takes it.
pub fn read_group(text: &str) -> Result<RuleGroup, RuleFileError> {
    let group: Spanned<GroupYaml> = serde_saphyr::from_str(text).map_err(not_yaml)?;
    let mut checker = Checker::default();
    let line = line_of(&group);
    if group.value.name.is_empty() {
        checker.at(line, "group 0: Groupname must not be empty".to_owned());
    }
    let group = checker.group(group.value, line);
    checker.finish(group)
}

fn not_yaml(error: serde_saphyr::Error) -> RuleFileError {
    let line = error.location().map_or(0, |location| u32::try_from(location.line()).unwrap_or(0));
    let words = error.to_string();
    // The parser shows the lines around the place, too; the first line says it.
    let words = words.lines().next().unwrap_or_default().to_owned();
    RuleFileError { problems: vec![Problem { line, group: None, rule: None, words }] }
}

fn line_of<T>(spanned: &Spanned<T>) -> u32 {
    u32::try_from(spanned.referenced.line()).unwrap_or(0)
}

#[derive(Default)]
struct Checker {
    problems: Vec<Problem>,
    group: Option<String>,
    rule: Option<String>,
}

impl Checker {
    fn at(&mut self, line: u32, words: String) {
        self.problems.push(Problem { line, group: self.group.clone(), rule: self.rule.clone(), words });
    }

    fn finish<T>(self, value: T) -> Result<T, RuleFileError> {
        if self.problems.is_empty() { Ok(value) } else { Err(RuleFileError { problems: self.problems }) }
    }

    fn group(&mut self, group: GroupYaml, line: u32) -> RuleGroup {
        self.group = Some(group.name.clone());
        for (key, duration) in
            [("interval", group.interval), ("query_offset", group.query_offset), ("lateness", group.lateness)]
        {
            if duration.is_some_and(|duration| duration.0 < 0 || duration.0 % 1_000_000 != 0) {
                self.at(line, format!("{key}: whole milliseconds, 0 or more"));
            }
        }
        let labels = group.labels.unwrap_or_default();
        self.labels(line, &labels);
        let rules = group.rules.unwrap_or_default();
        if rules.len() > RULES_MAX {
            self.at(line, format!("{} rules; at most {RULES_MAX} in a group", rules.len()));
        }
        let rules = rules.into_iter().enumerate().filter_map(|(at, rule)| {
            let rule = self.rule(at, rule);
            self.rule = None;
            rule
        });
        RuleGroup {
            rules: rules.collect(),
            name: group.name,
            interval: group.interval.filter(|interval| interval.0 > 0),
            limit: group.limit.unwrap_or(0),
            query_offset: group.query_offset,
            lateness: group.lateness,
            labels,
        }
    }

    fn rule(&mut self, at: usize, rule: Spanned<RuleYaml>) -> Option<Rule> {
        let line = line_of(&rule);
        let rule = rule.value;
        let before = self.problems.len();
        let (record, alert) = (rule.record.unwrap_or_default(), rule.alert.unwrap_or_default());
        let name = if record.is_empty() { &alert } else { &record };
        self.rule = Some(if name.is_empty() { format!("#{at}") } else { name.clone() });
        match (record.is_empty(), alert.is_empty()) {
            (false, false) => self.at(line, "only one of 'record' and 'alert' must be set".to_owned()),
            (true, true) => self.at(line, "one of 'record' or 'alert' must be set".to_owned()),
            _ => {}
        }
        let expr_line = rule.expr.as_ref().map_or(line, line_of);
        let text = rule.expr.map(|expr| expr.value.trim().to_owned()).unwrap_or_default();
        let expr = match RuleExpr::parse(&text) {
            Ok(expr) => Some(expr),
            Err(error) if text.is_empty() => {
                self.at(line, error.to_string());
                None
            }
            Err(error) => {
                self.at(expr_line, format!("could not parse expression: {error}"));
                None
            }
        };
        let (hold, keep_firing) = (rule.hold.unwrap_or_default(), rule.keep_firing_for.unwrap_or_default());
        let (labels, annotations) = (rule.labels.unwrap_or_default(), rule.annotations.unwrap_or_default());
        for (key, duration) in [("for", hold), ("keep_firing_for", keep_firing)] {
            if duration.0 < 0 {
                self.at(line, format!("{key}: 0 or more"));
            }
        }
        self.labels(line, &labels);
        if !record.is_empty() {
            self.recording(line, &record, hold, keep_firing, &annotations);
        }
        if let Some(name) = annotations.keys().find(|name| !is_label_name(name)) {
            self.at(line, format!("invalid annotation name: {name}"));
        }
        if !alert.is_empty() {
            let texts = [("label", &labels), ("annotation", &annotations)];
            for (what, (name, text)) in
                texts.iter().flat_map(|(what, texts)| texts.iter().map(move |text| (what, text)))
            {
                if let Err(error) = parse_template(&alert, &with_own_variables(text, "", "")) {
                    self.at(line, format!("{what} {name:?}: {error}"));
                }
            }
        }
        if self.problems.len() > before {
            return None;
        }
        let kind = if record.is_empty() {
            RuleKind::Alerting { alert, hold, keep_firing, annotations }
        } else {
            RuleKind::Recording { metric: record }
        };
        Some(Rule { kind, text, expr: expr?, labels, line })
    }

    fn recording(
        &mut self,
        line: u32,
        record: &str,
        hold: GoDuration,
        keep_firing: GoDuration,
        annotations: &BTreeMap<String, String>,
    ) {
        let set =
            [("annotations", !annotations.is_empty()), ("for", hold.0 != 0), ("keep_firing_for", keep_firing.0 != 0)];
        for (field, _) in set.iter().filter(|(_, is_set)| *is_set) {
            self.at(line, format!("invalid field '{field}' in recording rule"));
        }
        if !is_metric_name(record) {
            self.at(line, format!("invalid recording rule name: {record}"));
        }
    }

    fn labels(&mut self, line: u32, labels: &BTreeMap<String, String>) {
        for name in labels.keys().filter(|name| !is_label_name(name) || *name == "__name__") {
            self.at(line, format!("invalid label name: {name}"));
        }
    }
}

/// Variables that templates of ours have beside Prometheus': the newest lines behind an alert, a link to Grafana.
pub const OWN_VARIABLES: [&str; 2] = ["$sample", "$grafanaURL"];

/// A template's text with our variables set, if it reads one.
pub fn with_own_variables(text: &str, sample: &str, link: &str) -> String {
    if !OWN_VARIABLES.iter().any(|name| text.contains(name)) {
        return text.to_owned();
    }
    let mut out = String::new();
    for (name, value) in OWN_VARIABLES.iter().zip([sample, link]) {
        out.push_str(&format!("{{{{{name} := "));
        push_go_quoted(&mut out, value);
        out.push_str("}}");
    }
    out.push_str(text);
    out
}

/// A label's or annotation's template, with what Prometheus defines before it.
pub fn parse_template(alert: &str, text: &str) -> Result<Template, crate::template::TemplateError> {
    Template::parse(&format!("__alert_{alert}"), &format!("{ALERT_DEFINITIONS}{text}"), alert_functions())
}

fn is_metric_name(name: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(ok) && name.chars().all(|c| ok(c) || c.is_ascii_digit())
}

fn is_label_name(name: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(ok) && name.chars().all(|c| ok(c) || c.is_ascii_digit())
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
