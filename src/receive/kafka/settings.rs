//! `kafka:` in the configuration: brokers, group, security, and for each topic what its records become.

use serde::{Deserialize, Serialize};

use crate::ingest::stages;
use crate::types::ids::TenantId;
use crate::types::units::{ByteSize, GoDuration};

/// Everything about Kafka; off while there are no topics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KafkaConfig {
    /// `host:port` of some brokers.
    pub brokers: Vec<String>,
    /// Consumer group: instances of one group share the partitions.
    pub group: String,
    pub client_id: String,
    /// Where a partition begins that the table knows nothing of.
    pub start: StartAt,
    pub security: SecurityConfig,
    /// Where records go that cannot be decoded; none: they are counted and sampled in the log.
    pub dead_letter_topic: Option<String>,
    /// How long records wait for company before they are made visible.
    pub linger: GoDuration,
    /// Bytes of records fetched ahead, all partitions together.
    pub fetch_bytes_max: ByteSize,
    /// How long a member may be silent before its partitions go to others.
    pub session_timeout: GoDuration,
    pub topics: Vec<TopicConfig>,
    /// Further settings of librdkafka, by their own names.
    pub properties: std::collections::BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        KafkaConfig {
            brokers: Vec::new(),
            group: "millrace".to_owned(),
            client_id: "millrace".to_owned(),
            start: StartAt::Earliest,
            security: SecurityConfig::default(),
            dead_letter_topic: None,
            linger: GoDuration(100_000_000),
            fetch_bytes_max: ByteSize(32 << 20),
            session_timeout: GoDuration::from_secs(45),
            topics: Vec::new(),
            properties: std::collections::BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    Earliest,
    Latest,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityConfig {
    pub protocol: SecurityProtocol,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub sasl_mechanism: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// Read at start; its last newline does not count.
    pub password_file: Option<std::path::PathBuf>,
    /// PEM files: whom to trust, and who we are.
    pub ca_file: Option<std::path::PathBuf>,
    pub cert_file: Option<std::path::PathBuf>,
    pub key_file: Option<std::path::PathBuf>,
    pub key_password: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

#[cfg(feature = "kafka")]
impl SecurityProtocol {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "plaintext",
            SecurityProtocol::Ssl => "ssl",
            SecurityProtocol::SaslPlaintext => "sasl_plaintext",
            SecurityProtocol::SaslSsl => "sasl_ssl",
        }
    }
}

/// What the records of one topic, or of all topics that match, become.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicConfig {
    /// The topic's name.
    pub topic: Option<String>,
    /// Or a regular expression of names, anchored at the start as in Kafka: `^logs-`.
    pub pattern: Option<String>,
    pub format: Format,
    pub labels: LabelSources,
    pub timestamp: TimestampSource,
    pub tenant: TenantSource,
    /// JSON documents: the field whose text is the line; none: the whole document is.
    pub message_field: Option<String>,
    /// Headers and JSON fields that become structured metadata.
    pub metadata: MetadataSources,
    /// Overrides `kafka.dead_letter_topic`.
    pub dead_letter_topic: Option<String>,
    /// Promtail's stages, a list: what the mapping made goes through them, and then through those of the tenant's limits.
    pub pipeline_stages: serde_json::Value,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The record is the line.
    #[default]
    Raw,
    /// The record is a JSON object.
    Json,
    /// The record is the body of a Loki push.
    LokiJson,
    LokiProtobuf,
    /// The record is an OTLP `ExportLogsServiceRequest`.
    OtlpProtobuf,
}

/// Where labels come from; what is not named here never becomes a label.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelSources {
    /// Constants.
    #[serde(rename = "static")]
    pub constants: std::collections::BTreeMap<String, String>,
    /// Label that has the topic's name.
    pub topic: Option<String>,
    /// Label that has the partition's number.
    pub partition: Option<String>,
    /// Label that has the record's key.
    pub key: Option<String>,
    /// Header → label.
    pub headers: std::collections::BTreeMap<String, String>,
    /// JSON field (`a.b`) → label; an empty label has the field's name.
    pub fields: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetadataSources {
    /// Header → name.
    pub headers: std::collections::BTreeMap<String, String>,
    /// JSON field (`a.b`) → name; an empty name is the field's.
    pub fields: std::collections::BTreeMap<String, String>,
    /// Whether topic, partition and offset are put down as `kafka_topic`, `kafka_partition`, `kafka_offset`.
    pub position: bool,
}

/// When a line happened. Records whose time cannot be read have Kafka's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimestampSource {
    /// JSON field; none: Kafka's timestamp.
    pub field: Option<String>,
    /// Header.
    pub header: Option<String>,
    /// `RFC3339`, `Unix`, `UnixMs`, `UnixUs`, `UnixNs`, a Go layout, or one of strftime (with `%`).
    pub layout: Option<String>,
}

