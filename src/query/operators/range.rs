//! Range aggregations: rows become panes, panes become one value a step for each series.
//!
//! ```text
//! scan partitions ─▶ pipeline ─▶ series by labels ─▶ RangeState ─┐
//!                              … one a partition …              ─┴─▶ merge ─▶ one batch, a row a series
//! ```
//!
//! Output: `labels` (JSON object) and `values` (a list with one entry a step, null where the window is empty).
//! Work per row does not depend on range or step.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Float64Builder, ListBuilder, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::StreamExt;
use tokio::task::JoinSet;

use crate::logql::ast::RangeOp;
use crate::query::matrix::{Bitmap, Series};
use crate::query::operators::known::{Fate, KnownRows};
use crate::query::operators::rows::{RowProgram, RowRunner, refused};
use crate::query::operators::series::SeriesTable;
use crate::query::panes::{RangeState, Windows};
use crate::query::row::Row;
use crate::types::labels::Labels;
use crate::types::rows::Rows;

/// Places up to which rows are counted by place before their fates are looked at.
const PLACES_COUNTED_MAX: usize = 1_024;

pub static SERIES_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("labels", DataType::Utf8, false),
        Field::new("values", DataType::List(Arc::new(Field::new("item", DataType::Float64, true))), false),
    ]))
});

/// What is aggregated, and over which windows.
#[derive(Debug, Clone)]
pub struct RangeSpec {
    pub op: RangeOp,
    pub param: Option<f64>,
    pub windows: Windows,
    /// Rows count by an unwrapped value, not by themselves.
    pub unwrapped: bool,
    /// Labels of the one series of `absent_over_time`.
    pub absent_labels: Option<Labels>,
    /// A series is a stream and nothing else decides: whole runs are counted without a look at their rows.
    pub by_stream_alone: bool,
}

/// Aggregates its input by series.
#[derive(Debug)]
pub struct RangeExec {
    input: Arc<dyn ExecutionPlan>,
    program: RowProgram,
    spec: RangeSpec,
    properties: Arc<PlanProperties>,
}

impl RangeExec {
    pub fn new(input: Arc<dyn ExecutionPlan>, program: RowProgram, spec: RangeSpec) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(SERIES_SCHEMA.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        RangeExec { input, program, spec, properties }
    }
}

impl DisplayAs for RangeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RangeExec: op={:?}, by_stream_alone={}, pipeline={}",
            self.spec.op, self.spec.by_stream_alone, self.program.text
        )
    }
}

impl ExecutionPlan for RangeExec {
    fn name(&self) -> &'static str {
        "RangeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|_| DataFusionError::Internal("RangeExec has one child".to_owned()))?;
        Ok(Arc::new(RangeExec::new(input, self.program.clone(), self.spec.clone())))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let mut inputs = Vec::new();
        for partition in 0..self.input.output_partitioning().partition_count() {
            inputs.push(self.input.execute(partition, context.clone())?);
        }
        let (program, spec) = (self.program.clone(), self.spec.clone());
        let merged = async move {
            let mut tasks = JoinSet::new();
            for input in inputs {
                let memory = MemoryConsumer::new("range aggregation").register(context.memory_pool());
                tasks.spawn(aggregate(input, program.clone(), spec.clone(), memory));
            }
            let mut all: Option<Partial> = None;
            while let Some(partial) = tasks.join_next().await {
                let partial = partial.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))??;
                match &mut all {
                    None => all = Some(partial),
                    Some(all) => all.merge(partial)?,
                }
            }
            all.map_or_else(|| Ok(RecordBatch::new_empty(SERIES_SCHEMA.clone())), |all| all.finish(&spec))
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(SERIES_SCHEMA.clone(), futures::stream::once(merged))))
    }
}

/// The series and panes of one partition.
struct Partial {
    series: SeriesTable,
    state: RangeState,
    memory: MemoryReservation,
    /// The first row by time that still has an error, and what to say of it.
    refused: Option<(i64, String)>,
}

impl Partial {
    fn merge(&mut self, other: Partial) -> DfResult<()> {
        if let Some((ts, text)) = other.refused {
            self.refuse(ts, || text);
        }
        let map = self.series.absorb(&other.series);
        self.state.merge(other.state, &map);
        self.memory.try_resize(self.state.bytes() + self.series.bytes())
    }

    /// Remembers an error, unless an earlier row has one.
    fn refuse(&mut self, ts: i64, text: impl FnOnce() -> String) {
        if self.refused.as_ref().is_none_or(|(known, _)| ts < *known) {
            self.refused = Some((ts, text()));
        }
    }

