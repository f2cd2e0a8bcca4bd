//! What a scope shows of a tenant's derived metrics: the series that a stream of the same labels would be shown for.
//!
//! Whoever is shown only `{team="a"}` sees the series with that label; whoever's grants mask something sees the series
//! in whose labels there is nothing to mask. Aggregates without labels are for those who see everything.

use crate::access::{Scope, Sight, TenantView};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::METRIC_NAME;

/// What limits a scope's sight of a tenant; none: everything is shown.
pub fn limited_view<'a>(scope: &'a Scope, tenant: &TenantId) -> Option<&'a TenantView> {
    scope.views().iter().find(|view| view.tenant() == tenant && !view.is_clear())
}

pub fn is_seen(view: &TenantView, labels: &Labels) -> bool {
    match view.sight(labels) {
        Sight::Hidden => false,
        Sight::Shown(None) => true,
        Sight::Shown(Some(mask)) => {
            let mut others = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
            others.all(|(name, value)| mask.value(name, value) == value)
        }
    }
}
