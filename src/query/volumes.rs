//! Bytes of lines by stream labels, whole or by steps: what log browsers draw before they read a line.
//!
//! ```text
//! head rows ─────────────────────────────▶ row by row ─┐
//! runs of files inside one step ─────────▶ the index ──┼─▶ bytes[step][series or label] ─▶ largest `limit`
//! runs across an edge, few rows ─────────▶ row by row ─┤
//! runs across an edge, more than that ───▶ by share of their time, as Loki does it always
//! ```
//!
//! Source: Loki's `index/volume` and `index/volume_range`: which labels make a series, what the steps end at, the
//! order and the limit of each step.
//! Errors: `BadInput` for a selector that does not compile, or more than `series_max` series in one step.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;

use crate::access::Scope;
use crate::catalog::Catalog;
use crate::files::read::{Wanted, read};
use crate::files::select::select;
use crate::files::{DataFile, FileIndex, FileIndexes, FilesError};
use crate::logql::ast::{MatchOp, Matcher};
use crate::query::QueryError;
use crate::query::matchers::Selector;
use crate::query::scan::load_indexes;
use crate::query::visible::{ChosenPart, VisibleStreams};
use crate::streams::StreamRef;
use crate::types::labels::Labels;
use crate::types::rows::{RowProjection, Rows};
use crate::types::time::{NANOS_PER_MILLI, TimeRange, UnixNanos};

/// Rows of runs across an edge that are read for exact numbers, about a second of work; beyond it, shares of time.
const EDGE_ROWS_READ_MAX: usize = 1_000_000;
const BATCH_ROWS: usize = 8_192;

/// What to add up.
#[derive(Debug, Clone)]
pub struct VolumeRequest {
    pub scope: Scope,
    /// Empty means all streams.
    pub matchers: Vec<Matcher>,
    /// Both inside.
    pub start: UnixNanos,
    pub end: UnixNanos,
    /// Width of a step; 0 means one step over all.
    pub step_ns: i64,
    /// Labels that make a series; empty means those of the matchers, or all when there is no matcher.
    pub targets: Vec<String>,
    pub by: VolumeBy,
    /// Series of one step.
    pub limit: usize,
    /// More distinct series in one step are refused.
    pub series_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeBy {
    Series,
    Labels,
}

/// One series or label over the steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// By label: that label, with an empty value.
    pub labels: Labels,
    /// (end of the step, bytes), in time order; never empty.
    pub points: Vec<(UnixNanos, u64)>,
}

