//! Metrics of derived metrics: their store, PromQL, and remote write.

use prometheus::{Gauge, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::metrics::Maker;

/// What the store of derived metrics says of itself.
#[derive(Debug)]
pub struct DerivedMetrics {
    pub memory_bytes: IntGauge,
    pub memory_series: IntGauge,
    pub memory_samples: IntGauge,
    /// Bytes of samples that wait for the log.
    pub pending_bytes: IntGauge,
    pub files: IntGauge,
    pub file_bytes: Gauge,
    pub index_cache_bytes: Gauge,
    /// Samples taken and refused since the start.
    pub appended: Gauge,
    pub refused: Gauge,
    /// Flushes by `outcome`: flushed, failed.
    pub flushes: IntCounterVec,
    /// Files whose samples were older than the retention.
    pub expired_files: IntCounter,
    /// PromQL latency by `kind`: instant, range; and `outcome`.
    pub query_seconds: HistogramVec,
    /// Samples sent by `client` and `outcome`: sent, failed, dropped.
    pub remote_samples: IntCounterVec,
    /// Requests by `client` and `status`; 0 when there was no answer.
    pub remote_requests: IntCounterVec,
    /// Bytes that wait to be sent, and how old the oldest is, by `client`.
    pub remote_queue_bytes: IntGaugeVec,
    pub remote_lag_seconds: IntGaugeVec,
}

impl DerivedMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        DerivedMetrics {
            memory_bytes: make.gauge("millrace_metrics_memory_bytes", "Bytes of derived samples in memory."),
            memory_series: make.gauge("millrace_metrics_memory_series", "Derived series in memory."),
            memory_samples: make.gauge("millrace_metrics_memory_samples", "Derived samples in memory."),
            pending_bytes: make.gauge("millrace_metrics_pending_bytes", "Bytes of samples that wait for their log."),
            files: make.gauge("millrace_metrics_files", "Live files of the table of metrics."),
            file_bytes: make.float_gauge("millrace_metrics_file_bytes", "Bytes of live files of the table of metrics."),
            index_cache_bytes: make.float_gauge("millrace_metrics_index_cache_bytes", "Bytes of cached file indexes."),
            appended: make.float_gauge("millrace_metrics_appended_samples", "Samples taken since the start."),
            refused: make.float_gauge("millrace_metrics_refused_samples", "Samples refused since the start."),
            flushes: make.counters("millrace_metrics_flushes_total", "Flushes of metrics by outcome.", &["outcome"]),
            expired_files: make
                .counter("millrace_metrics_expired_files_total", "Files of metrics older than their retention."),
            query_seconds: make.histograms(
                "millrace_promql_query_seconds",
                "Seconds of a PromQL query.",
                vec![0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0],
                &["kind", "outcome"],
            ),
            remote_samples: make.counters(
                "millrace_remote_write_samples_total",
                "Samples of remote write by outcome.",
                &["client", "outcome"],
            ),
            remote_requests: make.counters(
                "millrace_remote_write_requests_total",
                "Requests of remote write by status.",
                &["client", "status"],
            ),
            remote_queue_bytes: make.gauges(
                "millrace_remote_write_queue_bytes",
                "Bytes of samples that wait to be sent.",
                &["client"],
            ),
            remote_lag_seconds: make.gauges(
                "millrace_remote_write_lag_seconds",
                "Age of the oldest sample that waits to be sent.",
                &["client"],
            ),
        }
    }
}
