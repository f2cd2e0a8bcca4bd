//! Table function `logql('…', start, end, step, limit)`: the answer of a LogQL query, to join with SQL.
//!
//! | query | columns |
//! |---|---|
//! | logs | `timestamp`, `labels` of the stream, `line`, `fields` (map: metadata, and what the query parsed) |
//! | metric | `timestamp`, `labels`, `value` |
//!
//! `start` and `end` are times (default: the last hour), `step` a duration (`'1m'`; default as Loki chooses it), `limit`
//! the entries of a log query. `labels` is that of view `logs`: `labels['service']` reads one. Without a `step` and
//! with `start` equal to `end`, a metric query is asked for that instant.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Float64Builder, RecordBatch, StringDictionaryBuilder, StringViewBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, UInt32Type};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};

use super::label::labels_type;
use super::parsers::Maps;
use super::rows::TIMESTAMP;
use super::source::{SqlSource, external, wanted};
use crate::logql;
use crate::query::scan::ScanCounters;
use crate::query::{Direction, QueryAnswer, QueryKind, QueryRequest};
use crate::types::rows::metadata_type;
use crate::types::time::{NANOS_PER_SECOND, UnixNanos};
use crate::types::units::GoDuration;

const HOUR_NS: i64 = 3600 * NANOS_PER_SECOND;
/// Steps that Loki aims at when none is given.
const STEPS_DEFAULT: i64 = 250;
/// Steps of one answer, as over HTTP.
const STEPS_MAX: i64 = 11_000;
const ENTRIES_DEFAULT: usize = 1000;
const ENTRIES_MAX: usize = 1_000_000;

static LOG_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema([Field::new("line", DataType::Utf8View, false), Field::new("fields", metadata_type(), true)])
});
static METRIC_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema([Field::new("value", DataType::Float64, false)]));

fn schema(own: impl IntoIterator<Item = Field>) -> SchemaRef {
    let common = [
        Field::new(TIMESTAMP, DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), false),
        Field::new("labels", labels_type(), false),
    ];
    Arc::new(Schema::new(common.into_iter().chain(own).collect::<Vec<_>>()))
}

/// The function.
#[derive(Debug)]
pub(super) struct LogqlFunction {
    source: SqlSource,
}

impl LogqlFunction {
    pub(super) fn new(source: SqlSource) -> Self {
        LogqlFunction { source }
    }
}

impl TableFunctionImpl for LogqlFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> DfResult<Arc<dyn TableProvider>> {
        let plan = |text: String| DataFusionError::Plan(format!("logql: {text}"));
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_current_time().build());
        let mut values = Vec::new();
        for expr in args.exprs() {
            match simplifier.simplify(expr.clone())? {
                Expr::Literal(value, _) => values.push(value),
                other => return Err(plan(format!("{other} is no constant"))),
            }
        }
        let arguments = Arguments::read(&values, self.source.engine.now()).map_err(plan)?;
        let is_metric = match logql::parse(&arguments.text).map_err(|error| plan(error.to_string()))? {
            logql::ast::Expr::Log(_) => false,
            logql::ast::Expr::Metric(_) => true,
        };
        let request = QueryRequest {
            scope: self.source.scope.clone(),
            text: arguments.text,
            kind: arguments.kind,
            limit: arguments.limit,
            direction: Direction::Backward,
            categorize: true,
            splitting: None,
            series_max: 0,
            timeout: self.source.engine.timeout(),
        };
        Ok(Arc::new(LogqlTable { source: self.source.clone(), request, is_metric }))
    }
}

/// The arguments of a call.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    text: String,
    kind: QueryKind,
    limit: usize,
}

