//! Compaction: the merges that the plan names, one after the other, until none is due.

use super::UpkeepError;
use super::status::Running;
use super::workshop::Workshop;
use crate::files::compact_plan::{Group, plan};
use crate::files::row_file::Effort;
use crate::files::table::OPERATION_OPTIMIZE;
use crate::types::ids::{IngestSeq, TenantId};

impl Workshop {
    /// Merges what is due. Answers the merges done.
    pub(super) async fn compact(&self) -> Result<usize, UpkeepError> {
        if !self.compaction.enabled {
            return Ok(0);
        }
        let mut done = 0;
        loop {
            let base = self.flusher.follow().await?;
            let due = self.due();
            self.metrics.upkeep.compaction_waiting.set(i64::try_from(due.len()).unwrap_or(i64::MAX));
            let Some(group) = due.into_iter().max_by_key(|group| group.files.len()) else { return Ok(done) };
            match self.merge_group(&group, base).await {
                Ok(()) => done += 1,
                Err(UpkeepError::Conflict) => self.metrics.upkeep.compactions.with_label_values(&["conflict"]).inc(),
                Err(error) => {
                    self.metrics.upkeep.compactions.with_label_values(&["failed"]).inc();
                    return Err(error);
                }
            }
        }
    }

    /// Every merge that is due now.
    pub(super) fn due(&self) -> Vec<Group> {
        let (now, policy) = (self.clock.now(), self.compaction.policy());
        let of_partition = |partition: crate::catalog::Partition| {
            let barriers = self.barriers(&partition.tenant);
            let files: Vec<_> = partition.files.into_iter().filter(|file| !self.is_set_aside(file)).collect();
            plan(&files, &policy, &barriers, now)
        };
        self.catalog.partitions().into_iter().flat_map(of_partition).collect()
    }

    /// Ceilings of the deletes of a tenant that are not done: their files are not mixed with later ones.
    pub(super) fn barriers(&self, tenant: &TenantId) -> Vec<IngestSeq> {
        self.catalog.hides(tenant).iter().map(|hide| hide.ceiling).collect()
    }

    async fn merge_group(&self, group: &Group, base: u64) -> Result<(), UpkeepError> {
        let started = self.clock.now();
        self.progress.lock().running = Some(Running::of(&group.files, started));
        self.metrics.upkeep.compaction_running.set(1);
        let outcome = self.merge_and_swap(group, base).await;
        let group = &group.files;
        self.metrics.upkeep.compaction_running.set(0);
        self.progress.lock().running = None;
        let (files, bytes, line_bytes) = outcome?;
        let seconds = (self.clock.now().0 - started.0) as f64 / 1e9;
        let read: u64 = group.iter().map(|file| file.bytes).sum();
        tracing::info!(
            tenant = group[0].tenant.as_str(),
            files_read = group.len(),
            files_written = files,
            bytes_read = read,
            bytes_written = bytes,
            line_bytes,
            seconds,
            "compacted"
        );
        let metrics = &self.metrics.upkeep;
        metrics.compactions.with_label_values(&["done"]).inc();
        metrics.compaction_seconds.observe(seconds);
        metrics.compaction_files.with_label_values(&["read"]).inc_by(group.len() as u64);
        metrics.compaction_files.with_label_values(&["written"]).inc_by(files);
        metrics.compaction_bytes.with_label_values(&["read"]).inc_by(read);
        metrics.compaction_bytes.with_label_values(&["written"]).inc_by(bytes);
        metrics.compaction_line_bytes.inc_by(line_bytes);
        Ok(())
    }

    async fn merge_and_swap(&self, group: &Group, base: u64) -> Result<(u64, u64, u64), UpkeepError> {
        let Group { files: group, squeeze } = group;
        let effort = if *squeeze { self.squeeze() } else { Effort::Quick };
        let merged = self.merge(group, effort, None).await?;
        let (files, bytes) = (merged.files.len() as u64, merged.files.iter().map(|file| file.bytes).sum());
        self.swap(group, merged.files, base, OPERATION_OPTIMIZE).await?;
        Ok((files, bytes, merged.line_bytes_read))
    }
}
