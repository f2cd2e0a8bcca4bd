//! The one writer: takes events, appends them to their chains, makes them durable, signs the ends.
//!
//! ```text
//! queue ─▶ (50 ms for company, none when somebody waits) ─▶ repeats merged ─▶ chain by tenant ─▶ Shard::push ─▶ waiters
//!                                                               └ first record since the start: the end is looked up
//! ```
//!
//! Invariant: a record is numbered once; what cannot be stored is tried again until it can, or until the server stops.
//! Cancellation: at a stop what is queued is written; the heads come last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chain::{self, Link};
use super::event::{Event, Kind, merge_repeats, rfc3339};
use super::heads::{self, Heads};
use super::queue::{Audit, Queued, Received};
use super::settings::AuditConfig;
use crate::access::Scope;
use crate::ingest::shard::Shard;
use crate::query::{Direction, Engine, QueryAnswer, QueryKind, QueryRequest};
use crate::telemetry::metrics::Metrics;
use crate::types::audit_stream::{LOGGER, LOGGER_LABEL, SERVICE, SERVICE_LABEL, WRITER_LABEL, audit_stream};
use crate::types::batch::{BatchError, LogBatch, LogBatchBuilder};
use crate::types::ids::TenantId;
use crate::types::time::{Clock, TimeRange, UnixNanos};
use crate::upkeep::deletes::SigningKey;

/// Events written at once.
const BATCH_EVENTS_MAX: usize = 512;
/// How long events wait for company.
const LINGER: Duration = Duration::from_millis(50);
/// Pause before what could not be stored is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long what is queued may take to be stored once the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Records looked at for the end of a chain: those at the very end may be damaged.
const END_RECORDS: usize = 16;
/// How far beyond now the times of a chain may be: clocks are set back.
const AHEAD_NS: i64 = 366 * 86_400 * 1_000_000_000;

/// What the writer works with.
pub struct WriterParts {
    pub config: AuditConfig,
    pub shard: Arc<Shard>,
    pub engine: Engine,
    /// Where the heads are kept: that of the table.
    pub objects: Arc<dyn ObjectStore>,
    pub root: Path,
    /// The identity of the write-ahead log.
    pub log_identity: String,
    /// Where records lie that belong to no tenant that is there.
    pub server_tenant: TenantId,
    pub signing_key: SigningKey,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

/// The running writer.
#[derive(Debug)]
pub struct Keeper {
    pub audit: Audit,
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Keeper {
    /// Nothing is recorded.
    pub fn off() -> Keeper {
        Keeper { audit: Audit::off(), stop: CancellationToken::new(), task: None }
    }

    pub fn start(parts: WriterParts) -> Keeper {
        let (audit, received) = Audit::new(&parts.config, parts.metrics.clone(), parts.clock.clone());
        let stop = CancellationToken::new();
        let writer = Writer {
            name: writer_name(&parts.log_identity),
            stop: stop.clone(),
            chains: BTreeMap::new(),
            kept: BTreeMap::new(),
            lost: received.lost.clone(),
            parts,
        };
        let task = tokio::spawn(writer.run(received));
        Keeper { audit, stop, task: Some(task) }
    }

    /// Ends once what is queued is written.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Some(task) = self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the writer of the audit trail stopped");
        }
    }
}

/// The name of a process's chains: short, the same after a restart.
fn writer_name(log_identity: &str) -> String {
    let id = log_identity.rsplit("wal-").next().unwrap_or(log_identity);
    id.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
}

struct Writer {
    parts: WriterParts,
    name: String,
    stop: CancellationToken,
    /// Ends of the chains that records were appended to since the start, or whose heads are known.
    chains: BTreeMap<TenantId, Link>,
    /// The ends as they were last kept, by tenant.
    kept: BTreeMap<String, Link>,
    lost: Arc<AtomicU64>,
}

/// A line on its way into a chain's stream.
struct Line {
    at: UnixNanos,
    level: &'static str,
    text: String,
}

type Waiters = Vec<oneshot::Sender<()>>;

