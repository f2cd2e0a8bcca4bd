//! The scan: rows of chosen streams in a time range, from the head and from files, each exactly once.
//!
//! ```text
//! Snapshot ─ indexes ─▶ units (head part | row group, rows chosen) ─ dealt to partitions ─▶ batches of rows
//! ```
//!
//! With a direction, rows come from the end that is asked for, a slice of time at a time over all units of a partition
//! (`in_time`), and a [`TimeBound`] that the consumer tightens makes the rest fall away: `limit 100` backward reads the
//! newest rows alone.

mod candidates;
mod in_time;
mod reader;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::stream::{self, StreamExt, TryStreamExt};

use in_time::InTime;
use reader::UnitReader;

use crate::catalog::{Hide, Snapshot};
use crate::files::select::{Selected, select};
use crate::files::{DataFile, FileIndex, FileIndexes, FilesError};
use crate::head::HeadPart;
use crate::query::hiding::relevant;
use crate::query::limits::QueryLimits;
use crate::query::pushdown::Pushdown;
use crate::query::visible::ChosenPart;
use crate::query::{Direction, QueryStats};
use crate::types::rows::RowProjection;
use crate::types::time::{TimeRange, UnixNanos};

/// Rows of the head in one unit, so that all partitions share a large head.
const HEAD_UNIT_ROWS: usize = 65_536;

/// A part of the scan that one partition reads.
#[derive(Debug, Clone)]
pub struct ScanUnit {
    /// Whose rows they are: a place in [`ScanRequest::parts`].
    part: usize,
    place: UnitPlace,
    /// What is deleted of its rows.
    hides: Vec<Arc<Hide>>,
}

#[derive(Debug, Clone)]
enum UnitPlace {
    Head(Arc<HeadPart>),
    RowGroup(RowGroup),
}

/// Rows of one row group of a file.
#[derive(Debug, Clone)]
struct RowGroup {
    file: Arc<DataFile>,
    index: Arc<FileIndex>,
    selected: Selected,
}

impl RowGroup {
    /// Whether every line was taken apart into columns.
    fn is_split(&self) -> bool {
        self.index.fields.as_ref().is_some_and(|fields| fields.is_split(self.selected.row_group))
    }
}

/// What to read.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    pub range: TimeRange,
    /// The streams to read, by tenant.
    pub parts: Arc<[ChosenPart]>,
    pub projection: RowProjection,
    /// Order of the rows by time, about; `None` when it does not matter.
    pub direction: Option<Direction>,
    /// Rows that may be enough, when there is an order.
    pub enough_rows: usize,
    /// Times beyond which rows are of no use any more.
    pub bound: Option<Arc<TimeBound>>,
    /// What may be left out.
    pub pushdown: Arc<Pushdown>,
}

/// A moving end of the useful time range, tightened by whoever keeps the best `limit` entries.
#[derive(Debug)]
pub struct TimeBound {
    direction: Direction,
    nanos: AtomicI64,
}

/// Counters of one query, shared by its scans.
#[derive(Debug, Default)]
pub struct ScanCounters {
    pub lines: AtomicU64,
    pub bytes: AtomicU64,
    pub files: AtomicU64,
    pub row_groups_read: AtomicU64,
    pub row_groups_skipped: AtomicU64,
    /// Bytes that may be read; 0: no limit.
    pub bytes_max: u64,
}

/// The leaf of every plan.
#[derive(Debug)]
pub struct ScanExec {
    request: ScanRequest,
    units: Vec<Vec<ScanUnit>>,
    indexes: FileIndexes,
    counters: Arc<ScanCounters>,
    properties: Arc<PlanProperties>,
}

impl ScanCounters {
    /// Counts bytes of lines.
    ///
    /// # Errors
    /// When they are more than may be read.
    fn read_bytes(&self, bytes: u64) -> DfResult<()> {
        let all = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.bytes_max == 0 || all <= self.bytes_max {
            return Ok(());
        }
        let limits = QueryLimits { bytes_max: self.bytes_max, ..QueryLimits::default() };
        limits.check_bytes(all).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// Adds what a query inside another one read.
    pub fn add(&self, stats: &QueryStats) {
        self.lines.fetch_add(stats.lines_processed, Ordering::Relaxed);
        self.bytes.fetch_add(stats.bytes_processed, Ordering::Relaxed);
        self.files.fetch_add(stats.files_read, Ordering::Relaxed);
        self.row_groups_read.fetch_add(stats.row_groups_read, Ordering::Relaxed);
        self.row_groups_skipped.fetch_add(stats.row_groups_skipped, Ordering::Relaxed);
    }
}

impl TimeBound {
    pub fn new(direction: Direction) -> Self {
        let nanos = match direction {
            Direction::Forward => i64::MAX,
            Direction::Backward => i64::MIN,
        };
        TimeBound { direction, nanos: AtomicI64::new(nanos) }
    }

    /// Rows strictly beyond `at` are of no use from now on; ties at `at` still are.
    pub fn tighten(&self, at: i64) {
        match self.direction {
            Direction::Forward => self.nanos.fetch_min(at, Ordering::Relaxed),
            Direction::Backward => self.nanos.fetch_max(at, Ordering::Relaxed),
        };
    }

    fn excludes_all(&self, min: UnixNanos, max: UnixNanos) -> bool {
        let at = self.nanos.load(Ordering::Relaxed);
        match self.direction {
            Direction::Forward => min.0 > at,
            Direction::Backward => max.0 < at,
        }
    }

