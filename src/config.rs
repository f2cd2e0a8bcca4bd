//! The settings of the server: Loki's names where Loki has the setting, `millrace:` for the rest.
//!
//! ```text
//! file ─▶ ${VAR} ─▶ YAML ─▶ each key: ours → checked and used
//!                                     Loki's → accepted, named in a warning
//!                                     nobody's → a problem, with the nearest known name
//! ```
//!
//! `config/default.yaml` states every default with its unit and trade-off; a test holds it equal to
//! [`Config::default`].
//! Errors: [`ConfigError`], with all problems at once.

pub use crate::types::environment as env;
pub mod encryption;
pub mod known;
pub mod load;
pub mod object_storage;
pub mod print;
pub mod tiers;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::access::AccessConfig;
use crate::audit::AuditConfig;
use crate::cluster::settings::ClusterConfig;
use crate::config::encryption::EncryptionConfig;
use crate::config::object_storage::{AzureConfig, BackupConfig, CommonStorageConfig, GcsConfig, S3Config, TableConfig};
use crate::config::tiers::{BlockCacheConfig, TiersConfig};
use crate::derived::DerivedSettings;
use crate::ingest::limits::Limits;
use crate::ingest::otlp_config::DEFAULT_INDEX_ATTRIBUTES;
use crate::receive::decode::BodyLimits;
use crate::receive::door::DoorSettings;
use crate::receive::in_flight::InFlightLimits;
use crate::receive::kafka::settings::KafkaConfig;
use crate::receive::syslog::settings::SyslogConfig;
use crate::rules::settings::{FlowConfig, RulerConfig};
use crate::sql::settings::{FlightConfig, PostgresConfig};
use crate::tls::TlsConfig;
use crate::types::units::{ByteSize, GoDuration};
use crate::upkeep::{CompactionConfig, CompactorConfig, ErasureConfig};

pub use load::{ConfigError, Loaded};

/// What the server does when it is told nothing else.
pub const DEFAULT_YAML: &str = include_str!("config/default.yaml");

