//! View `patterns`: templates of lines with their counts, one row a minute that has any.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch, StringBuilder, TimestampNanosecondBuilder, UInt64Builder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::prune::time_range;
use super::rows::TIMESTAMP;
use super::source::{SqlSource, external};
use crate::logql::ast::{MatchOp, Matcher};
use crate::query::QueryError;
use crate::query::index;
use crate::query::patterns::{PatternsRequest, patterns};
use crate::types::time::{NANOS_PER_SECOND, TimeRange};

const SERVICE: &str = "service";
const SERVICE_NAME: &str = "service_name";
const STEP_NS: i64 = 60 * NANOS_PER_SECOND;
/// Rows of one answer: a day of hundreds of patterns.
const ROWS_MAX: usize = 1_000_000;

static PATTERNS_VIEW_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        // Start of the minute.
        Field::new(TIMESTAMP, DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), false),
        Field::new(SERVICE, DataType::Utf8, false),
        Field::new("level", DataType::Utf8, false),
        Field::new("pattern", DataType::Utf8, false),
        Field::new("lines", DataType::UInt64, false),
    ]))
});

/// The patterns of what a scope shows.
#[derive(Debug)]
pub(super) struct PatternsView {
    source: SqlSource,
}

impl PatternsView {
    pub(super) fn new(source: SqlSource) -> Self {
        PatternsView { source }
    }

    /// Patterns are mined service by service: lines of one are alike.
    async fn read(&self, range: TimeRange, only: Option<&str>) -> Result<RecordBatch, QueryError> {
        let planner = self.source.planner();
        let streams = index::streams(&planner.catalog, &planner.indexes, &planner.visible, range, &[]).await?;
        let services: BTreeSet<String> = streams
            .iter()
            .map(|labels| labels.get(SERVICE_NAME).unwrap_or("").to_owned())
            .filter(|service| only.is_none_or(|only| service == only))
            .collect();
        let mut times = TimestampNanosecondBuilder::new().with_timezone("UTC");
        let [mut names, mut levels, mut texts] = [(); 3].map(|()| StringBuilder::new());
        let mut counts = UInt64Builder::new();
        for service in services {
            let matcher = Matcher { name: SERVICE_NAME.to_owned(), op: MatchOp::Equal, value: service.clone() };
            let request = PatternsRequest {
                scope: self.source.scope.clone(),
                matchers: vec![matcher],
                start: range.start,
                end: range.end,
                step_ns: STEP_NS,
            };
            for pattern in patterns(&planner.catalog, &planner.indexes, &request).await? {
                for (second, lines) in &pattern.samples {
                    times.append_value(second.saturating_mul(NANOS_PER_SECOND));
                    names.append_value(&service);
                    levels.append_value(&pattern.level);
                    texts.append_value(&pattern.text);
                    counts.append_value(*lines);
                }
            }
            if counts.values_slice().len() > ROWS_MAX {
                return Err(QueryError::BadInput(format!(
                    "patterns: more than {ROWS_MAX} rows; narrow timestamp, or name a service"
                )));
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(times.finish()),
            Arc::new(names.finish()),
            Arc::new(levels.finish()),
            Arc::new(texts.finish()),
            Arc::new(counts.finish()),
        ];
        RecordBatch::try_new(PATTERNS_VIEW_SCHEMA.clone(), columns)
            .map_err(|error| QueryError::Internal(error.to_string()))
    }
}

#[async_trait]
impl TableProvider for PatternsView {
    fn schema(&self) -> SchemaRef {
        PATTERNS_VIEW_SCHEMA.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        // All are compared again above; times and services are looked at to read less.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let range = time_range(filters);
        let only = filters.iter().find_map(service_of);
        let batch = self.read(whole_minutes(range), only.as_deref()).await.map_err(external)?;
        let table = MemTable::try_new(PATTERNS_VIEW_SCHEMA.clone(), vec![vec![batch]])?;
        table.scan(session, projection, &[], limit).await
    }
}

/// A minute is counted whole or not at all: rows say when it begins.
fn whole_minutes(range: TimeRange) -> TimeRange {
    let floor = |at: i64| at.div_euclid(STEP_NS).saturating_mul(STEP_NS);
    let (start, end) = (range.start.0, range.end.0);
    let end = if end == i64::MAX { end } else { floor(end.saturating_sub(1)).saturating_add(STEP_NS) };
    let start = if start == i64::MIN { start } else { floor(start) };
    TimeRange::new(crate::types::time::UnixNanos(start), crate::types::time::UnixNanos(end))
}

/// `service = 'x'`.
fn service_of(filter: &Expr) -> Option<String> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
    match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column))
            if column.name == SERVICE =>
        {
            ScalarValue::try_as_str(value).flatten().map(str::to_owned)
        }
        _ => None,
    }
}
