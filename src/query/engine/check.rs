//! What is checked before a query runs: the limits of its tenants. The server's own questions have none.

use super::Engine;
use crate::access::Scope;
use crate::ingest::blocked_queries::is_blocked;
use crate::ingest::limits::Limits;
use crate::ingest::overrides::LimitsOf;
use crate::logql::ast::{Expr, LogExpr};
use crate::query::limits::{QueryLimits, selectors};
use crate::query::plan::Planner;
use crate::query::{QueryError, QueryKind, index};
use crate::types::time::TimeRange;

/// Loki's words.
const BLOCKED: &str = "query blocked by policy";

impl Engine {
    /// Holds all queries from now on to the limits of their tenants; the first of them stay.
    pub fn use_limits(&self, limits: LimitsOf) {
        let _ = self.parts.tenant_limits.set(limits);
    }

    /// What a query of `scope` may ask.
    pub(in crate::query) fn limits_of(&self, scope: &Scope) -> QueryLimits {
        self.tenant_limits(scope).map_or_else(QueryLimits::default, |limits| QueryLimits::of(&limits))
    }

    fn tenant_limits(&self, scope: &Scope) -> Option<std::sync::Arc<Limits>> {
        let limits = self.parts.tenant_limits.get().filter(|_| !scope.is_of_server())?;
        Some(limits.of_all(scope.tenants()))
    }

    /// Whether a question is one that must not be asked. `kind`: that of LogQL, or `sql`, `promql`.
    ///
    /// # Errors
    /// `BadInput`.
    pub fn check_blocked(&self, scope: &Scope, text: &str, kind: &str, tags: &str) -> Result<(), QueryError> {
        let rules = self.tenant_limits(scope);
        match rules.is_some_and(|limits| is_blocked(&limits.blocked_queries, text, kind, tags)) {
            true => Err(QueryError::BadInput(BLOCKED.to_owned())),
            false => Ok(()),
        }
    }

    /// A tail, before it is opened.
    ///
    /// # Errors
    /// `BadInput`.
    pub fn check_tail(&self, scope: &Scope, log: LogExpr, text: &str, kind: &str) -> Result<(), QueryError> {
        self.check_blocked(scope, text, kind, "")?;
        self.limits_of(scope).check(&Expr::Log(log))
    }

    /// Selectors, windows, and what would be read by the index.
    pub(super) async fn check(&self, planner: &Planner, expr: &Expr, kind: QueryKind) -> Result<(), QueryError> {
        let limits = self.limits_of(&planner.scope);
        limits.check(expr)?;
        if limits.bytes_max == 0 {
            return Ok(());
        }
        let (start, end) = match kind {
            QueryKind::Range { start, end, .. } => (start, end),
            QueryKind::Instant { time } => (time, time),
        };
        let mut bytes = 0_u64;
        for (matchers, range_ns, offset_ns) in selectors(expr) {
            let from = start.saturating_sub(range_ns).saturating_sub(offset_ns);
            let to = end.saturating_sub(offset_ns).saturating_add(1);
            let range = TimeRange::new(from, to);
            let stats = index::stats(&planner.catalog, &planner.indexes, &planner.visible, range, matchers).await?;
            bytes = bytes.saturating_add(stats.bytes);
        }
        limits.check_bytes(bytes)
    }
}
