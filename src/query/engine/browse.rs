//! What browsers of logs ask beside queries: volumes, patterns, live tails, what is stored.

use std::future::Future;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::Engine;
use crate::access::Scope;
use crate::catalog::Snapshot;
use crate::query::QueryError;
use crate::query::memory::QueryMemory;
use crate::query::patterns::{self, Pattern, PatternsRequest};
use crate::query::tail::{self, TailProgram};
use crate::query::volumes::{self, Volume, VolumeRequest};
use crate::types::ids::TenantId;
use crate::types::time::TimeRange;

impl Engine {
    /// Bytes of lines by stream labels.
    pub async fn volumes(&self, request: VolumeRequest, timeout: Duration) -> Result<Vec<Volume>, QueryError> {
        let parts = self.parts.clone();
        self.run(timeout, async move { volumes::volumes(&parts.catalog, &parts.indexes, &request).await }).await
    }

    /// Templates of lines with their counts.
    pub async fn patterns(&self, request: PatternsRequest, timeout: Duration) -> Result<Vec<Pattern>, QueryError> {
        let parts = self.parts.clone();
        self.run(timeout, async move { patterns::patterns(&parts.catalog, &parts.indexes, &request).await }).await
    }

    /// A log query over rows as they arrive.
    ///
    /// # Errors
    /// `BadInput` for text that is no log query.
    pub fn tail(&self, scope: &Scope, text: &str, categorize: bool) -> Result<TailProgram, QueryError> {
        self.planner(scope).tail(&tail::parse(text)?, categorize)
    }

    /// Runs work on the query threads; it ends when the handle is dropped.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.parts.threads.spawn(work))
    }

    /// What queries share of memory.
    pub fn memory(&self) -> QueryMemory {
        self.parts.memory.clone()
    }

    /// What a tenant has in memory and in files: for those who see all of it.
    pub fn storage(&self, tenant: &TenantId) -> Snapshot {
        self.parts.catalog.snapshot(tenant, TimeRange::ALL)
    }
}
