//! `ruler.remote_write`, with Loki's and Prometheus' names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::types::units::{ByteSize, GoDuration};

/// Where derived samples are sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteWriteConfig {
    pub enabled: bool,
    /// Whether requests name the tenant in X-Scope-OrgID.
    pub add_org_id_header: bool,
    /// By a name of one's own.
    pub clients: BTreeMap<String, ClientConfig>,
    /// Loki's older form, of one client alone.
    pub client: Option<ClientConfig>,
}

/// One receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// `http://prometheus:9090/api/v1/write`.
    pub url: String,
    /// For metrics and messages; empty: the key among `clients`.
    pub name: String,
    /// Time limit of one request.
    pub remote_timeout: GoDuration,
    pub headers: BTreeMap<String, String>,
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    pub tls_config: TlsConfig,
    pub queue_config: QueueConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    pub username: String,
    pub password: String,
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    #[serde(rename = "type")]
    pub kind: String,
    pub credentials: String,
    pub credentials_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Whom to trust, PEM; none: what the system trusts.
    pub ca_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Samples of one request.
    pub max_samples_per_send: usize,
    /// How long samples wait for company.
    pub batch_send_deadline: GoDuration,
    pub min_backoff: GoDuration,
    pub max_backoff: GoDuration,
    /// Whether 429 is tried again, or drops what it refuses.
    pub retry_on_http_429: bool,
    /// Bytes of samples that wait, on disk and in memory; beyond, the oldest go.
    pub max_bytes: ByteSize,
    /// Prometheus' settings of parallel sending: accepted, and not used, since one request at a time keeps the order.
    pub capacity: usize,
    pub min_shards: usize,
    pub max_shards: usize,
}

impl Default for RemoteWriteConfig {
    fn default() -> Self {
        RemoteWriteConfig { enabled: false, add_org_id_header: true, clients: BTreeMap::new(), client: None }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            url: String::new(),
            name: String::new(),
            remote_timeout: GoDuration::from_secs(30),
            headers: BTreeMap::new(),
            basic_auth: None,
            authorization: None,
            tls_config: TlsConfig::default(),
            queue_config: QueueConfig::default(),
        }
    }
}

impl Default for Authorization {
    fn default() -> Self {
        Authorization { kind: "Bearer".to_owned(), credentials: String::new(), credentials_file: None }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        QueueConfig {
            max_samples_per_send: 2_000,
            batch_send_deadline: GoDuration::from_secs(1),
            min_backoff: GoDuration(30_000_000),
            max_backoff: GoDuration::from_secs(5),
            retry_on_http_429: true,
            max_bytes: ByteSize(64 << 20),
            capacity: 10_000,
            min_shards: 1,
            max_shards: 1,
        }
    }
}

impl RemoteWriteConfig {
    /// Clients by name; none when it is off.
    pub fn all(&self) -> Vec<(String, ClientConfig)> {
        if !self.enabled {
            return Vec::new();
        }
        let older = self.client.iter().map(|client| ("default".to_owned(), client.clone()));
        let named = self.clients.iter().map(|(name, client)| (name.clone(), client.clone())).chain(older);
        named
            .map(|(key, client)| if client.name.is_empty() { (key, client) } else { (client.name.clone(), client) })
            .collect()
    }

    /// What is wrong with the settings.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let clients = self.all();
        if self.enabled && clients.is_empty() {
            problems.push("ruler.remote_write: enabled, but without clients".to_owned());
        }
        for (at, (name, client)) in clients.iter().enumerate() {
            let mut demand = |holds: bool, problem: String| {
                if !holds {
                    problems.push(format!("ruler.remote_write.clients.{name}: {problem}"));
                }
            };
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            demand(
                !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain),
                "a name of letters, digits, '-', '_' and '.', since its queue is a directory".to_owned(),
            );
            demand(clients[..at].iter().all(|(other, _)| other != name), "two clients have this name".to_owned());
            let is_http = url::Url::parse(&client.url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
            demand(is_http, format!("url {:?} is no http:// or https:// address", client.url));
            demand(
                client.queue_config.max_samples_per_send > 0,
                "queue_config.max_samples_per_send: at least 1".to_owned(),
            );
            demand(client.queue_config.min_backoff.0 > 0, "queue_config.min_backoff: more than 0".to_owned());
            demand(
                client.queue_config.max_backoff.0 >= client.queue_config.min_backoff.0,
                "queue_config.max_backoff: at least min_backoff".to_owned(),
            );
            demand(client.queue_config.max_bytes.0 >= 1 << 16, "queue_config.max_bytes: at least 64KB".to_owned());
            demand(client.remote_timeout.0 > 0, "remote_timeout: more than 0".to_owned());
            demand(
                client.basic_auth.is_none() || client.authorization.is_none(),
                "basic_auth or authorization, not both".to_owned(),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_form_is_read() {
        let text = r#"{"enabled": true, "clients": {"main": {
            "url": "http://prometheus:9090/api/v1/write",
            "basic_auth": {"username": "u", "password": "p"},
            "headers": {"X-Team": "logs"},
            "queue_config": {"max_samples_per_send": 100, "capacity": 500, "max_backoff": "10s"}
        }}}"#;
        let config: RemoteWriteConfig = serde_json::from_str(text).expect("readable");
        assert_eq!(config.problems(), Vec::<String>::new());
        let clients = config.all();
        assert_eq!(clients[0].0, "main");
        assert_eq!(clients[0].1.queue_config.max_backoff, GoDuration::from_secs(10));
        assert!(serde_json::from_str::<RemoteWriteConfig>(&text.replace("headers", "haeders")).is_err());
    }

    #[test]
    fn problems_are_told() {
        let client = ClientConfig { url: "prometheus:9090".to_owned(), ..ClientConfig::default() };
        let config =
            RemoteWriteConfig { enabled: true, clients: [("../x".to_owned(), client)].into(), ..Default::default() };
        assert_eq!(config.problems().len(), 2, "{:?}", config.problems());
        let off = RemoteWriteConfig { enabled: false, ..config };
        assert_eq!(off.problems(), Vec::<String>::new());
        assert!(off.all().is_empty());
    }
}
