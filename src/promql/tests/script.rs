//! Scripts in the language of Prometheus' `promqltest`: `load`, `clear`, `eval`.
//!
//! ```text
//! load 1m
//!   http_requests{path="/foo"} 1 2 3 0+10x5 _ stale
//!
//! eval instant at 5m rate(http_requests[5m])
//!   {path="/foo"} 0.2
//!
//! eval range from 0 to 10m step 5m sum(http_requests)
//!   {} 1 20
//! ```

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::promql::numbers::{almost_equal, parse_go_float};
use crate::promql::{
    Answer, Asked, Engine, EngineLimits, Points, PromqlError, RawSeries, Selection, SeriesSource, Steps, parse_matchers,
};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::{SampleError, is_stale_marker, stale_marker};

/// What two numbers may differ by, relative to their sum.
const TOLERANCE: f64 = 1e-6;

/// Runs a script; answers each failure with its line.
pub(super) fn run(text: &str) -> Vec<String> {
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut data = Memory::default();
    let mut failures = Vec::new();
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim_end()))
        .filter(|(_, line)| !line.trim_start().starts_with('#') && !line.trim().is_empty())
        .collect();
    let mut at = 0;
    while at < lines.len() {
        let (number, head) = lines[at];
        let body_end = (at + 1..lines.len()).find(|next| is_command(lines[*next].1)).unwrap_or(lines.len());
        let body: Vec<&str> = lines[at + 1..body_end].iter().map(|(_, line)| line.trim()).collect();
        at = body_end;
        if head == "clear" {
            data = Memory::default();
        } else if let Some(interval) = head.strip_prefix("load_with_nhcb ").or_else(|| head.strip_prefix("load ")) {
            match load(interval.trim(), &body) {
                Ok(series) => data.add(series),
                Err(why) => failures.push(format!("{number}: {why}")),
            }
        } else if let Err(why) = Eval::parse(head, &body).and_then(|eval| threads.block_on(eval.check(&data))) {
            failures.push(format!("{number}: {head}\n    {why}"));
        }
    }
    failures
}

fn is_command(line: &str) -> bool {
    line == "clear" || line.starts_with("load") || line.starts_with("eval")
}

/// Series in memory.
#[derive(Debug, Clone, Default)]
struct Memory(Vec<RawSeries>);

impl Memory {
    fn add(&mut self, series: Vec<RawSeries>) {
        for new in series {
            match self.0.iter_mut().find(|known| known.labels == new.labels) {
                Some(known) => {
                    known.times.extend(new.times);
                    known.values.extend(new.values);
                }
                None => self.0.push(new),
            }
        }
        self.0.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
}

#[async_trait]
impl SeriesSource for Memory {
    async fn select(&self, _: &TenantId, selection: &Selection, _: usize) -> Result<Vec<RawSeries>, SampleError> {
        let wanted = self.0.iter().filter(|series| selection.matchers.iter().all(|m| m.matches(&series.labels)));
        let cut = |series: &RawSeries| {
            let from = series.times.partition_point(|time| *time < selection.start_ms);
            let to = series.times.partition_point(|time| *time <= selection.end_ms).max(from);
            let (times, values) = (series.times[from..to].to_vec(), series.values[from..to].to_vec());
            RawSeries { labels: series.labels.clone(), times, values }
        };
        Ok(wanted.map(cut).filter(|series| !series.times.is_empty()).collect())
    }
}

/// One `eval` with what is expected of it.
#[derive(Debug, Default)]
struct Eval {
    asked: Option<Asked>,
    query: String,
    fails: bool,
    fail_text: Option<String>,
    warns: Option<bool>,
    informs: Option<bool>,
    ordered: bool,
    text: Option<String>,
    /// A range vector: first and last time, and the step between.
    raw: Option<Steps>,
    series: Vec<(Labels, Vec<Option<f64>>)>,
    number: Option<f64>,
}

impl Eval {
    fn parse(head: &str, body: &[&str]) -> Result<Self, String> {
        let mut eval = Eval::default();
        let (verb, rest) = head.split_once(' ').ok_or("an eval without a query")?;
        eval.fails = verb == "eval_fail";
        eval.warns = (verb == "eval_warn").then_some(true);
        eval.informs = (verb == "eval_info").then_some(true);
        eval.ordered = verb == "eval_ordered";
        let words: Vec<&str> = rest.split_whitespace().collect();
        let after = |words: usize| {
            let mut rest = rest.trim_start();
            for _ in 0..words {
                rest = rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest).trim_start();
            }
            rest.to_owned()
        };
        match words.as_slice() {
            ["instant", "at", time, ..] => {
                eval.asked = Some(Asked::Instant { at_ms: millis(time)? });
                eval.query = after(3);
            }
            ["instant", ..] => {
                eval.asked = Some(Asked::Instant { at_ms: 0 });
                eval.query = after(1);
            }
            ["range", "from", start, "to", end, "step", step, ..] => {
                eval.asked = Some(Asked::Range(Steps::range(millis(start)?, millis(end)?, millis(step)?)));
                eval.query = after(7);
            }
            _ => return Err(format!("no eval: {head}")),
        }
        for line in body {
            eval.expect(line)?;
        }
        Ok(eval)
    }

