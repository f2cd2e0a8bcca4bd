//! Samples of derived metrics: what rules record, what is stored, and what PromQL reads.
//!
//! ```text
//! rules ─▶ Vec<Sample> ─▶ SampleSink (memory and table) ─▶ MetricReader (PromQL) ─▶ rules that read what others recorded
//! ```
//!
//! The name of a metric is its label `__name__`.
//!
//! Invariant: a sample is known by its tenant, labels and time. One that comes again replaces the earlier, so that a
//! correction and a replay after a crash are the same as a first write.
//! Errors: [`SampleError`].

use async_trait::async_trait;

use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// The label that names the metric.
pub const METRIC_NAME: &str = "__name__";

/// Bits of Prometheus' stale marker: from this time on the series has no value, until it has one again.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// One value of one series at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With [`METRIC_NAME`].
    pub labels: Labels,
    /// Whole milliseconds, as Prometheus' times are.
    pub time: UnixNanos,
    pub value: f64,
}

impl Sample {
    /// Says that the series ends, or that the value it had at this time was none.
    pub fn stale(labels: Labels, time: UnixNanos) -> Self {
        Sample { labels, time, value: stale_marker() }
    }

    pub fn is_stale(&self) -> bool {
        is_stale_marker(self.value)
    }
}

/// The NaN that says "no value any more".
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value is [`stale_marker`]; other NaNs are values.
pub fn is_stale_marker(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// Why samples were not taken, or not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// Nothing of the call was taken; later it may be.
    #[error("derived metrics take no more for now: {0}")]
    Full(String),
    /// The expression is to blame; the same one never works.
    #[error("{0}")]
    BadQuery(String),
    #[error("derived metrics: {0}")]
    Failed(String),
}

/// Where derived samples go.
#[async_trait]
pub trait SampleSink: Send + Sync {
    /// Takes samples: they can be read when this returns. Quick: memory alone.
    ///
    /// # Errors
    /// `Full` when nothing was taken.
    fn append(&self, tenant: &TenantId, samples: Vec<Sample>) -> Result<(), SampleError>;

    /// Returns when everything appended before the call survives `kill -9`.
    async fn sync(&self) -> Result<(), SampleError>;
}

/// PromQL over derived samples.
#[async_trait]
pub trait MetricReader: Send + Sync {
    /// The value of `query` at `time`: a scalar is one sample without labels.
    async fn instant(&self, tenant: &TenantId, query: &str, time: UnixNanos) -> Result<Vec<Sample>, SampleError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_marker_is_one_nan_among_many() {
        assert!(Sample::stale(Labels::default(), UnixNanos(0)).is_stale());
        assert!(stale_marker().is_nan());
        assert!(!is_stale_marker(f64::NAN));
    }
}
