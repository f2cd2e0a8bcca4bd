//! How whole windows were when they became final: rows that came later are counted by window.
//!
//! Bounded: the newest panes' rows, and the newest windows that rows came too late for.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::flow::compile::PANES_MAX;
use crate::flow::grid::{PaneGrid, PaneId};

/// Windows that are remembered as not whole, of one aggregation.
pub const WINDOWS_MAX: usize = 20;

/// A window that is final without some of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncompleteWindow {
    /// The number of its evaluation.
    pub evaluation: i64,
    /// All rows of it that ever came, as far as they are remembered.
    pub rows: u64,
    /// Those of them that came too late.
    pub missed: u64,
}

/// What came for the windows of one aggregation.
#[derive(Debug, Clone, Default)]
pub(super) struct Completeness {
    /// Rows by pane, ascending.
    rows: VecDeque<(PaneId, u64)>,
    /// By evaluation: rows that came when it was final.
    missed: BTreeMap<i64, u64>,
    /// Where the row before went.
    last: usize,
}

impl Completeness {
    /// A row of this pane is there.
    #[inline]
    pub(super) fn came(&mut self, pane: PaneId) {
        match self.rows.get_mut(self.last) {
            Some((known, rows)) if *known == pane => *rows += 1,
            _ => self.came_elsewhere(pane),
        }
    }

    fn came_elsewhere(&mut self, pane: PaneId) {
        self.last = match self.rows.binary_search_by_key(&pane, |(pane, _)| *pane) {
            Ok(at) => at,
            // Too old to be remembered.
            Err(0) if self.rows.len() as i64 >= PANES_MAX => return,
            Err(at) => {
                self.rows.insert(at, (pane, 0));
                let is_full = self.rows.len() as i64 > PANES_MAX;
                if is_full {
                    self.rows.pop_front();
                }
                at - usize::from(is_full)
            }
        };
        self.rows[self.last].1 += 1;
    }

    /// The same without a row: they are read again.
    pub(super) fn emptied(&self) -> Self {
        Completeness { missed: self.missed.clone(), ..Completeness::default() }
    }

    /// Takes in what came elsewhere.
    pub(super) fn merge(&mut self, other: &Completeness) {
        for (pane, rows) in &other.rows {
            self.came(*pane);
            if let Some((_, known)) = self.rows.get_mut(self.last).filter(|(known, _)| known == pane) {
                *known += rows - 1;
            }
        }
    }

    /// A row came when these evaluations were final.
    pub(super) fn missed(&mut self, evaluations: Range<i64>) {
        let newest = evaluations.start.max(evaluations.end.saturating_sub(WINDOWS_MAX as i64))..evaluations.end;
        for evaluation in newest {
            *self.missed.entry(evaluation).or_default() += 1;
        }
        while self.missed.len() > WINDOWS_MAX {
            self.missed.pop_first();
        }
    }

    /// The newest windows that are not whole, oldest first.
    pub(super) fn incomplete(&self, grid: &PaneGrid) -> impl Iterator<Item = IncompleteWindow> {
        self.missed.iter().map(|(evaluation, missed)| {
            let (low, high) = grid.window(*evaluation);
            let from = self.rows.partition_point(|(pane, _)| *pane < low);
            let inside = self.rows.range(from..).take_while(|(pane, _)| *pane <= high);
            let rows = inside.map(|(_, rows)| rows).sum::<u64>().max(*missed);
            IncompleteWindow { evaluation: *evaluation, rows, missed: *missed }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn windows_know_what_they_missed() {
        // Windows of two seconds, a second apart.
        let grid = PaneGrid::new(S, 0, 2 * S, 0);
        let mut completeness = Completeness::default();
        for second in [10, 10, 11, 12, 12, 12] {
            completeness.came(grid.pane_of(second * S - S / 2).expect("in a window"));
        }
        assert_eq!(completeness.incomplete(&grid).count(), 0);
        let late = grid.pane_of(11 * S - S / 2).expect("in a window");
        completeness.came(late);
        let (first, last) = grid.evaluations(late);
        assert_eq!((first, last), (11, 12));
        completeness.missed(first..last + 1);
        let found: Vec<_> = completeness.incomplete(&grid).collect();
        let window = |evaluation, rows| IncompleteWindow { evaluation, rows, missed: 1 };
        assert_eq!(found, [window(11, 4), window(12, 5)]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let grid = PaneGrid::new(S, 0, S, 0);
        let mut completeness = Completeness::default();
        for second in 0..PANES_MAX + 100 {
            completeness.came(grid.pane_of(second * S).expect("in a window"));
        }
        completeness.came(grid.pane_of(0).expect("in a window"));
        assert_eq!(completeness.rows.len() as i64, PANES_MAX);
        completeness.missed(0..1_000_000);
        let evaluations: Vec<i64> = completeness.incomplete(&grid).map(|window| window.evaluation).collect();
        assert_eq!(evaluations, (1_000_000 - WINDOWS_MAX as i64..1_000_000).collect::<Vec<_>>());
    }
}
