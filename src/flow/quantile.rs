//! Values of which a quantile is asked: all of them up to a bound, a sketch beyond.
//!
//! The sketch counts values in buckets whose bounds grow by a constant factor, so that a quantile from it is off by at
//! most [`RELATIVE_ERROR`] of its value. Source: DDSketch (Masson, Rim, Lee, 2019).
//!
//! Invariant: up to [`EXACT_VALUES_MAX`] values answers are exact, and equal to the query engine's.

use std::collections::BTreeMap;

/// Values kept one by one; at 8 bytes, 8 KiB a pane.
pub const EXACT_VALUES_MAX: usize = 1024;
/// How far a quantile of a sketch may be off, as a part of its value.
pub const RELATIVE_ERROR: f64 = 0.005;
/// Buckets a sketch has at most; beyond, the smallest magnitudes share one. Covers 18 decades at this error.
const BUCKETS_MAX: usize = 4096;

/// Exact or sketched.
#[derive(Debug, Clone)]
pub enum Values {
    Exact(Vec<f64>),
    Sketch(Box<Sketch>),
}

/// Counts by magnitude.
#[derive(Debug, Clone, Default)]
pub struct Sketch {
    positive: BTreeMap<i32, u64>,
    negative: BTreeMap<i32, u64>,
    zeros: u64,
    nans: u64,
}

impl Default for Values {
    fn default() -> Self {
        Values::Exact(Vec::new())
    }
}

impl Values {
    /// Answers the bytes it took.
    pub fn add(&mut self, value: f64) -> usize {
        match self {
            Values::Exact(values) if values.len() < EXACT_VALUES_MAX => {
                values.push(value);
                size_of::<f64>()
            }
            Values::Exact(_) => {
                self.sketched().add(value, 1);
                0
            }
            Values::Sketch(sketch) => {
                sketch.add(value, 1);
                0
            }
        }
    }

    /// Panes of a window may be exact together and still be many: only panes are bounded.
    pub fn merge(&mut self, other: &Values) {
        match (&mut *self, other) {
            (Values::Exact(ours), Values::Exact(theirs)) => ours.extend(theirs),
            (_, Values::Exact(theirs)) => {
                let sketch = self.sketched();
                theirs.iter().for_each(|value| sketch.add(*value, 1));
            }
            (_, Values::Sketch(theirs)) => self.sketched().merge(theirs),
        }
    }

    pub fn is_exact(&self) -> bool {
        matches!(self, Values::Exact(_))
    }

    /// Source: Loki's: the weighted mean of the two values around rank q·(n−1); outside 0..=1 infinite.
    pub fn quantile(&self, q: f64) -> f64 {
        if q < 0.0 {
            return f64::NEG_INFINITY;
        }
        if q > 1.0 {
            return f64::INFINITY;
        }
        match self {
            Values::Exact(values) => {
                let mut ranked = values.clone();
                ranked.sort_by(order);
                weighted(q, ranked.len(), |rank| ranked[rank])
            }
            Values::Sketch(sketch) => {
                weighted(q, usize::try_from(sketch.total()).unwrap_or(usize::MAX), |rank| sketch.nth(rank as u64))
            }
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Values::Exact(values) => values.capacity() * size_of::<f64>(),
            Values::Sketch(sketch) => (sketch.positive.len() + sketch.negative.len()) * 24 + size_of::<Sketch>(),
        }
    }

    fn sketched(&mut self) -> &mut Sketch {
        if let Values::Exact(values) = self {
            let mut sketch = Sketch::default();
            values.iter().for_each(|value| sketch.add(*value, 1));
            *self = Values::Sketch(Box::new(sketch));
        }
        match self {
            Values::Sketch(sketch) => sketch,
            Values::Exact(_) => unreachable!("made a sketch just now"),
        }
    }
}

fn weighted(q: f64, count: usize, nth: impl Fn(usize) -> f64) -> f64 {
    if count == 0 {
        return f64::NAN;
    }
    let rank = q * (count - 1) as f64;
    let lower = rank.floor();
    let weight = rank - lower;
    let upper = (lower as usize + 1).min(count - 1);
    nth(lower as usize) * (1.0 - weight) + nth(upper) * weight
}

/// NaN ranks below every number, as in Loki's heap.
fn order(a: &f64, b: &f64) -> std::cmp::Ordering {
    b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
}

