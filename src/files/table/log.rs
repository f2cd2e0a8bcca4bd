//! The objects under `_delta_log`: their names, reading them back, and cleaning up.
//!
//! Replay: the newest checkpoint that can be read, then every later commit in order. A hint
//! (`_last_checkpoint`) saves listing the whole log; when it is wrong the whole log is listed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use super::actions::{self, Action, MetaData, Protocol};
use super::checkpoint;
use super::data_file::{DataFile, place};
use super::schema::TableSchema;
use super::{TableError, Txn};
use crate::seal::{SealError, envelope};
use crate::types::time::UnixNanos;

const LOG_DIRECTORY: &str = "_delta_log";
const LAST_CHECKPOINT: &str = "_last_checkpoint";
/// Commits read at once during replay.
const REPLAY_READS: usize = 32;
/// How long removed files stay named in checkpoints and old log entries stay at all: Delta's default
/// retention of removed files, so that time travel and vacuum of other engines work.
const RETENTION_MS: i64 = 7 * 86_400_000;

/// Where the log is.
#[derive(Debug)]
pub(super) struct Log {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

/// Whose commit has the version.
#[derive(Debug)]
pub(super) enum Landed {
    Ours,
    Others(Vec<Action>),
}

/// The table, rebuilt.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) version: u64,
    pub(super) protocol: Option<Protocol>,
    pub(super) meta_data: Option<MetaData>,
    pub(super) files: HashMap<String, Live>,
    pub(super) txns: HashMap<String, Txn>,
    /// Removed files by path, for checkpoints.
    pub(super) removed: HashMap<String, actions::Remove>,
}

/// A live file.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) file: DataFile,
    pub(super) modified_ms: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct LastCheckpoint {
    version: u64,
    /// Actions in it.
    #[serde(default)]
    size: u64,
    /// CRC-32 of the checkpoint; other writers leave it out.
    #[serde(default, rename = "millraceCrc32", skip_serializing_if = "Option::is_none")]
    crc32: Option<u32>,
}

/// An object of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    Checkpoint(u64),
    Commit(u64),
}

/// Name of a commit, `%020d.json`.
pub(super) fn version_name(version: u64) -> String {
    format!("{LOG_DIRECTORY}/{version:020}.json")
}

pub(super) fn checkpoint_name(version: u64) -> String {
    format!("{LOG_DIRECTORY}/{version:020}.checkpoint.parquet")
}

fn parse_name(name: &str) -> Option<Entry> {
    let (version, kind) = name.split_once('.')?;
    if version.len() != 20 {
        return None;
    }
    match kind {
        "json" => Some(Entry::Commit(version.parse().ok()?)),
        "checkpoint.parquet" => Some(Entry::Checkpoint(version.parse().ok()?)),
        _ => None,
    }
}

