//! Binary operations: between series matched by labels, between series and numbers, between sets.

use hashbrown::{HashMap, HashSet};

use super::{EvalError, Matrix, Series, Steps, constant};
use crate::logql::ast::{BinaryExpr, BinaryOp, CompareOp, Group, VectorMatching};
use crate::types::labels::Labels;

/// One leg.
#[derive(Debug)]
pub(super) enum Operand {
    Matrix(Matrix),
    Scalar(f64),
}

/// The operation at every step.
pub(super) fn binary(
    operation: &BinaryExpr,
    left: Operand,
    right: Operand,
    steps: &Steps,
) -> Result<Matrix, EvalError> {
    match (left, right) {
        (Operand::Matrix(left), Operand::Scalar(right)) => Ok(with_number(operation, left, right, false)),
        (Operand::Scalar(left), Operand::Matrix(right)) => Ok(with_number(operation, right, left, true)),
        (Operand::Scalar(left), Operand::Scalar(right)) => {
            let value = apply(operation.op, left, right).unwrap_or(0.0);
            Ok(Matrix { steps: *steps, series: vec![constant(value, steps)] })
        }
        (Operand::Matrix(left), Operand::Matrix(right)) => match operation.op {
            BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => Ok(sets(operation, left, right)),
            _ => matched(operation, left, right),
        },
    }
}

/// The value of an operation; `None` where a comparison does not hold.
fn apply(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    let BinaryOp::Compare(compare) = op else {
        return Some(match op {
            BinaryOp::Add => left + right,
            BinaryOp::Sub => left - right,
            BinaryOp::Mul => left * right,
            // Loki answers NaN where Prometheus answers infinity.
            BinaryOp::Div if right == 0.0 => f64::NAN,
            BinaryOp::Div => left / right,
            BinaryOp::Mod if right == 0.0 => f64::NAN,
            BinaryOp::Mod => left % right,
            _ => left.powf(right),
        });
    };
    let holds = match compare {
        CompareOp::Equal => left == right,
        CompareOp::NotEqual => left != right,
        CompareOp::Greater => left > right,
        CompareOp::GreaterOrEqual => left >= right,
        CompareOp::Less => left < right,
        CompareOp::LessOrEqual => left <= right,
    };
    holds.then_some(1.0)
}

/// What stands at a step: the value, or for a comparison without `bool` the sample kept.
fn result_at(operation: &BinaryExpr, left: f64, right: f64, kept: f64) -> Option<f64> {
    let value = apply(operation.op, left, right);
    match operation.op {
        BinaryOp::Compare(_) if operation.return_bool => Some(value.unwrap_or(0.0)),
        BinaryOp::Compare(_) => value.map(|_| kept),
        _ => value,
    }
}

fn with_number(operation: &BinaryExpr, matrix: Matrix, number: f64, number_is_left: bool) -> Matrix {
    let series = matrix.series.into_iter().map(|series| {
        let mut result = Series::empty(series.labels.clone(), matrix.steps.count);
        for step in series.present.ones() {
            let sample = series.values[step];
            let (left, right) = if number_is_left { (number, sample) } else { (sample, number) };
            if let Some(value) = result_at(operation, left, right, sample) {
                result.set(step, value);
            }
        }
        result
    });
    Matrix { steps: matrix.steps, series: series.filter(|series| series.present.any()).collect() }
}

/// The labels by which series of both legs are matched.
fn signature(labels: &Labels, matching: Option<&VectorMatching>) -> Labels {
    match matching {
        None => labels.clone(),
        Some(matching) => {
            let named = |name: &str| matching.labels.iter().any(|label| label == name);
            Labels::from_pairs(labels.iter().filter(|(name, _)| named(name) == matching.on))
        }
    }
}

fn sets(operation: &BinaryExpr, left: Matrix, right: Matrix) -> Matrix {
    let steps = left.steps;
    let matching = operation.matching.as_ref();
    let present_by_signature = |matrix: &Matrix| {
        let mut present: HashMap<Labels, HashSet<usize>> = HashMap::new();
        for series in &matrix.series {
            present.entry(signature(&series.labels, matching)).or_default().extend(series.present.ones());
        }
        present
    };
    // The steps of `series` at which the other leg has a match, or has none.
    let filtered = |series: Series, other: &HashMap<Labels, HashSet<usize>>, wanted: bool| {
        let matches = other.get(&signature(&series.labels, matching));
        let mut result = Series::empty(series.labels.clone(), steps.count);
        for step in series.present.ones() {
            if matches.is_some_and(|steps| steps.contains(&step)) == wanted {
                result.set(step, series.values[step]);
            }
        }
        result
    };
    let mut series: Vec<Series> = match operation.op {
        BinaryOp::Or => {
            let of_left = present_by_signature(&left);
            let more = right.series.into_iter().map(|series| filtered(series, &of_left, false));
            let mut all = left.series;
            for one in more {
                match all.iter_mut().find(|known| known.labels == one.labels) {
                    Some(known) => one.present.ones().for_each(|step| known.set(step, one.values[step])),
                    None => all.push(one),
                }
            }
            all
        }
        BinaryOp::And => {
            let of_right = present_by_signature(&right);
            left.series.into_iter().map(|series| filtered(series, &of_right, true)).collect()
        }
        _ => {
            let of_right = present_by_signature(&right);
            left.series.into_iter().map(|series| filtered(series, &of_right, false)).collect()
        }
    };
    series.retain(|series| series.present.any());
    Matrix { steps, series }
}

