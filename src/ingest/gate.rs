//! One tenant's door: blocked or not, how many streams, how fast.
//!
//! ```text
//! push ─▶ blocked? ─▶ decode, stages, each stream and entry asked (StreamGate) ─▶ the tenant's rate, all or nothing ─▶ stored
//! ```

use std::sync::Arc;

use parking_lot::RwLock;

use super::active_streams::ActiveStreams;
use super::limits::Limits;
use super::otlp_config::DEFAULT_INDEX_ATTRIBUTES;
use super::rates::{IngestRates, TooFast};
use super::stages::{Stages, StagesOf};
use super::validate::{Admission, StreamGate};
use crate::types::ids::TenantId;
use crate::types::time::{Clock, UnixNanos};

/// What all tenants' doors share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IngestGates {
    rates: Arc<IngestRates>,
    active: Arc<ActiveStreams>,
    otlp_labels: Arc<[String]>,
    /// Stages of limits first, then those of sources.
    stages: Arc<RwLock<Vec<Arc<StagesOf>>>>,
}

impl Default for IngestGates {
    fn default() -> Self {
        Self::new(DEFAULT_INDEX_ATTRIBUTES.iter().map(|name| (*name).to_owned()).collect(), Clock::system())
    }
}

impl IngestGates {
    /// `otlp_labels` are resource attributes of OpenTelemetry that are labels for every tenant.
    pub fn new(otlp_labels: Vec<String>, clock: Clock) -> Self {
        let of_limits = Arc::new(StagesOf::new(None, clock));
        IngestGates {
            rates: Arc::default(),
            active: Arc::default(),
            otlp_labels: otlp_labels.into(),
            stages: Arc::new(RwLock::new(vec![of_limits])),
        }
    }

    /// Counts what `stages` of a source count among the others.
    pub fn add_stages(&self, stages: Arc<StagesOf>) {
        self.stages.write().push(stages);
    }

    /// The stages of all tenants and sources that sent lines.
    pub fn stages(&self) -> Vec<Arc<Stages>> {
        self.stages.read().iter().flat_map(|of| of.all()).collect()
    }

    /// The door of one tenant for one request.
    pub fn of(&self, tenant: &TenantId, limits: &Arc<Limits>, now: UnixNanos) -> TenantGate {
        let blocked = blocked(tenant, limits, now);
        let stages = self.stages.read().first().and_then(|of| of.of(tenant, &limits.pipeline_stages));
        let stages = stages.into_iter().collect();
        TenantGate { gates: self.clone(), tenant: tenant.clone(), limits: limits.clone(), stages, now, blocked }
    }
}

/// See [`IngestGates::of`].
#[derive(Debug, Clone)]
pub struct TenantGate {
    gates: IngestGates,
    tenant: TenantId,
    limits: Arc<Limits>,
    /// What entries go through, in this order.
    stages: Vec<Arc<Stages>>,
    now: UnixNanos,
    blocked: Option<Blocked>,
}

/// Pushes of a tenant are refused for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    pub status: u16,
    pub text: String,
}

impl TenantGate {
    /// The door of a tenant who shares nothing with others: for tools and tests.
    pub fn alone(limits: Limits, now: UnixNanos) -> Self {
        IngestGates::default().of(&TenantId::single(), &Arc::new(limits), now)
    }

    pub fn tenant_id(&self) -> &TenantId {
        &self.tenant
    }

    /// Resource attributes of OpenTelemetry that are labels unless the tenant ignores that.
    pub fn otlp_labels(&self) -> &[String] {
        &self.gates.otlp_labels
    }

    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// When the request came.
    pub fn now(&self) -> UnixNanos {
        self.now
    }

    /// Whether the tenant is blocked now.
    pub fn blocked(&self) -> Option<&Blocked> {
        self.blocked.as_ref()
    }

    /// Entries go through these stages before the tenant's own.
    pub fn through(mut self, stages: Option<Arc<Stages>>) -> Self {
        self.stages.splice(0..0, stages);
        self
    }

    /// What takes the request apart; `line_bytes` is a guess at the size of all lines.
    pub fn admission(&self, line_bytes: usize) -> Admission<'_> {
        Admission::new(&self.limits, self.now, line_bytes).gated(self).staged(&self.stages)
    }

    /// Takes a whole request of the tenant's rate, or nothing. The error is Loki's text and when to come again.
    pub fn take(&self, lines: u64, bytes: u64) -> Result<(), (String, TooFast)> {
        self.gates.rates.take(&self.tenant, &self.limits, bytes).map_err(|too_fast| {
            let (tenant, limit) = (&self.tenant, too_fast.limit);
            let text = format!(
                "ingestion rate limit exceeded for user {tenant} (limit: {limit} bytes/sec) while attempting to ingest '{lines}' lines totaling '{bytes}' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased"
            );
            (text, too_fast)
        })
    }
}

