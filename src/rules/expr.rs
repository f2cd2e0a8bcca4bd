//! The two languages of rules: LogQL over lines, PromQL over what other rules recorded.
//!
//! A text that is LogQL is taken as LogQL. What LogQL cannot read but PromQL can, reads derived metrics:
//! `log:error_rate:1m{service="a"} > 1`.
//! Errors: [`ExprError`], in the words of the language the text looks like.

use crate::logql;
use crate::logql::ast::{Expr, MetricExpr};

/// What a rule evaluates.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleExpr {
    LogQl(MetricExpr),
    /// Normalised text.
    PromQl(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    #[error("field 'expr' must be set in rule")]
    Empty,
    #[error("{logql} (as LogQL); {promql} (as PromQL)")]
    Neither { logql: String, promql: String },
    #[error("{0}")]
    LogQl(String),
    #[error("a log query has no value: count its lines, for example count_over_time({text} [5m])")]
    LogQuery { text: String },
    #[error("a range of samples has no value: put a function around it")]
    NoVector,
}

impl RuleExpr {
    pub fn parse(text: &str) -> Result<RuleExpr, ExprError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ExprError::Empty);
        }
        let logql = match logql::parse(text) {
            Ok(Expr::Metric(metric)) => return Ok(RuleExpr::LogQl(metric)),
            Ok(Expr::Log(_)) => return Err(ExprError::LogQuery { text: text.to_owned() }),
            Err(error) => error.to_string(),
        };
        match promql_parser::parser::parse(text) {
            Ok(promql_parser::parser::Expr::MatrixSelector(_)) => Err(ExprError::NoVector),
            Ok(expr) if reads_named_metrics(&expr) => Ok(RuleExpr::PromQl(expr.to_string())),
            // A selector without a name, or without any, is LogQL gone wrong.
            Ok(_) => Err(ExprError::LogQl(logql)),
            Err(promql) => {
                Err(if looks_like_logql(text) { ExprError::LogQl(logql) } else { ExprError::Neither { logql, promql } })
            }
        }
    }

    /// The name of the language.
    pub fn language(&self) -> &'static str {
        match self {
            RuleExpr::LogQl(_) => "LogQL",
            RuleExpr::PromQl(_) => "PromQL",
        }
    }
}

/// Pipes and line filters are LogQL's alone.
fn looks_like_logql(text: &str) -> bool {
    ["|=", "|~", "} |", "}|", "json", "logfmt", "unwrap"].iter().any(|mark| text.contains(mark))
}

fn reads_named_metrics(expr: &promql_parser::parser::Expr) -> bool {
    metric_names(expr).is_some_and(|names| !names.is_empty())
}

/// The metrics that an expression reads; `None` when a selector does not name one.
fn metric_names(expr: &promql_parser::parser::Expr) -> Option<Vec<String>> {
    use promql_parser::parser::Expr as Prom;
    let join = |parts: &[&Prom]| {
        let mut all = Vec::new();
        for part in parts {
            all.extend(metric_names(part)?);
        }
        Some(all)
    };
    match expr {
        Prom::Aggregate(aggregate) => join(&[&aggregate.expr]),
        Prom::Unary(unary) => join(&[&unary.expr]),
        Prom::Binary(binary) => join(&[&binary.lhs, &binary.rhs]),
        Prom::Paren(paren) => join(&[&paren.expr]),
        Prom::Subquery(subquery) => join(&[&subquery.expr]),
        Prom::VectorSelector(selector) => Some(vec![name_of(selector)?]),
        Prom::MatrixSelector(matrix) => Some(vec![name_of(&matrix.vs)?]),
        Prom::Call(call) => join(&call.args.args.iter().map(|arg| &**arg).collect::<Vec<_>>()),
        Prom::NumberLiteral(_) | Prom::StringLiteral(_) | Prom::Extension(_) => Some(Vec::new()),
    }
}

fn name_of(selector: &promql_parser::parser::VectorSelector) -> Option<String> {
    let named = || selector.matchers.matchers.iter().find(|matcher| matcher.name == "__name__");
    selector.name.clone().or_else(|| named().map(|matcher| matcher.value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_expression_finds_its_language() {
        let check = |text: &str, expected: &str| {
            let got = match RuleExpr::parse(text) {
                Ok(expr) => expr.language().to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(got.starts_with(expected), "{text}: {got}");
        };
        check("sum(rate({a=\"b\"}[5m])) > 1", "LogQL");
        check("log:error_rate:1m{service=\"inference-gateway\"} > 1", "PromQL");
        check("sum(a_metric) / sum(a_metric offset 1h) > 5", "PromQL");
        check("rate(requests_total[5m])", "PromQL");
        check("absent(x)", "PromQL");
        check("1 > 2", "LogQL");
        check("vector(1)", "LogQL");
        check("{a=\"b\"} |= \"x\"", "a log query has no value");
        check(" ", "field 'expr'");
        check("requests_total[5m]", "a range of samples");
        check("sum(rate({a=\"b\"} | json [5m])", "parse error");
        check("sum(rate({a=\"b\"} |= [5m]))", "parse error");
        check("sum by (", "parse error");
    }
}
