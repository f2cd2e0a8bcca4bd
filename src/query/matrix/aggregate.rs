//! Aggregations over series: `sum`, `topk`, … at every step.

use hashbrown::HashMap;

use super::{Matrix, Series};
use crate::logql::ast::{Grouping, VectorAggregation, VectorOp};
use crate::types::labels::Labels;

/// Aggregates the series of `matrix` by the grouping.
pub(super) fn aggregate(vector: &VectorAggregation, matrix: Matrix) -> Matrix {
    match vector.op {
        // The order is the answer's, made at the very end.
        VectorOp::Sort | VectorOp::SortDesc => matrix,
        VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk => ranked(vector, matrix),
        _ => folded(vector, matrix),
    }
}

fn group_labels(labels: &Labels, grouping: Option<&Grouping>) -> Labels {
    match grouping {
        None => Labels::default(),
        Some(grouping) if grouping.without => {
            Labels::from_pairs(labels.iter().filter(|(name, _)| !grouping.labels.iter().any(|gone| gone == name)))
        }
        Some(grouping) => {
            Labels::from_pairs(labels.iter().filter(|(name, _)| grouping.labels.iter().any(|kept| kept == name)))
        }
    }
}

/// Groups of series, in the order of their first.
fn groups(vector: &VectorAggregation, matrix: Matrix) -> Vec<(Labels, Vec<Series>)> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<(Labels, Vec<Series>)> = Vec::new();
    for series in matrix.series {
        let labels = group_labels(&series.labels, vector.grouping.as_ref());
        let at = *places.entry(labels.clone()).or_insert_with(|| {
            groups.push((labels, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(series);
    }
    groups
}

fn folded(vector: &VectorAggregation, matrix: Matrix) -> Matrix {
    let steps = matrix.steps;
    let grouped = groups(vector, matrix).into_iter().map(|(labels, members)| {
        let mut result = Series::empty(labels, steps.count);
        let mut folds: Vec<Fold> = vec![Fold::default(); steps.count];
        for member in &members {
            for step in member.present.ones() {
                folds[step].add(member.values[step], vector.op);
            }
        }
        for (step, fold) in folds.iter().enumerate().filter(|(_, fold)| fold.count > 0.0) {
            result.set(step, fold.result(vector.op));
        }
        result
    });
    Matrix { steps, series: grouped.collect() }
}

/// Running state of one group at one step.
#[derive(Debug, Clone, Copy, Default)]
struct Fold {
    count: f64,
    value: f64,
    mean: f64,
}

impl Fold {
    fn add(&mut self, sample: f64, op: VectorOp) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.value = if matches!(op, VectorOp::Stddev | VectorOp::Stdvar) { 0.0 } else { sample };
            self.mean = sample;
            return;
        }
        match op {
            VectorOp::Sum => self.value += sample,
            VectorOp::Avg => self.mean += (sample - self.mean) / self.count,
            // A first NaN gives way to a number, as in Prometheus.
            VectorOp::Max if self.value < sample || self.value.is_nan() => self.value = sample,
            VectorOp::Min if self.value > sample || self.value.is_nan() => self.value = sample,
            VectorOp::Stddev | VectorOp::Stdvar => {
                let delta = sample - self.mean;
                self.mean += delta / self.count;
                self.value += delta * (sample - self.mean);
            }
            _ => {}
        }
    }

    fn result(&self, op: VectorOp) -> f64 {
        match op {
            VectorOp::Avg => self.mean,
            VectorOp::Count => self.count,
            VectorOp::Stddev => (self.value / self.count).sqrt(),
            VectorOp::Stdvar => self.value / self.count,
            _ => self.value,
        }
    }
}

/// The `k` highest or lowest of each group at each step; they keep their own labels.
fn ranked(vector: &VectorAggregation, matrix: Matrix) -> Matrix {
    let steps = matrix.steps;
    let k = vector.param.map_or(0, |k| usize::try_from(k).unwrap_or(usize::MAX));
    let highest = vector.op != VectorOp::Bottomk;
    let mut kept = Vec::new();
    for (_, members) in groups(vector, matrix) {
        let mut results: Vec<Series> =
            members.iter().map(|member| Series::empty(member.labels.clone(), steps.count)).collect();
        let mut candidates: Vec<(f64, usize)> = Vec::new();
        for step in 0..steps.count {
            candidates.clear();
            candidates.extend(members.iter().enumerate().filter_map(|(at, member)| Some((member.get(step)?, at))));
            // NaN ranks behind every number; of equals the first in order of labels stays.
            candidates.sort_by(|a, b| {
                let by_value = if highest { b.0.partial_cmp(&a.0) } else { a.0.partial_cmp(&b.0) };
                a.0.is_nan()
                    .cmp(&b.0.is_nan())
                    .then(by_value.unwrap_or(std::cmp::Ordering::Equal))
                    .then_with(|| members[a.1].labels.cmp(&members[b.1].labels))
            });
            for (value, at) in candidates.iter().take(k) {
                results[*at].set(step, *value);
            }
        }
        kept.extend(results.into_iter().filter(|series| series.present.any()));
    }
    Matrix { steps, series: kept }
}