/// Of a blocked tenant nothing is stored, and so nothing is counted.
impl StreamGate for TenantGate {
    fn admit_stream(&self, stream: u64) -> bool {
        self.blocked.is_some()
            || self.gates.active.admit(&self.tenant, stream, self.limits.active_streams_max(), self.now)
    }

    fn admit_bytes(&self, stream: u64, bytes: u64) -> Result<(), TooFast> {
        if self.blocked.is_some() {
            return Ok(());
        }
        self.gates.rates.take_stream(&self.tenant, &self.limits, stream, bytes)
    }

    fn tenant(&self) -> &str {
        self.tenant.as_str()
    }
}

fn blocked(tenant: &TenantId, limits: &Limits, now: UnixNanos) -> Option<Blocked> {
    let until = limits.block_ingestion_until.as_deref().filter(|text| !text.is_empty())?;
    let until = chrono::DateTime::parse_from_rfc3339(until).ok()?;
    if until.timestamp_nanos_opt().is_some_and(|until| until <= now.0) {
        return None;
    }
    let status = limits.block_ingestion_status_code;
    let until = until.to_utc().format("%Y-%m-%dT%H:%M:%SZ");
    let text = format!("ingestion blocked for user '{tenant}' until '{until}' with status code '{status}'");
    Some(Blocked { status, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_ends_at_its_time() {
        let limits = Limits { block_ingestion_until: Some("2026-01-15T10:00:00Z".to_owned()), ..Limits::default() };
        let at = |seconds: i64| {
            IngestGates::default().of(
                &TenantId::single(),
                &Arc::new(limits.clone()),
                UnixNanos(seconds * 1_000_000_000),
            )
        };
        let blocked = at(1_768_471_199).blocked().cloned().expect("blocked");
        assert_eq!(blocked.status, 260);
        assert_eq!(
            blocked.text,
            "ingestion blocked for user 'fake' until '2026-01-15T10:00:00Z' with status code '260'"
        );
        assert_eq!(at(1_768_471_200).blocked(), None);
    }

    #[test]
    fn short_lines_pay_what_they_are_and_long_streams_ask_seldom() {
        use std::cell::Cell;

        use crate::ingest::validate::Admission;
        use crate::types::labels::Labels;
        use crate::types::units::ByteSize;

        // A burst, and nearly nothing after it.
        let limits = Limits {
            per_stream_rate_limit: ByteSize(1 << 10),
            per_stream_rate_limit_burst: ByteSize(1 << 20),
            reject_old_samples: false,
            ..Limits::default()
        };
        let line = "x".repeat(100);
        let taken = |admission: &mut Admission<'_>| {
            admission.stream(Labels::from_pairs([("a", "b")]));
            (0..20_000).filter(|at| admission.entry(*at, &line, &[]).is_ok()).count()
        };
        let gate = TenantGate::alone(limits.clone(), UnixNanos(0));
        let lines = taken(&mut gate.admission(0));
        assert!((10_485..11_000).contains(&lines), "{lines} lines of 100 bytes");

        /// Lets everything through, and counts.
        struct Counting(Cell<(u64, u64)>);
        impl StreamGate for Counting {
            fn admit_stream(&self, _: u64) -> bool {
                true
            }
            fn admit_bytes(&self, _: u64, bytes: u64) -> Result<(), TooFast> {
                let (calls, all) = self.0.get();
                self.0.set((calls + 1, all + bytes));
                Ok(())
            }
            fn tenant(&self) -> &str {
                "t"
            }
        }
        let counting = Counting(Cell::new((0, 0)));
        assert_eq!(taken(&mut Admission::new(&limits, UnixNanos(0), 0).gated(&counting)), 20_000);
        let (calls, bytes) = counting.0.get();
        assert!(calls < 500 && (2_000_000..2_100_000).contains(&bytes), "{bytes} bytes in {calls} calls");
    }

    #[test]
    fn the_rate_is_taken_whole_or_not_at_all() {
        let limits = Arc::new(Limits { ingestion_rate_mb: 1.0, ingestion_burst_size_mb: 1.0, ..Limits::default() });
        let gate = IngestGates::default().of(&TenantId::single(), &limits, UnixNanos(0));
        assert_eq!(gate.take(1, 1000), Ok(()));
        let (text, _) = gate.take(7, 2 << 20).expect_err("more than the burst");
        assert!(text.starts_with("ingestion rate limit exceeded for user fake (limit: 1048576 bytes/sec) while attempting to ingest '7' lines totaling '2097152' bytes,"), "{text}");
    }
}
