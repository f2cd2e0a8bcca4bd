//! Memory of queries: one pool for all, and of it no tenant more than its part.
//!
//! ```text
//! operator ─ try_grow ─▶ TenantPool (the tenant's part) ─▶ the pool of all (spills are shared fairly)
//!                └ over: the query spills, or ends with 429
//! ```
//!
//! A tenant that fills its part leaves room for the others; whoever lets queries begin asks [`QueryMemory::is_scarce`].

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, TrackConsumersPool,
};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use parking_lot::Mutex;

use crate::access::Scope;

/// Consumers that an error names.
const CONSUMERS_SHOWN: std::num::NonZeroUsize = std::num::NonZeroUsize::new(3).expect("3 is not 0");
/// From this part of the pool on, only tenants that have nothing running may begin a query.
const SCARCE_TENTHS: usize = 8;

/// What queries share. Cheap to clone.
#[derive(Clone)]
pub struct QueryMemory(Arc<Inner>);

struct Inner {
    pool: Arc<dyn MemoryPool>,
    environment: Arc<RuntimeEnv>,
    bytes_max: usize,
    tenant_bytes_max: usize,
    /// Bytes in use by those with queries, by the tenants as a request names them.
    tenants: Mutex<HashMap<String, Weak<AtomicUsize>>>,
}

impl QueryMemory {
    /// # Errors
    /// When DataFusion cannot be set up.
    pub fn new(bytes_max: usize, tenant_bytes_max: usize) -> DfResult<Self> {
        let pool: Arc<dyn MemoryPool> =
            Arc::new(TrackConsumersPool::new(FairSpillPool::new(bytes_max), CONSUMERS_SHOWN));
        let environment = RuntimeEnvBuilder::new().with_memory_pool(pool.clone()).build_arc()?;
        let tenant_bytes_max = if tenant_bytes_max == 0 { bytes_max } else { tenant_bytes_max.min(bytes_max) };
        Ok(QueryMemory(Arc::new(Inner { pool, environment, bytes_max, tenant_bytes_max, tenants: Mutex::default() })))
    }

    /// What a query of `scope` runs with.
    pub(super) fn of(&self, scope: &Scope) -> Arc<RuntimeEnv> {
        let Inner { environment, pool, .. } = &*self.0;
        if self.0.tenant_bytes_max >= self.0.bytes_max {
            return environment.clone();
        }
        let used = {
            let mut tenants = self.0.tenants.lock();
            tenants.retain(|_, used| used.strong_count() > 0);
            let name = scope.tenants_text();
            tenants.get(&name).and_then(Weak::upgrade).unwrap_or_else(|| {
                let used = Arc::new(AtomicUsize::new(0));
                tenants.insert(name, Arc::downgrade(&used));
                used
            })
        };
        let pool = TenantPool { pool: pool.clone(), used, bytes_max: self.0.tenant_bytes_max };
        Arc::new(RuntimeEnv {
            memory_pool: Arc::new(pool),
            disk_manager: environment.disk_manager.clone(),
            cache_manager: environment.cache_manager.clone(),
            object_store_registry: environment.object_store_registry.clone(),
        })
    }

    /// Bytes that queries hold now.
    pub fn used(&self) -> usize {
        self.0.pool.reserved()
    }

    /// Whether so much is in use that further queries of the same tenants should wait.
    pub fn is_scarce(&self) -> bool {
        self.used() >= self.0.bytes_max / 10 * SCARCE_TENTHS
    }
}

/// One tenant's way to the pool of all.
#[derive(Debug)]
struct TenantPool {
    pool: Arc<dyn MemoryPool>,
    used: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl MemoryPool for TenantPool {
    fn name(&self) -> &'static str {
        "tenant"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.pool.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
        self.pool.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        let before = self.used.fetch_add(additional, Ordering::Relaxed);
        let grown = if before + additional > self.bytes_max {
            let text =
                format!("the tenant's queries have {before} of {} bytes, {additional} more do not fit", self.bytes_max);
            Err(DataFusionError::ResourcesExhausted(text))
        } else {
            self.pool.try_grow(reservation, additional)
        };
        if grown.is_err() {
            self.used.fetch_sub(additional, Ordering::Relaxed);
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

impl fmt::Display for TenantPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenant({} of {})", self.reserved(), self.bytes_max)
    }
}

impl fmt::Debug for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryMemory")
            .field("used", &self.used())
            .field("bytes_max", &self.0.bytes_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::TenantId;

    fn scope(tenant: &str) -> Scope {
        Scope::of_server(TenantId::parse(tenant).expect("valid"))
    }

    #[test]
    fn a_tenant_gets_its_part_and_leaves_the_rest() {
        let memory = QueryMemory::new(1000, 700).expect("set up");
        let (heavy, also_heavy, light) =
            (memory.of(&scope("heavy")), memory.of(&scope("heavy")), memory.of(&scope("light")));
        let a = MemoryConsumer::new("a").register(&heavy.memory_pool);
        let b = MemoryConsumer::new("b").register(&also_heavy.memory_pool);
        let c = MemoryConsumer::new("c").register(&light.memory_pool);
        a.try_grow(600).expect("within its part");
        let refused = b.try_grow(200).expect_err("over the part of both").to_string();
        assert!(refused.contains("the tenant's queries have 600 of 700 bytes, 200 more do not fit"), "{refused}");
        c.try_grow(300).expect("the rest is for others");
        assert_eq!((memory.used(), memory.is_scarce()), (900, true));
        drop(a);
        b.try_grow(200).expect("given back");
        assert_eq!((memory.used(), memory.is_scarce()), (500, false));
        drop((b, c));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn without_a_part_all_is_one_pool() {
        let memory = QueryMemory::new(1000, 0).expect("set up");
        let environment = memory.of(&scope("a"));
        let a = MemoryConsumer::new("a").register(&environment.memory_pool);
        a.try_grow(1000).expect("all of it");
        assert!(memory.is_scarce());
    }
}