/// Whose the line is; without any, the one tenant of a server without authentication.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantSource {
    pub constant: Option<String>,
    pub header: Option<String>,
    pub field: Option<String>,
}

impl KafkaConfig {
    pub fn is_on(&self) -> bool {
        !self.topics.is_empty()
    }

    /// What no single key shows.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.is_on() {
            return problems;
        }
        if cfg!(not(feature = "kafka")) {
            problems.push("kafka.topics: this build has no Kafka (cargo feature kafka)".to_owned());
        }
        if self.brokers.is_empty() {
            problems.push("kafka.brokers: name at least one, host:port".to_owned());
        }
        if self.group.is_empty() {
            problems.push("kafka.group: may not be empty; it names what the table remembers".to_owned());
        }
        let security = &self.security;
        if matches!(security.protocol, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl) {
            let known = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
            if !security.sasl_mechanism.as_deref().is_some_and(|mechanism| known.contains(&mechanism)) {
                problems.push(format!("kafka.security.sasl_mechanism: one of {}", known.join(", ")));
            }
            if security.username.is_none() || (security.password.is_none() && security.password_file.is_none()) {
                problems
                    .push("kafka.security: username and password (or password_file) are needed for SASL".to_owned());
            }
        }
        for (at, topic) in self.topics.iter().enumerate() {
            problems.extend(topic.problems().map(|problem| format!("kafka.topics[{at}].{problem}")));
        }
        problems
    }
}

impl TopicConfig {
    /// How this entry is named in messages.
    pub fn name(&self) -> &str {
        self.topic.as_deref().or(self.pattern.as_deref()).unwrap_or("?")
    }

    /// What librdkafka subscribes to: a name, or a pattern that begins with `^`.
    pub(super) fn subscription(&self) -> String {
        match (&self.topic, &self.pattern) {
            (Some(topic), _) => topic.clone(),
            (None, Some(pattern)) if pattern.starts_with('^') => pattern.clone(),
            (None, Some(pattern)) => format!("^{pattern}"),
            (None, None) => String::new(),
        }
    }

    fn problems(&self) -> impl Iterator<Item = String> {
        let mut problems = Vec::new();
        if self.topic.is_some() == self.pattern.is_some() {
            problems.push("topic: give a topic or a pattern, not both".to_owned());
        }
        if self.pattern.is_some()
            && let Err(error) = regex::Regex::new(&self.subscription())
        {
            problems.push(format!("pattern: {error}"));
        }
        let has_fields = !self.labels.fields.is_empty()
            || !self.metadata.fields.is_empty()
            || self.timestamp.field.is_some()
            || self.tenant.field.is_some()
            || self.message_field.is_some();
        if has_fields && self.format != Format::Json {
            problems.push("format: fields are of records with format json".to_owned());
        }
        if let Some(constant) = &self.tenant.constant
            && let Err(error) = TenantId::parse(constant)
        {
            problems.push(format!("tenant.constant: {error}"));
        }
        problems.extend(stages::problem(&self.pipeline_stages).map(|problem| format!("pipeline_stages: {problem}")));
        problems.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_named() {
        let check = |json: &str, expected: &[&str]| {
            let config: KafkaConfig = serde_json::from_str(json).expect("well-formed");
            let problems = config.problems();
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.starts_with(expected), "{problem}");
            }
        };
        check(r#"{}"#, &[]);
        check(r#"{"topics":[{"topic":"a"}]}"#, &["kafka.brokers"]);
        check(r#"{"brokers":["b:9092"],"topics":[{}]}"#, &["kafka.topics[0].topic"]);
        check(r#"{"brokers":["b"],"topics":[{"pattern":"("}]}"#, &["kafka.topics[0].pattern"]);
        check(r#"{"brokers":["b"],"topics":[{"topic":"a","message_field":"m"}]}"#, &["kafka.topics[0].format"]);
        check(
            r#"{"brokers":["b"],"topics":[{"topic":"a","pipeline_stages":[{"jsn":{}}]}]}"#,
            &["kafka.topics[0].pipeline_stages: invalid jsn stage config"],
        );
        check(
            r#"{"brokers":["b"],"security":{"protocol":"sasl_ssl"},"topics":[{"topic":"a","tenant":{"constant":"a/b"}}]}"#,
            &["kafka.security.sasl_mechanism", "kafka.security: username", "kafka.topics[0].tenant.constant"],
        );
        assert!(serde_json::from_str::<TopicConfig>(r#"{"topik":"a"}"#).is_err());
    }
}
