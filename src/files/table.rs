//! The table's commit log: which files count, and how far each writer has come.
//!
//! ```text
//! commit(add, remove, txns) ─▶ _delta_log/00…42.json      put if absent: the name is the lock
//!                                      │ every CHECKPOINT_COMMITS, in the background
//!                                      ▼
//!                              _delta_log/00…40.checkpoint.parquet ◀─ _last_checkpoint
//! open ─▶ newest checkpoint + later commits ─▶ TableState
//! ```
//!
//! This is a real Delta table at every version (reader 1, writer 2): any Delta engine reads it while
//! Millrace writes. The log is written here rather than by delta-rs because its commits cost more with
//! every live file (docs/decisions/0001-delta-table.md); memory and time of a commit here do not.
//!
//! Invariants:
//! - a version is written once and never changes; versions have no gaps;
//! - a `txn` of an application is taken once: a commit of a step that was taken, or that begins elsewhere than
//!   the table stands, is refused, so a flush that is repeated after a crash lands once;
//! - a file that is removed by one commit is not removed by another: the second gets `Conflict`;
//! - a data file that no commit names does not exist for readers.
//!
//! Errors: [`TableError`]. After `Store` a commit may have landed or not; trying again is safe when it
//! carries a `txn`: it either lands or answers `AlreadyCommitted`.

mod actions;
mod checkpoint;
mod checkpoint_rows;
mod data_file;
mod inspect;
mod log;
mod mend;
pub mod schema;
mod snapshot;
mod sum;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::{ObjectStore, path::Path};
use tokio::sync::Mutex;

use self::actions::{Action, CommitInfo};
use self::log::{Landed, Log};
use crate::types::time::{Clock, UnixNanos};
use crate::types::txn::{Misstep, TxnStep};

pub use self::data_file::DataFile;
pub use self::inspect::{LogDamage, LogObject, LogReport, inspect, quarantine};
pub use self::mend::{correct_commit, mend};
pub use self::schema::TableSchema;
pub use self::snapshot::{TableSeed, TableSnapshot};

/// Commits between checkpoints: a start reads at most about this many small JSON files.
pub const CHECKPOINT_COMMITS: u64 = 100;
/// Versions a commit tries before it gives up: as many other writers landed first meanwhile.
const ATTEMPTS_MAX: usize = 100;

/// Removed files remembered, so that a file that is gone is not removed again. More let a rewrite take longer beside
/// busy other writers.
const REMOVED_MAX: usize = 100_000;

/// New rows.
pub const OPERATION_WRITE: &str = "WRITE";
/// The same rows in other files: followers of the table need not read them again (`dataChange: false`).
pub const OPERATION_OPTIMIZE: &str = "OPTIMIZE";
/// Rows that are gone.
pub const OPERATION_DELETE: &str = "DELETE";

/// An open table. One instance a process; other processes may write the same table.
#[derive(Debug)]
pub struct Table {
    log: Arc<Log>,
    clock: Clock,
    /// Held through a commit: commits of one process do not race each other.
    inner: Mutex<Inner>,
    checkpointing: Arc<AtomicBool>,
}

/// What a commit needs to know: nothing here grows with the number of files.
#[derive(Debug)]
struct Inner {
    version: u64,
    txns: HashMap<String, Txn>,
    /// Commits of other writers, until [`Table::refresh`] hands them over.
    unseen: Vec<Change>,
    /// Version through which commits of others were handed over.
    handed: u64,
    /// Files that commits removed, oldest first, and the version through which they are forgotten.
    removed: VecDeque<(u64, String)>,
    forgotten: u64,
}

/// The last `txn` of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Txn {
    version: i64,
    /// Table version that recorded it; unknown when it was read from a checkpoint.
    recorded_at: Option<u64>,
}

/// The table as it was opened.
#[derive(Debug, Clone)]
pub struct TableState {
    pub version: u64,
    /// Live files, in no order.
    pub files: Vec<DataFile>,
    /// Highest `txn` version by application id.
    pub txns: HashMap<String, i64>,
    /// Files that left the table within Delta's retention of their names.
    pub removed: Vec<RemovedFile>,
}

