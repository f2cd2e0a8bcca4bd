//! View `metrics`: samples as rows.
//!
//! | column | type |
//! |---|---|
//! | `timestamp` | nanoseconds, UTC |
//! | `metric` | text |
//! | `labels` | map of text to text, without the metric's name; with `__tenant_id__` when several tenants are asked |
//! | `value` | double |
//!
//! `metric = 'x'` and comparisons of `timestamp` narrow what is read. Stale markers are no rows.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Float64Builder, MapBuilder, MapFieldNames, RecordBatch, StringBuilder, StringDictionaryBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, UInt32Type};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt};

use super::seen::{is_seen, limited_view};
use super::store::Store;
use crate::access::{Scope, TENANT_LABEL};
use crate::promql::{Matcher, RawSeries, Selection, SeriesSource};
use crate::query::QueryError;
use crate::query::sql::{SqlSource, SqlViews};
use crate::types::ids::TenantId;
use crate::types::sample::{METRIC_NAME, SampleError, is_stale_marker};
use crate::types::time::NANOS_PER_MILLI;

const TIMESTAMP: &str = "timestamp";
const METRIC: &str = "metric";
/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// Farthest times in milliseconds whose nanoseconds are known.
const TIME_MS_MAX: i64 = i64::MAX / NANOS_PER_MILLI;

static METRICS_VIEW_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let entry = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)].into(),
    );
    let labels = DataType::Map(Arc::new(Field::new("key_value", entry, false)), false);
    Arc::new(Schema::new(vec![
        Field::new(TIMESTAMP, DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), false),
        Field::new(METRIC, DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8)), false),
        Field::new("labels", labels, false),
        Field::new("value", DataType::Float64, false),
    ]))
});

impl SqlViews for Store {
    fn register(&self, context: &SessionContext, source: &SqlSource) -> DfResult<()> {
        let view = MetricsView { store: self.clone(), scope: source.scope.clone() };
        context.register_table("metrics", Arc::new(view)).map(|_| ())
    }
}

/// The samples that a scope shows.
#[derive(Debug)]
struct MetricsView {
    store: Store,
    scope: Scope,
}

#[async_trait]
impl TableProvider for MetricsView {
    fn schema(&self) -> SchemaRef {
        METRICS_VIEW_SCHEMA.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        // Rows are compared again above: times are read to the millisecond.
        let of = |filter: &&Expr| match (metric_of(filter), time_bound(filter)) {
            (None, None) => TableProviderFilterPushDown::Unsupported,
            _ => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let mut selection = Selection { matchers: Vec::new(), start_ms: -TIME_MS_MAX, end_ms: TIME_MS_MAX };
        for filter in filters {
            selection.matchers.extend(metric_of(filter).map(|metric| Matcher::equal(METRIC_NAME, metric)));
            if let Some((least, most)) = time_bound(filter) {
                selection.start_ms = selection.start_ms.max(least);
                selection.end_ms = selection.end_ms.min(most);
            }
        }
        let part = |tenant: &TenantId| {
            let part = Part {
                store: self.store.clone(),
                scope: self.scope.clone(),
                tenant: tenant.clone(),
                selection: selection.clone(),
            };
            Arc::new(part) as Arc<dyn PartitionStream>
        };
        let parts = self.scope.tenants().map(part).collect();
        let plan = StreamingTableExec::try_new(
            METRICS_VIEW_SCHEMA.clone(),
            parts,
            projection,
            Vec::<datafusion::physical_expr::LexOrdering>::new(),
            false,
            None,
        )?;
        Ok(Arc::new(plan))
    }
}

/// The samples of one tenant.
#[derive(Debug)]
struct Part {
    store: Store,
    scope: Scope,
    tenant: TenantId,
    selection: Selection,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &METRICS_VIEW_SCHEMA
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (store, scope) = (self.store.clone(), self.scope.clone());
        let (tenant, selection) = (self.tenant.clone(), self.selection.clone());
        let batches = futures::stream::once(async move {
            let samples_max = store.samples_max();
            let mut series = store.select(&tenant, &selection, samples_max).await.map_err(failed)?;
            if let Some(view) = limited_view(&scope, &tenant) {
                series.retain(|one| is_seen(view, &one.labels));
            }
            let shown_tenant = scope.only_tenant().is_none().then_some(tenant);
            Ok::<_, DataFusionError>(futures::stream::iter(Batches { series, shown_tenant, at: (0, 0) }))
        });
        Box::pin(RecordBatchStreamAdapter::new(METRICS_VIEW_SCHEMA.clone(), batches.try_flatten().boxed()))
    }
}

