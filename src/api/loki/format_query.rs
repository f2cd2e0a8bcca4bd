//! `/loki/api/v1/format_query`: a query, laid out.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::params::Params;
use crate::logql;

/// 200 `{"status":"success","data":…}`, or 400 `{"status":"invalid-query","error":…}`.
pub async fn format_query(params: Params) -> Response {
    match logql::parse(params.get("query")).map(|expr| logql::format(&expr)) {
        Ok(text) => axum::Json(json!({ "status": "success", "data": text })).into_response(),
        Err(error) => {
            let body = json!({ "status": "invalid-query", "error": error.to_string() });
            (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
        }
    }
}
