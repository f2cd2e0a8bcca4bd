//! View `query_log`: audit records as columns. What of them a caller sees is what they see of their stream.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::Result as DfResult;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ScalarUDF, cast, col, lit};
use datafusion_functions_json::udfs::{json_get_float_udf, json_get_int_udf, json_get_json_udf, json_get_str_udf};

use super::label::LabelFunction;
use super::rows::TIMESTAMP;
use crate::types::audit_stream::{LOGGER, LOGGER_LABEL, SERVICE, SERVICE_LABEL};

const NAME: &str = "query_log";
/// Columns of texts, by the keys of records.
const TEXTS: [&str; 5] = ["event", "phase", "who", "roles", "tenant"];
const MORE_TEXTS: [&str; 5] = ["door", "endpoint", "language", "text", "params"];
const LAST_TEXTS: [&str; 5] = ["error", "source", "tags", "writer", "hash"];

/// The view over `logs`.
pub(super) fn view(logs: Arc<dyn TableProvider>) -> DfResult<Arc<dyn TableProvider>> {
    let label = ScalarUDF::from(LabelFunction::new());
    let is = |name: &str, value: &str| label.call(vec![col("labels"), lit(name)]).eq(lit(value));
    let get = |function: &Arc<ScalarUDF>, key: &str| function.call(vec![col("line"), lit(key)]);
    let (text, whole, part, json) = (json_get_str_udf(), json_get_int_udf(), json_get_float_udf(), json_get_json_udf());
    let texts =
        |keys: [&str; 5]| keys.map(|key| get(if key == "roles" { &json } else { &text }, key).alias(key)).into_iter();
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let times = [("start", "range_start"), ("end", "range_end")];
    let times = times.map(|(key, name)| cast(get(&text, key), time.clone()).alias(name));
    let numbers = ["seq", "status", "bytes_read", "rows_read", "rows"].map(|key| get(&whole, key).alias(key));
    let columns: Vec<Expr> = std::iter::once(col(TIMESTAMP))
        .chain(texts(TEXTS))
        .chain(texts(MORE_TEXTS))
        .chain(times)
        .chain(numbers)
        .chain([get(&part, "duration_ms").alias("duration_ms")])
        .chain([coalesce(vec![get(&whole, "count"), lit(1_i64)]).alias("count")])
        .chain(texts(LAST_TEXTS))
        .collect();
    let plan = LogicalPlanBuilder::scan(NAME, provider_as_source(logs), None)?
        .filter(is(SERVICE_LABEL, SERVICE).and(is(LOGGER_LABEL, LOGGER)))?
        .project(columns)?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
