//! What a record becomes: tenant, labels, time, line, metadata. Pure; made once for each entry of `kafka.topics`.
//!
//! ```text
//! Record { topic, key, headers, payload, time } ─▶ Mapping ─▶ tenant ─▶ stream (labels, found by their bytes) ─▶ entry
//! ```
//!
//! Only what the mapping names becomes a label, so that no producer can make streams without end.
//! Errors: [`Unmapped`], the reason in words.

use std::borrow::Cow;
use std::sync::Arc;

use super::fields::WantedFields;
use super::settings::{Format, TopicConfig};
use super::times::Layout;
use crate::ingest::stages::{Stages, StagesOf};
use crate::receive::decode::text_of as text_of_bytes;
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::time::{Clock, NANOS_PER_MILLI, UnixNanos};

/// One record of a topic.
#[derive(Debug, Clone)]
pub struct Record<'r> {
    pub topic: &'r str,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<&'r [u8]>,
    pub payload: &'r [u8],
    pub headers: Vec<(&'r str, &'r [u8])>,
    /// Kafka's timestamp, milliseconds.
    pub timestamp_ms: Option<i64>,
}

/// Why a record becomes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unmapped(pub String);

/// A compiled entry of `kafka.topics`.
#[derive(Debug, Clone)]
pub struct Mapping {
    pub format: Format,
    topics: TopicNames,
    constants: Vec<(String, String)>,
    varying: Vec<(TextSource, String)>,
    metadata: Vec<(TextSource, String)>,
    position: bool,
    message: Option<usize>,
    time: Option<TextSource>,
    layout: Layout,
    tenant: TenantFrom,
    wanted: WantedFields,
    pub dead_letter_topic: Option<String>,
    stages_config: serde_json::Value,
    stages_of: Arc<StagesOf>,
}

#[derive(Debug, Clone)]
enum TopicNames {
    One(String),
    Matching(regex::Regex),
}

/// Where a text of a record comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TextSource {
    Topic,
    Partition,
    Key,
    Header(String),
    Field(usize),
}

#[derive(Debug, Clone)]
enum TenantFrom {
    Constant(TenantId),
    Record(TextSource),
}

/// A record with its fields found.
#[derive(Debug)]
pub struct Mapped<'m, 'r> {
    mapping: &'m Mapping,
    record: &'m Record<'r>,
    line: Cow<'r, str>,
    fields: Vec<Option<Cow<'r, str>>>,
}

