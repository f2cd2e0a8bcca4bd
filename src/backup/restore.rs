//! Makes a data directory and a table from a backup.
//!
//! A mark in the data directory says that a restore is under way; it goes last. A server does not start there, and
//! a restore that was cut short is run again.

use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};

use super::BackupError;
use super::manifest::{Entry, EntryPlace, Manifest};
use super::repository::Repository;
use crate::store::Place;

/// Name of the mark.
pub const RESTORING: &str = "RESTORING";
/// Files written at once.
const COPIES: usize = 4;

/// Restores `manifest` into the empty `place`.
///
/// # Errors
/// `NotEmpty` when something is there that no earlier restore left; `Damaged` for what the repository has lost.
pub async fn restore(
    repository: &Repository,
    manifest: &Manifest,
    place: &Place,
    bar: &ProgressBar,
) -> Result<(), BackupError> {
    let mark = place.data_dir.join(RESTORING);
    begin(place, &mark).await?;
    bar.set_length(manifest.bytes());
    for wanted in [EntryPlace::Table, EntryPlace::Data, EntryPlace::Log] {
        let entries = manifest.entries.iter().filter(|entry| entry.place == wanted);
        let copies = entries.map(|entry| copy(repository, manifest, entry, place, bar));
        // The last of the log's objects makes the table: in order, one after the other.
        let at_once = if wanted == EntryPlace::Log { 1 } else { COPIES };
        futures::stream::iter(copies.collect::<Vec<_>>()).buffered(at_once).try_collect::<()>().await?;
    }
    std::fs::remove_file(&mark).map_err(BackupError::io(&mark))?;
    sync_directory(&place.data_dir)
}

async fn begin(place: &Place, mark: &Path) -> Result<(), BackupError> {
    let data_dir = &place.data_dir;
    std::fs::create_dir_all(data_dir).map_err(BackupError::io(data_dir))?;
    if !mark.exists() {
        if !is_empty_but(data_dir, place.table_dir.as_deref()) {
            return Err(BackupError::NotEmpty { what: data_dir.display().to_string() });
        }
        let mut listing = place.table.raw.list(Some(&place.table.root));
        if listing.try_next().await.map_err(BackupError::store("the table"))?.is_some() {
            return Err(BackupError::NotEmpty { what: "the place of the table".to_owned() });
        }
        std::fs::write(mark, "a restore is under way or was cut short; run it again\n")
            .map_err(BackupError::io(mark))?;
    }
    sync_directory(data_dir)
}

/// Whether `directory` has nothing in it; `table` does not count: opening its store made it.
fn is_empty_but(directory: &Path, table: Option<&Path>) -> bool {
    let is_table = |path: &Path| {
        table.is_some_and(|table| matches!((path.canonicalize(), table.canonicalize()), (Ok(a), Ok(b)) if a == b))
    };
    let mut entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.all(|entry| is_table(&entry.path()))
}

async fn copy(
    repository: &Repository,
    manifest: &Manifest,
    entry: &Entry,
    place: &Place,
    bar: &ProgressBar,
) -> Result<(), BackupError> {
    let content = repository.blob(&manifest.id, entry).await?;
    match entry.place {
        EntryPlace::Table | EntryPlace::Log => {
            let damaged = |error: object_store::path::Error| BackupError::Damaged {
                id: manifest.id.to_string(),
                path: entry.path.clone(),
                reason: error.to_string(),
            };
            let path = ObjectPath::parse(join(place.table.root.as_ref(), &entry.path)).map_err(damaged)?;
            place.table.raw.put(&path, content.into()).await.map_err(BackupError::store("the table"))?;
        }
        EntryPlace::Data => {
            let path = place.data_dir.join(&entry.path);
            tokio::task::spawn_blocking(move || write(&path, &content)).await??;
        }
    }
    bar.inc(entry.bytes);
    Ok(())
}

fn join(base: &str, part: &str) -> String {
    if base.is_empty() { part.to_owned() } else { format!("{base}/{part}") }
}

fn write(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent).map_err(BackupError::io(parent))?;
    std::fs::write(path, content).map_err(BackupError::io(path))?;
    std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(BackupError::io(path))?;
    sync_directory(parent)
}

fn sync_directory(path: &Path) -> Result<(), BackupError> {
    std::fs::File::open(path).and_then(|directory| directory.sync_all()).map_err(BackupError::io(path))
}
