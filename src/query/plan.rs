//! From a syntax tree to execution plans: which rows to scan, and what to make of them.
//!
//! ```text
//! log query     EntriesExec ◀─ ScanExec(newest first, bounded)
//! metric query  one RangeExec ◀─ ScanExec for each range aggregation; what is above them is matrix::evaluate
//! ```
//!
//! `sum by (…)` over a count, a rate or a sum is grouped in the range aggregation already: the series of the
//! answer are made, not those that the sum would throw away.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;

use crate::access::Scope;
use crate::catalog::{Catalog, Snapshot};
use crate::files::FileIndexes;
use crate::logql::ast::{Expr, Grouping, LogExpr, MetricExpr, RangeAggregation, RangeOp, Stage, VectorOp};
use crate::logql::{print, print_stage};
use crate::query::matchers::Selector;
use crate::query::matrix::Steps;
use crate::query::operators::entries::EntriesExec;
use crate::query::operators::range::{RangeExec, RangeSpec};
use crate::query::operators::rows::{DETECTED_LEVEL, RowProgram};
use crate::query::panes::{Windows, absent_labels};
use crate::query::pushdown::Pushdown;
use crate::query::row::{Output, RowPipeline};
use crate::query::scan::{ScanCounters, ScanExec, ScanRequest, TimeBound, load_indexes, units_of};
use crate::query::tail::{TailProgram, TailView};
use crate::query::visible::VisibleStreams;
use crate::query::{Direction, QueryError};
use crate::streams::TenantStreams;
use crate::types::labels::Labels;
use crate::types::rows::RowProjection;
use crate::types::time::TimeRange;

/// What plans are made with, for one query.
#[derive(Debug, Clone)]
pub struct Planner {
    pub scope: Scope,
    /// The streams that the scope shows.
    pub visible: VisibleStreams,
    pub catalog: Arc<Catalog>,
    pub indexes: FileIndexes,
    pub partitions: usize,
    pub counters: Arc<ScanCounters>,
    pub now_ns: i64,
}

/// What a scan is to give.
struct ScanWanted {
    columns: RowProjection,
    direction: Option<Direction>,
    bound: Option<Arc<TimeBound>>,
    enough_rows: usize,
    pushdown: Pushdown,
}

impl ScanWanted {
    /// All rows, in no order.
    fn columns(columns: RowProjection) -> Self {
        ScanWanted { columns, direction: None, bound: None, enough_rows: usize::MAX, pushdown: Pushdown::default() }
    }
}

/// A range aggregation of a query, and the grouping that may be applied to its rows at once.
#[derive(Debug, Clone)]
pub struct Leaf<'a> {
    pub range: &'a RangeAggregation,
    pub grouping: Option<Grouping>,
}

impl Leaf<'_> {
    /// What is computed, normalised: leaves with the same text have the same series.
    pub fn text(&self) -> String {
        let range = print(&Expr::Metric(MetricExpr::Range(self.range.clone())));
        match &self.grouping {
            Some(grouping) => {
                format!("{range} {} {:?}", if grouping.without { "without" } else { "by" }, grouping.labels)
            }
            None => range,
        }
    }
}

/// The range aggregations of a metric query, left to right.
pub fn leaves(expr: &MetricExpr) -> Vec<Leaf<'_>> {
    let mut found = Vec::new();
    collect(expr, None, &mut found);
    found
}

fn collect<'a>(expr: &'a MetricExpr, outer: Option<Grouping>, found: &mut Vec<Leaf<'a>>) {
    match expr {
        MetricExpr::Range(range) => {
            let grouping = if range.grouping.is_some() { range.grouping.clone() } else { outer };
            found.push(Leaf { range, grouping });
        }
        MetricExpr::Vector(aggregation) => {
            let pushed = match (&*aggregation.inner, aggregation.op) {
                (MetricExpr::Range(range), VectorOp::Sum) if sums_of_parts(range) => {
                    Some(aggregation.grouping.clone().unwrap_or(Grouping { without: false, labels: Vec::new() }))
                }
                _ => None,
            };
            collect(&aggregation.inner, pushed, found);
        }
        MetricExpr::Binary(binary) => {
            collect(&binary.left, None, found);
            collect(&binary.right, None, found);
        }
        MetricExpr::LabelReplace { inner, .. } => collect(inner, None, found),
        MetricExpr::Number(_) | MetricExpr::VectorLiteral(_) => {}
    }
}

/// Whether the sum over series equals the aggregation over all their rows together.
fn sums_of_parts(range: &RangeAggregation) -> bool {
    range.grouping.is_none() && is_sum_of_parts(range.op)
}

