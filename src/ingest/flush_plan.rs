//! When the head becomes files: pure.

use crate::head::HeadStats;
use crate::types::time::UnixNanos;

/// What a flush waits for, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushLimits {
    /// Arrow bytes of the head. More makes larger files and costs memory (about three heads at the peak).
    pub bytes_max: usize,
    /// Nanoseconds since the head's first row. More makes fewer files; a restart replays more.
    pub age_max_ns: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushReason {
    Size,
    Age,
    Asked,
    Shutdown,
    /// Sources go to another process.
    Handover,
}

impl FlushReason {
    /// Value of the `reason` label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            FlushReason::Size => "full",
            FlushReason::Age => "max_age",
            FlushReason::Asked => "forced",
            FlushReason::Shutdown => "shutdown",
            FlushReason::Handover => "handover",
        }
    }
}

/// Whether the head should be flushed at `now`.
pub fn decide(now: UnixNanos, head: &HeadStats, limits: &FlushLimits) -> Option<FlushReason> {
    if head.is_empty() {
        return None;
    }
    if head.bytes >= limits.bytes_max {
        return Some(FlushReason::Size);
    }
    let age_ns = head.opened_at.map_or(0, |opened| now.0.saturating_sub(opened.0));
    (age_ns >= limits.age_max_ns).then_some(FlushReason::Age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_or_age_whichever_comes_first() {
        let limits = FlushLimits { bytes_max: 100, age_max_ns: 60 };
        let check = |bytes, rows, opened, now, expected| {
            let head = HeadStats { bytes, rows, sources: 0, opened_at: opened };
            assert_eq!(decide(UnixNanos(now), &head, &limits), expected, "{head:?} at {now}");
        };
        check(0, 0, None, 1_000, None);
        check(99, 1, Some(UnixNanos(0)), 59, None);
        check(100, 1, Some(UnixNanos(0)), 0, Some(FlushReason::Size));
        check(1, 1, Some(UnixNanos(10)), 70, Some(FlushReason::Age));
        check(1, 1, Some(UnixNanos(10)), 5, None);
    }
}
