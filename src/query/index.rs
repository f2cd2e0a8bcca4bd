//! Questions that the stream index answers without reading a row: labels, series, volumes of selectors.
//!
//! Where a delete that is not carried out yet took part of a run, its rows are read and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;

use crate::catalog::{Catalog, Hide};
use crate::files::read::{Wanted, read};
use crate::files::select::select;
use crate::files::{DataFile, FileIndex, FileIndexes, Run};
use crate::logql::ast::Matcher;
use crate::query::QueryError;
use crate::query::hiding::{kept, relevant, widened};
use crate::query::matchers::Selector;
use crate::query::scan::load_indexes;
use crate::query::visible::{VisiblePart, VisibleStreams};
use crate::streams::{Stream, StreamRef, TenantStreams};
use crate::types::labels::Labels;
use crate::types::rows::{RowProjection, Rows};
use crate::types::time::{TimeRange, UnixNanos};

/// Rows read at once where deletes make the index inexact.
const COUNT_BATCH_ROWS: usize = 8_192;

/// Streams, runs, bytes and rows behind a selector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexStats {
    pub streams: u64,
    pub chunks: u64,
    pub bytes: u64,
    pub entries: u64,
}

/// One stream over all its rows.
#[derive(Debug, Clone)]
pub struct StreamSummary {
    pub stream: Arc<Stream>,
    /// Bounds of event time, both inside.
    pub first_seen: UnixNanos,
    pub last_seen: UnixNanos,
    pub entries: u64,
    /// Bytes of lines.
    pub bytes: u64,
}

/// Rows of one stream in one place.
#[derive(Debug, Clone, Copy)]
struct Occurrence {
    stream: StreamRef,
    bytes: u64,
    rows: u64,
    ts_min: UnixNanos,
    ts_max: UnixNanos,
}

impl Occurrence {
    fn of(run: &Run) -> Self {
        Occurrence {
            stream: run.stream,
            bytes: run.line_bytes,
            rows: run.rows.len() as u64,
            ts_min: run.ts_min,
            ts_max: run.ts_max,
        }
    }

    /// The same by view ref.
    fn seen_in(self, part: &VisiblePart) -> Self {
        Occurrence { stream: part.view_ref(self.stream), ..self }
    }

    fn add(&mut self, other: Occurrence) {
        self.bytes += other.bytes;
        self.rows += other.rows;
        self.ts_min = self.ts_min.min(other.ts_min);
        self.ts_max = self.ts_max.max(other.ts_max);
    }
}

/// Label sets of the streams with rows in `range` that match any of the selectors, sorted; no selector means all.
pub async fn streams(
    catalog: &Arc<Catalog>,
    indexes: &FileIndexes,
    visible: &VisibleStreams,
    range: TimeRange,
    any_of: &[Vec<Matcher>],
) -> Result<Vec<Labels>, QueryError> {
    let selectors = any_of.iter().map(|matchers| Selector::compile(matchers)).collect::<Result<Vec<_>, _>>()?;
    let known = visible.streams();
    let present: BTreeSet<StreamRef> =
        occurrences(catalog, indexes, visible, range).await?.into_iter().map(|found| found.stream).collect();
    let mut labels: Vec<Labels> = present
        .into_iter()
        .map(|stream| known.get(stream).labels.clone())
        .filter(|labels| selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels)))
        .collect();
    labels.sort_unstable();
    Ok(labels)
}

/// Sums over the streams of one selector.
pub async fn stats(
    catalog: &Arc<Catalog>,
    indexes: &FileIndexes,
    visible: &VisibleStreams,
    range: TimeRange,
    matchers: &[Matcher],
) -> Result<IndexStats, QueryError> {
    let selector = Selector::compile(matchers)?;
    let found = occurrences(catalog, indexes, visible, range).await?;
    let known = visible.streams();
    let mut stats = IndexStats::default();
    let mut distinct = BTreeSet::new();
    for occurrence in found.into_iter().filter(|found| selector.matches(&known.get(found.stream).labels)) {
        distinct.insert(occurrence.stream);
        stats.chunks += 1;
        stats.bytes += occurrence.bytes;
        stats.entries += occurrence.rows;
    }
    stats.streams = distinct.len() as u64;
    Ok(stats)
}

/// Every stream of a tenant, by ref.
pub async fn summaries(
    catalog: &Arc<Catalog>,
    indexes: &FileIndexes,
    visible: &VisibleStreams,
) -> Result<Vec<StreamSummary>, QueryError> {
    let mut by_stream: BTreeMap<StreamRef, Occurrence> = BTreeMap::new();
    for found in occurrences(catalog, indexes, visible, TimeRange::ALL).await? {
        by_stream.entry(found.stream).and_modify(|sum| sum.add(found)).or_insert(found);
    }
    let known = visible.streams();
    let summary = |sum: Occurrence| StreamSummary {
        stream: known.get(sum.stream),
        first_seen: sum.ts_min,
        last_seen: sum.ts_max,
        entries: sum.rows,
        bytes: sum.bytes,
    };
    Ok(by_stream.into_values().map(summary).collect())
}

