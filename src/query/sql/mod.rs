//! SQL over the same scan: views of what one scope shows, nothing else, read only.
//!
//! | view | columns |
//! |---|---|
//! | `logs` | `timestamp` (nanoseconds, UTC), `labels` (JSON object), `level`, `line`, `metadata` (map) |
//! | `streams` | `labels`, `stream_id`, `first_seen`, `last_seen`, `entries`, `bytes` |
//! | `files` | `tenant`, `path`, `date`, `first_seen`, `last_seen`, `streams`, `rows`, `line_bytes`, `file_bytes` |
//! | `patterns` | `timestamp` (of a minute), `service`, `level`, `pattern`, `lines` |
//! | `query_log` | audit records: `timestamp`, `event`, `who`, … |
//! | `csv('a,b\n1,2')` | a table in the statement |
//! | `logql('…', …)` | the answer of a LogQL query |
//!
//! Others register theirs through [`SqlViews`]. `labels['service']` reads one label; comparisons of labels and of
//! `timestamp` prune the scan as a selector and a time range do.
//! Errors: `BadInput` for what does not parse, plan, or only read.

mod csv_table;
mod files;
mod label;
mod logql_table;
mod logs;
mod parsers;
mod patterns;
mod prune;
mod query_log;
mod rows;
mod source;
mod streams;

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::query::QueryError;

pub(in crate::query) use source::external;
pub use source::{SqlSource, SqlViews};

/// Name of the one database, as clients give it.
pub const DATABASE: &str = "millrace";

/// A session over the views of `source` and those of `others`.
pub(super) fn session(
    source: &SqlSource,
    partitions: usize,
    environment: Arc<RuntimeEnv>,
    others: &[Arc<dyn SqlViews>],
) -> Result<SessionContext, QueryError> {
    let config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_information_schema(true)
        .with_default_catalog_and_schema(DATABASE, "public");
    let mut state =
        SessionStateBuilder::new().with_config(config).with_runtime_env(environment).with_default_features().build();
    datafusion_functions_json::register_all(&mut state)?;
    let planners = state.expr_planners().to_vec();
    let planners = std::iter::once(Arc::new(label::LabelAccess) as _).chain(planners).collect();
    state = SessionStateBuilder::new_from_existing(state).with_expr_planners(planners).build();
    let context = SessionContext::new_with_state(state);
    context.register_udf(ScalarUDF::from(label::LabelFunction::new()));
    for function in parsers::functions() {
        context.register_udf(function);
    }
    context.register_udtf("csv", Arc::new(csv_table::CsvFunction));
    context.register_udtf("logql", Arc::new(logql_table::LogqlFunction::new(source.clone())));
    let logs = Arc::new(logs::LogsView::new(source.clone()));
    context.register_table("query_log", query_log::view(logs.clone())?)?;
    context.register_table("patterns", Arc::new(patterns::PatternsView::new(source.clone())))?;
    context.register_table("logs", logs)?;
    context.register_table("streams", Arc::new(streams::StreamsView::new(source.clone())))?;
    context.register_table("files", Arc::new(files::FilesView::new(source.clone())))?;
    for views in others {
        views.register(&context, source)?;
    }
    Ok(context)
}

/// What statements may be: they read.
pub fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}