impl Log {
    pub(super) fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Log { store, root }
    }

    pub(super) fn corrupt(&self, version: u64, reason: impl Into<String>) -> TableError {
        TableError::Corrupt { object: version_name(version), reason: reason.into() }
    }

    pub(super) async fn is_empty(&self) -> Result<bool, TableError> {
        if self.get(&version_name(0)).await?.is_some() {
            return Ok(false);
        }
        Ok(self.entries(None).await?.is_empty())
    }

    /// Writes version 0; fine when another process was faster.
    pub(super) async fn create(&self, now: UnixNanos, schema: &TableSchema) -> Result<(), TableError> {
        let id = uuid::Uuid::new_v4().to_string();
        self.put_version(0, actions::encode_creation(now, &id, schema), &id).await.map(|_| ())
    }

    /// Puts `body` as `version` if there is none. When there is one, reads whose it is: a store may report
    /// a failure, or retry, after the object landed.
    pub(super) async fn put_version(&self, version: u64, body: Vec<u8>, txn_id: &str) -> Result<Landed, TableError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let failure = match self.store.put_opts(&self.path(&version_name(version)), body.into(), options).await {
            Ok(_) => return Ok(Landed::Ours),
            Err(failure) => failure,
        };
        let Some(actions) = self.read_version(version).await? else {
            return Err(failure.into());
        };
        let is_ours =
            |action: &Action| action.commit_info.as_ref().is_some_and(|info| info.txn_id.as_deref() == Some(txn_id));
        Ok(if actions.iter().any(is_ours) { Landed::Ours } else { Landed::Others(actions) })
    }

    /// Actions of a commit; `None` when there is no such version yet.
    pub(super) async fn read_version(&self, version: u64) -> Result<Option<Vec<Action>>, TableError> {
        let Some(body) = self.get(&version_name(version)).await? else {
            return Ok(None);
        };
        actions::decode_commit(&body).map(Some).map_err(|reason| self.corrupt(version, reason))
    }

    /// Rebuilds the table at its newest version.
    pub(super) async fn replay(&self) -> Result<Replay, TableError> {
        if let Some(hint) = self.last_checkpoint().await {
            let entries = self.entries(Some(hint.version)).await?;
            if entries.contains(&Entry::Checkpoint(hint.version)) {
                return self.replay_entries(&entries).await;
            }
        }
        self.replay_entries(&self.entries(None).await?).await
    }

    async fn replay_entries(&self, entries: &BTreeSet<Entry>) -> Result<Replay, TableError> {
        let mut replay = Replay::default();
        let mut next = 0;
        let checkpoints = entries.iter().rev().filter_map(|entry| match entry {
            Entry::Checkpoint(version) => Some(*version),
            Entry::Commit(_) => None,
        });
        for version in checkpoints {
            match self.read_checkpoint(version).await {
                Ok(read) => {
                    replay = read;
                    next = version + 1;
                    break;
                }
                Err(error @ (TableError::Unsupported { .. } | TableError::Newer { .. })) => return Err(error),
                Err(error) => tracing::warn!(%error, version, "a checkpoint cannot be read; trying an older one"),
            }
        }
        let newest = entries.iter().next_back().map(|entry| match entry {
            Entry::Checkpoint(version) | Entry::Commit(version) => *version,
        });
        let end = newest.map_or(0, |version| version + 1).max(next);
        let mut commits = futures::stream::iter((next..end).map(|version| async move {
            let actions = self.read_version(version).await?;
            let missing = || self.corrupt(version, "it is missing, later versions are there");
            Ok::<_, TableError>((version, actions.ok_or_else(missing)?))
        }))
        .buffered(REPLAY_READS);
        while let Some((version, actions)) = commits.try_next().await? {
            for action in actions {
                replay.apply(action, Some(version))?;
            }
            replay.version = version;
        }
        if replay.protocol.is_none() || replay.meta_data.is_none() {
            let reason = "no protocol or no schema: this is no Delta table".to_owned();
            return Err(TableError::Corrupt { object: LOG_DIRECTORY.to_owned(), reason });
        }
        Ok(replay)
    }

    pub(super) async fn read_checkpoint(&self, version: u64) -> Result<Replay, TableError> {
        let name = checkpoint_name(version);
        let damaged = |reason: String| TableError::Corrupt { object: name.clone(), reason };
        let body = self.get(&name).await?.ok_or_else(|| damaged("it is missing".to_owned()))?;
        let last = self.last_checkpoint().await.filter(|last| last.version == version);
        if last.and_then(|last| last.crc32).is_some_and(|crc32| crc32 != crc32fast::hash(&body)) {
            return Err(damaged("its checksum does not fit".to_owned()));
        }
        let read = move || {
            let mut replay = Replay { version, ..Replay::default() };
            checkpoint::decode(body, |action| replay.apply(action, None))?;
            Ok::<_, TableError>(replay)
        };
        let replay = on_blocking_thread(read).await??;
        match replay.protocol.is_some() && replay.meta_data.is_some() {
            true => Ok(replay),
            false => Err(damaged("it has no protocol or no schema".to_owned())),
        }
    }

    async fn last_checkpoint(&self) -> Option<LastCheckpoint> {
        let body = self.get(&format!("{LOG_DIRECTORY}/{LAST_CHECKPOINT}")).await.ok()??;
        serde_json::from_slice(&body).ok()
    }

    /// Entries of version `from` and later.
    pub(super) async fn entries(&self, from: Option<u64>) -> Result<BTreeSet<Entry>, TableError> {
        let objects = self.objects(from).await?;
        Ok(objects.into_iter().map(|(entry, _)| entry).collect())
    }

    /// Entries with the milliseconds at which they were written.
    async fn objects(&self, from: Option<u64>) -> Result<Vec<(Entry, i64)>, TableError> {
        let prefix = self.path(LOG_DIRECTORY);
        let mut listing = match from {
            // `.` sorts before every extension, so the entries of `from` itself are after the offset.
            Some(version) => {
                self.store.list_with_offset(Some(&prefix), &self.path(&format!("{LOG_DIRECTORY}/{version:020}.")))
            }
            None => self.store.list(Some(&prefix)),
        };
        let mut objects = Vec::new();
        while let Some(meta) = listing.try_next().await? {
            if let Some(entry) = meta.location.filename().and_then(parse_name) {
                objects.push((entry, meta.last_modified.timestamp_millis()));
            }
        }
        Ok(objects)
    }

    /// Deletes entries older than the retention that no retained version needs.
    async fn drop_expired(&self, now_ms: i64) -> Result<(), TableError> {
        let objects = self.objects(None).await?;
        let is_expired = |written_ms: i64| written_ms < now_ms - RETENTION_MS;
        let keep_from = objects.iter().filter_map(|(entry, written_ms)| match entry {
            Entry::Checkpoint(version) if is_expired(*written_ms) => Some(*version),
            _ => None,
        });
        let Some(keep_from) = keep_from.max() else {
            return Ok(());
        };
        let old = objects.into_iter().filter(|(entry, written_ms)| match entry {
            Entry::Checkpoint(version) | Entry::Commit(version) => *version < keep_from && is_expired(*written_ms),
        });
        let paths = old.map(|(entry, _)| match entry {
            Entry::Checkpoint(version) => Ok(self.path(&checkpoint_name(version))),
            Entry::Commit(version) => Ok(self.path(&version_name(version))),
        });
        let paths = futures::stream::iter(paths.collect::<Vec<_>>()).boxed();
        self.store.delete_stream(paths).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<bytes::Bytes>, TableError> {
        match self.store.get(&self.path(name)).await {
            Ok(found) => {
                let body = found.bytes().await?;
                match envelope::is_sealed(&body) {
                    true => Err(TableError::Sealed { object: name.to_owned(), source: SealError::NoKeys }),
                    false => Ok(Some(body)),
                }
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn path(&self, name: &str) -> Path {
        place(&self.root, name).expect("names of the log are well-formed")
    }
}

impl Replay {
    /// `version` is that of the commit; `None` within a checkpoint.
    fn apply(&mut self, action: Action, version: Option<u64>) -> Result<(), TableError> {
        actions::check_protocol(&action)?;
        let damaged =
            |reason| TableError::Corrupt { object: version.map_or("checkpoint".to_owned(), version_name), reason };
        if let Some(add) = action.add {
            let file = add.file().map_err(damaged)?;
            self.removed.remove(&file.path);
            self.files.insert(file.path.clone(), Live { file, modified_ms: add.modification_time });
        }
        if let Some(remove) = action.remove {
            let path = remove.file_path().map_err(damaged)?;
            self.files.remove(&path);
            self.removed.insert(path, remove);
        }
        if let Some(txn) = action.txn {
            self.txns.insert(txn.app_id, Txn { version: txn.version, recorded_at: version });
        }
        self.protocol = action.protocol.or(self.protocol.take());
        self.meta_data = action.meta_data.or(self.meta_data.take());
        Ok(())
    }
}

/// Writes a checkpoint of the newest version, then drops what is past its retention.
pub(super) async fn checkpoint(log: &Arc<Log>, now: UnixNanos) -> Result<u64, TableError> {
    let now_ms = actions::millis(now);
    let mut replay = log.replay().await?;
    replay.removed.retain(|_, remove| remove.deletion_timestamp.is_some_and(|at| at >= now_ms - RETENTION_MS));
    let version = replay.version;
    let (body, size) = on_blocking_thread(move || checkpoint::encode(replay)).await??;
    let (name, last) = last_checkpoint(version, size, &body);
    log.store.put(&log.path(&checkpoint_name(version)), body.into()).await?;
    log.store.put(&log.path(&name), last.into()).await?;
    log.drop_expired(now_ms).await?;
    Ok(version)
}

/// Name and body of the hint that points to this checkpoint of `size` actions.
pub(super) fn last_checkpoint(version: u64, size: u64, checkpoint: &[u8]) -> (String, Vec<u8>) {
    let crc32 = Some(crc32fast::hash(checkpoint));
    let body = serde_json::to_vec(&LastCheckpoint { version, size, crc32 }).expect("integers always serialise");
    (format!("{LOG_DIRECTORY}/{LAST_CHECKPOINT}"), body)
}

async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, TableError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| TableError::Checkpoint(error.to_string()))
}
