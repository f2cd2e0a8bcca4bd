//! `/loki/api/v1/status/buildinfo`, and the limits of a tenant as Grafana and operators ask for them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind, plain_text};
use crate::api::tenant::Reading;

/// The version of Loki whose API this is: clients look at it to see what they may ask.
const LOKI_API_VERSION: &str = "3.6.0";

fn version() -> String {
    format!("{LOKI_API_VERSION}+millrace.{}", env!("CARGO_PKG_VERSION"))
}

/// `GET /loki/api/v1/status/buildinfo`; our own version stands behind the `+`.
pub async fn buildinfo() -> Response {
    axum::Json(json!({
        "version": version(),
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
    .into_response()
}

/// `GET /loki/api/v1/drilldown-limits`: what Logs Drilldown needs to know of a tenant.
pub async fn drilldown_limits(State(shared): State<Shared>, Reading(scope): Reading) -> Response {
    let limits = shared.limits_of(&scope);
    axum::Json(json!({ "limits": &*limits, "pattern_ingester_enabled": true, "version": version() })).into_response()
}

/// `GET /config/tenant/v1/limits`: the tenant's limits as YAML.
pub async fn tenant_limits(State(shared): State<Shared>, Reading(scope): Reading) -> Result<Response, ApiError> {
    let limits = shared.limits_of(&scope);
    let text = serde_saphyr::to_string(&*limits).map_err(|error| ApiError::new(ErrorKind::Bug, error.to_string()))?;
    Ok(plain_text(StatusCode::OK, text))
}
