//! How much the face takes at once: bytes of push bodies, decoders, queries.
//!
//! ```text
//! push body ─▶ bytes in flight (try) ─▶ decoders (wait) ─▶ …      full → 503
//! query ─▶ waiting (try) ─▶ running (wait) ─▶ …                   full → 429
//! ```
//!
//! 503 and not 429 for pushes: clients that are told to drop rate-limited batches must not drop these.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::error::{ApiError, ErrorKind};
use crate::config::Config;
use crate::telemetry::metrics::Metrics;

/// One permit stands for so many bytes, so that a semaphore can count gigabytes.
const BYTES_PER_PERMIT: usize = 4096;

/// Limits of the push path.
#[derive(Debug)]
pub struct PushGate {
    bytes: Arc<Semaphore>,
    bytes_max: usize,
    decoders: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// Bytes of one body that are in flight; given back when dropped.
#[derive(Debug)]
pub struct BodyBytes {
    permit: OwnedSemaphorePermit,
    held: usize,
    metrics: Arc<Metrics>,
}

impl PushGate {
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        let bytes_max = usize::try_from(config.millrace.push.inflight_bytes_max.0).unwrap_or(usize::MAX);
        let decoders = match config.millrace.push.decoders {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            decoders => decoders,
        };
        let permits = (bytes_max / BYTES_PER_PERMIT).clamp(1, Semaphore::MAX_PERMITS);
        PushGate {
            bytes: Arc::new(Semaphore::new(permits)),
            bytes_max,
            decoders: Arc::new(Semaphore::new(decoders)),
            metrics,
        }
    }

    /// A place for a body of `bytes`; more is asked for with [`BodyBytes::hold`].
    pub fn enter(&self, bytes: usize) -> Result<BodyBytes, ApiError> {
        let permit = self.take(bytes)?;
        self.metrics.push_inflight_bytes.add(bytes as i64);
        Ok(BodyBytes { permit, held: bytes, metrics: self.metrics.clone() })
    }

    /// Waits for one of the decoders.
    pub async fn decoder(&self) -> OwnedSemaphorePermit {
        self.decoders.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let permits = u32::try_from(bytes.div_ceil(BYTES_PER_PERMIT)).unwrap_or(u32::MAX);
        self.bytes.clone().try_acquire_many_owned(permits).map_err(|_| {
            self.metrics.push_refused.with_label_values(&["inflight_bytes"]).inc();
            let text = format!("too many push bytes in flight (limit: {} bytes); retry later", self.bytes_max);
            ApiError::new(ErrorKind::Unavailable, text).with_newline()
        })
    }
}

impl BodyBytes {
    /// Makes sure that there is room for `bytes` in all.
    pub fn hold(&mut self, gate: &PushGate, bytes: usize) -> Result<(), ApiError> {
        let room = self.permit.num_permits() * BYTES_PER_PERMIT;
        if bytes > room {
            self.permit.merge(gate.take(bytes - room)?);
        }
        if bytes > self.held {
            self.metrics.push_inflight_bytes.add((bytes - self.held) as i64);
            self.held = bytes;
        }
        Ok(())
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        self.metrics.push_inflight_bytes.sub(self.held as i64);
    }
}

/// Limits of queries at once.
#[derive(Debug)]
pub struct QueryGate {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// A running query; its place is given back when dropped.
#[derive(Debug)]
pub struct RunningQuery {
    _permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

/// Counts a waiting query down when it runs or goes away.
struct Waiting<'a>(&'a Metrics);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queries_waiting.dec();
    }
}

impl QueryGate {
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        QueryGate {
            running: Arc::new(Semaphore::new(config.querier.max_concurrent.max(1))),
            waiting: Arc::new(Semaphore::new(config.frontend.max_outstanding_per_tenant.max(1))),
            metrics,
        }
    }

    /// Waits for a turn; 429 when too many wait already.
    pub async fn enter(&self) -> Result<RunningQuery, ApiError> {
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_| ApiError::new(ErrorKind::OverLimit, "too many outstanding requests"))?;
        self.metrics.queries_waiting.inc();
        let waiting = Waiting(&self.metrics);
        let permit = self.running.clone().acquire_owned().await.expect("the semaphore is never closed");
        drop(waiting);
        self.metrics.queries_running.inc();
        Ok(RunningQuery { _permit: permit, metrics: self.metrics.clone() })
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        self.metrics.queries_running.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::units::ByteSize;

    #[tokio::test]
    async fn bytes_in_flight_are_bounded_and_given_back() {
        let mut config = Config::default();
        config.millrace.push.inflight_bytes_max = ByteSize(3 * BYTES_PER_PERMIT as u64);
        let metrics = Arc::new(Metrics::new());
        let gate = PushGate::new(&config, metrics.clone());
        let mut first = gate.enter(1).expect("room");
        first.hold(&gate, 1 + BYTES_PER_PERMIT).expect("room");
        assert_eq!(metrics.push_inflight_bytes.get(), 1 + BYTES_PER_PERMIT as i64);
        let refused = gate.enter(2 * BYTES_PER_PERMIT).expect_err("full");
        assert_eq!(refused.status.as_u16(), 503);
        drop(first);
        assert_eq!(metrics.push_inflight_bytes.get(), 0);
        assert!(gate.enter(3 * BYTES_PER_PERMIT).is_ok());
    }

    #[tokio::test]
    async fn queries_wait_and_too_many_are_refused() {
        let mut config = Config::default();
        config.querier.max_concurrent = 1;
        config.frontend.max_outstanding_per_tenant = 1;
        let metrics = Arc::new(Metrics::new());
        let gate = QueryGate::new(&config, metrics.clone());
        let running = gate.enter().await.expect("first");
        let mut second = Box::pin(gate.enter());
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(gate.enter().await.expect_err("one waits already").status.as_u16(), 429);
        assert_eq!((metrics.queries_running.get(), metrics.queries_waiting.get()), (1, 1));
        drop(running);
        assert!(second.await.is_ok());
        assert_eq!((metrics.queries_running.get(), metrics.queries_waiting.get()), (0, 0));
    }
}
