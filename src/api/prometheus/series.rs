//! `/series`, `/labels`, `/label/{name}/values`, `/metadata`.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::access::Scope;
use crate::api::Shared;
use crate::api::params::Params;
use crate::api::prometheus::answer::{Refusal, labels_json, success};
use crate::api::prometheus::params::{Span, limit, selectors};
use crate::api::prometheus::{derived, seen};
use crate::api::tenant::ReadingOne;
use crate::promql::Notes;
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::METRIC_NAME;

const TRUNCATED: &str = "results truncated due to limit";

/// `GET|POST /prometheus/api/v1/series`.
pub async fn series(
    State(shared): State<Shared>,
    ReadingOne(scope, tenant): ReadingOne,
    params: Params,
) -> Result<Response, Refusal> {
    if params.all("match[]").next().is_none() {
        return Err(Refusal::bad_data("no match[] parameter provided"));
    }
    let found = matching(&shared, (&scope, &tenant), &params).await?;
    limited(found.iter().map(labels_json), &params)
}

/// `GET|POST /prometheus/api/v1/labels`.
pub async fn names(
    State(shared): State<Shared>,
    ReadingOne(scope, tenant): ReadingOne,
    params: Params,
) -> Result<Response, Refusal> {
    let found = matching(&shared, (&scope, &tenant), &params).await?;
    let names: BTreeSet<&str> = found.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
    limited(names.into_iter().map(Value::from), &params)
}

/// `GET|POST /prometheus/api/v1/label/{name}/values`.
pub async fn values(
    State(shared): State<Shared>,
    ReadingOne(scope, tenant): ReadingOne,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, Refusal> {
    let found = matching(&shared, (&scope, &tenant), &params).await?;
    let values: BTreeSet<&str> = found.iter().filter_map(|labels| labels.get(&name)).collect();
    limited(values.into_iter().map(Value::from), &params)
}

/// `GET /prometheus/api/v1/metadata`: every metric is a gauge, since rules record values, not counts since a start.
pub async fn metadata(
    State(shared): State<Shared>,
    ReadingOne(scope, tenant): ReadingOne,
    params: Params,
) -> Result<Response, Refusal> {
    let found = matching(&shared, (&scope, &tenant), &params).await?;
    let asked = params.get("metric");
    let metrics: BTreeSet<&str> = found.iter().filter_map(|labels| labels.get(METRIC_NAME)).collect();
    let metrics = metrics.into_iter().filter(|metric| asked.is_empty() || *metric == asked);
    let of_all = limit(&params)?.unwrap_or(usize::MAX);
    let of_metric =
        |metric: &str| (metric.to_owned(), json!([{ "type": "gauge", "help": "recorded from logs", "unit": "" }]));
    let data: Map<String, Value> = metrics.take(of_all).map(of_metric).collect();
    Ok(success(&Value::Object(data), &Notes::default()))
}

/// Series that any selector means; all, when there is none.
async fn matching(
    shared: &Shared,
    (scope, tenant): (&Scope, &TenantId),
    params: &Params,
) -> Result<Vec<Labels>, Refusal> {
    let span = Span::parse(params)?;
    let mut selectors = selectors(params)?;
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let mut found = derived(shared)?.store.series(tenant, &selectors, span.start_ms, span.end_ms).await?;
    seen::retain(scope, tenant, &mut found, |labels| labels);
    Ok(found)
}

fn limited(found: impl Iterator<Item = Value>, params: &Params) -> Result<Response, Refusal> {
    let mut notes = Notes::default();
    let mut values: Vec<Value> = found.collect();
    if let Some(limit) = limit(params)?
        && values.len() > limit
    {
        values.truncate(limit);
        notes.warnings.insert(TRUNCATED.to_owned());
    }
    Ok(success(&Value::Array(values), &notes))
}
