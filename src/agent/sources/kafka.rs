//! `kafka`: records of topics, as a member of a consumer group.
//!
//! Labels: `__meta_kafka_{topic,partition,message_key,group_id}`; relabelling makes labels of them. An offset is
//! committed to the group when every record up to it was acknowledged.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Message};

use super::{Around, Labelling, SourceError};
use crate::agent::config::KafkaConfig;
use crate::pipeline::{Entry, Receipt};
use crate::tasks::Tasks;

/// Records of a partition that may be unacknowledged at once; about what a client's queues hold.
const UNACKNOWLEDGED_MAX: usize = 1_000_000;

/// Which records of which partition are acknowledged.
struct Progress {
    consumer: StreamConsumer,
    pending: Mutex<HashMap<(String, i32), Offsets>>,
}

/// Records in the order they were read, and whether each is done with.
type Offsets = VecDeque<(i64, bool)>;

/// One record on its way.
struct Mark {
    progress: Arc<Progress>,
    topic: String,
    partition: i32,
    offset: i64,
}

impl Drop for Mark {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut pending = self.progress.pending.lock();
        let Some(queue) = pending.get_mut(&(self.topic.clone(), self.partition)) else { return };
        if let Ok(at) = queue.binary_search_by_key(&self.offset, |(offset, _)| *offset) {
            queue[at].1 = true;
        }
        let mut last = None;
        while let Some((offset, _)) = queue.pop_front_if(|(_, is_done)| *is_done) {
            last = Some(offset);
        }
        drop(pending);
        if let Some(offset) = last {
            // Refused when the partition has gone to another member, which reads from what was committed.
            let _ = self.progress.consumer.store_offset(&self.topic, self.partition, offset);
        }
    }
}

/// Reads until the sources are stopped.
pub(super) fn start(
    config: &KafkaConfig,
    labelling: Labelling,
    around: &Around,
    tasks: &Tasks,
) -> Result<(), SourceError> {
    let job = around.feed.job().to_owned();
    let wrong = |error: rdkafka::error::KafkaError| SourceError::Config { job: job.clone(), words: error.to_string() };
    let assignor = match config.assignor.as_str() {
        "sticky" => "cooperative-sticky",
        other => other,
    };
    let mut client = ClientConfig::new();
    for (name, value) in config.authentication.properties() {
        client.set(name, value);
    }
    let consumer: StreamConsumer = client
        .set("bootstrap.servers", config.brokers.join(","))
        .set("group.id", &config.group_id)
        .set("client.id", "millrace-agent")
        // Promtail's: so long nobody reads the partitions of an agent that was killed.
        .set("session.timeout.ms", "10000")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "1000")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", assignor)
        .create()
        .map_err(wrong)?;
    let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(wrong)?;
    around.targets.single(&job, "Kafka", &config.topics.join(","), String::new(), &config.brokers.join(","));
    let progress = Arc::new(Progress { consumer, pending: Mutex::default() });
    let (config, around) = (config.clone(), around.clone());
    tasks.spawn("kafka", |_| async move {
        loop {
            let received = tokio::select! {
                received = progress.consumer.recv() => received,
                () = around.stop.cancelled() => return,
            };
            match received {
                Ok(record) => {
                    if let Some(entry) = entry(&record, &config, &labelling, &progress, around.feed.clock().now().0) {
                        around.feed.push(vec![entry]).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(job = around.feed.job(), %error, "Kafka does not answer; it is asked again");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    });
    Ok(())
}

fn entry(
    record: &BorrowedMessage<'_>,
    config: &KafkaConfig,
    labelling: &Labelling,
    progress: &Arc<Progress>,
    now_ns: i64,
) -> Option<Entry> {
    let (topic, partition, offset) = (record.topic().to_owned(), record.partition(), record.offset());
    {
        let mut pending = progress.pending.lock();
        let queue = pending.entry((topic.clone(), partition)).or_default();
        // Read again from further back: the partition was away meanwhile.
        if queue.back().is_some_and(|(last, _)| *last >= offset) {
            queue.clear();
        }
        if queue.len() >= UNACKNOWLEDGED_MAX {
            queue.pop_front();
        }
        queue.push_back((offset, false));
    }
    let mark = Mark { progress: progress.clone(), topic: topic.clone(), partition, offset };
    let key = record.key().map_or("none".to_owned(), |key| String::from_utf8_lossy(key).into_owned());
    let labels = labelling.of([
        ("__meta_kafka_topic".to_owned(), topic),
        ("__meta_kafka_partition".to_owned(), partition.to_string()),
        ("__meta_kafka_message_key".to_owned(), key),
        ("__meta_kafka_group_id".to_owned(), config.group_id.clone()),
    ])?;
    let line = String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned();
    let millis = record.timestamp().to_millis().filter(|_| config.use_incoming_timestamp);
    let mut entry = Entry::new(labels, millis.map_or(now_ns, |millis| millis.saturating_mul(1_000_000)), line);
    entry.receipt = Receipt::of(Arc::new(mark));
    Some(entry)
}
