//! Starts the table's upkeep, in one of the processes that share the table.

use std::sync::Arc;

use super::store::Store;
use crate::config::Config;
use crate::ingest::overrides::LimitsOf;
use crate::lease::Lease;
use crate::store::Location;
use crate::tasks::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::types::time::Clock;
use crate::upkeep::deletes::SigningKey;
use crate::upkeep::{Upkeep, UpkeepParts};

/// Looks for commits of other processes for each look for their deletes, which are rare.
const FOLLOWS_A_LOOK: u32 = 5;

/// Starts it over an open store. Where it needs a lease a task keeps it: to be stopped behind the upkeep, so that another
/// process can go on at once.
pub(super) fn start(
    config: &Config,
    store: &mut Store,
    limits: LimitsOf,
    metrics: Arc<Metrics>,
    clock: Clock,
) -> Result<(Upkeep, Tasks), super::AnyError> {
    let own_key = || config.data_dir().join("erasure.pem");
    let signing_key = SigningKey::open_or_make(&config.millrace.erasure.key_file.clone().unwrap_or_else(own_key))?;
    let lease = store.follow_interval.is_some().then(|| {
        let label = format!("{} pid {}", config.listen_address(), std::process::id());
        let term = config.millrace.table.lease_term.to_std();
        Lease::new(store.objects.clone(), &store.root, "upkeep", &label, term)
    });
    let keeping = Tasks::new();
    if let Some(lease) = lease.clone() {
        show_lease(&metrics, &lease);
        keeping.spawn("lease", |stop| lease.keep(stop));
    }
    let upkeep = Upkeep::start(UpkeepParts {
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
        layout: config.millrace.table.lines,
        own_directory: own_directory(config)?,
        levels: config.tier_levels()?,
        tier_roots: store.tier_roots.clone(),
        removed: std::mem::take(&mut store.removed),
        ledger: store.ledger.clone(),
        signing_key,
        audit_period: config.millrace.audit.retention,
        lease,
    })?;
    if let Some(every) = store.follow_interval {
        tokio::spawn(upkeep.clone().follow_deletes(every * FOLLOWS_A_LOOK));
    }
    Ok((upkeep, keeping))
}

fn show_lease(metrics: &Metrics, lease: &Arc<Lease>) {
    let lease = lease.clone();
    metrics.on_gather(move |metrics| metrics.upkeep.lease_held.set(i64::from(lease.held().is_some())));
}

/// The directory that no other process writes, if the table lies in one.
fn own_directory(config: &Config) -> Result<Option<std::path::PathBuf>, super::AnyError> {
    match config.table_location()? {
        Location::Directory(path) if config.millrace.table.url.is_none() => Ok(Some(path)),
        _ => Ok(None),
    }
}