    fn finish(self, spec: &RangeSpec) -> DfResult<RecordBatch> {
        if let Some((_, text)) = self.refused {
            return Err(refused(text));
        }
        let mut labels = Vec::new();
        let mut values = ListBuilder::new(Float64Builder::new());
        for (series, numbers, present) in self.state.finish() {
            let of_series = spec.absent_labels.as_ref().unwrap_or_else(|| self.series.labels(series));
            labels.push(of_series.to_json());
            for (step, number) in numbers.into_iter().enumerate() {
                values.values().append_option(present.get(step).then_some(number));
            }
            values.append(true);
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(labels)), Arc::new(values.finish())];
        Ok(RecordBatch::try_new(SERIES_SCHEMA.clone(), columns)?)
    }
}

async fn aggregate(
    mut input: SendableRecordBatchStream,
    program: RowProgram,
    spec: RangeSpec,
    memory: MemoryReservation,
) -> DfResult<Partial> {
    let state = RangeState::new(spec.op, spec.param, &spec.windows, spec.unwrapped);
    let mut partial = Partial { series: SeriesTable::default(), state, memory, refused: None };
    let mut runner = RowRunner::new(program.clone());
    let mut by_stream: Vec<Option<u32>> = Vec::new();
    while let Some(batch) = input.next().await {
        // A batch is work for milliseconds: a query that nobody waits for any more ends here.
        tokio::task::yield_now().await;
        let batch = batch?;
        let rows = Rows::of(&batch);
        if spec.by_stream_alone && rows.metadata.is_none_or(|metadata| metadata.is_all_null()) {
            add_runs(&rows, &spec, &mut runner, &mut by_stream, &mut partial)?;
        } else {
            add_rows(&rows, &spec, &mut runner, &mut partial)?;
        }
        partial.memory.try_resize(partial.state.bytes() + partial.series.bytes())?;
    }
    Ok(partial)
}

fn add_rows(rows: &Rows<'_>, spec: &RangeSpec, runner: &mut RowRunner, partial: &mut Partial) -> DfResult<()> {
    if let Some(mut known) = KnownRows::of(rows, runner) {
        return known.add_rows(rows, spec, runner, partial);
    }
    runner.run(rows, 0..rows.len(), |row, mut kept| {
        if let Some(error) = kept.error() {
            partial.refuse(rows.ts[row], || pipeline_error(error, &kept.labels()));
            return Ok(());
        }
        let value = row_value(spec, &kept);
        partial.state.add(partial.series.of(&mut kept), rows.ts[row], value);
        Ok(())
    })
}

impl KnownRows<'_> {
    /// Rows whose line is a number: each class of streams, level and line goes through the pipeline once.
    fn add_rows(
        &mut self,
        rows: &Rows<'_>,
        spec: &RangeSpec,
        runner: &mut RowRunner,
        partial: &mut Partial,
    ) -> DfResult<()> {
        let mut counts = Vec::new();
        let mut start = 0;
        while start < rows.len() {
            let stream = rows.stream[start];
            let run = start..start + rows.stream[start..].iter().take_while(|other| **other == stream).count();
            start = run.end;
            let class = runner.class_of(stream);
            if partial.state.counts() && self.places() <= PLACES_COUNTED_MAX && rows.ts[run.clone()].is_sorted() {
                counts.resize(self.places(), 0);
                self.count_run(rows, run, class, &mut counts, spec, runner, partial)?;
                continue;
            }
            for row in run {
                if let Fate::Kept(series, value) = self.decide(rows, row, class, spec, runner, partial)? {
                    partial.state.add(series, rows.ts[row], value);
                }
            }
        }
        Ok(())
    }

    /// Counts the rows of one stream, in order of time: rows that are equal and in the same windows together.
    #[expect(clippy::too_many_arguments)]
    fn count_run(
        &mut self,
        rows: &Rows<'_>,
        run: Range<usize>,
        class: u32,
        counts: &mut [u32],
        spec: &RangeSpec,
        runner: &mut RowRunner,
        partial: &mut Partial,
    ) -> DfResult<()> {
        let mut start = run.start;
        while start < run.end {
            let (windows, together) = partial.state.together(&rows.ts[start..run.end]);
            let equal = start..start + together;
            start = equal.end;
            if together < counts.len() {
                for row in equal {
                    if let Fate::Kept(series, value) = self.decide(rows, row, class, spec, runner, partial)? {
                        partial.state.add_counted(series, windows, 1, value);
                    }
                }
                continue;
            }
            self.count(equal.clone(), counts);
            for (place, lines) in counts.iter_mut().enumerate().filter(|(_, lines)| **lines > 0) {
                let lines = std::mem::take(lines);
                let fate = match self.fate_at(place, class) {
                    Some(fate) => fate,
                    None => {
                        let Some(row) = equal.clone().find(|row| self.place(*row) == place) else { continue };
                        self.decide(rows, row, class, spec, runner, partial)?
                    }
                };
                if let Fate::Kept(series, value) = fate {
                    partial.state.add_counted(series, windows, i64::from(lines), value);
                }
            }
        }
        Ok(())
    }

    /// What becomes of a row.
    fn decide(
        &mut self,
        rows: &Rows<'_>,
        row: usize,
        class: u32,
        spec: &RangeSpec,
        runner: &mut RowRunner,
        partial: &mut Partial,
    ) -> DfResult<Fate> {
        if let Some(fate) = self.fate(row, class) {
            return Ok(fate);
        }
        let mut fate = Fate::Dropped;
        runner.run(rows, row..row + 1, |row, mut kept| {
            fate = match kept.error() {
                Some(error) => {
                    partial.refuse(rows.ts[row], || pipeline_error(error, &kept.labels()));
                    Fate::Refused
                }
                None => Fate::Kept(partial.series.of(&mut kept), row_value(spec, &kept)),
            };
            Ok(())
        })?;
        self.note(row, class, fate);
        Ok(fate)
    }
}

