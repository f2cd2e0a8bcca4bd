//! Metrics of the table's upkeep: compaction, retention, deletes, vacuum.

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, exponential_buckets};

use crate::telemetry::metrics::Maker;

/// What upkeep counts.
#[derive(Debug)]
pub struct UpkeepMetrics {
    /// Merges by `outcome`: done, conflict, failed.
    pub compactions: IntCounterVec,
    pub compaction_seconds: Histogram,
    /// Files and their bytes by `direction`: read, written.
    pub compaction_files: IntCounterVec,
    pub compaction_bytes: IntCounterVec,
    /// Bytes of lines that merges read: what the speed of compaction is measured in.
    pub compaction_line_bytes: IntCounter,
    /// CPU time of the upkeep's thread.
    pub cpu_seconds: Gauge,
    /// 1 while a merge runs.
    pub compaction_running: IntGauge,
    /// Merges that are due.
    pub compaction_waiting: IntGauge,
    /// Files that left the table and are not deleted yet, and their bytes.
    pub retired_files: IntGauge,
    pub retired_bytes: IntGauge,
    /// Files deleted from the store by `reason`: retired, orphan.
    pub vacuumed_files: IntCounterVec,
    pub vacuumed_bytes: IntCounter,
    /// Steps of upkeep that failed, by `step`.
    pub failures: IntCounterVec,
    /// Applications of retention by `status`, and when the last good one was, seconds since the epoch.
    pub retention_runs: IntCounterVec,
    pub retention_applied_at: IntGauge,
    /// Files that retention took rows from by `how`: dropped, rewritten; and the rows, by `tenant`.
    pub retention_files: IntCounterVec,
    pub retention_rows: IntCounterVec,
    /// Delete requests by `user`, and those of them that are open and due.
    pub deletes_received: IntCounterVec,
    pub deletes_processed: IntCounterVec,
    pub deletes_pending: IntGauge,
    /// Seconds since the oldest of them was due.
    pub oldest_delete_age: IntGauge,
    /// Lines removed by deletes, by `user`.
    pub deleted_lines: IntCounterVec,
    /// Files set aside because they cannot be read.
    pub damaged_files: IntGauge,
    /// 1 while this process does the upkeep of a table that several share.
    pub lease_held: IntGauge,
}

impl UpkeepMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        UpkeepMetrics {
            compactions: make.counters("millrace_compactions_total", "Merges of files by outcome.", &["outcome"]),
            compaction_seconds: make.add(Histogram::with_opts(
                HistogramOpts::new("millrace_compaction_duration_seconds", "Time one merge took, in seconds.")
                    .buckets(exponential_buckets(0.01, 2.0, 16).expect("positive start, factor above 1")),
            )),
            compaction_files: make.counters(
                "millrace_compaction_files_total",
                "Files that merges read and wrote.",
                &["direction"],
            ),
            compaction_bytes: make.counters(
                "millrace_compaction_bytes_total",
                "Stored bytes that merges read and wrote.",
                &["direction"],
            ),
            compaction_line_bytes: make
                .counter("millrace_compaction_line_bytes_total", "Bytes of lines that merges read."),
            cpu_seconds: make
                .add(Gauge::new("millrace_upkeep_cpu_seconds_total", "CPU time of the table's upkeep, in seconds.")),
            compaction_running: make.gauge("millrace_compaction_running", "1 while a merge runs."),
            compaction_waiting: make.gauge("millrace_compaction_waiting", "Merges that are due."),
            retired_files: make
                .gauge("millrace_table_retired_files", "Files that left the table and are not deleted yet."),
            retired_bytes: make.gauge("millrace_table_retired_bytes", "Their bytes."),
            vacuumed_files: make.counters(
                "millrace_vacuumed_files_total",
                "Files deleted from the store by reason.",
                &["reason"],
            ),
            vacuumed_bytes: make.counter("millrace_vacuumed_bytes_total", "Their bytes."),
            failures: make.counters("millrace_upkeep_failures_total", "Steps of upkeep that failed.", &["step"]),
            retention_runs: make.counters(
                "loki_compactor_apply_retention_operation_total",
                "Total number of attempts done to apply retention with status.",
                &["status"],
            ),
            retention_applied_at: make.gauge(
                "loki_compactor_apply_retention_last_successful_run_timestamp_seconds",
                "Unix timestamp of the last successful retention run.",
            ),
            retention_files: make.counters(
                "millrace_retention_files_total",
                "Files that retention took rows from, dropped or written anew.",
                &["how"],
            ),
            retention_rows: make.counters(
                "millrace_retention_rows_total",
                "Rows that retention removed per tenant.",
                &["tenant"],
            ),
            deletes_received: make.counters(
                "loki_compactor_delete_requests_received_total",
                "Number of delete requests received per user.",
                &["user"],
            ),
            deletes_processed: make.counters(
                "loki_compactor_delete_requests_processed_total",
                "Number of delete requests processed per user.",
                &["user"],
            ),
            deletes_pending: make.gauge(
                "loki_compactor_pending_delete_requests_count",
                "Count of delete requests which are over their cancellation period and have not finished processing yet.",
            ),
            oldest_delete_age: make.gauge(
                "loki_compactor_oldest_pending_delete_request_age_seconds",
                "Age of oldest pending delete request in seconds, since they are over their cancellation period.",
            ),
            deleted_lines: make.counters(
                "loki_compactor_deleted_lines",
                "Number of deleted lines per user.",
                &["user"],
            ),
            damaged_files: make
                .gauge("millrace_table_damaged_files", "Files that upkeep set aside because they cannot be read."),
            lease_held: make.gauge(
                "millrace_upkeep_lease_held",
                "1 while this process does the upkeep of a table that several share.",
            ),
        }
    }
}
