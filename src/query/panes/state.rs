//! What is kept of the samples of a pane: enough to merge with its neighbours and to give a value.

use crate::logql::ast::RangeOp;

/// Mergeable state. Merging is in time order: left before right.
#[derive(Debug, Clone)]
pub enum PaneState {
    /// Sum, minimum, maximum, mean and sum of squared differences.
    Moments(Moments),
    /// The first or last sample by time.
    First(Option<Sample>),
    Last(Option<Sample>),
    /// All samples: quantiles need their values, counters their order.
    Samples(Vec<Sample>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub ts_ns: i64,
    pub value: f64,
}

#[derive(Debug, Clone, Copy)]
pub struct Moments {
    count: f64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
    squares: f64,
}

impl PaneState {
    pub fn new(op: RangeOp) -> Self {
        match op {
            RangeOp::FirstOverTime => PaneState::First(None),
            RangeOp::LastOverTime => PaneState::Last(None),
            RangeOp::QuantileOverTime | RangeOp::RateCounter => PaneState::Samples(Vec::new()),
            _ => PaneState::Moments(Moments {
                count: 0.0,
                sum: 0.0,
                min: f64::NAN,
                max: f64::NAN,
                mean: 0.0,
                squares: 0.0,
            }),
        }
    }

    /// Adds a sample. Answers the bytes it took beyond the state itself.
    pub fn add(&mut self, ts_ns: i64, value: f64) -> usize {
        let sample = Sample { ts_ns, value };
        match self {
            PaneState::Moments(moments) => moments.add(value),
            PaneState::First(first) => {
                if first.is_none_or(|known| ts_ns < known.ts_ns) {
                    *first = Some(sample);
                }
            }
            PaneState::Last(last) => {
                if last.is_none_or(|known| ts_ns >= known.ts_ns) {
                    *last = Some(sample);
                }
            }
            PaneState::Samples(samples) => {
                samples.push(sample);
                return size_of::<Sample>();
            }
        }
        0
    }

    /// Takes in the state of samples that are later, or of the same pane.
    pub fn merge(&mut self, other: PaneState) {
        match (self, other) {
            (PaneState::Moments(ours), PaneState::Moments(theirs)) => ours.merge(&theirs),
            (PaneState::First(ours), PaneState::First(theirs)) => {
                if let Some(theirs) = theirs
                    && ours.is_none_or(|ours| theirs.ts_ns < ours.ts_ns)
                {
                    *ours = Some(theirs);
                }
            }
            (PaneState::Last(ours), PaneState::Last(theirs)) => {
                if let Some(theirs) = theirs
                    && ours.is_none_or(|ours| theirs.ts_ns >= ours.ts_ns)
                {
                    *ours = Some(theirs);
                }
            }
            (PaneState::Samples(ours), PaneState::Samples(theirs)) => ours.extend(theirs),
            _ => {}
        }
    }

    /// The value of a window with this state. `end_ns` is the window's end.
    pub fn result(&self, op: RangeOp, range_s: f64, range_ns: i64, end_ns: i64) -> f64 {
        match self {
            PaneState::Moments(moments) => moments.result(op, range_s),
            PaneState::First(sample) | PaneState::Last(sample) => sample.map_or(f64::NAN, |sample| sample.value),
            PaneState::Samples(samples) => counter_rate(samples, range_ns, end_ns),
        }
    }
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        self.min = smaller(self.min, value);
        self.max = larger(self.max, value);
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    /// Source: Chan's formula for the moments of two samples together.
    fn merge(&mut self, other: &Moments) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = *other;
            return;
        }
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        self.mean += delta * other.count / count;
        self.squares += other.squares + delta * delta * self.count * other.count / count;
        self.sum += other.sum;
        self.min = smaller(self.min, other.min);
        self.max = larger(self.max, other.max);
        self.count = count;
    }

    fn result(&self, op: RangeOp, range_s: f64) -> f64 {
        match op {
            RangeOp::CountOverTime => self.count,
            RangeOp::AvgOverTime => self.mean,
            RangeOp::MinOverTime => self.min,
            RangeOp::MaxOverTime => self.max,
            RangeOp::StddevOverTime => (self.squares / self.count).sqrt(),
            RangeOp::StdvarOverTime => self.squares / self.count,
            RangeOp::Rate | RangeOp::BytesRate => self.sum / range_s,
            _ => self.sum,
        }
    }
}

/// NaN gives way to a number.
fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || b < a { b } else { a }
}

fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b > a { b } else { a }
}

/// The rate of a counter that may have been reset, extrapolated to the window's bounds.
///
/// Source: Prometheus' extrapolated rate, which Loki's `rate_counter` follows; 0 for fewer than two samples.
fn counter_rate(samples: &[Sample], range_ns: i64, end_ns: i64) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by_key(|sample| sample.ts_ns);
    let [first, .., last] = samples.as_slice() else {
        return 0.0;
    };
    let resets: f64 = samples.windows(2).filter(|pair| pair[1].value < pair[0].value).map(|pair| pair[0].value).sum();
    let increase = last.value - first.value + resets;
    let seconds = |nanos: i64| nanos as f64 / 1e9;
    let sampled = seconds(last.ts_ns - first.ts_ns);
    let between = sampled / (samples.len() - 1) as f64;
    let threshold = between * 1.1;
    let mut to_start = seconds(first.ts_ns - (end_ns - range_ns));
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if increase > 0.0 && first.value >= 0.0 {
        to_start = to_start.min(sampled * (first.value / increase));
    }
    let mut to_end = seconds(end_ns - last.ts_ns);
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    increase * ((sampled + to_start + to_end) / sampled) / seconds(range_ns)
}
