//! Tables of stages: a configuration, a line, and what comes of it.

use super::*;
use crate::types::time::{Clock, UnixNanos};

pub(super) fn yaml(text: &str) -> Yaml {
    crate::pipeline::yaml::parse(text).expect("the test's YAML is good")
}

pub(super) fn metrics() -> PipelineMetrics {
    PipelineMetrics::new(Clock::manual(UnixNanos(0)))
}

pub(super) fn build_with(stages: &str, metrics: &PipelineMetrics) -> Result<(Pipeline, Vec<String>), StageError> {
    let read_file = |path: &str| std::fs::read(path).map(Arc::<[u8]>::from);
    let mut tools = Tools::new("test", metrics, &read_file, 7);
    let pipeline = Pipeline::build(&yaml(stages), &mut tools)?;
    Ok((pipeline, tools.notes))
}

pub(super) fn build(stages: &str) -> Pipeline {
    build_with(stages, &metrics()).expect("the stages are good").0
}

pub(super) fn entry(labels: &[(&str, &str)], line: &str) -> Entry {
    let pairs = labels.iter().map(|(name, value)| (*name, *value));
    Entry::new(LabelSet::from_pairs(Origin::Operator, pairs), 0, line)
}

/// Runs entries, the clock standing at 0, and lets out what was held back.
pub(super) fn run(pipeline: &mut Pipeline, entries: Vec<Entry>) -> Vec<Entry> {
    let mut batch = entries;
    pipeline.run(&mut batch, &mut Context::new(0));
    let mut held = Vec::new();
    pipeline.finish(&mut held, &mut Context::new(0));
    batch.append(&mut held);
    batch
}

/// `ts {labels} line`, then on a line of its own `name=value …` of what was extracted beyond labels, and metadata
/// as `[name=value …]`.
pub(super) fn show(entry: &Entry) -> String {
    let mut out = format!("{} {} {}", entry.ts_ns, entry.labels, entry.line);
    let mut extracted: Vec<String> = Vec::new();
    for (name, value) in entry.extracted.iter() {
        let is_label = entry.labels.origin(name) == Some(Origin::Operator);
        if !is_label {
            extracted.push(format!("{name}={}", value.as_text().as_deref().unwrap_or("<nil>")));
        }
    }
    if !extracted.is_empty() {
        out.push('\n');
        out.push_str(&extracted.join(" "));
    }
    if !entry.metadata.is_empty() {
        let pairs: Vec<String> = entry.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
        out.push_str(&format!("\n[{}]", pairs.join(" ")));
    }
    out
}

/// One line without labels through the stages; nothing expected means that it is dropped.
#[track_caller]
pub(super) fn check(stages: &str, line: &str, expected: &str) {
    check_entry(stages, entry(&[], line), expected);
}

/// One entry through the stages. What was extracted is compared in any order.
#[track_caller]
pub(super) fn check_entry(stages: &str, given: Entry, expected: &str) {
    let shown: Vec<String> = run(&mut build(stages), vec![given]).iter().map(show).collect();
    let got = shown.join("\n");
    let sorted = |text: &str| {
        let mut words: Vec<String> = text.split([' ', '\n']).map(str::to_owned).collect();
        words.sort();
        words
    };
    if got != expected {
        assert_eq!(sorted(&got), sorted(expected), "{stages}\ngot:  {got}\nwant: {expected}");
    }
}

/// A configuration that is refused; `*` at the end stands for anything.
#[track_caller]
pub(super) fn check_error(stages: &str, expected: &str) {
    let words = build_with(stages, &metrics()).err().map(|error| error.to_string()).unwrap_or_default();
    match expected.strip_suffix('*') {
        Some(start) => assert!(words.starts_with(start), "{stages}\ngot:  {words}\nwant: {expected}"),
        None => assert_eq!(words, expected, "{stages}"),
    }
}

/// The lines that come of lines of one stream.
pub(super) fn lines_of(stages: &str, lines: &[&str]) -> Vec<String> {
    let entries = lines.iter().map(|line| entry(&[], line)).collect();
    run(&mut build(stages), entries).into_iter().map(|entry| entry.line).collect()
}

#[track_caller]
pub(super) fn check_lines(got: &[String], expected: &[&str]) {
    assert_eq!(got, expected);
}
