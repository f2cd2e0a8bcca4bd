//! Evaluation: a plan and what its selections read, to values at every step. Pure, no waiting.
//!
//! ```text
//! Evaluator(steps) ─▶ scalar(node): one number a step
//!                  ─▶ vector(node): series, one value a step (or none)
//!                  ─▶ a subquery: an Evaluator of its own with the subquery's steps
//! ```

mod aggregate;
mod binary;
mod calls;
pub(super) mod dates;
pub(super) mod each;
mod histogram;
mod matching;
mod merge;
pub(super) mod over_time;
mod ranges;
pub(super) mod rates;
mod selector;
mod top;

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::PromqlError;
use super::labels::without_name;
use super::node::{Kind, Node, RangeFrom, RangeSource};
use super::plan::{Plan, PlanLimits};
use super::value::{Answer, Asked, Notes, Outcome, Points, RawSeries, Series, Steps, is_absent};
use crate::types::labels::Labels;

/// What one evaluation may take, and whether it is still wanted.
pub(super) struct Budget<'a> {
    pub(super) samples_max: usize,
    /// Rung from outside.
    pub(super) stop: &'a AtomicBool,
    taken: Cell<usize>,
    notes: RefCell<Notes>,
}

impl<'a> Budget<'a> {
    pub(super) fn new(samples_max: usize, stop: &'a AtomicBool) -> Self {
        Budget { samples_max, stop, taken: Cell::new(0), notes: RefCell::default() }
    }

    /// Counts samples that are about to be held.
    fn take(&self, samples: usize) -> Result<(), PromqlError> {
        let taken = self.taken.get().saturating_add(samples);
        self.taken.set(taken);
        if taken > self.samples_max {
            return Err(PromqlError::TooManySamples { samples_max: self.samples_max });
        }
        self.check()
    }

    /// Whether someone still waits for the answer.
    fn check(&self) -> Result<(), PromqlError> {
        if self.stop.load(Ordering::Relaxed) { Err(PromqlError::Canceled) } else { Ok(()) }
    }

    fn warn(&self, text: impl Into<String>) {
        self.notes.borrow_mut().warnings.insert(format!("PromQL warning: {}", text.into()));
    }

    fn inform(&self, text: impl Into<String>) {
        self.notes.borrow_mut().infos.insert(format!("PromQL info: {}", text.into()));
    }
}

/// Evaluates at its steps.
pub(super) struct Evaluator<'a> {
    steps: Steps,
    lookback_ms: i64,
    data: &'a [Vec<RawSeries>],
    budget: &'a Budget<'a>,
}

/// The whole answer of a plan.
pub(super) fn answer(
    plan: &Plan,
    asked: Asked,
    limits: PlanLimits,
    data: &[Vec<RawSeries>],
    budget: &Budget<'_>,
) -> Result<Outcome, PromqlError> {
    let samples_read: usize = data.iter().flatten().map(|series| series.times.len()).sum();
    budget.take(samples_read)?;
    let evaluator = Evaluator { steps: asked.steps(), lookback_ms: limits.lookback_ms, data, budget };
    let answer = match asked {
        Asked::Instant { .. } => evaluator.instant(&plan.root)?,
        Asked::Range(_) => evaluator.range(&plan.root)?,
    };
    Ok(Outcome { answer, notes: budget.notes.borrow().clone(), samples_read, samples_peak: budget.taken.get() })
}

impl Evaluator<'_> {
    fn instant(&self, root: &Node) -> Result<Answer, PromqlError> {
        let at_ms = self.steps.start_ms;
        Ok(match root.kind() {
            Kind::Text => match root {
                Node::Text(text) => Answer::Text { at_ms, text: text.clone() },
                _ => return Err(PromqlError::Execution("only literals are strings".to_owned())),
            },
            Kind::Scalar => Answer::Scalar { at_ms, value: self.scalar(root)?[0] },
            Kind::Vector => Answer::Vector(self.points(self.vector(root)?)),
            Kind::Range => match root {
                Node::Range(source) => Answer::Matrix(self.raw_points(source)?),
                _ => return Err(PromqlError::Execution("only selectors and subqueries are range vectors".to_owned())),
            },
        })
    }

    fn range(&self, root: &Node) -> Result<Answer, PromqlError> {
        let series = match root.kind() {
            Kind::Scalar => vec![Series { labels: Labels::default(), values: self.scalar(root)? }],
            Kind::Vector => self.vector(root)?,
            kind @ (Kind::Text | Kind::Range) => {
                let name = if kind == Kind::Text { "string" } else { "range vector" };
                return Err(PromqlError::BadQuery(format!(
                    "invalid expression type {name:?} for range query, must be Scalar or instant Vector"
                )));
            }
        };
        let mut points = self.points(series);
        points.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Answer::Matrix(points))
    }

    fn points(&self, series: Vec<Series>) -> Vec<Points> {
        let present = |series: Series| {
            let values = series.values.iter().enumerate().filter(|(_, value)| !is_absent(**value));
            let points: Vec<_> = values.map(|(step, value)| (self.steps.at(step), *value)).collect();
            (!points.is_empty()).then_some(Points { labels: series.labels, points })
        };
        series.into_iter().filter_map(present).collect()
    }

    /// The samples of a range vector as they are: what `metric[5m]` answers.
    fn raw_points(&self, source: &RangeSource) -> Result<Vec<Points>, PromqlError> {
        let end = source.shift.look(self.steps.start_ms);
        let start = end.saturating_sub(source.range_ms);
        let mut answer = Vec::new();
        for series in &self.range_series(source)? {
            let within = series.times.iter().zip(&*series.values).filter(|(time, _)| **time > start && **time <= end);
            let points: Vec<_> = within.map(|(time, value)| (*time, *value)).collect();
            if !points.is_empty() {
                answer.push(Points { labels: series.labels.clone(), points });
            }
        }
        if matches!(source.from, RangeFrom::Subquery { .. }) {
            answer.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        Ok(answer)
    }

    /// One number a step.
    fn scalar(&self, node: &Node) -> Result<Vec<f64>, PromqlError> {
        match node {
            Node::Number(number) => self.constant(*number),
            Node::Negate(inner) => Ok(self.scalar(inner)?.into_iter().map(|value| -value).collect()),
            Node::Binary(binary) => self.scalar_binary(binary),
            Node::Call(call) => self.scalar_call(call),
            _ => Err(PromqlError::Execution("expected a scalar".to_owned())),
        }
    }

    /// Series with a value at some steps.
    fn vector(&self, node: &Node) -> Result<Vec<Series>, PromqlError> {
        self.budget.check()?;
        match node {
            Node::Selector(selector) => self.selector(selector),
            Node::Negate(inner) => {
                let mut series = self.vector(inner)?;
                for series in &mut series {
                    series.labels = without_name(&series.labels);
                    for value in series.values.iter_mut().filter(|value| !is_absent(**value)) {
                        *value = -*value;
                    }
                }
                merge::merged(series)
            }
            Node::Binary(binary) => self.binary(binary),
            Node::Aggregate(aggregate) => self.aggregate(aggregate),
            Node::Call(call) => self.vector_call(call),
            Node::Number(_) | Node::Text(_) | Node::Range(_) => {
                Err(PromqlError::Execution("expected an instant vector".to_owned()))
            }
        }
    }

    fn constant(&self, number: f64) -> Result<Vec<f64>, PromqlError> {
        self.budget.take(self.steps.count)?;
        Ok(vec![number; self.steps.count])
    }
}
