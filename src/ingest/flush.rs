//! The flush loop: sealed heads become files, one commit each.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::{ObjectStore, path::Path};
use tokio::sync::{Mutex, Notify};

use crate::failpoint;
use crate::files::fields::LineLayout;
use crate::files::table::{OPERATION_WRITE, Table, TableError};
use crate::files::write::{EncodedFile, encode, put};
use crate::files::{DataFile, FilesError};
use crate::head::SealedHead;
use crate::ingest::flush_plan::{FlushReason, decide};
use crate::ingest::shard::Shard;
use crate::types::ids::Lsn;
use crate::types::time::Clock;
use crate::types::txn::{After, TxnStep};
use crate::wal::WalError;

/// How often the age of the head is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long the log keeps what a flush wrote: a newest commit that turns out damaged is made anew from it.
const LOG_KEPT: Duration = Duration::from_secs(10);
/// Pause after a flush that failed; the rows stay queryable and in the log meanwhile.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Turns heads into files.
pub struct Flusher {
    shard: Arc<Shard>,
    table: Arc<Table>,
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// Key of this log's `txn` in the table.
    app_id: Arc<str>,
    /// How files keep lines.
    layout: LineLayout,
    clock: Clock,
    on_flush: Box<dyn Fn(&FlushReport) + Send + Sync>,
    state: Mutex<State>,
    /// Held from reading others' commits until the catalog shows them.
    following: Mutex<()>,
    listeners: parking_lot::Mutex<Vec<Listener>>,
}

/// Told of what happened to the steps of sources.
type Listener = Box<dyn Fn(&SourceNews) + Send + Sync>;

/// What became of sources that change hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceNews {
    /// The rows up to these positions are in the table.
    Committed(Vec<TxnStep>),
    /// Another process took the source over and stands at `recorded`; what was read of it here is dropped.
    Fenced { app_id: Arc<str>, recorded: Option<i64> },
}

/// Holding it means flushing.
#[derive(Debug)]
struct State {
    /// Last record that the table has.
    flushed: Lsn,
    /// Since when the log is kept though the table has its records; none when it is not.
    kept_since: Option<Instant>,
    /// Files of the oldest sealed head that are written and not known to be committed.
    written: Option<Written>,
}

#[derive(Debug)]
struct Written {
    head: Arc<SealedHead>,
    files: Vec<DataFile>,
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
    #[error("write-ahead log: {0}")]
    Log(#[from] WalError),
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
        layout: LineLayout,
        flushed: Lsn,
        clock: Clock,
        on_flush: Box<dyn Fn(&FlushReport) + Send + Sync>,
    ) -> Self {
        Flusher {
            shard,
            table,
            store,
            root,
            app_id: app_id.into(),
            layout,
            clock,
            on_flush,
            state: Mutex::new(State { flushed, kept_since: Some(Instant::now()), written: None }),
            following: Mutex::new(()),
            listeners: parking_lot::Mutex::new(Vec::new()),
        }
    }

    /// Calls `listener` with what becomes of sources, from now on.
    pub fn on_sources(&self, listener: impl Fn(&SourceNews) + Send + Sync + 'static) {
        self.listeners.lock().push(Box::new(listener));
    }

    /// Makes what other processes committed visible here.
    ///
    /// Answers the version that the catalog shows at least: see [`Table::replace`].
    pub async fn follow(&self) -> Result<u64, TableError> {
        let _turn = self.following.lock().await;
        let (version, changes) = self.table.refresh_to().await?;
        for change in changes {
            self.shard.catalog().apply(change, self.clock.now());
        }
        Ok(version)
    }

    /// How far a source has come in the table, as of the last [`Flusher::follow`] or commit.
    pub async fn recorded(&self, app_id: &str) -> Option<i64> {
        self.table.recorded(app_id).await
    }

    /// Forgets what was read of a source and is in no file, after the flush under way, if there is one.
    pub async fn drop_source(&self, app_id: &str) {
        let mut state = self.state.lock().await;
        self.shard.catalog().drop_source(app_id);
        state.written = None;
    }

    /// The name under which this log's position is kept in the table.
    pub fn log_identity(&self) -> &str {
        &self.app_id
    }

    /// Makes the log end its life before `lsn`: rows up to there become files, and their segments are removed.
    /// Answers whether none is left; if not, try again later. Repeats of these rows are not known after a restart.
    pub async fn cut_log_through(&self, lsn: Lsn) -> Result<bool, FlushError> {
        let wal = self.shard.wal();
        if wal.first_kept()? > lsn {
            return Ok(true);
        }
        // A new segment first: what comes during the flush goes there.
        wal.truncate_through(Lsn(0))?;
        self.flush_inner(FlushReason::Asked, true).await?;
        let state = self.state.lock().await;
        wal.truncate_through(state.flushed)?;
        Ok(wal.first_kept()? > lsn)
    }

    /// Runs `work` while no flush is under way. It is given the paths of files that are written and not committed yet.
    pub async fn between_flushes<T>(&self, work: impl AsyncFnOnce(&HashSet<String>) -> T) -> T {
        let state = self.state.lock().await;
        let written = state.written.iter().flat_map(|written| &written.files);
        work(&written.map(|file| file.path.clone()).collect()).await
    }

