//! Functions at every step.

use std::cmp::Ordering;

use super::super::error::PromqlError;
use super::super::labels::{with, without_name};
use super::super::node::{Call, Node, Piece, SortBy};
use super::super::numbers::by_value;
use super::super::value::{Series, absent, is_absent};
use super::merge::{merged, same_labels};
use super::{Evaluator, dates, each};
use crate::types::labels::Labels;

impl Evaluator<'_> {
    pub(super) fn scalar_call(&self, call: &Call) -> Result<Vec<f64>, PromqlError> {
        match call {
            Call::Time => Ok((0..self.steps.count).map(|step| self.steps.at(step) as f64 / 1000.0).collect()),
            Call::Scalar(input) => {
                let series = self.vector(input)?;
                let only = |step: usize| {
                    let mut values = series.iter().map(|series| series.values[step]).filter(|value| !is_absent(*value));
                    match (values.next(), values.next()) {
                        (Some(value), None) => value,
                        _ => f64::NAN,
                    }
                };
                Ok((0..self.steps.count).map(only).collect())
            }
            Call::Pick { function, left, right } => {
                let (left, right) = (self.scalar(left)?, self.scalar(right)?);
                Ok(left.into_iter().zip(right).map(|(left, right)| function(left, right)).collect())
            }
            _ => Err(PromqlError::Execution("expected a scalar".to_owned())),
        }
    }

    pub(super) fn vector_call(&self, call: &Call) -> Result<Vec<Series>, PromqlError> {
        match call {
            Call::Each { function, input } => self.map(input, |_, value| function(value)),
            Call::Clamp { input, least, most } => self.clamp(input, least.as_ref(), most.as_ref()),
            Call::Round { input, to } => {
                let to = self.optional(to.as_ref(), 1.0)?;
                self.map(input, |step, value| each::round(value, to[step]))
            }
            Call::OverTime { function, source, scalars, keeps_name, check } => {
                self.over_time(*function, source, scalars, *keeps_name, *check)
            }
            Call::AbsentOverTime { source, labels } => self.absent_over_time(source, labels),
            Call::Absent { input, labels } => self.absent(input, labels),
            Call::Vector(scalar) => Ok(vec![Series { labels: Labels::default(), values: self.scalar(scalar)? }]),
            Call::Timestamp(Node::Selector(selector)) => nameless(self.selector_times(selector)?),
            Call::Timestamp(input) => self.map(input, |step, _| self.steps.at(step) as f64 / 1000.0),
            Call::Date { part, input: Some(input) } => self.map(input, |_, value| part(dates::seconds(value))),
            Call::Date { part, input: None } => {
                let values = (0..self.steps.count).map(|step| part(self.steps.at(step).div_euclid(1000))).collect();
                Ok(vec![Series { labels: Labels::default(), values }])
            }
            Call::HistogramQuantile { quantiles, label, input } => {
                self.histogram_quantile(quantiles, label.as_deref(), input)
            }
            Call::HistogramFraction { lower, upper, input } => self.histogram_fraction(lower, upper, input),
            Call::Nothing(input) => self.vector(input).map(|_| Vec::new()),
            Call::LabelReplace { .. } | Call::LabelJoin { .. } => self.relabelled(call),
            Call::Sort { input, by, descending } => self.sorted(input, by, *descending),
            Call::Scalar(_) | Call::Time | Call::Pick { .. } => {
                Err(PromqlError::Execution("expected an instant vector".to_owned()))
            }
        }
    }

    /// A function of each value; the result is no longer the metric.
    fn map(&self, input: &Node, of: impl Fn(usize, f64) -> f64) -> Result<Vec<Series>, PromqlError> {
        let mut series = self.vector(input)?;
        for series in &mut series {
            for (step, value) in series.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
                *value = of(step, *value);
            }
        }
        nameless(series)
    }

    fn optional(&self, node: Option<&Node>, default: f64) -> Result<Vec<f64>, PromqlError> {
        node.map_or_else(|| self.constant(default), |node| self.scalar(node))
    }

    fn clamp(&self, input: &Node, least: Option<&Node>, most: Option<&Node>) -> Result<Vec<Series>, PromqlError> {
        let least = self.optional(least, f64::NEG_INFINITY)?;
        let most = self.optional(most, f64::INFINITY)?;
        let mut series = self.map(input, |step, value| {
            if most[step] < least[step] {
                return absent();
            }
            each::greater(least[step], each::lesser(most[step], value))
        })?;
        series.retain(|series| series.values.iter().any(|value| !is_absent(*value)));
        Ok(series)
    }

    fn absent(&self, input: &Node, labels: &Labels) -> Result<Vec<Series>, PromqlError> {
        let mut values = self.constant(1.0)?;
        for series in self.vector(input)? {
            for (value, _) in values.iter_mut().zip(series.values).filter(|(_, there)| !is_absent(*there)) {
                *value = absent();
            }
        }
        Ok(vec![Series { labels: labels.clone(), values }])
    }

    fn relabelled(&self, call: &Call) -> Result<Vec<Series>, PromqlError> {
        match call {
            Call::LabelReplace { input, target, replacement, source, regex } => {
                let mut series = self.vector(input)?;
                for series in &mut series {
                    let value = series.labels.get(source).unwrap_or("");
                    let Some(groups) = regex.captures(value) else { continue };
                    let mut replaced = String::new();
                    for piece in &replacement.0 {
                        match piece {
                            Piece::Text(text) => replaced.push_str(text),
                            Piece::Group(group) => {
                                replaced.push_str(groups.get(*group).map_or("", |found| found.as_str()))
                            }
                        }
                    }
                    series.labels = with(&series.labels, target, &replaced);
                }
                merged(series)
            }
            Call::LabelJoin { input, target, separator, sources } => {
                let mut series = self.vector(input)?;
                for series in &mut series {
                    let values: Vec<&str> =
                        sources.iter().map(|source| series.labels.get(source).unwrap_or("")).collect();
                    series.labels = with(&series.labels, target, &values.join(separator));
                }
                merged(series)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// In order; only an instant query keeps it.
    fn sorted(&self, input: &Node, by: &SortBy, descending: bool) -> Result<Vec<Series>, PromqlError> {
        let mut series = self.vector(input)?;
        if !self.steps.is_instant() {
            self.budget.warn("sort is ineffective for range queries since results are always ordered by labels");
            return Ok(series);
        }
        let directed = |order: Ordering| if descending { order.reverse() } else { order };
        match by {
            // NaN comes last either way.
            SortBy::Value => series.sort_by(|a, b| {
                let (a, b) = (a.values[0], b.values[0]);
                match (a.is_nan(), b.is_nan()) {
                    (false, false) => directed(by_value(a, b)),
                    (a_is_nan, b_is_nan) => a_is_nan.cmp(&b_is_nan),
                }
            }),
            SortBy::Labels(names) => series.sort_by(|a, b| {
                let value = |series: &Series, name: &str| series.labels.get(name).unwrap_or("").to_owned();
                let by_names = names.iter().map(|name| natural(&value(a, name), &value(b, name)));
                let first_difference = by_names.into_iter().find(|order| order.is_ne());
                directed(first_difference.unwrap_or_else(|| a.labels.cmp(&b.labels)))
            }),
        }
        Ok(series)
    }
}

fn nameless(mut series: Vec<Series>) -> Result<Vec<Series>, PromqlError> {
    for series in &mut series {
        series.labels = without_name(&series.labels);
    }
    merged(series).map_err(|_| same_labels())
}

/// Runs of digits are compared as numbers: `a2` before `a10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (left, right) = (chunk(a), chunk(b));
        if left.is_empty() || right.is_empty() {
            return left.len().cmp(&right.len());
        }
        let are_numbers = left.as_bytes()[0].is_ascii_digit() && right.as_bytes()[0].is_ascii_digit();
        let order = if are_numbers {
            let (x, y) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then_with(|| left.len().cmp(&right.len()))
        } else {
            left.cmp(right)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (&a[left.len()..], &b[right.len()..]);
    }
}

/// The run of digits, or of other characters, at the start.
fn chunk(text: &str) -> &str {
    let starts_with_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != starts_with_digit).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod natural_tests {
    use super::*;

    #[test]
    fn digits_are_compared_as_numbers() {
        let check = |a: &str, b: &str, expected: Ordering| assert_eq!(natural(a, b), expected, "{a} {b}");
        check("a2", "a10", Ordering::Less);
        check("a10", "a10", Ordering::Equal);
        check("a", "a1", Ordering::Less);
        check("1a", "a1", Ordering::Less);
        check("a01", "a1", Ordering::Greater);
        check("", "a", Ordering::Less);
    }
}
