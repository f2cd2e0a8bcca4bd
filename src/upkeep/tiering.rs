//! Tiers: files that are old enough are copied to a colder place, and the table is told where they lie now.
//!
//! ```text
//! files/tier_plan says which ─▶ read whole, checked ─▶ put there ─▶ one commit (remove + add) ─▶ vacuum deletes the old copy
//! ```
//!
//! A crash between put and commit leaves a copy that the sweep deletes later; rows are never in two live files.

use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStoreExt;

use super::UpkeepError;
use super::workshop::Workshop;
use crate::files::table::OPERATION_OPTIMIZE;
use crate::files::tier_plan::{level_of, may_move, target};
use crate::files::{DataFile, FilesError};

/// Files that move in one commit. More make fewer commits; a crash copies more of them again.
const BATCH_FILES: usize = 32;
/// What the table's own place is called.
const OWN: &str = "hot";

/// A file, and the level that it is to move to.
type Move = (Arc<DataFile>, usize);

impl Workshop {
    /// Moves what is due. Answers the files moved.
    pub(super) async fn move_to_tiers(&self) -> Result<usize, UpkeepError> {
        if self.levels.is_empty() {
            return Ok(0);
        }
        let mut moved = 0;
        loop {
            let base = self.flusher.follow().await?;
            let due = self.due_to_move().await?;
            self.show_tiers(due.len());
            if due.is_empty() {
                return Ok(moved);
            }
            match self.move_batch(&due[..due.len().min(BATCH_FILES)], base).await {
                Ok(files) => moved += files,
                Err(UpkeepError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Files that belong to a colder level than their own.
    async fn due_to_move(&self) -> Result<Vec<Move>, UpkeepError> {
        let now = self.clock.now();
        let mut due = Vec::new();
        for file in self.catalog.partitions().into_iter().flat_map(|partition| partition.files) {
            if !may_move(&file, &self.levels, now) || self.is_set_aside(&file) {
                continue;
            }
            let index = match self.indexes.get(&file).await {
                Ok(index) => index,
                Err(error @ FilesError::Store(_)) => return Err(error.into()),
                Err(error) => {
                    self.leave_alone(&error, std::slice::from_ref(&file));
                    continue;
                }
            };
            let known = self.catalog.streams().tenant(&file.tenant);
            let streams: Vec<_> = index.runs.iter().map(|run| known.get(run.stream)).collect();
            if let Some(level) = target(&file, &self.levels, streams.iter().map(|stream| &stream.labels), now) {
                due.push((file, level));
            }
        }
        Ok(due)
    }

    async fn move_batch(&self, batch: &[Move], base: u64) -> Result<usize, UpkeepError> {
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for (file, level) in batch {
            let level = &self.levels[*level];
            let content: Bytes = self.store.get(&file.location(&self.root)).await?.bytes().await?;
            if content.len() as u64 != file.bytes || !file.has_checksum_of(&content) {
                let (path, reason) = (file.path.clone(), "its bytes are not those that were written".to_owned());
                self.leave_alone(&FilesError::BadStreamIndex { path, reason }, std::slice::from_ref(file));
                continue;
            }
            let mut moved = (**file).clone();
            moved.path = format!("{}/{}", level.url, file.relative_path());
            self.store.put(&moved.location(&self.root), content.into()).await?;
            tracing::debug!(path = file.path, tier = level.name, bytes = file.bytes, "copied to a tier");
            self.metrics.store.tier_moves.with_label_values(&[&level.name]).inc();
            self.metrics.store.tier_moved_bytes.with_label_values(&[&level.name]).inc_by(file.bytes);
            gone.push(file.clone());
            come.push(moved);
        }
        if gone.is_empty() {
            return Ok(0);
        }
        let (files, bytes) = (gone.len(), gone.iter().map(|file| file.bytes).sum::<u64>());
        let version = self.swap(&gone, come, base, OPERATION_OPTIMIZE).await?;
        tracing::info!(files, bytes, version, "files moved to colder tiers");
        Ok(files)
    }

    fn show_tiers(&self, due: usize) {
        let mut sums = vec![(0_u64, 0_u64); self.levels.len() + 1];
        for file in self.catalog.partitions().into_iter().flat_map(|partition| partition.files) {
            let sum = &mut sums[level_of(&file, &self.levels).map_or(0, |at| at + 1)];
            sum.0 += 1;
            sum.1 += file.bytes;
        }
        let names = std::iter::once(OWN).chain(self.levels.iter().map(|level| level.name.as_str()));
        for (name, (files, bytes)) in names.zip(sums) {
            self.metrics.store.tier_files.with_label_values(&[name]).set(files as f64);
            self.metrics.store.tier_bytes.with_label_values(&[name]).set(bytes as f64);
        }
        self.metrics.store.tier_moves_due.set(due as f64);
    }
}
