//! Copies of everything a server keeps, taken while it runs, each complete, sharing what did not change.
//!
//! ```text
//! data directory + table ─create─▶ repository: millrace-backup.json
//!                                              manifests/20260116T020000Z.json   what there was, by hash
//!                                              blobs/ab/abcd….                   content, each once
//! repository ─restore─▶ empty data directory + empty place for the table
//! ```
//!
//! A backup holds one version of the table and the write-ahead log from before that version on, so every row that was
//! acknowledged before it began is in it: in a file, or in the log that the next start replays. Files never change,
//! so a file that an earlier backup has is not read again.
//!
//! Invariants: a manifest is put after all that it names; a blob's name is the SHA-256 of its content; what no
//! manifest names is removed by pruning only.
//! Errors: [`BackupError`].

mod create;
mod log_links;
mod manifest;
mod repository;
mod restore;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::files::table::TableError;

pub use create::{Created, create};
pub use manifest::{BackupId, Manifest};
pub use repository::{Damage, Repository};
pub use restore::{RESTORING, restore};

/// What went wrong with a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{place}: {source}")]
    Store { place: &'static str, source: object_store::Error },
    #[error("table: {0}")]
    Table(#[from] TableError),
    #[error("write-ahead log: {0}")]
    Wal(#[from] crate::wal::WalError),
    #[error("there is no table and no log in {}: nothing to back up", data_dir.display())]
    Nothing { data_dir: PathBuf },
    #[error("the table moved on {attempts} times while it was read; try again")]
    Moved { attempts: usize },
    #[error("{what} is no backup repository of this program: {reason}")]
    NoRepository { what: String, reason: String },
    #[error(
        "the repository belongs to another data directory (log {theirs}, not {ours}); give each directory a repository of its own"
    )]
    OtherOrigin { theirs: String, ours: String },
    #[error("there is no backup {id}; `millrace backup list` shows those there are")]
    NoSuchBackup { id: String },
    #[error("there is no backup in the repository")]
    Empty,
    #[error("backup {id}: {path} is damaged: {reason}")]
    Damaged { id: String, path: String, reason: String },
    #[error("{what} is not empty: a backup is restored into an empty place")]
    NotEmpty { what: String },
    #[error("keys: {0}")]
    Keys(#[from] crate::seal::KeyringError),
    #[error("a thread stopped: {0}")]
    Stopped(#[from] tokio::task::JoinError),
}

impl BackupError {
    fn store(place: &'static str) -> impl Fn(object_store::Error) -> BackupError {
        move |source| BackupError::Store { place, source }
    }

    fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> BackupError {
        let path = path.into();
        move |source| BackupError::Io { path, source }
    }
}

fn repository_failed(source: object_store::Error) -> BackupError {
    BackupError::Store { place: "the repository", source }
}
