//! Metrics of the stores that hold the table.

use prometheus::{Gauge, GaugeVec, IntCounterVec, Opts};

use crate::telemetry::metrics::Maker;

/// What was asked of stores since the start.
#[derive(Debug)]
pub struct StoreMetrics {
    /// Requests by `store, operation`, and those that failed after all retries.
    pub requests: GaugeVec,
    pub failures: GaugeVec,
    /// Seconds spent in them.
    pub seconds: GaugeVec,
    /// Bytes by `store, direction`: read, written.
    pub bytes: GaugeVec,
    /// What is kept of buckets, by `place`: memory, disk.
    pub cache_bytes: GaugeVec,
    /// Blocks that were asked for, by where they were found: memory, disk, miss.
    pub cache_blocks: GaugeVec,
    /// Live files and their bytes by `tier`; files due to move.
    pub tier_files: GaugeVec,
    pub tier_bytes: GaugeVec,
    pub tier_moves_due: Gauge,
    /// Files copied to a tier, and their bytes, by `tier`.
    pub tier_moves: IntCounterVec,
    pub tier_moved_bytes: IntCounterVec,
}

impl StoreMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        let gauges =
            |name: &str, help: &str, label: &str| make.add(GaugeVec::new(Opts::new(name, help), &["store", label]));
        let cache = |name: &str, help: &str, label: &str| make.add(GaugeVec::new(Opts::new(name, help), &[label]));
        StoreMetrics {
            tier_files: cache("millrace_tier_files", "Live files by tier.", "tier"),
            tier_bytes: cache("millrace_tier_bytes", "Bytes of live files by tier.", "tier"),
            tier_moves_due: make.add(Gauge::new("millrace_tier_moves_due", "Files due to move to a colder tier.")),
            tier_moves: make.counters("millrace_tier_moves_total", "Files copied to a tier.", &["tier"]),
            tier_moved_bytes: make.counters("millrace_tier_moved_bytes_total", "Bytes copied to a tier.", &["tier"]),
            cache_bytes: cache("millrace_cache_bytes", "Bytes kept of data read from buckets.", "place"),
            cache_blocks: cache(
                "millrace_cache_blocks",
                "Blocks asked for since the start, by where they were.",
                "outcome",
            ),
            requests: gauges("millrace_store_requests", "Requests to a store since the start.", "operation"),
            failures: gauges(
                "millrace_store_failures",
                "Requests to a store that failed after all retries, since the start.",
                "operation",
            ),
            seconds: gauges("millrace_store_seconds", "Seconds spent in requests since the start.", "operation"),
            bytes: gauges("millrace_store_bytes", "Bytes read and written since the start.", "direction"),
        }
    }
}