impl Mapping {
    /// # Errors
    /// What is wrong with the entry; [`super::settings::KafkaConfig::problems`] says it better.
    pub fn compile(config: &TopicConfig, dead_letter_topic: Option<&String>) -> Result<Self, Unmapped> {
        let mut wanted = WantedFields::default();
        let named =
            |name: &String, label: &String| if label.is_empty() { name.replace('.', "_") } else { label.clone() };
        let labels = &config.labels;
        let mut varying: Vec<(TextSource, String)> = Vec::new();
        varying.extend(labels.topic.clone().map(|label| (TextSource::Topic, label)));
        varying.extend(labels.partition.clone().map(|label| (TextSource::Partition, label)));
        varying.extend(labels.key.clone().map(|label| (TextSource::Key, label)));
        varying
            .extend(labels.headers.iter().map(|(name, label)| (TextSource::Header(name.clone()), named(name, label))));
        varying.extend(
            labels.fields.iter().map(|(path, label)| (TextSource::Field(wanted.add(path)), named(path, label))),
        );
        let mut metadata: Vec<(TextSource, String)> = Vec::new();
        let sources = &config.metadata;
        metadata
            .extend(sources.headers.iter().map(|(name, label)| (TextSource::Header(name.clone()), named(name, label))));
        metadata.extend(
            sources.fields.iter().map(|(path, label)| (TextSource::Field(wanted.add(path)), named(path, label))),
        );
        let header = |name: &Option<String>| name.clone().map(TextSource::Header);
        let time = config.timestamp.field.as_ref().map(|path| TextSource::Field(wanted.add(path)));
        let tenant = &config.tenant;
        let tenant = match (&tenant.constant, header(&tenant.header), &tenant.field) {
            (Some(constant), ..) => {
                TenantFrom::Constant(TenantId::parse(constant).map_err(|error| Unmapped(error.to_string()))?)
            }
            (None, Some(header), _) => TenantFrom::Record(header),
            (None, None, Some(path)) => TenantFrom::Record(TextSource::Field(wanted.add(path))),
            (None, None, None) => TenantFrom::Constant(TenantId::single()),
        };
        let topics = match (&config.topic, &config.pattern) {
            (Some(topic), _) => TopicNames::One(topic.clone()),
            (None, Some(_)) => TopicNames::Matching(
                regex::Regex::new(&config.subscription()).map_err(|error| Unmapped(error.to_string()))?,
            ),
            (None, None) => return Err(Unmapped("neither topic nor pattern".to_owned())),
        };
        Ok(Mapping {
            format: config.format,
            topics,
            constants: labels.constants.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            varying,
            metadata,
            position: sources.position,
            message: config.message_field.as_ref().map(|path| wanted.add(path)),
            time: time.or_else(|| header(&config.timestamp.header)),
            layout: Layout::parse(config.timestamp.layout.as_deref()),
            tenant,
            wanted,
            dead_letter_topic: config.dead_letter_topic.as_ref().or(dead_letter_topic).cloned(),
            stages_config: config.pipeline_stages.clone(),
            stages_of: Arc::new(StagesOf::new(Some(config.name().to_owned()), Clock::system())),
        })
    }

    /// What the lines of a tenant go through.
    pub fn stages(&self, tenant: &TenantId) -> Option<Arc<Stages>> {
        self.stages_of.of(tenant, &self.stages_config)
    }

    /// Those of all tenants.
    pub fn all_stages(&self) -> &Arc<StagesOf> {
        &self.stages_of
    }

    /// Whether anything is taken from headers.
    pub fn reads_headers(&self) -> bool {
        let is_header = |from: &TextSource| matches!(from, TextSource::Header(_));
        let tenant = matches!(&self.tenant, TenantFrom::Record(from) if is_header(from));
        let named = self.varying.iter().chain(&self.metadata).any(|(from, _)| is_header(from));
        tenant || named || self.time.as_ref().is_some_and(is_header)
    }

    pub fn is_for(&self, topic: &str) -> bool {
        match &self.topics {
            TopicNames::One(name) => name == topic,
            TopicNames::Matching(pattern) => pattern.is_match(topic),
        }
    }

    /// Reads what the mapping needs of a record that is one line.
    ///
    /// # Errors
    /// A JSON record that is no object.
    pub fn read<'m, 'r>(&'m self, record: &'m Record<'r>) -> Result<Mapped<'m, 'r>, Unmapped> {
        let text = text_of_bytes(record.payload);
        if self.format != Format::Json {
            return Ok(Mapped { mapping: self, record, line: text, fields: Vec::new() });
        }
        let broken = || Unmapped("not a JSON object".to_owned());
        let (line, fields) = match text {
            Cow::Borrowed(text) => (Cow::Borrowed(text), self.wanted.find(text).ok_or_else(broken)?),
            Cow::Owned(text) => {
                let found = self.wanted.find(&text).ok_or_else(broken)?;
                let found = found.into_iter().map(|field| field.map(|text| Cow::Owned(text.into_owned()))).collect();
                (Cow::Owned(text), found)
            }
        };
        let mut mapped = Mapped { mapping: self, record, line, fields };
        if let Some(message) = self.message {
            let text = mapped.fields.get(message).cloned().flatten();
            mapped.line = text.ok_or_else(|| Unmapped("the message field is missing".to_owned()))?;
        }
        Ok(mapped)
    }

