//! Takes a backup while the server runs.
//!
//! ```text
//! read the newest version V ─▶ link the log ─▶ does it join V? ─▶ copy the log, V's files ─▶ checkpoint of V ─▶ manifest
//!        ▲                                      │ no                   │ one is gone
//!        └────────────────── again ─────────────┴──────────────────────┘
//! ```
//!
//! The log is linked after V was read, so it reaches past V; it joins V when it begins no later than the record after
//! the last that V has. A flush in between cuts it shorter: then a newer version is taken.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;

use super::log_links::{LOG_LINKS, LogLinks};
use super::manifest::{BackupId, Entry, EntryPlace, Manifest};
use super::repository::Repository;
use super::{BackupError, RESTORING};
use crate::files::table::{TableSeed, TableSnapshot};
use crate::seal::envelope;
use crate::store::Place;
use crate::types::time::Clock;

/// How often a table that moves on is read anew.
const ATTEMPTS_MAX: usize = 5;
/// How often a version is read until the log joins it.
const JOINS_MAX: usize = 50;
/// Files copied at once.
const COPIES: usize = 4;
/// Memory for files on their way, MiB; a larger file is copied alone.
const COPY_MIB_MAX: usize = 256;
/// Directories and files of the data directory that are not worth a copy, or not a copy like others.
const LEFT_OUT: [&str; 5] = ["wal", "cache", "quarantine", LOG_LINKS, RESTORING];

/// Where the ends of the audit trail are kept, below the table.
const HEADS: &str = "_millrace/audit/";

/// What a backup added.
#[derive(Debug, Clone)]
pub struct Created {
    pub manifest: Manifest,
    /// Files that no earlier backup had.
    pub new_files: usize,
}

/// Takes a backup of `place` into `repository`.
///
/// Cancellation: blobs that no manifest names stay until the next pruning.
pub async fn create(
    place: &Place,
    repository: &Repository,
    clock: &Clock,
    bar: &ProgressBar,
) -> Result<Created, BackupError> {
    let origin = origin(place).await?;
    repository.claim(&origin).await?;
    for _ in 0..ATTEMPTS_MAX {
        match attempt(place, &origin, repository, clock, bar).await {
            Err(BackupError::Moved { .. }) => bar.set_message("the table moved on; again"),
            outcome => return outcome,
        }
    }
    Err(BackupError::Moved { attempts: ATTEMPTS_MAX })
}

/// The log's identity, which tells data directories apart.
async fn origin(place: &Place) -> Result<String, BackupError> {
    let path = place.data_dir.join("wal").join("IDENTITY");
    match tokio::fs::read_to_string(&path).await {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(BackupError::Nothing { data_dir: place.data_dir.clone() })
        }
        Err(source) => Err(BackupError::Io { path, source }),
    }
}

async fn attempt(
    place: &Place,
    origin: &str,
    repository: &Repository,
    clock: &Clock,
    bar: &ProgressBar,
) -> Result<Created, BackupError> {
    let id = BackupId::at(clock.now());
    let mut copier = Copier { repository, entries: Vec::new(), added_bytes: 0, new_files: 0 };
    // Before the log: what they say is written is in the copy.
    copier.heads(place).await?;
    let (snapshot, log) = version_and_log(place, origin).await?;
    copier.log(&place.data_dir, &log).await?;
    copier.data(place).await?;
    let objects: Vec<ObjectMeta> =
        place.table.raw.list(Some(&place.table.root)).try_collect().await.map_err(BackupError::store("the table"))?;
    let objects = by_relative_path(&place.table.root, objects);
    let wanted = table_objects(place, &snapshot, &objects).await?;
    copier.table(place, wanted, bar).await?;
    let (version, rows) = (snapshot.version(), snapshot.files().map(|file| file.rows).sum());
    copier.seed(place, tokio::task::spawn_blocking(move || snapshot.seed()).await??).await?;
    let manifest = Manifest::new(id, version, rows, copier.entries, copier.added_bytes);
    repository.put_manifest(&manifest).await?;
    Ok(Created { manifest, new_files: copier.new_files })
}