/// Volumes, the largest first (by their first step), equal ones by name.
pub async fn volumes(
    catalog: &Arc<Catalog>,
    indexes: &FileIndexes,
    request: &VolumeRequest,
) -> Result<Vec<Volume>, QueryError> {
    let steps = VolumeSteps::new(request.start, request.end, request.step_ns);
    let mut matchers = request.matchers.clone();
    let unmatched = |target: &&String| !request.matchers.iter().any(|matcher| matcher.name == **target);
    matchers.extend(request.targets.iter().filter(unmatched).map(|target| Matcher {
        name: target.clone(),
        op: MatchOp::Regex,
        value: ".+".to_owned(),
    }));
    let selector = Selector::compile(&matchers)?;
    let range = TimeRange::new(request.start, request.end.saturating_add(1));
    let visible = VisibleStreams::new(&request.scope, catalog.streams());
    let streams = visible.streams();
    let mut bytes = vec![HashMap::new(); steps.count];
    for chosen in visible.choose(&selector).iter() {
        let snapshot = catalog.snapshot(&chosen.tenant, range);
        let files = load_indexes(&snapshot, indexes).await?;
        let mut sums = Sums { steps, chosen, bytes: &mut bytes };
        for part in &snapshot.parts {
            sums.add_rows(part.rows());
        }
        let mut edges: Vec<(Arc<DataFile>, Arc<FileIndex>)> = Vec::new();
        let mut edge_rows = 0;
        for (file, index) in snapshot.files.iter().zip(files) {
            edge_rows += sums.add_whole_runs(&index);
            edges.push((file.clone(), index));
        }
        for (file, index) in edges {
            if edge_rows <= EDGE_ROWS_READ_MAX {
                sums.read_edges(&file, &index, indexes, range).await?;
            } else {
                sums.share_edges(&index);
            }
        }
    }
    let naming = Naming::new(request);
    let by_step = bytes.into_iter().map(|of_step| {
        let mut named: BTreeMap<String, (Labels, u64)> = BTreeMap::new();
        for (stream, bytes) in of_step {
            naming.add(&streams.get(stream).labels, bytes, &mut named);
        }
        if request.series_max > 0 && named.len() > request.series_max {
            return Err(QueryError::BadInput(format!(
                "the query hit the max number of series limit (limit: {} series)",
                request.series_max
            )));
        }
        let mut largest: Vec<_> = named.into_iter().collect();
        largest.sort_by(|(_, (_, a)), (_, (_, b))| b.cmp(a));
        largest.truncate(request.limit);
        Ok(largest)
    });
    let mut volumes: BTreeMap<String, Volume> = BTreeMap::new();
    for (step, largest) in by_step.enumerate() {
        for (name, (labels, bytes)) in largest? {
            let volume = volumes.entry(name).or_insert_with(|| Volume { labels, points: Vec::new() });
            volume.points.push((steps.stamp(step), bytes));
        }
    }
    let mut volumes: Vec<Volume> = volumes.into_values().collect();
    volumes.sort_by(|a, b| b.points[0].1.cmp(&a.points[0].1));
    Ok(volumes)
}

/// Steps aligned at multiples of their width; the first begins and the last ends where the range does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct VolumeSteps {
    start: UnixNanos,
    end: UnixNanos,
    aligned: i64,
    width_ns: i64,
    count: usize,
}

impl VolumeSteps {
    fn new(start: UnixNanos, end: UnixNanos, step_ns: i64) -> Self {
        if step_ns <= 0 {
            return VolumeSteps { start, end, aligned: start.0, width_ns: i64::MAX, count: 1 };
        }
        let aligned = start.0 - start.0 % step_ns;
        let span = end.0.saturating_sub(aligned).max(0) as u64;
        let count = span.div_ceil(step_ns.unsigned_abs()) as usize;
        VolumeSteps { start, end, aligned, width_ns: step_ns, count }
    }

    /// The step of a time, if it is inside.
    fn step_of(&self, ts: UnixNanos) -> Option<usize> {
        if ts < self.start || ts > self.end || self.count == 0 {
            return None;
        }
        let step = (ts.0.saturating_sub(self.aligned) / self.width_ns) as usize;
        Some(step.min(self.count - 1))
    }

    /// What a step is labelled with: its last millisecond, or the end of the range.
    fn stamp(&self, step: usize) -> UnixNanos {
        let end = self.aligned.saturating_add(self.width_ns.saturating_mul(step as i64 + 1));
        if end >= self.end.0 { self.end } else { UnixNanos(end - NANOS_PER_MILLI) }
    }

    /// Bounds of a step, both inside.
    fn bounds(&self, step: usize) -> (UnixNanos, UnixNanos) {
        let start = self.aligned.saturating_add(self.width_ns.saturating_mul(step as i64));
        let last = start.saturating_add(self.width_ns - 1);
        let end = if step + 1 == self.count { self.end } else { UnixNanos(last) };
        (UnixNanos(start).max(self.start), end)
    }
}

/// Bytes of one tenant by step and stream of the view.
struct Sums<'a> {
    steps: VolumeSteps,
    chosen: &'a ChosenPart,
    bytes: &'a mut [HashMap<StreamRef, u64>],
}