impl Sketch {
    fn add(&mut self, value: f64, count: u64) {
        if value.is_nan() {
            self.nans += count;
        } else if value == 0.0 {
            self.zeros += count;
        } else {
            let side = if value > 0.0 { &mut self.positive } else { &mut self.negative };
            *side.entry(bucket(value.abs())).or_default() += count;
            collapse(side);
        }
    }

    fn merge(&mut self, other: &Sketch) {
        self.nans += other.nans;
        self.zeros += other.zeros;
        for (ours, theirs) in [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)] {
            theirs.iter().for_each(|(bucket, count)| *ours.entry(*bucket).or_default() += count);
            collapse(ours);
        }
    }

    fn total(&self) -> u64 {
        self.nans + self.zeros + self.positive.values().sum::<u64>() + self.negative.values().sum::<u64>()
    }

    /// About the value of this rank, from 0.
    fn nth(&self, rank: u64) -> f64 {
        let mut before = self.nans;
        if rank < before {
            return f64::NAN;
        }
        for (bucket, count) in self.negative.iter().rev() {
            before += count;
            if rank < before {
                return -middle(*bucket);
            }
        }
        before += self.zeros;
        if rank < before {
            return 0.0;
        }
        for (bucket, count) in &self.positive {
            before += count;
            if rank < before {
                return middle(*bucket);
            }
        }
        f64::NAN
    }
}

fn collapse(side: &mut BTreeMap<i32, u64>) {
    while side.len() > BUCKETS_MAX {
        let Some((_, count)) = side.pop_first() else { return };
        if let Some(mut smallest) = side.first_entry() {
            *smallest.get_mut() += count;
        }
    }
}

/// ln of the factor between bounds of a bucket.
fn growth() -> f64 {
    ((1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR)).ln()
}

fn bucket(magnitude: f64) -> i32 {
    if magnitude.is_infinite() { i32::MAX } else { (magnitude.ln() / growth()).ceil() as i32 }
}

fn middle(bucket: i32) -> f64 {
    if bucket == i32::MAX {
        return f64::INFINITY;
    }
    (f64::from(bucket) * growth()).exp() * (1.0 - RELATIVE_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_within_the_bound_and_close_beyond() {
        let value = |at: usize| ((at * 7919) % 10_007) as f64 - 2000.0;
        for count in [1, 5, EXACT_VALUES_MAX, EXACT_VALUES_MAX + 1, 50_000] {
            let mut values = Values::default();
            (0..count).for_each(|at| {
                values.add(value(at));
            });
            assert_eq!(values.is_exact(), count <= EXACT_VALUES_MAX);
            let mut ranked: Vec<f64> = (0..count).map(value).collect();
            ranked.sort_by(order);
            for q in [0.0, 0.1, 0.5, 0.9, 0.99, 1.0] {
                let expected = weighted(q, count, |rank| ranked[rank]);
                let got = values.quantile(q);
                let allowed = if values.is_exact() { 0.0 } else { expected.abs() * RELATIVE_ERROR * 1.01 + 1e-9 };
                assert!((got - expected).abs() <= allowed, "{count} values, q {q}: {got}, exactly {expected}");
            }
        }
    }

    #[test]
    fn merged_is_as_added_together() {
        let (mut one, mut other, mut together) = (Values::default(), Values::default(), Values::default());
        for at in 0..3000 {
            let value = f64::from(at % 1000) / 3.0;
            if at % 3 == 0 {
                one.add(value)
            } else {
                other.add(value)
            };
            together.add(value);
        }
        one.merge(&other);
        for q in [0.01, 0.5, 0.95] {
            assert_eq!(one.quantile(q), together.quantile(q), "{q}");
        }
    }

    #[test]
    fn odd_values_have_their_rank() {
        let mut values = Values::Sketch(Box::default());
        [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, 1.0, f64::INFINITY].iter().for_each(|value| {
            values.add(*value);
        });
        assert!(values.quantile(0.0).is_nan());
        assert_eq!(values.quantile(0.6), 0.0);
        assert_eq!(values.quantile(0.9), f64::INFINITY);
        assert_eq!((values.quantile(-0.1), values.quantile(1.1)), (f64::NEG_INFINITY, f64::INFINITY));
    }
}
