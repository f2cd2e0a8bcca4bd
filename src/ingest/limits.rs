//! `limits_config`: Loki's names, Loki's defaults; what acts here, and what is accepted and named in a warning.

use serde::{Deserialize, Serialize};

use crate::ingest::blocked_queries::BlockedQuery;
use crate::ingest::level::DEFAULT_LEVEL_FIELDS;
use crate::ingest::otlp_config::OtlpConfig;
use crate::ingest::retention::{DeletionMode, StreamRetention};
use crate::ingest::service_name::DEFAULT_SERVICE_LABELS;
use crate::ingest::stages;
use crate::types::units::{ByteSize, GoDuration};

/// Limits of one tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Accepted bytes a second, MB; a request over it is refused with 429.
    pub ingestion_rate_mb: f64,
    /// Bytes that may come at once, MB.
    pub ingestion_burst_size_mb: f64,
    /// Accepted bytes a second of one stream, and bytes at once; 0 means no limit. Loki's own default of 3MB comes with
    /// a splitting of streams that makes it moot.
    pub per_stream_rate_limit: ByteSize,
    pub per_stream_rate_limit_burst: ByteSize,
    /// Active streams; 0 means no limit.
    pub max_global_streams_per_user: usize,
    /// The same, for Loki's one ingester; the smaller of the two counts.
    pub max_streams_per_user: usize,
    /// Pushes are refused until then.
    pub block_ingestion_until: Option<String>,
    pub block_ingestion_status_code: u16,
    /// Labels a stream must have.
    pub enforced_labels: Vec<String>,
    pub max_label_name_length: usize,
    pub max_label_value_length: usize,
    /// `service_name` is not counted.
    pub max_label_names_per_series: usize,
    pub reject_old_samples: bool,
    pub reject_old_samples_max_age: GoDuration,
    /// How far into the future a time may be.
    pub creation_grace_period: GoDuration,
    /// 0 means no limit.
    pub max_line_size: ByteSize,
    /// Cuts long lines instead of refusing them.
    pub max_line_size_truncate: bool,
    pub increment_duplicate_timestamp: bool,
    pub allow_structured_metadata: bool,
    pub max_structured_metadata_size: ByteSize,
    pub max_structured_metadata_entries_count: usize,
    /// Labels that name the service; empty turns `service_name` off.
    pub discover_service_name: Vec<String>,
    pub discover_log_levels: bool,
    pub log_level_fields: Vec<String>,
    /// Which attributes of OpenTelemetry become labels.
    pub otlp_config: OtlpConfig,
    /// What lines go through before anything else here looks at them: Promtail's stages, a list.
    pub pipeline_stages: serde_json::Value,

    pub max_entries_limit_per_query: usize,
    pub max_query_series: usize,
    /// Queries of the tenant computed at once; 0 means no limit.
    pub max_query_parallelism: usize,
    /// Bytes of lines that a query may read; 0 means no limit.
    pub max_query_bytes_read: ByteSize,
    /// The widest `[range]`; 0 means no limit.
    pub max_query_range: GoDuration,
    /// Matchers of a selector; 0 means no limit.
    pub max_streams_matchers_per_query: usize,
    /// Labels that each selector must have a matcher of.
    pub required_labels: Vec<String>,
    /// Matchers that each selector must have.
    pub minimum_labels_number: usize,
    pub blocked_queries: Vec<BlockedQuery>,
    /// 0 means no limit.
    pub max_query_length: GoDuration,
    /// 0 means no limit.
    pub max_query_lookback: GoDuration,
    pub query_timeout: GoDuration,
    /// Width of the parts that range queries are cut into and kept by; 0 means whole and not kept.
    pub split_queries_by_interval: GoDuration,
    /// Answers closer to now than this are not kept.
    pub max_cache_freshness_per_query: GoDuration,
    /// Loki's older place of `runtime_config`.
    pub per_tenant_override_config: Option<std::path::PathBuf>,
    pub per_tenant_override_period: GoDuration,
    pub volume_enabled: bool,
    /// Series of one step of a volume; 0 means no limit.
    pub volume_max_series: usize,
    /// Live tails at once; 0 means no limit.
    pub max_concurrent_tail_requests: usize,
    /// How long lines are kept, by their time; 0 means for ever. Acts when `compactor.retention_enabled`.
    pub retention_period: GoDuration,
    /// Periods of single streams or lines; the highest priority counts, of equals the shortest.
    pub retention_stream: Vec<StreamRetention>,
    pub deletion_mode: DeletionMode,
}

