//! SQL over the same scan: views `logs` and `streams` of one tenant, nothing else, read only.
//!
//! | view | columns |
//! |---|---|
//! | `logs` | `timestamp` (nanoseconds, UTC), `labels` (JSON object), `level`, `line`, `metadata` (map) |
//! | `streams` | `labels`, `stream_id`, `first_seen`, `last_seen`, `entries`, `bytes` |
//!
//! `labels['service']` reads one label; it and comparisons of `timestamp` prune the scan.
//! Errors: `BadInput` for what does not parse, plan, or only read.

mod label;
mod logs;
mod rows;
mod streams;

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::query::QueryError;
use crate::query::plan::Planner;

/// A session in which only what the planner's scope shows exists.
pub fn context(planner: Planner, environment: Arc<RuntimeEnv>) -> Result<SessionContext, QueryError> {
    let config = SessionConfig::new()
        .with_target_partitions(planner.partitions)
        .with_information_schema(true)
        .with_default_catalog_and_schema("millrace", "public");
    let mut state =
        SessionStateBuilder::new().with_config(config).with_runtime_env(environment).with_default_features().build();
    let defaults = state.expr_planners().to_vec();
    let planners = std::iter::once(Arc::new(label::LabelAccess) as _).chain(defaults).collect();
    state = SessionStateBuilder::new_from_existing(state).with_expr_planners(planners).build();
    let context = SessionContext::new_with_state(state);
    context.register_udf(ScalarUDF::from(label::LabelFunction::new()));
    context.register_table("logs", Arc::new(logs::LogsView::new(planner.clone())))?;
    context.register_table("streams", Arc::new(streams::StreamsView::new(planner)))?;
    Ok(context)
}

/// Runs one statement that only reads.
pub async fn run(context: &SessionContext, text: &str) -> Result<SendableRecordBatchStream, QueryError> {
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let plan = context.sql_with_options(text, read_only).await?;
    Ok(plan.execute_stream().await?)
}
