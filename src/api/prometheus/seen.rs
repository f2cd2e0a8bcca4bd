//! What a caller may see of a tenant's derived metrics: the series that a stream of the same labels would be shown for.
//!
//! A caller who is shown only `{team="a"}` sees the series with that label; one whose grants mask something sees
//! the series in whose labels there is nothing to mask. Aggregates without labels are for those who see everything.

use std::sync::Arc;

use async_trait::async_trait;

use super::DerivedMetrics;
use crate::access::{Scope, Sight, TenantView};
use crate::derived::Store;
use crate::promql::{Engine, RawSeries, Selection, SeriesSource};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::{METRIC_NAME, SampleError};

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

/// None: everything is shown.
fn limited_view<'a>(scope: &'a Scope, tenant: &TenantId) -> Option<&'a TenantView> {
    scope.views().iter().find(|view| view.tenant() == tenant && !view.is_clear())
}

fn is_seen(view: &TenantView, labels: &Labels) -> bool {
    match view.sight(labels) {
        Sight::Hidden => false,
        Sight::Shown(None) => true,
        Sight::Shown(Some(mask)) => {
            let mut others = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
            others.all(|(name, value)| mask.value(name, value) == value)
        }
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