impl Default for Limits {
    fn default() -> Self {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Limits {
            ingestion_rate_mb: 4.0,
            ingestion_burst_size_mb: 6.0,
            per_stream_rate_limit: ByteSize(0),
            per_stream_rate_limit_burst: ByteSize(0),
            max_global_streams_per_user: 5000,
            max_streams_per_user: 0,
            block_ingestion_until: None,
            block_ingestion_status_code: 260,
            enforced_labels: Vec::new(),
            max_label_name_length: 1024,
            max_label_value_length: 2048,
            max_label_names_per_series: 15,
            reject_old_samples: true,
            reject_old_samples_max_age: GoDuration::from_secs(7 * 86_400),
            creation_grace_period: GoDuration::from_secs(600),
            max_line_size: ByteSize(256 << 10),
            max_line_size_truncate: false,
            increment_duplicate_timestamp: false,
            allow_structured_metadata: true,
            max_structured_metadata_size: ByteSize(64 << 10),
            max_structured_metadata_entries_count: 128,
            discover_service_name: texts(DEFAULT_SERVICE_LABELS),
            discover_log_levels: true,
            log_level_fields: texts(DEFAULT_LEVEL_FIELDS),
            otlp_config: OtlpConfig::default(),
            pipeline_stages: serde_json::Value::Null,
            max_entries_limit_per_query: 5000,
            max_query_series: 500,
            max_query_parallelism: 32,
            max_query_bytes_read: ByteSize(0),
            max_query_range: GoDuration(0),
            max_streams_matchers_per_query: 1000,
            required_labels: Vec::new(),
            minimum_labels_number: 0,
            blocked_queries: Vec::new(),
            max_query_length: GoDuration::from_secs(721 * 3600),
            max_query_lookback: GoDuration(0),
            query_timeout: GoDuration::from_secs(60),
            split_queries_by_interval: GoDuration::from_secs(3600),
            max_cache_freshness_per_query: GoDuration::from_secs(600),
            per_tenant_override_config: None,
            per_tenant_override_period: GoDuration::from_secs(10),
            volume_enabled: true,
            volume_max_series: 1000,
            max_concurrent_tail_requests: 10,
            retention_period: GoDuration(0),
            retention_stream: Vec::new(),
            deletion_mode: DeletionMode::FilterAndDelete,
        }
    }
}

impl Limits {
    /// These limits with the stricter of both where they are about queries; 0 is no limit.
    pub fn strictest(&self, other: &Limits) -> Limits {
        let count = |a: usize, b: usize| if a == 0 || b == 0 { a.max(b) } else { a.min(b) };
        let time = |a: GoDuration, b: GoDuration| match (a.0, b.0) {
            (0, _) => b,
            (_, 0) => a,
            (one, other) => GoDuration(one.min(other)),
        };
        Limits {
            max_entries_limit_per_query: count(self.max_entries_limit_per_query, other.max_entries_limit_per_query),
            max_query_series: count(self.max_query_series, other.max_query_series),
            max_query_parallelism: count(self.max_query_parallelism, other.max_query_parallelism),
            max_query_bytes_read: match (self.max_query_bytes_read.0, other.max_query_bytes_read.0) {
                (0, bytes) | (bytes, 0) => ByteSize(bytes),
                (one, other) => ByteSize(one.min(other)),
            },
            max_query_range: time(self.max_query_range, other.max_query_range),
            max_streams_matchers_per_query: count(
                self.max_streams_matchers_per_query,
                other.max_streams_matchers_per_query,
            ),
            required_labels: [&self.required_labels[..], &other.required_labels].concat(),
            minimum_labels_number: self.minimum_labels_number.max(other.minimum_labels_number),
            blocked_queries: [&self.blocked_queries[..], &other.blocked_queries].concat(),
            max_query_length: time(self.max_query_length, other.max_query_length),
            max_query_lookback: time(self.max_query_lookback, other.max_query_lookback),
            query_timeout: time(self.query_timeout, other.query_timeout),
            split_queries_by_interval: time(self.split_queries_by_interval, other.split_queries_by_interval),
            max_cache_freshness_per_query: GoDuration(
                self.max_cache_freshness_per_query.0.max(other.max_cache_freshness_per_query.0),
            ),
            volume_enabled: self.volume_enabled && other.volume_enabled,
            ..self.clone()
        }
    }

