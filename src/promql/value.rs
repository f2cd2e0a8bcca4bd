//! What is read, what is computed, and what is answered.
//!
//! ```text
//! RawSeries (samples at their own times) ─▶ Series (one value a step) ─▶ Answer
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::types::labels::Labels;
use crate::types::sample::{is_stale_marker, stale_marker};

/// The times a query is asked for: `start`, `start + step`, …; all in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    pub start_ms: i64,
    /// Positive.
    pub step_ms: i64,
    pub count: usize,
}

impl Steps {
    pub fn instant(at_ms: i64) -> Self {
        Steps { start_ms: at_ms, step_ms: 1, count: 1 }
    }

    /// From `start_ms` to at most `end_ms`, both inside; none when `end_ms` is before, or the step is not positive.
    pub fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let step_ms = step_ms.max(1);
        let span = i128::from(end_ms) - i128::from(start_ms);
        let count = if span < 0 { 0 } else { span / i128::from(step_ms) + 1 };
        Steps { start_ms, step_ms, count: usize::try_from(count).unwrap_or(usize::MAX) }
    }

    pub fn at(&self, step: usize) -> i64 {
        let ahead = i64::try_from(step).unwrap_or(i64::MAX).saturating_mul(self.step_ms);
        self.start_ms.saturating_add(ahead)
    }

    /// The last step; the first when there is none.
    pub fn end_ms(&self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }

    pub fn is_instant(&self) -> bool {
        self.count == 1
    }
}

/// What is asked: a value at one time, or at many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Instant { at_ms: i64 },
    Range(Steps),
}

impl Asked {
    pub fn steps(&self) -> Steps {
        match self {
            Asked::Instant { at_ms } => Steps::instant(*at_ms),
            Asked::Range(steps) => *steps,
        }
    }
}

/// The samples of a series as they are stored: times ascend, in milliseconds; stale markers are among the values.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSeries {
    pub labels: Labels,
    pub times: Vec<i64>,
    pub values: Vec<f64>,
}

/// One value for each step; [`absent`] where there is none.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) labels: Labels,
    pub(super) values: Vec<f64>,
}

/// No value at this step. It is the stale marker, which no operation gives, since none is handed one.
pub(super) fn absent() -> f64 {
    stale_marker()
}

pub(super) fn is_absent(value: f64) -> bool {
    is_stale_marker(value)
}

/// Samples of one series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    pub labels: Labels,
    /// Milliseconds and values, in order of time.
    pub points: Vec<(i64, f64)>,
}

/// What a query gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Scalar {
        at_ms: i64,
        value: f64,
    },
    Text {
        at_ms: i64,
        text: String,
    },
    /// One point each, in the order the query asks for.
    Vector(Vec<Points>),
    /// Sorted by labels.
    Matrix(Vec<Points>),
}

/// What the asker should know beside the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    pub warnings: BTreeSet<String>,
    pub infos: BTreeSet<String>,
}

/// An answer with its notes and its cost.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub answer: Answer,
    pub notes: Notes,
    /// Samples read from the store.
    pub samples_read: usize,
    /// Samples held in memory at most.
    pub samples_peak: usize,
}

/// What each selection of a plan read; shared with the thread that evaluates.
pub(super) type Loaded = Arc<Vec<Vec<RawSeries>>>;

#[cfg(test)]
mod step_tests {
    use super::*;

    #[test]
    fn steps_end_inside_their_range() {
        let steps = Steps::range(0, 100, 30);
        assert_eq!((steps.count, steps.end_ms()), (4, 90));
        assert_eq!(Steps::range(0, 90, 30).count, 4);
        assert_eq!(Steps::range(10, 9, 30).count, 0);
        assert_eq!(Steps::range(i64::MIN, i64::MAX, 1).count, usize::MAX);
        assert!(Steps::instant(5).is_instant());
    }
}
