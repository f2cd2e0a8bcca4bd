//! Entries and samples as text.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::{Output, Timezone};
use crate::cli::source::{AnyError, Samples, Shown};
use crate::types::labels::Labels;

const RESET: &str = "\u{1b}[0m";
const DIM: &str = "\u{1b}[2m";

/// Writes entries.
pub(super) struct Printer {
    output: Output,
    color: bool,
    timezone: Timezone,
    shows_labels: bool,
    /// Labels that all entries have: said once.
    common: Labels,
}

impl Printer {
    pub(super) fn new(output: Output, color: bool, timezone: Timezone, shows_labels: bool) -> Self {
        Printer { output, color, timezone, shows_labels, common: Labels::default() }
    }

    /// Says what all of these entries have in common, and leaves it out from then on; of a whole answer alone.
    pub(super) fn common_labels(
        &mut self,
        entries: &[Shown],
        is_whole: bool,
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        let Some(first) = entries.first().filter(|_| self.output == Output::Default && is_whole && self.shows_labels)
        else {
            return Ok(());
        };
        let is_common = |name: &str, value: &str| entries.iter().all(|entry| entry.labels.get(name) == Some(value));
        self.common = Labels::from_pairs(first.labels.iter().filter(|(name, value)| is_common(name, value)));
        if !self.common.is_empty() {
            writeln!(out, "Common labels: {}", self.common)?;
        }
        Ok(())
    }

    pub(super) fn entry(&self, entry: &Shown, out: &mut impl Write) -> std::io::Result<()> {
        match self.output {
            Output::Raw => writeln!(out, "{}", entry.line),
            Output::Jsonl => {
                let labels = entry.labels.iter().chain(entry.fields.iter());
                let labels: Map<String, Value> = labels.map(|(name, value)| (name.to_owned(), json!(value))).collect();
                let time = self.time(entry.ts);
                writeln!(out, "{}", json!({"labels": labels, "line": entry.line, "timestamp": time}))
            }
            Output::Default => self.line(entry, out),
        }
    }

    fn line(&self, entry: &Shown, out: &mut impl Write) -> std::io::Result<()> {
        let time = self.time(entry.ts);
        let own = entry.labels.iter().filter(|(name, value)| self.common.get(name) != Some(*value));
        let own = Labels::from_pairs(own);
        let (dim, reset) = if self.color { (DIM, RESET) } else { ("", "") };
        let level = level(entry).filter(|_| self.color).map(color_of);
        let color = level.unwrap_or("");
        write!(out, "{color}{time}{reset} ")?;
        if self.shows_labels {
            write!(out, "{dim}{own}{reset} ")?;
        }
        match level {
            Some(color) => writeln!(out, "{color}{}{RESET}", entry.line),
            None => writeln!(out, "{}", entry.line),
        }
    }

    pub(super) fn samples(&self, series: &[Samples], out: &mut impl Write) -> Result<(), AnyError> {
        for one in series {
            match self.output {
                Output::Jsonl => {
                    let labels = one.labels.iter().map(|(name, value)| (name.to_owned(), json!(value)));
                    let labels: Map<String, Value> = labels.collect();
                    let values: Vec<Value> =
                        one.points.iter().map(|(at, value)| json!([*at as f64 / 1e9, value])).collect();
                    writeln!(out, "{}", json!({"labels": labels, "values": values}))?;
                }
                Output::Raw => {
                    for (_, value) in &one.points {
                        writeln!(out, "{value}")?;
                    }
                }
                Output::Default => {
                    for (at, value) in &one.points {
                        let (dim, reset) = if self.color { (DIM, RESET) } else { ("", "") };
                        write!(out, "{} {value:>12}", self.time(*at))?;
                        match self.shows_labels {
                            true => writeln!(out, " {dim}{}{reset}", one.labels)?,
                            false => writeln!(out)?,
                        }
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn time(&self, ns: i64) -> String {
        let utc = chrono::DateTime::from_timestamp_nanos(ns);
        let seconds = chrono::SecondsFormat::AutoSi;
        match self.timezone {
            Timezone::Utc => utc.to_rfc3339_opts(seconds, true),
            Timezone::Local => utc.with_timezone(&chrono::Local).to_rfc3339_opts(seconds, true),
        }
    }
}

fn level(entry: &Shown) -> Option<&str> {
    let named = |labels: &'static str| entry.fields.get(labels).or_else(|| entry.labels.get(labels));
    named("detected_level").or_else(|| named("level"))
}

/// What a terminal shows a level in.
fn color_of(level: &str) -> &'static str {
    match level.to_ascii_lowercase().as_str() {
        "critical" | "fatal" | "panic" | "emergency" | "alert" => "\u{1b}[1;31m",
        "error" | "err" => "\u{1b}[31m",
        "warn" | "warning" => "\u{1b}[33m",
        "info" => "\u{1b}[32m",
        "debug" => "\u{1b}[36m",
        "trace" => "\u{1b}[2m",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(level: &str) -> Shown {
        Shown {
            ts: 1_768_471_200_000_000_007,
            labels: Labels::from_pairs([("app", "a"), ("pod", "p")]),
            fields: Labels::from_pairs([("detected_level", level)]),
            line: "hello".to_owned(),
        }
    }

    #[test]
    fn entries_have_three_forms() {
        let check = |output, color, labels, expected: &str| {
            let mut out = Vec::new();
            let printer = Printer::new(output, color, Timezone::Utc, labels);
            printer.entry(&entry("error"), &mut out).expect("written");
            assert_eq!(String::from_utf8_lossy(&out), expected);
        };
        check(Output::Raw, true, true, "hello\n");
        check(Output::Default, false, true, "2026-01-15T10:00:00.000000007Z {app=\"a\", pod=\"p\"} hello\n");
        check(Output::Default, false, false, "2026-01-15T10:00:00.000000007Z hello\n");
        check(
            Output::Default,
            true,
            false,
            "\u{1b}[31m2026-01-15T10:00:00.000000007Z\u{1b}[0m \u{1b}[31mhello\u{1b}[0m\n",
        );
        let json = "{\"labels\":{\"app\":\"a\",\"pod\":\"p\",\"detected_level\":\"error\"},\"line\":\"hello\",\"timestamp\":\"2026-01-15T10:00:00.000000007Z\"}\n";
        check(Output::Jsonl, true, true, json);
    }

    #[test]
    fn common_labels_are_said_once() {
        let mut printer = Printer::new(Output::Default, false, Timezone::Utc, true);
        let other = Shown { labels: Labels::from_pairs([("app", "a"), ("pod", "q")]), ..entry("info") };
        let mut said = Vec::new();
        printer.common_labels(&[entry("info"), other.clone()], true, &mut said).expect("written");
        assert_eq!(String::from_utf8_lossy(&said), "Common labels: {app=\"a\"}\n");
        let mut out = Vec::new();
        printer.entry(&other, &mut out).expect("written");
        assert!(String::from_utf8_lossy(&out).contains("Z {pod=\"q\"} hello"));
    }
}