fn failed(error: SampleError) -> DataFusionError {
    let error = match error {
        SampleError::Full(text) => QueryError::BadInput(format!(
            "the statement would read {text} of derived metrics; narrow it by metric or time"
        )),
        SampleError::BadQuery(text) => QueryError::BadInput(text),
        SampleError::Failed(text) => QueryError::Internal(text),
    };
    DataFusionError::External(Box::new(error))
}

/// Series cut into batches of rows.
struct Batches {
    series: Vec<RawSeries>,
    shown_tenant: Option<TenantId>,
    /// Series and sample that come next.
    at: (usize, usize),
}

impl Iterator for Batches {
    type Item = DfResult<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut times = TimestampNanosecondBuilder::with_capacity(BATCH_ROWS);
        let mut metrics = StringDictionaryBuilder::<UInt32Type>::new();
        let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
        let mut labels = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        let mut values = Float64Builder::with_capacity(BATCH_ROWS);
        let mut rows = 0;
        while rows < BATCH_ROWS {
            let Some(series) = self.series.get(self.at.0) else { break };
            let Some((time, value)) = series.times.get(self.at.1).zip(series.values.get(self.at.1)) else {
                self.at = (self.at.0 + 1, 0);
                continue;
            };
            self.at.1 += 1;
            if is_stale_marker(*value) {
                continue;
            }
            times.append_value(time.saturating_mul(NANOS_PER_MILLI));
            metrics.append_value(series.labels.get(METRIC_NAME).unwrap_or(""));
            let tenant = self.shown_tenant.as_ref().map(|tenant| (TENANT_LABEL, tenant.as_str()));
            for (name, value) in series.labels.iter().filter(|(name, _)| *name != METRIC_NAME).chain(tenant) {
                labels.keys().append_value(name);
                labels.values().append_value(value);
            }
            if let Err(error) = labels.append(true) {
                return Some(Err(error.into()));
            }
            values.append_value(*value);
            rows += 1;
        }
        if rows == 0 {
            return None;
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(times.finish().with_timezone("UTC")),
            Arc::new(metrics.finish()),
            Arc::new(labels.finish()),
            Arc::new(values.finish()),
        ];
        Some(RecordBatch::try_new(METRICS_VIEW_SCHEMA.clone(), columns).map_err(DataFusionError::from))
    }
}

/// The metric that `metric = 'x'` leaves.
fn metric_of(filter: &Expr) -> Option<String> {
    let (column, op, literal) = comparison(filter)?;
    (column == METRIC && op == Operator::Eq).then(|| text(literal))?
}

fn text(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Dictionary(_, inner) => text(inner),
        other => other.try_as_str().flatten().map(str::to_owned),
    }
}

/// Milliseconds, both inside, that hold every time which `timestamp op constant` leaves.
fn time_bound(filter: &Expr) -> Option<(i64, i64)> {
    let (column, op, literal) = comparison(filter)?;
    let ScalarValue::TimestampNanosecond(Some(nanos), _) = literal else { return None };
    let (least, most) = (nanos.div_euclid(NANOS_PER_MILLI), nanos.div_euclid(NANOS_PER_MILLI));
    match op {
        _ if column != TIMESTAMP => None,
        Operator::Eq => Some((least, most)),
        Operator::Gt | Operator::GtEq => Some((least, TIME_MS_MAX)),
        Operator::Lt | Operator::LtEq => Some((-TIME_MS_MAX, most)),
        _ => None,
    }
}

/// `column op constant`, turned around when it stands the other way.
fn comparison(filter: &Expr) -> Option<(&str, Operator, &ScalarValue)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
    match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(literal, _)) => Some((&column.name, *op, literal)),
        (Expr::Literal(literal, _), Expr::Column(column)) => Some((&column.name, op.swap()?, literal)),
        _ => None,
    }
}
