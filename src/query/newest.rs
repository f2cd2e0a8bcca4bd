//! Late materialisation for plain log queries: times first, lines only of what the limit leaves.

use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlanProperties;
use futures::StreamExt;
use tokio::task::JoinSet;

use crate::logql::ast::LogExpr;
use crate::query::plan::Planner;
use crate::query::scan::TimeBound;
use crate::query::{Direction, QueryError};
use crate::types::time::{TimeRange, UnixNanos};

/// The part of `range` that holds the first `limit` rows in `direction`, found by reading times alone.
pub(super) async fn narrow(
    planner: &Planner,
    log: &LogExpr,
    range: TimeRange,
    limit: usize,
    direction: Direction,
    environment: &Arc<RuntimeEnv>,
) -> Result<TimeRange, QueryError> {
    let bound = Arc::new(TimeBound::new(direction));
    let plan = planner.times(log, range, direction, bound.clone()).await?;
    let context = Arc::new(TaskContext::default().with_runtime(environment.clone()));
    let mut partitions = JoinSet::new();
    for partition in 0..plan.output_partitioning().partition_count() {
        let mut batches = plan.execute(partition, context.clone())?;
        let bound = bound.clone();
        partitions.spawn(async move {
            let mut best: BinaryHeap<i64> = BinaryHeap::with_capacity(limit + 1);
            while let Some(batch) = batches.next().await {
                // A batch is work for milliseconds: a query that nobody waits for any more ends here.
                tokio::task::yield_now().await;
                for ts in batch?.column(0).as_primitive::<Int64Type>().values() {
                    let key = rank(*ts, direction);
                    if best.len() < limit {
                        best.push(key);
                    } else if best.peek().is_some_and(|worst| key < *worst) {
                        best.pop();
                        best.push(key);
                    }
                }
                if best.len() == limit
                    && let Some(worst) = best.peek()
                {
                    bound.tighten(rank(*worst, direction));
                }
            }
            Ok::<_, datafusion::error::DataFusionError>(best)
        });
    }
    let mut all: Vec<i64> = Vec::new();
    while let Some(best) = partitions.join_next().await {
        all.extend(best.map_err(|e| QueryError::Internal(e.to_string()))??);
    }
    all.sort_unstable();
    let Some(last) = all.get(limit.saturating_sub(1)).map(|key| rank(*key, direction)) else {
        return Ok(range);
    };
    Ok(match direction {
        Direction::Forward => TimeRange { end: range.end.min(UnixNanos(last).saturating_add(1)), ..range },
        Direction::Backward => TimeRange { start: range.start.max(UnixNanos(last)), ..range },
    })
}

/// Smaller is better; its own inverse.
fn rank(ts: i64, direction: Direction) -> i64 {
    match direction {
        Direction::Forward => ts,
        Direction::Backward => !ts,
    }
}