    /// Flushes when due, and follows other processes at this interval if there are any, until `stop` is rung.
    pub async fn run(&self, follow_interval: Option<Duration>, stop: Arc<Notify>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut follow = tokio::time::interval(follow_interval.unwrap_or(TICK));
        follow.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.notified() => return,
                _ = follow.tick(), if follow_interval.is_some() => {
                    if let Err(error) = self.follow().await {
                        tracing::warn!(%error, "commits of other processes cannot be read; trying again");
                    }
                    continue;
                }
                _ = tick.tick() => self.forget_kept_log(),
                () = self.shard.flush_due.notified() => {}
            }
            let stats = self.shard.catalog().head_stats();
            match decide(self.clock.now(), &stats, self.shard.limits()) {
                Some(reason) => self.try_flush(reason, true).await,
                None if !self.shard.catalog().sealed().is_empty() => self.try_flush(FlushReason::Asked, false).await,
                None => {}
            }
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
        let mut state = self.state.lock().await;
        if seal && self.shard.catalog().seal().is_some() {
            self.shard.room.notify_waiters();
        }
        while let Some(head) = self.shard.catalog().sealed().into_iter().next() {
            let started = self.clock.now();
            let files = match state.written.take() {
                Some(written) if Arc::ptr_eq(&written.head, &head) => written.files,
                _ => self.write(&head).await?,
            };
            failpoint::hit("flush.written");
            state.written = Some(Written { head: head.clone(), files: files.clone() });
            if let Outcome::Fenced { app_id, recorded } = self.commit(&head, &files, state.flushed).await? {
                tracing::warn!(
                    app_id,
                    ?recorded,
                    "another process took a source over; what was read of it here is dropped"
                );
                self.shard.catalog().drop_source(&app_id);
                state.written = None;
                self.tell(&SourceNews::Fenced { app_id: app_id.into(), recorded });
                continue;
            }
            state.written = None;
            failpoint::hit("flush.committed");
            let report = FlushReport {
                reason,
                rows: head.rows,
                head_bytes: head.bytes,
                file_bytes: files.iter().map(|file| file.bytes).sum(),
                files: files.len(),
                seconds: (self.clock.now().0 - started.0) as f64 / 1e9,
            };
            self.shard.catalog().flushed(&head, files);
            self.shard.room.notify_waiters();
            self.forget_log(&mut state, head.last_lsn);
            (self.on_flush)(&report);
            if !head.steps.is_empty() {
                self.tell(&SourceNews::Committed(head.steps.clone()));
            }
        }
        Ok(())
    }

    fn tell(&self, news: &SourceNews) {
        self.listeners.lock().iter().for_each(|listener| listener(news));
    }

    /// One commit for all files of a head and for how far its sources came.
    async fn commit(&self, head: &SealedHead, files: &[DataFile], flushed: Lsn) -> Result<Outcome, FlushError> {
        let mut steps = head.steps.clone();
        if head.last_lsn > flushed {
            let to = head.last_lsn.position();
            steps.push(TxnStep { app_id: self.app_id.clone(), after: After::AnyLower, to });
        }
        if files.is_empty() && steps.is_empty() {
            return Ok(Outcome::Landed);
        }
        match self.table.commit(files, &[], &steps, OPERATION_WRITE).await {
            Ok(_) => Ok(Outcome::Landed),
            Err(TableError::Fenced { app_id, recorded, .. }) => Ok(Outcome::Fenced { app_id, recorded }),
            Err(TableError::AlreadyCommitted { app_id, asked, recorded, recorded_at }) => {
                // An earlier attempt landed without our hearing of it, or another process did the same work.
                let landed = match recorded_at {
                    Some(version) => self.table.added_at(version).await?,
                    None => Vec::new(),
                };
                if files.iter().all(|file| landed.iter().any(|other| other.path == file.path)) {
                    Ok(Outcome::Landed)
                } else if app_id == *self.app_id {
                    Err(TableError::AlreadyCommitted { app_id, asked, recorded, recorded_at }.into())
                } else {
                    Ok(Outcome::Fenced { app_id, recorded: Some(recorded) })
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn write(&self, sealed: &Arc<SealedHead>) -> Result<Vec<DataFile>, FlushError> {
        let mut files = Vec::new();
        for (tenant, parts) in &sealed.tenants {
            let tenant = tenant.clone();
            let batches: Vec<_> = parts.iter().map(|part| part.rows().clone()).collect();
            let streams = self.shard.catalog().streams().tenant(&tenant);
            let (seq, layout) = (sealed.seq, self.layout);
            let encoded: Vec<EncodedFile> = tokio::task::spawn_blocking(move || {
                encode(&tenant, &streams, &batches, seq, layout, || uuid::Uuid::new_v4().to_string())
            })
            .await??;
            for file in encoded {
                files.push(put(&*self.store, &self.root, file).await?);
            }
        }
        Ok(files)
    }

    /// Drops log segments of the flush before this one, and those of this one a while later.
    fn forget_log(&self, state: &mut State, flushed: Lsn) {
        if flushed <= state.flushed {
            return;
        }
        let before = std::mem::replace(&mut state.flushed, flushed);
        state.kept_since = Some(Instant::now());
        self.truncate_log(before);
    }

    /// Drops log segments that were kept long enough. What repeats their rows is known by the files.
    fn forget_kept_log(&self) {
        // During a flush the next tick will do.
        let Ok(mut state) = self.state.try_lock() else { return };
        if state.kept_since.is_some_and(|since| since.elapsed() >= LOG_KEPT) {
            state.kept_since = None;
            self.truncate_log(state.flushed);
        }
    }

    fn truncate_log(&self, through: Lsn) {
        if let Err(error) = self.shard.wal().truncate_through(through) {
            tracing::warn!(%error, "old log segments could not be removed; they are removed after the next flush");
        }
    }
}

/// What became of a commit.
enum Outcome {
    Landed,
    /// A source stands elsewhere than this head has it.
    Fenced {
        app_id: String,
        recorded: Option<i64>,
    },
}
