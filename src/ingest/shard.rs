//! The single writer: a batch goes to the log, then to the head, then is acknowledged.
//!
//! ```text
//! push ─▶ rows, hashes ─▶ Wal::append ═(group, fsync)═▶ Catalog::append ─▶ ack
//!                                                            │ size or age
//!                                      flush loop: seal ─▶ encode ─▶ put ─▶ Table::commit(txn = lsn) ─▶ Catalog::flushed
//! ```
//!
//! Invariants: a record is in the head exactly when it is durable; a commit names the last record it
//! holds, so that a restart replays what follows and nothing else.
//! Errors: [`IngestError`]; nothing of a refused batch is kept.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{Int64Type, UInt32Type};
use tokio::sync::Notify;

use crate::catalog::{Arrival, Catalog};
use crate::head::{SourceGap, row_hashes};
use crate::ingest::arrivals::{Arrivals, Arrived, Origin};
use crate::ingest::flush_plan::FlushLimits;
use crate::streams::TenantStreams;
use crate::types::batch::LogBatch;
use crate::types::ids::{Lsn, TenantId};
use crate::types::rows::row_batch;
use crate::types::time::Clock;
use crate::types::txn::TxnStep;
use crate::wal::{Wal, WalError};

/// How long a push waits for a full head to be flushed before it is refused.
const HEAD_ROOM_WAIT: Duration = Duration::from_secs(10);
/// How often a push that waits for the watcher of rows looks again.
const WATCHER_PAUSE: Duration = Duration::from_millis(5);
/// Rows that are in no file yet, as a multiple of a head's bytes: the open head, and what waits for a slow store.
const HEADS_MAX: usize = 3;

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("the head is full and flushing is behind; retry later")]
    HeadFull,
    #[error("the rules are behind the rows; retry later")]
    RulesBehind,
    #[error("write-ahead log: {0}")]
    Wal(#[from] WalError),
    #[error("columns: {0}")]
    Columns(#[from] arrow::error::ArrowError),
    #[error(transparent)]
    Gap(#[from] SourceGap),
    #[error("{0}")]
    Batch(String),
}

/// Takes batches for all tenants. Share it behind an `Arc`.
pub struct Shard {
    wal: Wal<Arrival>,
    catalog: Arc<Catalog>,
    limits: FlushLimits,
    clock: Clock,
    arrivals: Arrivals,
    /// Rung when the head may be due for a flush.
    pub(super) flush_due: Arc<Notify>,
    /// Rung when a flush made room.
    pub(super) room: Arc<Notify>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What a WAL group does once durable: into the head, and a look at its size.
pub fn apply_to(
    catalog: Arc<Catalog>,
    clock: Clock,
    limits: FlushLimits,
    flush_due: Arc<Notify>,
    arrivals: Arrivals,
) -> impl FnMut(Vec<(Lsn, Arrival)>) + Send + 'static {
    move |group| {
        let kept = catalog.append(group, clock.now());
        if arrivals.has_listeners() {
            let arrived = kept.into_iter().map(|(lsn, tenant, rows)| Arrived { tenant, rows, from: Origin::Log(lsn) });
            arrivals.publish(&arrived.collect::<Vec<_>>());
        }
        if catalog.head_stats().bytes >= limits.bytes_max {
            flush_due.notify_one();
        }
    }
}

impl Shard {
    pub fn new(
        wal: Wal<Arrival>,
        catalog: Arc<Catalog>,
        limits: FlushLimits,
        clock: Clock,
        flush_due: Arc<Notify>,
        arrivals: Arrivals,
    ) -> Self {
        Shard { wal, catalog, limits, clock, arrivals, flush_due, room: Arc::new(Notify::new()) }
    }

    /// Makes a batch durable and visible.
    ///
    /// Cancellation: once the log has the batch it becomes visible even if the caller is gone.
    pub async fn push(&self, tenant: &TenantId, batch: LogBatch) -> Result<(), IngestError> {
        self.wait_for_room().await?;
        let streams = self.catalog.streams().tenant(tenant);
        let tenant = tenant.clone();
        let (payload, arrival) = tokio::task::spawn_blocking(move || prepare(&tenant, &batch, &streams))
            .await
            .map_err(|e| IngestError::Batch(format!("preparing the batch failed: {e}")))??;
        self.wal.append(payload, arrival).await?;
        Ok(())
    }

    /// Makes rows of a source visible with its position; they become durable with their flush. CPU-bound.
    ///
    /// The caller looks at [`Shard::is_full`] first: sources can wait, their rows are kept where they come from.
    pub fn append_source(&self, step: TxnStep, batches: Vec<(TenantId, LogBatch)>) -> Result<usize, IngestError> {
        let mut rows = Vec::with_capacity(batches.len());
        for (tenant, batch) in batches {
            let of_batch = rows_of(&batch, &self.catalog.streams().tenant(&tenant))?;
            rows.push((tenant, of_batch));
        }
        let told: Vec<Arrived> = if self.arrivals.has_listeners() {
            let with_rows = rows.iter().filter(|(_, rows)| rows.num_rows() > 0);
            let arrived = |(tenant, rows): &(TenantId, RecordBatch)| Arrived {
                tenant: tenant.clone(),
                rows: rows.clone(),
                from: Origin::Source(step.clone()),
            };
            with_rows.map(arrived).collect()
        } else {
            Vec::new()
        };
        let kept = self.catalog.append_source(step, rows, self.clock.now())?;
        self.arrivals.publish(&told);
        if self.catalog.head_stats().bytes >= self.limits.bytes_max {
            self.flush_due.notify_one();
        }
        Ok(kept)
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Where to hear of rows as they become visible.
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    pub fn wal(&self) -> &Wal<Arrival> {
        &self.wal
    }

    pub fn limits(&self) -> &FlushLimits {
        &self.limits
    }

    /// Ends the log: what was acknowledged is on disk.
    pub fn close(&self) -> Result<(), IngestError> {
        Ok(self.wal.close()?)
    }

    async fn wait_for_room(&self) -> Result<(), IngestError> {
        let waiting = async {
            loop {
                let room = self.room.notified();
                if self.catalog.is_watcher_behind() {
                    tokio::time::sleep(WATCHER_PAUSE).await;
                    continue;
                }
                if !self.is_head_full() {
                    return;
                }
                self.flush_due.notify_one();
                room.await;
            }
        };
        tokio::time::timeout(HEAD_ROOM_WAIT, waiting).await.map_err(|_| match self.is_head_full() {
            true => IngestError::HeadFull,
            false => IngestError::RulesBehind,
        })
    }

    /// Whether no more is taken until a flush made room, or the watcher of rows has caught up.
    pub fn is_full(&self) -> bool {
        self.is_head_full() || self.catalog.is_watcher_behind()
    }

    fn is_head_full(&self) -> bool {
        // By bytes and not by heads: while one flush hangs the open head is not sealed, and small heads are no burden.
        let (_, flushing_bytes) = self.catalog.flushing();
        flushing_bytes + self.catalog.head_stats().bytes >= HEADS_MAX * self.limits.bytes_max
    }
}

/// A decoded batch as WAL payload and as rows for the head. CPU-bound.
fn prepare(
    tenant: &TenantId,
    batch: &LogBatch,
    streams: &TenantStreams,
) -> Result<(bytes::Bytes, Arrival), IngestError> {
    let mut payload = Vec::with_capacity(batch.memory_bytes() + 4096);
    batch.encode(tenant, &mut payload).map_err(|e| IngestError::Batch(e.to_string()))?;
    Ok((payload.into(), arrival_of(tenant, batch, streams)?))
}

/// A logged payload as rows for the head: replay.
pub fn replay_payload(
    payload: &[u8],
    tenant_streams: impl Fn(&TenantId) -> Arc<TenantStreams>,
) -> Result<Arrival, IngestError> {
    let (tenant, batch) = LogBatch::decode(payload).map_err(|e| IngestError::Batch(e.to_string()))?;
    arrival_of(&tenant, &batch, &tenant_streams(&tenant))
}

fn arrival_of(tenant: &TenantId, batch: &LogBatch, streams: &TenantStreams) -> Result<Arrival, IngestError> {
    let rows = rows_of(batch, streams)?;
    let hashes = row_hashes(tenant, &rows, |stream| streams.get(crate::streams::StreamRef(stream)));
    Ok(Arrival { tenant: tenant.clone(), rows, hashes })
}

/// The batch with its streams interned.
pub fn rows_of(batch: &LogBatch, streams: &TenantStreams) -> Result<RecordBatch, IngestError> {
    let columns = batch.record_batch();
    let labels = columns.column(1).as_dictionary::<UInt32Type>();
    let refs: Vec<u32> = labels
        .values()
        .as_string::<i32>()
        .iter()
        .map(|json| Ok(streams.intern(json.unwrap_or("{}")).map_err(|e| IngestError::Batch(e.to_string()))?.0))
        .collect::<Result<_, IngestError>>()?;
    let stream: UInt32Array = labels.keys().values().iter().map(|key| refs[*key as usize]).collect();
    Ok(row_batch(
        columns.column(0).as_primitive::<Int64Type>().clone(),
        stream,
        columns.column(2).as_string_view().clone(),
        columns.column(3).as_string_view().clone(),
        columns.column(4).as_map().clone(),
    )?)
}