/// All settings that act. See `config/default.yaml` for units and trade-offs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Whether requests name their tenant. A Loki file that is silent about it means `true`, as in Loki.
    pub auth_enabled: bool,
    pub server: ServerConfig,
    pub distributor: DistributorConfig,
    pub querier: QuerierConfig,
    pub frontend: FrontendConfig,
    pub query_range: QueryRangeConfig,
    pub limits_config: Limits,
    pub common: CommonConfig,
    pub storage_config: StorageConfig,
    pub ingester: IngesterConfig,
    pub runtime_config: RuntimeConfigFile,
    pub kafka: KafkaConfig,
    pub access: AccessConfig,
    pub ruler: RulerConfig,
    pub compactor: CompactorConfig,
    pub millrace: MillraceConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerConfig {
    /// Empty: all addresses.
    pub http_listen_address: String,
    /// 0: any free port.
    pub http_listen_port: u16,
    pub log_level: String,
    pub log_format: String,
    /// How long requests may take to end after the signal to stop.
    pub graceful_shutdown_timeout: GoDuration,
    /// How long a client may take to send a body.
    pub http_server_read_timeout: GoDuration,
    pub http_tls_config: TlsConfig,
    /// Of OpenTelemetry's gRPC and of Flight; none: that of HTTP.
    pub grpc_tls_config: TlsConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DistributorConfig {
    /// Bytes of a push body as it arrives.
    pub max_recv_msg_size: ByteSize,
    /// Bytes of a push body once inflated.
    pub max_decompressed_size: ByteSize,
    pub otlp_config: OtlpDefaults,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OtlpDefaults {
    /// Resource attributes of OpenTelemetry that are labels for every tenant.
    pub default_resource_attributes_as_index_labels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuerierConfig {
    /// Queries computed at once.
    pub max_concurrent: usize,
    /// Loki 2.9's place of `limits_config.query_timeout`; the smaller of the two counts.
    pub query_timeout: Option<GoDuration>,
    /// How long a live tail may last.
    pub tail_max_duration: GoDuration,
    /// Whether reads may name several tenants: `a|b`.
    pub multi_tenant_queries_enabled: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FrontendConfig {
    /// Queries that may wait for their turn; more are refused with 429.
    pub max_outstanding_per_tenant: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryRangeConfig {
    /// Whether finished parts of range queries are kept.
    pub cache_results: bool,
    /// Loki 2.9's place of `limits_config.split_queries_by_interval`, which it overrides.
    pub split_queries_by_interval: Option<GoDuration>,
    pub results_cache: ResultsCacheConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResultsCacheConfig {
    pub cache: CacheConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheConfig {
    pub embedded_cache: EmbeddedCacheConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EmbeddedCacheConfig {
    pub enabled: bool,
    /// Memory, in units of 2^20 bytes.
    pub max_size_mb: u64,
    pub ttl: GoDuration,
}

/// Loki's hint where data may lie.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommonConfig {
    pub path_prefix: Option<PathBuf>,
    pub storage: CommonStorageConfig,
}

/// Loki's hint where data may lie.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageConfig {
    pub filesystem: FilesystemConfig,
    pub aws: S3Config,
    pub gcs: GcsConfig,
    pub azure: AzureConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesystemConfig {
    pub directory: Option<PathBuf>,
}

/// Loki's hint where the log may lie.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IngesterConfig {
    pub wal: IngesterWalConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IngesterWalConfig {
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MillraceConfig {
    /// Everything the server keeps. None: see [`Config::data_dir`].
    pub data_dir: Option<PathBuf>,
    pub table: TableConfig,
    pub cluster: ClusterConfig,
    pub compaction: CompactionConfig,
    pub erasure: ErasureConfig,
    pub flush: FlushConfig,
    pub wal: WalSettings,
    pub flow: FlowConfig,
    pub audit: AuditConfig,
    pub push: PushConfig,
    pub otlp_grpc: OtlpGrpcConfig,
    pub syslog: SyslogConfig,
    pub postgres: PostgresConfig,
    pub flight: FlightConfig,
    pub query: QueryConfig,
    pub backup: BackupConfig,
    pub encryption: EncryptionConfig,
    pub metrics: DerivedSettings,
    pub tiers: TiersConfig,
    pub cache: BlockCacheConfig,
}

/// The file of limits by tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeConfigFile {
    pub file: Option<PathBuf>,
    pub period: GoDuration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlushConfig {
    pub max_bytes: ByteSize,
    pub max_age: GoDuration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WalSettings {
    pub fsync: Fsync,
    pub fsync_interval: GoDuration,
    pub segment_bytes: ByteSize,
}

/// When acknowledged lines are safe from power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Before they are acknowledged.
    Always,
    /// At most `fsync_interval` later.
    Interval,
    /// When the kernel likes.
    Never,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushConfig {
    pub inflight_bytes_max: ByteSize,
    pub tenant_inflight_bytes_max: ByteSize,
    /// 0: one a core.
    pub decoders: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OtlpGrpcConfig {
    /// None: off.
    pub listen: Option<std::net::SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryConfig {
    pub memory_bytes_max: ByteSize,
    /// 0: three quarters of it where there are several tenants, else all.
    pub tenant_memory_bytes_max: ByteSize,
    /// 0: one a core.
    pub threads: usize,
    pub index_cache_bytes: ByteSize,
    /// Whether a log query may be asked as an instant query, which Loki refuses.
    pub instant_log_queries: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            http_listen_address: String::new(),
            http_listen_port: 3100,
            log_level: "info".to_owned(),
            log_format: "logfmt".to_owned(),
            graceful_shutdown_timeout: GoDuration::from_secs(30),
            http_server_read_timeout: GoDuration::from_secs(30),
            http_tls_config: TlsConfig::default(),
            grpc_tls_config: TlsConfig::default(),
        }
    }
}

impl Default for DistributorConfig {
    fn default() -> Self {
        DistributorConfig {
            max_recv_msg_size: ByteSize(100 << 20),
            max_decompressed_size: ByteSize(256 << 20),
            otlp_config: OtlpDefaults::default(),
        }
    }
}

impl Default for OtlpDefaults {
    fn default() -> Self {
        let names = DEFAULT_INDEX_ATTRIBUTES.iter().map(|name| (*name).to_owned()).collect();
        OtlpDefaults { default_resource_attributes_as_index_labels: names }
    }
}

impl Default for QuerierConfig {
    fn default() -> Self {
        QuerierConfig {
            max_concurrent: 16,
            query_timeout: None,
            tail_max_duration: GoDuration::from_secs(3600),
            multi_tenant_queries_enabled: false,
        }
    }
}

impl Default for FrontendConfig {
    fn default() -> Self {
        FrontendConfig { max_outstanding_per_tenant: 2048 }
    }
}

impl Default for QueryRangeConfig {
    fn default() -> Self {
        QueryRangeConfig {
            cache_results: true,
            split_queries_by_interval: None,
            results_cache: ResultsCacheConfig::default(),
        }
    }
}

impl Default for EmbeddedCacheConfig {
    fn default() -> Self {
        EmbeddedCacheConfig { enabled: true, max_size_mb: 100, ttl: GoDuration::from_secs(3600) }
    }
}

impl Default for RuntimeConfigFile {
    fn default() -> Self {
        RuntimeConfigFile { file: None, period: GoDuration::from_secs(10) }
    }
}

impl Default for FlushConfig {
    fn default() -> Self {
        FlushConfig { max_bytes: ByteSize(128 << 20), max_age: GoDuration::from_secs(300) }
    }
}

impl Default for WalSettings {
    fn default() -> Self {
        WalSettings {
            fsync: Fsync::Always,
            fsync_interval: GoDuration::from_secs(1),
            segment_bytes: ByteSize(64 << 20),
        }
    }
}

impl Default for PushConfig {
    fn default() -> Self {
        PushConfig {
            inflight_bytes_max: ByteSize(512 << 20),
            tenant_inflight_bytes_max: ByteSize(256 << 20),
            decoders: 0,
        }
    }
}

impl Default for QueryConfig {
    fn default() -> Self {
        QueryConfig {
            memory_bytes_max: ByteSize(1 << 30),
            tenant_memory_bytes_max: ByteSize(0),
            threads: 0,
            index_cache_bytes: ByteSize(64 << 20),
            instant_log_queries: false,
        }
    }
}

impl Config {
    /// Where everything is kept: `millrace.data_dir`; else `millrace` in the directory a Loki file names, so that
    /// Loki's own files in the same volume are left alone; else `millrace-data` in the working directory.
    pub fn data_dir(&self) -> PathBuf {
        if let Some(dir) = &self.millrace.data_dir {
            return dir.clone();
        }
        let beside = |dir: &PathBuf| dir.parent().map(PathBuf::from);
        let of_loki = self.common.path_prefix.clone();
        let of_loki = of_loki.or_else(|| self.storage_config.filesystem.directory.as_ref().and_then(beside));
        let of_loki = of_loki.or_else(|| self.ingester.wal.dir.as_ref().and_then(beside));
        of_loki.map_or_else(|| PathBuf::from("millrace-data"), |dir| dir.join("millrace"))
    }

    /// Where requests are taken, as `address:port`.
    pub fn listen_address(&self) -> String {
        match self.server.http_listen_address.as_str() {
            "" => format!("0.0.0.0:{}", self.server.http_listen_port),
            v6 if v6.contains(':') && !v6.starts_with('[') => format!("[{v6}]:{}", self.server.http_listen_port),
            address => format!("{address}:{}", self.server.http_listen_port),
        }
    }

    /// What all doors for logs are made with.
    pub fn door_settings(&self) -> DoorSettings {
        let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        let push = &self.millrace.push;
        DoorSettings {
            body_limits: BodyLimits {
                compressed_bytes_max: bytes(self.distributor.max_recv_msg_size),
                inflated_bytes_max: bytes(self.distributor.max_decompressed_size),
            },
            in_flight: InFlightLimits {
                bytes_max: bytes(push.inflight_bytes_max),
                tenant_bytes_max: bytes(push.tenant_inflight_bytes_max),
                decoders: match push.decoders {
                    0 => std::thread::available_parallelism().map_or(1, usize::from),
                    decoders => decoders,
                },
            },
            otlp_labels: self.distributor.otlp_config.default_resource_attributes_as_index_labels.clone(),
        }
    }

    /// The file of overrides and how often it is read; `runtime_config` before Loki's older place for it.
    pub fn overrides_file(&self) -> Option<(PathBuf, GoDuration)> {
        let older = &self.limits_config;
        let own = self.runtime_config.file.clone().map(|path| (path, self.runtime_config.period));
        own.or_else(|| Some((older.per_tenant_override_config.clone()?, older.per_tenant_override_period)))
    }

    /// Whether only this machine can reach the server.
    pub fn is_loopback(&self) -> bool {
        let address = self.server.http_listen_address.trim_matches(['[', ']']);
        address == "localhost" || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }

    /// Whether there is an audit trail: where callers say who they are, unless it says otherwise.
    pub fn audits(&self) -> bool {
        self.millrace.audit.enabled.unwrap_or_else(|| self.access.is_on())
    }

    /// When a query ends with 504.
    pub fn query_timeout(&self, limits: &Limits) -> GoDuration {
        let by_limits = limits.query_timeout;
        match &self.querier.query_timeout {
            Some(by_querier) if by_querier.0 < by_limits.0 => *by_querier,
            _ => by_limits,
        }
    }

    /// Width of the parts that range queries are cut into; 0 means not at all.
    pub fn split_interval(&self, limits: &Limits) -> GoDuration {
        self.query_range.split_queries_by_interval.unwrap_or(limits.split_queries_by_interval)
    }

    /// Memory for the queries of one tenant, bytes; 0: all there is.
    pub fn tenant_query_memory(&self) -> u64 {
        let query = &self.millrace.query;
        match query.tenant_memory_bytes_max.0 {
            0 if self.auth_enabled => query.memory_bytes_max.0 / 4 * 3,
            bytes => bytes,
        }
    }

    /// Threads that compute queries.
    pub fn query_threads(&self) -> usize {
        match self.millrace.query.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
