//! Walks an expression.

use super::aggregate::aggregate;
use super::binary::{Operand, binary};
use super::{EvalError, Evaluated, Matrix, Series, Steps, constant};
use crate::logql::ast::{MetricExpr, RangeAggregation};
use crate::logql::go_regex::{GoRegex, compile_go_regex};
use crate::template::push_expanded;
use crate::types::labels::Labels;

/// Evaluates `expr` at every step; `leaves` gives the matrix of each range aggregation, asked left to right.
pub fn evaluate(
    expr: &MetricExpr,
    leaves: &mut dyn FnMut(&RangeAggregation) -> Result<Matrix, EvalError>,
    steps: &Steps,
) -> Result<Evaluated, EvalError> {
    match expr {
        MetricExpr::Number(value) => Ok(Evaluated::Scalar(*value)),
        MetricExpr::VectorLiteral(value) => {
            Ok(Evaluated::Matrix(Matrix { steps: *steps, series: vec![constant(*value, steps)] }))
        }
        MetricExpr::Range(range) => leaves(range).map(Evaluated::Matrix),
        MetricExpr::Vector(vector) => {
            let inner = matrix_of(&vector.inner, leaves, steps)?;
            Ok(Evaluated::Matrix(aggregate(vector, inner)))
        }
        MetricExpr::LabelReplace { inner, dst, replacement, src, regex } => {
            let inner = matrix_of(inner, leaves, steps)?;
            let regex = compile_go_regex(&format!("^(?:{regex})$"))
                .map_err(|words| EvalError(format!("invalid regex in label_replace: {words}")))?;
            label_replace(inner, dst, replacement, src, &regex).map(Evaluated::Matrix)
        }
        MetricExpr::Binary(operation) => {
            let left = operand(evaluate(&operation.left, leaves, steps)?);
            let right = operand(evaluate(&operation.right, leaves, steps)?);
            binary(operation, left, right, steps).map(Evaluated::Matrix)
        }
    }
}

fn operand(evaluated: Evaluated) -> Operand {
    match evaluated {
        Evaluated::Matrix(matrix) => Operand::Matrix(matrix),
        Evaluated::Scalar(value) => Operand::Scalar(value),
    }
}

fn matrix_of(
    expr: &MetricExpr,
    leaves: &mut dyn FnMut(&RangeAggregation) -> Result<Matrix, EvalError>,
    steps: &Steps,
) -> Result<Matrix, EvalError> {
    Ok(match evaluate(expr, leaves, steps)? {
        Evaluated::Matrix(matrix) => matrix,
        Evaluated::Scalar(value) => Matrix { steps: *steps, series: vec![constant(value, steps)] },
    })
}

/// Source: Prometheus: where the source value matches, the destination becomes the expanded replacement.
fn label_replace(
    matrix: Matrix,
    dst: &str,
    replacement: &str,
    src: &str,
    regex: &GoRegex,
) -> Result<Matrix, EvalError> {
    let replaced = matrix.series.into_iter().map(|series| {
        let Some(captures) = regex.captures(series.labels.get(src).unwrap_or("")) else {
            return series;
        };
        let mut value = Vec::new();
        push_expanded(&mut value, replacement.as_bytes(), regex, &captures);
        let value = String::from_utf8_lossy(&value);
        let others = series.labels.iter().filter(|(name, _)| *name != dst);
        let labels = Labels::from_pairs(others.chain(std::iter::once((dst, value.as_ref()))));
        Series { labels, ..series }
    });
    merge_equal(replaced.collect(), matrix.steps)
}

/// Series that a change of labels made equal become one, unless both have a value at a step.
pub(super) fn merge_equal(series: Vec<Series>, steps: Steps) -> Result<Matrix, EvalError> {
    let mut places: hashbrown::HashMap<Labels, usize> = hashbrown::HashMap::new();
    let mut merged: Vec<Series> = Vec::with_capacity(series.len());
    for one in series {
        match places.get(&one.labels) {
            None => {
                places.insert(one.labels.clone(), merged.len());
                merged.push(one);
            }
            Some(at) => {
                for step in one.present.ones() {
                    if merged[*at].present.get(step) {
                        return Err(EvalError("vector cannot contain metrics with the same labelset".to_owned()));
                    }
                    merged[*at].set(step, one.values[step]);
                }
            }
        }
    }
    Ok(Matrix { steps, series: merged })
}
