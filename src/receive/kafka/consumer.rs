//! The consuming thread: polls, decodes, hands rows to the head, and answers rebalances.
//!
//! ```text
//! poll ─▶ batch (linger) ─▶ decode by partition ─▶ Shard::append_source(step) ─▶ … flush ─▶ table (step) ─▶ group offsets
//!   └─ rebalance: revoke ─▶ flush, forget          assign ─▶ follow the table, begin at its record
//! ```
//!
//! Rows and position go into the head together, and from there into one commit: a restart, a rebalance or another
//! instance begins where the table's own record ends. The group's offsets are only a mirror, for tools that show lag.
//! A full head pauses the partitions, those that are assigned meanwhile, too; the thread goes on polling, so that it
//! stays a member.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio_util::sync::CancellationToken;

use super::batch::{decode, surely};
use super::dead_letter::DeadLetters;
use super::mapping::{Mapping, Record};
use super::positions::{PartitionId, Positions, parse_app_id};
use super::settings::{KafkaConfig, StartAt};
use super::{KafkaError, Target};
use crate::ingest::flush::SourceNews;
use crate::ingest::flush_plan::FlushReason;
use crate::receive::door::{count_discards, count_taken};

/// Records handed over together, at most.
const BATCH_RECORDS_MAX: usize = 20_000;
/// Their bytes, at most, but for one record.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Records that are taken between two looks at the clock.
const LOOK_EVERY: usize = 64;
/// How long one poll may wait, so that news and the end are seen.
const POLL_MAX: Duration = Duration::from_millis(100);
/// How long brokers may take to answer where a partition ends.
const WATERMARK_WAIT: Duration = Duration::from_secs(10);
/// How often the lag of paused partitions is told, and how long a broker may take to answer.
const LAG_EVERY: Duration = Duration::from_secs(2);
const LAG_WAIT: Duration = Duration::from_secs(1);
/// Pause before the table is asked again where partitions begin.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);
/// Rejected records of a topic are named in the log this often.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// What the thread and its callbacks share.
pub(super) struct Shared {
    config: KafkaConfig,
    target: Target,
    runtime: tokio::runtime::Handle,
    stop: CancellationToken,
    positions: Mutex<Positions>,
    news: Mutex<Vec<SourceNews>>,
}

impl Shared {
    pub(super) fn new(config: KafkaConfig, target: Target, stop: CancellationToken) -> Arc<Self> {
        let positions = Mutex::new(Positions::new(&config.group));
        let runtime = tokio::runtime::Handle::current();
        let shared = Arc::new(Shared { config, target, runtime, stop, positions, news: Mutex::new(Vec::new()) });
        let listener = Arc::downgrade(&shared);
        shared.target.flusher.on_sources(move |news| {
            if let Some(shared) = listener.upgrade() {
                shared.news.lock().push(news.clone());
            }
        });
        shared
    }

    /// Waits until the table was read anew; false when the server stops first.
    fn follow_table(&self) -> bool {
        loop {
            match self.runtime.block_on(self.target.flusher.follow()) {
                Ok(_) => return true,
                Err(error) => {
                    tracing::warn!(%error, "the table cannot be read to find where partitions begin; trying again")
                }
            }
            if self.stop.is_cancelled() {
                return false;
            }
            std::thread::sleep(FOLLOW_PAUSE);
        }
    }

    /// Records from `next` to `end` are not taken yet.
    fn set_lag(&self, id: &PartitionId, next: i64, end: i64) {
        let lag = &self.target.door.metrics.kafka.lag;
        lag.with_label_values(&[&id.topic, &id.partition.to_string()]).set((end - next.max(0)).max(0));
    }

    fn recorded(&self, partition: &PartitionId) -> Option<i64> {
        let app_id = super::positions::app_id(&self.config.group, partition);
        self.runtime.block_on(self.target.flusher.recorded(&app_id))
    }
}

