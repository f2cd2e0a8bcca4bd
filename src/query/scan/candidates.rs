//! Rows that may be wanted, waiting for their lines.
//!
//! A whole line costs many columns and each read of a column the column's dictionary, so lines are made for the rows
//! that come first by time, of all row groups together, when there are enough.

use std::sync::Arc;

use super::{RowGroup, ScanUnit};
use crate::files::select::{Segment, Selected};
use crate::query::Direction;
use crate::streams::StreamRef;
use crate::types::time::TimeRange;

/// How many more rows are taken each time: those that were taken before did not suffice.
const GROWTH: usize = 4;

/// A row of a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimedRow {
    pub(super) row: u32,
    pub(super) stream: StreamRef,
    pub(super) ts: i64,
}

/// Rows of several row groups. Memory: a few words a row; at most a slice more than what is taken at once.
#[derive(Debug)]
pub(super) struct Candidates {
    direction: Direction,
    /// Rows that the next take is about.
    enough: usize,
    units: Vec<(ScanUnit, RowGroup)>,
    /// With the place of the unit.
    rows: Vec<(u32, TimedRow)>,
}

impl Candidates {
    /// `enough`: rows that may be enough.
    pub(super) fn new(direction: Direction, enough: usize) -> Self {
        Candidates { direction, enough: enough.max(1), units: Vec::new(), rows: Vec::new() }
    }

    pub(super) fn add(&mut self, unit: &ScanUnit, group: &RowGroup, rows: Vec<TimedRow>) {
        if rows.is_empty() {
            return;
        }
        let is_same = |(_, known): &(ScanUnit, RowGroup)| {
            Arc::ptr_eq(&known.index, &group.index) && known.selected.row_group == group.selected.row_group
        };
        let at = self.units.iter().position(is_same).unwrap_or_else(|| {
            self.units.push((unit.clone(), group.clone()));
            self.units.len() - 1
        });
        self.rows.extend(rows.into_iter().map(|row| (at as u32, row)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn are_enough(&self) -> bool {
        self.rows.len() >= self.enough
    }

    /// The rows that come first by time, with all of the same time, by row group; those outside `range` are forgotten.
    pub(super) fn take(&mut self, range: TimeRange) -> Vec<(ScanUnit, RowGroup)> {
        self.rows.retain(|(_, row)| range.start.0 <= row.ts && row.ts < range.end.0);
        let order = |ts: i64| match self.direction {
            Direction::Forward => ts,
            Direction::Backward => ts.saturating_neg(),
        };
        let mut taken = std::mem::take(&mut self.rows);
        if taken.len() > self.enough {
            let (_, (_, last), _) = taken.select_nth_unstable_by_key(self.enough - 1, |(_, row)| order(row.ts));
            let last = order(last.ts);
            self.rows = taken.extract_if(.., |(_, row)| order(row.ts) > last).collect();
        }
        self.enough = self.enough.saturating_mul(GROWTH);
        taken.sort_unstable_by_key(|(unit, row)| (*unit, row.row));
        let of_units = taken.chunk_by(|(a, _), (b, _)| a == b);
        let groups = of_units.map(|rows| {
            let (unit, group) = &self.units[rows[0].0 as usize];
            let selected = Selected { segments: segments(rows), ..group.selected.clone() };
            (unit.clone(), RowGroup { selected, ..group.clone() })
        });
        groups.collect()
    }
}

/// Rows of one row group, ascending, as segments.
fn segments(rows: &[(u32, TimedRow)]) -> Vec<Segment> {
    let follows = |a: &TimedRow, b: &TimedRow| a.row + 1 == b.row && a.stream == b.stream;
    let of_segments = rows.chunk_by(|(_, a), (_, b)| follows(a, b));
    let segment = |rows: &[(u32, TimedRow)]| {
        let (first, last) = (rows[0].1, rows[rows.len() - 1].1);
        Segment { rows: first.row as usize..last.row as usize + 1, stream: first.stream }
    };
    of_segments.map(segment).collect()
}
