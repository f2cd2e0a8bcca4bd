//! What can go wrong with the log.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum WalError {
    #[error("no space left for the write-ahead log; free disk space, it recovers by itself")]
    DiskFull,
    #[error("the write-ahead log is behind: {queue_bytes_max} bytes are waiting to be written; retry later")]
    Overloaded { queue_bytes_max: usize },
    #[error("a record of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("the write-ahead log is closed")]
    Closed,
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("a write to the log failed: {0}")]
    Write(String),
    #[error(
        "segment {path} is damaged at byte {offset} and intact records follow; restore it from a backup, or move it away to go on without its records"
    )]
    Corrupt { path: PathBuf, offset: u64 },
    #[error("segment {path} starts at record {found} but record {expected} is next; a segment is missing")]
    Gap { path: PathBuf, expected: u64, found: u64 },
    #[error("record {lsn} of the log: {source}")]
    Sealed { lsn: u64, source: crate::seal::SealError },
    #[error("{path} is in use by another millrace process; stop it, or give this one a directory of its own")]
    Locked { path: PathBuf },
}

impl WalError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> WalError {
        let path = path.into();
        move |source| WalError::Io { path, source }
    }
}
