//! Metrics of TLS.

use prometheus::{IntCounterVec, IntGauge};

use crate::telemetry::metrics::Maker;

/// What listeners with TLS count.
#[derive(Debug, Clone)]
pub struct TlsMetrics {
    /// Certificates that were exchanged while the server ran, by `outcome`: success, failure.
    pub reloads: IntCounterVec,
    /// When the certificate that is shown ends, seconds since 1970; of several, the one that was read last.
    pub not_after: IntGauge,
    /// Connections that did not get through the handshake.
    pub failed_handshakes: prometheus::IntCounter,
}

impl TlsMetrics {
    pub(super) fn new(make: &Maker) -> Self {
        TlsMetrics {
            reloads: make.counters(
                "millrace_tls_reloads_total",
                "Certificates exchanged while the server ran, by outcome.",
                &["outcome"],
            ),
            not_after: make.gauge(
                "millrace_tls_certificate_not_after_seconds",
                "When the certificate that is shown ends, seconds since 1970.",
            ),
            failed_handshakes: make
                .counter("millrace_tls_failed_handshakes_total", "Connections that did not get through the handshake."),
        }
    }
}
