//! Rows from one end of time: what comes first by time is read first, over all units of a partition.
//!
//! ```text
//! row group a   ░░░░░░░▒▒▒▒│████│      the newest slice of each is known by its times alone;
//! row group b   ░░░░░▒▒▒▒▒▒▒│███│      the unit whose next slice begins latest is read next,
//! head          ░░░░░░░░░░░░░░░░│      until the bound lies beyond all that is left
//! ```
//!
//! Slices of a row group grow: few rows are enough for most questions, and a question that needs all of them shall not
//! pay for many small reads. Where a few members of the lines tell which rows may be wanted, whole lines wait until
//! there are enough of those ([`Candidates`]).

use std::ops::Range;

use arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::candidates::{Candidates, TimedRow};
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
/// The same where rows are chosen by a few members: most questions that do are about rare rows.
const CANDIDATES_GROWTH: usize = 16;

/// The units of one partition.
pub(super) struct InTime {
    reader: UnitReader,
    direction: Direction,
    waiting: Vec<Waiting>,
    candidates: Candidates,
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
    growth: usize,
}

impl InTime {
    pub(super) fn new(reader: UnitReader, units: Vec<ScanUnit>, direction: Direction) -> Self {
        let candidates = Candidates::new(direction, reader.request.enough_rows);
        InTime { reader, direction, waiting: units.into_iter().map(Waiting::Unopened).collect(), candidates }
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
                    let Some(unit) = self.reader.of_use(unit).await? else { continue };
                    match unit.place.clone() {
                        UnitPlace::Head(head) => {
                            return self.reader.clone().read_head(&head, unit.part, unit.hides).map(Some);
                        }
                        UnitPlace::RowGroup(group) => {
                            let times = self.reader.times(&group).await?;
                            let (rows, growth) = match self.reader.prefilter(&group) {
                                Some(_) => (FIRST_ROWS_MAX, CANDIDATES_GROWTH),
                                None => (self.reader.request.enough_rows.clamp(FIRST_ROWS_MIN, FIRST_ROWS_MAX), GROWTH),
                            };
                            let left = self.reader.request.range;
                            let slices = Slices { unit, group, times, left, rows, growth };
                            self.waiting.push(Waiting::Open(Box::new(slices)));
                        }
                    }
                }
                Waiting::Open(mut slices) => {
                    let useful = self.reader.range();
                    slices.left = intersection(slices.left, useful);
                    let Some(selected) = slices.take(self.direction) else { continue };
                    let group = RowGroup { selected, ..slices.group.clone() };
                    let Some(prefilter) = self.reader.prefilter(&group) else {
                        let (part, hides) = (slices.unit.part, slices.unit.hides.clone());
                        self.waiting.push(Waiting::Open(slices));
                        return self.reader.clone().read_selected(group, part, hides).map(Some);
                    };
                    let kept = self.reader.prefiltered(&group, slices.unit.part, prefilter).await?;
                    self.candidates.add(&slices.unit, &slices.group, slices.timed(&kept));
                    self.waiting.push(Waiting::Open(slices));
                    if self.candidates.are_enough() {
                        return self.candidates_read().map(Some);
                    }
                }
            }
        }
        if self.candidates.is_empty() { Ok(None) } else { self.candidates_read().map(Some) }
    }

    /// Whole lines of the candidates that come first.
    fn candidates_read(&mut self) -> DfResult<BoxStream<'static, DfResult<RecordBatch>>> {
        let range = self.reader.range();
        let reads = self
            .candidates
            .take(range)
            .into_iter()
            .map(|(unit, group)| self.reader.clone().read_selected(group, unit.part, unit.hides));
        Ok(stream::iter(reads.collect::<DfResult<Vec<_>>>()?).flatten().boxed())
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
        self.rows = self.rows.saturating_mul(self.growth);
        let mut segments = Vec::new();
        for (segment, rows) in self.within(slice) {
            if !rows.is_empty() {
                let start = segment.rows.start;
                segments.push(Segment { rows: start + rows.start..start + rows.end, stream: segment.stream });
            }
        }
        Some(Selected { segments, ..self.group.selected.clone() })
    }

    /// Rows of the row group with their streams and times.
    fn timed(&self, rows: &Selected) -> Vec<TimedRow> {
        let mut timed = Vec::with_capacity(rows.rows());
        let (mut whole, mut before) = (self.group.selected.segments.iter().peekable(), 0);
        for segment in &rows.segments {
            while let Some(passed) = whole.next_if(|whole| whole.rows.end <= segment.rows.start) {
                before += passed.rows.len();
            }
            let Some(within) = whole.peek() else { break };
            timed.extend(segment.rows.clone().map(|row| TimedRow {
                row: row as u32,
                stream: segment.stream,
                ts: self.times[before + row - within.rows.start],
            }));
        }
        timed
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
