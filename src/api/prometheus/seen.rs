//! PromQL and lists over the series that a caller may see.

use std::sync::Arc;

use async_trait::async_trait;

use super::DerivedMetrics;
use crate::access::{Scope, TenantView};
use crate::derived::Store;
use crate::derived::seen::{is_seen, limited_view};
use crate::promql::{Engine, RawSeries, Selection, SeriesSource};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::SampleError;

/// PromQL over what the caller may see.
pub(super) fn engine(derived: &DerivedMetrics, scope: &Scope, tenant: &TenantId) -> Engine {
    match limited_view(scope, tenant) {
        Some(view) => derived.engine.over(Arc::new(Seen { store: derived.store.clone(), view: view.clone() })),
        None => derived.engine.clone(),
    }
}

/// Leaves what the caller may see.
pub(super) fn retain<T>(scope: &Scope, tenant: &TenantId, found: &mut Vec<T>, labels: impl Fn(&T) -> &Labels) {
    if let Some(view) = limited_view(scope, tenant) {
        found.retain(|one| is_seen(view, labels(one)));
    }
}

/// The series of a store that a view shows.
struct Seen {
    store: Store,
    view: TenantView,
}

#[async_trait]
impl SeriesSource for Seen {
    async fn select(
        &self,
        tenant: &TenantId,
        selection: &Selection,
        samples_max: usize,
    ) -> Result<Vec<RawSeries>, SampleError> {
        if self.view.tenant() != tenant {
            return Ok(Vec::new());
        }
        let mut series = self.store.select(tenant, selection, samples_max).await?;
        series.retain(|one| is_seen(&self.view, &one.labels));
        Ok(series)
    }
}
