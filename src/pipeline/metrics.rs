//! What pipelines count: lines dropped, and the metrics that `metrics` stages derive.
//!
//! ```text
//! metrics stage ─▶ CustomMetrics: name ─▶ Family { help, kind, series by labels } ─▶ families() ─▶ /metrics
//! ```
//!
//! Stages of one name share a family, whichever job they are in. Series that nothing changed for `max_idle` go.
//! Errors: a family asked for again as another kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{IntCounterVec, Opts, Registry};

use super::entry::LabelSet;
use super::error::StageError;
use crate::types::time::Clock;

/// Series of one derived metric: a label of many values in a stream would otherwise fill the memory, about 100 MB.
const SERIES_MAX: usize = 100_000;

/// What every pipeline of a process counts in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PipelineMetrics {
    /// Lines dropped, by `reason`.
    pub dropped_lines: IntCounterVec,
    /// Lines that a `limit` by label dropped, by `label_name, label_value`.
    pub dropped_by_label: IntCounterVec,
    pub custom: CustomMetrics,
}

impl PipelineMetrics {
    /// # Panics
    /// Never: names and labels are constants, tested.
    pub fn new(clock: Clock) -> Self {
        let counter = |name: &str, labels: &[&str]| {
            let help = "A count of all log lines dropped as a result of a pipeline stage";
            IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are constants, tested")
        };
        PipelineMetrics {
            dropped_lines: counter("logentry_dropped_lines_total", &["reason"]),
            dropped_by_label: counter("logentry_dropped_lines_by_label_total", &["label_name", "label_value"]),
            custom: CustomMetrics { families: Arc::default(), clock },
        }
    }

    /// # Errors
    /// When the registry has metrics of these names.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.dropped_lines.clone()))?;
        registry.register(Box::new(self.dropped_by_label.clone()))
    }
}

/// Metrics derived from lines. Cheap to clone; clones see the same.
#[derive(Debug, Clone)]
pub struct CustomMetrics {
    families: Arc<Mutex<BTreeMap<String, Arc<Family>>>>,
    clock: Clock,
}

/// What a metric's values are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// Upper bounds, ascending, without +Inf.
    Histogram(Vec<f64>),
}

/// A metric of one name.
#[derive(Debug)]
pub(super) struct Family {
    help: String,
    kind: Kind,
    max_idle_s: i64,
    series: Mutex<HashMap<u64, Series>>,
}

#[derive(Debug)]
struct Series {
    labels: Vec<(String, String)>,
    value: f64,
    /// Of histograms: a count for each bound, not summed up.
    counts: Vec<u64>,
    count: u64,
    changed_s: i64,
}

impl CustomMetrics {
    /// The family of a name, made when it is new.
    pub(super) fn family(
        &self,
        name: &str,
        help: &str,
        kind: Kind,
        max_idle_s: i64,
    ) -> Result<Arc<Family>, StageError> {
        let mut families = self.families.lock();
        if let Some(known) = families.get(name) {
            return if known.kind == kind {
                Ok(known.clone())
            } else {
                Err(StageError::new(format!(
                    "metric {name} is already defined with another type or other buckets; give one of the two another name or prefix"
                )))
            };
        }
        let family = Arc::new(Family { help: help.to_owned(), kind, max_idle_s, series: Mutex::default() });
        families.insert(name.to_owned(), family.clone());
        Ok(family)
    }

    /// Every family that has series, by name; series that were idle too long are shown a last time and go.
    pub fn families(&self) -> Vec<MetricFamily> {
        let now_s = self.clock.now().0 / 1_000_000_000;
        self.families.lock().iter().filter_map(|(name, family)| family.collect(name, now_s)).collect()
    }

    /// Forgets all series, as when a configuration is loaded anew.
    pub fn clear(&self) {
        self.families.lock().clear();
    }
}

impl Family {
    pub(super) fn may_fall(&self) -> bool {
        self.kind != Kind::Counter
    }

    /// Adds to a counter or gauge.
    pub(super) fn add(&self, labels: &LabelSet, amount: f64, now_ns: i64) {
        self.change(labels, now_ns, |series| series.value += amount);
    }

    /// Sets a gauge.
    pub(super) fn set(&self, labels: &LabelSet, value: f64, now_ns: i64) {
        self.change(labels, now_ns, |series| series.value = value);
    }

    /// Adds an observation to a histogram.
    pub(super) fn observe(&self, labels: &LabelSet, value: f64, now_ns: i64) {
        let Kind::Histogram(bounds) = &self.kind else { return };
        let bucket = bounds.iter().position(|bound| value <= *bound);
        self.change(labels, now_ns, |series| {
            series.value += value;
            series.count += 1;
            if let Some(count) = bucket.and_then(|at| series.counts.get_mut(at)) {
                *count += 1;
            }
        });
    }

    fn change(&self, labels: &LabelSet, now_ns: i64, change: impl FnOnce(&mut Series)) {
        let mut series = self.series.lock();
        let key = labels.fingerprint();
        if !series.contains_key(&key) && series.len() >= SERIES_MAX {
            return;
        }
        let found = series.entry(key).or_insert_with(|| Series::new(labels, &self.kind));
        found.changed_s = now_ns / 1_000_000_000;
        change(found);
    }

    fn collect(&self, name: &str, now_s: i64) -> Option<MetricFamily> {
        let mut series = self.series.lock();
        if series.is_empty() {
            return None;
        }
        let mut metrics: Vec<(&[(String, String)], Metric)> =
            series.values().map(|one| (&*one.labels, one.metric(&self.kind))).collect();
        metrics.sort_by(|a, b| a.0.cmp(b.0));
        let metrics: Vec<Metric> = metrics.into_iter().map(|(_, metric)| metric).collect();
        series.retain(|_, one| now_s - one.changed_s < self.max_idle_s);
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(self.help.clone());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram(_) => MetricType::HISTOGRAM,
        });
        family.set_metric(metrics);
        Some(family)
    }
}

impl Series {
    fn new(labels: &LabelSet, kind: &Kind) -> Self {
        let shown = labels.iter().filter(|(name, _)| !name.starts_with("__"));
        Series {
            labels: shown.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            value: 0.0,
            counts: match kind {
                Kind::Histogram(bounds) => vec![0; bounds.len()],
                Kind::Counter | Kind::Gauge => Vec::new(),
            },
            count: 0,
            changed_s: 0,
        }
    }

    fn metric(&self, kind: &Kind) -> Metric {
        let mut metric = Metric::default();
        let pair = |(name, value): &(String, String)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value.clone());
            pair
        };
        metric.set_label(self.labels.iter().map(pair).collect());
        match kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(self.value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(self.value);
                metric.set_gauge(gauge);
            }
            Kind::Histogram(bounds) => {
                let mut histogram = Histogram::default();
                histogram.set_sample_sum(self.value);
                histogram.set_sample_count(self.count);
                let mut below = 0;
                let buckets = bounds.iter().zip(&self.counts).map(|(bound, count)| {
                    below += count;
                    let mut bucket = Bucket::default();
                    bucket.set_upper_bound(*bound);
                    bucket.set_cumulative_count(below);
                    bucket
                });
                histogram.set_bucket(buckets.collect());
                metric.set_histogram(histogram);
            }
        }
        metric
    }
}
