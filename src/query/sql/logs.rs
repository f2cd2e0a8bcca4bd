//! View `logs`: what of a statement's filters prunes the scan.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::label::LABEL;
use super::rows::{LOGS_VIEW_SCHEMA, LogsViewExec, TIMESTAMP};
use crate::logql::ast::{LogExpr, MatchOp, Matcher};
use crate::query::plan::Planner;
use crate::types::rows::{LEVEL, LINE, METADATA, RowProjection};
use crate::types::time::{TimeRange, UnixNanos};

/// The rows of one tenant.
#[derive(Debug)]
pub(super) struct LogsView {
    planner: Planner,
}

impl LogsView {
    pub(super) fn new(planner: Planner) -> Self {
        LogsView { planner }
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
        // Rows are compared again above: a file is chosen by bounds, and a label may be compared in other ways too.
        Ok(filters
            .iter()
            .map(|filter| match (time_bound(filter), label_matcher(filter)) {
                (None, None) => TableProviderFilterPushDown::Unsupported,
                _ => TableProviderFilterPushDown::Inexact,
            })
            .collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let mut range = TimeRange::ALL;
        for bound in filters.iter().filter_map(time_bound) {
            range = TimeRange::new(range.start.max(bound.start), range.end.min(bound.end));
        }
        let matchers = filters.iter().filter_map(label_matcher).collect();
        let log = LogExpr { matchers, stages: Vec::new() };
        let columns = projection.cloned().unwrap_or_else(|| (0..LOGS_VIEW_SCHEMA.fields().len()).collect());
        let reads = |name: &str| columns.iter().any(|at| LOGS_VIEW_SCHEMA.field(*at).name() == name);
        let wanted = RowProjection { level: reads(LEVEL), line: reads(LINE), metadata: reads(METADATA) };
        let scan =
            self.planner.rows(&log, range, wanted).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Arc::new(LogsViewExec::new(scan, columns, self.planner.streams())?))
    }
}

/// The times that `timestamp op constant` leaves.
fn time_bound(filter: &Expr) -> Option<TimeRange> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    let (op, literal) = match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(literal, _)) if column.name == TIMESTAMP => (*op, literal),
        (Expr::Literal(literal, _), Expr::Column(column)) if column.name == TIMESTAMP => (op.swap()?, literal),
        _ => return None,
    };
    let at = match literal {
        ScalarValue::TimestampNanosecond(Some(nanos), _) => *nanos,
        _ => return None,
    };
    let (at, after) = (UnixNanos(at), UnixNanos(at).saturating_add(1));
    match op {
        Operator::Eq => Some(TimeRange::new(at, after)),
        Operator::Gt => Some(TimeRange::new(after, UnixNanos::MAX)),
        Operator::GtEq => Some(TimeRange::new(at, UnixNanos::MAX)),
        Operator::Lt => Some(TimeRange::new(UnixNanos::MIN, at)),
        Operator::LtEq => Some(TimeRange::new(UnixNanos::MIN, after)),
        _ => None,
    }
}

/// `labels['x'] = 'y'` as a matcher.
fn label_matcher(filter: &Expr) -> Option<Matcher> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else {
        return None;
    };
    let (function, literal) = match (&**left, &**right) {
        (Expr::ScalarFunction(function), Expr::Literal(literal, _))
        | (Expr::Literal(literal, _), Expr::ScalarFunction(function)) => (function, literal),
        _ => return None,
    };
    let [Expr::Column(_), Expr::Literal(name, _)] = function.args.as_slice() else {
        return None;
    };
    if function.name() != LABEL {
        return None;
    }
    let (name, value) = (text(name)?, text(literal)?);
    (!value.is_empty()).then(|| Matcher { name: name.to_owned(), op: MatchOp::Equal, value: value.to_owned() })
}

fn text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Dictionary(_, inner) => text(inner),
        other => other.try_as_str().flatten(),
    }
}
