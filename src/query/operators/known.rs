//! What became of rows before, where equal rows are told apart by numbers.
//!
//! Lines that come from dictionaries have numbers ([`crate::types::rows::Lines::Numbered`]); without metadata a
//! stream, a level and a line decide what a pipeline makes of a row, so it runs once for each three. Streams that it
//! cannot tell apart count as one, and levels too.

use std::ops::Range;

use arrow::array::{Array, StringViewArray};
use datafusion::common::Result as DfResult;

use crate::query::operators::rows::RowRunner;
use crate::types::rows::{Lines, Rows};

/// Levels told apart in one batch; with more the rows are run one by one.
const LEVELS_MAX: usize = 16;
/// Entries of a table at most.
const FATES_MAX: usize = 1 << 21;

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Dropped,
    /// It has an error, of which the first by time counts.
    Refused,
    /// Its series and its value.
    Kept(u32, f64),
}

/// Calls `each` with the rows that the pipeline keeps.
pub fn each_kept(rows: &Rows<'_>, runner: &mut RowRunner, mut each: impl FnMut(usize)) -> DfResult<()> {
    let Some(mut known) = KnownRows::of(rows, runner) else {
        return runner.run(rows, 0..rows.len(), |row, _| {
            each(row);
            Ok(())
        });
    };
    for (row, stream) in rows.stream.iter().enumerate() {
        let class = runner.class_of(*stream);
        let fate = match known.fate(row, class) {
            Some(fate) => fate,
            None => {
                let mut fate = Fate::Dropped;
                runner.run(rows, row..row + 1, |_, _| {
                    fate = Fate::Kept(0, 0.0);
                    Ok(())
                })?;
                known.note(row, class, fate);
                fate
            }
        };
        if fate != Fate::Dropped {
            each(row);
        }
    }
    Ok(())
}

/// The fates of the rows of one batch.
pub(super) struct KnownRows<'a> {
    numbers: &'a [u32],
    lines: usize,
    /// The level of each row by number, 0 for none; empty when there are no levels.
    levels: Vec<u8>,
    /// By level and line: for which class of streams, and what.
    fates: Vec<(u32, Fate)>,
}

impl<'a> KnownRows<'a> {
    /// None where equal rows are not told apart by number.
    pub(super) fn of(rows: &Rows<'a>, runner: &RowRunner) -> Option<Self> {
        match rows.line {
            Some(Lines::Numbered { numbers, lines }) if rows.metadata.is_none_or(|metadata| metadata.is_all_null()) => {
                Self::new(numbers, lines.len(), rows.level.filter(|_| runner.sees_level()))
            }
            _ => None,
        }
    }

    /// None where a table would be too large.
    fn new(numbers: &'a [u32], lines: usize, level: Option<&StringViewArray>) -> Option<Self> {
        let (levels, distinct) = match level.filter(|level| level.null_count() < level.len()) {
            Some(level) => number_levels(level)?,
            None => (Vec::new(), 1),
        };
        let entries = lines.checked_mul(distinct).filter(|entries| *entries <= FATES_MAX)?;
        Some(KnownRows { numbers, lines, levels, fates: vec![(u32::MAX, Fate::Dropped); entries] })
    }

    /// Counts rows by place, into as many numbers as there are places.
    pub(super) fn count(&self, rows: Range<usize>, counts: &mut [u32]) {
        let numbers = &self.numbers[rows.clone()];
        match self.levels.get(rows) {
            Some(levels) => numbers.iter().zip(levels).for_each(|(number, level)| {
                counts[usize::from(*level) * self.lines + *number as usize] += 1;
            }),
            None => numbers.iter().for_each(|number| counts[*number as usize] += 1),
        }
    }

    /// Rows with the same place, among those of one class of streams, have the same fate.
    pub(super) fn places(&self) -> usize {
        self.fates.len()
    }

    #[inline]
    pub(super) fn place(&self, row: usize) -> usize {
        let level = self.levels.get(row).copied().unwrap_or(0);
        usize::from(level) * self.lines + self.numbers[row] as usize
    }

    /// What became of a row like this one. A row that is refused is to be run again: its time matters.
    #[inline]
    pub(super) fn fate(&self, row: usize, class: u32) -> Option<Fate> {
        self.fate_at(self.place(row), class)
    }

    /// The same for rows with this place.
    #[inline]
    pub(super) fn fate_at(&self, place: usize, class: u32) -> Option<Fate> {
        let (of_class, fate) = self.fates[place];
        (of_class == class && fate != Fate::Refused).then_some(fate)
    }

    pub(super) fn note(&mut self, row: usize, class: u32, fate: Fate) {
        let place = self.place(row);
        self.fates[place] = (class, fate);
    }
}

/// The level of each row by number, and how many there are with none; short levels only, which are their own views.
fn number_levels(level: &StringViewArray) -> Option<(Vec<u8>, usize)> {
    let mut known: Vec<u128> = Vec::new();
    let mut numbers = Vec::with_capacity(level.len());
    for (row, view) in level.views().iter().enumerate() {
        if level.is_null(row) {
            numbers.push(0);
            continue;
        }
        if *view as u32 > 12 {
            return None;
        }
        let at = match known.iter().position(|seen| seen == view) {
            Some(at) => at,
            None if known.len() == LEVELS_MAX => return None,
            None => {
                known.push(*view);
                known.len() - 1
            }
        };
        numbers.push(at as u8 + 1);
    }
    Some((numbers, known.len() + 1))
}
