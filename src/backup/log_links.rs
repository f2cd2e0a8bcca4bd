//! The log as it is at one moment: links to its segments, which stay when a flush removes them.

use std::path::{Path, PathBuf};

use super::BackupError;
use crate::wal;

/// Where links are, in the data directory.
pub(super) const LOG_LINKS: &str = "backup-log";

/// Links to all segments of a log and its identity. Dropping it removes them.
#[derive(Debug)]
pub(super) struct LogLinks {
    dir: PathBuf,
    /// Where each file lies in the data directory, and its link.
    pub(super) files: Vec<(PathBuf, PathBuf)>,
}

impl LogLinks {
    /// Links the log of `data_dir`, when it joins what the table has: its first record is no later than the one after
    /// `flushed`. Blocks for a moment.
    ///
    /// # Errors
    /// `Moved` when it does not join, or a segment went away meanwhile; what the file system says.
    pub(super) fn new(data_dir: &Path, flushed: u64) -> Result<Self, BackupError> {
        let dir = data_dir.join(LOG_LINKS);
        // Of a backup that was cut short.
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(BackupError::io(&dir)(error)),
            _ => {}
        }
        std::fs::create_dir(&dir).map_err(BackupError::io(&dir))?;
        let mut links = LogLinks { dir, files: Vec::new() };
        let wal_dir = data_dir.join("wal");
        let segments = wal::segments(&wal_dir)?;
        if segments.first().is_some_and(|(first, _)| first.0 > flushed + 1) {
            return Err(BackupError::Moved { attempts: 1 });
        }
        for path in segments.into_iter().map(|(_, path)| path).chain([wal_dir.join("IDENTITY")]) {
            let link = links.dir.join(path.file_name().unwrap_or_default());
            match std::fs::hard_link(&path, &link) {
                Ok(()) => links.files.push((path, link)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(BackupError::Moved { attempts: 1 });
                }
                Err(error) => return Err(BackupError::io(&path)(error)),
            }
        }
        Ok(links)
    }
}

impl Drop for LogLinks {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, path = %self.dir.display(), "links of a backup could not be removed");
        }
    }
}