/// Callbacks of librdkafka, all on the consuming thread.
pub(super) struct Context(pub(super) Arc<Shared>);

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let kafka = &self.0.target.door.metrics.kafka;
        // While nothing is fetched the client does not hear where partitions end: see `Loop::tell_lag`.
        if kafka.paused.get() > 0 {
            return;
        }
        for (topic, stats) in &statistics.topics {
            for (partition, stats) in stats.partitions.iter().filter(|(partition, _)| **partition >= 0) {
                let id = PartitionId { topic: topic.clone(), partition: *partition };
                let positions = self.0.positions.lock();
                if positions.is_assigned(&id) && stats.hi_offset >= 0 {
                    // What is fetched and not waiting was taken, or is a mark of a transaction, which nobody is given.
                    let fetched = if stats.fetchq_cnt == 0 { stats.next_offset.min(stats.hi_offset) } else { 0 };
                    let next = positions.ended(&id).unwrap_or(stats.app_offset).max(fetched);
                    self.0.set_lag(&id, next.max(stats.lo_offset), stats.hi_offset);
                }
            }
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let shared = &self.0;
        let ids: Vec<PartitionId> = partitions
            .elements()
            .iter()
            .map(|element| PartitionId { topic: element.topic().to_owned(), partition: element.partition() })
            .collect();
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            shared.target.door.metrics.kafka.rebalances.with_label_values(&["assigned"]).inc();
            shared.assign(consumer, &ids, partitions);
            let assigned =
                if cooperative { consumer.incremental_assign(partitions) } else { consumer.assign(partitions) };
            // One that went while it was paused comes back paused; the loop pauses it again if it must wait.
            assigned.and_then(|()| consumer.resume(partitions))
        } else {
            let lost = consumer.assignment_lost();
            let kind = if lost { "lost" } else { "revoked" };
            shared.target.door.metrics.kafka.rebalances.with_label_values(&[kind]).inc();
            shared.revoke(&ids, lost);
            if cooperative { consumer.incremental_unassign(partitions) } else { consumer.unassign() }
        };
        if let Err(error) = done {
            tracing::error!(%error, "a rebalance could not be answered");
        }
    }
}

impl Shared {
    /// Partitions that become ours begin where the table says.
    fn assign(&self, consumer: &BaseConsumer<Context>, ids: &[PartitionId], list: &mut TopicPartitionList) {
        if ids.is_empty() || !self.follow_table() {
            return;
        }
        for id in ids {
            let recorded = self.recorded(id);
            let begin = match (recorded, self.config.start) {
                (Some(next), _) => Offset::Offset(next),
                (None, StartAt::Earliest) => Offset::Beginning,
                (None, StartAt::Latest) => self.end_of(consumer, id),
            };
            tracing::info!(topic = id.topic, partition = id.partition, ?recorded, ?begin, "partition assigned");
            if let Err(error) = list.set_partition_offset(&id.topic, id.partition, begin) {
                tracing::error!(%error, topic = id.topic, partition = id.partition, "where to begin could not be set");
            }
            self.positions.lock().assign(id.clone(), recorded);
        }
        self.target.door.metrics.kafka.partitions.set(self.positions.lock().len() as i64);
    }

    /// The end of a partition nobody has read. It is put down at once, so that a restart loses nothing after it.
    fn end_of(&self, consumer: &BaseConsumer<Context>, id: &PartitionId) -> Offset {
        match consumer.fetch_watermarks(&id.topic, id.partition, WATERMARK_WAIT) {
            Ok((_, end)) => {
                let app_id = super::positions::app_id(&self.config.group, id);
                let after = crate::types::txn::After::Exactly(None);
                let step = crate::types::txn::TxnStep { app_id: app_id.into(), after, to: end };
                match self.target.shard.append_source(step, Vec::new()) {
                    Ok(_) => {
                        self.positions.lock().assign(id.clone(), Some(end));
                        Offset::Offset(end)
                    }
                    Err(_) => Offset::End,
                }
            }
            Err(error) => {
                tracing::warn!(%error, topic = id.topic, partition = id.partition, "where the partition ends is unknown");
                Offset::End
            }
        }
    }

