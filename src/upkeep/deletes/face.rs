//! What the API does with deletes: asks, lists, takes back, fetches certificates.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::ledger::{LedgerError, REQUESTS_MAX};
use super::request::{DeleteRequest, FORMAT, LogMark, Stage};
use super::search;
use crate::catalog::Hide;
use crate::head::row_hashes;
use crate::ingest::flush::FlushError;
use crate::ingest::flush_plan::FlushReason;
use crate::query::QueryError;
use crate::streams::StreamRef;
use crate::types::ids::TenantId;
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};
use crate::upkeep::workshop::Workshop;
use crate::upkeep::{Upkeep, UpkeepError};

/// What is asked away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelete {
    /// LogQL: a selector, with filters or without.
    pub query: String,
    /// Event times, milliseconds since the epoch, both inside.
    pub start_ms: i64,
    pub end_ms: i64,
}

/// Why a delete was not taken, or not taken back. Texts are Loki's where Loki has one.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error("could not find delete request with given id")]
    NotFound,
    #[error("deletion of request which is in process or already processed is not allowed")]
    Processed,
    #[error(
        "Cancellation of partially completed delete request or delete request past the deadline of {deadline} since its creation is not allowed. To force, use the ?force query parameter"
    )]
    TooLate { deadline: crate::types::units::GoDuration },
    #[error("there are {REQUESTS_MAX} delete requests; take some back, or remove old ones from the ledger")]
    TooMany,
    #[error("{0}")]
    Query(#[from] QueryError),
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    #[error("rows in memory could not be written to files first: {0}")]
    Flush(#[from] FlushError),
    #[error("{0}")]
    Upkeep(#[from] UpkeepError),
}

impl Upkeep {
    /// Hides the rows at once and remembers to remove them. Answers the request's id.
    pub async fn request_delete(&self, tenant: &TenantId, new: NewDelete) -> Result<String, DeleteError> {
        let id = self.workshop.request_delete(tenant, new).await?;
        if self.workshop.compactor.delete_request_cancel_period.0 == 0 {
            // Where another process does the upkeep, that one finds it.
            let _ = self.wake();
        }
        Ok(id)
    }

    /// The requests of a tenant, oldest first.
    pub fn delete_requests(&self, tenant: &TenantId) -> Vec<DeleteRequest> {
        self.workshop.ledger.of_tenant(tenant)
    }

    /// Takes a request back: its rows are seen again, as far as they are still there.
    pub async fn cancel_delete(&self, tenant: &TenantId, id: &str, force: bool) -> Result<(), DeleteError> {
        let workshop = &self.workshop;
        // A request is not taken back while its rows are being removed.
        let _turn = workshop.deleting.lock().await;
        let request = workshop.ledger.get(tenant, id).ok_or(DeleteError::NotFound)?;
        if !request.is_open() {
            return Err(DeleteError::Processed);
        }
        let deadline = workshop.compactor.delete_request_cancel_period;
        let until_ms = request.created_ms.saturating_add(deadline.nanos() / NANOS_PER_MILLI);
        let is_late = request.status() != "received" || until_ms < millis(workshop.clock.now());
        if is_late && !force {
            return Err(DeleteError::TooLate { deadline });
        }
        workshop.ledger.remove(&request).await?;
        workshop.catalog.unhide(tenant, id);
        Ok(())
    }

    /// The signed certificate of a request; the request itself while there is none.
    pub async fn certificate(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Result<String, Box<DeleteRequest>>, DeleteError> {
        let request = self.workshop.ledger.get(tenant, id).ok_or(DeleteError::NotFound)?;
        Ok(self.workshop.ledger.certificate(&request).await?.ok_or_else(|| Box::new(request)))
    }
}

impl Workshop {
    async fn request_delete(&self, tenant: &TenantId, new: NewDelete) -> Result<String, DeleteError> {
        if self.ledger.len() >= REQUESTS_MAX {
            return Err(DeleteError::TooMany);
        }
        let now = self.clock.now();
        let mut request = DeleteRequest {
            format: FORMAT,
            id: self.new_id(tenant, &new.query, now),
            tenant: tenant.to_string(),
            query: new.query,
            start_ms: new.start_ms,
            end_ms: new.end_ms,
            created_ms: millis(now),
            ceiling: 0,
            log: LogMark { log: self.flusher.log_identity().to_owned(), lsn: 0 },
            stage: Stage::Received,
            files_found: 0,
            files_left: 0,
            checked: Default::default(),
            rewrites: Vec::new(),
            pending: Vec::new(),
            started_ms: None,
            processed_ms: None,
            erased_ms: None,
        };
        // What does not compile is refused before anything happens.
        request.hide(self.catalog.streams())?;
        let line = self.catalog.draw_line(now);
        (request.ceiling, request.log.lsn) = (line.seq.0, line.last_lsn.0);
        let hide = request.hide(self.catalog.streams())?;
        self.catalog.hide(hide.clone());
        match self.make_durable(&request, &hide).await {
            Ok(()) => Ok(request.id),
            Err(error) => {
                self.catalog.unhide(tenant, &request.id);
                Err(error)
            }
        }
    }

    async fn make_durable(&self, request: &DeleteRequest, hide: &Hide) -> Result<(), DeleteError> {
        // A restart replays what is not in files as rows that came later: so all that came before goes into files.
        self.flusher.flush(FlushReason::Asked).await?;
        self.ledger.put(request).await?;
        self.forget_repeats(&Arc::new(hide.clone())).await
    }

    /// A row that is pushed again after its delete is a new row, no repeat.
    async fn forget_repeats(&self, hide: &Arc<Hide>) -> Result<(), DeleteError> {
        let streams = self.catalog.streams().tenant(&hide.tenant);
        let remembered = self.catalog.remembered_since();
        let mut hashes = Vec::new();
        let snapshot = self.catalog.snapshot(&hide.tenant, hide.range);
        for file in snapshot.files.iter().filter(|file| file.seq >= remembered) {
            let index = self.indexes.get(file).await.map_err(UpkeepError::from)?;
            let mut note = |rows: &arrow::array::RecordBatch| {
                hashes.extend(row_hashes(&hide.tenant, rows, |stream| streams.get(StreamRef(stream))));
                ControlFlow::Continue(())
            };
            let read = search::rows_of(file, &index, &self.indexes, hide, &streams, &mut note);
            read.await.map_err(UpkeepError::from)?;
        }
        self.catalog.forget_repeats(&hashes);
        Ok(())
    }

    /// Eight hex digits, as Loki's, of no other request of the tenant.
    fn new_id(&self, tenant: &TenantId, query: &str, now: UnixNanos) -> String {
        let mut salt = now.0;
        loop {
            let text = [tenant.as_str().as_bytes(), &salt.to_le_bytes(), query.as_bytes()].concat();
            let id = format!("{:08x}", xxhash_rust::xxh3::xxh3_64(&text) as u32);
            if self.ledger.get(tenant, &id).is_none() {
                return id;
            }
            salt = salt.wrapping_add(1);
        }
    }
}

pub(super) fn millis(at: UnixNanos) -> i64 {
    at.0.div_euclid(NANOS_PER_MILLI)
}
