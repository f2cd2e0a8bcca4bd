//! Starts the table's upkeep.

use std::sync::Arc;

use super::store::Store;
use crate::config::Config;
use crate::ingest::overrides::LimitsOf;
use crate::telemetry::metrics::Metrics;
use crate::types::time::Clock;
use crate::upkeep::deletes::SigningKey;
use crate::upkeep::{Upkeep, UpkeepParts};

/// Starts it over an open store.
pub(super) fn start(
    config: &Config,
    store: &mut Store,
    limits: LimitsOf,
    metrics: Arc<Metrics>,
    clock: Clock,
) -> Result<Upkeep, super::AnyError> {
    let own_key = || config.data_dir().join("erasure.pem");
    let signing_key = SigningKey::open_or_make(&config.millrace.erasure.key_file.clone().unwrap_or_else(own_key))?;
    Ok(Upkeep::start(UpkeepParts {
        catalog: store.shard.catalog().clone(),
        table: store.table.clone(),
        store: store.objects.clone(),
        root: store.root.clone(),
        indexes: store.indexes(),
        flusher: store.flusher.clone(),
        limits,
        clock,
        metrics,
        compactor: config.compactor.clone(),
        compaction: config.millrace.compaction.clone(),
        own_directory: config.millrace.table.url.is_none().then(|| config.data_dir().join("logs")),
        removed: std::mem::take(&mut store.removed),
        ledger: store.ledger.clone(),
        signing_key,
    })?)
}
