//! Exact quantiles of sliding windows: values ranked once, then counted in and out.
//!
//! Cost: n log n for n samples to rank them and a walk over some hundred counts a step, whatever the range.

use super::Pane;
use super::state::PaneState;

/// Calls `set` with the quantile of every window that has a sample.
///
/// Source: Loki's: the weighted mean of the two samples around rank q·(n−1); outside 0..=1 infinite.
pub(super) fn quantiles(q: f64, panes: Vec<Pane>, steps: usize, set: &mut impl FnMut(usize, f64)) {
    let mut samples: Vec<(u64, u32)> = Vec::new();
    for (pane, at) in panes.iter().zip(0..) {
        if let PaneState::Samples(of_pane) = &pane.state {
            samples.extend(of_pane.iter().map(|sample| (key_of(sample.value), at)));
        }
    }
    samples.sort_unstable();
    let mut ranked: Vec<f64> = Vec::new();
    let mut places: Vec<Vec<u32>> = vec![Vec::new(); panes.len()];
    let mut last = None;
    for (key, pane) in samples {
        if last != Some(key) {
            ranked.push(value_of(key));
            last = Some(key);
        }
        places[pane as usize].push(ranked.len() as u32 - 1);
    }
    let mut counts = Counts::new(ranked.len());
    let (mut entered, mut left) = (0, 0);
    for step in 0..steps {
        while entered < panes.len() && panes[entered].first <= step {
            places[entered].iter().for_each(|place| counts.add(*place, 1));
            entered += 1;
        }
        while left < entered && panes[left].last < step {
            places[left].iter().for_each(|place| counts.add(*place, -1));
            left += 1;
        }
        if counts.total == 0 {
            continue;
        }
        let value = if q < 0.0 {
            f64::NEG_INFINITY
        } else if q > 1.0 {
            f64::INFINITY
        } else {
            let rank = q * (counts.total - 1) as f64;
            let lower = rank.floor();
            let weight = rank - lower;
            let upper = (lower as i64 + 1).min(counts.total - 1);
            ranked[counts.nth(lower as i64)] * (1.0 - weight) + ranked[counts.nth(upper)] * weight
        };
        set(step, value);
    }
}

/// Numbers in their order; NaN ranks below every number, as in Loki's heap, and both zeros are one.
fn key_of(value: f64) -> u64 {
    if value.is_nan() {
        return 0;
    }
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn value_of(key: u64) -> f64 {
    match key {
        0 => f64::NAN,
        positive if positive >> 63 == 1 => f64::from_bits(positive & !(1 << 63)),
        negative => f64::from_bits(!negative),
    }
}

/// Counts by place, by block of places and by block of blocks: cheap to change, quick to find the n-th in.
#[derive(Debug)]
struct Counts {
    levels: [Vec<i64>; 3],
    total: i64,
}

/// Places of a block, blocks of a block of blocks: 2 to this.
const BLOCK_BITS: u32 = 8;

impl Counts {
    fn new(places: usize) -> Self {
        let blocks = |level: u32| vec![0; (places >> (BLOCK_BITS * level)) + 1];
        Counts { levels: [blocks(0), blocks(1), blocks(2)], total: 0 }
    }

    #[inline]
    fn add(&mut self, place: u32, count: i64) {
        self.total += count;
        for (level, counts) in (0..).zip(&mut self.levels) {
            counts[place as usize >> (BLOCK_BITS * level)] += count;
        }
    }

    /// The place of the n-th counted, from 0.
    fn nth(&self, n: i64) -> usize {
        let (mut rest, mut at) = (n, 0);
        for counts in self.levels.iter().rev() {
            at <<= BLOCK_BITS;
            while at + 1 < counts.len() && counts[at] <= rest {
                rest -= counts[at];
                at += 1;
            }
        }
        at
    }
}