impl Arguments {
    fn read(values: &[ScalarValue], now: UnixNanos) -> Result<Self, String> {
        let text = values.first().and_then(|value| value.try_as_str().flatten());
        let text = text.ok_or("the first argument is a query, as text")?.to_owned();
        let end = values.get(2).map_or(Ok(now), |value| time(value, now))?;
        let start = values.get(1).map_or(Ok(end.saturating_sub(HOUR_NS)), |value| time(value, now))?;
        if end < start {
            return Err("the end is before the start".to_owned());
        }
        let step_ns = values.get(3).filter(|step| !step.is_null()).map(duration).transpose()?;
        let limit = match values.get(4) {
            None => ENTRIES_DEFAULT,
            Some(ScalarValue::Int64(Some(limit))) if (1..=ENTRIES_MAX as i64).contains(limit) => *limit as usize,
            Some(_) => return Err(format!("the fifth argument is a limit from 1 to {ENTRIES_MAX}")),
        };
        if values.len() > 5 {
            return Err("at most five arguments: query, start, end, step, limit".to_owned());
        }
        let is_instant = start == end && step_ns.is_none();
        let length_ns = end.0.saturating_sub(start.0);
        let step_ns =
            step_ns.unwrap_or_else(|| (length_ns / NANOS_PER_SECOND / STEPS_DEFAULT).max(1) * NANOS_PER_SECOND);
        if step_ns <= 0 || length_ns / step_ns > STEPS_MAX {
            return Err(format!("the step must be positive and leave at most {STEPS_MAX} steps"));
        }
        let range = QueryKind::Range { start, end, step_ns, interval_ns: 0 };
        let kind = if is_instant { QueryKind::Instant { time: end } } else { range };
        Ok(Arguments { text, kind, limit })
    }
}

/// A timestamp, a date, text of a time, or nanoseconds; null is now.
fn time(value: &ScalarValue, now: UnixNanos) -> Result<UnixNanos, String> {
    if value.is_null() {
        return Ok(now);
    }
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    match value.cast_to(&nanoseconds) {
        Ok(ScalarValue::TimestampNanosecond(Some(nanos), _)) => Ok(UnixNanos(nanos)),
        _ => Err(format!("{value} is no time")),
    }
}

/// `'1m'`, an interval, or seconds.
fn duration(value: &ScalarValue) -> Result<i64, String> {
    let wrong = || format!("{value} is no duration, such as '1m'");
    match value {
        ScalarValue::Int64(Some(seconds)) => seconds.checked_mul(NANOS_PER_SECOND).ok_or_else(wrong),
        ScalarValue::Float64(Some(seconds)) => Ok((seconds * NANOS_PER_SECOND as f64) as i64),
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            Ok(i64::from(interval.days) * 24 * HOUR_NS + interval.nanoseconds)
        }
        other => {
            let text = other.try_as_str().flatten().ok_or_else(wrong)?;
            text.parse().map(|duration: GoDuration| duration.0).map_err(|_| wrong())
        }
    }
}

/// The answer of one query, computed when the plan runs.
#[derive(Debug)]
struct LogqlTable {
    source: SqlSource,
    request: QueryRequest,
    is_metric: bool,
}

impl LogqlTable {
    fn full_schema(&self) -> &'static SchemaRef {
        if self.is_metric { &METRIC_SCHEMA } else { &LOG_SCHEMA }
    }
}

#[async_trait]
impl TableProvider for LogqlTable {
    fn schema(&self) -> SchemaRef {
        self.full_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let explained = self.source.engine.explain(self.request.clone()).await.map_err(external)?;
        let columns = wanted(self.full_schema(), projection);
        let schema = Arc::new(self.full_schema().project(&columns)?);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Ok(Arc::new(LogqlExec {
            source: self.source.clone(),
            counters: self.source.counters(),
            request: self.request.clone(),
            full_schema: self.full_schema(),
            columns,
            explained,
            properties,
        }))
    }
}

/// Asks the engine and hands out the answer as one batch.
#[derive(Debug)]
struct LogqlExec {
    source: SqlSource,
    counters: Arc<ScanCounters>,
    request: QueryRequest,
    full_schema: &'static SchemaRef,
    columns: Vec<usize>,
    /// The plan of the query, for `EXPLAIN`.
    explained: String,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for LogqlExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.explained.lines().map(str::trim).collect::<Vec<_>>().join(" <- ");
        write!(f, "LogqlExec: {} <- {plan}", self.request.text)
    }
}

