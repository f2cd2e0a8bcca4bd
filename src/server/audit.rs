//! Starts the audit trail.

use std::sync::Arc;

use super::AnyError;
use super::store::Store;
use crate::audit::{Keeper, WriterParts};
use crate::config::Config;
use crate::telemetry::metrics::Metrics;
use crate::types::time::Clock;
use crate::upkeep::deletes::SigningKey;

/// Starts it over an open store, where it is wanted.
pub(super) fn start(config: &Config, store: &Store, metrics: &Arc<Metrics>, clock: &Clock) -> Result<Keeper, AnyError> {
    if !config.audits() {
        return Ok(Keeper::off());
    }
    let own_key = || config.data_dir().join("audit.pem");
    let key_file = config.millrace.audit.key_file.clone().unwrap_or_else(own_key);
    Ok(Keeper::start(WriterParts {
        config: config.millrace.audit.clone(),
        shard: store.shard.clone(),
        engine: store.engine.clone(),
        objects: store.objects.clone(),
        root: store.root.clone(),
        log_identity: store.flusher.log_identity().to_owned(),
        server_tenant: config.millrace.audit.server_tenant(config.auth_enabled),
        signing_key: SigningKey::open_or_make(&key_file)?,
        clock: clock.clone(),
        metrics: metrics.clone(),
    }))
}
