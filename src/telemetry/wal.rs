//! Metrics of the write-ahead log.

use prometheus::{Gauge, IntGauge};

use crate::telemetry::metrics::Maker;

/// What the log did since the start, and what waits for it. Read when they are asked for.
#[derive(Debug)]
pub struct WalMetrics {
    pub records: IntGauge,
    /// Records are written and synced in groups.
    pub groups: IntGauge,
    /// Groups that could not be written, for want of space or else: their pushes were refused.
    pub failed_groups: IntGauge,
    pub bytes: IntGauge,
    pub sync_seconds: Gauge,
    pub segments: IntGauge,
    pub queue_bytes: IntGauge,
    /// Records that the last start found to be lost.
    pub lost_records: IntGauge,
}

impl WalMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        WalMetrics {
            records: make.gauge("millrace_wal_records_total", "Records written to the write-ahead log."),
            groups: make.gauge("millrace_wal_groups_total", "Groups of records written and synced at once."),
            failed_groups: make.gauge(
                "millrace_wal_failed_groups_total",
                "Groups that could not be written; their pushes were refused.",
            ),
            bytes: make.gauge("millrace_wal_bytes_total", "Bytes written to the write-ahead log."),
            sync_seconds: make.add(Gauge::new(
                "millrace_wal_sync_seconds_total",
                "Time spent in syncs of the write-ahead log, in seconds.",
            )),
            segments: make.gauge("millrace_wal_segments", "Segments of the write-ahead log."),
            queue_bytes: make.gauge("millrace_wal_queue_bytes", "Bytes of records that wait to be written."),
            lost_records: make.gauge(
                "millrace_wal_lost_records",
                "Records that the last start found to be lost by damage of the log.",
            ),
        }
    }
}
