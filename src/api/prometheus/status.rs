//! What clients ask of the server itself.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind, plain_text};
use crate::api::prometheus::answer::{Refusal, success};
use crate::api::prometheus::{derived, seen};
use crate::api::tenant::{Administering, ReadingOne};
use crate::config::print::{Mode, print};
use crate::promql::Notes;
use crate::types::sample::METRIC_NAME;

/// The version of Prometheus whose PromQL this is: Grafana looks at it to see what it may ask.
const PROMETHEUS_API_VERSION: &str = "3.5.0";

/// `GET /prometheus/api/v1/status/buildinfo`; our own version stands behind the `+`.
pub async fn buildinfo() -> Response {
    let version = format!("{PROMETHEUS_API_VERSION}+millrace.{}", env!("CARGO_PKG_VERSION"));
    let data = json!({
        "version": version,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    });
    success(&data, &Notes::default())
}

/// `GET /prometheus/api/v1/status/config`: the effective settings.
pub async fn config(State(shared): State<Shared>, _: Administering) -> Result<Response, Refusal> {
    let printed = print(&shared.state.config, Mode::Effective);
    let yaml = printed.map_err(|error| ApiError::new(ErrorKind::Bug, error.to_string()))?;
    Ok(success(&json!({ "yaml": yaml }), &Notes::default()))
}

/// `GET /prometheus/api/v1/status/flags`: there are none by those names.
pub async fn flags() -> Response {
    success(&json!({}), &Notes::default())
}

/// `GET /prometheus/api/v1/status/runtimeinfo`.
pub async fn runtimeinfo(State(shared): State<Shared>, _: Administering) -> Result<Response, Refusal> {
    let stats = derived(&shared)?.store.stats();
    let retention = shared.state.config.millrace.metrics.retention.to_string();
    let data = json!({
        "reloadConfigSuccess": true,
        "corruptionCount": 0,
        "timeSeriesCount": stats.memory_series,
        "storageRetention": retention,
    });
    Ok(success(&data, &Notes::default()))
}

/// `GET /prometheus/api/v1/status/tsdb`: how many series the tenant has in memory, by metric.
pub async fn tsdb(State(shared): State<Shared>, ReadingOne(scope, tenant): ReadingOne) -> Result<Response, Refusal> {
    let mut latest = derived(&shared)?.store.latest(&tenant);
    seen::retain(&scope, &tenant, &mut latest, |(labels, _)| labels);
    let mut by_metric = std::collections::BTreeMap::new();
    for (labels, _) in &latest {
        *by_metric.entry(labels.get(METRIC_NAME).unwrap_or("").to_owned()).or_insert(0_usize) += 1;
    }
    let mut counts: Vec<_> = by_metric.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let counts: Vec<_> =
        counts.into_iter().take(10).map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let data = json!({
        "headStats": { "numSeries": latest.len() },
        "seriesCountByMetricName": counts,
        "labelValueCountByLabelName": [],
        "memoryInBytesByLabelName": [],
        "seriesCountByLabelValuePair": [],
    });
    Ok(success(&data, &Notes::default()))
}

/// `GET /prometheus/api/v1/targets`: nothing is scraped.
pub async fn targets() -> Response {
    success(&json!({ "activeTargets": [], "droppedTargets": [] }), &Notes::default())
}

/// `GET /prometheus/api/v1/alertmanagers`.
pub async fn alertmanagers() -> Response {
    success(&json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }), &Notes::default())
}

/// `GET /prometheus/-/healthy`.
pub async fn healthy() -> Response {
    plain_text(StatusCode::OK, "Millrace is Healthy.\n")
}

/// `GET /prometheus/-/ready`.
pub async fn ready(State(shared): State<Shared>) -> Response {
    if shared.state.ready.get() {
        plain_text(StatusCode::OK, "Millrace is Ready.\n")
    } else {
        ApiError::new(ErrorKind::Unavailable, "the server is starting or stopping\n").into_response()
    }
}
