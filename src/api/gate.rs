//! How many queries are computed at once, and whose turn it is; pushes have `receive/in_flight.rs`.
//!
//! ```text
//! query ─▶ its tenant's queue (full → 429) ─▶ in turn, when there is a place and memory ─▶ running ─▶ …
//! ```
//!
//! Cancellation: a query that goes away leaves the queue, or gives its place back.

mod schedule;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::access::Scope;
use crate::api::error::{ApiError, ErrorKind};
use crate::config::Config;
use crate::ingest::limits::Limits;
use crate::telemetry::metrics::Metrics;
use schedule::{Places, Schedule, Ticket};

/// Tells whether memory is scarce.
type Scarcity = Box<dyn Fn() -> bool + Send + Sync>;

/// The gate. Cheap to clone.
#[derive(Clone)]
pub struct QueryGate(Arc<Inner>);

struct Inner {
    state: Mutex<Waiting>,
    memory_is_scarce: Scarcity,
    metrics: Arc<Metrics>,
}

struct Waiting {
    schedule: Schedule,
    /// Told when it is their turn.
    told: HashMap<Ticket, oneshot::Sender<()>>,
}

/// A running query; its place is given back when dropped.
#[must_use = "dropping it gives the place back"]
pub struct RunningQuery {
    gate: QueryGate,
    tenant: Arc<str>,
}

/// A place in a queue; left when dropped.
struct InQueue<'a> {
    gate: &'a QueryGate,
    tenant: Arc<str>,
    ticket: Ticket,
    /// Whether it has its turn and took it.
    is_over: bool,
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        {
            let mut state = self.gate.0.state.lock();
            match state.told.remove(&self.ticket) {
                Some(_) => state.schedule.leave(&self.tenant, self.ticket),
                // It was told in the same moment: the place is somebody else's.
                None => state.schedule.end(&self.tenant),
            }
        }
        self.gate.pump();
    }
}

impl QueryGate {
    pub fn new(
        config: &Config,
        metrics: Arc<Metrics>,
        memory_is_scarce: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let places = Places {
            running_max: config.querier.max_concurrent.max(1),
            waiting_max: config.frontend.max_outstanding_per_tenant.max(1),
        };
        let state = Mutex::new(Waiting { schedule: Schedule::new(places), told: HashMap::new() });
        QueryGate(Arc::new(Inner { state, memory_is_scarce: Box::new(memory_is_scarce), metrics }))
    }

    /// Waits for a turn of the tenants of `scope`; 429 when too many of them wait already.
    pub async fn enter(&self, scope: &Scope, limits: &Limits) -> Result<RunningQuery, ApiError> {
        let tenant: Arc<str> = scope.tenants_text().into();
        let (ticket, turn) = {
            let mut state = self.0.state.lock();
            let arrived = state.schedule.arrive(&tenant, limits.max_query_parallelism);
            let ticket = arrived.map_err(|_| {
                self.0.metrics.queries_refused.inc();
                ApiError::new(ErrorKind::OverLimit, "too many outstanding requests")
            })?;
            let (told, turn) = oneshot::channel();
            state.told.insert(ticket, told);
            (ticket, turn)
        };
        let mut waiting = InQueue { gate: self, tenant: tenant.clone(), ticket, is_over: false };
        self.pump();
        // The sender is kept until it tells.
        let told = turn.await;
        waiting.is_over = true;
        told.map_err(|_| ApiError::new(ErrorKind::Bug, "the queue of queries lost one"))?;
        Ok(RunningQuery { gate: self.clone(), tenant })
    }

    /// Lets begin what may.
    fn pump(&self) {
        let scarce = (self.0.memory_is_scarce)();
        let mut state = self.0.state.lock();
        while let Some((tenant, ticket)) = state.schedule.start_next(scarce) {
            // The receiver lives as long as the place in the queue.
            match state.told.remove(&ticket) {
                Some(told) => drop(told.send(())),
                None => state.schedule.end(&tenant),
            }
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.0.metrics.queries_running.set(count(state.schedule.running()));
        self.0.metrics.queries_waiting.set(count(state.schedule.waiting()));
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        self.gate.0.state.lock().schedule.end(&self.tenant);
        self.gate.pump();
    }
}

impl std::fmt::Debug for QueryGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryGate").field("schedule", &self.0.state.lock().schedule).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RunningQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningQuery").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::types::ids::TenantId;

    fn gate(running_max: usize, waiting_max: usize, scarce: &Arc<AtomicBool>) -> (QueryGate, Arc<Metrics>) {
        let mut config = Config::default();
        config.querier.max_concurrent = running_max;
        config.frontend.max_outstanding_per_tenant = waiting_max;
        let (metrics, scarce) = (Arc::new(Metrics::new()), scarce.clone());
        (QueryGate::new(&config, metrics.clone(), move || scarce.load(Ordering::Relaxed)), metrics)
    }

    fn scope(tenant: &str) -> Scope {
        Scope::of_server(TenantId::parse(tenant).expect("valid"))
    }

    #[tokio::test]
    async fn queries_wait_and_too_many_are_refused() {
        let (gate, metrics) = gate(1, 1, &Arc::default());
        let (a, b, limits) = (scope("a"), scope("b"), Limits::default());
        let running = gate.enter(&a, &limits).await.expect("first");
        let mut second = Box::pin(gate.enter(&a, &limits));
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(gate.enter(&a, &limits).await.expect_err("one waits already").status.as_u16(), 429);
        assert_eq!((metrics.queries_running.get(), metrics.queries_waiting.get()), (1, 1));
        // Another tenant does not wait for this one.
        let other = gate.enter(&b, &limits).await.expect("a place of its own");
        assert_eq!(metrics.queries_running.get(), 2);
        drop((running, other));
        let second = second.await.expect("its turn");
        assert_eq!((metrics.queries_running.get(), metrics.queries_waiting.get()), (1, 0));
        drop(second);
        assert_eq!(metrics.queries_running.get(), 0);
    }

    #[tokio::test]
    async fn who_goes_away_leaves_no_trace() {
        let (gate, metrics) = gate(1, 5, &Arc::default());
        let (a, limits) = (scope("a"), Limits::default());
        let running = gate.enter(&a, &limits).await.expect("first");
        let mut waits = Box::pin(gate.enter(&a, &limits));
        let mut behind = Box::pin(gate.enter(&a, &limits));
        assert!(futures::poll!(&mut waits).is_pending() && futures::poll!(&mut behind).is_pending());
        drop(waits);
        assert_eq!(metrics.queries_waiting.get(), 1);
        // Told, and gone before it looked.
        drop(running);
        drop(behind);
        assert_eq!((metrics.queries_running.get(), metrics.queries_waiting.get()), (0, 0));
        assert!(gate.enter(&a, &limits).await.is_ok());
    }

    #[tokio::test]
    async fn scarce_memory_holds_back_those_who_have_queries() {
        let scarce = Arc::new(AtomicBool::new(true));
        let (gate, _) = gate(4, 5, &scarce);
        let (a, b, limits) = (scope("a"), scope("b"), Limits::default());
        let first = gate.enter(&a, &limits).await.expect("the first of a tenant");
        let mut second = Box::pin(gate.enter(&a, &limits));
        assert!(futures::poll!(&mut second).is_pending());
        let _of_b = gate.enter(&b, &limits).await.expect("the first of another");
        drop(first);
        let second = second.await.expect("the only one now");
        let mut third = Box::pin(gate.enter(&a, &limits));
        assert!(futures::poll!(&mut third).is_pending());
        scarce.store(false, Ordering::Relaxed);
        drop(second);
        assert!(third.await.is_ok());
    }
}
