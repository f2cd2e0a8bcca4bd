//! Metrics of the recent rows of other processes.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use crate::telemetry::metrics::Maker;

/// What following peers counts.
#[derive(Debug)]
pub struct ClusterMetrics {
    /// 1 while a `peer` tells its rows.
    pub up: IntGaugeVec,
    /// How often a `peer` told all its rows.
    pub begun: IntCounterVec,
    /// Rows of peers that no file has yet, and their bytes.
    pub rows: IntGauge,
    pub bytes: IntGauge,
}

impl ClusterMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        ClusterMetrics {
            up: make.gauges("millrace_cluster_peer_up", "1 while a peer tells its recent rows.", &["peer"]),
            begun: make.counters(
                "millrace_cluster_peer_begun_total",
                "How often a peer told all its recent rows, because it or the connection was new.",
                &["peer"],
            ),
            rows: make.gauge("millrace_cluster_replica_rows", "Rows of peers that no file has yet."),
            bytes: make.gauge("millrace_cluster_replica_bytes", "Arrow bytes of rows of peers that no file has yet."),
        }
    }
}
