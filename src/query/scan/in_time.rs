//! Rows from one end of time: what comes first by time is read first, over all units of a partition.
//!
//! ```text
//! row group a   ░░░░░░░▒▒▒▒│████│      the newest slice of each is known by its times alone;
//! row group b   ░░░░░▒▒▒▒▒▒▒│███│      the unit whose next slice begins latest is read next,
//! head          ░░░░░░░░░░░░░░░░│      until the bound lies beyond all that is left
//! ```
//!
//! Slices of a row group grow: few rows are enough for most questions, and a question that needs all of them shall not
//! pay for many small reads.

use std::ops::Range;

use arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::reader::UnitReader;
use super::{RowGroup, ScanUnit, UnitPlace};
use crate::files::select::{Segment, Selected};
use crate::query::Direction;
use crate::types::time::{TimeRange, UnixNanos};

/// Rows of the first slice of a row group, at least and at most.
const FIRST_ROWS_MIN: usize = 256;
const FIRST_ROWS_MAX: usize = 8_192;
/// How much more the next slice has.
const GROWTH: usize = 4;

/// The units of one partition.
pub(super) struct InTime {
    reader: UnitReader,
    direction: Direction,
    waiting: Vec<Waiting>,
}

/// A unit of which rows are left.
enum Waiting {
    Unopened(ScanUnit),
    Open(Box<Slices>),
}

/// A row group whose times are known.
struct Slices {
    unit: ScanUnit,
    group: RowGroup,
    times: Vec<i64>,
    /// What was not read yet, of the range asked for.
    left: TimeRange,
    /// Rows of the next slice, about.
    rows: usize,
}

impl InTime {
    pub(super) fn new(reader: UnitReader, units: Vec<ScanUnit>, direction: Direction) -> Self {
        InTime { reader, direction, waiting: units.into_iter().map(Waiting::Unopened).collect() }
    }

    pub(super) fn batches(self) -> BoxStream<'static, DfResult<RecordBatch>> {
        let next = |mut units: Self| async move {
            let rows: DfResult<_> = units.next().await;
            rows.map(|rows| rows.map(|rows| (rows, units)))
        };
        stream::try_unfold(self, next).try_flatten().boxed()
    }

    /// The rows that come next; none at the end.
    async fn next(&mut self) -> DfResult<Option<BoxStream<'static, DfResult<RecordBatch>>>> {
        while let Some(at) = self.first() {
            match self.waiting.swap_remove(at) {
                Waiting::Unopened(unit) => {
                    if !self.reader.is_of_use(&unit).await? {
                        continue;
                    }
                    match unit.place.clone() {
                        UnitPlace::Head(head) => {
                            return self.reader.clone().read_head(&head, unit.part, unit.hides).map(Some);
                        }
                        UnitPlace::RowGroup(group) => {
                            let times = self.reader.times(&group).await?;
                            let rows = self.reader.request.enough_rows.clamp(FIRST_ROWS_MIN, FIRST_ROWS_MAX);
                            let left = self.reader.request.range;
                            self.waiting.push(Waiting::Open(Box::new(Slices { unit, group, times, left, rows })));
                        }
                    }
                }
                Waiting::Open(mut slices) => {
                    let useful = self.reader.range();
                    slices.left = intersection(slices.left, useful);
                    let Some(selected) = slices.take(self.direction) else { continue };
                    let (part, hides) = (slices.unit.part, slices.unit.hides.clone());
                    let group = RowGroup { selected, ..slices.group.clone() };
                    self.waiting.push(Waiting::Open(slices));
                    return self.reader.clone().read_rows(group, part, hides).await.map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Place of the unit whose rows come first.
    fn first(&self) -> Option<usize> {
        let edge = |waiting: &Waiting| {
            let (min, max) = match waiting {
                Waiting::Unopened(unit) => unit.bounds(),
                Waiting::Open(slices) => {
                    let (min, max) = slices.unit.bounds();
                    (min.max(slices.left.start), max.min(slices.left.end))
                }
            };
            match self.direction {
                Direction::Forward => min.0,
                Direction::Backward => max.0.saturating_neg(),
            }
        };
        (0..self.waiting.len()).min_by_key(|at| edge(&self.waiting[*at]))
    }
}

fn intersection(a: TimeRange, b: TimeRange) -> TimeRange {
    TimeRange { start: a.start.max(b.start), end: a.end.min(b.end) }
}

impl Slices {
    /// The rows of the next slice; none when no row is left.
    fn take(&mut self, direction: Direction) -> Option<Selected> {
        if self.left.start >= self.left.end || self.count(self.left) == 0 {
            return None;
        }
        let slice = self.slice(direction);
        match direction {
            Direction::Backward => self.left.end = slice.start,
            Direction::Forward => self.left.start = slice.end,
        }
        self.rows = self.rows.saturating_mul(GROWTH);
        let mut segments = Vec::new();
        for (segment, rows) in self.within(slice) {
            if !rows.is_empty() {
                let start = segment.rows.start;
                segments.push(Segment { rows: start + rows.start..start + rows.end, stream: segment.stream });
            }
        }
        Some(Selected { segments, ..self.group.selected.clone() })
    }

    /// The shortest part of what is left, from its end, that has rows enough; all of it when there are not.
    fn slice(&self, direction: Direction) -> TimeRange {
        let whole = self.left;
        if self.count(whole) <= self.rows {
            return whole;
        }
        let part = |edge: i64| match direction {
            Direction::Backward => TimeRange { start: UnixNanos(edge), ..whole },
            Direction::Forward => TimeRange { end: UnixNanos(edge), ..whole },
        };
        // The part grows from `few` to `many`.
        let (mut few, mut many) = match direction {
            Direction::Backward => (whole.end.0, whole.start.0),
            Direction::Forward => (whole.start.0, whole.end.0),
        };
        while few.abs_diff(many) > 1 {
            let middle = few.midpoint(many);
            if self.count(part(middle)) >= self.rows { many = middle } else { few = middle }
        }
        part(many)
    }

    /// The rows of each segment that are inside `range`, counted from the segment's first.
    fn within(&self, range: TimeRange) -> impl Iterator<Item = (&Segment, Range<usize>)> {
        let mut before = 0;
        self.group.selected.segments.iter().map(move |segment| {
            let times = &self.times[before..before + segment.rows.len()];
            before += segment.rows.len();
            let start = times.partition_point(|ts| *ts < range.start.0);
            let end = times.partition_point(|ts| *ts < range.end.0);
            (segment, start..end.max(start))
        })
    }

    fn count(&self, range: TimeRange) -> usize {
        self.within(range).map(|(_, rows)| rows.len()).sum()
    }
}
