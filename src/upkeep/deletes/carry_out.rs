//! Carrying deletes out: file by file, for all due requests of a tenant at once.
//!
//! ```text
//! file ─ index: no such streams or times ─▶ nothing to do
//!      ─ read: no such row ─▶ checked
//!      ─ else: written anew without them ─ ledger: pending ─ commit ─ ledger: rewritten
//! ```

use std::sync::Arc;

use arrow::array::AsArray;
use futures::StreamExt;
use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};

use super::certificate::Certificate;
use super::face::millis;
use super::ledger::LedgerError;
use super::request::{DeleteRequest, Facts, Rewrite, Stage};
use super::search::{candidates, has_any};
use crate::catalog::Hide;
use crate::failpoint;
use crate::files::DataFile;
use crate::files::table::OPERATION_DELETE;
use crate::ingest::retention::DeletionMode;
use crate::streams::TenantStreams;
use crate::types::ids::TenantId;
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};
use crate::upkeep::UpkeepError;
use crate::upkeep::workshop::Workshop;

/// A request being carried out, and what hides its rows.
struct Due {
    request: DeleteRequest,
    hide: Arc<Hide>,
}

/// What a rewrite took from a file for one request.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    rows: u64,
    line_bytes: u64,
}

impl Workshop {
    /// Does what is due: rows removed, certificates written.
    pub(in crate::upkeep) async fn carry_out_deletes(&self) -> Result<(), UpkeepError> {
        self.show_deletes();
        if !self.compactor.retention_enabled {
            return Ok(());
        }
        let mut tenants: Vec<TenantId> = self.ledger.all().iter().filter_map(|request| request.tenant().ok()).collect();
        tenants.sort_unstable();
        tenants.dedup();
        for tenant in tenants {
            let _turn = self.deleting.lock().await;
            self.settle_pending(&tenant).await?;
            if self.limits.of(&tenant).deletion_mode == DeletionMode::FilterAndDelete {
                self.carry_out(&tenant).await?;
            }
        }
        self.show_deletes();
        Ok(())
    }

    /// Finds out what became of exchanges that a crash cut short.
    async fn settle_pending(&self, tenant: &TenantId) -> Result<(), UpkeepError> {
        for mut request in self.ledger.of_tenant(tenant) {
            if request.pending.is_empty() {
                continue;
            }
            let live: std::collections::HashSet<String> =
                self.files_of_tenant(tenant).into_iter().map(|file| file.path.clone()).collect();
            for rewrite in std::mem::take(&mut request.pending) {
                let happened = !live.contains(&rewrite.before.path)
                    && rewrite.after.iter().all(|after| live.contains(&after.path));
                if happened {
                    request.note(rewrite);
                }
            }
            self.ledger.put(&request).await?;
        }
        Ok(())
    }

    async fn carry_out(&self, tenant: &TenantId) -> Result<(), UpkeepError> {
        let mut batch = self.due_deletes(tenant)?;
        if batch.is_empty() {
            return Ok(());
        }
        let streams = self.catalog.streams().tenant(tenant);
        let base = self.flusher.follow().await?;
        let files = self.files_of_tenant(tenant);
        let mut left = vec![Vec::new(); batch.len()];
        let mut unread = false;
        for file in files.iter().filter(|file| batch.iter().any(|due| due.may_be_in(file))) {
            if self.is_set_aside(file) {
                unread = true;
                continue;
            }
            let index = match self.indexes.get(file).await {
                Ok(index) => index,
                Err(error) => {
                    self.leave_alone(&error, std::slice::from_ref(file));
                    unread = true;
                    continue;
                }
            };
            for (due, left) in batch.iter().zip(&mut left) {
                if due.may_be_in(file) && !candidates(file, &index, &due.hide, &streams).is_empty() {
                    left.push(file.clone());
                }
            }
        }
        let now_ms = millis(self.clock.now());
        for (due, left) in batch.iter_mut().zip(&left) {
            let request = &mut due.request;
            if request.stage == Stage::Received {
                request.stage = Stage::Working;
                request.started_ms = Some(now_ms);
                request.files_found = left.len() as u64;
                tracing::info!(id = request.id, tenant = request.tenant, files = left.len(), "carrying out a delete");
            }
            request.files_found = request.files_found.max(left.len() as u64);
            request.files_left = left.len() as u64;
            self.ledger.put(request).await?;
        }
        let all: Vec<Arc<DataFile>> =
            files.into_iter().filter(|file| left.iter().flatten().any(|other| Arc::ptr_eq(other, file))).collect();
        for file in all {
            let touched: Vec<usize> = (0..batch.len()).filter(|at| batch[*at].may_be_in(&file)).collect();
            match self.clean(&file, &mut batch, &touched, &streams, base).await {
                Ok(()) => {}
                Err(UpkeepError::Files(error)) => {
                    tracing::error!(%error, path = file.path, "a delete cannot be carried out in this file; it goes on with the others");
                    unread = true;
                    continue;
                }
                Err(error) => return Err(error),
            }
            for at in touched {
                let request = &mut batch[at].request;
                request.files_left = request.files_left.saturating_sub(1);
                self.ledger.put(request).await?;
            }
        }
        if unread {
            return Ok(());
        }
        for due in &mut batch {
            due.request.stage = Stage::Processed;
            due.request.processed_ms = Some(millis(self.clock.now()));
            due.request.files_left = 0;
            self.ledger.put(&due.request).await?;
            failpoint::hit("delete.processed");
            self.catalog.unhide(tenant, &due.request.id);
            let rows = due.request.rows_deleted();
            tracing::info!(id = due.request.id, tenant = due.request.tenant, rows, "a delete is carried out");
            self.metrics.upkeep.deletes_processed.with_label_values(&[tenant.as_str()]).inc();
        }
        Ok(())
    }

