//! How fast a tenant and a stream may send: token buckets.
//!
//! ```text
//! push ─▶ tenant's bucket (all or nothing) ─▶ each stream's bucket ─▶ in
//! ```
//!
//! A limit of 0 is no limit. Buckets follow the limits: when those change, the bucket starts anew, full.
//! Errors: [`TooFast`], with what Loki's texts need.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, InsufficientCapacity, NotUntil, Quota, RateLimiter};
use parking_lot::RwLock;

use super::limits::Limits;
use crate::types::ids::TenantId;

/// Bytes of one cell of a bucket: rates of gigabytes a second fit the counters and the nanoseconds between two cells, and
/// a short line is not taken for a long one.
pub(super) const CELL_BYTES: u64 = 64;
/// Streams with a bucket, of one tenant, before full buckets are forgotten.
const STREAM_BUCKETS_MAX: usize = 100_000;

type Instant = <DefaultClock as Clock>::Instant;

/// A limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFast {
    /// Bytes a second.
    pub limit: u64,
    /// After this the same may work; none when it never will, because it is larger than the burst.
    pub retry_after: Option<std::time::Duration>,
}

/// Rates as the limits have them, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rates {
    tenant: (u64, u64),
    stream: (u64, u64),
}

impl Rates {
    fn of(limits: &Limits) -> Self {
        let megabytes = |megabytes: f64| (megabytes.max(0.0) * 1_048_576.0) as u64;
        Rates {
            tenant: (megabytes(limits.ingestion_rate_mb), megabytes(limits.ingestion_burst_size_mb)),
            stream: (limits.per_stream_rate_limit.0, limits.per_stream_rate_limit_burst.0),
        }
    }
}

struct Buckets {
    rates: Rates,
    tenant: Option<DefaultDirectRateLimiter>,
    streams: Option<DefaultKeyedRateLimiter<u64>>,
}

/// The buckets of all tenants.
#[derive(Default)]
pub struct IngestRates {
    tenants: RwLock<HashMap<TenantId, Arc<Buckets>>>,
}

impl std::fmt::Debug for IngestRates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestRates").field("tenants", &self.tenants.read().len()).finish()
    }
}

impl IngestRates {
    /// Takes `bytes` of a tenant's rate, or nothing.
    pub fn take(&self, tenant: &TenantId, limits: &Limits, bytes: u64) -> Result<(), TooFast> {
        let buckets = self.buckets(tenant, limits);
        let Some(bucket) = &buckets.tenant else { return Ok(()) };
        decide(bytes, buckets.rates.tenant.0, |cells| bucket.check_n(cells))
    }

    /// Takes `bytes` of a stream's rate, or nothing. `stream` is the hash of its labels.
    pub fn take_stream(&self, tenant: &TenantId, limits: &Limits, stream: u64, bytes: u64) -> Result<(), TooFast> {
        let buckets = self.buckets(tenant, limits);
        let Some(streams) = &buckets.streams else { return Ok(()) };
        if streams.len() > STREAM_BUCKETS_MAX {
            streams.retain_recent();
        }
        decide(bytes, buckets.rates.stream.0, |cells| streams.check_key_n(&stream, cells))
    }

    fn buckets(&self, tenant: &TenantId, limits: &Limits) -> Arc<Buckets> {
        let rates = Rates::of(limits);
        if let Some(buckets) = self.tenants.read().get(tenant).filter(|buckets| buckets.rates == rates) {
            return buckets.clone();
        }
        let buckets = Arc::new(Buckets {
            rates,
            tenant: quota(rates.tenant).map(RateLimiter::direct),
            streams: quota(rates.stream).map(RateLimiter::dashmap),
        });
        self.tenants.write().insert(tenant.clone(), buckets.clone());
        buckets
    }
}

fn cells(bytes: u64) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(bytes.div_ceil(CELL_BYTES)).unwrap_or(u32::MAX))
}

/// None when there is no limit.
fn quota((rate, burst): (u64, u64)) -> Option<Quota> {
    Some(Quota::per_second(cells(rate)?).allow_burst(cells(burst.max(rate.min(CELL_BYTES)))?))
}

fn decide(
    bytes: u64,
    limit: u64,
    check: impl FnOnce(NonZeroU32) -> Result<Result<(), NotUntil<Instant>>, InsufficientCapacity>,
) -> Result<(), TooFast> {
    let Some(cells) = cells(bytes) else { return Ok(()) };
    match check(cells) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(not_until)) => {
            Err(TooFast { limit, retry_after: Some(not_until.wait_time_from(DefaultClock::default().now())) })
        }
        Err(_) => Err(TooFast { limit, retry_after: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::units::ByteSize;

    fn limits(rate_mb: f64, burst_mb: f64, stream: u64) -> Limits {
        Limits {
            ingestion_rate_mb: rate_mb,
            ingestion_burst_size_mb: burst_mb,
            per_stream_rate_limit: ByteSize(stream),
            per_stream_rate_limit_burst: ByteSize(stream),
            ..Limits::default()
        }
    }

    #[test]
    fn a_tenant_has_its_burst_and_then_its_rate() {
        let rates = IngestRates::default();
        let (a, b) = (TenantId::parse("a").expect("valid"), TenantId::parse("b").expect("valid"));
        let limits = limits(1.0, 2.0, 0);
        assert_eq!(rates.take(&a, &limits, 2 << 20), Ok(()));
        let refused = rates.take(&a, &limits, 1 << 20).expect_err("the bucket is empty");
        assert_eq!(refused.limit, 1 << 20);
        assert!(refused.retry_after.is_some_and(|wait| wait.as_secs_f64() > 0.5));
        assert_eq!(rates.take(&b, &limits, 1 << 20), Ok(()), "another tenant has its own");
        assert_eq!(rates.take(&b, &limits, 3 << 20), Err(TooFast { limit: 1 << 20, retry_after: None }));
    }

    #[test]
    fn streams_have_buckets_and_zero_is_no_limit() {
        let rates = IngestRates::default();
        let tenant = TenantId::single();
        let limited = limits(0.0, 0.0, 4096);
        assert_eq!(rates.take(&tenant, &limited, u64::MAX), Ok(()));
        assert_eq!(rates.take_stream(&tenant, &limited, 1, 4096), Ok(()));
        assert!(rates.take_stream(&tenant, &limited, 1, 4096).is_err());
        assert_eq!(rates.take_stream(&tenant, &limited, 2, 4096), Ok(()));
        assert_eq!(rates.take_stream(&tenant, &limits(0.0, 0.0, 0), 1, u64::MAX), Ok(()));
    }
}