impl ExecutionPlan for LogqlExec {
    fn name(&self) -> &'static str {
        "LogqlExec"
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
        vec![]
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let (source, request, full_schema) = (self.source.clone(), self.request.clone(), self.full_schema);
        let (columns, counters) = (self.columns.clone(), self.counters.clone());
        let asked = async move {
            let (answer, stats) = source.engine.query(request).await.map_err(external)?;
            counters.add(&stats);
            let batch = to_batch(&answer, full_schema)?;
            Ok(batch.project(&columns)?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures::stream::once(asked))))
    }
}

fn to_batch(answer: &QueryAnswer, schema: &SchemaRef) -> DfResult<RecordBatch> {
    let mut times = TimestampNanosecondBuilder::new().with_timezone("UTC");
    let mut labels = StringDictionaryBuilder::<UInt32Type>::new();
    let (mut lines, mut fields, mut values) = (StringViewBuilder::new(), Maps::default(), Float64Builder::new());
    match answer {
        QueryAnswer::Streams(streams) => {
            for stream in streams {
                let json = stream.labels.to_json();
                for entry in &stream.entries {
                    times.append_value(entry.ts.0);
                    labels.append_value(&json);
                    lines.append_value(&entry.line);
                    fields.append(entry.metadata.iter().chain(entry.parsed.iter()));
                }
            }
        }
        QueryAnswer::Matrix { steps, series } => {
            for one in series {
                let json = one.labels.to_json();
                for place in (0..steps.count).filter(|place| one.present.get(*place)) {
                    times.append_value(steps.at(place));
                    labels.append_value(&json);
                    values.append_value(one.values[place]);
                }
            }
        }
        QueryAnswer::Vector { time, samples } => {
            for (of_sample, value) in samples {
                times.append_value(time.0);
                labels.append_value(of_sample.to_json());
                values.append_value(*value);
            }
        }
        QueryAnswer::Scalar { time, value } => {
            times.append_value(time.0);
            labels.append_value("{}");
            values.append_value(*value);
        }
    }
    let is_logs = schema.field(2).name() == "line";
    let mut columns: Vec<ArrayRef> = vec![Arc::new(times.finish()), Arc::new(labels.finish())];
    if is_logs {
        columns.push(Arc::new(lines.finish()));
        columns.push(Arc::new(fields.finish()?));
    } else {
        columns.push(Arc::new(values.finish()));
    }
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos(7200 * NANOS_PER_SECOND);

    #[test]
    fn arguments_have_defaults_and_forms() {
        let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
        let range = |start_s: i64, end_s: i64, step_s: i64| QueryKind::Range {
            start: UnixNanos(start_s * NANOS_PER_SECOND),
            end: UnixNanos(end_s * NANOS_PER_SECOND),
            step_ns: step_s * NANOS_PER_SECOND,
            interval_ns: 0,
        };
        let check = |values: &[ScalarValue], expected: Result<QueryKind, &str>| {
            let got = Arguments::read(values, NOW).map(|arguments| arguments.kind);
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{values:?}"),
                (Err(got), Err(expected)) => assert!(got.contains(expected), "{values:?}: {got}"),
                (got, expected) => panic!("{values:?}: {got:?}, not {expected:?}"),
            }
        };
        let query = text("q");
        check(std::slice::from_ref(&query), Ok(range(3600, 7200, 14)));
        check(&[query.clone(), text("1970-01-01T01:00:00Z"), text("1970-01-01T01:30:00Z")], Ok(range(3600, 5400, 7)));
        check(&[query.clone(), text("1970-01-01"), ScalarValue::Null, text("1m")], Ok(range(0, 7200, 60)));
        let at = ScalarValue::TimestampNanosecond(Some(NANOS_PER_SECOND), Some("UTC".into()));
        check(&[query.clone(), at.clone(), at.clone()], Ok(QueryKind::Instant { time: UnixNanos(NANOS_PER_SECOND) }));
        check(&[query.clone(), at.clone(), at, ScalarValue::Int64(Some(5))], Ok(range(1, 1, 5)));
        check(&[ScalarValue::Int64(Some(1))], Err("a query, as text"));
        check(&[query.clone(), text("yesterday")], Err("no time"));
        check(&[query.clone(), ScalarValue::Null, text("1970-01-01")], Err("before the start"));
        check(&[query, text("1970-01-01"), ScalarValue::Null, text("1ms")], Err("at most 11000 steps"));
    }
}
