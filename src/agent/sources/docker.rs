//! `docker_sd_configs`: containers found through Docker's API, and their logs followed through it.
//!
//! ```text
//! GET /containers/json?filters=… ─▶ containers ─▶ labels __meta_docker_… ─ relabel ─▶ GET /containers/{id}/logs?follow=1
//!        every refresh_interval                        (anew for stdout and stderr)        since the last acknowledged
//! ```
//!
//! The position `cursor-<id>` is the second of the last acknowledged line, as in Promtail; lines of that second are
//! read again and told apart by their nanoseconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::docker_stream::{Demux, Line};
use super::{Around, Labelling, SourceError};
use crate::agent::config::DockerConfig;
use crate::agent::positions::Track;
use crate::agent::targets::Target;
use crate::pipeline::{Entry, Receipt, sanitized_label_name};
use crate::tasks::Tasks;

/// Of a question; logs are followed without end.
const ASK_WAIT: Duration = Duration::from_secs(30);
const AGAIN_WAIT: Duration = Duration::from_secs(1);

/// A daemon.
#[derive(Debug, Clone)]
struct Daemon {
    http: reqwest::Client,
    base: String,
}

struct Follower {
    daemon: Daemon,
    labelling: Labelling,
    around: Around,
}

/// Looks for containers until the sources are stopped.
pub(super) fn start(
    config: &DockerConfig,
    labelling: Labelling,
    around: &Around,
    tasks: &Tasks,
) -> Result<(), SourceError> {
    let job = around.feed.job().to_owned();
    let wrong = |words: String| SourceError::Config { job: job.clone(), words };
    let daemon = Daemon::new(&config.host).map_err(wrong)?;
    let follower = Arc::new(Follower { daemon, labelling, around: around.clone() });
    let config = config.clone();
    tasks.spawn("docker", |_| async move { follower.discover(&config).await });
    Ok(())
}

