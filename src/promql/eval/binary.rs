//! Binary operators between scalars, vectors, and both.

use std::collections::{HashMap, HashSet};

use super::super::error::PromqlError;
use super::super::labels::without_name;
use super::super::node::{Arithmetic, Binary, BinaryOp, Cardinality, Comparison, Kind, Matching, SetOp};
use super::super::value::{Series, absent, is_absent};
use super::Evaluator;
use super::matching::Groups;
use super::merge::{Collector, merged};
use crate::types::labels::Labels;

/// No series of the `one` side.
const NONE: usize = usize::MAX;

impl Evaluator<'_> {
    pub(super) fn scalar_binary(&self, binary: &Binary) -> Result<Vec<f64>, PromqlError> {
        let (mut left, right) = (self.scalar(&binary.left)?, self.scalar(&binary.right)?);
        for (left, right) in left.iter_mut().zip(right) {
            *left = match binary.op {
                BinaryOp::Arithmetic(op) => op.of(*left, right),
                BinaryOp::Comparison(op) => one_or_zero(op.holds(*left, right)),
                BinaryOp::Set(_) => return Err(PromqlError::Execution("set operators need vectors".to_owned())),
            };
        }
        Ok(left)
    }

    pub(super) fn binary(&self, binary: &Binary) -> Result<Vec<Series>, PromqlError> {
        match (binary.left.kind(), binary.right.kind()) {
            (Kind::Vector, Kind::Scalar) => {
                let (vector, scalar) = (self.vector(&binary.left)?, self.scalar(&binary.right)?);
                vector_with_scalar(binary, vector, &scalar, false)
            }
            (Kind::Scalar, Kind::Vector) => {
                let (scalar, vector) = (self.scalar(&binary.left)?, self.vector(&binary.right)?);
                vector_with_scalar(binary, vector, &scalar, true)
            }
            _ => {
                let (left, right) = (self.vector(&binary.left)?, self.vector(&binary.right)?);
                match binary.op {
                    BinaryOp::Set(op) => self.set_operation(op, &binary.matching, left, right),
                    _ => self.vectors(binary, &left, &right),
                }
            }
        }
    }

    fn set_operation(
        &self,
        op: SetOp,
        matching: &Matching,
        mut left: Vec<Series>,
        mut right: Vec<Series>,
    ) -> Result<Vec<Series>, PromqlError> {
        let groups = Groups::new(matching, &left, &right);
        let cells = groups.labels.len().saturating_mul(self.steps.count);
        self.budget.take(cells / 8)?;
        let mut present = vec![false; cells];
        let (others, numbers) = if op == SetOp::Or { (&left, &groups.left) } else { (&right, &groups.right) };
        for (series, group) in others.iter().zip(numbers) {
            let cells = &mut present[group * self.steps.count..(group + 1) * self.steps.count];
            for (cell, value) in cells.iter_mut().zip(&series.values) {
                *cell |= !is_absent(*value);
            }
        }
        let (kept, numbers) = if op == SetOp::Or { (&mut right, &groups.right) } else { (&mut left, &groups.left) };
        for (series, group) in kept.iter_mut().zip(numbers) {
            let cells = &present[group * self.steps.count..(group + 1) * self.steps.count];
            for (value, present) in series.values.iter_mut().zip(cells) {
                if *present != (op == SetOp::And) {
                    *value = absent();
                }
            }
        }
        if op == SetOp::Or {
            left.append(&mut right);
            left = merged(left)?;
        }
        left.retain(|series| series.values.iter().any(|value| !is_absent(*value)));
        Ok(left)
    }

    fn vectors(&self, binary: &Binary, left: &[Series], right: &[Series]) -> Result<Vec<Series>, PromqlError> {
        let matching = &binary.matching;
        let groups = Groups::new(matching, left, right);
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, many_group) = if swapped { (right, &groups.right) } else { (left, &groups.left) };
        let (one, one_group) = if swapped { (left, &groups.left) } else { (right, &groups.right) };
        // As in Prometheus, the fills are of the sides as they are joined: `group_right` turns them around.
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let mut join = Join {
            binary,
            out: Collector::new(self.steps.count),
            places: HashMap::new(),
            matched: HashSet::new(),
            new_series: 0,
        };
        let mut one_at = vec![NONE; groups.labels.len()];
        for step in 0..self.steps.count {
            self.budget.check()?;
            one_at.fill(NONE);
            join.matched.clear();
            for (at, series) in one.iter().enumerate().filter(|(_, series)| !is_absent(series.values[step])) {
                let group = one_group[at];
                if one_at[group] != NONE {
                    return Err(many_to_many(
                        &groups.labels[group],
                        swapped,
                        &one[one_at[group]].labels,
                        &series.labels,
                    ));
                }
                one_at[group] = at;
            }
            for (at, series) in many.iter().enumerate().filter(|(_, series)| !is_absent(series.values[step])) {
                let group = many_group[at];
                let (other, value) = match (one_at[group], fill_one) {
                    (NONE, None) => continue,
                    (NONE, Some(fill)) => (&groups.labels[group], fill),
                    (other, _) => (&one[other].labels, one[other].values[step]),
                };
                let pair = Pair { key: (at, one_at[group]), group, many: &series.labels, one: other };
                join.add(step, &pair, series.values[step], value)?;
            }
            if let Some(fill) = fill_many {
                let matched: HashSet<usize> = join.matched.iter().map(|(group, _)| *group).collect();
                for (at, series) in one.iter().enumerate().filter(|(_, series)| !is_absent(series.values[step])) {
                    let group = one_group[at];
                    if matched.contains(&group) {
                        continue;
                    }
                    let pair = Pair { key: (NONE, at), group, many: &groups.labels[group], one: &series.labels };
                    join.add(step, &pair, fill, series.values[step])?;
                }
            }
            self.budget.take(std::mem::take(&mut join.new_series).saturating_mul(self.steps.count))?;
        }
        Ok(join.out.finish())
    }
}

