//! The tables of continuous views: recorded columns beside each other again, a row for each bin and keys.
//!
//! Comparisons of the bin with constants narrow what is read. Callers whose roles hide or mask lines have no such table:
//! its numbers are of all lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;

use super::translate::{Column, ContinuousView};
use crate::promql::{Matcher, Selection, SeriesSource};
use crate::query::sql::{SqlSource, SqlViews};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::{METRIC_NAME, is_stale_marker};
use crate::types::time::NANOS_PER_MILLI;

/// Samples that one scan may hold.
const SAMPLES_MAX: usize = 20_000_000;

/// All views, for SQL sessions.
pub struct ViewTables {
    views: Vec<(TenantId, Arc<ContinuousView>)>,
    samples: Arc<dyn SeriesSource>,
}

impl ViewTables {
    pub fn new(views: Vec<(TenantId, Arc<ContinuousView>)>, samples: Arc<dyn SeriesSource>) -> Self {
        ViewTables { views, samples }
    }
}

impl SqlViews for ViewTables {
    fn register(&self, context: &SessionContext, source: &SqlSource) -> DfResult<()> {
        let Some(tenant) = source.scope.only_tenant().filter(|_| source.scope.is_clear()) else { return Ok(()) };
        for (_, view) in self.views.iter().filter(|(owner, _)| owner == tenant) {
            let table = ViewTable::new(tenant.clone(), view.clone(), self.samples.clone());
            context.register_table(view.name.as_str(), Arc::new(table))?;
        }
        Ok(())
    }
}

struct ViewTable {
    tenant: TenantId,
    view: Arc<ContinuousView>,
    samples: Arc<dyn SeriesSource>,
    schema: SchemaRef,
}

impl std::fmt::Debug for ViewTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewTable").field("view", &self.view.name).finish_non_exhaustive()
    }
}

/// Values of one row, by aggregate.
type Row = Vec<Option<f64>>;

impl ViewTable {
    fn new(tenant: TenantId, view: Arc<ContinuousView>, samples: Arc<dyn SeriesSource>) -> Self {
        let fields: Vec<Field> = view
            .columns
            .iter()
            .map(|column| match column {
                Column::Bin { name } => {
                    Field::new(name, DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), false)
                }
                Column::Key { name, .. } => Field::new(name, DataType::Utf8, true),
                Column::Aggregate { name, .. } => Field::new(name, DataType::Float64, true),
            })
            .collect();
        ViewTable { tenant, view, samples, schema: Arc::new(Schema::new(fields)) }
    }

    fn metrics(&self) -> impl Iterator<Item = &str> {
        self.view.columns.iter().filter_map(|column| match column {
            Column::Aggregate { metric, .. } => Some(metric.as_str()),
            _ => None,
        })
    }

    /// Rows of bins that begin in `start_ns ..= end_ns`, by bin and keys.
    async fn rows(&self, start_ns: i64, end_ns: i64) -> DfResult<BTreeMap<(i64, Labels), Row>> {
        let bin_ms = self.view.bin_ns / NANOS_PER_MILLI;
        let to_end = |bin_ns: i64| bin_ns.div_euclid(NANOS_PER_MILLI).saturating_add(bin_ms);
        let count = self.metrics().count();
        let mut rows: BTreeMap<(i64, Labels), Row> = BTreeMap::new();
        for (at, metric) in self.metrics().enumerate() {
            let selection = Selection {
                matchers: vec![Matcher::equal(METRIC_NAME, metric)],
                start_ms: to_end(start_ns),
                end_ms: to_end(end_ns),
            };
            let series = self.samples.select(&self.tenant, &selection, SAMPLES_MAX).await;
            let series = series.map_err(|error| DataFusionError::External(Box::new(error)))?;
            for one in series {
                let keys = Labels::from_pairs(one.labels.iter().filter(|(name, _)| *name != METRIC_NAME));
                for (time_ms, value) in one.times.iter().zip(&one.values).filter(|(_, value)| !is_stale_marker(**value))
                {
                    let bin_ns = (time_ms - bin_ms).saturating_mul(NANOS_PER_MILLI);
                    rows.entry((bin_ns, keys.clone())).or_insert_with(|| vec![None; count])[at] = Some(*value);
                }
            }
        }
        Ok(rows)
    }

    fn batch(&self, rows: &BTreeMap<(i64, Labels), Row>) -> DfResult<RecordBatch> {
        let mut aggregate = 0;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.view.columns.len());
        for column in &self.view.columns {
            columns.push(match column {
                Column::Bin { .. } => {
                    let bins = TimestampNanosecondArray::from_iter_values(rows.keys().map(|(bin, _)| *bin));
                    Arc::new(bins.with_timezone("UTC"))
                }
                Column::Key { label, .. } => {
                    Arc::new(rows.keys().map(|(_, keys)| keys.get(label)).collect::<StringArray>())
                }
                Column::Aggregate { .. } => {
                    aggregate += 1;
                    Arc::new(rows.values().map(|row| row[aggregate - 1]).collect::<Float64Array>())
                }
            });
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    fn is_bin(&self, name: &str) -> bool {
        self.view.columns.iter().any(|column| matches!(column, Column::Bin { name: bin } if bin == name))
    }

    /// The bins that a filter leaves, inside both; `None` when it does not speak of them.
    fn bounds(&self, filter: &Expr) -> Option<(i64, i64)> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
        let (op, literal) = match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(literal, _)) if self.is_bin(&column.name) => (*op, literal),
            (Expr::Literal(literal, _), Expr::Column(column)) if self.is_bin(&column.name) => (op.swap()?, literal),
            _ => return None,
        };
        let ScalarValue::TimestampNanosecond(Some(at), _) = literal else { return None };
        match op {
            Operator::Eq => Some((*at, *at)),
            Operator::Gt | Operator::GtEq => Some((*at, i64::MAX)),
            Operator::Lt | Operator::LtEq => Some((i64::MIN, *at)),
            _ => None,
        }
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let narrows = |filter: &&Expr| match self.bounds(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(narrows).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let mut range = (i64::MIN, i64::MAX);
        for (start, end) in filters.iter().filter_map(|filter| self.bounds(filter)) {
            range = (range.0.max(start), range.1.min(end));
        }
        let rows = self.rows(range.0, range.1).await?;
        let table = MemTable::try_new(self.schema.clone(), vec![vec![self.batch(&rows)?]])?;
        table.scan(session, projection, &[], limit).await
    }
}
