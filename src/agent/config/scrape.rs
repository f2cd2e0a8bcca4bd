//! What is read: the jobs, each with one source, its labels and its stages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Yaml;

use super::client::TlsConfig;
use super::kafka::KafkaConfig;
use crate::agent::relabel::RelabelConfig;
use crate::tls::ClientAuth;
use crate::types::units::GoDuration;

/// One entry of `scrape_configs`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrapeConfig {
    pub job_name: String,
    #[serde(skip_serializing_if = "Yaml::is_null")]
    pub pipeline_stages: Yaml,
    pub relabel_configs: Vec<RelabelConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub static_configs: Vec<Group>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub file_sd_configs: Vec<FileConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub docker_sd_configs: Vec<DockerConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loki_push_api: Option<PushConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decompression: Option<Decompression>,
    /// Of files that are not UTF-8: `utf-16le`, `iso-8859-1`, ….
    #[serde(skip_serializing_if = "String::is_empty")]
    pub encoding: String,
    /// The first form of the `docker` and `cri` stages; Promtail ignores it since 2.0.
    #[serde(skip_serializing)]
    pub entry_parser: Option<String>,

    // Read, then refused with what to write instead.
    #[serde(skip_serializing)]
    pub gelf: Option<Yaml>,
    #[serde(skip_serializing)]
    pub gcplog: Option<Yaml>,
    #[serde(skip_serializing)]
    pub windows_events: Option<Yaml>,
    #[serde(skip_serializing)]
    pub azure_event_hubs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub cloudflare: Option<Yaml>,
    #[serde(skip_serializing)]
    pub heroku_drain: Option<Yaml>,
    #[serde(skip_serializing)]
    pub kubernetes_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub consul_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub consulagent_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub ec2_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub gce_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub azure_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub dns_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub openstack_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub marathon_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub nerve_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub serverset_sd_configs: Option<Yaml>,
    #[serde(skip_serializing)]
    pub triton_sd_configs: Option<Yaml>,
}

/// Targets that share labels.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    pub targets: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub labels: BTreeMap<String, String>,
}

/// Labels whose values were not quoted in YAML are texts all the same.
fn texts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map: Option<BTreeMap<String, Yaml>> = Option::deserialize(deserializer)?;
    let text = |value: Yaml| match value {
        Yaml::Null => String::new(),
        Yaml::String(text) => text,
        other => other.to_string(),
    };
    Ok(map.unwrap_or_default().into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// `file_sd_configs`: files of groups, JSON or YAML.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileConfig {
    /// Paths, the last part of which may have `*`.
    pub files: Vec<String>,
    pub refresh_interval: GoDuration,
}

impl Default for FileConfig {
    fn default() -> Self {
        FileConfig { files: Vec::new(), refresh_interval: GoDuration::from_secs(300) }
    }
}

/// `docker_sd_configs`: containers of a Docker daemon.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerConfig {
    /// `unix:///var/run/docker.sock` or `http://host:2375`.
    pub host: String,
    pub refresh_interval: GoDuration,
    pub filters: Vec<Filter>,
    /// Accepted: the port of targets that expose none.
    pub port: u16,
    pub host_networking_host: String,
}

impl Default for DockerConfig {
    fn default() -> Self {
        DockerConfig {
            host: String::new(),
            refresh_interval: GoDuration::from_secs(60),
            filters: Vec::new(),
            port: 80,
            host_networking_host: "localhost".to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    pub name: String,
    pub values: Vec<String>,
}

/// `journal`: what systemd keeps.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// The whole entry as JSON is the line, not its message.
    pub json: bool,
    /// How far back to read at first.
    pub max_age: String,
    /// `FIELD=value FIELD=value`
    pub matches: String,
    pub path: String,
    pub labels: BTreeMap<String, String>,
}

impl Default for JournalConfig {
    fn default() -> Self {
        JournalConfig {
            json: false,
            max_age: "7h".to_owned(),
            matches: String::new(),
            path: String::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// `syslog`: a listener for syslog messages.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyslogConfig {
    pub listen_address: String,
    /// `tcp` or `udp`.
    pub listen_protocol: String,
    /// A connection without messages for so long is closed.
    pub idle_timeout: GoDuration,
    /// Structured data becomes `__syslog_message_sd_<id>_<name>`.
    pub label_structured_data: bool,
    pub labels: BTreeMap<String, String>,
    pub use_incoming_timestamp: bool,
    /// The whole message is the line, not its text.
    pub use_rfc5424_message: bool,
    /// Bytes.
    pub max_message_length: usize,
    /// `rfc5424` or `rfc3164`.
    pub syslog_format: String,
    /// Encrypts TCP. With `ca_file` senders must show a certificate of that authority.
    pub tls_config: TlsConfig,
}

impl SyslogConfig {
    /// What is wrong with `tls_config`.
    pub(super) fn tls_problem(&self) -> Option<&'static str> {
        let tls = &self.tls_config;
        if *tls == TlsConfig::default() {
            None
        } else if self.listen_protocol != "tcp" {
            Some("tls_config: TLS is of listen_protocol tcp")
        } else if tls.cert_file.is_empty() || tls.key_file.is_empty() {
            Some("tls_config: certificate and key files are required")
        } else {
            None
        }
    }

    /// TLS of the listener, where there is any.
    pub(in crate::agent) fn server_tls(&self) -> Option<crate::tls::TlsConfig> {
        let tls = &self.tls_config;
        let file = |path: &String| (!path.is_empty()).then(|| path.into());
        (*tls != TlsConfig::default()).then(|| crate::tls::TlsConfig {
            cert_file: file(&tls.cert_file),
            key_file: file(&tls.key_file),
            client_auth_type: match tls.ca_file.is_empty() {
                true => ClientAuth::None,
                false => ClientAuth::RequireAndVerifyClientCert,
            },
            client_ca_file: file(&tls.ca_file),
        })
    }
}

impl Default for SyslogConfig {
    fn default() -> Self {
        SyslogConfig {
            listen_address: String::new(),
            listen_protocol: "tcp".to_owned(),
            idle_timeout: GoDuration::from_secs(120),
            label_structured_data: false,
            labels: BTreeMap::new(),
            use_incoming_timestamp: false,
            use_rfc5424_message: false,
            max_message_length: 8_192,
            syslog_format: "rfc5424".to_owned(),
            tls_config: TlsConfig::default(),
        }
    }
}

/// `loki_push_api`: a listener for pushes of other agents.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushConfig {
    pub server: PushServer,
    pub labels: BTreeMap<String, String>,
    pub use_incoming_timestamp: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct PushServer {
    pub http_listen_address: String,
    pub http_listen_port: u16,
}

impl Default for PushServer {
    fn default() -> Self {
        PushServer { http_listen_address: "0.0.0.0".to_owned(), http_listen_port: 80 }
    }
}

/// `decompression`: files are read once, unpacked.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decompression {
    pub enabled: bool,
    pub initial_delay: GoDuration,
    /// `gz`, `z` or `bz2`.
    pub format: String,
}
