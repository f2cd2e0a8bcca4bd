//! View `logs`: what of a statement's filters prunes the scan.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::prune::{matchers, prunes, time_range};
use super::rows::{LOGS_VIEW_SCHEMA, LogsViewExec};
use super::source::{SqlSource, external, wanted};
use crate::logql::ast::LogExpr;
use crate::types::rows::{LEVEL, LINE, METADATA, RowProjection};

/// The rows that a scope shows.
#[derive(Debug)]
pub(super) struct LogsView {
    source: SqlSource,
}

impl LogsView {
    pub(super) fn new(source: SqlSource) -> Self {
        LogsView { source }
    }
}

#[async_trait]
impl TableProvider for LogsView {
    fn schema(&self) -> SchemaRef {
        LOGS_VIEW_SCHEMA.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| match prunes(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
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
        let log = LogExpr { matchers: matchers(filters), stages: Vec::new() };
        self.source.limits().check_matchers(&log.matchers).map_err(external)?;
        let columns = wanted(&LOGS_VIEW_SCHEMA, projection);
        let reads = |name: &str| columns.iter().any(|at| LOGS_VIEW_SCHEMA.field(*at).name() == name);
        let wanted = RowProjection { level: reads(LEVEL), line: reads(LINE), metadata: reads(METADATA) };
        let planner = self.source.planner();
        let scan = planner.rows(&log, time_range(filters), wanted).await.map_err(external)?;
        Ok(Arc::new(LogsViewExec::new(scan, columns, planner.streams())?))
    }
}