fn is_sum_of_parts(op: RangeOp) -> bool {
    matches!(
        op,
        RangeOp::CountOverTime | RangeOp::Rate | RangeOp::BytesOverTime | RangeOp::BytesRate | RangeOp::SumOverTime
    )
}

impl Planner {
    /// The entries of a log query.
    pub async fn log_query(
        &self,
        log: &LogExpr,
        range: TimeRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        let program = self.program(log, Output::Log)?;
        let bound = Arc::new(TimeBound::new(direction));
        let pushdown = Pushdown::of(log, &program, false);
        let columns = ScanWanted::columns(RowProjection::ALL);
        let bounded = ScanWanted { direction: Some(direction), bound: Some(bound.clone()), ..columns };
        let wanted = ScanWanted { enough_rows: limit, pushdown, ..bounded };
        let scan = self.scan(log, range, wanted).await?;
        Ok(Arc::new(EntriesExec::new(scan, program, limit, direction, Some(bound))))
    }

    /// The times alone of the rows that a selector chooses.
    pub async fn times(
        &self,
        log: &LogExpr,
        range: TimeRange,
        direction: Direction,
        bound: Arc<TimeBound>,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        let columns = ScanWanted::columns(RowProjection::default());
        let wanted = ScanWanted { direction: Some(direction), bound: Some(bound), ..columns };
        self.scan(log, range, wanted).await
    }

    /// All rows that a selector chooses, in no order.
    pub async fn rows(
        &self,
        log: &LogExpr,
        range: TimeRange,
        projection: RowProjection,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        self.scan(log, range, ScanWanted::columns(projection)).await
    }

    /// The streams that the scope shows, by the refs that scans give.
    pub fn streams(&self) -> Arc<TenantStreams> {
        self.visible.streams().clone()
    }

    /// A log query over rows as they arrive.
    pub fn tail(&self, log: &LogExpr, categorize: bool) -> Result<TailProgram, QueryError> {
        let program = self.program(log, Output::Log)?;
        let selector = Selector::compile(&log.matchers)?;
        let view = TailView::new(self.scope.clone(), self.visible.clone(), self.catalog.streams().clone());
        Ok(TailProgram::new(program, selector, view, categorize))
    }

    /// The series of one range aggregation over the steps of the query.
    pub async fn range_query(&self, leaf: &Leaf<'_>, steps: &Steps) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        let range = leaf.range;
        let LeafProgram { program, unwrapped, absent_labels, by_stream_alone, projection } =
            leaf_program(leaf, self.streams(), self.now_ns)?;
        let windows = Windows { steps: *steps, range_ns: range.range_ns, offset_ns: range.offset_ns };
        let pushdown = Pushdown::of(&range.log, &program, counts_bytes(range.op));
        let wanted = ScanWanted { pushdown, ..ScanWanted::columns(projection) };
        let scan = self.scan(&range.log, windows.scanned_range(), wanted).await?;
        let spec = RangeSpec { op: range.op, param: range.param, windows, unwrapped, absent_labels, by_stream_alone };
        Ok(Arc::new(RangeExec::new(scan, program, spec)))
    }

    fn program(&self, log: &LogExpr, output: Output<'_>) -> Result<RowProgram, QueryError> {
        program(log, output, self.streams(), self.now_ns)
    }

    async fn scan(
        &self,
        log: &LogExpr,
        range: TimeRange,
        wanted: ScanWanted,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        let tenants = self.scope.tenants();
        let snapshots = tenants.map(|tenant| self.catalog.snapshot(tenant, range)).collect();
        self.scan_of(snapshots, log, range, wanted).await
    }

    /// Rows that a selector chooses, of a snapshot of the scope's one tenant taken for this range or a wider one.
    pub async fn rows_of(
        &self,
        snapshot: Snapshot,
        log: &LogExpr,
        range: TimeRange,
        projection: RowProjection,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        self.scan_of(vec![snapshot], log, range, ScanWanted::columns(projection)).await
    }

    /// `snapshots` are one a tenant of the scope, in its order.
    async fn scan_of(
        &self,
        snapshots: Vec<Snapshot>,
        log: &LogExpr,
        range: TimeRange,
        wanted: ScanWanted,
    ) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        let selector = Selector::compile(&log.matchers)?;
        let mut indexed = Vec::with_capacity(snapshots.len());
        for snapshot in snapshots {
            let indexes = load_indexes(&snapshot, &self.indexes).await?;
            indexed.push((snapshot, indexes));
        }
        let parts = self.visible.choose(&selector);
        let ScanWanted { columns: projection, direction, bound, enough_rows, pushdown } = wanted;
        let pushdown = Arc::new(pushdown.for_parts(&parts, &self.streams()));
        let request = ScanRequest { range, parts, projection, direction, enough_rows, bound, pushdown };
        let units = units_of(&indexed, &request, &self.counters);
        Ok(Arc::new(ScanExec::new(request, units, self.partitions, self.indexes.clone(), self.counters.clone())))
    }
}

