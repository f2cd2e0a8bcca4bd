//! Classic histograms: series that differ in `le`, each counting what is at most that.

use std::collections::HashMap;

use super::super::error::PromqlError;
use super::super::labels::{all_but, with};
use super::super::node::Node;
use super::super::numbers::{almost_equal, format_value, parse_go_float};
use super::super::value::{Series, is_absent};
use super::Evaluator;
use super::merge::Collector;
use crate::types::labels::Labels;
use crate::types::sample::METRIC_NAME;

const BUCKET_LABEL: &str = "le";
/// Counts that differ by less, relative to their sum, differ by rounding.
const SMALL_DIFFERENCE: f64 = 1e-12;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// The buckets of one histogram.
struct Histogram {
    labels: Labels,
    /// Upper bounds with the series that count them.
    buckets: Vec<(f64, usize)>,
}

impl Evaluator<'_> {
    pub(super) fn histogram_quantile(
        &self,
        quantiles: &[Node],
        label: Option<&str>,
        input: &Node,
    ) -> Result<Vec<Series>, PromqlError> {
        let quantiles: Vec<Vec<f64>> = quantiles.iter().map(|q| self.scalar(q)).collect::<Result<_, _>>()?;
        quantiles.iter().for_each(|values| self.check_quantiles(values));
        self.of_histograms(input, |evaluator, step, labels, buckets, out| {
            for quantile in &quantiles {
                let q = quantile[step];
                let (value, was_forced) = bucket_quantile(q, &mut buckets.to_vec());
                if was_forced {
                    evaluator.budget.inform("input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)");
                }
                let labels = label.map_or_else(|| labels.clone(), |label| with(labels, label, &open_metrics(q)));
                evaluator.put(out, &labels, step, value)?;
            }
            Ok(())
        })
    }

    pub(super) fn histogram_fraction(
        &self,
        lower: &Node,
        upper: &Node,
        input: &Node,
    ) -> Result<Vec<Series>, PromqlError> {
        let (lower, upper) = (self.scalar(lower)?, self.scalar(upper)?);
        self.of_histograms(input, |evaluator, step, labels, buckets, out| {
            let fraction = bucket_fraction(lower[step], upper[step], &mut buckets.to_vec());
            evaluator.put(out, labels, step, fraction)
        })
    }

    fn put(&self, out: &mut Collector, labels: &Labels, step: usize, value: f64) -> Result<(), PromqlError> {
        let (place, is_new) = out.place(labels);
        if is_new {
            self.budget.take(self.steps.count)?;
        }
        out.set(place, step, value)
    }

    fn of_histograms(
        &self,
        input: &Node,
        each: impl Fn(&Self, usize, &Labels, &[Bucket], &mut Collector) -> Result<(), PromqlError>,
    ) -> Result<Vec<Series>, PromqlError> {
        let series = self.vector(input)?;
        let histograms = self.histograms(&series);
        let mut out = Collector::new(self.steps.count);
        for histogram in &histograms {
            self.budget.check()?;
            for step in 0..self.steps.count {
                let counted = histogram.buckets.iter().map(|(upper, at)| (*upper, series[*at].values[step]));
                let buckets: Vec<Bucket> = counted
                    .filter(|(_, count)| !is_absent(*count))
                    .map(|(upper, count)| Bucket { upper, count })
                    .collect();
                if !buckets.is_empty() {
                    each(self, step, &histogram.labels, &buckets, &mut out)?;
                }
            }
        }
        Ok(out.finish())
    }

    /// Series by what they are without `le`; those of different metrics stay apart until the name is dropped.
    fn histograms(&self, series: &[Series]) -> Vec<Histogram> {
        let mut place: HashMap<(Labels, String), usize> = HashMap::new();
        let mut histograms: Vec<Histogram> = Vec::new();
        for (at, series) in series.iter().enumerate() {
            let bound = series.labels.get(BUCKET_LABEL).unwrap_or("");
            let Some(upper) = parse_go_float(bound) else {
                self.budget
                    .warn(format!("bucket label {BUCKET_LABEL:?} is missing or has a malformed value of {bound:?}"));
                continue;
            };
            let labels = all_but(&series.labels, &[BUCKET_LABEL.to_owned()]);
            let name = series.labels.get(METRIC_NAME).unwrap_or("").to_owned();
            let found = *place.entry((labels.clone(), name)).or_insert(histograms.len());
            if found == histograms.len() {
                histograms.push(Histogram { labels, buckets: Vec::new() });
            }
            histograms[found].buckets.push((upper, at));
        }
        histograms
    }
}

/// The quantile by linear interpolation within its bucket, and whether counts that fall had to be raised.
fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    if !in_order(buckets) {
        return (f64::NAN, false);
    }
    let was_forced = make_monotonic(buckets);
    let observations = buckets.last().map_or(0.0, |bucket| bucket.count);
    if buckets.len() < 2 || observations == 0.0 {
        return (f64::NAN, was_forced);
    }
    let last = buckets.len() - 1;
    let mut rank = q * observations;
    // Counts may be NaN: the first that reaches the rank is found as a binary search over the others would.
    let at = buckets[..last]
        .partition_point(|bucket| !matches!(bucket.count.partial_cmp(&rank), Some(order) if order.is_ge()));
    if at == last {
        return (buckets[last - 1].upper, was_forced);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, was_forced);
    }
    let (mut start, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (buckets[at].upper - start) * (rank / count), was_forced)
}

/// The share of observations between two bounds.
fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !in_order(buckets) {
        return f64::NAN;
    }
    let count = buckets.last().map_or(0.0, |bucket| bucket.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let at_most = |bound: f64| -> f64 {
        let mut start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
        let mut below = 0.0;
        for bucket in buckets.iter() {
            if start >= bound {
                return below;
            }
            if bucket.upper > bound {
                if start == f64::NEG_INFINITY {
                    return bucket.count;
                }
                return below + (bucket.count - below) * (bound - start) / (bucket.upper - start);
            }
            below = bucket.count;
            start = bucket.upper;
        }
        count
    };
    (at_most(upper).min(count) - at_most(lower).min(count)) / count
}

/// Sorts, and joins buckets of the same bound; whether the last one holds everything.
fn in_order(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.partial_cmp(&b.upper).unwrap_or(std::cmp::Ordering::Equal));
    if !buckets.last().is_some_and(|last| last.upper == f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let is_same = next.upper == kept.upper;
        if is_same {
            kept.count += next.count;
        }
        is_same
    });
    true
}

/// Raises counts that fall; whether one fell by more than rounding explains.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut was_forced = false;
    let Some((first, rest)) = buckets.split_first_mut() else { return false };
    let mut before = first.count;
    for bucket in rest {
        if bucket.count == before {
            continue;
        }
        let is_rounding = almost_equal(before, bucket.count, SMALL_DIFFERENCE);
        if is_rounding || bucket.count < before {
            was_forced |= !is_rounding;
            bucket.count = before;
            continue;
        }
        before = bucket.count;
    }
    was_forced
}

/// A number as OpenMetrics writes it: `1.0`, `0.5`.
fn open_metrics(value: f64) -> String {
    let text = format_value(value);
    if value.is_finite() && !text.contains('.') { text + ".0" } else { text }
}