/// Two elements that belong together.
struct Pair<'a> {
    /// Their places.
    key: (usize, usize),
    group: usize,
    many: &'a Labels,
    one: &'a Labels,
}

/// Results of a join.
struct Join<'a> {
    binary: &'a Binary,
    out: Collector,
    /// Result series by the places of the pair.
    places: HashMap<(usize, usize), usize>,
    /// Match groups of this step with the results they gave.
    matched: HashSet<(usize, usize)>,
    new_series: usize,
}

impl Join<'_> {
    fn add(&mut self, step: usize, pair: &Pair<'_>, many: f64, one: f64) -> Result<(), PromqlError> {
        let binary = self.binary;
        let swapped = binary.matching.cardinality == Cardinality::OneToMany;
        let (left, right) = if swapped { (one, many) } else { (many, one) };
        let (value, is_kept) = binary.op.of(left, right);
        let out = &mut self.out;
        let new_series = &mut self.new_series;
        let place = *self.places.entry(pair.key).or_insert_with(|| {
            let drops_name = binary.return_bool || matches!(binary.op, BinaryOp::Arithmetic(_));
            let (place, is_new) = out.place(&binary.matching.result(pair.many, pair.one, drops_name));
            *new_series += usize::from(is_new);
            place
        });
        let is_one_to_one = binary.matching.cardinality == Cardinality::OneToOne;
        if !self.matched.insert((pair.group, if is_one_to_one { NONE } else { place })) {
            let why = if is_one_to_one {
                "many-to-one matching must be explicit (group_left/group_right)"
            } else {
                "grouping labels must ensure unique matches"
            };
            return Err(PromqlError::Execution(format!("multiple matches for labels: {why}")));
        }
        match (binary.return_bool, is_kept) {
            (true, _) => self.out.set(place, step, one_or_zero(is_kept)),
            (false, true) => self.out.set(place, step, value),
            (false, false) => Ok(()),
        }
    }
}

fn vector_with_scalar(
    binary: &Binary,
    mut vector: Vec<Series>,
    scalar: &[f64],
    scalar_is_left: bool,
) -> Result<Vec<Series>, PromqlError> {
    let drops_name = binary.return_bool || matches!(binary.op, BinaryOp::Arithmetic(_));
    for series in &mut vector {
        for (value, scalar) in series.values.iter_mut().zip(scalar).filter(|(value, _)| !is_absent(**value)) {
            let element = *value;
            let (left, right) = if scalar_is_left { (*scalar, element) } else { (element, *scalar) };
            let (result, is_kept) = binary.op.of(left, right);
            *value = match binary.op {
                _ if binary.return_bool => one_or_zero(is_kept),
                _ if !is_kept => absent(),
                BinaryOp::Comparison(_) => element,
                _ => result,
            };
        }
        if drops_name {
            series.labels = without_name(&series.labels);
        }
    }
    vector.retain(|series| series.values.iter().any(|value| !is_absent(*value)));
    if drops_name { merged(vector) } else { Ok(vector) }
}

fn many_to_many(group: &Labels, swapped: bool, a: &Labels, b: &Labels) -> PromqlError {
    let side = if swapped { "left" } else { "right" };
    let (first, second) = if a.to_string() <= b.to_string() { (a, b) } else { (b, a) };
    PromqlError::Execution(format!(
        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
    ))
}

fn one_or_zero(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

impl BinaryOp {
    /// The result, and whether a filter lets it through.
    fn of(self, left: f64, right: f64) -> (f64, bool) {
        match self {
            BinaryOp::Arithmetic(op) => (op.of(left, right), true),
            BinaryOp::Comparison(op) => (left, op.holds(left, right)),
            BinaryOp::Set(_) => (left, true),
        }
    }
}

impl Arithmetic {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Arithmetic::Add => left + right,
            Arithmetic::Sub => left - right,
            Arithmetic::Mul => left * right,
            Arithmetic::Div => left / right,
            Arithmetic::Mod => left % right,
            Arithmetic::Pow => left.powf(right),
            Arithmetic::Atan2 => left.atan2(right),
        }
    }
}

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
        }
    }
}
