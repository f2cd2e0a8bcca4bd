//! One rule's expression as an operator: its range aggregations, and the vector operations above them.
//!
//! ```text
//! batch ─▶ leaf, leaf, … ─┐
//! evaluation at t ────────┴▶ matrix of one step a leaf ─▶ query::matrix::evaluate ─▶ samples
//! ```
//!
//! Invariant: the samples at t are those that the query engine answers for the same rows at t.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::flow::FlowError;
use crate::flow::completeness::WINDOWS_MAX;
use crate::flow::grid::PaneId;
use crate::flow::leaf::{Horizon, LeafOperator};
use crate::logql::ast::MetricExpr;
use crate::query::matrix::{Evaluated, Steps, evaluate, sorted_samples};
use crate::query::plan::leaves;
use crate::streams::TenantStreams;
use crate::types::labels::Labels;
use crate::types::rows::Rows;
use crate::types::time::{TimeRange, UnixNanos};

/// When an operator is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Positive.
    pub step_ns: i64,
    /// Evaluations are at `phase_ns + k · step_ns`.
    pub phase_ns: i64,
}

/// The samples of one evaluation, sorted.
pub type Samples = Vec<(Labels, f64)>;

/// An expression and its state.
#[derive(Debug)]
pub struct RuleOperator {
    expr: Arc<MetricExpr>,
    grid: Grid,
    leaves: Vec<LeafOperator>,
    /// Rows up to here, inside, may be missing.
    complete_after: UnixNanos,
    rows: u64,
    missed: u64,
}

/// What a batch changed of what was evaluated already: for each leaf the panes.
pub type LatePanes = Vec<BTreeSet<PaneId>>;

impl RuleOperator {
    /// # Errors
    /// When a pipeline does not compile.
    pub fn new(
        expr: Arc<MetricExpr>,
        streams: &Arc<TenantStreams>,
        grid: Grid,
        now: UnixNanos,
    ) -> Result<Self, FlowError> {
        let built: Result<Vec<LeafOperator>, FlowError> = leaves(&expr)
            .iter()
            .map(|leaf| LeafOperator::new(leaf, streams.clone(), grid.step_ns, grid.phase_ns, now.0))
            .collect();
        let leaves = built?;
        Ok(RuleOperator { expr, grid, leaves, complete_after: UnixNanos::MIN, rows: 0, missed: 0 })
    }

    pub fn grid(&self) -> Grid {
        self.grid
    }

    pub fn leaves(&self) -> &[LeafOperator] {
        &self.leaves
    }

    /// The same without a row.
    pub fn emptied(&self) -> Self {
        RuleOperator {
            expr: self.expr.clone(),
            grid: self.grid,
            leaves: self.leaves.iter().map(LeafOperator::emptied).collect(),
            complete_after: self.complete_after,
            rows: 0,
            missed: 0,
        }
    }

    /// Adds a batch of `ROW_SCHEMA`. Answers the evaluations, by number, that it changes though they are over.
    pub fn on_batch(&mut self, batch: &RecordBatch, horizon: Option<Horizon>) -> Result<BTreeSet<i64>, FlowError> {
        self.on_rows(&Rows::of(batch), horizon)
    }

    /// As [`RuleOperator::on_batch`]; the rows may have narrowed lines with the members of all leaves.
    pub fn on_rows(&mut self, rows: &Rows<'_>, horizon: Option<Horizon>) -> Result<BTreeSet<i64>, FlowError> {
        let mut changed = BTreeSet::new();
        for leaf in &mut self.leaves {
            let added = leaf.add(rows, horizon)?;
            self.rows += added.rows;
            self.missed += added.missed;
            let Some(horizon) = horizon else { continue };
            for pane in added.late {
                let (first, last) = leaf.grid().evaluations(pane);
                changed.extend(first.max(horizon.open)..=last.min(horizon.evaluated));
            }
        }
        Ok(changed)
    }

    /// Adds the rows of one leaf alone, read from the store.
    pub fn on_leaf_batch(&mut self, leaf: usize, batch: &RecordBatch) -> Result<(), FlowError> {
        self.leaves[leaf].add(&Rows::of(batch), None).map(|_| ())
    }

    /// The time of evaluation `number`, and back.
    pub fn evaluation_at(&self, number: i64) -> UnixNanos {
        UnixNanos(self.grid.phase_ns.saturating_add(number.saturating_mul(self.grid.step_ns)))
    }

