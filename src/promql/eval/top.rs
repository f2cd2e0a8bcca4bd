//! Aggregations that let some series through: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use std::cmp::Ordering;

use xxhash_rust::xxh64::xxh64;

use super::super::error::PromqlError;
use super::super::node::{Aggregate, AggregateOp};
use super::super::numbers::format_value;
use super::super::value::{Series, absent, is_absent};
use super::Evaluator;
use super::aggregate::groups;
use crate::types::labels::Labels;

/// Separates names and values where Prometheus hashes labels.
const SEPARATOR: u8 = 0xff;

impl Evaluator<'_> {
    pub(super) fn select_some(&self, aggregate: &Aggregate) -> Result<Vec<Series>, PromqlError> {
        let (AggregateOp::Top(param)
        | AggregateOp::Bottom(param)
        | AggregateOp::Limit(param)
        | AggregateOp::LimitRatio(param)) = &aggregate.op
        else {
            return Err(PromqlError::Execution("not an aggregation that selects".to_owned()));
        };
        let params = self.scalar(param)?;
        let input = self.vector(&aggregate.input)?;
        let is_ratio = matches!(aggregate.op, AggregateOp::LimitRatio(_));
        if is_ratio {
            self.check_ratios(&params)?;
        } else if params.iter().all(|k| *k < 1.0) {
            return Ok(Vec::new());
        } else {
            check_counts(&params)?;
        }
        let (groups, of_series) = groups(&aggregate.grouping, &input);
        let mut chosen: Vec<Series> = input.iter().map(|series| self.nothing_of(&series.labels)).collect();
        let places: Vec<f64> =
            if is_ratio { input.iter().map(|series| place(&series.labels)).collect() } else { Vec::new() };
        let mut order: Vec<usize> = Vec::new();
        for (step, param) in params.iter().enumerate() {
            self.budget.check()?;
            let mut members: Vec<Vec<usize>> = vec![Vec::new(); groups.len()];
            for (at, series) in input.iter().enumerate().filter(|(_, series)| !is_absent(series.values[step])) {
                members[of_series[at]].push(at);
                debug_assert!(!is_absent(series.values[step]));
            }
            for mut group in members {
                let value = |at: &usize| input[*at].values[step];
                match &aggregate.op {
                    AggregateOp::Top(_) => group.sort_by(|a, b| largest_first(value(a), value(b))),
                    AggregateOp::Bottom(_) => group.sort_by(|a, b| smallest_first(value(a), value(b))),
                    AggregateOp::LimitRatio(_) => group.retain(|at| is_sampled(*param, places[*at])),
                    _ => {}
                }
                if !is_ratio {
                    group.truncate(if *param < 1.0 { 0 } else { *param as usize });
                }
                for at in group {
                    chosen[at].values[step] = input[at].values[step];
                    if self.steps.is_instant() {
                        order.push(at);
                    }
                }
            }
        }
        if self.steps.is_instant() {
            return Ok(order.into_iter().map(|at| chosen[at].clone()).collect());
        }
        chosen.retain(|series| series.values.iter().any(|value| !is_absent(*value)));
        Ok(chosen)
    }

    fn nothing_of(&self, labels: &Labels) -> Series {
        Series { labels: labels.clone(), values: vec![absent(); self.steps.count] }
    }

    fn check_ratios(&self, ratios: &[f64]) -> Result<(), PromqlError> {
        if ratios.iter().any(|ratio| ratio.is_nan()) {
            return Err(PromqlError::Execution("Ratio value is NaN".to_owned()));
        }
        for ratio in ratios.iter().filter(|ratio| ratio.abs() > 1.0) {
            let capped = ratio.signum();
            self.budget.warn(format!(
                "ratio value should be between -1 and 1, got {}, capping to {capped}",
                format_value(*ratio)
            ));
        }
        Ok(())
    }
}

fn check_counts(counts: &[f64]) -> Result<(), PromqlError> {
    if counts.iter().any(|k| k.is_nan()) {
        return Err(PromqlError::Execution("Parameter value is NaN".to_owned()));
    }
    let too = |words: &str, k: &f64| PromqlError::Execution(format!("Scalar value {k} {words} int64"));
    if let Some(k) = counts.iter().find(|k| **k <= i64::MIN as f64) {
        return Err(too("underflows", k));
    }
    match counts.iter().find(|k| **k >= i64::MAX as f64) {
        Some(k) => Err(too("overflows", k)),
        None => Ok(()),
    }
}

/// Descending, NaN last, equal ones as they come.
fn largest_first(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Ascending, NaN last, equal ones as they come.
fn smallest_first(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Where the hash of a series lies between 0 and 1: the same series is always sampled, whatever the others.
fn place(labels: &Labels) -> f64 {
    let mut bytes = Vec::new();
    for (name, value) in labels.iter() {
        for part in [name, value] {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(SEPARATOR);
        }
    }
    xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

/// A negative ratio takes what its complement leaves.
fn is_sampled(ratio: f64, place: f64) -> bool {
    (ratio >= 0.0 && place < ratio) || (ratio < 0.0 && place >= 1.0 + ratio)
}
