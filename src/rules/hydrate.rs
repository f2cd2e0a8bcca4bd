//! The rows of the past, read from the store into operators: how a new rule starts with whole windows, and how a
//! restart goes on.
//!
//! ```text
//! one snapshot a tenant, marked in the feed ─▶ each leaf's rows ─▶ operators ─▶ Order::Hydrated
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::flow::{Feed, GroupId, Order, RuleOperator};
use crate::query::{Engine, SnapshotRows};
use crate::types::ids::TenantId;
use crate::types::time::{TimeRange, UnixNanos};

/// A group whose past is wanted.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) id: GroupId,
    /// Without rows; none for rules that are asked.
    pub(super) operators: Vec<Option<RuleOperator>>,
    /// The first evaluation whose windows must be whole.
    pub(super) from: UnixNanos,
}

/// Reads the past of groups of one tenant.
pub(super) async fn hydrate(engine: Engine, feed: Arc<Feed>, tenant: TenantId, pasts: Vec<Past>, timeout: Duration) {
    let starts = pasts
        .iter()
        .flat_map(|past| past.operators.iter().flatten().map(|operator| operator.reads_from(past.from).start));
    let start = starts.min().unwrap_or(UnixNanos::MAX);
    let range = TimeRange::new(start, UnixNanos::MAX);
    let ids: Vec<GroupId> = pasts.iter().map(|past| past.id).collect();
    let snapshot = engine.snapshot_marked(&tenant, range, || feed.mark(ids));
    for past in pasts {
        let mut operators = Vec::with_capacity(past.operators.len());
        let mut failed = None;
        for operator in past.operators {
            let Some(mut operator) = operator else {
                operators.push(None);
                continue;
            };
            let range = operator.reads_from(past.from);
            for leaf in 0..operator.leaves().len() {
                let wanted = SnapshotRows {
                    snapshot: snapshot.clone(),
                    log: operator.leaves()[leaf].log().clone(),
                    range,
                    projection: operator.leaves()[leaf].projection(),
                };
                let spare = operator.emptied();
                let add = move |operator: &mut RuleOperator, batch: &arrow::array::RecordBatch| {
                    operator.on_leaf_batch(leaf, batch).map_err(|error| error.to_string())
                };
                match engine.fold_rows(&tenant, wanted, operator, add, timeout).await {
                    Ok(folded) => operator = folded,
                    Err(error) => {
                        failed = Some(error.to_string());
                        operator = spare;
                    }
                }
            }
            operators.push(Some(operator));
        }
        let past_rows = match failed {
            None => Ok(operators),
            Some(error) => {
                tracing::error!(tenant = %tenant, error, "rows of the past could not be read; rules of this group begin with empty windows");
                Err(error)
            }
        };
        feed.order(Order::Hydrated(past.id, past_rows));
    }
}
