//! The table as it is at one version, to look at or to make it anew elsewhere. Nothing is written here.

use std::sync::Arc;

use object_store::{ObjectStore, path::Path};

use super::log::{Log, Replay, checkpoint_name, last_checkpoint};
use super::{DataFile, TableError, checkpoint};

/// One version of a table, read back from its log.
#[derive(Debug)]
pub struct TableSnapshot {
    replay: Replay,
}

/// Objects that make a table of one version in an empty place, with their names relative to the root.
/// The data files must be there before them, and the second is put last.
#[derive(Debug)]
pub struct TableSeed {
    pub checkpoint: (String, Vec<u8>),
    pub last_checkpoint: (String, Vec<u8>),
}

impl TableSnapshot {
    /// Reads the newest version; `None` when there is no table.
    pub async fn read(store: Arc<dyn ObjectStore>, root: Path) -> Result<Option<Self>, TableError> {
        let log = Log::new(store, root);
        if log.is_empty().await? {
            return Ok(None);
        }
        Ok(Some(TableSnapshot { replay: log.replay().await? }))
    }

    pub fn version(&self) -> u64 {
        self.replay.version
    }

    /// Live files, in no order.
    pub fn files(&self) -> impl Iterator<Item = &DataFile> {
        self.replay.files.values().map(|live| &live.file)
    }

    /// Paths of files that were removed a while ago and may still be there, for readers that have not noticed.
    pub fn removed(&self) -> impl Iterator<Item = &String> {
        self.replay.removed.keys()
    }

    /// What is recorded of applications.
    pub fn applications(&self) -> impl Iterator<Item = (&String, i64)> {
        self.replay.txns.iter().map(|(id, txn)| (id, txn.version))
    }

    /// What is recorded of an application.
    pub fn recorded(&self, app_id: &str) -> Option<i64> {
        self.replay.txns.get(app_id).map(|txn| txn.version)
    }

    /// Makes the table anew, at the same version, without its past and without tiers: all files lie below the root. CPU-bound: call it off the async threads.
    pub fn seed(mut self) -> Result<TableSeed, TableError> {
        let version = self.replay.version;
        self.replay.removed.clear();
        for live in self.replay.files.values_mut() {
            live.file.path = live.file.relative_path().to_owned();
        }
        let (body, size) = checkpoint::encode(self.replay)?;
        let last_checkpoint = last_checkpoint(version, size, &body);
        Ok(TableSeed { checkpoint: (checkpoint_name(version), body), last_checkpoint })
    }
}