/// The pipeline of a range aggregation without each `line_format` whose line nothing reads: no later parser, no later
/// line filter, no count of bytes. Source: Loki leaves them out too, and with them the errors they would make.
fn without_idle_line_formats(range: &RangeAggregation) -> Cow<'_, LogExpr> {
    if matches!(range.op, RangeOp::BytesOverTime | RangeOp::BytesRate) {
        return Cow::Borrowed(&range.log);
    }
    let reads_line = |stage: &Stage| {
        matches!(
            stage,
            Stage::LineFilter(_)
                | Stage::Json { .. }
                | Stage::Logfmt { .. }
                | Stage::Regexp { .. }
                | Stage::Pattern { .. }
                | Stage::Unpack
        )
    };
    let stages = &range.log.stages;
    let needed = stages.iter().rposition(reads_line).map_or(0, |last| last + 1);
    let is_idle = |at: usize, stage: &Stage| at >= needed && matches!(stage, Stage::LineFormat { .. });
    if !stages.iter().enumerate().any(|(at, stage)| is_idle(at, stage)) {
        return Cow::Borrowed(&range.log);
    }
    let kept = stages.iter().enumerate().filter(|(at, stage)| !is_idle(*at, stage)).map(|(_, stage)| stage.clone());
    Cow::Owned(LogExpr { stages: kept.collect(), ..range.log.clone() })
}

/// How the rows of one range aggregation become samples, wherever they come from.
#[derive(Debug, Clone)]
pub struct LeafProgram {
    pub program: RowProgram,
    /// Values are not 1 or whole bytes.
    pub unwrapped: bool,
    /// Labels of the one series of `absent_over_time`.
    pub absent_labels: Option<Labels>,
    /// A series is a stream and nothing else decides.
    pub by_stream_alone: bool,
    /// Columns that are read.
    pub projection: RowProjection,
}

/// Compiles one range aggregation.
pub fn leaf_program(leaf: &Leaf<'_>, streams: Arc<TenantStreams>, now_ns: i64) -> Result<LeafProgram, QueryError> {
    let range = leaf.range;
    let absent = range.op == RangeOp::AbsentOverTime;
    let merges = is_sum_of_parts(range.op)
        || matches!(range.op, RangeOp::AvgOverTime | RangeOp::MinOverTime | RangeOp::MaxOverTime);
    let output = Output::Metric { grouping: leaf.grouping.as_ref(), absent, merges };
    let by_stream_alone = range.log.stages.is_empty() && leaf.grouping.as_ref().is_some_and(never_reads_level);
    let program = program(&without_idle_line_formats(range), output, streams, now_ns)?;
    let level = !by_stream_alone && program.pipeline.sees_level(DETECTED_LEVEL);
    Ok(LeafProgram {
        program,
        unwrapped: range.log.stages.iter().any(|stage| matches!(stage, Stage::Unwrap { .. })),
        absent_labels: absent.then(|| absent_labels(&range.log.matchers)),
        by_stream_alone,
        projection: RowProjection {
            level,
            line: counts_bytes(range.op) || !range.log.stages.is_empty(),
            metadata: true,
        },
    })
}

fn program(
    log: &LogExpr,
    output: Output<'_>,
    streams: Arc<TenantStreams>,
    now_ns: i64,
) -> Result<RowProgram, QueryError> {
    let pipeline = RowPipeline::compile(&log.stages, output).map_err(|error| {
        let stage = error.stage.and_then(|at| log.stages.get(at)).map(print_stage);
        QueryError::BadInput(match stage {
            Some(stage) => format!("parse error : stage '{stage}' : {error}"),
            None => format!("parse error : {error}"),
        })
    })?;
    let text = print(&Expr::Log(log.clone())).into();
    Ok(RowProgram { pipeline: Arc::new(pipeline), streams, now_ns, text })
}

fn counts_bytes(op: RangeOp) -> bool {
    matches!(op, RangeOp::BytesOverTime | RangeOp::BytesRate)
}

fn never_reads_level(grouping: &Grouping) -> bool {
    !grouping.without && !grouping.labels.iter().any(|label| label == DETECTED_LEVEL)
}
