//! Answers of the past, split at aligned times and kept.
//!
//! ```text
//! query ─▶ splits ─▶ kept and nothing changed since? ─ yes ─▶ put together
//!                                     └ no ─▶ neighbours computed in one scan ─▶ kept when over ─▶ put together
//! ```
//!
//! Neighbouring splits that are missing are computed together, so that a window is not read once for each split it
//! reaches into, and a scan still spreads over all threads.
//!
//! Invariants: splitting and keeping never change an answer; the still-moving end of time is never kept; rows that
//! come late and rows that go make what was kept of their time worthless.

mod cache;
pub mod logs;
pub mod metric;
mod splits;

use std::sync::Arc;

pub use cache::{ResultsCache, ResultsCacheStats};
pub use logs::Categorized;

use crate::access::Scope;
use crate::catalog::{Catalog, ChangeSeq};
use crate::types::time::{TimeRange, UnixNanos};

/// How one query uses the cache.
#[derive(Debug, Clone)]
pub struct Through {
    pub cache: ResultsCache,
    pub catalog: Arc<Catalog>,
    pub scope: Scope,
    /// Width of a split; positive.
    pub interval_ns: i64,
    /// Splits that reach beyond this are not kept: rows still come there.
    pub keep_before: UnixNanos,
}

impl Through {
    /// Whether rows of the scope came or went in `range` after `seq`.
    fn changed_since(&self, range: TimeRange, seq: ChangeSeq) -> bool {
        self.scope.tenants().any(|tenant| self.catalog.changed_since(tenant, range, seq))
    }
}
