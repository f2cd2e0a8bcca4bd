//! The recent rows of this process for others, and those of others here.

use std::sync::Arc;

use super::AnyError;
use super::store::Store;
use crate::api::ClusterFace;
use crate::cluster::{Origin, PeerParts, follow_peers};
use crate::config::Config;
use crate::tasks::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::tls::authorities;

/// What others may ask of this process; none where they share no secret.
pub(super) fn face(config: &Config, store: &Store) -> Result<Option<ClusterFace>, AnyError> {
    let Some(path) = &config.millrace.cluster.token_file else { return Ok(None) };
    let read = std::fs::read_to_string(path);
    let token = read.map_err(|error| format!("millrace.cluster.token_file: {}: {error}", path.display()))?;
    let token = token.trim();
    if token.is_empty() {
        return Err(format!("millrace.cluster.token_file: {} is empty", path.display()).into());
    }
    let origin = Origin::new(store.shard.clone(), store.table.clone(), store.flusher.log_identity());
    Ok(Some(ClusterFace { origin, token: token.into() }))
}

/// Follows the peers of the configuration, until `tasks` are told to stop.
pub(super) fn follow(
    config: &Config,
    store: &Store,
    face: Option<&ClusterFace>,
    metrics: &Arc<Metrics>,
    tasks: &Tasks,
) -> Result<(), AnyError> {
    let settings = &config.millrace.cluster;
    let Some(face) = face.filter(|_| !settings.peers.is_empty()) else { return Ok(()) };
    let mut http = reqwest::Client::builder().no_proxy();
    if let Some(path) = &settings.ca_file {
        for certificate in authorities(path).map_err(|error| format!("millrace.cluster.ca_file: {error}"))? {
            http = http.add_root_certificate(certificate);
        }
    }
    let parts = PeerParts {
        shard: store.shard.clone(),
        flusher: store.flusher.clone(),
        metrics: metrics.clone(),
        http: http.build()?,
        token: face.token.clone(),
    };
    follow_peers(settings.peers.clone(), parts, tasks);
    let shard = store.shard.clone();
    metrics.on_gather(move |metrics| {
        let (rows, bytes) = shard.catalog().replica_size();
        metrics.cluster.rows.set(i64::try_from(rows).unwrap_or(i64::MAX));
        metrics.cluster.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    });
    Ok(())
}
