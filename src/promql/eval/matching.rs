//! Which elements of two vectors belong together, by the labels they are matched on.

use std::collections::HashMap;

use super::super::labels::{all_but, only, with, without_name};
use super::super::node::{Cardinality, Matching};
use super::super::value::Series;
use crate::types::labels::Labels;

/// The number of the match group of each series of both sides.
pub(super) struct Groups {
    pub(super) left: Vec<usize>,
    pub(super) right: Vec<usize>,
    pub(super) labels: Vec<Labels>,
}

impl Groups {
    pub(super) fn new(matching: &Matching, left: &[Series], right: &[Series]) -> Self {
        let mut place: HashMap<Labels, usize> = HashMap::with_capacity(left.len());
        let mut labels = Vec::new();
        let mut number = |series: &Series| {
            let group = matching.group(&series.labels);
            let at = *place.entry(group.clone()).or_insert(labels.len());
            if at == labels.len() {
                labels.push(group);
            }
            at
        };
        let left = left.iter().map(&mut number).collect();
        let right = right.iter().map(&mut number).collect();
        Groups { left, right, labels }
    }
}

impl Matching {
    /// The labels that elements are matched on.
    fn group(&self, labels: &Labels) -> Labels {
        if self.on { only(labels, &self.names) } else { all_but(labels, &self.names) }
    }

    /// Labels of a result: of the many side, with what is taken from the `one` side.
    pub(super) fn result(&self, many: &Labels, one: &Labels, drops_name: bool) -> Labels {
        let mut labels = if drops_name { without_name(many) } else { many.clone() };
        if self.cardinality == Cardinality::OneToOne {
            labels = if self.on { only(&labels, &self.names) } else { without(&labels, &self.names) };
        }
        for name in &self.include {
            labels = with(&labels, name, one.get(name).unwrap_or(""));
        }
        labels
    }
}

/// All but `names`; the metric's name stays.
fn without(labels: &Labels, names: &[String]) -> Labels {
    if names.is_empty() {
        return labels.clone();
    }
    Labels::from_pairs(labels.iter().filter(|(name, _)| !names.iter().any(|dropped| dropped == name)))
}