/// Runs of shown streams, by view ref.
async fn occurrences(
    catalog: &Arc<Catalog>,
    indexes: &FileIndexes,
    visible: &VisibleStreams,
    range: TimeRange,
) -> Result<Vec<Occurrence>, QueryError> {
    let mut found = Vec::new();
    for part in visible.parts() {
        let snapshot = catalog.snapshot(&part.tenant, range);
        let stored = catalog.streams().tenant(&part.tenant);
        for head in &snapshot.parts {
            let (ts_min, ts_max) = head.bounds();
            let keep = kept(head.rows(), &relevant(&snapshot.hides, head.seq(), ts_min, ts_max));
            let rows = Rows::of(head.rows());
            let mut by_stream = BTreeMap::new();
            for row in (0..rows.len()).filter(|row| keep.as_ref().is_none_or(|keep| keep.value(*row))) {
                if range.contains(UnixNanos(rows.ts[row])) && part.shows(StreamRef(rows.stream[row])) {
                    let bytes = rows.line.map_or(0, |lines| u64::from(lines.bytes(row)));
                    add_row(&mut by_stream, rows.stream[row], rows.ts[row], bytes);
                }
            }
            found.extend(by_stream.into_values().map(|one: Occurrence| one.seen_in(part)));
        }
        for (file, index) in snapshot.files.iter().zip(load_indexes(&snapshot, indexes).await?) {
            let hides = relevant(&snapshot.hides, file.seq, file.ts_min, file.ts_max);
            let mut partly_deleted = BTreeSet::new();
            let runs = index.runs.iter().filter(|run| range.overlaps_closed(run.ts_min, run.ts_max));
            for run in runs.filter(|run| part.shows(run.stream)) {
                match fate(run, &hides, &stored) {
                    Fate::Shown => found.push(Occurrence::of(run).seen_in(part)),
                    Fate::Deleted => {}
                    Fate::Partly => {
                        partly_deleted.insert(run.stream);
                    }
                }
            }
            if !partly_deleted.is_empty() {
                let left = counted(file, &index, indexes, &partly_deleted, &hides).await?;
                let left = left.into_iter().filter(|left| range.overlaps_closed(left.ts_min, left.ts_max));
                found.extend(left.map(|left| left.seen_in(part)));
            }
        }
    }
    Ok(found)
}

/// What deletes leave of a run.
enum Fate {
    Shown,
    Deleted,
    Partly,
}

fn fate(run: &Run, hides: &[Arc<Hide>], streams: &TenantStreams) -> Fate {
    let touches = |hide: &&Arc<Hide>| hide.range.overlaps_closed(run.ts_min, run.ts_max);
    let mut touching = hides.iter().filter(touches).peekable();
    if touching.peek().is_none() {
        return Fate::Shown;
    }
    let labels = &streams.get(run.stream).labels;
    let mut fate = Fate::Shown;
    for hide in touching.filter(|hide| hide.predicate.chooses_stream(labels)) {
        if hide.covers(run.ts_min, run.ts_max) {
            return Fate::Deleted;
        }
        fate = Fate::Partly;
    }
    fate
}

/// What is left of runs that are partly deleted, found by reading them.
async fn counted(
    file: &DataFile,
    index: &FileIndex,
    indexes: &FileIndexes,
    streams: &BTreeSet<StreamRef>,
    hides: &[Arc<Hide>],
) -> Result<Vec<Occurrence>, QueryError> {
    let columns = widened(RowProjection { line: true, ..RowProjection::default() }, hides);
    let wanted = Wanted { columns, members: None, batch_rows: COUNT_BATCH_ROWS };
    let mut left = BTreeMap::new();
    for selected in select(index, |stream| streams.contains(&stream), TimeRange::ALL) {
        let mut batches = read(file.path.clone(), indexes.reader(file), index, &selected, wanted)?;
        while let Some(batch) = batches.try_next().await? {
            let keep = kept(&batch, hides);
            let rows = Rows::of(&batch);
            for row in (0..rows.len()).filter(|row| keep.as_ref().is_none_or(|keep| keep.value(*row))) {
                let bytes = rows.line.map_or(0, |lines| u64::from(lines.bytes(row)));
                add_row(&mut left, rows.stream[row], rows.ts[row], bytes);
            }
        }
    }
    Ok(left.into_values().collect())
}

fn add_row(by_stream: &mut BTreeMap<StreamRef, Occurrence>, stream: u32, ts: i64, bytes: u64) {
    let (stream, ts) = (StreamRef(stream), UnixNanos(ts));
    let one = Occurrence { stream, bytes, rows: 1, ts_min: ts, ts_max: ts };
    by_stream.entry(stream).and_modify(|sum| sum.add(one)).or_insert(one);
}
