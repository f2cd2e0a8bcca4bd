//! What is above range aggregations: vector operations over (series × steps) matrices.
//!
//! ```text
//! leaves (one matrix a range aggregation) ─▶ evaluate: aggregate | binary | label_replace ─▶ matrix or scalar
//! ```
//!
//! Invariant: no two series of a matrix have equal labels. Pure and synchronous.
//! Errors: [`EvalError`], in Loki's words.

mod aggregate;
mod binary;
mod bitmap;
mod evaluate;
mod sample;

pub use bitmap::Bitmap;
pub use evaluate::evaluate;
pub use sample::format_sample;

use crate::logql::ast::{MetricExpr, VectorOp};
use crate::types::labels::Labels;

/// The times of a query: `start, start + step, …`, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    pub start_ns: i64,
    /// Positive.
    pub step_ns: i64,
    pub count: usize,
}

impl Steps {
    /// The time of one step, nanoseconds.
    pub fn at(&self, step: usize) -> i64 {
        self.start_ns.saturating_add(self.step_ns.saturating_mul(step as i64))
    }
}

/// One series: a value at some of the steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: Labels,
    /// One a step; meaningless where not present.
    pub values: Vec<f64>,
    pub present: Bitmap,
}

#[derive(Debug, Clone)]
pub struct Matrix {
    pub steps: Steps,
    pub series: Vec<Series>,
}

/// What an expression comes to.
#[derive(Debug, Clone)]
pub enum Evaluated {
    Matrix(Matrix),
    /// The same at every step.
    Scalar(f64),
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvalError(pub String);

impl Series {
    /// A series without a value.
    pub fn empty(labels: Labels, steps: usize) -> Self {
        Series { labels, values: vec![0.0; steps], present: Bitmap::new(steps) }
    }

    pub fn get(&self, step: usize) -> Option<f64> {
        self.present.get(step).then(|| self.values[step])
    }

    pub fn set(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.present.set(step);
    }
}

/// The series without labels that has `value` at every step.
pub fn constant(value: f64, steps: &Steps) -> Series {
    let mut series = Series::empty(Labels::default(), steps.count);
    (0..steps.count).for_each(|step| series.set(step, value));
    series
}

/// # Errors
/// Loki's text when an answer has more series than the limit; 0 means no limit.
pub fn check_series_limit(series: usize, limit: usize) -> Result<(), EvalError> {
    if limit == 0 || series <= limit {
        return Ok(());
    }
    Err(EvalError(format!(
        "maximum number of series ({limit}) reached for a single query; consider reducing query cardinality by adding more specific stream selectors, reducing the time range, or aggregating results with functions like sum(), count() or topk()"
    )))
}

/// Series with at least one value, sorted by labels: the answer of a range query.
pub fn sorted_series(matrix: Matrix) -> Vec<Series> {
    let mut series: Vec<Series> = matrix.series.into_iter().filter(|series| series.present.any()).collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

/// Samples of the first step: sorted by labels, or by value when `sort` or `sort_desc` is outermost.
pub fn sorted_samples(matrix: Matrix, expr: &MetricExpr) -> Vec<(Labels, f64)> {
    let samples = matrix.series.into_iter().filter_map(|series| series.get(0).map(|value| (series.labels, value)));
    let mut samples: Vec<(Labels, f64)> = samples.collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0));
    let op = match expr {
        MetricExpr::Vector(vector) => Some(vector.op),
        _ => None,
    };
    // NaN sorts behind everything, in both directions.
    let nan_last = |a: f64, b: f64| a.is_nan().cmp(&b.is_nan());
    match op {
        Some(VectorOp::Sort) => {
            samples.sort_by(|a, b| nan_last(a.1, b.1).then(a.1.partial_cmp(&b.1).unwrap_or(std::cmp::Ordering::Equal)));
        }
        Some(VectorOp::SortDesc) => {
            samples.sort_by(|a, b| nan_last(a.1, b.1).then(b.1.partial_cmp(&a.1).unwrap_or(std::cmp::Ordering::Equal)));
        }
        _ => {}
    }
    samples
}

#[cfg(test)]
mod tests;