    /// Partitions go to others: what was read of them is committed, or forgotten.
    fn revoke(&self, ids: &[PartitionId], lost: bool) {
        let flushed = !lost
            && {
                let flushed = self.runtime.block_on(self.target.flusher.flush(FlushReason::Handover));
                if let Err(error) = &flushed {
                    tracing::error!(%error, "partitions go to others before their rows could be committed; the others read them again");
                }
                flushed.is_ok()
            };
        let mut positions = self.positions.lock();
        for id in ids {
            tracing::info!(topic = id.topic, partition = id.partition, lost, "partition revoked");
            positions.revoke(id);
            let _ = self.target.door.metrics.kafka.lag.remove_label_values(&[&id.topic, &id.partition.to_string()]);
        }
        self.target.door.metrics.kafka.partitions.set(positions.len() as i64);
        drop(positions);
        if !flushed {
            for id in ids {
                let app_id = super::positions::app_id(&self.config.group, id);
                self.runtime.block_on(self.target.flusher.drop_source(&app_id));
            }
        }
    }
}

/// A record on its way, with the generation of assignments it was polled in.
type Polled<'c> = (BorrowedMessage<'c>, u64);

/// The loop of the consuming thread.
pub(super) struct Loop {
    pub(super) shared: Arc<Shared>,
    pub(super) mappings: Vec<Mapping>,
    pub(super) dead_letters: Option<DeadLetters>,
    pub(super) sampled: HashMap<String, Instant>,
    /// While partitions wait for room in the head: the generation of assignments that waits.
    pub(super) paused: Option<u64>,
    /// When the lag of paused partitions was told.
    pub(super) lag_told: Option<Instant>,
}

impl Loop {
    /// Consumes until told to stop. Dropping the consumer gives the partitions back, which flushes.
    pub(super) fn run(mut self, consumer: BaseConsumer<Context>) {
        let mut batch: Vec<Polled<'_>> = Vec::new();
        while !self.shared.stop.is_cancelled() {
            self.take_news(&consumer);
            self.pause_or_resume(&consumer);
            self.fill(&consumer, &mut batch);
            if !batch.is_empty() && self.paused.is_none() && !self.shared.target.shard.is_full() {
                self.hand_over(&batch);
                batch.clear();
            }
        }
        drop(batch);
        consumer.unsubscribe();
        let ends = Instant::now() + Duration::from_secs(10);
        while !self.shared.positions.lock().is_empty() && Instant::now() < ends {
            let _ = consumer.poll(POLL_MAX);
        }
    }

