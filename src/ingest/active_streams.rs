//! Which streams of a tenant are active: what the limit of streams counts.
//!
//! A stream is active for a while after its last line. New ones beyond the limit are refused, known ones are not.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::types::ids::TenantId;
use crate::types::time::UnixNanos;

/// How long a stream without lines counts, as long as Loki keeps one in memory.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);

/// Idle streams are looked for this often, when there are too many.
const SWEEP_PAUSE_NS: i64 = 1_000_000_000;

/// Active streams of all tenants, by the hash of their labels.
#[derive(Debug, Default)]
pub struct ActiveStreams {
    tenants: Mutex<HashMap<TenantId, OfTenant>>,
}

#[derive(Debug, Default)]
struct OfTenant {
    /// When each stream was seen last.
    streams: HashMap<u64, UnixNanos>,
    swept_at: UnixNanos,
}

impl ActiveStreams {
    /// Counts a stream as active now; false when it is new and the tenant has `limit` already. 0 is no limit, and
    /// nothing is remembered then.
    pub fn admit(&self, tenant: &TenantId, stream: u64, limit: usize, now: UnixNanos) -> bool {
        if limit == 0 {
            return true;
        }
        let mut tenants = self.tenants.lock();
        let OfTenant { streams, swept_at } = match tenants.get_mut(tenant) {
            Some(of_tenant) => of_tenant,
            None => tenants.entry(tenant.clone()).or_default(),
        };
        if let Some(seen) = streams.get_mut(&stream) {
            *seen = now;
            return true;
        }
        if streams.len() >= limit && now.0.saturating_sub(swept_at.0) >= SWEEP_PAUSE_NS {
            *swept_at = now;
            let idle_since = now.saturating_sub(i64::try_from(IDLE_MAX.as_nanos()).unwrap_or(i64::MAX));
            streams.retain(|_, seen| *seen > idle_since);
        }
        let has_room = streams.len() < limit;
        if has_room {
            streams.insert(stream, now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_streams_beyond_the_limit_wait_for_idle_ones() {
        let active = ActiveStreams::default();
        let (tenant, minute) = (TenantId::single(), 60_000_000_000);
        let admit = |stream, at: i64| active.admit(&tenant, stream, 2, UnixNanos(at * minute));
        assert!(admit(1, 0) && admit(2, 0) && admit(1, 20));
        assert!(!admit(3, 20));
        assert!(admit(3, 35), "stream 2 is idle by now");
        assert!(!admit(2, 36));
        assert!(active.admit(&tenant, 9, 0, UnixNanos(0)));
    }
}
