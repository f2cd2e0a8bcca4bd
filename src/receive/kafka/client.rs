//! Settings as librdkafka wants them.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::KafkaError;
use super::settings::KafkaConfig;

/// Bytes of a record, at most: as many as librdkafka allows to say of a producer.
const RECORD_BYTES_MAX: &str = "1000000000";

/// What every client of these brokers needs.
pub(super) fn client_config(config: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", config.brokers.join(","));
    client.set("client.id", &config.client_id);
    client.set_log_level(RDKafkaLogLevel::Warning);
    let security = &config.security;
    client.set("security.protocol", security.protocol.as_str());
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            client.set(name, value);
        }
    };
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    set("sasl.mechanism", security.sasl_mechanism.clone());
    set("sasl.username", security.username.clone());
    set("sasl.password", password(config)?);
    set("ssl.ca.location", path(&security.ca_file));
    set("ssl.certificate.location", path(&security.cert_file));
    set("ssl.key.location", path(&security.key_file));
    set("ssl.key.password", security.key_password.clone());
    Ok(client)
}

fn password(config: &KafkaConfig) -> Result<Option<String>, KafkaError> {
    match &config.security.password_file {
        None => Ok(config.security.password.clone()),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| KafkaError::PasswordFile { path: path.clone(), source })?;
            Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
        }
    }
}

/// A member of the group that keeps its positions in the table.
pub(super) fn consumer_config(config: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
    let mut client = client_config(config)?;
    let kilobytes = (config.fetch_bytes_max.0 / 1024).clamp(1024, 2_097_151);
    client
        .set("group.id", &config.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("partition.assignment.strategy", "cooperative-sticky")
        // Only where the recorded position is no longer in the topic.
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", (config.session_timeout.nanos() / 1_000_000).to_string())
        .set("queued.max.messages.kbytes", kilobytes.to_string())
        .set("fetch.wait.max.ms", "100")
        // By default a fetch that found the queue full waits a second, in which the queue runs empty.
        .set("fetch.queue.backoff.ms", "20")
        // A record above this would be an error for ever, and stop its partition.
        .set("receive.message.max.bytes", RECORD_BYTES_MAX)
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("statistics.interval.ms", "2000")
        .set("enable.partition.eof", "false");
    for (name, value) in &config.properties {
        client.set(name, value);
    }
    Ok(client)
}

/// Sends dead letters. Not idempotent: a letter may come twice, and a producer that a gap in its numbers made fatal would
/// send none any more.
pub(super) fn producer_config(config: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
    let mut client = client_config(config)?;
    client
        .set("acks", "all")
        .set("message.timeout.ms", "30000")
        .set("compression.type", "zstd")
        // How large a letter may be is the brokers' to say.
        .set("message.max.bytes", RECORD_BYTES_MAX);
    Ok(client)
}