/// A version of the table, and the log that joins it.
async fn version_and_log(place: &Place, origin: &str) -> Result<(TableSnapshot, LogLinks), BackupError> {
    for _ in 0..JOINS_MAX {
        let read = TableSnapshot::read(place.table.store.clone(), place.table.root.clone()).await?;
        let snapshot = read.ok_or_else(|| BackupError::Nothing { data_dir: place.data_dir.clone() })?;
        let flushed = u64::try_from(snapshot.recorded(origin).unwrap_or(0)).unwrap_or(0);
        let data_dir = place.data_dir.clone();
        match tokio::task::spawn_blocking(move || LogLinks::new(&data_dir, flushed)).await? {
            Err(BackupError::Moved { .. }) => {}
            linked => return Ok((snapshot, linked?)),
        }
    }
    Err(BackupError::Moved { attempts: JOINS_MAX })
}

fn by_relative_path(root: &ObjectPath, objects: Vec<ObjectMeta>) -> HashMap<String, ObjectMeta> {
    let relative = |location: &ObjectPath| {
        Some(location.prefix_match(root)?.map(|p| p.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
    };
    objects.into_iter().filter_map(|meta| Some((relative(&meta.location)?, meta))).collect()
}

/// Live files, and what else lies beside the log of commits. Files of tiers have the path that they had before.
async fn table_objects(
    place: &Place,
    snapshot: &TableSnapshot,
    objects: &HashMap<String, ObjectMeta>,
) -> Result<Vec<(String, ObjectMeta)>, BackupError> {
    let mut wanted = Vec::new();
    for file in snapshot.files() {
        let meta = match objects.get(&file.path) {
            Some(meta) => meta.clone(),
            None => match place.table.raw.head(&file.location(&place.table.root)).await {
                Err(object_store::Error::NotFound { .. }) => return Err(BackupError::Moved { attempts: 1 }),
                found => found.map_err(BackupError::store("the table"))?,
            },
        };
        wanted.push((file.relative_path().to_owned(), meta));
    }
    let is_other =
        |path: &str| !["tenant=", "_delta_log/", "_quarantine/", HEADS].iter().any(|prefix| path.starts_with(prefix));
    let others = objects.iter().filter(|(path, _)| is_other(path));
    wanted.extend(others.map(|(path, meta)| (path.clone(), meta.clone())));
    Ok(wanted)
}

/// Fills the entries of one backup.
struct Copier<'a> {
    repository: &'a Repository,
    entries: Vec<Entry>,
    added_bytes: u64,
    new_files: usize,
}

impl Copier<'_> {
    async fn add(&mut self, place: EntryPlace, path: String, content: Bytes) -> Result<(), BackupError> {
        let bytes = content.len() as u64;
        let (sha256, added) = self.repository.put_blob(content).await?;
        self.added_bytes += added;
        self.new_files += usize::from(added > 0);
        self.entries.push(Entry { place, path, bytes, sha256, modified_ms: 0 });
        Ok(())
    }

    /// The ends of the audit trail.
    async fn heads(&mut self, place: &Place) -> Result<(), BackupError> {
        let parts = HEADS.split('/').filter(|part| !part.is_empty());
        let directory = parts.fold(place.table.root.clone(), |path, part| path.join(part));
        let objects = place.table.raw.list(Some(&directory)).try_collect::<Vec<_>>().await;
        for (path, meta) in by_relative_path(&place.table.root, objects.map_err(BackupError::store("the table"))?) {
            let content = read_object(&place.table.raw, &meta.location).await?;
            self.add(EntryPlace::Table, path, content).await?;
        }
        Ok(())
    }

    async fn log(&mut self, data_dir: &Path, log: &LogLinks) -> Result<(), BackupError> {
        for (path, link) in &log.files {
            let content = tokio::fs::read(link).await.map_err(BackupError::io(link))?;
            self.add(EntryPlace::Data, relative(data_dir, path), content.into()).await?;
        }
        Ok(())
    }

    /// What else is in the data directory: small state of other parts.
    async fn data(&mut self, place: &Place) -> Result<(), BackupError> {
        let (data_dir, table_dir) = (place.data_dir.clone(), place.table_dir.clone());
        let files = tokio::task::spawn_blocking(move || files_below(&data_dir, table_dir.as_deref())).await??;
        for path in files {
            match tokio::fs::read(&path).await {
                Ok(content) => {
                    self.add(EntryPlace::Data, relative(&place.data_dir, &path), content.into()).await?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(BackupError::Io { path, source }),
            }
        }
        Ok(())
    }

    /// The table's files, those that are new.
    async fn table(
        &mut self,
        place: &Place,
        wanted: Vec<(String, ObjectMeta)>,
        bar: &ProgressBar,
    ) -> Result<(), BackupError> {
        let (known, there) = (Repository::known(&self.repository.list().await?), self.repository.blobs().await?);
        bar.set_position(0);
        bar.set_length(wanted.iter().map(|(_, meta)| meta.size).sum());
        bar.set_message("files");
        let room = Semaphore::new(COPY_MIB_MAX);
        let copies = wanted.into_iter().map(|(path, meta)| {
            let modified_ms = meta.last_modified.timestamp_millis();
            let (repository, known, there, room) = (self.repository, &known, &there, &room);
            async move {
                let entry = |bytes: u64, sha256: String| Entry {
                    place: EntryPlace::Table,
                    path: path.clone(),
                    bytes,
                    sha256,
                    modified_ms,
                };
                let earlier = known.get(&(path.clone(), meta.size, modified_ms));
                if let Some(sha256) = earlier.filter(|sha256| there.get(*sha256) == Some(&meta.size)) {
                    bar.inc(meta.size);
                    return Ok((entry(meta.size, sha256.clone()), 0));
                }
                let mib = usize::try_from(meta.size >> 20).unwrap_or(usize::MAX).saturating_add(1).min(COPY_MIB_MAX);
                let _room = room.acquire_many(u32::try_from(mib).unwrap_or(u32::MAX)).await;
                let content = read_object(&place.table.raw, &meta.location).await?;
                let bytes = content.len() as u64;
                let (sha256, added) = repository.put_blob(content).await?;
                bar.inc(bytes);
                Ok::<_, BackupError>((entry(bytes, sha256), added))
            }
        });
        let mut copied = futures::stream::iter(copies.collect::<Vec<_>>()).buffered(COPIES);
        while let Some((entry, added)) = copied.try_next().await? {
            self.added_bytes += added;
            self.new_files += usize::from(added > 0);
            self.entries.push(entry);
        }
        Ok(())
    }

    /// The log of commits, as one checkpoint.
    async fn seed(&mut self, place: &Place, seed: TableSeed) -> Result<(), BackupError> {
        for (name, mut body) in [seed.checkpoint, seed.last_checkpoint] {
            if let Some(sealing) = &place.sealing {
                body = envelope::seal(&sealing.keys, &name, &body)?;
            }
            self.add(EntryPlace::Log, name, body.into()).await?;
        }
        Ok(())
    }
}

async fn read_object(store: &Arc<dyn ObjectStore>, location: &ObjectPath) -> Result<Bytes, BackupError> {
    let found = match store.get(location).await {
        Err(object_store::Error::NotFound { .. }) => return Err(BackupError::Moved { attempts: 1 }),
        found => found.map_err(BackupError::store("the table"))?,
    };
    found.bytes().await.map_err(BackupError::store("the table"))
}

fn relative(base: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(base).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/")
}

/// Files of the data directory that are state and not the table, the log, or what can be made again.
fn files_below(data_dir: &Path, table_dir: Option<&Path>) -> Result<Vec<PathBuf>, BackupError> {
    let mut found = Vec::new();
    let mut waiting = vec![data_dir.to_owned()];
    while let Some(directory) = waiting.pop() {
        let entries = std::fs::read_dir(&directory).map_err(BackupError::io(&directory))?;
        for entry in entries {
            let path = entry.map_err(BackupError::io(&directory))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_left_out = directory == data_dir && LEFT_OUT.contains(&name.as_str());
            let is_table = table_dir.is_some_and(|table| same_place(table, &path));
            if is_left_out || is_table || name == "LOCK" || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                waiting.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn same_place(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
