//! How many queries the face takes at once; pushes have `receive/in_flight.rs`.
//!
//! ```text
//! query ─▶ waiting (try) ─▶ running (wait) ─▶ …                   full → 429
//! ```

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::error::{ApiError, ErrorKind};
use crate::config::Config;
use crate::telemetry::metrics::Metrics;

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
