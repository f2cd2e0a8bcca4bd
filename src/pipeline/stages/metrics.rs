//! `metrics`: counts what goes by, as Prometheus metrics of `/metrics`.
//!
//! ```yaml
//! - metrics:
//!     log_lines_total:
//!       type: Counter                # Counter, Gauge or Histogram
//!       description: lines by level
//!       prefix: promtail_custom_     # the default
//!       source: level                # an extracted value; the metric's own name is the default
//!       max_idle_duration: 5m        # series that nothing changed for so long go
//!       config:
//!         action: inc                # inc | add; of gauges set | inc | dec | add | sub
//!         value: error               # only entries whose source has this value
//!         match_all: false           # counters: every entry, whatever the source
//!         count_entry_bytes: false   # counters: by the bytes of the line; with match_all and add
//!         buckets: [0.1, 1]          # histograms
//!         filter: 'level == "error"' # not Promtail's: only entries whose extracted values meet this, whatever `value`
//! ```
//! A series' labels are the entry's. Numbers are read from texts; `300ms` counts in seconds.

use std::sync::Arc;

use serde_json::Value as Yaml;

use super::done;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Entry, Value};
use crate::pipeline::error::StageError;
use crate::pipeline::metrics::{Family, Kind};
use crate::pipeline::{Context, Stage, Tools};
use crate::types::go_time::parse_duration;

use self::filter::Filter;

mod filter;

const IDLE_SECONDS_DEFAULT: i64 = 300;
/// Prometheus's own, for histograms that give none.
const BUCKETS_DEFAULT: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

struct Metric {
    family: Arc<Family>,
    source: String,
    condition: Condition,
    action: Action,
}

/// Which entries count.
enum Condition {
    /// All, whether the source is there or not.
    All,
    Any,
    Value(String),
    Filter(Filter),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Action {
    Add,
    Subtract,
    Inc,
    Dec,
    Set,
    Observe,
    LineBytes,
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let map = match config {
        Yaml::Object(map) => map,
        Yaml::Null => return Err(StageError::new("empty metric stage configuration")),
        _ => return Err(StageError::new("1 error(s) decoding:\n\n* '' expected a map of metrics")),
    };
    let metrics = map.iter().map(|(name, config)| build_metric(name, config, tools)).collect::<Result<_, _>>()?;
    Ok(Box::new(Metrics(metrics)))
}

fn build_metric(name: &str, config: &Yaml, tools: &mut Tools<'_>) -> Result<Metric, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let kind = body.text("type").unwrap_or_default().to_lowercase();
    let description = body.text("description").unwrap_or_default();
    let source = body.text("source").unwrap_or_else(|| name.to_owned());
    let prefix = body.text("prefix").filter(|prefix| !prefix.is_empty());
    let idle = body.text("max_idle_duration");
    let inner = body.raw("config").unwrap_or(&Yaml::Null);
    done("metrics", body, tools)?;
    let idle_s = match idle {
        None => IDLE_SECONDS_DEFAULT,
        Some(text) => {
            let nanos = parse_duration(&text).map_err(|error| {
                StageError::new(format!("max_idle_duration could not be parsed as a time.Duration: '{error}'"))
            })?;
            if nanos < 1_000_000_000 {
                return Err(StageError::new("max_idle_duration less than 1s not allowed"));
            }
            nanos / 1_000_000_000
        }
    };
    let mut settings = Settings::read(inner, tools)?;
    let (kind, action) = match kind.as_str() {
        "counter" => (Kind::Counter, settings.counter_action()?),
        "gauge" => (Kind::Gauge, settings.gauge_action()?),
        "histogram" => (Kind::Histogram(settings.buckets()), Action::Observe),
        _ => {
            return Err(StageError::new(format!(
                "invalid metric type '{kind}', metric type must be one of 'counter', 'gauge', or 'histogram'"
            )));
        }
    };
    let condition = settings.condition(kind == Kind::Counter, name, tools)?;
    let full_name = format!("{}{name}", prefix.as_deref().unwrap_or("promtail_custom_"));
    let family = tools.metrics.custom.family(&full_name, &description, kind, idle_s)?;
    Ok(Metric { family, source, condition, action })
}

/// The inner `config`.
struct Settings {
    action: String,
    value: Option<String>,
    match_all: bool,
    count_bytes: bool,
    buckets: Vec<f64>,
    filter: Option<String>,
}

impl Settings {
    fn read(config: &Yaml, tools: &mut Tools<'_>) -> Result<Self, StageError> {
        let mut body = Body::new(config, Typing::Strict);
        let buckets = body.raw("buckets").and_then(Yaml::as_array);
        let settings = Settings {
            action: body.text("action").unwrap_or_default().to_lowercase(),
            value: body.text("value"),
            match_all: body.flag("match_all").unwrap_or(false),
            count_bytes: body.flag("count_entry_bytes").unwrap_or(false),
            buckets: buckets.into_iter().flatten().filter_map(Yaml::as_f64).collect(),
            filter: body.text("filter"),
        };
        done("metrics", body, tools)?;
        Ok(settings)
    }

