//! Time cut into panes: all rows of a pane are in the same windows.
//!
//! ```text
//! evaluations at phase + k·step:            k-1             k              k+1
//! window of k = (at − range, at]:      ├────────────────────┤
//! panes:                          ─ 2k-2 ─┤2k-1├──── 2k ────┤2k+1 …     at most two a step, whatever the range
//! ```
//!
//! Bounds are where windows end and where they begin: `k·step` and `k·step − range`. Pane `2k` ends at the
//! beginning bound in step k, pane `2k + 1` at its end; when the range is a whole number of steps, there are no odd ones.

/// A pane, ascending with time.
pub type PaneId = i64;

/// The panes of one range aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaneGrid {
    step_ns: i64,
    phase_ns: i64,
    offset_ns: i64,
    range_ns: i64,
    /// Whole steps of the range, and the rest.
    whole: i64,
    rest_ns: i64,
}

impl PaneGrid {
    /// Windows of `range_ns`, `offset_ns` before evaluations at `phase_ns + k · step_ns`. Step and range are positive.
    pub fn new(step_ns: i64, phase_ns: i64, range_ns: i64, offset_ns: i64) -> Self {
        let (step_ns, range_ns) = (step_ns.max(1), range_ns.max(1));
        PaneGrid {
            step_ns,
            phase_ns: phase_ns.rem_euclid(step_ns),
            offset_ns,
            range_ns,
            whole: range_ns / step_ns,
            rest_ns: range_ns % step_ns,
        }
    }

    pub fn range_ns(&self) -> i64 {
        self.range_ns
    }

    /// The evaluation that `at_ns` is; it lies on the grid.
    pub fn evaluation(&self, at_ns: i64) -> i64 {
        at_ns.saturating_sub(self.phase_ns).div_euclid(self.step_ns)
    }

    /// End of the window of the evaluation at `at_ns`, inside it.
    pub fn window_end(&self, at_ns: i64) -> i64 {
        at_ns.saturating_sub(self.offset_ns)
    }

    /// Where a row belongs; `None` when no window ever has it.
    pub fn pane_of(&self, ts_ns: i64) -> Option<PaneId> {
        let shifted = ts_ns.saturating_add(self.offset_ns).saturating_sub(self.phase_ns);
        // The first evaluation at or after the row.
        let first = shifted.div_euclid(self.step_ns) + i64::from(shifted.rem_euclid(self.step_ns) != 0);
        if self.rest_ns == 0 {
            return Some(2 * first);
        }
        let is_behind_bound = shifted > first.saturating_mul(self.step_ns).saturating_sub(self.rest_ns);
        match is_behind_bound {
            true => Some(2 * first + 1),
            false if self.whole == 0 => None,
            false => Some(2 * first),
        }
    }

    /// The times of a pane: behind the first, up to and with the second.
    pub fn bounds(&self, pane: PaneId) -> (i64, i64) {
        let step = pane.div_euclid(2);
        let unshift = |shifted: i64| shifted.saturating_add(self.phase_ns).saturating_sub(self.offset_ns);
        let end = step.saturating_mul(self.step_ns);
        let bound = end.saturating_sub(self.rest_ns);
        if pane.rem_euclid(2) == 1 {
            (unshift(bound), unshift(end))
        } else {
            (unshift(end.saturating_sub(self.step_ns)), unshift(bound))
        }
    }

    /// First and last pane of the window of an evaluation.
    pub fn window(&self, evaluation: i64) -> (PaneId, PaneId) {
        if self.rest_ns == 0 {
            (2 * (evaluation - self.whole + 1), 2 * evaluation)
        } else {
            (2 * (evaluation - self.whole) + 1, 2 * evaluation + 1)
        }
    }

    /// First and last evaluation whose window has the pane.
    pub fn evaluations(&self, pane: PaneId) -> (i64, i64) {
        let first = pane.div_euclid(2);
        let last = match (self.rest_ns == 0, pane.rem_euclid(2) == 1) {
            (true, _) | (false, false) => first + self.whole - 1,
            (false, true) => first + self.whole,
        };
        (first, last)
    }

    /// Panes that exist at once, at most, when windows stay `kept_ns` after their evaluation.
    pub fn panes_max(&self, kept_ns: i64) -> i64 {
        let span = self.range_ns.saturating_add(self.offset_ns.max(0)).saturating_add(kept_ns);
        let steps = span / self.step_ns + 2;
        if self.rest_ns == 0 { steps } else { steps.saturating_mul(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row is in exactly those windows that hold its pane.
    #[test]
    fn panes_and_windows_agree() {
        for (step, phase, range, offset) in [
            (10, 0, 10, 0),
            (10, 0, 30, 0),
            (10, 3, 30, 0),
            (10, 0, 25, 0),
            (10, 7, 25, 4),
            (10, 0, 4, 0),
            (10, 0, 4, -3),
            (1, 0, 1, 0),
            (7, 0, 100, 50),
        ] {
            let grid = PaneGrid::new(step, phase, range, offset);
            for ts in -60..60 {
                let pane = grid.pane_of(ts);
                for evaluation in -40..40 {
                    let end = phase + evaluation * step - offset;
                    let inside = end - range < ts && ts <= end;
                    let (low, high) = grid.window(evaluation);
                    let held = pane.is_some_and(|pane| low <= pane && pane <= high);
                    assert_eq!(held, inside, "{grid:?} ts {ts} evaluation {evaluation}");
                    if let Some(pane) = pane {
                        let (first, last) = grid.evaluations(pane);
                        assert_eq!(first <= evaluation && evaluation <= last, inside, "{grid:?} {ts} {evaluation}");
                        let (after, until) = grid.bounds(pane);
                        assert!(after < ts && ts <= until, "{grid:?} {ts}: {after}..={until}");
                    }
                }
                assert_eq!(grid.evaluation(phase + 3 * step), 3);
            }
        }
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let grid = PaneGrid::new(1_000_000_000, 0, 3_600_000_000_000, i64::MAX / 2);
        for ts in [i64::MIN, 0, i64::MAX] {
            let _ = grid.pane_of(ts).map(|pane| (grid.bounds(pane), grid.evaluations(pane)));
        }
    }
}
