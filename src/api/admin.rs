//! Pages for operators: readiness, metrics, configuration, flush, log level.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::{ApiError, ErrorKind, plain_text};
use crate::api::params::Params;
use crate::api::tenant::{Administering, Measuring};
use crate::config::print::{Mode, print};

/// `GET /ready`: 200 once the log is replayed and pushes are taken, 503 before and while stopping.
pub async fn ready(State(shared): State<Shared>) -> Response {
    if shared.state.ready.get() {
        plain_text(StatusCode::OK, "ready\n")
    } else {
        plain_text(StatusCode::SERVICE_UNAVAILABLE, "not ready: the server is starting or stopping\n")
    }
}

/// `GET /metrics`: Prometheus's text format.
pub async fn metrics(_: Measuring, State(shared): State<Shared>) -> Result<Response, ApiError> {
    let text = shared.state.metrics.render().map_err(|error| ApiError::new(ErrorKind::Bug, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// `GET /config`: the effective settings, or with `mode` those that differ from the defaults, or the defaults.
pub async fn config(_: Administering, State(shared): State<Shared>, params: Params) -> Result<Response, ApiError> {
    let mode = match params.get("mode") {
        "diff" => Mode::Diff,
        "defaults" => Mode::Defaults,
        _ => Mode::Effective,
    };
    let text = print(&shared.state.config, mode).map_err(|error| ApiError::new(ErrorKind::Bug, error.to_string()))?;
    Ok(plain_text(StatusCode::OK, text))
}

/// `GET /services`.
pub async fn services(_: Administering, State(shared): State<Shared>) -> Response {
    let state = if shared.state.ready.get() { "Running" } else { "Starting" };
    let lines: String = ["server", "ingester", "querier"].map(|name| format!("{name} => {state}\n")).concat();
    plain_text(StatusCode::OK, lines)
}

/// `GET|POST /flush`: writes all that is in memory to files, then 204.
pub async fn flush(_: Administering, State(shared): State<Shared>) -> Result<StatusCode, ApiError> {
    let flushed = shared.state.door.sink.flush().await;
    flushed.map_err(|text| ApiError::new(ErrorKind::Bug, text).with_newline())?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /log_level`.
pub async fn log_level(_: Administering, State(shared): State<Shared>) -> Response {
    let message = format!("Current log level is {}", shared.state.log_level.get());
    axum::Json(json!({ "message": message })).into_response()
}

/// `POST /log_level?log_level=debug`.
pub async fn set_log_level(_: Administering, State(shared): State<Shared>, note: Note, params: Params) -> Response {
    let level = params.get("log_level");
    note.with(|event| level.clone_into(&mut event.text));
    match shared.state.log_level.set(level) {
        Ok(()) => {
            tracing::info!(level, "log level changed");
            let message = format!("Log level set to {level}");
            axum::Json(json!({ "status": "success", "message": message })).into_response()
        }
        Err(error) => {
            let body = json!({ "status": "failed", "message": error.to_string() });
            (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
        }
    }
}