impl Writer {
    async fn run(mut self, mut received: Received) {
        self.kept = self.kept_heads().await;
        let mut ticks = tokio::time::interval(self.parts.config.heads_interval.to_std());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_EVENTS_MAX);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled(), if !received.queued.is_closed() => received.queued.close(),
                events = received.queued.recv_many(&mut batch, BATCH_EVENTS_MAX) => {
                    if events == 0 {
                        break;
                    }
                    linger(&mut batch, &mut received).await;
                    self.write(std::mem::take(&mut batch)).await;
                }
                _ = ticks.tick() => self.keep_heads().await,
            }
        }
        self.keep_heads().await;
    }

    async fn write(&mut self, batch: Vec<Queued>) {
        let at = batch.first().map_or_else(|| self.parts.clock.now(), |queued| queued.at);
        let events = batch.into_iter().map(|queued| (queued.event, (queued.at, queued.durable))).collect();
        let mut events =
            merge_repeats(events, |(_, waiters): &mut (UnixNanos, Waiters), (_, more)| waiters.extend(more));
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(records = lost, "the audit trail lost records of questions: its queue was full");
            let event = Event { kind: Kind::Lost, who: "millrace".to_owned(), count: lost, ..Event::default() };
            events.insert(0, (event, (at, Waiters::new())));
        }
        let mut lines: BTreeMap<TenantId, Vec<Line>> = BTreeMap::new();
        let mut waiting = Waiters::new();
        let mut is_new = false;
        for (event, (at, waiters)) in events {
            let mut is_placed = true;
            for tenant in self.chains_of(&event) {
                is_new |= !self.chains.contains_key(&tenant);
                match self.chain(&tenant).await {
                    Some(mut link) => {
                        let (at, text) = link.append(&self.name, &event, at);
                        self.chains.insert(tenant.clone(), link);
                        lines.entry(tenant).or_default().push(Line { at, level: event.kind.level(), text });
                    }
                    None => is_placed = false,
                }
            }
            self.parts.metrics.audit.records.with_label_values(&[event.kind.as_str()]).inc();
            // Those who wait for what is not in a chain hear that it is lost: their senders are dropped.
            waiting.extend(waiters.into_iter().filter(|_| is_placed));
        }
        for (tenant, lines) in lines {
            if !self.store(&tenant, &lines).await {
                return;
            }
        }
        for waiter in waiting {
            // Who does not wait any more was told that nothing is done.
            let _ = waiter.send(());
        }
        self.show();
        if is_new {
            self.keep_heads().await;
        }
    }

    /// Where records of an event lie: in each tenant acted on that is there, else in the server's.
    fn chains_of(&self, event: &Event) -> Vec<TenantId> {
        let mut tenants: Vec<TenantId> = Vec::with_capacity(1);
        for tenant in &event.tenants {
            let tenant = if self.is_there(tenant) { tenant } else { &self.parts.server_tenant };
            if !tenants.contains(tenant) {
                tenants.push(tenant.clone());
            }
        }
        if tenants.is_empty() {
            tenants.push(self.parts.server_tenant.clone());
        }
        tenants
    }

    /// Whoever names a tenant in a request must not make it by that.
    fn is_there(&self, tenant: &TenantId) -> bool {
        if self.chains.contains_key(tenant) || *tenant == self.parts.server_tenant {
            return true;
        }
        let snapshot = self.parts.shard.catalog().snapshot(tenant, TimeRange::ALL);
        !snapshot.parts.is_empty() || !snapshot.files.is_empty()
    }

    /// The end of a tenant's chain; none when the server stops before it could be read.
    async fn chain(&self, tenant: &TenantId) -> Option<Link> {
        if let Some(link) = self.chains.get(tenant) {
            return Some(link.clone());
        }
        loop {
            match self.stored_end(tenant).await {
                Ok(stored) => return Some(self.agreed(tenant, stored)),
                Err(error) => {
                    tracing::error!(%error, %tenant, "the end of the audit trail cannot be read; trying again");
                    self.parts.metrics.audit.failures.inc();
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_PAUSE) => {}
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// The end by the rows and by the heads: where rows are gone, the chain goes on after those that are gone, so that
    /// the gap shows.
    fn agreed(&self, tenant: &TenantId, stored: Option<Link>) -> Link {
        let head = self.kept.get(tenant.as_str()).cloned();
        match (stored, head) {
            (None, None) => Link::genesis(&self.name, tenant),
            (Some(stored), None) => stored,
            (stored, Some(head)) => {
                let stored_seq = stored.as_ref().map_or(0, |link| link.seq);
                if stored_seq < head.seq && !self.is_expired(&head) {
                    tracing::error!(
                        %tenant,
                        kept = head.seq,
                        found = stored_seq,
                        "records at the end of the audit trail are gone: run `millrace audit verify`"
                    );
                    self.parts.metrics.audit.broken_chains.inc();
                }
                stored.filter(|link| link.seq >= head.seq).unwrap_or(head)
            }
        }
    }

    fn is_expired(&self, link: &Link) -> bool {
        let retention = self.parts.config.retention.nanos();
        retention > 0 && link.at_ns < self.parts.clock.now().0.saturating_sub(retention)
    }

    /// The last good record of a chain.
    async fn stored_end(&self, tenant: &TenantId) -> Result<Option<Link>, crate::query::QueryError> {
        let since = self.kept.get(tenant.as_str()).map_or(0, |head| head.at_ns);
        let end = self.parts.clock.now().0.max(since).saturating_add(AHEAD_NS);
        let request = QueryRequest {
            scope: Scope::of_server(tenant.clone()),
            text: format!(
                "{{{SERVICE_LABEL}=\"{SERVICE}\", {LOGGER_LABEL}=\"{LOGGER}\", {WRITER_LABEL}=\"{}\"}}",
                self.name
            ),
            kind: QueryKind::Range { start: UnixNanos(since), end: UnixNanos(end), step_ns: 1, interval_ns: 0 },
            limit: END_RECORDS,
            direction: Direction::Backward,
            categorize: true,
            splitting: None,
            series_max: 0,
            timeout: self.parts.engine.timeout(),
        };
        let (answer, _) = self.parts.engine.query(request).await?;
        let QueryAnswer::Streams(streams) = answer else { return Ok(None) };
        let entries = streams.into_iter().flat_map(|stream| stream.entries);
        let good = entries.filter_map(|entry| chain::open(&entry.line).ok().map(|opened| opened.link));
        Ok(good.max_by_key(|link| link.seq))
    }

    /// Makes lines durable; false when the server stops before that is possible.
    async fn store(&self, tenant: &TenantId, lines: &[Line]) -> bool {
        let batch = match self.batch(lines) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, %tenant, "audit records are no rows: a defect");
                return false;
            }
        };
        let mut reported = false;
        let mut give_up: Option<Instant> = None;
        loop {
            let Err(error) = self.parts.shard.push(tenant, batch.clone()).await else { return true };
            self.parts.metrics.audit.failures.inc();
            if !std::mem::replace(&mut reported, true) {
                tracing::error!(%error, %tenant, "the audit trail cannot be written; waiting");
            }
            if self.stop.is_cancelled() {
                let until = *give_up.get_or_insert_with(|| Instant::now() + STOP_PATIENCE);
                if Instant::now() >= until {
                    tracing::error!(%tenant, records = lines.len(), "audit records were given up: the server stops");
                    return false;
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    fn batch(&self, lines: &[Line]) -> Result<LogBatch, BatchError> {
        let bytes = lines.iter().map(|line| line.text.len()).sum();
        let mut builder = LogBatchBuilder::with_capacity(bytes);
        let stream = builder.stream(&audit_stream(&self.name));
        for line in lines {
            builder.push(stream, line.at.0, Some(line.level), &line.text, []);
        }
        builder.finish()
    }

    /// The heads of the former life.
    async fn kept_heads(&self) -> BTreeMap<String, Link> {
        let (store, root) = (&self.parts.objects, &self.parts.root);
        match heads::get(store, root, &self.name).await {
            Ok(None) => BTreeMap::new(),
            Ok(Some(signed)) => {
                if signed.public_key != self.parts.signing_key.public_key() {
                    let key = signed.public_key;
                    tracing::warn!(key, "the heads of the audit trail were signed with another key than today's");
                }
                signed.heads.chains
            }
            Err(error) => {
                tracing::error!(%error, "the heads of the audit trail are not good: run `millrace audit verify`");
                self.parts.metrics.audit.broken_chains.inc();
                if let Err(error) = heads::set_aside(store, root, &self.name, self.parts.clock.now().0).await {
                    tracing::error!(%error, "they could not be put aside");
                }
                BTreeMap::new()
            }
        }
    }

    /// Signs and keeps the ends that moved, and says them in the log.
    async fn keep_heads(&mut self) {
        let moved: Vec<(&TenantId, &Link)> =
            self.chains.iter().filter(|(tenant, link)| self.kept.get(tenant.as_str()) != Some(link)).collect();
        if moved.is_empty() {
            return;
        }
        let mut chains = self.kept.clone();
        for (tenant, link) in moved {
            tracing::info!(%tenant, writer = self.name, seq = link.seq, hash = link.hash, "end of the audit trail");
            chains.insert(tenant.to_string(), link.clone());
        }
        let heads = Heads::new(&self.name, rfc3339(self.parts.clock.now().0), chains);
        match heads::put(&self.parts.objects, &self.parts.root, &heads, &self.parts.signing_key).await {
            Ok(()) => self.kept = heads.chains,
            Err(error) => {
                tracing::warn!(%error, "the heads of the audit trail could not be kept; trying again");
                self.parts.metrics.audit.failures.inc();
            }
        }
    }

    fn show(&self) {
        for (tenant, link) in &self.chains {
            let seq = i64::try_from(link.seq).unwrap_or(i64::MAX);
            self.parts.metrics.audit.chain_records.with_label_values(&[tenant.as_str(), &self.name]).set(seq);
        }
    }
}

/// Gives others a moment to come along, unless somebody waits for a record.
async fn linger(batch: &mut Vec<Queued>, received: &mut Received) {
    let until = Instant::now() + LINGER;
    while batch.len() < BATCH_EVENTS_MAX && batch.iter().all(|queued| queued.durable.is_empty()) {
        match tokio::time::timeout_at(until, received.queued.recv()).await {
            Ok(Some(queued)) => batch.push(queued),
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_have_short_names() {
        assert_eq!(writer_name("millrace-wal-0f3c2a11-7d8e-4c55-9d1b-5e1f4a1c2b3d"), "0f3c2a11");
        assert_eq!(writer_name("x"), "x");
    }
}
