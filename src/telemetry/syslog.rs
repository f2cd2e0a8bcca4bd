//! Metrics of the syslog door.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use crate::telemetry::metrics::Maker;

/// What the syslog door counts.
#[derive(Debug)]
pub struct SyslogMetrics {
    /// Messages received, by `transport`: udp, tcp.
    pub messages: IntCounterVec,
    /// Datagrams for which the queue had no room.
    pub dropped: IntCounter,
    /// Messages longer than allowed, which were cut.
    pub cut: IntCounter,
    /// Connections closed because what they sent has no frames.
    pub broken: IntCounter,
    /// Connections open, and those refused because there were too many.
    pub connections: IntGauge,
    pub connections_refused: IntCounter,
    /// Messages that wait to be stored.
    pub queued: IntGauge,
}

impl SyslogMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        SyslogMetrics {
            messages: make.counters(
                "millrace_syslog_messages_total",
                "Syslog messages received, by transport.",
                &["transport"],
            ),
            dropped: make.counter("millrace_syslog_dropped_total", "Datagrams dropped because the queue was full."),
            cut: make.counter("millrace_syslog_cut_total", "Syslog messages cut because they were too long."),
            broken: make.counter("millrace_syslog_broken_total", "Syslog connections closed for their framing."),
            connections: make.gauge("millrace_syslog_connections", "Syslog connections that are open."),
            connections_refused: make
                .counter("millrace_syslog_connections_refused_total", "Syslog connections beyond connections_max."),
            queued: make.gauge("millrace_syslog_queued_messages", "Syslog messages that wait to be stored."),
        }
    }
}
