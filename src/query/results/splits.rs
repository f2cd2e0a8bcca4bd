//! Cuts a query at aligned times, so that what one dashboard refresh computed serves the next: pure.
//!
//! ```text
//! steps  |s s s s|s s s s|s s      a split holds the steps with the same t / interval
//! range    [-----|-------|--)      a split holds the times with the same t / interval
//! ```

use std::ops::Range;

use crate::query::matrix::Steps;
use crate::types::time::{TimeRange, UnixNanos};

/// Steps of a split, at least: fewer would spend more on finding a kept answer than on having it.
const SPLIT_STEPS_MIN: i64 = 16;
/// Splits of one query, at most: a longer one is cut coarser.
const SPLITS_MAX: i64 = 512;

/// Consecutive steps of a query that are kept together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepSplit {
    /// Aligned time divided by the interval.
    pub(super) number: i64,
    /// Places in the steps of the query.
    pub(super) steps: Range<usize>,
}

/// The interval to cut `steps` at: a multiple of `interval_ns`.
pub(super) fn step_interval(steps: &Steps, interval_ns: i64) -> i64 {
    let span = steps.step_ns.saturating_mul(i64::try_from(steps.count).unwrap_or(i64::MAX));
    coarser(interval_ns, steps.step_ns.saturating_mul(SPLIT_STEPS_MIN).max(span / SPLITS_MAX))
}

/// The interval to cut `range` at: a multiple of `interval_ns`.
pub(super) fn range_interval(range: TimeRange, interval_ns: i64) -> i64 {
    let span = (i128::from(range.end.0) - i128::from(range.start.0)) / i128::from(SPLITS_MAX);
    coarser(interval_ns, i64::try_from(span).unwrap_or(i64::MAX))
}

fn coarser(interval_ns: i64, at_least_ns: i64) -> i64 {
    let times = at_least_ns.div_euclid(interval_ns) + i64::from(at_least_ns.rem_euclid(interval_ns) > 0);
    interval_ns.saturating_mul(times.max(1))
}

/// The splits of `steps`, ascending; together they are all steps.
pub(super) fn split_steps(steps: &Steps, interval_ns: i64) -> Vec<StepSplit> {
    let mut splits: Vec<StepSplit> = Vec::new();
    let mut at = 0;
    while at < steps.count {
        let number = steps.at(at).div_euclid(interval_ns);
        let ends = (number + 1).saturating_mul(interval_ns);
        let after = ends.saturating_sub(steps.at(at)).max(1);
        let count = after.div_euclid(steps.step_ns) + i64::from(after.rem_euclid(steps.step_ns) > 0);
        let next = at.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)).min(steps.count);
        splits.push(StepSplit { number, steps: at..next });
        at = next;
    }
    splits
}

/// The steps at `places`.
pub(super) fn sub_steps(steps: &Steps, places: &Range<usize>) -> Steps {
    Steps { start_ns: steps.at(places.start), step_ns: steps.step_ns, count: places.len() }
}

/// The splits of `range`, ascending; together they are the range.
pub(super) fn split_range(range: TimeRange, interval_ns: i64) -> Vec<TimeRange> {
    let mut splits = Vec::new();
    let mut start = range.start.0;
    while start < range.end.0 {
        let ends = (start.div_euclid(interval_ns) + 1).saturating_mul(interval_ns).min(range.end.0);
        splits.push(TimeRange::new(UnixNanos(start), UnixNanos(ends)));
        start = ends;
    }
    splits
}

/// Consecutive places of `missing`, as ranges.
pub(super) fn runs(missing: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for place in missing {
        match runs.last_mut() {
            Some(run) if run.end == place => run.end += 1,
            _ => runs.push(place..place + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_cut_at_aligned_times() {
        let check = |start_ns, step_ns, count, interval, expected: &[(i64, Range<usize>)]| {
            let steps = Steps { start_ns, step_ns, count };
            let splits: Vec<_> =
                split_steps(&steps, interval).into_iter().map(|split| (split.number, split.steps)).collect();
            assert_eq!(splits, expected, "{steps:?} by {interval}");
        };
        check(0, 1, 4, 2, &[(0, 0..2), (1, 2..4)]);
        check(1, 1, 4, 2, &[(0, 0..1), (1, 1..3), (2, 3..4)]);
        check(-3, 2, 3, 4, &[(-1, 0..2), (0, 2..3)]);
        check(5, 10, 2, 3, &[(1, 0..1), (5, 1..2)]);
        check(7, 1, 1, 100, &[(0, 0..1)]);
        check(7, 1, 0, 100, &[]);
    }

    #[test]
    fn ranges_are_cut_at_aligned_times() {
        let check = |start, end, interval, expected: &[(i64, i64)]| {
            let range = TimeRange::new(UnixNanos(start), UnixNanos(end));
            let splits: Vec<_> =
                split_range(range, interval).into_iter().map(|split| (split.start.0, split.end.0)).collect();
            assert_eq!(splits, expected, "{start}..{end} by {interval}");
        };
        check(5, 25, 10, &[(5, 10), (10, 20), (20, 25)]);
        check(10, 20, 10, &[(10, 20)]);
        check(-5, 5, 10, &[(-5, 0), (0, 5)]);
        check(5, 5, 10, &[]);
    }

    #[test]
    fn long_queries_and_wide_steps_are_cut_coarser() {
        let hour = 3_600_000_000_000;
        let steps = |step_ns, count| Steps { start_ns: 0, step_ns, count };
        assert_eq!(step_interval(&steps(60_000_000_000, 60), hour), hour);
        assert_eq!(step_interval(&steps(hour, 720), hour), 16 * hour);
        assert_eq!(step_interval(&steps(60_000_000_000, 60 * 24 * 365), hour), 18 * hour);
        assert_eq!(range_interval(TimeRange::new(UnixNanos(0), UnixNanos(hour)), hour), hour);
        assert_eq!(range_interval(TimeRange::new(UnixNanos(0), UnixNanos(8760 * hour)), hour), 18 * hour);
        assert!(split_range(TimeRange::ALL, range_interval(TimeRange::ALL, 1)).len() <= SPLITS_MAX as usize + 2);
    }

    #[test]
    fn what_is_missing_is_computed_in_runs() {
        assert_eq!(runs([0, 1, 4, 6, 7].into_iter()), [0..2, 4..5, 6..8]);
        assert!(runs(std::iter::empty()).is_empty());
    }
}
