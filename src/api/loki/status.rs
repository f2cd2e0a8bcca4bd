//! `/loki/api/v1/status/buildinfo`.

use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The version of Loki whose API this is: clients look at it to see what they may ask.
const LOKI_API_VERSION: &str = "3.6.0";

/// `GET /loki/api/v1/status/buildinfo`; our own version stands behind the `+`.
pub async fn buildinfo() -> Response {
    let version = format!("{LOKI_API_VERSION}+millrace.{}", env!("CARGO_PKG_VERSION"));
    axum::Json(json!({
        "version": version,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
    .into_response()
}
