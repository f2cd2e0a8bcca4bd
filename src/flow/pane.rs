//! What is kept of the rows of one series in one pane: enough to merge with others and to give a value.

use crate::flow::quantile::Values;
use crate::logql::ast::RangeOp;
use crate::query::panes::PaneState;

/// Mergeable state.
#[derive(Debug, Clone)]
pub enum Pane {
    /// Lines, and the sum of their values when those are whole numbers.
    Counts {
        lines: i64,
        sum: i64,
    },
    State(PaneState),
    Values(Values),
}

/// How the panes of an aggregation are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaneKind {
    op: RangeOp,
    counts: bool,
}

impl PaneKind {
    /// `unwrapped` tells that values are not 1 or whole bytes.
    pub fn new(op: RangeOp, unwrapped: bool) -> Self {
        let of_lines = matches!(
            op,
            RangeOp::CountOverTime
                | RangeOp::Rate
                | RangeOp::BytesOverTime
                | RangeOp::BytesRate
                | RangeOp::AbsentOverTime
        );
        PaneKind { op, counts: (of_lines && !unwrapped) || op == RangeOp::AbsentOverTime }
    }

    pub fn empty(&self) -> Pane {
        match self.op {
            _ if self.counts => Pane::Counts { lines: 0, sum: 0 },
            RangeOp::QuantileOverTime => Pane::Values(Values::default()),
            op => Pane::State(PaneState::new(op)),
        }
    }

    /// The value of a window with this state.
    pub fn result(&self, pane: &Pane, param: f64, range_ns: i64, end_ns: i64) -> f64 {
        let range_s = range_ns as f64 / 1e9;
        match pane {
            Pane::Counts { lines, sum } => match self.op {
                RangeOp::CountOverTime | RangeOp::AbsentOverTime => *lines as f64,
                RangeOp::Rate => *lines as f64 / range_s,
                RangeOp::BytesRate => *sum as f64 / range_s,
                _ => *sum as f64,
            },
            Pane::State(state) => state.result(self.op, range_s, range_ns, end_ns),
            Pane::Values(values) => values.quantile(param),
        }
    }
}

impl Pane {
    /// Adds one row. Answers the bytes it took beyond the pane itself.
    pub fn add(&mut self, ts_ns: i64, value: f64) -> usize {
        match self {
            Pane::Counts { lines, sum } => {
                *lines += 1;
                *sum += value as i64;
                0
            }
            Pane::State(state) => state.add(ts_ns, value),
            Pane::Values(values) => values.add(value),
        }
    }

    /// Takes in the rows of another pane.
    pub fn merge(&mut self, other: &Pane) {
        match (self, other) {
            (Pane::Counts { lines, sum }, Pane::Counts { lines: more_lines, sum: more }) => {
                *lines += more_lines;
                *sum += more;
            }
            (Pane::State(ours), Pane::State(theirs)) => ours.merge(theirs.clone()),
            (Pane::Values(ours), Pane::Values(theirs)) => ours.merge(theirs),
            _ => {}
        }
    }

    /// Memory, about.
    pub fn bytes(&self) -> usize {
        size_of::<Pane>()
            + match self {
                Pane::Values(values) => values.bytes(),
                _ => 0,
            }
    }
}