/// Runs of one stream are one series: found by its first row, then counted whole.
fn add_runs(
    rows: &Rows<'_>,
    spec: &RangeSpec,
    runner: &mut RowRunner,
    by_stream: &mut Vec<Option<u32>>,
    partial: &mut Partial,
) -> DfResult<()> {
    let mut start = 0;
    while start < rows.len() {
        let stream = rows.stream[start];
        let length = rows.stream[start..].iter().take_while(|other| **other == stream).count();
        let at = stream as usize;
        if by_stream.len() <= at {
            by_stream.resize(at + 1, None);
        }
        let series = match by_stream[at] {
            Some(series) => series,
            None => {
                let mut found = None;
                runner.run(rows, start..start + 1, |_, mut kept| {
                    found = Some(partial.series.of(&mut kept));
                    Ok(())
                })?;
                let Some(series) = found else {
                    start += length;
                    continue;
                };
                by_stream[at] = Some(series);
                series
            }
        };
        let run = start..start + length;
        match (spec.op, rows.line) {
            (RangeOp::BytesOverTime | RangeOp::BytesRate, Some(lines)) => {
                for row in run {
                    partial.state.add(series, rows.ts[row], f64::from(lines.bytes(row)));
                }
            }
            _ if rows.ts[run.clone()].is_sorted() => partial.state.add_sorted_run(series, &rows.ts[run]),
            _ => run.for_each(|row| partial.state.add(series, rows.ts[row], 1.0)),
        }
        start += length;
    }
    Ok(())
}

fn row_value(spec: &RangeSpec, row: &Row<'_>) -> f64 {
    match spec.op {
        _ if spec.unwrapped => row.value(),
        RangeOp::BytesOverTime | RangeOp::BytesRate => row.line().len() as f64,
        _ => 1.0,
    }
}

/// Source: Loki refuses a metric query of which a row still has `__error__`.
pub fn pipeline_error(error: &str, labels: &Labels) -> String {
    format!(
        "pipeline error: '{error}' for series: '{labels}'.\nUse a label filter to intentionally skip this error. (e.g | __error__!=\"{error}\").\nTo skip all potential errors you can match empty errors.(e.g __error__=\"\")\nThe label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n"
    )
}

/// The series of a finished [`RangeExec`].
pub fn series_of(batch: &RecordBatch) -> Result<Vec<Series>, String> {
    let labels = batch.column(0).as_string::<i32>();
    let lists = batch.column(1).as_list::<i32>();
    (0..batch.num_rows())
        .map(|row| {
            let numbers = lists.value(row);
            let numbers = numbers.as_primitive::<Float64Type>();
            let mut present = Bitmap::new(numbers.len());
            for step in (0..numbers.len()).filter(|step| numbers.is_valid(*step)) {
                present.set(step);
            }
            let labels = Labels::from_json(labels.value(row)).map_err(|e| e.to_string())?;
            Ok(Series { labels, values: numbers.values().to_vec(), present })
        })
        .collect()
}