    /// The requests of a tenant whose time has come, oldest first.
    fn due_deletes(&self, tenant: &TenantId) -> Result<Vec<Due>, UpkeepError> {
        let now_ms = millis(self.clock.now());
        let patience_ms = self.compactor.delete_request_cancel_period.nanos() / NANOS_PER_MILLI;
        let is_due =
            |request: &DeleteRequest| request.is_open() && request.created_ms.saturating_add(patience_ms) <= now_ms;
        let due = self.ledger.of_tenant(tenant).into_iter().filter(is_due).take(self.compactor.delete_batch_size);
        due.map(|request| {
            let hide =
                Arc::new(request.hide(self.catalog.streams()).map_err(|error| UpkeepError::Query(error.to_string()))?);
            Ok(Due { request, hide })
        })
        .collect()
    }

    /// Takes the rows of all requests out of one file.
    async fn clean(
        &self,
        file: &Arc<DataFile>,
        batch: &mut [Due],
        touched: &[usize],
        streams: &TenantStreams,
        base: u64,
    ) -> Result<(), UpkeepError> {
        let index = self.indexes.get(file).await?;
        let mut matching = Vec::new();
        for at in touched {
            match has_any(file, &index, &self.indexes, &batch[*at].hide, streams).await {
                Ok(true) => matching.push(*at),
                Ok(false) => {
                    batch[*at].request.checked.insert(file.path.clone());
                }
                Err(error) => {
                    self.leave_alone(&error, std::slice::from_ref(file));
                    return Err(error.into());
                }
            }
        }
        if matching.is_empty() {
            return Ok(());
        }
        let mut taken = vec![Taken::default(); matching.len()];
        let hides: Vec<Arc<Hide>> = matching.iter().map(|at| batch[*at].hide.clone()).collect();
        let merged = self
            .merge(
                std::slice::from_ref(file),
                self.squeeze(),
                Some(&mut |rows| {
                    let mut gone = None;
                    for (hide, taken) in hides.iter().zip(&mut taken) {
                        let hidden = hide.hidden(rows);
                        let views = rows.column(3).as_string_view().views();
                        taken.rows += hidden.count_set_bits() as u64;
                        taken.line_bytes += hidden.set_indices().map(|row| u64::from(views[row] as u32)).sum::<u64>();
                        gone = Some(gone.map_or(hidden.clone(), |gone| &gone | &hidden));
                    }
                    Ok(gone.map(|gone| !&gone))
                }),
            )
            .await?;
        let before = self.facts(file).await?;
        let mut after = Vec::new();
        for file in &merged.files {
            after.push(self.facts(file).await?);
        }
        let at_ms = millis(self.clock.now());
        for (at, taken) in matching.iter().zip(&taken) {
            let (before, after) = (before.clone(), after.clone());
            let (rows_deleted, line_bytes_deleted) = (taken.rows, taken.line_bytes);
            let rewrite = Rewrite { before, after, rows_deleted, line_bytes_deleted, at_ms };
            batch[*at].request.pending = vec![rewrite];
            self.ledger.put(&batch[*at].request).await?;
        }
        failpoint::hit("delete.pending");
        let swapped = self.swap(std::slice::from_ref(file), merged.files, base, OPERATION_DELETE).await;
        failpoint::hit("delete.swapped");
        for at in touched {
            let request = &mut batch[*at].request;
            let pending = std::mem::take(&mut request.pending);
            if swapped.is_ok() {
                request.checked.extend(after.iter().map(|after| after.path.clone()));
                pending.into_iter().for_each(|rewrite| request.note(rewrite));
            }
        }
        swapped?;
        let rows: u64 = taken.iter().map(|taken| taken.rows).sum();
        self.metrics.upkeep.deleted_lines.with_label_values(&[file.tenant.as_str()]).inc_by(rows);
        Ok(())
    }

