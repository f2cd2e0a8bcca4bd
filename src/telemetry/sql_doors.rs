//! Metrics of the doors of SQL beside HTTP.

use prometheus::{IntCounterVec, IntGaugeVec};

use crate::telemetry::metrics::Maker;

/// What the doors count, by `door`: postgres, flight.
#[derive(Debug)]
pub struct SqlDoorMetrics {
    /// Connections open.
    pub connections: IntGaugeVec,
    /// Connections refused because there were too many.
    pub refused: IntCounterVec,
}

impl SqlDoorMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        SqlDoorMetrics {
            connections: make.gauges("millrace_sql_connections", "Connections of SQL clients, by door.", &["door"]),
            refused: make.counters(
                "millrace_sql_connections_refused_total",
                "Connections of SQL clients beyond connections_max, by door.",
                &["door"],
            ),
        }
    }
}
