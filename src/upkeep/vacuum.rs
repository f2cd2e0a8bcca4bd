//! Vacuum: objects that count no more are deleted once nobody reads them.
//!
//! ```text
//! retired (left the table) ─ retention_delete_delay passed, no snapshot holds it ─▶ deleted
//! orphan (never in a commit: a crash, a failed commit) ─ no flush under way ─▶ deleted
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;

use super::UpkeepError;
use super::workshop::Workshop;
use crate::catalog::Retired;
use crate::files::DataFile;
use crate::files::table::RemovedFile;
use crate::store::remove_unfinished;
use crate::store::url_of_location;
use crate::types::ids::{IngestSeq, TenantId};
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};

/// Objects deleted in one call to the store.
const DELETE_BATCH: usize = 1_000;

impl Workshop {
    /// Deletes retired files whose time has come. Answers how many.
    pub(super) async fn vacuum(&self) -> Result<usize, UpkeepError> {
        let until = self.clock.now().saturating_sub(self.compactor.retention_delete_delay.nanos());
        let mut unread = self.catalog.take_unread(until);
        let mut deleted = 0;
        while !unread.is_empty() {
            let rest = unread.split_off(unread.len().min(DELETE_BATCH));
            let bytes: u64 = unread.iter().map(|retired| retired.file.bytes).sum();
            let paths: Vec<_> = unread.iter().map(|retired| Ok(retired.file.location(&self.root))).collect();
            if let Err(error) = self.delete(paths).await {
                self.catalog.retire(unread.into_iter().chain(rest).collect());
                return Err(error);
            }
            deleted += unread.len();
            self.metrics.upkeep.vacuumed_files.with_label_values(&["retired"]).inc_by(unread.len() as u64);
            self.metrics.upkeep.vacuumed_bytes.inc_by(bytes);
            unread = rest;
        }
        self.show_retired();
        if deleted > 0 {
            tracing::info!(files = deleted, "vacuumed");
        }
        Ok(deleted)
    }

    /// Looks through the whole store for objects that count no more: retires what commits removed before this process
    /// began, and deletes what no commit ever named.
    pub(super) async fn sweep(&self, removed: &HashMap<String, RemovedFile>) -> Result<usize, UpkeepError> {
        let Some(directory) = &self.own_directory else {
            let age = self.clock.now().saturating_sub(self.compaction.orphan_age.nanos());
            return self.sweep_objects(removed, &HashSet::new(), age).await;
        };
        remove_unfinished(directory).map_err(|source| object_store::Error::Generic {
            store: "local files",
            source: format!("{}: {source}", directory.display()).into(),
        })?;
        // While no flush is under way, every file is in the catalog, is retired, or is nothing.
        let begun = self.clock.now();
        self.flusher.between_flushes(async |pending| self.sweep_objects(removed, pending, begun).await).await
    }

    async fn sweep_objects(
        &self,
        removed: &HashMap<String, RemovedFile>,
        pending: &HashSet<String>,
        written_before: UnixNanos,
    ) -> Result<usize, UpkeepError> {
        let mut objects: Vec<ObjectMeta> = self.store.list(Some(&self.root)).try_collect().await?;
        // Copies that did not get into the table. Clocks of other places may differ: only those that are old.
        let old = self.clock.now().saturating_sub(self.compaction.orphan_age.nanos());
        for root in &self.tier_roots {
            let of_tier: Vec<ObjectMeta> = self.store.list(Some(root)).try_collect().await?;
            objects.extend(of_tier.into_iter().filter(|object| written_at(object) <= old));
        }
        let live: HashSet<String> =
            self.catalog.partitions().into_iter().flat_map(|p| p.files).map(|file| file.path.clone()).collect();
        let retired: HashSet<String> =
            self.catalog.retired().into_iter().map(|retired| retired.file.path.clone()).collect();
        let (mut again, mut orphans) = (Vec::new(), Vec::new());
        for object in objects {
            let Some(path) = self.data_path(&object) else { continue };
            if live.contains(&path) || retired.contains(&path) || pending.contains(&path) {
                continue;
            }
            match removed.get(&path) {
                Some(removed) => again.push(retired_again(path, object.size, removed)),
                None if written_at(&object) <= written_before => orphans.push(object),
                None => {}
            }
        }
        self.catalog.retire(again);
        let (count, bytes) = (orphans.len(), orphans.iter().map(|object| object.size).sum());
        if count > 0 {
            tracing::info!(files = count, bytes, "deleting objects that no commit names");
            self.delete(orphans.into_iter().map(|object| Ok(object.location)).collect()).await?;
            self.metrics.upkeep.vacuumed_files.with_label_values(&["orphan"]).inc_by(count as u64);
            self.metrics.upkeep.vacuumed_bytes.inc_by(bytes);
        }
        self.show_retired();
        Ok(count)
    }

    /// The path of a data file relative to the table, as in [`DataFile::path`]; none for other objects.
    fn data_path(&self, object: &ObjectMeta) -> Option<String> {
        if let Some(url) = url_of_location(object.location.as_ref()) {
            return (url.contains("/tenant=") && url.ends_with(".parquet")).then_some(url);
        }
        let inside = match self.root.as_ref() {
            "" => object.location.as_ref(),
            root => object.location.as_ref().strip_prefix(root)?.strip_prefix('/')?,
        };
        (inside.starts_with("tenant=") && inside.ends_with(".parquet")).then(|| inside.to_owned())
    }

    /// Deletes objects; one that is not there is fine.
    async fn delete(&self, paths: Vec<object_store::Result<object_store::path::Path>>) -> Result<(), UpkeepError> {
        let mut outcomes = self.store.delete_stream(futures::stream::iter(paths).boxed());
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn show_retired(&self) {
        let retired = self.catalog.retired();
        let bytes: u64 = retired.iter().map(|retired| retired.file.bytes).sum();
        self.metrics.upkeep.retired_files.set(i64::try_from(retired.len()).unwrap_or(i64::MAX));
        self.metrics.upkeep.retired_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

fn written_at(object: &ObjectMeta) -> UnixNanos {
    UnixNanos(object.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX))
}

/// A file that a commit removed before this process began; only its place and size matter any more.
fn retired_again(path: String, bytes: u64, removed: &RemovedFile) -> Retired {
    let mut file = DataFile::new(TenantId::single(), 0, path, IngestSeq::default());
    file.bytes = bytes;
    let since = UnixNanos(removed.removed_at_ms.saturating_mul(NANOS_PER_MILLI));
    Retired { file: Arc::new(file), since }
}
