//! What every step works with, and the one way files are exchanged for others.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;

use super::UpkeepError;
use super::deletes::{Ledger, SigningKey};
use super::settings::{CompactionConfig, CompactorConfig};
use super::status::Progress;
use crate::catalog::Catalog;
use crate::failpoint;
use crate::files::fields::LineLayout;
use crate::files::merge::{Keep, MergeRequest, Merged, merge};
use crate::files::row_file::Effort;
use crate::files::table::{Table, TableError};
use crate::files::tier_plan::Level;
use crate::files::{DataFile, FileIndexes, FilesError};
use crate::ingest::flush::Flusher;
use crate::ingest::overrides::LimitsOf;
use crate::lease::Lease;
use crate::telemetry::metrics::Metrics;
use crate::types::time::{Clock, UnixNanos};
use crate::types::units::GoDuration;

/// How long a file that could not be read is left alone, nanoseconds.
const SET_ASIDE_NS: i64 = 3_600_000_000_000;

/// What every step works with.
pub(super) struct Workshop {
    pub(super) catalog: Arc<Catalog>,
    pub(super) table: Arc<Table>,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    pub(super) indexes: FileIndexes,
    pub(super) flusher: Arc<Flusher>,
    pub(super) limits: LimitsOf,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) compactor: CompactorConfig,
    pub(super) compaction: CompactionConfig,
    pub(super) layout: LineLayout,
    /// The table's directory, if no other process writes it.
    pub(super) own_directory: Option<PathBuf>,
    pub(super) levels: Vec<Level>,
    pub(super) tier_roots: Vec<Path>,
    pub(super) progress: Mutex<Progress>,
    /// Files that could not be read, until when they are left alone.
    pub(super) set_aside: Mutex<HashMap<String, UnixNanos>>,
    /// Files that retention need not look at before.
    pub(super) staying: Mutex<HashMap<String, UnixNanos>>,
    pub(super) ledger: Arc<Ledger>,
    /// Held while a tenant's requests are carried out or taken back.
    pub(super) deleting: tokio::sync::Mutex<()>,
    pub(super) signing_key: SigningKey,
    /// How long audit records are kept; 0: for ever.
    pub(super) audit_period: GoDuration,
    /// Who has it does the upkeep; none where there is one process.
    pub(super) lease: Option<Arc<Lease>>,
}

impl Workshop {
    /// Whether this process does the upkeep. A step that goes on when it does no longer is refused by the table where
    /// another did the same.
    pub(super) fn is_in_charge(&self) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.held().is_some())
    }

    /// The process that does the upkeep, where there are several.
    pub(super) fn in_charge(&self) -> Option<String> {
        self.lease.as_ref()?.holder()
    }

    /// Counts and tells a failed step.
    pub(super) fn note(&self, step: &'static str, outcome: Result<(), UpkeepError>) {
        if let Err(error) = outcome {
            self.metrics.upkeep.failures.with_label_values(&[step]).inc();
            tracing::warn!(%error, step, "a step of the table's upkeep failed; it is tried again in the next round");
        }
    }

    /// How hard what rests is squeezed.
    pub(super) fn squeeze(&self) -> Effort {
        Effort::Squeeze(self.compaction.zstd_level)
    }

    /// Writes the rows of `inputs` that `keep` keeps, all without it, into new files. Nothing shows yet.
    ///
    /// A merge that did not read all rows is refused.
    pub(super) async fn merge(
        &self,
        inputs: &[Arc<DataFile>],
        effort: Effort,
        keep: Option<&mut Keep<'_>>,
    ) -> Result<Merged, UpkeepError> {
        let Some(first) = inputs.first() else { return Ok(Merged::default()) };
        let streams = self.catalog.streams().tenant(&first.tenant);
        let output_bytes_max = self.compaction.target_bytes.0;
        let request = MergeRequest { inputs, effort, layout: self.layout, output_bytes_max };
        let merged = merge(&self.store, &self.root, &self.indexes, &streams, &request, keep).await;
        if let Err(error) = &merged {
            self.leave_alone(error, inputs);
        }
        let merged = merged?;
        let expected: u64 = inputs.iter().map(|file| file.rows).sum();
        let stored: u64 = merged.files.iter().map(|file| file.rows).sum();
        if merged.rows_read != expected || stored != merged.rows_written {
            self.discard(&merged.files).await;
            let (read, written) = (merged.rows_read, stored);
            return Err(UpkeepError::RowsLost { files: inputs.len(), read, written, expected });
        }
        Ok(merged)
    }

    /// Exchanges `removed`, which were live at version `base`, for `added`, in the table and in the catalog.
    pub(super) async fn swap(
        &self,
        removed: &[Arc<DataFile>],
        added: Vec<DataFile>,
        base: u64,
        operation: &str,
    ) -> Result<u64, UpkeepError> {
        let gone: Vec<DataFile> = removed.iter().map(|file| (**file).clone()).collect();
        failpoint::hit("swap.commit");
        match self.table.replace(&added, &gone, base, operation).await {
            Ok(version) => {
                failpoint::hit("swap.committed");
                self.catalog.replace(removed, added, self.clock.now());
                Ok(version)
            }
            Err(TableError::Conflict { path, version }) => {
                tracing::info!(path, version, "another process removed a file that was being rewritten");
                self.discard(&added).await;
                Err(UpkeepError::Conflict)
            }
            // It may have landed: what it wrote stays until the vacuum knows.
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes files that no commit names.
    pub(super) async fn discard(&self, files: &[DataFile]) {
        use object_store::ObjectStoreExt;
        for file in files {
            if let Err(error) = self.store.delete(&file.location(&self.root)).await {
                tracing::warn!(%error, path = file.path, "a file that was not committed could not be deleted; the vacuum will");
            }
        }
    }

    /// Leaves files alone for a while that could not be read. A store that is full or away is no fault of theirs.
    pub(super) fn leave_alone(&self, error: &FilesError, inputs: &[Arc<DataFile>]) {
        if error.is_of_store() {
            return;
        }
        let until = self.clock.now().saturating_add(SET_ASIDE_NS);
        let mut set_aside = self.set_aside.lock();
        match error {
            FilesError::Parquet { path, .. }
            | FilesError::NoStreamIndex { path }
            | FilesError::BadStreamIndex { path, .. } => {
                tracing::error!(%error, path, "a file of the table cannot be read; it is left as it is and the rest is served");
                set_aside.insert(path.clone(), until);
            }
            _ => set_aside.extend(inputs.iter().map(|file| (file.path.clone(), until))),
        }
        self.metrics.upkeep.damaged_files.set(i64::try_from(set_aside.len()).unwrap_or(i64::MAX));
    }

    /// Whether a file could not be read lately.
    pub(super) fn is_set_aside(&self, file: &DataFile) -> bool {
        let mut set_aside = self.set_aside.lock();
        let now = self.clock.now();
        set_aside.retain(|_, until| *until > now);
        self.metrics.upkeep.damaged_files.set(i64::try_from(set_aside.len()).unwrap_or(i64::MAX));
        set_aside.contains_key(&file.path)
    }
}