/// A file that left the table; its bytes may still be on the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedFile {
    /// As in [`DataFile::path`].
    pub path: String,
    /// Milliseconds since the epoch.
    pub removed_at_ms: i64,
}

/// What one commit of another writer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub version: u64,
    pub added: Vec<DataFile>,
    /// Paths, as in [`DataFile::path`].
    pub removed: Vec<String>,
    /// Whether the same rows are in other files.
    pub rows_stay: bool,
    /// How far sources came with it, by their `app_id`.
    pub txns: Vec<(Arc<str>, i64)>,
}

/// Why the table did not do it.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("commit log: {0}")]
    Store(#[from] object_store::Error),
    #[error("{app_id} already committed {recorded}, asked for {asked}")]
    AlreadyCommitted {
        app_id: String,
        asked: i64,
        recorded: i64,
        /// Version to give to [`Table::added_at`]; unknown when a checkpoint told it.
        recorded_at: Option<u64>,
    },
    /// Another writer took this source over: what this process read of it, the other reads again.
    #[error("{app_id} is at {recorded:?} in the table, not where {step:?} begins")]
    Fenced { app_id: String, step: TxnStep, recorded: Option<i64> },
    #[error("file {path} was removed by version {version} of another writer")]
    Conflict { path: String, version: u64 },
    #[error("other writers landed first {attempts} times")]
    Contended { attempts: usize },
    #[error("{object} is damaged: {reason}")]
    Corrupt { object: String, reason: String },
    #[error("the table needs Delta reader {reader} and writer {writer}; this program knows 1 and 2")]
    Unsupported { reader: i32, writer: i32 },
    #[error("the table has format {format}, which a newer millrace wrote; this one knows {known}: upgrade it")]
    Newer { format: String, known: u32 },
    #[error("{object}: {source}")]
    Sealed { object: String, source: crate::seal::SealError },
    #[error("checkpoint: {0}")]
    Checkpoint(String),
}

