//! How much the doors take at once: bytes of bodies, by tenant and in all, and decoders.
//!
//! ```text
//! body ─▶ bytes of the tenant, bytes of all (try) ─▶ decoders (wait) ─▶ rows, which count as bytes, too ─▶ stored
//!                  full → 503
//! ```
//!
//! 503 and not 429: clients that are told to drop rate-limited batches must not drop these.
//! Invariant: no tenant has more than its share, so that one with slow or large uploads leaves room for the others.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::receive::decode::PushError;
use crate::telemetry::metrics::Metrics;
use crate::types::ids::TenantId;

/// One permit stands for so many bytes, so that a semaphore can count gigabytes.
const BYTES_PER_PERMIT: usize = 4096;

/// Bounds of what is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlightLimits {
    /// Bytes of all bodies.
    pub bytes_max: usize,
    /// Bytes of one tenant's.
    pub tenant_bytes_max: usize,
    /// Bodies decoded at once.
    pub decoders: usize,
}

/// Counts what is in flight through all doors.
#[derive(Debug)]
pub struct InFlight {
    limits: InFlightLimits,
    bytes: Arc<Semaphore>,
    decoders: Arc<Semaphore>,
    tenants: Mutex<HashMap<TenantId, usize>>,
    metrics: Arc<Metrics>,
}

/// Bytes of one body that are in flight; given back when dropped.
#[derive(Debug)]
pub struct Held {
    in_flight: Arc<InFlight>,
    tenant: TenantId,
    permit: OwnedSemaphorePermit,
    bytes: usize,
}

impl InFlight {
    pub fn new(limits: InFlightLimits, metrics: Arc<Metrics>) -> Arc<Self> {
        let permits = (limits.bytes_max / BYTES_PER_PERMIT).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(InFlight {
            limits,
            bytes: Arc::new(Semaphore::new(permits)),
            decoders: Arc::new(Semaphore::new(limits.decoders.max(1))),
            tenants: Mutex::default(),
            metrics,
        })
    }

    /// A place for a body of `bytes`; more is asked for with [`Held::hold`].
    ///
    /// # Errors
    /// 503 when there is no room.
    pub fn enter(self: &Arc<Self>, tenant: &TenantId, bytes: usize) -> Result<Held, PushError> {
        self.take_of_tenant(tenant, bytes)?;
        let permit = self.take(bytes).inspect_err(|_| self.give_back(tenant, bytes))?;
        self.metrics.push_inflight_bytes.add(bytes as i64);
        Ok(Held { in_flight: self.clone(), tenant: tenant.clone(), permit, bytes })
    }

    /// Waits for one of the decoders.
    pub async fn decoder(&self) -> OwnedSemaphorePermit {
        self.decoders.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, PushError> {
        let permits = u32::try_from(bytes.div_ceil(BYTES_PER_PERMIT)).unwrap_or(u32::MAX);
        self.bytes.clone().try_acquire_many_owned(permits).map_err(|_| {
            let most = self.limits.bytes_max;
            self.refuse("inflight_bytes", format!("too many push bytes in flight (limit: {most} bytes); retry later"))
        })
    }

    fn take_of_tenant(&self, tenant: &TenantId, bytes: usize) -> Result<(), PushError> {
        let most = self.limits.tenant_bytes_max;
        let mut tenants = self.tenants.lock();
        let held = tenants.get(tenant).copied().unwrap_or(0);
        // A single body may pass the share when nothing else is in flight: what bounds it then are the bytes of all.
        if held > 0 && held + bytes > most {
            let text = format!("too many push bytes of '{tenant}' in flight (limit: {most} bytes); retry later");
            return Err(self.refuse("tenant_inflight_bytes", text));
        }
        match tenants.get_mut(tenant) {
            Some(held) => *held += bytes,
            None => {
                tenants.insert(tenant.clone(), bytes);
            }
        }
        Ok(())
    }

    fn give_back(&self, tenant: &TenantId, bytes: usize) {
        let mut tenants = self.tenants.lock();
        if let Some(held) = tenants.get_mut(tenant) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                tenants.remove(tenant);
            }
        }
    }

    fn refuse(&self, reason: &str, text: String) -> PushError {
        self.metrics.push_refused.with_label_values(&[reason]).inc();
        PushError::new(503, text)
    }
}

impl Held {
    /// Makes sure that there is room for `bytes` in all.
    ///
    /// # Errors
    /// 503 when there is none.
    pub fn hold(&mut self, bytes: usize) -> Result<(), PushError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let more = bytes - self.bytes;
        self.in_flight.take_of_tenant(&self.tenant, more)?;
        let room = self.permit.num_permits() * BYTES_PER_PERMIT;
        if bytes > room {
            let permit = self.in_flight.take(bytes - room);
            self.permit.merge(permit.inspect_err(|_| self.in_flight.give_back(&self.tenant, more))?);
        }
        self.in_flight.metrics.push_inflight_bytes.add(more as i64);
        self.bytes = bytes;
        Ok(())
    }

    /// As [`Held::hold`], for what a body became: a single one that is larger than all the room still gets in alone.
    ///
    /// # Errors
    /// 503 when there is no room now.
    pub fn hold_at_most(&mut self, bytes: usize) -> Result<(), PushError> {
        self.hold(bytes.min(self.in_flight.limits.bytes_max / BYTES_PER_PERMIT * BYTES_PER_PERMIT))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.in_flight.give_back(&self.tenant, self.bytes);
        self.in_flight.metrics.push_inflight_bytes.sub(self.bytes as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_flight(pages: usize, tenant_pages: usize) -> Arc<InFlight> {
        let limits = InFlightLimits {
            bytes_max: pages * BYTES_PER_PERMIT,
            tenant_bytes_max: tenant_pages * BYTES_PER_PERMIT,
            decoders: 1,
        };
        InFlight::new(limits, Arc::new(Metrics::new()))
    }

    #[test]
    fn bytes_in_flight_are_bounded_and_given_back() {
        let (gate, tenant) = (in_flight(3, 9), TenantId::single());
        let mut first = gate.enter(&tenant, 1).expect("room");
        first.hold(1 + BYTES_PER_PERMIT).expect("room");
        assert_eq!(gate.metrics.push_inflight_bytes.get(), 1 + BYTES_PER_PERMIT as i64);
        assert_eq!(gate.enter(&tenant, 2 * BYTES_PER_PERMIT).expect_err("full").status, 503);
        assert!(first.hold(9 * BYTES_PER_PERMIT).is_err());
        first.hold_at_most(9 * BYTES_PER_PERMIT).expect("alone");
        drop(first);
        assert_eq!(gate.metrics.push_inflight_bytes.get(), 0);
        assert!(gate.tenants.lock().is_empty());
        assert!(gate.enter(&tenant, 3 * BYTES_PER_PERMIT).is_ok());
    }

    #[test]
    fn a_tenant_has_its_share_and_leaves_the_rest() {
        let gate = in_flight(6, 2);
        let (slow, other) = (TenantId::parse("slow").expect("valid"), TenantId::parse("other").expect("valid"));
        let large = gate.enter(&slow, 3 * BYTES_PER_PERMIT).expect("one body may be larger than the share");
        let refused = gate.enter(&slow, 1).expect_err("the share is used up");
        assert!(refused.text.contains("'slow'"), "{refused}");
        let held = gate.enter(&other, 2 * BYTES_PER_PERMIT).expect("room for others");
        drop(large);
        assert!(gate.enter(&slow, 2 * BYTES_PER_PERMIT).is_ok());
        drop(held);
    }
}
