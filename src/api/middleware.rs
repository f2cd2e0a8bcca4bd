//! Around every request: duration by route, panics, answers of the multiplexer in Go's words.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind, plain_text};
use crate::tasks::panic_text;
use crate::telemetry::metrics::Metrics;

/// Measures requests for `loki_request_duration_seconds`.
pub async fn measure(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "other".to_owned(), |path| route_label(path.as_str()));
    let mut measured = Measured::start(shared.state.metrics.clone(), method_label(request.method()), route);
    let response = next.run(request).await;
    measured.status = response.status();
    response
}

/// Counts a request when it is answered or abandoned.
struct Measured {
    metrics: Arc<Metrics>,
    method: &'static str,
    route: String,
    started: Instant,
    /// 499 until there is an answer.
    status: StatusCode,
}

impl Measured {
    fn start(metrics: Arc<Metrics>, method: &'static str, route: String) -> Self {
        metrics.inflight_requests.with_label_values(&[method, &route]).inc();
        Measured { metrics, method, route, started: Instant::now(), status: ErrorKind::ClientGone.status() }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.metrics.inflight_requests.with_label_values(&[self.method, &self.route]).dec();
        self.metrics
            .request_duration
            .with_label_values(&[self.method, &self.route, self.status.as_str(), "false"])
            .observe(seconds);
    }
}

/// `/loki/api/v1/label/{name}/values` → `loki_api_v1_label_name_values`, as Loki labels its routes.
fn route_label(path: &str) -> String {
    let mut label = String::with_capacity(path.len());
    for c in path.chars() {
        if c.is_ascii_alphanumeric() {
            label.push(c.to_ascii_lowercase());
        } else if !label.ends_with('_') && !label.is_empty() {
            label.push('_');
        }
    }
    if label.ends_with('_') {
        label.pop();
    }
    if label.is_empty() { "root".to_owned() } else { label }
}

/// Methods as labels; those clients make up are one.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The answer to a request whose handler panicked.
pub fn on_panic(metrics: &Metrics, panic: &(dyn Any + Send)) -> Response {
    metrics.panics.inc();
    tracing::error!(panic = panic_text(panic), "a request handler panicked");
    ApiError::new(ErrorKind::Bug, "error while processing request: internal error").with_newline().into_response()
}

/// 404 as Go's multiplexer words it.
pub async fn not_found(_: Uri) -> Response {
    plain_text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// 405 with an empty body.
pub async fn method_not_allowed() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_labelled_as_in_loki() {
        let check = |path, expected| assert_eq!(route_label(path), expected, "{path}");
        check("/loki/api/v1/query_range", "loki_api_v1_query_range");
        check("/loki/api/v1/label/{name}/values", "loki_api_v1_label_name_values");
        check("/api/prom/push", "api_prom_push");
        check("/", "root");
    }
}