impl Daemon {
    fn new(host: &str) -> Result<Self, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder();
        let (builder, base) = match host.split_once("://") {
            Some(("unix", path)) => (builder.unix_socket(path), "http://docker".to_owned()),
            Some(("tcp", address)) => (builder, format!("http://{address}")),
            Some(("http" | "https", _)) => (builder, host.trim_end_matches('/').to_owned()),
            _ => {
                return Err(format!(
                    "docker_sd_configs.host: {host:?}; write unix:///var/run/docker.sock or tcp://host:2375"
                ));
            }
        };
        let http = builder.build().map_err(|error| error.to_string())?;
        Ok(Daemon { http, base })
    }

    async fn ask(&self, path: &str, query: &[(&str, String)]) -> Result<Json, String> {
        let words = |error: reqwest::Error| format!("{error} ({:?})", std::error::Error::source(&error));
        let request = self.http.get(format!("{}{path}", self.base)).query(query).timeout(ASK_WAIT);
        let answer = request.send().await.map_err(words)?;
        let status = answer.status();
        let text = answer.text().await.map_err(words)?;
        if !status.is_success() {
            return Err(format!("{path} answered {status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))
    }
}

impl Follower {
    async fn discover(self: Arc<Self>, config: &DockerConfig) {
        let mut following: BTreeMap<String, CancellationToken> = BTreeMap::new();
        let filters: BTreeMap<&str, &Vec<String>> =
            config.filters.iter().map(|filter| (filter.name.as_str(), &filter.values)).collect();
        let query = if filters.is_empty() { Vec::new() } else { vec![("filters", json!(filters).to_string())] };
        while !self.around.stop.is_cancelled() {
            match self.daemon.ask("/containers/json", &query).await {
                Ok(containers) => self.follow(containers.as_array().map_or(&[][..], Vec::as_slice), &mut following),
                Err(words) => {
                    tracing::warn!(job = self.around.feed.job(), words, "Docker does not answer; it is asked again")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(config.refresh_interval.to_std().max(Duration::from_millis(100))) => {}
                () = self.around.stop.cancelled() => return,
            }
        }
    }

    /// Follows containers that are new, and forgets those that are gone.
    fn follow(self: &Arc<Self>, containers: &[Json], following: &mut BTreeMap<String, CancellationToken>) {
        let mut targets = Vec::new();
        let mut there = Vec::new();
        for container in containers {
            let Some(id) = container.get("Id").and_then(Json::as_str) else { continue };
            let discovered = labels_of(container);
            let labels = self.labelling.of(discovered.clone());
            targets.push(Target {
                job: self.around.feed.job().to_owned(),
                kind: "Docker",
                name: id.to_owned(),
                labels: labels.as_ref().map(|labels| labels.to_string()).unwrap_or_default(),
                is_ready: labels.is_some(),
                details: if labels.is_some() { "following" } else { "dropped by relabelling" }.to_owned(),
            });
            if labels.is_none() {
                continue;
            }
            there.push(id.to_owned());
            // One whose logs ended while it was away is followed anew.
            if following.get(id).is_none_or(CancellationToken::is_cancelled) {
                let ended = self.around.stop.child_token();
                following.insert(id.to_owned(), ended.clone());
                let (follower, id) = (self.clone(), id.to_owned());
                tokio::spawn(async move { follower.logs(&id, &discovered, &ended).await });
            }
        }
        following.retain(|id, ended| there.contains(id) || !ended.is_cancelled());
        self.around.targets.replace(self.around.feed.job(), "Docker", targets);
    }

    /// The logs of one container, until it ends.
    async fn logs(&self, id: &str, discovered: &[(String, String)], ended: &CancellationToken) {
        let key = format!("cursor-{id}");
        let since = self.around.positions.get(&key).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        let is_terminal = match self.daemon.ask(&format!("/containers/{id}/json"), &[]).await {
            Ok(container) => container.pointer("/Config/Tty").and_then(Json::as_bool).unwrap_or(false),
            Err(words) => {
                tracing::warn!(id, words, "a container cannot be looked at");
                tokio::time::sleep(AGAIN_WAIT).await;
                ended.cancel();
                return;
            }
        };
        let url = format!("{}/containers/{id}/logs", self.daemon.base);
        let query =
            [("follow", "1"), ("stdout", "1"), ("stderr", "1"), ("timestamps", "1"), ("since", &since.to_string())];
        let answer = self.daemon.http.get(url).query(&query).send().await;
        match answer {
            Ok(mut answer) if answer.status().is_success() => {
                tracing::info!(id, "following a container's logs");
                let (track, part) = Track::of_cursor(&self.around.positions, key);
                let mut demux = Demux::new(is_terminal);
                loop {
                    let bytes = tokio::select! {
                        bytes = answer.chunk() => bytes,
                        () = self.around.stop.cancelled() => return,
                    };
                    let Ok(Some(bytes)) = bytes else { break };
                    let lines = demux.feed(&bytes);
                    let Some(last) = lines.iter().filter_map(|line| line.ts_ns).max() else { continue };
                    let held = Arc::new(track.chunk(part, (last / 1_000_000_000).to_string()));
                    let receipt = Receipt::of(held);
                    let mut entries: Vec<Entry> =
                        lines.into_iter().filter_map(|line| self.entry(line, discovered)).collect();
                    entries.iter_mut().for_each(|entry| entry.receipt = receipt.clone());
                    drop(receipt);
                    self.around.feed.push(entries).await;
                }
            }
            Ok(answer) => tracing::warn!(
                id,
                status = answer.status().as_u16(),
                "a container's logs are not given; its log driver must be json-file, local or journald"
            ),
            Err(error) => tracing::warn!(id, %error, "a container's logs cannot be read"),
        }
        tokio::time::sleep(AGAIN_WAIT).await;
        ended.cancel();
    }

    fn entry(&self, line: Line, discovered: &[(String, String)]) -> Option<Entry> {
        let stream = ("__meta_docker_container_log_stream".to_owned(), line.stream.to_owned());
        let labels = self.labelling.of(discovered.iter().cloned().chain([stream]))?;
        let ts_ns = line.ts_ns.unwrap_or_else(|| self.around.feed.clock().now().0);
        Some(Entry::new(labels, ts_ns, line.text))
    }
}

/// What Prometheus's Docker discovery calls the properties of a container.
fn labels_of(container: &Json) -> Vec<(String, String)> {
    let text = |pointer: &str| container.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned();
    let mut labels = vec![
        ("__meta_docker_container_id".to_owned(), text("/Id")),
        ("__meta_docker_container_name".to_owned(), text("/Names/0")),
        ("__meta_docker_container_network_mode".to_owned(), text("/HostConfig/NetworkMode")),
    ];
    for (name, value) in container.get("Labels").and_then(Json::as_object).into_iter().flatten() {
        let name = sanitized_label_name(name);
        labels.push((format!("__meta_docker_container_label_{name}"), value.as_str().unwrap_or_default().to_owned()));
    }
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Json::as_object);
    if let Some((name, network)) = networks.and_then(|networks| networks.iter().next()) {
        let of = |key: &str| network.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        labels.push(("__meta_docker_network_name".to_owned(), name.clone()));
        labels.push(("__meta_docker_network_id".to_owned(), of("NetworkID")));
        labels.push(("__meta_docker_network_ip".to_owned(), of("IPAddress")));
    }
    if let Some(port) = container.pointer("/Ports/0") {
        let number = |key: &str| port.get(key).and_then(Json::as_u64).map(|port| port.to_string()).unwrap_or_default();
        labels.push(("__meta_docker_port_private".to_owned(), number("PrivatePort")));
        labels.push(("__meta_docker_port_public".to_owned(), number("PublicPort")));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_of_a_container() {
        let container = json!({
            "Id": "abc", "Names": ["/web"], "Labels": {"com.docker.compose.service": "web"},
            "HostConfig": {"NetworkMode": "bridge"},
            "NetworkSettings": {"Networks": {"lab": {"NetworkID": "n1", "IPAddress": "10.0.0.2"}}},
            "Ports": [{"PrivatePort": 80, "PublicPort": 8080}],
        });
        let labels: BTreeMap<String, String> = labels_of(&container).into_iter().collect();
        let check = |name: &str, value: &str| assert_eq!(labels[&format!("__meta_docker_{name}")], value);
        check("container_name", "/web");
        check("container_label_com_docker_compose_service", "web");
        check("container_network_mode", "bridge");
        check("network_ip", "10.0.0.2");
        check("port_public", "8080");
    }
}
