//! `| a="b"`, `| a > 5s`, `| a = ip("…")`, with `and` and `or`.
//!
//! A text filter takes a missing label for "". A typed filter drops a row without the label; a value it cannot read
//! sets `__error__="LabelFilterErr"`, unless an error is there already, and keeps the row.

use std::cmp::Ordering;

use super::builder::{Context, LabelState, Name, Text};
use super::compile::CompileError;
use super::ip::IpMatcher;
use super::text_test::TextTest;
use super::units::{UnitError, parse_bytes, parse_duration, parse_float};
use crate::logql::ast::{CompareOp, LabelFilter, MatchOp, Matcher};

#[derive(Debug, Clone)]
pub(super) enum LabelFilterStep {
    /// A text filter that always holds: it needs no label.
    Always,
    Text {
        name: Name,
        test: TextTest,
        negate: bool,
    },
    Number {
        name: Name,
        op: CompareOp,
        value: f64,
    },
    Duration {
        name: Name,
        op: CompareOp,
        nanos: i64,
    },
    Bytes {
        name: Name,
        op: CompareOp,
        bytes: u64,
    },
    Ip {
        name: Name,
        matcher: IpMatcher,
        negate: bool,
    },
    And(Box<LabelFilterStep>, Box<LabelFilterStep>),
    Or(Box<LabelFilterStep>, Box<LabelFilterStep>),
}

impl LabelFilterStep {
    pub(super) fn new(filter: &LabelFilter) -> Result<Self, CompileError> {
        Ok(match filter {
            LabelFilter::Text(matcher) => Self::text(matcher)?,
            LabelFilter::Number { label, op, value } => {
                LabelFilterStep::Number { name: Name::new(label), op: *op, value: *value }
            }
            LabelFilter::Duration { label, op, nanos } => {
                LabelFilterStep::Duration { name: Name::new(label), op: *op, nanos: *nanos }
            }
            LabelFilter::Bytes { label, op, bytes } => {
                LabelFilterStep::Bytes { name: Name::new(label), op: *op, bytes: *bytes }
            }
            LabelFilter::Ip { label, op, pattern } => LabelFilterStep::Ip {
                name: Name::new(label),
                matcher: IpMatcher::parse(pattern)?,
                negate: *op == MatchOp::NotEqual,
            },
            LabelFilter::And(left, right) => {
                LabelFilterStep::And(Box::new(Self::new(left)?), Box::new(Self::new(right)?))
            }
            LabelFilter::Or(left, right) => {
                LabelFilterStep::Or(Box::new(Self::new(left)?), Box::new(Self::new(right)?))
            }
        })
    }

    fn text(matcher: &Matcher) -> Result<Self, CompileError> {
        let test = match matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => TextTest::Equals(matcher.value.as_str().into()),
            MatchOp::Regex | MatchOp::NotRegex => TextTest::label_regex(&matcher.value)?,
        };
        let negate = matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRegex);
        if !negate && matches!(test, TextTest::Always) {
            return Ok(LabelFilterStep::Always);
        }
        Ok(LabelFilterStep::Text { name: Name::new(&matcher.name), test, negate })
    }

    /// Filters joined by AND into one; none holds always.
    pub(super) fn all(filters: Vec<LabelFilterStep>) -> LabelFilterStep {
        filters
            .into_iter()
            .reduce(|left, right| LabelFilterStep::And(Box::new(left), Box::new(right)))
            .unwrap_or(LabelFilterStep::Always)
    }

    pub(super) fn is_compound(&self) -> bool {
        matches!(self, LabelFilterStep::And(..) | LabelFilterStep::Or(..))
    }

    /// The label of a filter that is not compound and needs one.
    pub(super) fn single_label(&self) -> Option<&str> {
        match self {
            LabelFilterStep::Text { name, .. }
            | LabelFilterStep::Number { name, .. }
            | LabelFilterStep::Duration { name, .. }
            | LabelFilterStep::Bytes { name, .. }
            | LabelFilterStep::Ip { name, .. } => Some(&name.text),
            LabelFilterStep::Always | LabelFilterStep::And(..) | LabelFilterStep::Or(..) => None,
        }
    }

    /// Appends every label the filter needs.
    pub(super) fn push_labels(&self, out: &mut Vec<String>) {
        match self {
            LabelFilterStep::And(left, right) | LabelFilterStep::Or(left, right) => {
                left.push_labels(out);
                right.push_labels(out);
            }
            leaf => out.extend(leaf.single_label().map(str::to_owned)),
        }
    }

    /// Whether the row stays. May set an error.
    pub(super) fn holds(&self, cx: &Context<'_>, labels: &mut LabelState) -> bool {
        match self {
            LabelFilterStep::Always => true,
            LabelFilterStep::Text { name, test, negate } => {
                let value = match &*name.text {
                    "__error__" => labels.error.map(|error| labels.text(cx, error)),
                    _ => labels.get(cx, name),
                };
                test.matches(value.unwrap_or_default()) != *negate
            }
            LabelFilterStep::Number { name, op, value } => {
                typed(cx, labels, name, parse_float, |found| compares(*op, found.partial_cmp(value)))
            }
            LabelFilterStep::Duration { name, op, nanos } => {
                typed(cx, labels, name, parse_duration, |found| compares(*op, Some(found.cmp(nanos))))
            }
            LabelFilterStep::Bytes { name, op, bytes } => {
                typed(cx, labels, name, parse_bytes, |found| compares(*op, Some(found.cmp(bytes))))
            }
            LabelFilterStep::Ip { name, matcher, negate } => {
                labels.has_error(cx) || labels.get(cx, name).is_some_and(|value| matcher.finds_in(value) != *negate)
            }
            LabelFilterStep::And(left, right) => {
                // Both sides run: the right one may set an error an `or` around lets through.
                let left = left.holds(cx, labels);
                right.holds(cx, labels) && left
            }
            LabelFilterStep::Or(left, right) => left.holds(cx, labels) || right.holds(cx, labels),
        }
    }
}

fn typed<T>(
    cx: &Context<'_>,
    labels: &mut LabelState,
    name: &Name,
    parse: impl Fn(&str) -> Result<T, UnitError>,
    holds: impl Fn(T) -> bool,
) -> bool {
    let Some(value) = labels.get(cx, name) else { return false };
    match parse(value) {
        Ok(found) => holds(found),
        Err(error) => {
            if !labels.has_error(cx) {
                set_unit_error(cx, labels, name, "LabelFilterErr", error);
            }
            true
        }
    }
}

/// Sets `kind` and the words of `error` for the value of label `name`.
pub(super) fn set_unit_error(
    cx: &Context<'_>,
    labels: &mut LabelState,
    name: &Name,
    kind: &'static str,
    error: UnitError,
) {
    let mut words = String::new();
    error.write(labels.get(cx, name).unwrap_or_default(), &mut words);
    labels.error = Some(Text::Static(kind));
    labels.error_details = Some(labels.store(&words));
}

fn compares(op: CompareOp, order: Option<Ordering>) -> bool {
    match op {
        CompareOp::Equal => order == Some(Ordering::Equal),
        CompareOp::NotEqual => order != Some(Ordering::Equal),
        CompareOp::Greater => order == Some(Ordering::Greater),
        CompareOp::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        CompareOp::Less => order == Some(Ordering::Less),
        CompareOp::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
    }
}
