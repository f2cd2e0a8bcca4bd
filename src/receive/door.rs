//! What every door does with a body: room, decoders, limits, rows, the answer; and what is counted on the way.
//!
//! ```text
//! bytes ─▶ InFlight (room) ─▶ decoder (blocking pool) ─▶ blocked? the tenant's rate? ─▶ sink (log, head) ─▶ answer
//!                                   │ discards → loki_discarded_*                          └ full, slow → 503
//! ```
//!
//! Doors differ in how bytes come, what decodes them, and how a [`PushError`] is told to the client.
//! Cancellation: what was handed to the sink may be stored although the client went away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ingest::gate::{IngestGates, TenantGate};
use crate::ingest::overrides::LimitsOf;
use crate::ingest::rates::TooFast;
use crate::ingest::validate::Discards;
use crate::receive::decode::{BodyLimits, PushError, PushOutcome};
use crate::receive::in_flight::{Held, InFlight, InFlightLimits};
use crate::telemetry::metrics::Metrics;
use crate::types::batch::LogBatch;
use crate::types::ids::TenantId;
use crate::types::time::Clock;

/// Pause of a source that waits for room or for the store.
const ROOM_PAUSE: Duration = Duration::from_millis(200);

/// Where pushed rows go.
#[async_trait]
pub trait PushSink: Send + Sync {
    /// Makes a batch durable and visible.
    ///
    /// Cancellation: a batch may still be stored when the caller goes away.
    async fn push(&self, tenant: &TenantId, batch: LogBatch) -> Result<(), PushRefused>;

    /// Writes all that is in memory to files.
    async fn flush(&self) -> Result<(), String>;
}

/// Why a well-formed batch was not stored: not now, by no fault of the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct PushRefused {
    pub text: String,
}

/// Lines and bytes that were taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    pub lines: u64,
    pub bytes: u64,
}

/// What all doors share. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    pub sink: Arc<dyn PushSink>,
    pub limits: LimitsOf,
    pub gates: IngestGates,
    pub body_limits: BodyLimits,
    pub in_flight: Arc<InFlight>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

/// What a door is made with.
#[derive(Debug, Clone)]
pub struct DoorSettings {
    pub body_limits: BodyLimits,
    pub in_flight: InFlightLimits,
    /// Resource attributes of OpenTelemetry that are labels for every tenant.
    pub otlp_labels: Vec<String>,
}

impl Door {
    pub fn new(
        sink: Arc<dyn PushSink>,
        limits: LimitsOf,
        settings: DoorSettings,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        let in_flight = InFlight::new(settings.in_flight, metrics.clone());
        let gates = IngestGates::new(settings.otlp_labels, clock.clone());
        Door { sink, limits, gates, body_limits: settings.body_limits, in_flight, metrics, clock }
    }

    /// Decodes a body with `decode` and stores what is good of it.
    ///
    /// # Errors
    /// What the client is told; good entries of a body with bad ones are stored all the same.
    pub async fn take<D>(&self, tenant: &TenantId, mut held: Held, decode: D) -> Result<Taken, PushError>
    where
        D: FnOnce(&TenantGate, &BodyLimits) -> PushOutcome + Send + 'static,
    {
        let (outcome, gate) = self.decode(tenant, decode).await?;
        let outcome = settle(outcome, &gate);
        count_discards(&self.metrics, tenant, &outcome.discards);
        let taken = Taken { lines: outcome.lines, bytes: outcome.bytes };
        if let Some(batch) = outcome.batch {
            held.hold_at_most(batch.memory_bytes())?;
            self.sink.push(tenant, batch).await.map_err(|refused| PushError::new(503, refused.text))?;
            count_taken(&self.metrics, tenant, taken);
        }
        outcome.answer.map(|()| taken)
    }

