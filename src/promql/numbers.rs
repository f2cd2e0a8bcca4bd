//! Numbers as Prometheus adds, compares and prints them.

/// A sum with the error it made so far (Neumaier's form of Kahan's summation).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KahanSum {
    pub(super) sum: f64,
    pub(super) error: f64,
}

impl KahanSum {
    pub(super) fn new(first: f64) -> Self {
        KahanSum { sum: first, error: 0.0 }
    }

    pub(super) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.error = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.error += (self.sum - total) + value;
        } else {
            self.error += (value - total) + self.sum;
        }
        self.sum = total;
    }

    pub(super) fn value(&self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.error }
    }
}

/// A mean that is exact as long as the sum does not overflow, and incremental from there on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mean {
    count: f64,
    sum: KahanSum,
    /// Set once the sum would overflow.
    mean: Option<KahanSum>,
}

impl Mean {
    pub(super) fn new(first: f64) -> Self {
        Mean { count: 1.0, sum: KahanSum::new(first), mean: None }
    }

    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.mean.is_none() {
            let mut next = self.sum;
            next.add(value);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            let before = self.count - 1.0;
            self.mean = Some(KahanSum { sum: self.sum.sum / before, error: self.sum.error / before });
        }
        if let Some(mean) = &mut self.mean {
            let weight = (self.count - 1.0) / self.count;
            mean.sum *= weight;
            mean.error *= weight;
            mean.add(value / self.count);
        }
    }

    pub(super) fn value(&self) -> f64 {
        match &self.mean {
            Some(mean) => mean.sum + mean.error,
            None => self.sum.sum / self.count + self.sum.error / self.count,
        }
    }
}

/// The quantile of `values`, which are put in order, NaN first; between two values by linear weight.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| by_value(*a, *b));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0) as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// Ascending, NaN before everything.
pub(super) fn by_value(a: f64, b: f64) -> std::cmp::Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Whether two numbers differ by no more than what rounding explains.
pub(super) fn almost_equal(a: f64, b: f64, tolerance: f64) -> bool {
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < tolerance * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < tolerance
}

/// As Go's `strconv.FormatFloat(value, 'f', -1, 64)` prints: how Prometheus writes values.
pub fn format_value(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

/// As Go's `strconv.ParseFloat` reads a bucket's bound.
pub(super) fn parse_go_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_what_rounding_loses() {
        let mut sum = KahanSum::new(1.0);
        for value in [1e100, 1.0, -1e100] {
            sum.add(value);
        }
        assert_eq!(sum.value(), 2.0);
        let mut mean = Mean::new(f64::MAX);
        mean.add(f64::MAX);
        assert_eq!(mean.value(), f64::MAX);
    }

    #[test]
    fn quantiles_weigh_neighbours() {
        let check =
            |q: f64, values: &[f64], expected: f64| assert_eq!(quantile(q, &mut values.to_vec()), expected, "{q}");
        check(0.5, &[3.0, 1.0], 2.0);
        check(0.0, &[3.0, 1.0], 1.0);
        check(1.0, &[3.0, 1.0], 3.0);
        check(-0.1, &[3.0], f64::NEG_INFINITY);
        check(1.1, &[3.0], f64::INFINITY);
        assert!(quantile(0.0, &mut [1.0, f64::NAN]).is_nan());
    }

    #[test]
    fn values_are_printed_without_exponents() {
        let check = |value: f64, text: &str| assert_eq!(format_value(value), text);
        check(1.0, "1");
        check(-0.0, "-0");
        check(1e21, "1000000000000000000000");
        check(1e-7, "0.0000001");
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
    }
}