    /// What no single value shows.
    pub fn problems(&self) -> Vec<String> {
        let of_rule = |(at, rule): (usize, &StreamRetention)| {
            rule.problem().map(|problem| format!("retention_stream[{at}]: {problem}"))
        };
        let of_block = |(at, rule): (usize, &BlockedQuery)| {
            rule.problem().map(|problem| format!("blocked_queries[{at}]: {problem}"))
        };
        let of_stages = stages::problem(&self.pipeline_stages).map(|problem| format!("pipeline_stages: {problem}"));
        let of_retention = self.retention_stream.iter().enumerate().filter_map(of_rule);
        let of_blocks = self.blocked_queries.iter().enumerate().filter_map(of_block);
        of_retention.chain(of_blocks).chain(of_stages).collect()
    }

    /// Active streams a tenant may have; 0 means no limit.
    pub fn active_streams_max(&self) -> usize {
        match (self.max_global_streams_per_user, self.max_streams_per_user) {
            (0, limit) | (limit, 0) => limit,
            (one, other) => one.min(other),
        }
    }
}

/// Keys of Loki's `limits_config` that are accepted and do nothing here (yet): named in a warning when set.
pub const KNOWN_UNUSED: &[&str] = &[
    "allow_deletes",
    "block_ingestion_policy_until",
    "bloom_block_encoding",
    "bloom_build_builder_response_timeout",
    "bloom_build_max_builders",
    "bloom_build_task_max_retries",
    "bloom_creation_enabled",
    "bloom_gateway_enable_filtering",
    "bloom_max_block_size",
    "bloom_max_bloom_size",
    "bloom_planning_strategy",
    "bloom_prefetch_blocks",
    "bloom_split_series_keyspace_by",
    "bloom_task_target_series_chunk_size",
    "cardinality_limit",
    "dataobj_index_compaction_enabled",
    "dataobj_log_compaction_enabled",
    "debug_engine_streams",
    "debug_engine_tasks",
    "discover_generic_fields",
    "enforce_metric_name",
    "engine_results_cache_time_bucket_interval",
    "index_gateway_max_capacity",
    "index_gateway_shard_size",
    "ingestion_partitions_tenant_shard_size",
    "ingestion_rate_strategy",
    "log_level_from_json_max_depth",
    "max_chunks_per_query",
    "max_line_size_truncate_identifier",
    "max_metadata_cache_freshness",
    "max_querier_bytes_read",
    "max_queriers_per_tenant",
    "max_query_capacity",
    "max_stats_cache_freshness",
    "metric_aggregation_enabled",
    "min_sharding_lookback",
    "pattern_ingester_tokenizable_json_fields_append",
    "pattern_ingester_tokenizable_json_fields_default",
    "pattern_ingester_tokenizable_json_fields_delete",
    "pattern_persistence_enabled",
    "pattern_persistence_granularity",
    "pattern_rate_threshold",
    "policy_enforced_labels",
    "policy_stream_mapping",
    "query_ready_index_num_days",
    "query_split_interval",
    "recent_metadata_query_window",
    "ruler_max_rule_groups_per_tenant",
    "ruler_max_rules_per_rule_group",
    "ruler_remote_evaluation_max_response_size",
    "ruler_remote_evaluation_timeout",
    "ruler_remote_write_config",
    "ruler_remote_write_disabled",
    "ruler_tenant_shard_size",
    "s3_sse_kms_encryption_context",
    "s3_sse_kms_key_id",
    "s3_sse_type",
    "shard_aggregations",
    "shard_streams",
    "simulated_push_latency",
    "split_ingester_queries_by_interval",
    "split_instant_metric_queries_by_interval",
    "split_metadata_queries_by_interval",
    "split_recent_metadata_queries_by_interval",
    "tsdb_max_bytes_per_shard",
    "tsdb_max_query_parallelism",
    "tsdb_precompute_chunks",
    "tsdb_sharding_strategy",
    "unordered_writes",
    "use_owned_stream_count",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lokis_forms_of_values_are_read() {
        let limits: Limits = serde_json::from_str(
            r#"{"max_line_size": "1KB", "creation_grace_period": "87600h", "ingestion_rate_mb": 10, "reject_old_samples_max_age": "168h"}"#,
        )
        .expect("valid");
        assert_eq!(limits.max_line_size, ByteSize(1024));
        assert_eq!(limits.reject_old_samples_max_age, Limits::default().reject_old_samples_max_age);
    }

    #[test]
    fn nothing_is_both_used_and_unused() {
        let used = serde_json::to_value(Limits::default()).expect("serialisable");
        let used = used.as_object().expect("a map");
        assert!(KNOWN_UNUSED.iter().all(|key| !used.contains_key(*key)));
        assert!(KNOWN_UNUSED.is_sorted());
    }
}