    fn fill<'c>(&mut self, consumer: &'c BaseConsumer<Context>, batch: &mut Vec<Polled<'c>>) {
        let linger = self.shared.config.linger.to_std();
        if self.paused.is_some() {
            // Paused partitions give nothing; a member that does not poll loses them.
            batch.extend(self.poll(consumer, POLL_MAX));
            self.tell_lag(consumer);
            return;
        }
        let mut bytes: usize = batch.iter().map(|(message, _)| message.payload_len()).sum();
        let mut ends: Option<Instant> = None;
        while batch.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
            // What was fetched is taken without looking at the clock each time.
            let is_looking = batch.len().is_multiple_of(LOOK_EVERY);
            let at_once = ends.and_then(|_| self.poll(consumer, Duration::ZERO));
            let is_fetched = at_once.is_some();
            let polled = at_once.or_else(|| {
                let left = |ends: Instant| ends.saturating_duration_since(Instant::now()).min(POLL_MAX);
                self.poll(consumer, ends.map_or(POLL_MAX, left))
            });
            if let Some(polled) = polled {
                bytes += polled.0.payload_len();
                batch.push(polled);
                ends.get_or_insert_with(|| Instant::now() + linger);
            }
            if (is_looking || !is_fetched) && ends.is_none_or(|ends| Instant::now() >= ends) {
                return;
            }
        }
    }

    /// Asks the brokers where partitions end, now and then: for while nothing is fetched.
    fn tell_lag(&mut self, consumer: &BaseConsumer<Context>) {
        if self.lag_told.is_some_and(|told| told.elapsed() < LAG_EVERY) {
            return;
        }
        self.lag_told = Some(Instant::now());
        let partitions: Vec<_> = self.shared.positions.lock().iter().cloned().collect();
        for id in partitions {
            match consumer.fetch_watermarks(&id.topic, id.partition, LAG_WAIT) {
                Ok((first, end)) => {
                    let next = self.shared.positions.lock().ended(&id);
                    self.shared.set_lag(&id, next.unwrap_or(first), end);
                }
                // The brokers are away; the next time will do.
                Err(_) => return,
            }
        }
    }

    fn poll<'c>(&self, consumer: &'c BaseConsumer<Context>, wait: Duration) -> Option<Polled<'c>> {
        match consumer.poll(wait)? {
            Ok(message) => Some((message, self.shared.positions.lock().generation())),
            Err(error) => {
                self.shared.target.door.metrics.kafka.errors.inc();
                tracing::warn!(%error, "Kafka");
                None
            }
        }
    }

    fn pause_or_resume(&mut self, consumer: &BaseConsumer<Context>) {
        let full = self.shared.target.shard.is_full();
        let wanted = full.then(|| self.shared.positions.lock().generation());
        if wanted == self.paused {
            return;
        }
        let Ok(assigned) = consumer.assignment() else { return };
        let done = if full { consumer.pause(&assigned) } else { consumer.resume(&assigned) };
        match done {
            Ok(()) => {
                self.paused = wanted;
                self.shared.target.door.metrics.kafka.paused.set(i64::from(full));
                tracing::info!(paused = full, "the head is full or has room again");
            }
            Err(error) => tracing::warn!(%error, "partitions could not be paused or resumed"),
        }
    }

    /// Mirrors committed positions into the group, and goes back where another process took a partition over.
    fn take_news(&self, consumer: &BaseConsumer<Context>) {
        let news = std::mem::take(&mut *self.shared.news.lock());
        for news in news {
            match news {
                SourceNews::Committed(steps) => {
                    let mut list = TopicPartitionList::new();
                    for step in steps {
                        if let Some(id) = parse_app_id(&self.shared.config.group, &step.app_id) {
                            let _ = list.add_partition_offset(&id.topic, id.partition, Offset::Offset(step.to));
                        }
                    }
                    if list.count() > 0 && consumer.commit(&list, CommitMode::Async).is_err() {
                        tracing::debug!("the group's offsets could not be mirrored; the table's own record counts");
                    }
                }
                SourceNews::Fenced { app_id, recorded } => {
                    let Some(id) = parse_app_id(&self.shared.config.group, &app_id) else { continue };
                    if !self.shared.positions.lock().is_assigned(&id) {
                        continue;
                    }
                    self.shared.positions.lock().assign(id.clone(), recorded);
                    let begin = recorded.map_or(Offset::Beginning, Offset::Offset);
                    if let Err(error) = consumer.seek(&id.topic, id.partition, begin, WATERMARK_WAIT) {
                        tracing::error!(%error, topic = id.topic, partition = id.partition, "cannot go back to the table's position");
                    }
                }
            }
        }
    }

    fn hand_over(&mut self, batch: &[Polled<'_>]) {
        let mut by_partition: HashMap<(&str, i32), Vec<&Polled<'_>>> = HashMap::new();
        for polled in batch {
            by_partition.entry((polled.0.topic(), polled.0.partition())).or_default().push(polled);
        }
        for ((topic, partition), polled) in by_partition {
            let id = PartitionId { topic: topic.to_owned(), partition };
            // What was polled before the partition was assigned to us anew comes again; what is not ours is others'.
            let Some(since) = self.shared.positions.lock().assigned_in(&id) else { continue };
            let ours = polled.into_iter().filter(|(_, generation)| *generation >= since);
            let messages: Vec<&BorrowedMessage<'_>> = ours.map(|(message, _)| message).collect();
            self.hand_over_partition(&id, &messages);
        }
    }

    fn hand_over_partition(&mut self, id: &PartitionId, messages: &[&BorrowedMessage<'_>]) {
        let Some(last) = messages.last().map(|message| message.offset()) else { return };
        let Some(step) = self.shared.positions.lock().step(id, last) else { return };
        let Some(mapping) = self.mappings.iter().position(|mapping| mapping.is_for(&id.topic)) else {
            tracing::error!(topic = id.topic, "records of a topic that no entry of kafka.topics names");
            return;
        };
        let target = &self.shared.target;
        let door = &target.door;
        let headers = self.mappings[mapping].reads_headers();
        let records: Vec<Record<'_>> = messages.iter().map(|message| record_of(message, headers)).collect();
        let decoded = surely(&records, |records| {
            decode(&self.mappings[mapping], records, &door.limits, &door.gates, door.clock.now())
        });
        door.metrics.panics.inc_by(decoded.panics);
        let kafka = &door.metrics.kafka;
        let bytes: usize = records.iter().map(|record| record.payload.len()).sum();
        kafka.records.with_label_values(&[&id.topic]).inc_by(records.len() as u64);
        kafka.bytes.with_label_values(&[&id.topic]).inc_by(bytes as u64);
        for (tenant, taken) in &decoded.taken {
            count_taken(&door.metrics, tenant, *taken);
        }
        for (tenant, discards) in &decoded.discards {
            count_discards(&door.metrics, tenant, discards);
        }
        if !decoded.rejected.is_empty() {
            // A letter is the record as it was.
            let whole: Vec<Record<'_>> =
                decoded.rejected.iter().map(|rejected| record_of(messages[rejected.at], true)).collect();
            let reasons = decoded.rejected.iter().map(|rejected| rejected.reason.as_str());
            self.reject(mapping, id, &whole.iter().zip(reasons).collect::<Vec<_>>());
        }
        match self.shared.target.shard.append_source(step.clone(), decoded.batches) {
            Ok(_) => self.shared.positions.lock().taken(id, &step),
            Err(error) => {
                tracing::error!(%error, topic = id.topic, partition = id.partition, "rows could not be taken; reading them again");
                let recorded = self.shared.recorded(id);
                self.shared.news.lock().push(SourceNews::Fenced { app_id: step.app_id, recorded });
            }
        }
    }

    fn reject(&mut self, mapping: usize, id: &PartitionId, letters: &[(&Record<'_>, &str)]) {
        let kafka = &self.shared.target.door.metrics.kafka;
        kafka.rejected.with_label_values(&[&id.topic]).inc_by(letters.len() as u64);
        let due = self.sampled.get(&id.topic).is_none_or(|last| last.elapsed() >= SAMPLE_EVERY);
        if let Some((record, reason)) = letters.first().filter(|_| due) {
            self.sampled.insert(id.topic.clone(), Instant::now());
            let start: String = String::from_utf8_lossy(record.payload).chars().take(80).collect();
            tracing::warn!(
                topic = id.topic,
                partition = id.partition,
                offset = record.offset,
                reason,
                record = start,
                count = letters.len(),
                "records became nothing"
            );
        }
        let to = self.mappings[mapping].dead_letter_topic.as_deref();
        if let (Some(dead_letters), Some(to)) = (&self.dead_letters, to) {
            let arrived = self.shared.runtime.block_on(dead_letters.send(to, letters));
            kafka.dead_letters.with_label_values(&["sent"]).inc_by(arrived as u64);
            kafka.dead_letters.with_label_values(&["failed"]).inc_by((letters.len() - arrived) as u64);
        }
    }
}

/// A message as the mapping reads it. To look for headers takes as long as all the rest, so it is done where they matter.
pub(super) fn record_of<'m>(message: &'m BorrowedMessage<'_>, with_headers: bool) -> Record<'m> {
    let headers = with_headers.then(|| message.headers()).flatten().map(|headers| {
        headers.iter().filter_map(|header| header.value.map(|value| (header.key, value))).collect::<Vec<_>>()
    });
    Record {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key(),
        payload: message.payload().unwrap_or_default(),
        headers: headers.unwrap_or_default(),
        timestamp_ms: message.timestamp().to_millis(),
    }
}

/// Where the consumer begins: subscribed, not yet assigned.
pub(super) fn subscribe(consumer: &BaseConsumer<Context>, config: &KafkaConfig) -> Result<(), KafkaError> {
    let names: Vec<String> = config.topics.iter().map(super::settings::TopicConfig::subscription).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    consumer.subscribe(&names).map_err(KafkaError::client)
}