    /// Whose the record is.
    ///
    /// # Errors
    /// The header or field is missing or names no tenant.
    pub fn tenant(&self, record: &Record<'_>, mapped: Option<&Mapped<'_, '_>>) -> Result<TenantId, Unmapped> {
        match &self.tenant {
            TenantFrom::Constant(tenant) => Ok(tenant.clone()),
            TenantFrom::Record(from) => {
                let fields = mapped.map_or(&[][..], |mapped| mapped.fields.as_slice());
                let text = text_of(from, record, fields).ok_or_else(|| Unmapped("it names no tenant".to_owned()))?;
                TenantId::parse(&text).map_err(|error| Unmapped(format!("tenant: {error}")))
            }
        }
    }
}

impl<'r> Mapped<'_, 'r> {
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The record's own time, else Kafka's, else `now`.
    pub fn time(&self, now: UnixNanos) -> UnixNanos {
        let own = self.mapping.time.as_ref().and_then(|from| self.text(from));
        let own = own.and_then(|text| self.mapping.layout.read(&text));
        let of_kafka = || self.record.timestamp_ms.map(|millis| UnixNanos(millis.saturating_mul(NANOS_PER_MILLI)));
        own.or_else(of_kafka).unwrap_or(now)
    }

    /// Replaces `key` by bytes that are equal for records of the same stream of this mapping, and only for them.
    pub fn stream_key(&self, key: &mut Vec<u8>) {
        key.clear();
        for (from, _) in &self.mapping.varying {
            let text = self.text(from).unwrap_or_default();
            key.extend_from_slice(&(text.len() as u32).to_le_bytes());
            key.extend_from_slice(text.as_bytes());
        }
    }

    /// The labels that [`Mapped::stream_key`] stands for.
    pub fn labels(&self) -> Labels {
        let constants = self.mapping.constants.iter().map(|(name, value)| (name.clone(), value.clone()));
        let varying = self.mapping.varying.iter().filter_map(|(from, label)| {
            let text = self.text(from)?;
            Some((label.clone(), text.into_owned()))
        });
        Labels::from_pairs(constants.chain(varying))
    }

    /// Replaces `out` by the metadata.
    pub fn metadata<'o>(&'o self, out: &mut Vec<(Cow<'o, str>, Cow<'o, str>)>) {
        out.clear();
        for (from, name) in &self.mapping.metadata {
            if let Some(text) = self.text(from) {
                out.push((Cow::Borrowed(name), text));
            }
        }
        if self.mapping.position {
            out.push((Cow::Borrowed("kafka_topic"), Cow::Borrowed(self.record.topic)));
            out.push((Cow::Borrowed("kafka_partition"), Cow::Owned(self.record.partition.to_string())));
            out.push((Cow::Borrowed("kafka_offset"), Cow::Owned(self.record.offset.to_string())));
        }
    }

    fn text<'o>(&'o self, from: &TextSource) -> Option<Cow<'o, str>> {
        text_of(from, self.record, &self.fields)
    }
}

