//! Rows of a fixed snapshot, batch by batch: how continuous operators take in the past.

use arrow::array::RecordBatch;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;

use crate::access::Scope;
use crate::catalog::Snapshot;
use crate::logql::ast::LogExpr;
use crate::query::{Engine, QueryError};
use crate::types::ids::TenantId;
use crate::types::rows::RowProjection;
use crate::types::time::TimeRange;

impl Engine {
    /// What a reader of `range` may read, fixed at the moment in which `mark` is called.
    pub fn snapshot_marked(&self, tenant: &TenantId, range: TimeRange, mark: impl FnOnce()) -> Snapshot {
        self.planner(&Scope::of_server(tenant.clone())).catalog.snapshot_marked(tenant, range, mark)
    }

    /// Folds the rows that a selector chooses of a snapshot, in no order. Runs on the query threads.
    ///
    /// # Errors
    /// What `each` answers, or what reading fails with.
    pub async fn fold_rows<S: Send + 'static>(
        &self,
        tenant: &TenantId,
        what: SnapshotRows,
        state: S,
        mut each: impl FnMut(&mut S, &RecordBatch) -> Result<(), String> + Send + 'static,
        timeout: std::time::Duration,
    ) -> Result<S, QueryError> {
        let planner = self.planner(&Scope::of_server(tenant.clone()));
        let context = self.task_context(&planner.scope);
        self.run(timeout, async move {
            let plan = planner.rows_of(what.snapshot, &what.log, what.range, what.projection).await?;
            let mut batches = execute_stream(plan, context)?;
            let mut state = state;
            while let Some(batch) = batches.next().await {
                // A batch is work for milliseconds: others get their turn in between.
                tokio::task::yield_now().await;
                each(&mut state, &batch?).map_err(QueryError::Internal)?;
            }
            Ok(state)
        })
        .await
    }
}

/// Rows of a snapshot that are wanted.
#[derive(Debug, Clone)]
pub struct SnapshotRows {
    pub snapshot: Snapshot,
    pub log: LogExpr,
    /// Within the range of the snapshot.
    pub range: TimeRange,
    pub projection: RowProjection,
}