    /// As [`Door::take`], for sources that can wait: for room, for the tenant's rate, for the store.
    ///
    /// # Errors
    /// What waiting does not mend.
    pub async fn take_waiting<D>(&self, tenant: &TenantId, bytes: usize, decode: D) -> Result<Taken, PushError>
    where
        D: FnOnce(&TenantGate, &BodyLimits) -> PushOutcome + Send + 'static,
    {
        let mut held = loop {
            match self.in_flight.enter(tenant, bytes) {
                Ok(held) => break held,
                Err(_) => tokio::time::sleep(ROOM_PAUSE).await,
            }
        };
        let (mut outcome, gate) = self.decode(tenant, decode).await?;
        while outcome.batch.is_some() && gate.blocked().is_none() {
            match gate.take(outcome.lines, outcome.bytes) {
                Ok(()) => break,
                Err((_, TooFast { retry_after: Some(wait), .. })) => tokio::time::sleep(wait).await,
                Err((text, _)) => {
                    outcome = discarded(outcome, "rate_limited", PushError::new(429, text));
                }
            }
        }
        if gate.blocked().is_some() {
            outcome = settle(outcome, &gate);
        }
        count_discards(&self.metrics, tenant, &outcome.discards);
        let taken = Taken { lines: outcome.lines, bytes: outcome.bytes };
        if let Some(batch) = outcome.batch {
            while held.hold_at_most(batch.memory_bytes()).is_err() {
                tokio::time::sleep(ROOM_PAUSE).await;
            }
            let mut reported = false;
            while let Err(refused) = self.sink.push(tenant, batch.clone()).await {
                if !std::mem::replace(&mut reported, true) {
                    tracing::warn!(%tenant, error = %refused, "the store takes nothing now; waiting");
                }
                tokio::time::sleep(ROOM_PAUSE).await;
            }
            count_taken(&self.metrics, tenant, taken);
        }
        outcome.answer.map(|()| taken)
    }

    /// Decodes on the blocking pool, at most as many bodies at once as there are decoders.
    async fn decode<D>(&self, tenant: &TenantId, decode: D) -> Result<(PushOutcome, TenantGate), PushError>
    where
        D: FnOnce(&TenantGate, &BodyLimits) -> PushOutcome + Send + 'static,
    {
        let gate = self.gates.of(tenant, &self.limits.of(tenant), self.clock.now());
        let (decoder, body_limits) = (self.in_flight.decoder().await, self.body_limits);
        let decoding = tokio::task::spawn_blocking(move || {
            let _decoder = decoder;
            (decode(&gate, &body_limits), gate)
        });
        decoding.await.map_err(|stopped| {
            self.metrics.panics.inc();
            tracing::error!(error = %stopped, "decoding a push stopped");
            PushError::new(500, "error while processing request: internal error")
        })
    }

    /// A body was too large to be looked at.
    pub fn count_too_large(&self, tenant: &TenantId, bytes: usize) {
        let labels = ["request_body_too_large", tenant.as_str()];
        self.metrics.discarded_bytes.with_label_values(&labels).inc_by(bytes as u64);
    }
}

/// What counts for a request as a whole: a blocked tenant stores nothing, one over its rate nothing either.
fn settle(outcome: PushOutcome, gate: &TenantGate) -> PushOutcome {
    if outcome.batch.is_none() {
        return outcome;
    }
    if let Some(blocked) = gate.blocked() {
        return discarded(outcome, "blocked_ingestion", PushError::new(blocked.status, blocked.text.clone()));
    }
    match gate.take(outcome.lines, outcome.bytes) {
        Ok(()) => outcome,
        Err((text, too_fast)) => {
            let error = PushError { retry_after: too_fast.retry_after, ..PushError::new(429, text) };
            discarded(outcome, "rate_limited", error)
        }
    }
}

/// Nothing is stored, for one reason. As in Loki a block tells what is wrong with entries first, and 200 says nothing.
fn discarded(mut outcome: PushOutcome, reason: &'static str, error: PushError) -> PushOutcome {
    outcome.discards.add(reason, outcome.lines, outcome.bytes);
    let is_told = error.status == 429 || (outcome.answer.is_ok() && error.status != 200);
    let answer = if is_told { Err(error) } else { outcome.answer };
    PushOutcome { batch: None, answer, lines: 0, bytes: 0, discards: outcome.discards }
}

/// Counts what limits refused.
pub fn count_discards(metrics: &Metrics, tenant: &TenantId, discards: &Discards) {
    for (reason, lines, bytes) in &discards.0 {
        let labels = [*reason, tenant.as_str()];
        metrics.discarded_samples.with_label_values(&labels).inc_by(*lines);
        metrics.discarded_bytes.with_label_values(&labels).inc_by(*bytes);
    }
}

/// Counts what was stored.
pub fn count_taken(metrics: &Metrics, tenant: &TenantId, taken: Taken) {
    metrics.lines_received.with_label_values(&[tenant.as_str()]).inc_by(taken.lines);
    metrics.bytes_received.with_label_values(&[tenant.as_str()]).inc_by(taken.bytes);
}
