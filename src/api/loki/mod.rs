//! Loki's own API: `/loki/api/v1/…` and the legacy push path.

pub mod delete;
pub mod detected;
pub mod encode;
pub mod format_query;
pub mod labels;
pub mod patterns;
pub mod push;
pub mod query;
mod query_tags;
pub mod range_limits;
pub mod series;
pub mod status;
pub mod tail;
pub mod volume;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

/// A 200 of JSON.
fn json_answer(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