    fn expect(&mut self, line: &str) -> Result<(), String> {
        let text_after = |line: &str| {
            let text = line.split_once(':').map(|(_, text)| text.trim());
            text.map(|text| text.trim_matches('"').to_owned())
        };
        if let Some(text) = line.strip_prefix("expected_fail_message") {
            self.fail_text = Some(text.trim().to_owned());
        } else if line.starts_with("expected_fail_regexp") {
        } else if let Some(expected) = line.strip_prefix("expect ") {
            match expected.split_whitespace().next().unwrap_or("") {
                "fail" => {
                    self.fails = true;
                    self.fail_text = if expected.contains(" msg:") { text_after(expected) } else { None };
                }
                "warn" => self.warns = Some(true),
                "no_warn" => self.warns = Some(false),
                "info" => self.informs = Some(true),
                "no_info" => self.informs = Some(false),
                "ordered" => self.ordered = true,
                "string" => self.text = Some(expected["string ".len()..].trim_matches(['"', '`']).to_owned()),
                "range" => {
                    let words: Vec<&str> = expected.split_whitespace().collect();
                    let ["range", "vector", "from", start, "to", end, "step", step] = words.as_slice() else {
                        return Err(format!("no expectation: {line}"));
                    };
                    self.raw = Some(Steps::range(millis(start)?, millis(end)?, millis(step)?));
                }
                _ => return Err(format!("unknown expectation: {line}")),
            }
        } else if let Some(number) = parse_go_float(line) {
            self.number = Some(number);
        } else {
            self.series.push(series(line)?);
        }
        Ok(())
    }

    async fn check(&self, data: &Memory) -> Result<(), String> {
        let limits = EngineLimits {
            lookback: Duration::from_secs(300),
            samples_max: 10_000_000,
            timeout: Duration::from_secs(60),
        };
        let engine = Engine::new(Arc::new(data.clone()), limits);
        let asked = self.asked.ok_or("no times")?;
        let outcome = engine.query(&TenantId::single(), &self.query, asked, None, None).await;
        let outcome = match outcome {
            Ok(_) if self.fails => return Err("does not fail".to_owned()),
            Err(error) if self.fails => return self.check_failure(&error),
            Err(error) => return Err(format!("fails: {error}")),
            Ok(outcome) => outcome,
        };
        for (kind, expected, notes) in
            [("warning", self.warns, &outcome.notes.warnings), ("info", self.informs, &outcome.notes.infos)]
        {
            match expected {
                Some(true) if notes.is_empty() => return Err(format!("no {kind}")),
                Some(false) if !notes.is_empty() => return Err(format!("has a {kind}: {notes:?}")),
                _ => {}
            }
        }
        self.check_answer(&outcome.answer, asked.steps())
    }