    pub fn evaluation_of(&self, at: UnixNanos) -> i64 {
        at.0.saturating_sub(self.grid.phase_ns).div_euclid(self.grid.step_ns)
    }

    /// The samples at `at`, which lies on the grid.
    ///
    /// # Errors
    /// What the query would answer; `Warming` when rows of the windows may be missing.
    pub fn evaluate(&self, at: UnixNanos) -> Result<Samples, FlowError> {
        let needs_after = self.needed_after(at);
        if needs_after < self.complete_after {
            let until = self.complete_after.0.saturating_add(at.0.saturating_sub(needs_after.0));
            return Err(FlowError::Warming { until: UnixNanos(until) });
        }
        let steps = Steps { start_ns: at.0, step_ns: 1, count: 1 };
        let mut matrices = Vec::with_capacity(self.leaves.len());
        for leaf in &self.leaves {
            matrices.push(leaf.evaluate(at.0)?);
        }
        let mut matrices = matrices.into_iter();
        let evaluated =
            evaluate(&self.expr, &mut |_| Ok(matrices.next().expect("leaves are asked left to right")), &steps)
                .map_err(|error| FlowError::Pipeline(error.to_string()))?;
        Ok(match evaluated {
            Evaluated::Scalar(value) => vec![(Labels::default(), value)],
            Evaluated::Matrix(matrix) => sorted_samples(matrix, &self.expr),
        })
    }

    /// The times of the rows that evaluations from `from` on look at.
    pub fn reads_from(&self, from: UnixNanos) -> TimeRange {
        TimeRange::new(self.needed_after(from).saturating_add(1), UnixNanos::MAX)
    }

    fn needed_after(&self, at: UnixNanos) -> UnixNanos {
        let starts = self.leaves.iter().map(|leaf| leaf.grid().window_end(at.0).saturating_sub(leaf.grid().range_ns()));
        UnixNanos(starts.min().unwrap_or(at.0))
    }

    /// Takes in an operator of the same rule over other rows.
    pub fn merge(&mut self, other: RuleOperator) {
        for (ours, theirs) in self.leaves.iter_mut().zip(other.leaves) {
            ours.merge(theirs);
        }
    }

    /// From here on the state has every row; rows up to `at`, inside, may be missing.
    pub fn set_complete_after(&mut self, at: UnixNanos) {
        self.complete_after = at;
    }

    /// Forgets what no evaluation from number `open` on looks at.
    pub fn forget_before(&mut self, open: i64) {
        self.leaves.iter_mut().for_each(|leaf| leaf.forget_before(open));
    }

    /// Forgets all rows: the state became too large.
    pub fn clear(&mut self, now: UnixNanos) {
        *self = RuleOperator { rows: self.rows, missed: self.missed, ..self.emptied() };
        self.complete_after = now;
    }

    /// Memory, about.
    pub fn bytes(&self) -> usize {
        self.leaves.iter().map(LeafOperator::bytes).sum()
    }

    /// Series in all leaves.
    pub fn series(&self) -> usize {
        self.leaves.iter().map(LeafOperator::series).sum()
    }

    /// The newest windows that are final without some of their rows, oldest first: by time, all rows and those that came too
    /// late, of all leaves together.
    pub fn incomplete(&self) -> Vec<(UnixNanos, u64, u64)> {
        let mut windows: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        for window in self.leaves.iter().flat_map(LeafOperator::incomplete) {
            let (rows, missed) = windows.entry(window.evaluation).or_default();
            *rows += window.rows;
            *missed += window.missed;
        }
        let newest = windows.len().saturating_sub(WINDOWS_MAX);
        let shown = windows.into_iter().skip(newest);
        shown.map(|(evaluation, (rows, missed))| (self.evaluation_at(evaluation), rows, missed)).collect()
    }

    /// Rows that were in an aggregation, and those of them that a final window is without.
    pub fn rows_and_missed(&self) -> (u64, u64) {
        (self.rows, self.missed)
    }
}

/// What is corrected when these evaluations are made again.
pub fn differences(before: &BTreeMap<Labels, f64>, now: &Samples) -> (Samples, Vec<Labels>) {
    let changed = now
        .iter()
        .filter(|(labels, value)| before.get(labels).is_none_or(|known| known.to_bits() != value.to_bits()))
        .cloned()
        .collect();
    let gone = before.keys().filter(|labels| !now.iter().any(|(other, _)| other == *labels)).cloned().collect();
    (changed, gone)
}