    fn counter_action(&self) -> Result<Action, StageError> {
        let is_add = self.action == "add";
        let refusal = match self.action.as_str() {
            "" => Some("counter action must be defined as either `inc` or `add`".to_owned()),
            "inc" | "add" => None,
            other => Some(format!("action {other} is not valid, action must be either `inc` or `add`")),
        };
        let refusal = refusal.or_else(|| {
            let words = if self.match_all && self.value.is_some() {
                "`match_all: true` cannot be combined with `value`, please remove `match_all` or `value`"
            } else if self.count_bytes && !self.match_all {
                "`count_entry_bytes: true` can only be set with `match_all: true`"
            } else if self.count_bytes && !is_add {
                "`count_entry_bytes: true` can only be used with `action: add`"
            } else {
                return None;
            };
            Some(words.to_owned())
        });
        match refusal {
            Some(words) => Err(StageError::new(words)),
            None if self.count_bytes => Ok(Action::LineBytes),
            None => Ok(if is_add { Action::Add } else { Action::Inc }),
        }
    }

    fn gauge_action(&self) -> Result<Action, StageError> {
        Ok(match self.action.as_str() {
            "set" => Action::Set,
            "inc" => Action::Inc,
            "dec" => Action::Dec,
            "add" => Action::Add,
            "sub" => Action::Subtract,
            "" => {
                return Err(StageError::new("gauge action must be defined as `set`, `inc`, `dec`, `add`, or `sub`"));
            }
            other => {
                return Err(StageError::new(format!(
                    "action {other} is not valid, action must be `set`, `inc`, `dec`, `add`, or `sub`"
                )));
            }
        })
    }

    fn buckets(&mut self) -> Vec<f64> {
        let mut buckets = std::mem::take(&mut self.buckets);
        if buckets.is_empty() {
            buckets = BUCKETS_DEFAULT.to_vec();
        }
        buckets.retain(|bound| bound.is_finite());
        buckets.sort_by(f64::total_cmp);
        buckets.dedup();
        buckets
    }

    fn condition(&mut self, is_counter: bool, name: &str, tools: &mut Tools<'_>) -> Result<Condition, StageError> {
        let value = self.value.take();
        if let Some(filter) = &self.filter {
            let words = if value.is_some() { "; its `value` is not compared" } else { "" };
            tools.note(format!(
                "metrics: {name} counts what meets its filter {filter:?}{words}; Promtail ignores `filter`"
            ));
            return Ok(Condition::Filter(Filter::parse(filter)?));
        }
        Ok(match value {
            _ if is_counter && self.match_all => Condition::All,
            Some(value) => Condition::Value(value),
            None => Condition::Any,
        })
    }
}

impl Metric {
    fn record(&self, entry: &Entry, now_ns: i64) {
        let value = entry.extracted.get(&self.source);
        let counts = match &self.condition {
            Condition::All => true,
            Condition::Any => value.is_some(),
            Condition::Value(wanted) => value.and_then(Value::as_text).is_some_and(|text| text == wanted.as_str()),
            Condition::Filter(filter) => filter.matches(entry),
        };
        if !counts {
            return;
        }
        let labels = &entry.labels;
        match (self.action, number(value)) {
            (Action::Inc, _) => self.family.add(labels, 1.0, now_ns),
            (Action::Dec, _) => self.family.add(labels, -1.0, now_ns),
            (Action::LineBytes, _) => self.family.add(labels, entry.line.len() as f64, now_ns),
            // A counter never goes back.
            (Action::Add, Some(number)) if number >= 0.0 || self.family.may_fall() => {
                self.family.add(labels, number, now_ns);
            }
            (Action::Subtract, Some(number)) => self.family.add(labels, -number, now_ns),
            (Action::Set, Some(number)) => self.family.set(labels, number, now_ns),
            (Action::Observe, Some(number)) => self.family.observe(labels, number, now_ns),
            (Action::Add | Action::Subtract | Action::Set | Action::Observe, _) => {}
        }
    }
}

/// A value as a number; durations in seconds.
fn number(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Nil => None,
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => Some(*number),
        Value::Text(text) => text.parse().ok().or_else(|| parse_duration(&**text).ok().map(|nanos| nanos as f64 / 1e9)),
    }
}

struct Metrics(Vec<Metric>);

impl Stage for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        for entry in batch.iter() {
            for metric in &self.0 {
                metric.record(entry, context.now_ns);
            }
        }
    }
}

#[cfg(test)]
mod tests;