    /// Writes the certificates of requests of which no byte is left.
    pub(in crate::upkeep) async fn certify(&self) -> Result<(), UpkeepError> {
        let waiting: Vec<_> =
            self.ledger.all().into_iter().filter(|request| request.stage == Stage::Processed).collect();
        let Some(oldest) = waiting.iter().filter_map(|request| request.processed_ms).min() else { return Ok(()) };
        // Files that left the table before have been looked through too: an earlier merge left copies behind.
        let retired = self.catalog.retired();
        let gone_until = retired.iter().map(|retired| retired.since).min().unwrap_or(UnixNanos::MAX);
        if millis(gone_until) <= oldest {
            return Ok(());
        }
        self.sweep(&std::collections::HashMap::new()).await?;
        for mut request in waiting {
            let is_gone = request.processed_ms.is_some_and(|at| at < millis(gone_until));
            if !is_gone || !self.files_are_deleted(&request).await? || !self.log_is_cut(&request).await? {
                continue;
            }
            let erased_ms = millis(self.clock.now());
            request.erased_ms = Some(erased_ms);
            request.stage = Stage::Erased;
            let text = self.signing_key.sign(&Certificate::of(&request, erased_ms));
            let text = text.map_err(|error| UpkeepError::Certificate(error.to_string()))?;
            self.ledger.put_certificate(&request, text).await?;
            self.ledger.put(&request).await?;
            tracing::info!(id = request.id, tenant = request.tenant, "no byte of a delete's rows is left; certified");
        }
        Ok(())
    }

    async fn files_are_deleted(&self, request: &DeleteRequest) -> Result<bool, UpkeepError> {
        for rewrite in &request.rewrites {
            let (tenant, path) = (TenantId::single(), rewrite.before.path.clone());
            let gone = DataFile::new(tenant, 0, path, request.ceiling());
            match self.store.head(&gone.location(&self.root)).await {
                Err(object_store::Error::NotFound { .. }) => {}
                Ok(_) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Whether no segment of the log has records from before the request. Records of another process's log are its own.
    async fn log_is_cut(&self, request: &DeleteRequest) -> Result<bool, UpkeepError> {
        if request.log.log != self.flusher.log_identity() {
            return Ok(true);
        }
        Ok(self.flusher.cut_log_through(crate::types::ids::Lsn(request.log.lsn)).await?)
    }

    async fn facts(&self, file: &DataFile) -> Result<Facts, UpkeepError> {
        let mut digest = Sha256::new();
        let mut bytes = self.store.get(&file.location(&self.root)).await?.into_stream();
        while let Some(part) = bytes.next().await {
            digest.update(&part?);
        }
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Facts { path: file.path.clone(), bytes: file.bytes, rows: file.rows, sha256 })
    }

    fn files_of_tenant(&self, tenant: &TenantId) -> Vec<Arc<DataFile>> {
        self.catalog.partitions().into_iter().filter(|p| p.tenant == *tenant).flat_map(|p| p.files).collect()
    }

    fn show_deletes(&self) {
        let open: Vec<_> = self.ledger.all().into_iter().filter(DeleteRequest::is_open).collect();
        let now_ms = millis(self.clock.now());
        let patience_ms = self.compactor.delete_request_cancel_period.nanos() / NANOS_PER_MILLI;
        let age = |request: &DeleteRequest| now_ms - request.created_ms - patience_ms;
        let pending = open.iter().filter(|request| age(request) >= 0);
        self.metrics.upkeep.deletes_pending.set(i64::try_from(pending.clone().count()).unwrap_or(i64::MAX));
        self.metrics.upkeep.oldest_delete_age.set(pending.map(age).max().unwrap_or(0) / 1_000);
    }
}

impl Due {
    fn may_be_in(&self, file: &DataFile) -> bool {
        self.hide.may_touch(file.seq, file.ts_min, file.ts_max) && !self.request.checked.contains(&file.path)
    }
}

impl DeleteRequest {
    /// Notes a file that was exchanged.
    fn note(&mut self, rewrite: Rewrite) {
        self.checked.extend(rewrite.after.iter().map(|after| after.path.clone()));
        self.rewrites.push(rewrite);
    }
}

impl From<LedgerError> for UpkeepError {
    fn from(error: LedgerError) -> Self {
        UpkeepError::Ledger(error.to_string())
    }
}
