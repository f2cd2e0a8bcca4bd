//! Range aggregations without re-reading windows: samples go to panes, panes are merged into windows.
//!
//! ```text
//! sample ─▶ the windows it is in: steps lo ..= hi ─▶ counts: +v at lo, −v behind hi
//!                                                 └▶ others: the pane (lo, hi) of its series, then two stacks slide
//! ```
//!
//! A pane is a stretch of time between two neighbouring window bounds: all its samples are in the same windows.
//! Work for a sample does not depend on range or step. States of several partitions merge.
//!
//! Invariant: window k is `(t_k − offset − range, t_k − offset]`, as Loki's.

mod quantile;
mod slide;
mod state;

use crate::logql::ast::{MatchOp, Matcher, RangeOp};
use crate::query::matrix::{Bitmap, Steps};
use crate::types::labels::Labels;
use crate::types::time::{TimeRange, UnixNanos};

use quantile::quantiles;
use slide::slide;
pub use state::PaneState;

/// The windows of one range aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    pub steps: Steps,
    pub range_ns: i64,
    pub offset_ns: i64,
}

impl Windows {
    /// End of window `step`, inside it.
    pub fn end(&self, step: usize) -> i64 {
        self.steps.at(step).saturating_sub(self.offset_ns)
    }

    /// Every time that is in some window.
    pub fn scanned_range(&self) -> TimeRange {
        let last = self.end(self.steps.count.saturating_sub(1));
        let start = self.end(0).saturating_sub(self.range_ns).saturating_add(1);
        TimeRange::new(UnixNanos(start), UnixNanos(last.saturating_add(1)))
    }

    /// First and last step whose window holds `ts_ns`.
    fn steps_of(&self, ts_ns: i64) -> Option<(usize, usize)> {
        let since = i128::from(ts_ns) - i128::from(self.end(0));
        let step = i128::from(self.steps.step_ns);
        let first = since.div_euclid(step) + i128::from(since.rem_euclid(step) != 0);
        // The last step with end < ts + range.
        let reach = since + i128::from(self.range_ns);
        let last =
            (reach.div_euclid(step) + i128::from(reach.rem_euclid(step) != 0) - 1).min(self.steps.count as i128 - 1);
        let first = first.max(0);
        (first <= last).then_some((first as usize, last as usize))
    }
}

/// The state of one range aggregation over any number of series.
#[derive(Debug)]
pub struct RangeState {
    op: RangeOp,
    param: f64,
    windows: Windows,
    counts: bool,
    counted: Vec<Option<Counts>>,
    panes: Vec<Vec<Pane>>,
    /// Bounds of time in which the windows found last hold, and those windows.
    last: Option<LastFound>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct LastFound {
    from: i64,
    /// Inside.
    to: i64,
    steps: Option<(usize, usize)>,
}

/// Sums a step, as differences between neighbours.
#[derive(Debug, Clone)]
struct Counts {
    lines: Vec<i64>,
    sums: Vec<i64>,
}

/// Samples that are in the same windows.
#[derive(Debug)]
struct Pane {
    first: usize,
    last: usize,
    state: PaneState,
}

impl RangeState {
    /// `param` is the quantile; `unwrapped` tells that values are not 1 or whole bytes.
    pub fn new(op: RangeOp, param: Option<f64>, windows: &Windows, unwrapped: bool) -> Self {
        let counts = !unwrapped
            && matches!(
                op,
                RangeOp::CountOverTime
                    | RangeOp::Rate
                    | RangeOp::BytesOverTime
                    | RangeOp::BytesRate
                    | RangeOp::AbsentOverTime
            );
        RangeState {
            op,
            param: param.unwrap_or(0.0),
            windows: *windows,
            counts: counts || op == RangeOp::AbsentOverTime,
            counted: Vec::new(),
            panes: Vec::new(),
            last: None,
            bytes: 0,
        }
    }