impl Table {
    /// Opens the table of logs at `root` of `store`, creating it when there is none.
    ///
    /// `store` must have put-if-absent (local disk, S3, GCS, Azure do).
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        root: Path,
        clock: Clock,
    ) -> Result<(Table, TableState), TableError> {
        Self::open_as(store, root, clock, &schema::LOGS).await
    }

    /// As [`Table::open`], but a table that is created has the columns of `schema`.
    pub async fn open_as(
        store: Arc<dyn ObjectStore>,
        root: Path,
        clock: Clock,
        schema: &TableSchema,
    ) -> Result<(Table, TableState), TableError> {
        let log = Arc::new(Log::new(store, root));
        if log.is_empty().await? {
            log.create(clock.now(), schema).await?;
        }
        let replay = Self::upgraded(&log, clock.now(), schema).await?;
        let version = replay.version;
        let (unseen, removed) = (Vec::new(), VecDeque::new());
        let inner = Inner { version, txns: replay.txns.clone(), unseen, handed: version, removed, forgotten: version };
        let state = TableState::of(replay);
        Ok((Table { log, clock, inner: Mutex::new(inner), checkpointing: Arc::default() }, state))
    }

    /// The table as it stands, brought to the newest format if it has an older one.
    async fn upgraded(log: &Log, now: UnixNanos, schema: &TableSchema) -> Result<log::Replay, TableError> {
        for _ in 0..ATTEMPTS_MAX {
            let mut replay = log.replay().await?;
            let txn_id = uuid::Uuid::new_v4().to_string();
            let upgrade = replay.meta_data.as_ref().and_then(|m| actions::encode_upgrade(now, &txn_id, m, schema));
            let Some(body) = upgrade else { return Ok(replay) };
            if let Landed::Ours = log.put_version(replay.version + 1, body, &txn_id).await? {
                replay.version += 1;
                return Ok(replay);
            }
        }
        Err(TableError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// Reads the table at `root` of `store` without a trace; none when there is none.
    pub async fn read(store: Arc<dyn ObjectStore>, root: Path) -> Result<Option<TableState>, TableError> {
        let log = Log::new(store, root);
        if log.is_empty().await? { Ok(None) } else { Ok(Some(TableState::of(log.replay().await?))) }
    }

    /// Makes all of it visible at once, or nothing. Answers the version.
    ///
    /// Commits of other writers that came first are stepped over, unless they removed one of `remove`
    /// (`Conflict`) or recorded one of `txns` (`AlreadyCommitted`).
    ///
    /// Cancellation: the commit may have landed, as after `Store`.
    pub async fn commit(
        &self,
        add: &[DataFile],
        remove: &[DataFile],
        txns: &[TxnStep],
        operation: &str,
    ) -> Result<u64, TableError> {
        let mut inner = self.inner.lock().await;
        let base = inner.handed;
        self.commit_locked(&mut inner, base, add, remove, txns, operation).await
    }

    /// Like [`Table::commit`], for one who read the rows of `remove` in files that were live at version `base`, of
    /// [`Table::refresh`]: whatever was removed since is a `Conflict`, whoever was told of it.
    pub async fn replace(
        &self,
        add: &[DataFile],
        remove: &[DataFile],
        base: u64,
        operation: &str,
    ) -> Result<u64, TableError> {
        let mut inner = self.inner.lock().await;
        self.commit_locked(&mut inner, base, add, remove, &[], operation).await
    }

    async fn commit_locked(
        &self,
        inner: &mut Inner,
        base: u64,
        add: &[DataFile],
        remove: &[DataFile],
        txns: &[TxnStep],
        operation: &str,
    ) -> Result<u64, TableError> {
        let now = self.clock.now();
        let txn_id = uuid::Uuid::new_v4().to_string();
        let info = CommitInfo::new(now, operation, remove.is_empty(), &txn_id);
        let body = actions::encode_commit(&info, add, remove, txns, now);
        for _ in 0..ATTEMPTS_MAX {
            inner.refuse_missteps(txns)?;
            inner.refuse_removed(remove, base)?;
            let version = inner.version + 1;
            match self.log.put_version(version, body.clone(), &txn_id).await? {
                Landed::Ours => {
                    inner.version = version;
                    inner.note_removed(version, remove.iter().map(|file| file.path.clone()));
                    for step in txns {
                        let record = Txn { version: step.to, recorded_at: Some(version) };
                        inner.txns.insert(step.app_id.to_string(), record);
                    }
                    self.checkpoint_when_due(version);
                    return Ok(version);
                }
                Landed::Others(actions) => inner.step_over(version, actions)?,
            }
        }
        Err(TableError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// What other writers committed since the table was opened or refreshed last, oldest first.
    pub async fn refresh(&self) -> Result<Vec<Change>, TableError> {
        Ok(self.refresh_to().await?.1)
    }

    /// As [`Table::refresh`], with the version that is reached: files removed through it are in the changes or were
    /// removed by this process.
    pub async fn refresh_to(&self) -> Result<(u64, Vec<Change>), TableError> {
        let mut inner = self.inner.lock().await;
        while let Some(actions) = self.log.read_version(inner.version + 1).await? {
            let version = inner.version + 1;
            inner.step_over(version, actions)?;
        }
        inner.handed = inner.version;
        Ok((inner.version, std::mem::take(&mut inner.unseen)))
    }

    /// Files that the commit of `version` added: what landed when a commit answered `AlreadyCommitted`.
    pub async fn added_at(&self, version: u64) -> Result<Vec<DataFile>, TableError> {
        let missing = || self.log.corrupt(version, "it is missing");
        let actions = self.log.read_version(version).await?.ok_or_else(missing)?;
        actions::change_of(version, actions).map(|change| change.added).map_err(|e| self.log.corrupt(version, e))
    }

    /// Writes a checkpoint of the newest version now and drops log entries past their retention.
    /// Commits do not wait for it. Answers the version.
    ///
    /// Memory and time grow with the live files.
    pub async fn checkpoint(&self) -> Result<u64, TableError> {
        log::checkpoint(&self.log, self.clock.now()).await
    }

    /// What is recorded of an application, as far as this process knows; see [`Table::refresh`].
    pub async fn recorded(&self, app_id: &str) -> Option<i64> {
        self.inner.lock().await.txns.get(app_id).map(|txn| txn.version)
    }

    /// Version of the newest commit this process knows.
    pub async fn version(&self) -> u64 {
        self.inner.lock().await.version
    }

    fn checkpoint_when_due(&self, version: u64) {
        if !version.is_multiple_of(CHECKPOINT_COMMITS) || self.checkpointing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (log, now, running) = (self.log.clone(), self.clock.now(), self.checkpointing.clone());
        tokio::spawn(async move {
            if let Err(error) = log::checkpoint(&log, now).await {
                tracing::warn!(%error, "no checkpoint of the table; starts take longer until the next one");
            }
            running.store(false, Ordering::Release);
        });
    }
}

impl TableState {
    fn of(replay: log::Replay) -> Self {
        let removed = replay.removed.into_iter().map(|(path, removed)| {
            let removed_at_ms = removed.deletion_timestamp.unwrap_or_default();
            RemovedFile { path, removed_at_ms }
        });
        TableState {
            version: replay.version,
            txns: replay.txns.into_iter().map(|(id, txn)| (id, txn.version)).collect(),
            files: replay.files.into_values().map(|live| live.file).collect(),
            removed: removed.collect(),
        }
    }
}

impl Inner {
    fn refuse_missteps(&self, txns: &[TxnStep]) -> Result<(), TableError> {
        for step in txns {
            let txn = self.txns.get(&*step.app_id);
            let recorded = txn.map(|txn| txn.version);
            match step.check(recorded) {
                Ok(()) => {}
                Err(Misstep::Taken) => {
                    return Err(TableError::AlreadyCommitted {
                        app_id: step.app_id.to_string(),
                        asked: step.to,
                        recorded: recorded.unwrap_or(step.to),
                        recorded_at: txn.and_then(|txn| txn.recorded_at),
                    });
                }
                Err(Misstep::Elsewhere) => {
                    return Err(TableError::Fenced { app_id: step.app_id.to_string(), step: step.clone(), recorded });
                }
            }
        }
        Ok(())
    }

    /// Refuses to remove what was removed after `base`.
    fn refuse_removed(&self, remove: &[DataFile], base: u64) -> Result<(), TableError> {
        let conflict = |file: &DataFile, version| Err(TableError::Conflict { path: file.path.clone(), version });
        match remove.first() {
            None => return Ok(()),
            Some(file) if base < self.forgotten => return conflict(file, self.forgotten),
            Some(_) => {}
        }
        for (version, path) in self.removed.iter().rev().take_while(|(version, _)| *version > base) {
            if let Some(file) = remove.iter().find(|file| file.path == *path) {
                return conflict(file, *version);
            }
        }
        Ok(())
    }

    fn note_removed(&mut self, version: u64, paths: impl Iterator<Item = String>) {
        self.removed.extend(paths.map(|path| (version, path)));
        while self.removed.len() > REMOVED_MAX {
            self.forgotten = self.removed.pop_front().map_or(self.forgotten, |(version, _)| version);
        }
    }

    fn step_over(&mut self, version: u64, actions: Vec<Action>) -> Result<(), TableError> {
        for action in &actions {
            actions::check_protocol(action)?;
            if let Some(txn) = &action.txn {
                let record = Txn { version: txn.version, recorded_at: Some(version) };
                self.txns.insert(txn.app_id.to_string(), record);
            }
        }
        let damaged = |reason| TableError::Corrupt { object: log::version_name(version), reason };
        let change = actions::change_of(version, actions).map_err(damaged)?;
        if !change.added.is_empty() || !change.removed.is_empty() || !change.txns.is_empty() {
            self.note_removed(version, change.removed.iter().cloned());
            self.unseen.push(change);
        }
        self.version = version;
        Ok(())
    }
}
