//! A Promtail configuration: one YAML file, the flags over it.
//!
//! ```text
//! text ─ ${VAR} ─▶ YAML tree ─ known but unused keys noted ─▶ AgentConfig ─ flags ─▶ checked
//! ```
//!
//! Unknown keys are errors, as in Promtail, except those that published configurations have though Promtail never had
//! them (`server.healthcheck`): these are noted. What we add stands under `millrace:`, which Promtail refuses.
//! Errors: [`ConfigError`], everything that is wrong at once where that is possible.

mod client;
mod kafka;
mod read;
mod scrape;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value as Yaml;

pub use client::{Authorization, BackoffConfig, BasicAuth, ClientConfig, TlsConfig};
pub use kafka::KafkaConfig;
pub use read::{ConfigError, Environment, load};
pub use scrape::{
    Decompression, DockerConfig, FileConfig, Filter, Group, JournalConfig, PushConfig, ScrapeConfig, SyslogConfig,
};

use crate::types::units::{ByteSize, GoDuration};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    pub server: ServerConfig,
    /// The first form of `clients`, which Promtail still takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientConfig>,
    pub clients: Vec<ClientConfig>,
    pub positions: PositionsConfig,
    pub scrape_configs: Vec<ScrapeConfig>,
    pub target_config: TargetConfig,
    pub limits_config: LimitsConfig,
    pub options: Options,
    pub global: Global,
    /// Accepted; the agent has no tracing of its own.
    pub tracing: Tracing,
    pub millrace: Extras,
}

/// Where `/metrics`, `/ready`, `/targets` are.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    pub http_listen_address: String,
    /// 0: any free port.
    pub http_listen_port: u16,
    pub log_level: String,
    /// `logfmt` or `json`.
    pub log_format: String,
    /// No server at all.
    pub disable: bool,
    /// Whether `POST /reload` is answered.
    pub enable_runtime_reload: bool,
    pub external_url: String,
    pub health_check_target: Option<bool>,
    pub profiling_enabled: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            http_listen_address: "0.0.0.0".to_owned(),
            http_listen_port: 9080,
            log_level: "info".to_owned(),
            log_format: "logfmt".to_owned(),
            disable: false,
            enable_runtime_reload: false,
            external_url: String::new(),
            health_check_target: None,
            profiling_enabled: false,
        }
    }
}

/// Where it is kept how far each file was read.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PositionsConfig {
    pub filename: String,
    /// At least so often; acknowledgements are written within a second.
    pub sync_period: GoDuration,
    /// Starts with no positions when the file cannot be read.
    pub ignore_invalid_yaml: bool,
}

impl Default for PositionsConfig {
    fn default() -> Self {
        PositionsConfig {
            filename: "/var/log/positions.yaml".to_owned(),
            sync_period: GoDuration::from_secs(10),
            ignore_invalid_yaml: false,
        }
    }
}

/// How often globs are looked at anew.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetConfig {
    pub sync_period: GoDuration,
    pub stdin: bool,
}

impl Default for TargetConfig {
    fn default() -> Self {
        TargetConfig { sync_period: GoDuration::from_secs(10), stdin: false }
    }
}

/// Limits over all sources.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub readline_rate_enabled: bool,
    /// Lines a second.
    pub readline_rate: f64,
    /// Lines at once.
    pub readline_burst: f64,
    /// Lines over the rate are dropped, not waited for.
    pub readline_rate_drop: bool,
    /// Streams in a batch; 0 is no limit.
    pub max_streams: usize,
    /// 0 is no limit.
    pub max_line_size: ByteSize,
    /// Longer lines are cut, not dropped.
    pub max_line_size_truncate: bool,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            readline_rate_enabled: false,
            readline_rate: 10_000.0,
            readline_burst: 10_000.0,
            readline_rate_drop: true,
            max_streams: 0,
            max_line_size: ByteSize(0),
            max_line_size_truncate: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Accepted; lag is not measured.
    pub stream_lag_labels: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Global {
    pub file_watch_config: FileWatch,
}

/// How often files are looked at.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileWatch {
    pub min_poll_frequency: GoDuration,
    pub max_poll_frequency: GoDuration,
}

impl Default for FileWatch {
    fn default() -> Self {
        FileWatch { min_poll_frequency: GoDuration(250_000_000), max_poll_frequency: GoDuration(250_000_000) }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Tracing {
    pub enabled: bool,
}

/// What Promtail does not have.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extras {
    pub buffer: BufferConfig,
}

/// Where batches wait while a server is away.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BufferConfig {
    /// Beside the positions file when empty.
    pub directory: String,
    /// Of each client, on disk; 0 keeps nothing on disk.
    pub max_size: ByteSize,
    /// What a full buffer does.
    pub when_full: WhenFull,
}

impl Default for BufferConfig {
    fn default() -> Self {
        BufferConfig { directory: String::new(), max_size: ByteSize(1 << 30), when_full: WhenFull::Auto }
    }
}

/// What happens when a client's buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// `wait` with one client, `drop_oldest` with several, so that none holds up the others.
    Auto,
    /// Nothing more is read until there is room: the files are the buffer then.
    Wait,
    /// The oldest batch goes, and is counted.
    DropOldest,
}

impl AgentConfig {
    /// All clients, the deprecated `client` first.
    pub fn all_clients(&self) -> impl Iterator<Item = &ClientConfig> {
        self.client.iter().chain(&self.clients)
    }

    /// The pipelines' settings of a job.
    pub fn pipeline_of(job: &ScrapeConfig) -> &Yaml {
        &job.pipeline_stages
    }
}