    /// Adds one sample; those outside every window are ignored.
    pub fn add(&mut self, series: u32, ts_ns: i64, value: f64) {
        let Some((first, last)) = self.steps_of(ts_ns) else {
            return;
        };
        if self.counts {
            self.count(series, first, last, 1, value as i64);
            return;
        }
        let at = series as usize;
        if self.panes.len() <= at {
            self.panes.resize_with(at + 1, Vec::new);
        }
        let panes = &mut self.panes[at];
        let key = (first, last);
        let place = match panes.last() {
            Some(pane) if (pane.first, pane.last) == key => panes.len() - 1,
            Some(pane) if (pane.first, pane.last) > key => {
                match panes.binary_search_by_key(&key, |pane| (pane.first, pane.last)) {
                    Ok(place) => place,
                    Err(place) => {
                        panes.insert(place, Pane { first, last, state: PaneState::new(self.op) });
                        self.bytes += size_of::<Pane>();
                        place
                    }
                }
            }
            _ => {
                panes.push(Pane { first, last, state: PaneState::new(self.op) });
                self.bytes += size_of::<Pane>();
                panes.len() - 1
            }
        };
        self.bytes += panes[place].state.add(ts_ns, value);
    }

    /// Adds one sample of value 1 for each time; times ascend.
    pub fn add_sorted_run(&mut self, series: u32, times: &[i64]) {
        if !self.counts {
            times.iter().for_each(|ts| self.add(series, *ts, 1.0));
            return;
        }
        let mut rest = times;
        while !rest.is_empty() {
            let (windows, together) = self.together(rest);
            self.add_counted(series, windows, together as i64, 1.0);
            rest = &rest[together..];
        }
    }

    /// Whether samples are counted, so that equal ones can be added together.
    pub fn counts(&self) -> bool {
        self.counts
    }

    /// How many of the first of `times`, which ascend and are not empty, are in the same windows, and in which.
    pub fn together(&mut self, times: &[i64]) -> (Option<(usize, usize)>, usize) {
        let windows = self.steps_of(times[0]);
        let until = self.last.map_or(times[0], |found| found.to);
        (windows, times.partition_point(|ts| *ts <= until).max(1))
    }

    /// Adds `lines` samples of one value to a state that counts; to no window: none.
    pub fn add_counted(&mut self, series: u32, windows: Option<(usize, usize)>, lines: i64, value: f64) {
        if let Some((first, last)) = windows {
            self.count(series, first, last, lines, lines.saturating_mul(value as i64));
        }
    }

    /// Takes in another state of the same aggregation; `map` has our number of each of its series.
    pub fn merge(&mut self, other: RangeState, map: &[u32]) {
        for (theirs, counts) in other.counted.into_iter().enumerate() {
            let Some(counts) = counts else { continue };
            let ours = self.counts_of(map[theirs]);
            ours.lines.iter_mut().zip(&counts.lines).for_each(|(ours, theirs)| *ours += theirs);
            ours.sums.iter_mut().zip(&counts.sums).for_each(|(ours, theirs)| *ours += theirs);
        }
        for (theirs, panes) in other.panes.into_iter().enumerate() {
            let at = map[theirs] as usize;
            if self.panes.len() <= at {
                self.panes.resize_with(at + 1, Vec::new);
            }
            let ours = &mut self.panes[at];
            for pane in panes {
                match ours.binary_search_by_key(&(pane.first, pane.last), |pane| (pane.first, pane.last)) {
                    Ok(place) => ours[place].state.merge(pane.state),
                    Err(place) => ours.insert(place, pane),
                }
            }
        }
        self.bytes += other.bytes;
    }

