//! Metrics of the stores that hold the table.

use prometheus::{GaugeVec, Opts};

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
}

impl StoreMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        let gauges =
            |name: &str, help: &str, label: &str| make.add(GaugeVec::new(Opts::new(name, help), &["store", label]));
        StoreMetrics {
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