impl Sums<'_> {
    fn add(&mut self, step: usize, stream: StreamRef, bytes: u64) {
        if let Some(of_step) = self.bytes.get_mut(step) {
            *of_step.entry(StreamRef(stream.0 + self.chosen.offset)).or_default() += bytes;
        }
    }

    fn add_rows(&mut self, batch: &RecordBatch) {
        let rows = Rows::of(batch);
        for row in 0..rows.len() {
            let stream = StreamRef(rows.stream[row]);
            if !self.chosen.streams.contains(stream) {
                continue;
            }
            if let Some(step) = self.steps.step_of(UnixNanos(rows.ts[row])) {
                let bytes = rows.line.map_or(0, |lines| u64::from(lines.bytes(row)));
                self.add(step, stream, bytes);
            }
        }
    }

    /// Adds the runs that lie in one step; answers the rows of those that lie across an edge.
    fn add_whole_runs(&mut self, index: &FileIndex) -> usize {
        let mut edge_rows = 0;
        for run in &index.runs {
            if !self.chosen.streams.contains(run.stream) || run.ts_max < self.steps.start || run.ts_min > self.steps.end
            {
                continue;
            }
            match self.step_of_run(run.ts_min, run.ts_max) {
                Some(step) => self.add(step, run.stream, run.line_bytes),
                None => edge_rows += run.rows.len(),
            }
        }
        edge_rows
    }

    /// The step that all of a run is in.
    fn step_of_run(&self, ts_min: UnixNanos, ts_max: UnixNanos) -> Option<usize> {
        let first = self.steps.step_of(ts_min)?;
        (self.steps.step_of(ts_max) == Some(first)).then_some(first)
    }

    /// Reads the lengths of the lines of runs across an edge.
    async fn read_edges(
        &mut self,
        file: &DataFile,
        index: &FileIndex,
        indexes: &FileIndexes,
        range: TimeRange,
    ) -> Result<(), FilesError> {
        let across: std::collections::HashSet<StreamRef> = index
            .runs
            .iter()
            .filter(|run| {
                self.chosen.streams.contains(run.stream) && self.step_of_run(run.ts_min, run.ts_max).is_none()
            })
            .map(|run| run.stream)
            .collect();
        if across.is_empty() {
            return Ok(());
        }
        let columns = RowProjection { line: true, ..RowProjection::default() };
        let wanted = Wanted { columns, members: None, batch_rows: BATCH_ROWS };
        for selected in select(index, |stream| across.contains(&stream), range) {
            let reader = indexes.reader(file);
            let mut batches = read(file.path.clone(), reader, index, &selected, wanted)?;
            while let Some(batch) = batches.try_next().await? {
                debug_assert!(batch.column(0).as_primitive_opt::<Int64Type>().is_some());
                self.add_rows(&batch);
            }
        }
        Ok(())
    }

    /// Deals the bytes of runs across an edge by the share of their time in each step.
    fn share_edges(&mut self, index: &FileIndex) {
        for run in &index.runs {
            if !self.chosen.streams.contains(run.stream) || self.step_of_run(run.ts_min, run.ts_max).is_some() {
                continue;
            }
            let first = self.steps.step_of(run.ts_min.max(self.steps.start));
            let last = self.steps.step_of(run.ts_max.min(self.steps.end));
            let (Some(first), Some(last)) = (first, last) else { continue };
            let whole = (run.ts_max.0.saturating_sub(run.ts_min.0)).max(1) as f64;
            for step in first..=last {
                let (start, end) = self.steps.bounds(step);
                let inside = run.ts_max.min(end).0.saturating_sub(run.ts_min.max(start).0);
                if inside >= 0 {
                    self.add(step, run.stream, (run.line_bytes as f64 * (inside as f64 / whole)) as u64);
                }
            }
        }
    }
}

/// Under which names a stream's bytes count.
struct Naming<'a> {
    by: VolumeBy,
    /// None: all labels.
    labels: Option<Vec<&'a str>>,
}