    /// The value of each series at each step where its window is not empty.
    pub fn finish(self) -> Vec<(u32, Vec<f64>, Bitmap)> {
        let steps = self.windows.steps.count;
        let range_s = self.windows.range_ns as f64 / 1e9;
        if self.op == RangeOp::AbsentOverTime {
            return vec![self.absent()];
        }
        let mut finished = Vec::new();
        for (series, counts) in self.counted.iter().enumerate() {
            let Some(counts) = counts else { continue };
            let (mut values, mut present) = (vec![0.0; steps], Bitmap::new(steps));
            let (mut lines, mut sum) = (0, 0);
            for (step, value) in values.iter_mut().enumerate() {
                lines += counts.lines[step];
                sum += counts.sums[step];
                if lines > 0 {
                    present.set(step);
                    *value = match self.op {
                        RangeOp::CountOverTime => lines as f64,
                        RangeOp::Rate => lines as f64 / range_s,
                        RangeOp::BytesRate => sum as f64 / range_s,
                        _ => sum as f64,
                    };
                }
            }
            finished.push((series as u32, values, present));
        }
        for (series, panes) in self.panes.into_iter().enumerate().filter(|(_, panes)| !panes.is_empty()) {
            let (mut values, mut present) = (vec![0.0; steps], Bitmap::new(steps));
            let mut set = |step: usize, value: f64| {
                values[step] = value;
                present.set(step);
            };
            if self.op == RangeOp::QuantileOverTime {
                quantiles(self.param, panes, steps, &mut set);
            } else {
                let windows = &self.windows;
                slide(panes, steps, |step, state| {
                    set(step, state.result(self.op, range_s, windows.range_ns, windows.end(step)))
                });
            }
            finished.push((series as u32, values, present));
        }
        finished
    }

    /// Memory, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// 1 at each step whose window is empty over all series.
    fn absent(&self) -> (u32, Vec<f64>, Bitmap) {
        let steps = self.windows.steps.count;
        let mut present = Bitmap::new(steps);
        let mut lines = 0;
        for step in 0..steps {
            lines += self.counted.iter().flatten().map(|counts| counts.lines[step]).sum::<i64>();
            if lines == 0 {
                present.set(step);
            }
        }
        (0, vec![1.0; steps], present)
    }

    fn steps_of(&mut self, ts_ns: i64) -> Option<(usize, usize)> {
        if let Some(found) = self.last.filter(|found| found.from <= ts_ns && ts_ns <= found.to) {
            return found.steps;
        }
        let steps = self.windows.steps_of(ts_ns);
        self.last = Some(self.stretch(ts_ns, steps));
        steps
    }

    /// The time around `ts_ns` in which the windows are the same.
    fn stretch(&self, ts_ns: i64, steps: Option<(usize, usize)>) -> LastFound {
        let Some((first, last)) = steps else {
            return LastFound { from: ts_ns, to: ts_ns, steps };
        };
        let range = self.windows.range_ns;
        // In window `first`, behind the end of the one before, inside the start of `last`, before the next opens.
        let behind_end = if first > 0 { self.windows.end(first - 1).saturating_add(1) } else { i64::MIN };
        let behind_start = self.windows.end(last).saturating_sub(range).saturating_add(1);
        let next_opens = if last + 1 < self.windows.steps.count {
            self.windows.end(last + 1).saturating_sub(range)
        } else {
            i64::MAX
        };
        LastFound { from: behind_end.max(behind_start), to: self.windows.end(first).min(next_opens), steps }
    }

    fn counts_of(&mut self, series: u32) -> &mut Counts {
        let at = series as usize;
        if self.counted.len() <= at {
            self.counted.resize(at + 1, None);
        }
        // One more than there are steps: what leaves behind the last step has a place.
        let slots = self.windows.steps.count + 1;
        let bytes = &mut self.bytes;
        self.counted[at].get_or_insert_with(|| {
            *bytes += slots * 16;
            Counts { lines: vec![0; slots], sums: vec![0; slots] }
        })
    }

    fn count(&mut self, series: u32, first: usize, last: usize, lines: i64, sum: i64) {
        let counts = self.counts_of(series);
        counts.lines[first] += lines;
        counts.lines[last + 1] -= lines;
        counts.sums[first] += sum;
        counts.sums[last + 1] -= sum;
    }
}

/// Labels of `absent_over_time`: those that the selector names by equality, once.
pub fn absent_labels(matchers: &[Matcher]) -> Labels {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut ambiguous: Vec<&str> = Vec::new();
    for matcher in matchers {
        if matcher.op == MatchOp::Equal && !pairs.iter().any(|(name, _)| *name == matcher.name) {
            pairs.push((&matcher.name, &matcher.value));
        } else {
            ambiguous.push(&matcher.name);
        }
    }
    Labels::from_pairs(pairs.into_iter().filter(|(name, _)| !ambiguous.contains(name)))
}

#[cfg(test)]
mod tests;