    fn narrow(&self, range: TimeRange) -> TimeRange {
        let at = self.nanos.load(Ordering::Relaxed);
        match self.direction {
            Direction::Forward => TimeRange { end: range.end.min(UnixNanos(at.saturating_add(1))), ..range },
            Direction::Backward => TimeRange { start: range.start.max(UnixNanos(at)), ..range },
        }
    }
}

impl ScanUnit {
    fn bounds(&self) -> (UnixNanos, UnixNanos) {
        match &self.place {
            UnitPlace::Head(part) => part.bounds(),
            UnitPlace::RowGroup(group) => (group.selected.ts_min, group.selected.ts_max),
        }
    }
}

/// Indexes of all files of a snapshot, in their order.
pub async fn load_indexes(snapshot: &Snapshot, indexes: &FileIndexes) -> Result<Vec<Arc<FileIndex>>, FilesError> {
    stream::iter(snapshot.files.iter().cloned())
        .map(|file| async move { indexes.get(&file).await })
        .buffered(16)
        .try_collect()
        .await
}

/// The units that can hold rows of the request. `snapshots` are one a part of the request, in their order, each with
/// the indexes of its files, in their order.
pub fn units_of(
    snapshots: &[(Snapshot, Vec<Arc<FileIndex>>)],
    request: &ScanRequest,
    counters: &ScanCounters,
) -> Vec<ScanUnit> {
    let mut units = Vec::new();
    for (part, ((snapshot, indexes), chosen)) in snapshots.iter().zip(request.parts.iter()).enumerate() {
        for head in &snapshot.parts {
            if head.streams().iter().any(|stream| chosen.streams.contains(*stream)) {
                let (ts_min, ts_max) = head.bounds();
                let hides = relevant(&snapshot.hides, head.seq(), ts_min, ts_max);
                units.push(ScanUnit { part, place: UnitPlace::Head(head.clone()), hides });
            }
        }
        for (file, index) in snapshot.files.iter().zip(indexes) {
            let selected = select(index, |stream| chosen.streams.contains(stream), request.range);
            let groups = index.parquet.metadata().num_row_groups();
            if !chosen.hides {
                counters.row_groups_skipped.fetch_add((groups - selected.len()) as u64, Ordering::Relaxed);
            }
            if !selected.is_empty() {
                counters.files.fetch_add(1, Ordering::Relaxed);
            }
            units.extend(selected.into_iter().map(|selected| {
                let hides = relevant(&snapshot.hides, file.seq, selected.ts_min, selected.ts_max);
                let place = UnitPlace::RowGroup(RowGroup { file: file.clone(), index: index.clone(), selected });
                ScanUnit { part, place, hides }
            }));
        }
    }
    // Neighbours in time go to different partitions.
    match request.direction {
        Some(Direction::Backward) => units.sort_by_key(|unit| std::cmp::Reverse(unit.bounds().1)),
        Some(Direction::Forward) => units.sort_by_key(|unit| unit.bounds().0),
        None => {}
    }
    units
}

impl ScanExec {
    /// Deals `units` to `partitions` in turn, keeping their order.
    pub fn new(
        request: ScanRequest,
        units: Vec<ScanUnit>,
        partitions: usize,
        indexes: FileIndexes,
        counters: Arc<ScanCounters>,
    ) -> Self {
        let partitions = partitions.clamp(1, units.len().max(1));
        let mut dealt: Vec<Vec<ScanUnit>> = vec![Vec::new(); partitions];
        for (at, unit) in units.into_iter().enumerate() {
            dealt[at % partitions].push(unit);
        }
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(request.projection.schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        ScanExec { request, units: dealt, indexes, counters, properties }
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.units.iter().flatten();
        let head = units.clone().filter(|unit| matches!(unit.place, UnitPlace::Head(_))).count();
        let groups = units.clone().count() - head;
        let rows: usize = units
            .map(|unit| match &unit.place {
                UnitPlace::Head(part) => part.rows().num_rows(),
                UnitPlace::RowGroup(group) => group.selected.rows(),
            })
            .sum();
        write!(
            f,
            "ScanExec: range=[{}, {}), streams={}, head_parts={head}, row_groups={groups}, row_groups_skipped={}, rows<={rows}",
            self.request.range.start.0,
            self.request.range.end.0,
            self.request.parts.iter().map(|part| part.streams.len()).sum::<usize>(),
            self.counters.row_groups_skipped.load(Ordering::Relaxed),
        )?;
        let columns: Vec<_> = self.schema().fields().iter().map(|field| field.name().clone()).collect();
        write!(f, ", columns=[{}]", columns.join(", "))?;
        match self.request.direction {
            Some(direction) => write!(f, ", newest_first={}", direction == Direction::Backward),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn schema(&self) -> SchemaRef {
        self.request.projection.schema()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let reading = UnitReader {
            request: self.request.clone(),
            indexes: self.indexes.clone(),
            counters: self.counters.clone(),
        };
        let units = self.units[partition].clone();
        let batches = match self.request.direction {
            Some(direction) => InTime::new(reading, units, direction).batches(),
            None => stream::iter(units).flat_map(move |unit| reading.clone().read(unit)).boxed(),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// An error of files inside DataFusion.
pub fn external(error: FilesError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