    fn check_failure(&self, error: &PromqlError) -> Result<(), String> {
        match &self.fail_text {
            Some(expected) if !error.to_string().contains(expected.as_str()) => {
                Err(format!("fails otherwise: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn check_answer(&self, answer: &Answer, steps: Steps) -> Result<(), String> {
        match answer {
            Answer::Text { text, .. } if self.text.as_ref() == Some(text) => Ok(()),
            Answer::Text { text, .. } => Err(format!("is {text:?}")),
            Answer::Scalar { value, .. } => match self.number {
                Some(expected) if is_same(*value, expected) => Ok(()),
                _ => Err(format!("is {value}, expected {:?}", self.number)),
            },
            Answer::Vector(points) => self.check_series(points, steps),
            Answer::Matrix(points) => self.check_series(points, self.raw.unwrap_or(steps)),
        }
    }

    fn check_series(&self, found: &[Points], steps: Steps) -> Result<(), String> {
        let shown = || {
            let line = |points: &Points| {
                let values: Vec<String> = points.points.iter().map(|(time, value)| format!("{value}@{time}")).collect();
                format!("\n      {} {}", points.labels, values.join(" "))
            };
            found.iter().map(line).collect::<String>()
        };
        let expected: Vec<_> = self.series.iter().filter(|(_, values)| values.iter().any(Option::is_some)).collect();
        if found.len() != expected.len() {
            return Err(format!("has {} series, expected {}{}", found.len(), expected.len(), shown()));
        }
        for (at, (labels, values)) in expected.into_iter().enumerate() {
            let place = found.iter().position(|points| points.labels == *labels);
            let Some(place) = place else { return Err(format!("has no {labels}{}", shown())) };
            if self.ordered && place != at {
                return Err(format!("has {labels} at {place}, expected at {at}{}", shown()));
            }
            let expected: Vec<(i64, f64)> =
                values.iter().enumerate().filter_map(|(step, value)| Some((steps.at(step), (*value)?))).collect();
            let points = &found[place].points;
            let are_same = points.len() == expected.len()
                && points.iter().zip(&expected).all(|(a, b)| a.0 == b.0 && is_same(a.1, b.1));
            if !are_same {
                return Err(format!("has other values of {labels}: expected {expected:?}{}", shown()));
            }
        }
        Ok(())
    }
}

fn is_same(a: f64, b: f64) -> bool {
    almost_equal(a, b, TOLERANCE)
}

fn load(interval: &str, body: &[&str]) -> Result<Vec<RawSeries>, String> {
    let step = millis(interval)?;
    let mut loaded = Vec::new();
    // Native histograms are no samples here; scripts of others have some beside what matters.
    for line in body.iter().filter(|line| !line.contains("{{")) {
        let (labels, values) = series(line)?;
        let present = values.iter().enumerate().filter_map(|(at, value)| Some((at as i64 * step, (*value)?)));
        let (times, values) = present.unzip();
        loaded.push(RawSeries { labels, times, values });
    }
    Ok(loaded)
}

/// `metric{a="b"} 1 2+3x4 _ stale`.
fn series(line: &str) -> Result<(Labels, Vec<Option<f64>>), String> {
    let end = match line.find('}') {
        Some(_) if line.contains("{{") => return Err(format!("native histograms are no samples: {line}")),
        Some(_) => closing_brace(line).ok_or("no closing brace")? + 1,
        None => line.find(char::is_whitespace).ok_or_else(|| format!("no values: {line}"))?,
    };
    let (name, values) = line.split_at(end);
    let labels = match name.trim() {
        "{}" => Labels::default(),
        name => {
            let matchers = parse_matchers(name).map_err(|error| format!("{name}: {error}"))?;
            Labels::from_pairs(matchers.iter().map(|matcher| (matcher.name(), matcher.equal_value().unwrap_or(""))))
        }
    };
    let mut points = Vec::new();
    for word in values.split_whitespace() {
        points.extend(expand(word)?);
    }
    Ok((labels, points))
}

fn closing_brace(line: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '}' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// `1`, `_`, `stale`, `_x3`, `1x3` (four times 1), `1+2x3` (1 3 5 7).
fn expand(word: &str) -> Result<Vec<Option<f64>>, String> {
    let number = |text: &str| parse_go_float(text).ok_or_else(|| format!("no number: {text}"));
    let single = |text: &str| match text {
        "_" => Ok(None),
        "stale" => Ok(Some(stale_marker())),
        text => number(text).map(Some),
    };
    let Some((value, times)) = word.split_once('x') else {
        return Ok(vec![single(word)?]);
    };
    let times: usize = times.parse().map_err(|_| format!("no count: {word}"))?;
    if value == "_" {
        return Ok(vec![None; times]);
    }
    let sign =
        value.char_indices().skip(1).find(|(at, c)| matches!(c, '+' | '-') && !value[..*at].ends_with(['e', 'E']));
    let (start, step) = match sign {
        Some((at, _)) => (number(&value[..at])?, number(&value[at..])?),
        None => (single(value)?.unwrap_or(0.0), 0.0),
    };
    if is_stale_marker(start) {
        return Ok(vec![Some(start); times + 1]);
    }
    let mut next = start;
    let mut values = Vec::with_capacity(times + 1);
    for _ in 0..=times {
        values.push(Some(next));
        next += step;
    }
    Ok(values)
}

/// A duration, or seconds.
fn millis(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1000.0) as i64);
    }
    if text.trim_end_matches(|c: char| c.is_ascii_alphabetic()) == "0" {
        return Ok(0);
    }
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let parsed = promql_parser::util::parse_duration(text).map_err(|error| format!("{text}: {error}"))?;
    Ok(sign * i64::try_from(parsed.as_millis()).unwrap_or(i64::MAX))
}
