//! The running consumer: started with the server, stopped before the store.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use tokio_util::sync::CancellationToken;

use super::client;
use super::consumer::{self, Context, Loop, Shared};
use super::dead_letter::DeadLetters;
use super::mapping::{Mapping, Unmapped};
use super::settings::{KafkaConfig, TopicConfig};
use crate::ingest::flush::Flusher;
use crate::ingest::shard::Shard;
use crate::receive::door::Door;

/// Where rows go and what they are counted with.
#[derive(Clone)]
pub struct Target {
    pub shard: Arc<Shard>,
    pub flusher: Arc<Flusher>,
    pub door: Door,
}

/// Why the consumer does not start.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    #[error("kafka: {0}")]
    Client(String),
    #[error("kafka.topics: {topic}: {source}")]
    Mapping { topic: String, source: Unmapped },
    #[error("kafka.security.password_file: cannot read {}: {source}", path.display())]
    PasswordFile { path: PathBuf, source: std::io::Error },
    #[error("kafka: starting the thread: {0}")]
    Thread(std::io::Error),
}

impl KafkaError {
    pub(super) fn client(error: rdkafka::error::KafkaError) -> Self {
        KafkaError::Client(error.to_string())
    }
}

/// A running consumer.
#[derive(Debug)]
pub struct KafkaSource {
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

/// Starts consuming. Call it within the runtime that flushes run on.
pub fn start(config: &KafkaConfig, target: Target) -> Result<KafkaSource, KafkaError> {
    let mappings = mappings(config)?;
    for mapping in &mappings {
        target.door.gates.add_stages(mapping.all_stages().clone());
    }
    let needs_letters = mappings.iter().any(|mapping| mapping.dead_letter_topic.is_some());
    let dead_letters = if needs_letters { Some(DeadLetters::new(config)?) } else { None };
    let stop = CancellationToken::new();
    let shared = Shared::new(config.clone(), target, stop.clone());
    let consumer: BaseConsumer<Context> =
        BaseConsumer::from_config_and_context(&client::consumer_config(config)?, Context(shared.clone()))
            .map_err(KafkaError::client)?;
    consumer::subscribe(&consumer, config)?;
    let consuming = Loop { shared, mappings, dead_letters, sampled: HashMap::new(), paused: None, lag_told: None };
    let thread = std::thread::Builder::new()
        .name("kafka".to_owned())
        .spawn(move || consuming.run(consumer))
        .map_err(KafkaError::Thread)?;
    Ok(KafkaSource { stop, thread })
}

pub(super) fn mappings(config: &KafkaConfig) -> Result<Vec<Mapping>, KafkaError> {
    let compile = |topic: &TopicConfig| {
        Mapping::compile(topic, config.dead_letter_topic.as_ref())
            .map_err(|source| KafkaError::Mapping { topic: topic.name().to_owned(), source })
    };
    config.topics.iter().map(compile).collect()
}

impl KafkaSource {
    /// Gives the partitions back, which commits what was read of them, and ends the thread.
    pub async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!("the Kafka thread panicked");
        }
    }
}
