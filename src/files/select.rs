//! Decides which rows of a file a query has to read: pure, from the index alone.

use std::ops::Range;

use arrow::buffer::BooleanBuffer;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use super::fields::Stretches;
use super::index::FileIndex;
use crate::streams::StreamRef;
use crate::types::time::{TimeRange, UnixNanos};

/// Consecutive rows of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Row numbers in the row group.
    pub rows: Range<usize>,
    pub stream: StreamRef,
}

/// Rows to read from one row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    pub row_group: usize,
    /// Ascending, not overlapping.
    pub segments: Vec<Segment>,
    /// Bounds of the runs they come from: no row is outside.
    pub ts_min: UnixNanos,
    pub ts_max: UnixNanos,
}

impl Selected {
    pub fn rows(&self) -> usize {
        self.segments.iter().map(|segment| segment.rows.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The rows inside some stretches of the row group.
    #[must_use]
    pub fn within(self, stretches: Stretches) -> Selected {
        if stretches == Stretches::ALL {
            return self;
        }
        let wanted = stretches.rows();
        let parts = |segment: &Segment| {
            let (rows, stream) = (segment.rows.clone(), segment.stream);
            let part = move |wanted: &Range<usize>| rows.start.max(wanted.start)..rows.end.min(wanted.end);
            let parts = wanted.iter().map(part).filter(|rows| !rows.is_empty());
            parts.map(|rows| Segment { rows, stream }).collect::<Vec<_>>()
        };
        Selected { segments: self.segments.iter().flat_map(parts).collect(), ..self }
    }

    /// The rows whose bit is set; `keep` has one bit for each row of the segments, in their order.
    pub fn filtered(self, keep: &BooleanBuffer) -> Selected {
        let mut segments = Vec::new();
        let mut before = 0;
        for segment in &self.segments {
            let of_segment = keep.slice(before, segment.rows.len());
            segments.extend(of_segment.set_slices().map(|(start, end)| Segment {
                rows: segment.rows.start + start..segment.rows.start + end,
                stream: segment.stream,
            }));
            before += segment.rows.len();
        }
        Selected { segments, ..self }
    }
}

/// Rows of wanted streams that may be inside `range`, by row group. Rows of partly
/// overlapping pages come too: the reader compares times again.
pub fn select(index: &FileIndex, wanted: impl Fn(StreamRef) -> bool, range: TimeRange) -> Vec<Selected> {
    let mut runs = Vec::new();
    for run in &index.runs {
        if !wanted(run.stream) || !range.overlaps_closed(run.ts_min, run.ts_max) {
            continue;
        }
        runs.push(run);
    }
    let mut selected = Vec::new();
    let mut group_start = 0;
    let mut runs = runs.into_iter().peekable();
    for (row_group, metadata) in index.parquet.metadata().row_groups().iter().enumerate() {
        let group_end = group_start + metadata.num_rows() as usize;
        let mut of_group: Option<Selected> = None;
        while let Some(run) = runs.peek() {
            if run.rows.start >= group_end {
                break;
            }
            let inside = run.rows.start.max(group_start) - group_start..run.rows.end.min(group_end) - group_start;
            let covered = range.covers_closed(run.ts_min, run.ts_max);
            let rows = if covered { Some(inside) } else { rows_in_time(index, row_group, inside, range) };
            if let Some(rows) = rows.filter(|rows| !rows.is_empty()) {
                let group = of_group.get_or_insert_with(|| Selected {
                    row_group,
                    segments: Vec::new(),
                    ts_min: UnixNanos::MAX,
                    ts_max: UnixNanos::MIN,
                });
                group.ts_min = group.ts_min.min(run.ts_min);
                group.ts_max = group.ts_max.max(run.ts_max);
                group.segments.push(Segment { rows, stream: run.stream });
            }
            if run.rows.end > group_end {
                break;
            }
            runs.next();
        }
        selected.extend(of_group);
        group_start = group_end;
    }
    selected
}

/// The part of `rows` whose time pages overlap `range`; all of `rows` when the file has no page index.
/// Rows of one run are in time order, so what is left is one range.
fn rows_in_time(index: &FileIndex, row_group: usize, rows: Range<usize>, range: TimeRange) -> Option<Range<usize>> {
    let metadata = index.parquet.metadata();
    let offsets = metadata.offset_index().and_then(|groups| groups.get(row_group)?.first());
    let bounds = metadata.column_index().and_then(|groups| groups.get(row_group)?.first());
    let (Some(offsets), Some(ColumnIndexMetaData::INT64(bounds))) = (offsets, bounds) else {
        return Some(rows);
    };
    let pages = offsets.page_locations();
    let group_rows = metadata.row_group(row_group).num_rows() as usize;
    let mut kept: Option<Range<usize>> = None;
    for (at, page) in pages.iter().enumerate() {
        let page_start = page.first_row_index as usize;
        let page_end = pages.get(at + 1).map_or(group_rows, |next| next.first_row_index as usize);
        let inside = page_start.max(rows.start)..page_end.min(rows.end);
        if inside.is_empty() {
            continue;
        }
        let overlaps = match (bounds.min_value(at), bounds.max_value(at)) {
            (Some(min), Some(max)) => range.overlaps_closed(UnixNanos(*min), UnixNanos(*max)),
            _ => true,
        };
        if overlaps {
            kept = Some(match kept {
                Some(before) => before.start..inside.end,
                None => inside,
            });
        }
    }
    kept
}
