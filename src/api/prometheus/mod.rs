//! Prometheus' API over derived metrics: `/prometheus/api/v1/…`, for Grafana's Prometheus data source.
//!
//! ```text
//! request ─▶ tenant ─▶ parameters ─▶ turn ─▶ promql::Engine │ derived::Store ─▶ {"status", "data", "warnings"}
//! ```
//!
//! Errors: JSON with Prometheus' `errorType`, and its status ([`answer::Refusal`]).

pub mod answer;
pub mod exposition;
pub mod params;
pub mod query;
mod seen;
pub mod series;
pub mod status;
pub mod write;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};

use self::answer::Refusal;
use crate::api::Shared;
use crate::derived::Store;
use crate::promql::Engine;

/// What this API answers from.
#[derive(Clone)]
pub struct DerivedMetrics {
    pub store: Store,
    pub engine: Engine,
}

/// # Errors
/// `not_found` when this process keeps no derived metrics.
fn derived(shared: &Shared) -> Result<&DerivedMetrics, Refusal> {
    let off = || Refusal {
        status: StatusCode::NOT_FOUND,
        kind: "not_found",
        text: "this process keeps no derived metrics".to_owned(),
    };
    shared.state.derived.as_ref().ok_or_else(off)
}

/// Paths of one tenant.
pub fn of_a_tenant() -> Router<Shared> {
    let v1 = |path: &str| format!("/prometheus/api/v1/{path}");
    Router::new()
        .route(&v1("query"), get(query::instant).post(query::instant))
        .route(&v1("query_range"), get(query::range).post(query::range))
        .route(&v1("query_exemplars"), get(query::exemplars).post(query::exemplars))
        .route(&v1("format_query"), get(query::format).post(query::format))
        .route(&v1("series"), get(series::series).post(series::series))
        .route(&v1("labels"), get(series::names).post(series::names))
        .route(&v1("label/{name}/values"), get(series::values).post(series::values))
        .route(&v1("metadata"), get(series::metadata))
        .route(&v1("write"), post(write::write))
        .route(&v1("status/tsdb"), get(status::tsdb))
        .route("/metrics/derived", get(exposition::exposed))
}

/// Paths that tell nothing of any tenant.
pub fn of_anyone() -> Router<Shared> {
    let v1 = |path: &str| format!("/prometheus/api/v1/{path}");
    Router::new()
        .route(&v1("status/buildinfo"), get(status::buildinfo))
        .route(&v1("status/flags"), get(status::flags))
        .route(&v1("targets"), get(status::targets))
        .route(&v1("alertmanagers"), get(status::alertmanagers))
        .route("/prometheus/-/healthy", get(status::healthy))
        .route("/prometheus/-/ready", get(status::ready))
}

/// Paths that tell of the server.
pub fn of_operators() -> Router<Shared> {
    let v1 = |path: &str| format!("/prometheus/api/v1/{path}");
    Router::new()
        .route(&v1("status/config"), get(status::config))
        .route(&v1("status/runtimeinfo"), get(status::runtimeinfo))
}
