//! How far event time has come: the moment up to which rows are taken for complete.
//!
//! ```text
//! rows of a source ─▶ its newest time − delay ─┐
//! a live source that is silent ─▶ now − delay ─┼─ the least of all sources that are not idle ─▶ watermark
//! an idle source ─▶ (does not count)           ┘     all idle: now − idle_after
//! ```
//!
//! A source is the push door or one Kafka partition. It is live when its rows came soon after their times: then its
//! silence means that nothing happened. A source that reads the past (a load, a partition that lags) is not, and
//! holds the clock until it has been silent for `idle_after`.
//!
//! Invariants: a watermark never goes back and is never in the future. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::time::UnixNanos;

/// How long the clock waits for rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkLimits {
    /// How long rows may take to arrive before they are late, nanoseconds.
    pub delay_ns: i64,
    /// After which silence a source no longer holds the clock, nanoseconds.
    pub idle_after_ns: i64,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    newest: UnixNanos,
    arrived: UnixNanos,
    /// How late the newest row was, by the wall.
    lag_ns: i64,
}

/// The clock of one tenant.
#[derive(Debug, Clone)]
pub struct Watermark {
    limits: WatermarkLimits,
    sources: HashMap<Arc<str>, Source>,
    opened: UnixNanos,
    last: Option<UnixNanos>,
}

impl Watermark {
    /// `last` is what a former life of the server had reached; `now` by the wall.
    pub fn new(limits: WatermarkLimits, last: Option<UnixNanos>, now: UnixNanos) -> Self {
        Watermark { limits, sources: HashMap::new(), opened: now, last }
    }

    /// Rows of a source came, the newest of this time.
    pub fn rows_came(&mut self, source: &Arc<str>, newest: UnixNanos, now: UnixNanos) {
        let newest = newest.min(now);
        match self.sources.get_mut(source) {
            Some(known) => {
                if newest >= known.newest {
                    known.newest = newest;
                    known.lag_ns = now.0.saturating_sub(newest.0);
                }
                known.arrived = now;
            }
            None => {
                let lag_ns = now.0.saturating_sub(newest.0);
                self.sources.insert(source.clone(), Source { newest, arrived: now, lag_ns });
            }
        }
    }

    /// A source went away.
    pub fn drop_source(&mut self, source: &str) {
        self.sources.remove(source);
    }

    /// The watermark now; `None` before there is one.
    pub fn advance(&mut self, now: UnixNanos) -> Option<UnixNanos> {
        let WatermarkLimits { delay_ns, idle_after_ns } = self.limits;
        let of_sources = self.sources.values().filter_map(|source| source.reached(&self.limits, now)).min();
        let reached = of_sources.or_else(|| {
            // Nobody speaks: time goes on by the wall.
            let silent_since = self.sources.values().map(|source| source.arrived).max().unwrap_or(self.opened);
            let is_idle = now.0.saturating_sub(silent_since.0) >= idle_after_ns;
            is_idle.then(|| now.saturating_sub(idle_after_ns.max(delay_ns)))
        });
        self.last = self.last.max(reached.map(|reached| reached.min(now)));
        self.last
    }

    /// A former life of the server came this far: the clock does not go back behind it.
    pub fn reached_before(&mut self, at: Option<UnixNanos>) {
        self.last = self.last.max(at);
    }

    pub fn last(&self) -> Option<UnixNanos> {
        self.last
    }
}

impl Source {
    /// How far this source has come; `None` when it is idle.
    fn reached(&self, limits: &WatermarkLimits, now: UnixNanos) -> Option<UnixNanos> {
        let by_rows = self.newest.saturating_sub(limits.delay_ns);
        if self.lag_ns <= limits.idle_after_ns {
            return Some(by_rows.max(now.saturating_sub(limits.delay_ns.max(self.lag_ns))));
        }
        let is_idle = now.0.saturating_sub(self.arrived.0) >= limits.idle_after_ns;
        (!is_idle).then_some(by_rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;
    const LIMITS: WatermarkLimits = WatermarkLimits { delay_ns: S, idle_after_ns: 10 * S };

    /// `rows` are (source, newest, now) in seconds; each `expect` is (now, watermark).
    fn run(script: &[(&str, i64, i64)]) -> Vec<Option<i64>> {
        let mut clock = Watermark::new(LIMITS, None, UnixNanos(1000 * S));
        let mut seen = Vec::new();
        for (source, newest, now) in script {
            if *source != "-" {
                clock.rows_came(&Arc::from(*source), UnixNanos(newest * S), UnixNanos(now * S));
            }
            seen.push(clock.advance(UnixNanos(now * S)).map(|at| at.0 / S));
        }
        seen
    }

    #[test]
    fn the_clock_follows_rows_and_then_the_wall() {
        let check =
            |script: &[(&str, i64, i64)], expected: &[Option<i64>]| assert_eq!(run(script), expected, "{script:?}");
        // Live rows, then silence.
        check(&[("a", 1000, 1000), ("-", 0, 1001), ("-", 0, 1005)], &[Some(999), Some(1000), Some(1004)]);
        // A source that reads the past holds the clock while it speaks.
        check(
            &[("a", 500, 1000), ("a", 600, 1005), ("-", 0, 1014), ("-", 0, 1015)],
            &[Some(499), Some(599), Some(599), Some(1005)],
        );
        // The slowest counts, until it is idle.
        check(&[("a", 1000, 1000), ("b", 900, 1000), ("a", 1005, 1005)], &[Some(999), Some(999), Some(999)]);
        check(&[("b", 900, 1000), ("a", 1005, 1005), ("a", 1011, 1011)], &[Some(899), Some(899), Some(1010)]);
        // Nobody at all: by the wall, after a while.
        check(&[("-", 0, 1005), ("-", 0, 1010), ("-", 0, 1020)], &[None, Some(1000), Some(1010)]);
        // A clock that is ahead does not take ours along.
        check(&[("a", 2000, 1000)], &[Some(999)]);
        // Late rows do not take it back.
        check(&[("a", 1000, 1000), ("a", 990, 1001), ("a", 700, 1002)], &[Some(999), Some(1000), Some(1001)]);
    }
}
