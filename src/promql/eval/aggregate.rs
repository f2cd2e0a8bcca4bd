//! Aggregations: many series to one for each group.
//!
//! Each group has one cell a step, which folds the values it is shown; series are read one after the other.

use std::collections::HashMap;

use super::super::error::PromqlError;
use super::super::labels::{all_but, only, with};
use super::super::node::{Aggregate, AggregateOp, Grouping};
use super::super::numbers::{KahanSum, Mean, format_value, quantile};
use super::super::value::{Series, absent, is_absent};
use super::Evaluator;
use super::merge::Collector;
use crate::types::labels::Labels;

/// Values of a group at one step, folded.
trait Fold: Clone {
    fn first(value: f64) -> Self;
    fn add(&mut self, value: f64);
    fn result(self) -> f64;
}

impl Grouping {
    /// Labels of the group that a series belongs to.
    pub(super) fn of(&self, labels: &Labels) -> Labels {
        match self {
            Grouping::By(names) if names.is_empty() => Labels::default(),
            Grouping::By(names) => only(labels, names),
            Grouping::Without(names) => all_but(labels, names),
        }
    }
}

/// Groups in the order in which they are met, and the group of each series.
pub(super) fn groups(grouping: &Grouping, series: &[Series]) -> (Vec<Labels>, Vec<usize>) {
    let mut place: HashMap<Labels, usize> = HashMap::new();
    let mut groups = Vec::new();
    let mut of_series = Vec::with_capacity(series.len());
    for series in series {
        let labels = grouping.of(&series.labels);
        let at = *place.entry(labels.clone()).or_insert(groups.len());
        if at == groups.len() {
            groups.push(labels);
        }
        of_series.push(at);
    }
    (groups, of_series)
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate) -> Result<Vec<Series>, PromqlError> {
        let grouping = &aggregate.grouping;
        match &aggregate.op {
            AggregateOp::Sum => self.fold::<Sum>(aggregate),
            AggregateOp::Avg => self.fold::<Average>(aggregate),
            AggregateOp::Min => self.fold::<Least>(aggregate),
            AggregateOp::Max => self.fold::<Most>(aggregate),
            AggregateOp::Count => self.fold::<Count>(aggregate),
            AggregateOp::Group => self.fold::<Present>(aggregate),
            AggregateOp::Stddev => self.fold::<Deviation>(aggregate),
            AggregateOp::Stdvar => self.fold::<Variance>(aggregate),
            AggregateOp::Quantile(q) => {
                let quantiles = self.scalar(q)?;
                self.check_quantiles(&quantiles);
                let input = self.vector(&aggregate.input)?;
                self.fold_with::<Values>(grouping, &input, |mut values, step| quantile(quantiles[step], &mut values.0))
            }
            AggregateOp::CountValues(label) => self.count_values(grouping, label, &self.vector(&aggregate.input)?),
            AggregateOp::Top(_) | AggregateOp::Bottom(_) | AggregateOp::Limit(_) | AggregateOp::LimitRatio(_) => {
                self.select_some(aggregate)
            }
        }
    }

    fn fold<F: Fold>(&self, aggregate: &Aggregate) -> Result<Vec<Series>, PromqlError> {
        let input = self.vector(&aggregate.input)?;
        self.fold_with::<F>(&aggregate.grouping, &input, |cell, _| cell.result())
    }

    fn fold_with<F: Fold>(
        &self,
        grouping: &Grouping,
        input: &[Series],
        result: impl Fn(F, usize) -> f64,
    ) -> Result<Vec<Series>, PromqlError> {
        let (labels, of_series) = groups(grouping, input);
        self.budget.take(labels.len().saturating_mul(self.steps.count))?;
        let mut cells: Vec<Vec<Option<F>>> = vec![vec![None; self.steps.count]; labels.len()];
        for (series, group) in input.iter().zip(of_series) {
            self.budget.check()?;
            for (cell, value) in cells[group].iter_mut().zip(&series.values) {
                match cell {
                    _ if is_absent(*value) => {}
                    Some(cell) => cell.add(*value),
                    None => *cell = Some(F::first(*value)),
                }
            }
        }
        let finish = |(step, cell): (usize, Option<F>)| cell.map_or(absent(), |cell| result(cell, step));
        let series = labels
            .into_iter()
            .zip(cells)
            .map(|(labels, cells)| Series { labels, values: cells.into_iter().enumerate().map(finish).collect() });
        Ok(series.collect())
    }

    fn count_values(&self, grouping: &Grouping, label: &str, input: &[Series]) -> Result<Vec<Series>, PromqlError> {
        let mut counts = Collector::new(self.steps.count);
        let mut tally: HashMap<(usize, usize), f64> = HashMap::new();
        for series in input {
            let group = grouping.of(&series.labels);
            for (step, value) in series.values.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
                let (at, is_new) = counts.place(&with(&group, label, &format_value(*value)));
                if is_new {
                    self.budget.take(self.steps.count)?;
                }
                *tally.entry((at, step)).or_default() += 1.0;
            }
        }
        for ((at, step), count) in tally {
            counts.set(at, step, count)?;
        }
        Ok(counts.finish())
    }
}

#[derive(Clone)]
struct Sum(KahanSum);

impl Fold for Sum {
    fn first(value: f64) -> Self {
        Sum(KahanSum::new(value))
    }

    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn result(self) -> f64 {
        self.0.sum + self.0.error
    }
}

#[derive(Clone)]
struct Average(Mean);

impl Fold for Average {
    fn first(value: f64) -> Self {
        Average(Mean::new(value))
    }

    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn result(self) -> f64 {
        self.0.value()
    }
}

#[derive(Clone)]
struct Least(f64);

impl Fold for Least {
    fn first(value: f64) -> Self {
        Least(value)
    }

    fn add(&mut self, value: f64) {
        if self.0 > value || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn result(self) -> f64 {
        self.0
    }
}

#[derive(Clone)]
struct Most(f64);

impl Fold for Most {
    fn first(value: f64) -> Self {
        Most(value)
    }

    fn add(&mut self, value: f64) {
        if self.0 < value || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn result(self) -> f64 {
        self.0
    }
}

#[derive(Clone)]
struct Count(f64);

impl Fold for Count {
    fn first(_: f64) -> Self {
        Count(1.0)
    }

    fn add(&mut self, _: f64) {
        self.0 += 1.0;
    }

    fn result(self) -> f64 {
        self.0
    }
}

#[derive(Clone)]
struct Present;

impl Fold for Present {
    fn first(_: f64) -> Self {
        Present
    }

    fn add(&mut self, _: f64) {}

    fn result(self) -> f64 {
        1.0
    }
}

/// Welford's running variance.
#[derive(Clone)]
struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Fold for Variance {
    fn first(value: f64) -> Self {
        Variance { count: 1.0, mean: value, squares: if value.is_finite() { 0.0 } else { f64::NAN } }
    }

    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn result(self) -> f64 {
        self.squares / self.count
    }
}

#[derive(Clone)]
struct Deviation(Variance);

impl Fold for Deviation {
    fn first(value: f64) -> Self {
        Deviation(Variance::first(value))
    }

    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn result(self) -> f64 {
        self.0.result().sqrt()
    }
}

#[derive(Clone)]
struct Values(Vec<f64>);

impl Fold for Values {
    fn first(value: f64) -> Self {
        Values(vec![value])
    }

    fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    fn result(self) -> f64 {
        f64::NAN
    }
}
