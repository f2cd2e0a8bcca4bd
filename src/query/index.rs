//! Questions that the stream index answers without reading a row: labels, series, volumes of selectors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::files::FileIndexes;
use crate::logql::ast::Matcher;
use crate::query::QueryError;
use crate::query::matchers::Selector;
use crate::query::scan::load_indexes;
use crate::query::visible::VisibleStreams;
use crate::streams::{Stream, StreamRef};
use crate::types::labels::Labels;
use crate::types::rows::Rows;
use crate::types::time::{TimeRange, UnixNanos};

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
        for head in &snapshot.parts {
            let rows = Rows::of(head.rows());
            let mut by_stream: BTreeMap<StreamRef, Occurrence> = BTreeMap::new();
            let lines = rows.line.map(|lines| lines.views());
            for row in 0..rows.len() {
                let ts = UnixNanos(rows.ts[row]);
                let own = StreamRef(rows.stream[row]);
                if !range.contains(ts) || !part.shows(own) {
                    continue;
                }
                let stream = part.view_ref(own);
                let bytes = lines.map_or(0, |views| u64::from(views[row] as u32));
                let one = Occurrence { stream, bytes, rows: 1, ts_min: ts, ts_max: ts };
                by_stream.entry(stream).and_modify(|sum| sum.add(one)).or_insert(one);
            }
            found.extend(by_stream.into_values());
        }
        for index in load_indexes(&snapshot, indexes).await? {
            let runs = index.runs.iter().filter(|run| range.overlaps_closed(run.ts_min, run.ts_max));
            for run in runs.filter(|run| part.shows(run.stream)) {
                found.push(Occurrence {
                    stream: part.view_ref(run.stream),
                    bytes: run.line_bytes,
                    rows: run.rows.len() as u64,
                    ts_min: run.ts_min,
                    ts_max: run.ts_max,
                });
            }
        }
    }
    Ok(found)
}
