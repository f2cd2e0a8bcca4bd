//! Operations over a bare number: the grammar has them, Loki's planner and evaluator refuse them.
//!
//! `sum(1)` is told to have no selector (400), `max(1)` to be a type that is not evaluated (500); `vector(1)` is fine.

use crate::logql::ast::{MetricExpr, VectorOp};
use crate::logql::needs_selective;
use crate::query::QueryError;

const NOT_EVALUATED: &str = "unexpected expr type (*syntax.LiteralExpr) for Evaluator type (*logql.DefaultEvaluator)";

/// # Errors
/// Loki's, when an aggregation or `label_replace` is given a number.
pub(super) fn check_operands(metric: &MetricExpr) -> Result<(), QueryError> {
    match metric {
        MetricExpr::Vector(vector) => match (&*vector.inner, vector.op) {
            (MetricExpr::Number(_), VectorOp::Sum | VectorOp::Avg | VectorOp::Count) => Err(needs_selective().into()),
            (MetricExpr::Number(_), _) => Err(QueryError::Internal(NOT_EVALUATED.to_owned())),
            (inner, _) => check_operands(inner),
        },
        MetricExpr::LabelReplace { inner, .. } => match &**inner {
            MetricExpr::Number(_) => Err(QueryError::Internal(NOT_EVALUATED.to_owned())),
            inner => check_operands(inner),
        },
        MetricExpr::Binary(binary) => check_operands(&binary.left).and_then(|()| check_operands(&binary.right)),
        MetricExpr::Number(_) | MetricExpr::VectorLiteral(_) | MetricExpr::Range(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logql::{self, ast::Expr};

    #[test]
    fn numbers_are_no_operands() {
        let check = |query: &str, want: Option<&str>| {
            let Expr::Metric(metric) = logql::parse(query).expect(query) else { panic!("{query} is no metric") };
            let got = check_operands(&metric).err().map(|error| error.to_string());
            assert_eq!(got.is_some(), want.is_some(), "{query}: {got:?}");
            assert!(got.unwrap_or_default().contains(want.unwrap_or_default()), "{query}");
        };
        check("sum(1)", Some("at least one regexp or equality matcher"));
        check("1 + count(2 * 3)", Some("at least one regexp or equality matcher"));
        check("topk(1, 2)", Some("*syntax.LiteralExpr"));
        check(r#"label_replace(1, "a", "b", "c", "d")"#, Some("*syntax.LiteralExpr"));
        check("sum(vector(1)) + 2", None);
    }
}
