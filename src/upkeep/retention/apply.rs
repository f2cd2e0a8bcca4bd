//! Applying retention: files dropped and written anew.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;

use super::rules::{Fate, Rules, slack};
use crate::catalog::Partition;
use crate::files::table::OPERATION_DELETE;
use crate::files::{DataFile, FileIndex};
use crate::query::QueryError;
use crate::types::ids::TenantId;
use crate::types::time::{TimeRange, UnixNanos};
use crate::upkeep::UpkeepError;
use crate::upkeep::workshop::Workshop;

/// Files dropped in one commit.
const DROPS_MAX: usize = 1_000;

/// What retention makes of a file.
enum Decision {
    Keep,
    Drop,
    Rewrite,
}

impl Workshop {
    /// Drops and rewrites what is past its period, when that is due.
    pub(in crate::upkeep) async fn apply_retention(&self) -> Result<(), UpkeepError> {
        if !self.compactor.retention_enabled || !self.is_retention_due() {
            return Ok(());
        }
        let outcome = self.apply_to_all().await;
        let status = if outcome.is_ok() { "success" } else { "failure" };
        self.metrics.upkeep.retention_runs.with_label_values(&[status]).inc();
        if outcome.is_ok() {
            let now = self.clock.now();
            self.progress.lock().retention_applied = Some(now);
            self.metrics.upkeep.retention_applied_at.set(now.0 / 1_000_000_000);
        }
        outcome
    }

    fn is_retention_due(&self) -> bool {
        let interval = self.compactor.apply_retention_interval.nanos();
        let last = self.progress.lock().retention_applied;
        interval == 0 || last.is_none_or(|last| self.clock.now().0 >= last.0.saturating_add(interval))
    }

    async fn apply_to_all(&self) -> Result<(), UpkeepError> {
        let base = self.flusher.follow().await?;
        let mut of_tenant: Option<(TenantId, Rules)> = None;
        for partition in self.catalog.partitions() {
            if of_tenant.as_ref().is_none_or(|(tenant, _)| *tenant != partition.tenant) {
                of_tenant = Some((partition.tenant.clone(), self.rules_of(&partition.tenant)?));
            }
            let Some((_, rules)) = &of_tenant else { continue };
            self.apply_to(&partition, rules, base).await?;
        }
        Ok(())
    }

    pub(super) fn rules_of(&self, tenant: &TenantId) -> Result<Rules, UpkeepError> {
        let compiled =
            Rules::compile(&self.limits.of(tenant), self.audit_period, self.catalog.streams().tenant(tenant));
        compiled.map_err(|error: QueryError| UpkeepError::Query(format!("tenant {tenant}: {error}")))
    }

    async fn apply_to(&self, partition: &Partition, rules: &Rules, base: u64) -> Result<(), UpkeepError> {
        let now = self.clock.now();
        let Some(cutoff) = rules.newest_cutoff(now) else { return Ok(()) };
        let mut drops: Vec<Arc<DataFile>> = Vec::new();
        let mut rewrites: Vec<Arc<DataFile>> = Vec::new();
        for file in partition.files.iter().filter(|file| file.ts_min < cutoff) {
            if self.is_set_aside(file) || self.is_known_to_stay(file, now) {
                continue;
            }
            let index = match self.indexes.get(file).await {
                Ok(index) => index,
                Err(error) => {
                    self.leave_alone(&error, std::slice::from_ref(file));
                    continue;
                }
            };
            match self.decide(file, &index, rules, now) {
                Decision::Keep => {}
                Decision::Drop => drops.push(file.clone()),
                Decision::Rewrite => rewrites.push(file.clone()),
            }
        }
        for drops in drops.chunks(DROPS_MAX) {
            self.swap(drops, Vec::new(), base, OPERATION_DELETE).await?;
            self.note_gone(drops, drops.iter().map(|file| file.rows).sum(), "dropped");
        }
        for file in rewrites {
            match self.rewrite_expired(&file, rules, now, base).await {
                Ok(()) => {}
                Err(UpkeepError::Files(error)) => {
                    tracing::error!(%error, path = file.path, "retention cannot be applied to this file; it goes on with the others");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn decide(&self, file: &DataFile, index: &FileIndex, rules: &Rules, now: UnixNanos) -> Decision {
        let (mut all_expired, mut some_expired, mut overdue_ns) = (true, false, i64::MIN);
        for run in &index.runs {
            match rules.fate(run, now) {
                Fate::Expired => some_expired = true,
                Fate::Kept => all_expired = false,
                Fate::Some { overdue_ns: of_run } => {
                    all_expired = false;
                    overdue_ns = overdue_ns.max(of_run);
                }
            }
        }
        match (all_expired, some_expired || overdue_ns >= 0) {
            (true, _) => Decision::Drop,
            (false, true) => Decision::Rewrite,
            (false, false) => {
                // Nothing will be long enough past its period before that.
                if overdue_ns > i64::MIN {
                    self.stays_until(file, now.saturating_add(overdue_ns.saturating_neg()));
                }
                Decision::Keep
            }
        }
    }

    async fn rewrite_expired(
        &self,
        file: &Arc<DataFile>,
        rules: &Rules,
        now: UnixNanos,
        base: u64,
    ) -> Result<(), UpkeepError> {
        let mut gone = 0;
        let merged = self
            .merge(
                std::slice::from_ref(file),
                self.squeeze(),
                Some(&mut |rows| {
                    let expired = rules.expired(rows, now);
                    let keep = BooleanBuffer::collect_bool(expired.len(), |row| expired[row].is_none());
                    gone += (expired.len() - keep.count_set_bits()) as u64;
                    Ok(Some(keep))
                }),
            )
            .await?;
        if gone == 0 {
            // Only single lines are, and none of them is here yet.
            self.discard(&merged.files).await;
            let shortest = rules.rules().iter().filter_map(|rule| rule.period_ns).min().unwrap_or(i64::MAX);
            self.stays_until(file, now.saturating_add(slack(shortest)));
            return Ok(());
        }
        self.swap(std::slice::from_ref(file), merged.files, base, OPERATION_DELETE).await?;
        self.note_gone(std::slice::from_ref(file), gone, "rewritten");
        Ok(())
    }

    fn note_gone(&self, files: &[Arc<DataFile>], rows: u64, how: &str) {
        let Some(first) = files.first() else { return };
        for file in files {
            self.catalog.range_changed(&file.tenant, TimeRange::new(file.ts_min, file.ts_max.saturating_add(1)));
        }
        self.metrics.upkeep.retention_files.with_label_values(&[how]).inc_by(files.len() as u64);
        self.metrics.upkeep.retention_rows.with_label_values(&[first.tenant.as_str()]).inc_by(rows);
        tracing::info!(
            tenant = first.tenant.as_str(),
            date = first.date(),
            files = files.len(),
            rows,
            how,
            "retention applied"
        );
    }

    fn is_known_to_stay(&self, file: &DataFile, now: UnixNanos) -> bool {
        let mut staying = self.staying.lock();
        match staying.get(&file.path) {
            Some(until) if *until > now => true,
            Some(_) => {
                staying.remove(&file.path);
                false
            }
            None => false,
        }
    }

    /// Remembers that a file need not be looked at before; forgotten at a restart.
    fn stays_until(&self, file: &DataFile, until: UnixNanos) {
        /// Files remembered; beyond, all are looked at anew.
        const STAYING_MAX: usize = 1_000_000;
        let mut staying = self.staying.lock();
        if staying.len() >= STAYING_MAX {
            staying.clear();
        }
        staying.insert(file.path.clone(), until);
    }
}
