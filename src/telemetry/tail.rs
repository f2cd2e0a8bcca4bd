//! Metrics of live tails.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use crate::telemetry::metrics::Maker;

/// What tails count.
#[derive(Debug)]
pub struct TailMetrics {
    /// Tails that are open.
    pub active: IntGauge,
    /// Entries sent, by `tenant`.
    pub entries: IntCounterVec,
    /// Bytes of their lines.
    pub bytes: IntCounter,
    /// Entries that a reader was too slow for.
    pub dropped: IntCounter,
}

impl TailMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        TailMetrics {
            active: make.gauge("loki_querier_tail_active", "Number of active tailers."),
            entries: make.counters("millrace_tail_entries_total", "Entries sent to live tails.", &["tenant"]),
            bytes: make.counter("loki_querier_tail_bytes_total", "total bytes tailed"),
            dropped: make.counter("millrace_tail_dropped_entries_total", "Entries that a reader was too slow for."),
        }
    }
}
