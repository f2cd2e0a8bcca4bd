//! Records that become nothing go to a topic of their own, with the reason in their headers.
//!
//! | header | |
//! |---|---|
//! | `millrace-reason` | why, in words |
//! | `millrace-topic`, `millrace-partition`, `millrace-offset` | where the record was |
//!
//! Key, payload, headers and timestamp stay as they were. A letter is acknowledged by the broker before the position
//! of its record moves on, so that it is sent at least once.

use std::time::Duration;

use futures::future::join_all;
use rdkafka::config::FromClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::KafkaError;
use super::client::producer_config;
use super::mapping::Record;
use super::settings::KafkaConfig;

/// How long a full producer queue is waited for.
const QUEUE_WAIT: Duration = Duration::from_secs(30);

/// Sends letters.
pub(super) struct DeadLetters {
    producer: FutureProducer,
}

impl DeadLetters {
    pub(super) fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let producer = FutureProducer::from_config(&producer_config(config)?).map_err(KafkaError::client)?;
        Ok(DeadLetters { producer })
    }

    /// Sends all; answers how many the broker has.
    pub(super) async fn send(&self, topic: &str, letters: &[(&Record<'_>, &str)]) -> usize {
        let sent = join_all(letters.iter().map(|(record, reason)| self.send_one(topic, record, reason))).await;
        sent.into_iter().filter(|arrived| *arrived).count()
    }

    async fn send_one(&self, topic: &str, record: &Record<'_>, reason: &str) -> bool {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len() + 4);
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        let (partition, offset) = (record.partition.to_string(), record.offset.to_string());
        for (key, value) in [
            ("millrace-reason", reason),
            ("millrace-topic", record.topic),
            ("millrace-partition", partition.as_str()),
            ("millrace-offset", offset.as_str()),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut letter: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).payload(record.payload).headers(headers);
        if let Some(key) = record.key {
            letter = letter.key(key);
        }
        if let Some(millis) = record.timestamp_ms {
            letter = letter.timestamp(millis);
        }
        match self.producer.send(letter, QUEUE_WAIT).await {
            Ok(_) => true,
            Err((error, _)) => {
                tracing::error!(%error, topic, from = record.topic, partition = record.partition, offset = record.offset, "a dead letter could not be sent; the record is lost to queries and stays in its topic");
                false
            }
        }
    }
}
