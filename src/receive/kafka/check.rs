//! `millrace kafka check`: connects, lists partitions, and shows what the first records of each topic would become.

use std::io::Write;
use std::time::Duration;

use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::batch::decode;
use super::consumer::record_of;
use super::mapping::{Mapping, Record};
use super::settings::KafkaConfig;
use super::source::mappings;
use super::{KafkaError, client};
use crate::ingest::gate::IngestGates;
use crate::ingest::overrides::LimitsOf;
use crate::types::rows::Metadata;
use crate::types::time::Clock;

/// How long brokers may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// Records of a topic that are shown.
const RECORDS_SHOWN: usize = 5;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("writing: {0}")]
    Write(#[from] std::io::Error),
    #[error("kafka.topics names no topic; nothing to check")]
    Off,
    #[error("{0} of the configured topics are not there")]
    Missing(usize),
}

/// Writes to `out` what the brokers have and what Millrace would make of it. Nothing is stored, no offset moves.
pub fn check(config: &KafkaConfig, limits: &LimitsOf, clock: &Clock, out: &mut dyn Write) -> Result<(), CheckError> {
    if !config.is_on() {
        return Err(CheckError::Off);
    }
    let mappings = mappings(config)?;
    let mut settings = client::client_config(config)?;
    settings.set("group.id", format!("{}-check", config.group)).set("enable.auto.commit", "false");
    let consumer = BaseConsumer::from_config(&settings).map_err(KafkaError::client)?;
    let metadata = consumer
        .fetch_metadata(None, ANSWER_WAIT)
        .map_err(|error| KafkaError::Client(format!("no answer from {}: {error}", config.brokers.join(", "))))?;
    writeln!(out, "brokers")?;
    for broker in metadata.brokers() {
        writeln!(out, "  {} {}:{}", broker.id(), broker.host(), broker.port())?;
    }
    let mut missing = 0;
    for (mapping, entry) in mappings.iter().zip(&config.topics) {
        let topics: Vec<_> = metadata.topics().iter().filter(|topic| mapping.is_for(topic.name())).collect();
        if topics.is_empty() {
            writeln!(out, "\n{}: no such topic", entry.name())?;
            missing += 1;
        }
        for topic in topics {
            writeln!(out, "\n{} ({:?}, {} partitions)", topic.name(), entry.format, topic.partitions().len())?;
            let mut begins = TopicPartitionList::new();
            for partition in topic.partitions() {
                let (low, high) =
                    consumer.fetch_watermarks(topic.name(), partition.id(), ANSWER_WAIT).map_err(KafkaError::client)?;
                writeln!(out, "  partition {}: offsets {low} to {high}", partition.id())?;
                if high > low {
                    begins
                        .add_partition_offset(topic.name(), partition.id(), Offset::Offset(low))
                        .map_err(KafkaError::client)?;
                }
            }
            if begins.count() > 0 {
                consumer.assign(&begins).map_err(KafkaError::client)?;
                show(&consumer, mapping, limits, clock, out)?;
            }
        }
    }
    if missing > 0 { Err(CheckError::Missing(missing)) } else { Ok(()) }
}

fn show(
    consumer: &BaseConsumer,
    mapping: &Mapping,
    limits: &LimitsOf,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(), CheckError> {
    for _ in 0..RECORDS_SHOWN {
        let Some(polled) = consumer.poll(Duration::from_secs(3)) else { return Ok(()) };
        let message = polled.map_err(KafkaError::client)?;
        let record = record_of(&message, true);
        writeln!(out, "  {}/{}: {} bytes", record.partition, record.offset, record.payload.len())?;
        show_record(mapping, &record, limits, clock, out)?;
    }
    Ok(())
}

fn show_record(
    mapping: &Mapping,
    record: &Record<'_>,
    limits: &LimitsOf,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(), CheckError> {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Int64Type, UInt32Type};

    let gates = IngestGates::default();
    let decoded = decode(mapping, std::slice::from_ref(record), limits, &gates, clock.now());
    for rejected in &decoded.rejected {
        writeln!(out, "    rejected: {}", rejected.reason)?;
    }
    for (tenant, batch) in &decoded.batches {
        let batch = batch.record_batch();
        let labels = batch.column(1).as_dictionary::<UInt32Type>();
        let times = batch.column(0).as_primitive::<Int64Type>();
        let metadata = Metadata::of(batch.column(4).as_map());
        for row in 0..batch.num_rows().min(RECORDS_SHOWN) {
            let time = chrono::DateTime::from_timestamp_nanos(times.value(row));
            let stream = labels.values().as_string::<i32>().value(labels.keys().value(row) as usize);
            let mut pairs = Vec::new();
            metadata.append_row(row, &mut pairs);
            let level = batch.column(2).as_string_view();
            let level = if level.is_valid(row) { level.value(row) } else { "" };
            writeln!(out, "    tenant   {tenant}")?;
            writeln!(out, "    time     {}", time.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true))?;
            writeln!(out, "    labels   {stream}")?;
            writeln!(out, "    metadata {pairs:?} detected_level={level}")?;
            writeln!(out, "    line     {}", batch.column(3).as_string_view().value(row))?;
        }
    }
    Ok(())
}