impl<'a> Naming<'a> {
    fn new(request: &'a VolumeRequest) -> Self {
        let targets = request.targets.iter().map(String::as_str);
        let matched = request.matchers.iter().map(|matcher| matcher.name.as_str());
        let labels = if !request.targets.is_empty() {
            Some(targets.collect())
        } else if request.by == VolumeBy::Labels || request.matchers.is_empty() {
            None
        } else {
            Some(matched.collect())
        };
        Naming { by: request.by, labels }
    }

    fn counts(&self, name: &str) -> bool {
        self.labels.as_ref().is_none_or(|labels| labels.contains(&name))
    }

    fn add(&self, labels: &Labels, bytes: u64, named: &mut BTreeMap<String, (Labels, u64)>) {
        match self.by {
            VolumeBy::Series => {
                let series = Labels::from_pairs(labels.iter().filter(|(name, _)| self.counts(name)));
                named.entry(series.to_string()).or_insert((series, 0)).1 += bytes;
            }
            VolumeBy::Labels => {
                for (name, _) in labels.iter().filter(|(name, _)| self.counts(name)) {
                    let label = || (Labels::from_pairs_with_empty([(name, "")]), 0);
                    named.entry(name.to_owned()).or_insert_with(label).1 += bytes;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn steps_are_aligned_and_end_a_millisecond_before_the_next() {
        let check = |start: i64, end: i64, step: i64, expected: &[i64]| {
            let steps = VolumeSteps::new(UnixNanos(start * SECOND), UnixNanos(end * SECOND), step * SECOND);
            let stamps: Vec<i64> = (0..steps.count).map(|step| steps.stamp(step).0 / NANOS_PER_MILLI).collect();
            assert_eq!(stamps, expected, "{start} to {end} by {step}");
        };
        check(0, 60, 0, &[60_000]);
        check(5, 25, 10, &[9_999, 19_999, 25_000]);
        check(10, 30, 10, &[19_999, 30_000]);
        check(10, 10, 10, &[]);
        check(3, 4, 10, &[4_000]);
    }

    #[test]
    fn every_time_has_its_step() {
        let steps = VolumeSteps::new(UnixNanos(5), UnixNanos(25), 10);
        let check = |ts, expected| assert_eq!(steps.step_of(UnixNanos(ts)), expected, "{ts}");
        check(4, None);
        check(5, Some(0));
        check(9, Some(0));
        check(10, Some(1));
        check(25, Some(2));
        check(26, None);
        assert_eq!(steps.bounds(0), (UnixNanos(5), UnixNanos(9)));
        assert_eq!(steps.bounds(2), (UnixNanos(20), UnixNanos(25)));
    }

    #[test]
    fn names_follow_targets_then_matchers() {
        let labels = Labels::from_pairs([("env", "p"), ("service", "a"), ("zone", "1")]);
        let check = |by, targets: &[&str], matchers: &[&str], expected: &[&str]| {
            let matcher = |name: &&str| Matcher { name: (*name).to_owned(), op: MatchOp::Equal, value: "a".to_owned() };
            let request = VolumeRequest {
                scope: Scope::of_server(crate::types::ids::TenantId::single()),
                matchers: matchers.iter().map(matcher).collect(),
                start: UnixNanos(0),
                end: UnixNanos(1),
                step_ns: 0,
                targets: targets.iter().map(|target| (*target).to_owned()).collect(),
                by,
                limit: 10,
                series_max: 10,
            };
            let mut named = BTreeMap::new();
            Naming::new(&request).add(&labels, 7, &mut named);
            assert_eq!(named.keys().map(String::as_str).collect::<Vec<_>>(), expected, "{targets:?} {matchers:?}");
        };
        check(VolumeBy::Series, &[], &[], &[r#"{env="p", service="a", zone="1"}"#]);
        check(VolumeBy::Series, &[], &["service"], &[r#"{service="a"}"#]);
        check(VolumeBy::Series, &["zone"], &["service"], &[r#"{zone="1"}"#]);
        check(VolumeBy::Labels, &[], &["service"], &["env", "service", "zone"]);
        check(VolumeBy::Labels, &["env"], &["service"], &["env"]);
    }
}