/// Arithmetic and comparisons between series that match.
///
/// Errors: those of the earliest step. A second series on the side that must be unique is one even where nothing
/// matches it, and a second match even where the comparison drops it.
fn matched(operation: &BinaryExpr, left: Matrix, right: Matrix) -> Result<Matrix, EvalError> {
    let steps = left.steps;
    let matching = operation.matching.as_ref();
    let group = matching.map_or(&Group::None, |matching| &matching.group);
    let swapped = matches!(group, Group::Right(_));
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let mut ones: HashMap<Labels, Vec<Series>> = HashMap::new();
    for series in one.series {
        ones.entry(signature(&series.labels, matching)).or_default().push(series);
    }
    let mut failure = first_duplicate(&ones, &steps).map(|step| (step, duplicate_text(swapped)));
    let mut results: HashMap<Labels, usize> = HashMap::new();
    let mut series: Vec<Series> = Vec::new();
    // By signature, and by result where the side of many is grouped: the steps at which there was a match.
    let mut matches: HashMap<(Labels, Option<usize>), HashSet<usize>> = HashMap::new();
    for member in &many.series {
        let key = signature(&member.labels, matching);
        for other in ones.get(&key).into_iter().flatten() {
            let labels = result_labels(operation, &member.labels, &other.labels);
            let at = *results.entry(labels.clone()).or_insert_with(|| {
                series.push(Series::empty(labels, steps.count));
                series.len() - 1
            });
            let (grouped, words) = match group {
                Group::None => (None, MANY_TO_ONE),
                _ => (Some(at), MANY_TO_MANY),
            };
            let seen = matches.entry((key.clone(), grouped)).or_default();
            for step in member.present.ones().filter(|step| other.present.get(*step)) {
                if !seen.insert(step) && failure.as_ref().is_none_or(|(first, _)| step < *first) {
                    failure = Some((step, words.to_owned()));
                }
                let (mine, theirs) = (member.values[step], other.values[step]);
                let (left, right) = if swapped { (theirs, mine) } else { (mine, theirs) };
                if let Some(value) = result_at(operation, left, right, left) {
                    series[at].set(step, value);
                }
            }
        }
    }
    if let Some((_, words)) = failure {
        return Err(EvalError(words));
    }
    series.retain(|series| series.present.any());
    Ok(Matrix { steps, series })
}

const MANY_TO_ONE: &str = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
const MANY_TO_MANY: &str = "multiple matches for labels: grouping labels must ensure unique matches";

/// The first step at which two series of the side that must be unique have the same signature.
fn first_duplicate(ones: &HashMap<Labels, Vec<Series>>, steps: &Steps) -> Option<usize> {
    let several = ones.values().filter(|several| several.len() > 1);
    let first = several.filter_map(|several| {
        (0..steps.count).find(|step| several.iter().filter(|series| series.present.get(*step)).nth(1).is_some())
    });
    first.min()
}

fn duplicate_text(swapped: bool) -> String {
    let side = if swapped { "left" } else { "right" };
    format!(
        "found duplicate series on the {side} hand-side;many-to-many matching not allowed: matching labels must be unique on one side"
    )
}

/// Source: Prometheus' rules for the labels of a result.
fn result_labels(operation: &BinaryExpr, many: &Labels, one: &Labels) -> Labels {
    let Some(matching) = &operation.matching else {
        return many.clone();
    };
    let include = match &matching.group {
        Group::None => {
            let named = |name: &str| matching.labels.iter().any(|label| label == name);
            return Labels::from_pairs(many.iter().filter(|(name, _)| named(name) == matching.on));
        }
        Group::Left(include) | Group::Right(include) => include,
    };
    let kept = many.iter().filter(|(name, _)| !include.iter().any(|label| label == name));
    let included = include.iter().filter_map(|label| Some((label.as_str(), one.get(label)?)));
    Labels::from_pairs(kept.chain(included))
}
