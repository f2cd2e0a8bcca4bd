//! The flush loop: sealed heads become files, one commit each.

use std::sync::Arc;
use std::time::Duration;

use object_store::{ObjectStore, path::Path};
use tokio::sync::{Mutex, Notify};

use crate::files::table::{Table, TableError};
use crate::files::write::{EncodedFile, encode, put};
use crate::files::{DataFile, FilesError};
use crate::head::SealedHead;
use crate::ingest::flush_plan::{FlushReason, decide};
use crate::ingest::shard::Shard;
use crate::types::ids::Lsn;
use crate::types::time::Clock;

/// How often the age of the head is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Pause after a flush that failed; the rows stay queryable and in the log meanwhile.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Turns heads into files.
pub struct Flusher {
    shard: Arc<Shard>,
    table: Arc<Table>,
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// Key of this log's `txn` in the table.
    app_id: String,
    clock: Clock,
    on_flush: Box<dyn Fn(&FlushReport) + Send + Sync>,
    /// Last record of the flush before: the log keeps one head's worth more, to know repeats after a restart.
    flushed_before: Mutex<Lsn>,
    /// Heads sealed and not yet committed, oldest first; holding it means flushing.
    pending: Mutex<Vec<Arc<SealedHead>>>,
}

/// What one flush did.
#[derive(Debug, Clone)]
pub struct FlushReport {
    pub reason: FlushReason,
    pub rows: usize,
    /// Arrow bytes before, Parquet bytes after.
    pub head_bytes: usize,
    pub file_bytes: u64,
    pub files: usize,
    pub seconds: f64,
}

/// Why rows did not become files; they are still in the head and in the log.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    #[error("{0}")]
    Files(#[from] FilesError),
    #[error("{0}")]
    Table(#[from] TableError),
    #[error("encoding stopped: {0}")]
    Stopped(#[from] tokio::task::JoinError),
}

impl Flusher {
    /// `flushed` is the last record that the table has.
    #[expect(clippy::too_many_arguments, reason = "built once, at start; each is a part of its own")]
    pub fn new(
        shard: Arc<Shard>,
        table: Arc<Table>,
        store: Arc<dyn ObjectStore>,
        root: Path,
        app_id: String,
        flushed: Lsn,
        clock: Clock,
        on_flush: Box<dyn Fn(&FlushReport) + Send + Sync>,
    ) -> Self {
        Flusher {
            shard,
            table,
            store,
            root,
            app_id,
            clock,
            on_flush,
            flushed_before: Mutex::new(flushed),
            pending: Mutex::new(Vec::new()),
        }
    }

    /// Flushes when due until `stop` is rung.
    pub async fn run(&self, stop: Arc<Notify>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.notified() => return,
                _ = tick.tick() => {}
                () = self.shard.flush_due.notified() => {}
            }
            let stats = self.shard.catalog().head_stats();
            let Some(reason) = decide(self.clock.now(), &stats, self.shard.limits()) else {
                if self.pending.lock().await.is_empty() {
                    continue;
                }
                self.try_flush(FlushReason::Asked, false).await;
                continue;
            };
            self.try_flush(reason, true).await;
        }
    }

    /// Flushes all that is in the head now.
    pub async fn flush(&self, reason: FlushReason) -> Result<(), FlushError> {
        self.flush_inner(reason, true).await
    }

    async fn try_flush(&self, reason: FlushReason, seal: bool) {
        if let Err(error) = self.flush_inner(reason, seal).await {
            tracing::error!(%error, "flush failed; the rows stay in memory and in the log, trying again");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn flush_inner(&self, reason: FlushReason, seal: bool) -> Result<(), FlushError> {
        let mut pending = self.pending.lock().await;
        if seal && let Some(sealed) = self.shard.catalog().seal() {
            pending.push(sealed);
            self.shard.room.notify_waiters();
        }
        while let Some(sealed) = pending.first().cloned() {
            let started = self.clock.now();
            let files = self.write(&sealed).await?;
            let report = FlushReport {
                reason,
                rows: sealed.rows,
                head_bytes: sealed.bytes,
                file_bytes: files.iter().map(|file| file.bytes).sum(),
                files: files.len(),
                seconds: (self.clock.now().0 - started.0) as f64 / 1e9,
            };
            self.shard.catalog().flushed(&sealed, files);
            pending.remove(0);
            self.shard.room.notify_waiters();
            self.forget_log(sealed.last_lsn).await;
            (self.on_flush)(&report);
        }
        Ok(())
    }

    async fn write(&self, sealed: &Arc<SealedHead>) -> Result<Vec<DataFile>, FlushError> {
        let mut files = Vec::new();
        for (tenant, parts) in &sealed.tenants {
            let tenant = tenant.clone();
            let batches: Vec<_> = parts.iter().map(|part| part.rows().clone()).collect();
            let streams = self.shard.catalog().streams().tenant(&tenant);
            let encoded: Vec<EncodedFile> = tokio::task::spawn_blocking(move || {
                encode(&tenant, &streams, &batches, || uuid::Uuid::new_v4().to_string())
            })
            .await??;
            for file in encoded {
                files.push(put(&*self.store, &self.root, file).await?);
            }
        }
        let txn = (self.app_id.clone(), i64::try_from(sealed.last_lsn.0).unwrap_or(i64::MAX));
        self.table.commit(&files, &[], &[txn], "WRITE").await?;
        Ok(files)
    }

    /// Drops log segments that neither replay nor the memory of repeats needs.
    async fn forget_log(&self, flushed: Lsn) {
        let mut before = self.flushed_before.lock().await;
        let through = std::mem::replace(&mut *before, flushed);
        if let Err(error) = self.shard.wal().truncate_through(through) {
            tracing::warn!(%error, "old log segments could not be removed; they are removed after the next flush");
        }
    }
}