fn text_of<'o>(from: &TextSource, record: &'o Record<'_>, fields: &'o [Option<Cow<'_, str>>]) -> Option<Cow<'o, str>> {
    match from {
        TextSource::Topic => Some(Cow::Borrowed(record.topic)),
        TextSource::Partition => Some(Cow::Owned(record.partition.to_string())),
        TextSource::Key => record.key.map(text_of_bytes),
        TextSource::Header(name) => {
            let found = record.headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| text_of_bytes(value))
        }
        TextSource::Field(at) => fields.get(*at)?.as_deref().map(Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(json: &str) -> Mapping {
        let config: TopicConfig = serde_json::from_str(json).expect("well-formed");
        Mapping::compile(&config, None).expect("compiles")
    }

    fn record(payload: &str) -> Record<'_> {
        Record {
            topic: "logs-a",
            partition: 3,
            offset: 42,
            key: Some(b"k1"),
            payload: payload.as_bytes(),
            headers: vec![("x-service", b"api"), ("x-tenant", b"team-a")],
            timestamp_ms: Some(1_768_471_200_123),
        }
    }

    fn check(config: &str, payload: &str, expected: &str) {
        let mapping = mapping(config);
        let record = record(payload);
        let text = match mapping.read(&record) {
            Err(error) => error.to_string(),
            Ok(mapped) => match mapping.tenant(&record, Some(&mapped)) {
                Err(error) => error.to_string(),
                Ok(tenant) => {
                    let mut metadata = Vec::new();
                    mapped.metadata(&mut metadata);
                    let metadata = Labels::from_pairs(metadata.iter().map(|(n, v)| (n.to_string(), v.to_string())));
                    let ms = mapped.time(UnixNanos(0)).0 / NANOS_PER_MILLI;
                    format!("{tenant} {} {ms} {:?} {metadata}", mapped.labels(), mapped.line())
                }
            },
        };
        assert_eq!(text, expected, "{config} {payload}");
    }

    #[test]
    fn raw_records() {
        check(r#"{"topic":"logs-a"}"#, "a line", r#"fake {} 1768471200123 "a line" {}"#);
        check(
            r#"{"pattern":"logs-.*","labels":{"static":{"env":"prod"},"topic":"topic","key":"key","headers":{"x-service":"service","x-none":"none"}},"tenant":{"header":"x-tenant"},"metadata":{"position":true}}"#,
            "a line",
            r#"team-a {env="prod", key="k1", service="api", topic="logs-a"} 1768471200123 "a line" {kafka_offset="42", kafka_partition="3", kafka_topic="logs-a"}"#,
        );
        check(r#"{"topic":"logs-a","tenant":{"header":"absent"}}"#, "x", "it names no tenant");
    }

    #[test]
    fn json_records() {
        let config = r#"{"topic":"logs-a","format":"json","labels":{"fields":{"service":"","http.status":"status"}},"timestamp":{"field":"ts"},"tenant":{"field":"org"},"metadata":{"fields":{"trace":"trace_id"}},"message_field":"msg"}"#;
        check(
            config,
            r#"{"ts":"2026-01-15T10:00:00.5Z","service":"s","http":{"status":500},"org":"t1","trace":"abc","msg":"hi\nthere","user":"never a label"}"#,
            r#"t1 {service="s", status="500"} 1768471200500 "hi\nthere" {trace_id="abc"}"#,
        );
        check(config, r#"{"org":"t1","msg":"m","ts":"bad"}"#, r#"t1 {} 1768471200123 "m" {}"#);
        check(config, r#"{"org":"t1"}"#, "the message field is missing");
        check(config, r#"{"org":"a/b","msg":"m"}"#, "tenant: tenant ID 'a/b' contains unsupported character '/'");
        check(config, "plain", "not a JSON object");
    }

    #[test]
    fn headers_are_read_where_something_comes_from_them() {
        for (config, expected) in [
            (r#"{"topic":"t","labels":{"key":"k","topic":"t"}}"#, false),
            (r#"{"topic":"t","labels":{"headers":{"a":"b"}}}"#, true),
            (r#"{"topic":"t","metadata":{"headers":{"a":"b"}}}"#, true),
            (r#"{"topic":"t","timestamp":{"header":"a"}}"#, true),
            (r#"{"topic":"t","tenant":{"header":"a"}}"#, true),
        ] {
            assert_eq!(mapping(config).reads_headers(), expected, "{config}");
        }
    }

    #[test]
    fn streams_are_told_apart_by_their_bytes() {
        let mapping = mapping(r#"{"topic":"t","format":"json","labels":{"fields":{"a":"","b":""}}}"#);
        let key = |payload: &str| {
            let record = record(payload);
            let mut key = Vec::new();
            mapping.read(&record).expect("JSON").stream_key(&mut key);
            key
        };
        assert_eq!(key(r#"{"a":"x","b":"y","c":1}"#), key(r#"{"b":"y","a":"x"}"#));
        assert_ne!(key(r#"{"a":"xy","b":""}"#), key(r#"{"a":"x","b":"y"}"#));
        assert!(mapping.is_for("t") && !mapping.is_for("tt"));
    }
}
