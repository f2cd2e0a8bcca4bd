//! Exact quantiles of sliding windows: values ranked once, then counted in and out of a tree.
//!
//! Cost: n log n for n samples and log n a step, whatever the range.

use super::Pane;
use super::state::PaneState;

/// Calls `set` with the quantile of every window that has a sample.
///
/// Source: Loki's: the weighted mean of the two samples around rank q·(n−1); outside 0..=1 infinite.
pub(super) fn quantiles(q: f64, panes: Vec<Pane>, steps: usize, set: &mut impl FnMut(usize, f64)) {
    let values_of = |pane: &Pane| match &pane.state {
        PaneState::Samples(samples) => samples.iter().map(|sample| sample.value).collect::<Vec<f64>>(),
        _ => Vec::new(),
    };
    let values: Vec<Vec<f64>> = panes.iter().map(values_of).collect();
    let mut ranked: Vec<f64> = values.iter().flatten().copied().collect();
    ranked.sort_by(order);
    ranked.dedup_by(|a, b| order(a, b).is_eq());
    let places: Vec<Vec<usize>> = values
        .iter()
        .map(|values| values.iter().map(|value| ranked.partition_point(|known| order(known, value).is_lt())).collect())
        .collect();
    let mut tree = CountTree::new(ranked.len());
    let (mut entered, mut left) = (0, 0);
    for step in 0..steps {
        while entered < panes.len() && panes[entered].first <= step {
            places[entered].iter().for_each(|place| tree.add(*place, 1));
            entered += 1;
        }
        while left < entered && panes[left].last < step {
            places[left].iter().for_each(|place| tree.add(*place, -1));
            left += 1;
        }
        if tree.total == 0 {
            continue;
        }
        let value = if q < 0.0 {
            f64::NEG_INFINITY
        } else if q > 1.0 {
            f64::INFINITY
        } else {
            let rank = q * (tree.total - 1) as f64;
            let lower = rank.floor();
            let weight = rank - lower;
            let upper = (lower as i64 + 1).min(tree.total - 1);
            ranked[tree.nth(lower as i64)] * (1.0 - weight) + ranked[tree.nth(upper)] * weight
        };
        set(step, value);
    }
}

/// NaN ranks below every number, as in Loki's heap.
fn order(a: &f64, b: &f64) -> std::cmp::Ordering {
    b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
}

/// Counts by place, with the n-th found in log time (a Fenwick tree).
#[derive(Debug)]
struct CountTree {
    sums: Vec<i64>,
    total: i64,
}

impl CountTree {
    fn new(places: usize) -> Self {
        CountTree { sums: vec![0; places + 1], total: 0 }
    }

    fn add(&mut self, place: usize, count: i64) {
        self.total += count;
        let mut at = place + 1;
        while at < self.sums.len() {
            self.sums[at] += count;
            at += at & at.wrapping_neg();
        }
    }

    /// The place of the n-th counted, from 0.
    fn nth(&self, n: i64) -> usize {
        let mut rest = n;
        let mut at = 0;
        let mut width = self.sums.len().next_power_of_two();
        while width > 0 {
            let next = at + width;
            if next < self.sums.len() && self.sums[next] <= rest {
                at = next;
                rest -= self.sums[next];
            }
            width /= 2;
        }
        at
    }
}
