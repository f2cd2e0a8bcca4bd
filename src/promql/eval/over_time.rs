//! Functions of the samples in a window: `sum_over_time` and its kin.

use super::super::numbers::{KahanSum, Mean, quantile as quantile_of};

/// The samples with `start < time ≤ end`; there is at least one.
pub(in crate::promql) struct Window<'a> {
    /// Milliseconds, ascending.
    pub(super) times: &'a [i64],
    pub(super) values: &'a [f64],
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    /// The step, which `offset` and `@` do not move.
    pub(super) eval_ms: i64,
    /// Further arguments of the function.
    pub(super) scalars: [f64; 2],
}

impl Window<'_> {
    pub(super) fn range_seconds(&self) -> f64 {
        (self.end_ms - self.start_ms) as f64 / 1000.0
    }
}

pub(in crate::promql) fn sum(window: &Window<'_>) -> Option<f64> {
    let mut sum = KahanSum::default();
    window.values.iter().for_each(|value| sum.add(*value));
    Some(sum.value())
}

pub(in crate::promql) fn avg(window: &Window<'_>) -> Option<f64> {
    let (first, rest) = window.values.split_first()?;
    let mut mean = Mean::new(*first);
    rest.iter().for_each(|value| mean.add(*value));
    Some(mean.value())
}

pub(in crate::promql) fn count(window: &Window<'_>) -> Option<f64> {
    Some(window.values.len() as f64)
}

pub(in crate::promql) fn present(_: &Window<'_>) -> Option<f64> {
    Some(1.0)
}

pub(in crate::promql) fn min(window: &Window<'_>) -> Option<f64> {
    Some(window.values[place_of_best(window.values, |value, best| value < best)?])
}

pub(in crate::promql) fn max(window: &Window<'_>) -> Option<f64> {
    Some(window.values[place_of_best(window.values, |value, best| value > best)?])
}

pub(in crate::promql) fn time_of_min(window: &Window<'_>) -> Option<f64> {
    place_of_best(window.values, |value, best| value <= best).map(|at| seconds(window.times[at]))
}

pub(in crate::promql) fn time_of_max(window: &Window<'_>) -> Option<f64> {
    place_of_best(window.values, |value, best| value >= best).map(|at| seconds(window.times[at]))
}

pub(in crate::promql) fn first(window: &Window<'_>) -> Option<f64> {
    window.values.first().copied()
}

pub(in crate::promql) fn last(window: &Window<'_>) -> Option<f64> {
    window.values.last().copied()
}

pub(in crate::promql) fn time_of_first(window: &Window<'_>) -> Option<f64> {
    window.times.first().copied().map(seconds)
}

pub(in crate::promql) fn time_of_last(window: &Window<'_>) -> Option<f64> {
    window.times.last().copied().map(seconds)
}

pub(in crate::promql) fn stdvar(window: &Window<'_>) -> Option<f64> {
    let (mut count, mut mean, mut squares) = (0.0, KahanSum::default(), KahanSum::default());
    for value in window.values {
        count += 1.0;
        let delta = value - (mean.sum + mean.error);
        mean.add(delta / count);
        squares.add(delta * (value - (mean.sum + mean.error)));
    }
    Some((squares.sum + squares.error) / count)
}

pub(in crate::promql) fn stddev(window: &Window<'_>) -> Option<f64> {
    stdvar(window).map(f64::sqrt)
}

/// Median of the distances from the median.
pub(in crate::promql) fn mad(window: &Window<'_>) -> Option<f64> {
    if window.values.iter().any(|value| value.is_nan()) {
        return Some(f64::NAN);
    }
    let mut values = window.values.to_vec();
    let median = quantile_of(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    Some(quantile_of(0.5, &mut values))
}

pub(in crate::promql) fn quantile(window: &Window<'_>) -> Option<f64> {
    Some(quantile_of(window.scalars[0], &mut window.values.to_vec()))
}

/// How often the value is another than before; NaN after NaN is no change.
pub(in crate::promql) fn changes(window: &Window<'_>) -> Option<f64> {
    let differs = |pair: &&[f64]| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan());
    Some(window.values.windows(2).filter(differs).count() as f64)
}

/// How often a counter fell.
pub(in crate::promql) fn resets(window: &Window<'_>) -> Option<f64> {
    Some(window.values.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64)
}

/// The value that none beats; NaN only when there is nothing else.
fn place_of_best(values: &[f64], beats: impl Fn(f64, f64) -> bool) -> Option<usize> {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if beats(*value, *values.get(best)?) || values[best].is_nan() {
            best = at;
        }
    }
    (!values.is_empty()).then_some(best)
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
