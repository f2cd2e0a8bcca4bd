//! How many a second.

/// A token bucket as Go's `rate.Limiter`.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at_ns: Option<i64>,
}

impl Bucket {
    /// Full at first.
    pub fn new(per_second: f64, burst: f64) -> Self {
        Bucket { per_second, burst, tokens: burst, at_ns: None }
    }

    fn refill(&mut self, now_ns: i64) {
        let since_s = self.at_ns.map_or(0.0, |at| now_ns.saturating_sub(at).max(0) as f64 / 1e9);
        self.tokens = (self.tokens + since_s * self.per_second).min(self.burst);
        self.at_ns = Some(self.at_ns.map_or(now_ns, |at| at.max(now_ns)));
    }

    /// Takes a token if there is one.
    pub fn allow(&mut self, now_ns: i64) -> bool {
        self.refill(now_ns);
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }

    /// Takes a token in any case; answers when it will have been there.
    pub fn reserve(&mut self, now_ns: i64) -> i64 {
        self.refill(now_ns);
        self.tokens -= 1.0;
        if self.tokens >= 0.0 { now_ns } else { now_ns.saturating_add((-self.tokens / self.per_second * 1e9) as i64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_with_time() {
        let mut bucket = Bucket::new(2.0, 1.0);
        assert_eq!([0, 100_000_000, 500_000_000].map(|at| bucket.allow(at)), [true, false, true]);
        let mut bucket = Bucket::new(2.0, 1.0);
        assert_eq!([0, 0, 0].map(|at| bucket.reserve(at)), [0, 500_000_000, 1_000_000_000]);
    }
}
