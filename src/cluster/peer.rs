//! Shows the recent rows of other processes here.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::PATH;
use super::frames::Frame;
use crate::catalog::ReplicaRows;
use crate::ingest::flush::Flusher;
use crate::ingest::shard::{Shard, rows_of};
use crate::tasks::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::types::batch::LogBatch;

/// After an error, growing to the second.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a peer may be silent; it says every second that it lives.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often names are looked up again.
const LOOK_UP_PERIOD: Duration = Duration::from_secs(30);
/// While the table is not as far as a peer is.
const FOLLOW_PAUSE: Duration = Duration::from_millis(50);

/// What following peers needs.
#[derive(Clone)]
pub struct PeerParts {
    pub shard: Arc<Shard>,
    pub flusher: Arc<Flusher>,
    pub metrics: Arc<Metrics>,
    pub http: reqwest::Client,
    /// The secret that all processes share.
    pub token: Arc<str>,
}

type PeerError = Box<dyn std::error::Error + Send + Sync>;

/// Follows all peers until `tasks` are told to stop.
pub fn follow_peers(peers: Vec<String>, parts: PeerParts, tasks: &Tasks) {
    let of_peers = tasks.clone();
    tasks.spawn("cluster", move |stop| async move {
        let mut known: BTreeMap<String, CancellationToken> = BTreeMap::new();
        loop {
            let addresses = addresses(&peers).await;
            known.retain(|address, follower| {
                let stays = addresses.contains(address);
                if !stays {
                    follower.cancel();
                }
                stays
            });
            for address in addresses {
                known.entry(address.clone()).or_insert_with(|| {
                    let gone = CancellationToken::new();
                    let (parts, of_peer) = (parts.clone(), gone.clone());
                    of_peers.spawn("cluster peer", move |stop| follow(address, parts, of_peer, stop));
                    gone
                });
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_UP_PERIOD) => {}
                () = stop.cancelled() => return,
            }
        }
    });
}

/// The addresses behind the names, as they are now.
async fn addresses(peers: &[String]) -> Vec<String> {
    let peers = peers.to_vec();
    let look_up = move || {
        let mut all = Vec::new();
        for peer in peers {
            let Some(name) = peer.strip_prefix("dns+") else {
                all.push(peer.trim_end_matches('/').to_owned());
                continue;
            };
            let Ok(url) = url::Url::parse(name) else { continue };
            let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { continue };
            match (host, port).to_socket_addrs() {
                Ok(found) => all.extend(found.map(|address| format!("{}://{address}", url.scheme()))),
                Err(error) => tracing::warn!(%error, peer, "a peer's name has no address"),
            }
        }
        all.sort();
        all.dedup();
        all
    };
    tokio::task::spawn_blocking(look_up).await.unwrap_or_default()
}

/// Follows one peer until it is gone for good.
async fn follow(address: String, parts: PeerParts, gone: CancellationToken, stop: CancellationToken) {
    let peer: Arc<str> = address.as_str().into();
    let mut pause = PAUSE_MIN;
    loop {
        let told = tokio::select! {
            told = parts.listen(&peer, &mut pause) => told,
            () = stop.cancelled() => return,
            () = gone.cancelled() => {
                // Its last rows are in its log; whoever starts it again shows them.
                parts.shard.catalog().replace_replica(&peer, Vec::new());
                return;
            }
        };
        parts.metrics.cluster.up.with_label_values(&[&*peer]).set(0);
        match told {
            Ok(Told::Itself) => {
                tracing::debug!(%peer, "a peer is this process");
                return;
            }
            Ok(Told::Ended) => tracing::info!(%peer, "a peer ended its rows; they are asked for anew"),
            Err(error) => tracing::warn!(%error, %peer, "a peer's recent rows are not known; trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// How a peer's telling ended.
enum Told {
    Itself,
    Ended,
}

impl PeerParts {
    /// Takes what a peer tells, until it ends.
    async fn listen(&self, peer: &Arc<str>, pause: &mut Duration) -> Result<Told, PeerError> {
        let asked = self.http.get(format!("{peer}{PATH}")).bearer_auth(&*self.token).send();
        let answer = tokio::time::timeout(SILENCE_MAX, asked).await??.error_for_status()?;
        let (mut body, mut buffer) = (answer.bytes_stream(), BytesMut::new());
        // The rows there were, until all of them are told.
        let mut told: Option<Vec<ReplicaRows>> = Some(Vec::new());
        loop {
            while let Some(frame) = Frame::decode(&mut buffer)? {
                match frame {
                    Frame::Begin { identity } if identity == self.flusher.log_identity() => return Ok(Told::Itself),
                    Frame::Begin { .. } | Frame::Alive => {}
                    Frame::Ready { version } => {
                        while self.flusher.follow().await? < version {
                            tokio::time::sleep(FOLLOW_PAUSE).await;
                        }
                        let rows = told.take().unwrap_or_default();
                        self.shard.catalog().replace_replica(peer, rows);
                        self.metrics.cluster.up.with_label_values(&[&**peer]).set(1);
                        self.metrics.cluster.begun.with_label_values(&[&**peer]).inc();
                        *pause = PAUSE_MIN;
                    }
                    Frame::Rows { source, position, seq, record } => {
                        let (tenant, batch) = LogBatch::decode(&record)?;
                        let rows = rows_of(&batch, &self.shard.catalog().streams().tenant(&tenant))?;
                        let rows = ReplicaRows { tenant, source: source.into(), position, seq, rows };
                        match &mut told {
                            Some(told) => told.push(rows),
                            None => self.shard.catalog().extend_replica(peer, rows),
                        }
                    }
                }
            }
            match tokio::time::timeout(SILENCE_MAX, body.next()).await? {
                Some(bytes) => buffer.extend_from_slice(&bytes?),
                None => return Ok(Told::Ended),
            }
        }
    }
}
