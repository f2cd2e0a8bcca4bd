//! What the agent counts, under Promtail's names; ours for the rest.

use std::sync::Arc;

use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::pipeline::PipelineMetrics;
use crate::types::time::Clock;

/// Every metric of an agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentMetrics {
    registry: Arc<Registry>,
    pub pipeline: PipelineMetrics,
    /// By `host`.
    pub encoded_bytes: IntCounterVec,
    pub sent_bytes: IntCounterVec,
    pub sent_entries: IntCounterVec,
    /// By `host, tenant, reason`.
    pub dropped_bytes: IntCounterVec,
    pub dropped_entries: IntCounterVec,
    pub mutated_bytes: IntCounterVec,
    pub mutated_entries: IntCounterVec,
    /// By `status_code, host`, seconds.
    pub request_duration: HistogramVec,
    /// By `host, tenant`.
    pub batch_retries: IntCounterVec,
    /// By `path`.
    pub read_bytes: IntGaugeVec,
    pub read_lines: IntCounterVec,
    pub file_bytes: IntGaugeVec,
    pub files_active: IntGauge,
    pub targets_active: IntGauge,
    /// By `reason`.
    pub targets_failed: IntCounterVec,
    /// Entries that came over syslog, and messages that could not be read.
    pub syslog_entries: IntCounterVec,
    pub syslog_errors: IntCounterVec,
    /// Bytes and batches that wait on disk, by `client`.
    pub buffer_bytes: IntGaugeVec,
    pub buffer_batches: IntGaugeVec,
    /// 1, with the version in labels.
    pub build_info: GaugeVec,
}

impl AgentMetrics {
    /// # Panics
    /// Never: names and labels are constants, and a test makes them all.
    pub fn new(clock: Clock) -> Self {
        let registry = Registry::new();
        fn add<C: prometheus::core::Collector + Clone + 'static>(
            registry: &Registry,
            made: prometheus::Result<C>,
        ) -> C {
            let metric = made.expect("metric names and labels are constants, tested");
            registry.register(Box::new(metric.clone())).expect("every metric has a name of its own, tested");
            metric
        }
        let counters = |name: &str, help: &str, labels: &[&str]| {
            add(&registry, IntCounterVec::new(Opts::new(format!("promtail_{name}"), help), labels))
        };
        let gauges =
            |name: &str, help: &str, labels: &[&str]| add(&registry, IntGaugeVec::new(Opts::new(name, help), labels));
        let (host, reason): (&[&str], &[&str]) = (&["host"], &["host", "tenant", "reason"]);
        let pipeline = PipelineMetrics::new(clock);
        pipeline.register(&registry).expect("every metric has a name of its own, tested");
        let duration = HistogramOpts::new("promtail_request_duration_seconds", "Duration of send requests.");
        let metrics = AgentMetrics {
            pipeline,
            encoded_bytes: counters("encoded_bytes_total", "Number of bytes encoded and ready to send.", host),
            sent_bytes: counters("sent_bytes_total", "Number of bytes sent.", host),
            sent_entries: counters("sent_entries_total", "Number of log entries sent to the ingester.", host),
            dropped_bytes: counters(
                "dropped_bytes_total",
                "Number of bytes dropped because failed to be sent to the ingester after all retries.",
                reason,
            ),
            dropped_entries: counters(
                "dropped_entries_total",
                "Number of log entries dropped because failed to be sent to the ingester after all retries.",
                reason,
            ),
            mutated_bytes: counters("mutated_bytes_total", "The total number of bytes that have been mutated.", reason),
            mutated_entries: counters(
                "mutated_entries_total",
                "The total number of log entries that have been mutated.",
                reason,
            ),
            request_duration: add(&registry, HistogramVec::new(duration, &["status_code", "host"])),
            batch_retries: counters(
                "batch_retries_total",
                "Number of times batches has had to be retried.",
                &["host", "tenant"],
            ),
            read_bytes: gauges("promtail_read_bytes_total", "Number of bytes read.", &["path"]),
            read_lines: counters("read_lines_total", "Number of lines read.", &["path"]),
            file_bytes: gauges("promtail_file_bytes_total", "Number of bytes total.", &["path"]),
            files_active: add(&registry, IntGauge::new("promtail_files_active_total", "Number of active files.")),
            targets_active: add(&registry, IntGauge::new("promtail_targets_active_total", "Number of active total.")),
            targets_failed: counters("targets_failed_total", "Number of failed targets.", &["reason"]),
            syslog_entries: counters(
                "syslog_target_entries_total",
                "Total number of successful entries sent to the syslog target",
                &[],
            ),
            syslog_errors: counters(
                "syslog_target_parsing_errors_total",
                "Total number of parsing errors while receiving syslog messages",
                &[],
            ),
            buffer_bytes: gauges("millrace_agent_buffer_bytes", "Bytes of batches that wait on disk.", &["client"]),
            buffer_batches: gauges("millrace_agent_buffer_batches", "Batches that wait on disk.", &["client"]),
            build_info: add(
                &registry,
                GaugeVec::new(
                    Opts::new("promtail_build_info", "A metric with a constant '1' value, labelled by the version."),
                    &["version"],
                ),
            ),
            registry: Arc::new(registry.clone()),
        };
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        metrics
    }

    /// Everything in Prometheus's text format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut families = self.registry.gather();
        families.extend(self.pipeline.custom.families());
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_made() {
        let metrics = AgentMetrics::new(Clock::system());
        metrics.sent_entries.with_label_values(&["localhost"]).inc_by(1523);
        let text = metrics.render().expect("encodes");
        assert!(text.contains("promtail_sent_entries_total{host=\"localhost\"} 1523\n"), "{text}");
    }
}
