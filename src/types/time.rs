//! Time: nanoseconds since the Unix epoch, half-open ranges, and a clock that can be injected.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub const NANOS_PER_SECOND: i64 = 1_000_000_000;
pub const NANOS_PER_MILLI: i64 = 1_000_000;
pub const NANOS_PER_DAY: i64 = 86_400 * NANOS_PER_SECOND;

/// An instant: nanoseconds since 1970-01-01T00:00:00Z, negative before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnixNanos(pub i64);

impl UnixNanos {
    pub const MIN: UnixNanos = UnixNanos(i64::MIN);
    pub const MAX: UnixNanos = UnixNanos(i64::MAX);

    pub fn saturating_add(self, nanos: i64) -> Self {
        UnixNanos(self.0.saturating_add(nanos))
    }

    pub fn saturating_sub(self, nanos: i64) -> Self {
        UnixNanos(self.0.saturating_sub(nanos))
    }

    /// Whole days since the epoch, rounded down: the `date` partition.
    pub fn day(self) -> i32 {
        i32::try_from(self.0.div_euclid(NANOS_PER_DAY)).expect("i64 nanoseconds span about ±106,752 days")
    }
}

/// `start ≤ t < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeRange {
    pub start: UnixNanos,
    pub end: UnixNanos,
}

impl TimeRange {
    pub const ALL: TimeRange = TimeRange { start: UnixNanos::MIN, end: UnixNanos::MAX };

    pub fn new(start: UnixNanos, end: UnixNanos) -> Self {
        TimeRange { start, end }
    }

    pub fn contains(&self, t: UnixNanos) -> bool {
        self.start <= t && t < self.end
    }

    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// Whether rows spanning `min..=max` can have one inside.
    pub fn overlaps_closed(&self, min: UnixNanos, max: UnixNanos) -> bool {
        min < self.end && self.start <= max
    }

    /// Whether all rows spanning `min..=max` are inside.
    pub fn covers_closed(&self, min: UnixNanos, max: UnixNanos) -> bool {
        self.start <= min && max < self.end
    }
}

/// Where "now" comes from. Cheap to clone; tests hold the hand.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's wall clock.
    pub fn system() -> Self {
        Clock(None)
    }

    /// A clock that stands still until [`Clock::set`].
    pub fn manual(now: UnixNanos) -> Self {
        Clock(Some(Arc::new(AtomicI64::new(now.0))))
    }

    /// Moves a manual clock; the system clock ignores it.
    pub fn set(&self, now: UnixNanos) {
        if let Some(hand) = &self.0 {
            hand.store(now.0, Ordering::Relaxed);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> UnixNanos {
        match &self.0 {
            Some(hand) => UnixNanos(hand.load(Ordering::Relaxed)),
            None => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                UnixNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
            }
        }
    }
}
