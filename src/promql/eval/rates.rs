//! How fast values change in a window: `rate` with Prometheus' extrapolation, and straight lines.
//!
//! ```text
//!  start        first              last      end
//!    ├── … ──────●────●────●────●───●── … ────┤
//!     to start   └──── sampled ─────┘ to end      the change is stretched to the whole range, but at most half an
//!                                                 average gap beyond the samples, and never below a counter's zero
//! ```

use super::super::numbers::KahanSum;
use super::over_time::Window;

/// Gaps longer than this many average gaps are taken for the end of the series.
const GAP_FACTOR: f64 = 1.1;

pub(in crate::promql) fn rate(window: &Window<'_>) -> Option<f64> {
    let (change, factor) = extrapolated(window, true)?;
    Some(change * (factor / window.range_seconds()))
}

pub(in crate::promql) fn increase(window: &Window<'_>) -> Option<f64> {
    extrapolated(window, true).map(|(change, factor)| change * factor)
}

pub(in crate::promql) fn delta(window: &Window<'_>) -> Option<f64> {
    extrapolated(window, false).map(|(change, factor)| change * factor)
}

/// The change between the samples, and by what it is stretched.
fn extrapolated(window: &Window<'_>, is_counter: bool) -> Option<(f64, f64)> {
    let values = window.values;
    let (first, last) = (*values.first()?, *values.last()?);
    let gaps = values.len().checked_sub(1).filter(|gaps| *gaps > 0)? as f64;
    let mut change = last - first;
    if is_counter {
        change += values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]).sum::<f64>();
    }
    let (first_ms, last_ms) = (window.times[0], *window.times.last()?);
    let sampled = seconds(last_ms - first_ms);
    let average_gap = sampled / gaps;
    let reach = average_gap * GAP_FACTOR;
    let mut to_start = seconds(first_ms - window.start_ms);
    if to_start >= reach {
        to_start = average_gap / 2.0;
    }
    if is_counter && change > 0.0 && first >= 0.0 {
        to_start = to_start.min(sampled * (first / change));
    }
    let mut to_end = seconds(window.end_ms - last_ms);
    if to_end >= reach {
        to_end = average_gap / 2.0;
    }
    let factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    Some((change, factor))
}

pub(in crate::promql) fn irate(window: &Window<'_>) -> Option<f64> {
    let (before, last, gap) = last_two(window)?;
    let change = if last < before { last } else { last - before };
    Some(change / gap)
}

pub(in crate::promql) fn idelta(window: &Window<'_>) -> Option<f64> {
    last_two(window).map(|(before, last, _)| last - before)
}

fn last_two(window: &Window<'_>) -> Option<(f64, f64, f64)> {
    let at = window.values.len().checked_sub(2)?;
    let gap = seconds(window.times[at + 1] - window.times[at]);
    (gap != 0.0).then(|| (window.values[at], window.values[at + 1], gap))
}

/// Slope of the line through the samples, a second.
pub(in crate::promql) fn deriv(window: &Window<'_>) -> Option<f64> {
    (window.values.len() >= 2).then(|| line_through(window, window.times[0]).0)
}

/// Where that line is some seconds after the step.
pub(in crate::promql) fn predict_linear(window: &Window<'_>) -> Option<f64> {
    if window.values.len() < 2 {
        return None;
    }
    let (slope, intercept) = line_through(window, window.eval_ms);
    Some(slope * window.scalars[0] + intercept)
}

/// Least squares: slope a second, and the value at `zero_ms`.
fn line_through(window: &Window<'_>, zero_ms: i64) -> (f64, f64) {
    let first = window.values[0];
    if window.values.iter().all(|value| *value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let count = window.values.len() as f64;
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [KahanSum::default(); 4];
    for (time, y) in window.times.iter().zip(window.values) {
        let x = seconds(time - zero_ms);
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let plain = |sum: KahanSum| sum.sum + sum.error;
    let (x_sum, y_sum) = (plain(x_sum), plain(y_sum));
    let covariance = plain(xy_sum) - x_sum * y_sum / count;
    let variance = plain(xx_sum) - x_sum * x_sum / count;
    let slope = covariance / variance;
    (slope, y_sum / count - slope * x_sum / count)
}

/// Holt's linear method: a level and a trend, each smoothed by its factor.
pub(in crate::promql) fn double_exponential_smoothing(window: &Window<'_>) -> Option<f64> {
    let [level_factor, trend_factor] = window.scalars;
    let [first, second, ..] = *window.values else { return None };
    let (mut before, mut level, mut trend) = (0.0, first, second - first);
    for (at, value) in window.values[1..].iter().enumerate() {
        if at > 0 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = level_factor * value + (1.0 - level_factor) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
