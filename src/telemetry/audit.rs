//! Metrics of the audit trail.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::metrics::Maker;

/// What the trail did.
#[derive(Debug)]
pub struct AuditMetrics {
    /// Records taken, by `event`.
    pub records: IntCounterVec,
    /// Records of questions that found no room.
    pub lost: IntCounter,
    /// Records that wait to be written.
    pub queue_records: IntGauge,
    /// Attempts to write or to read that failed and were made again.
    pub failures: IntCounter,
    /// Chains of which the end was gone when this process came to them.
    pub broken_chains: IntGauge,
    /// Records of each chain, by `tenant` and `writer`: kept elsewhere, it shows when an end was cut off.
    pub chain_records: IntGaugeVec,
}

impl AuditMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        AuditMetrics {
            records: make.counters("millrace_audit_records_total", "Records of the audit trail.", &["event"]),
            lost: make.counter("millrace_audit_lost_records_total", "Records of questions that found no room."),
            queue_records: make.gauge("millrace_audit_queue_records", "Audit records that wait to be written."),
            failures: make.counter(
                "millrace_audit_failures_total",
                "Attempts to write or read the audit trail that failed and were made again.",
            ),
            broken_chains: make.gauge(
                "millrace_audit_broken_chains",
                "Chains of the audit trail whose end was gone when this process came to them.",
            ),
            chain_records: make.gauges(
                "millrace_audit_chain_records",
                "Number of the last record of each chain of the audit trail.",
                &["tenant", "writer"],
            ),
        }
    }
}
