//! Pages that tools of a Loki cluster look at, answered for one process; and the ways to stop it.
//!
//! `POST /ingester/shutdown` flushes and ends the process; `prepare_shutdown` is a mark that a later look finds again:
//! every stop flushes here, prepared or not.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind, plain_text};
use crate::api::params::Params;
use crate::api::tenant::Administering;

/// Rings of Loki's parts, and the page that lists members.
const PAGES: [&str; 8] = [
    "/ring",
    "/distributor/ring",
    "/indexgateway/ring",
    "/ruler/ring",
    "/compactor/ring",
    "/scheduler/ring",
    "/pattern/ring",
    "/memberlist",
];

/// The pages, all alike.
pub fn pages() -> Router<Shared> {
    PAGES.into_iter().fold(Router::new(), |router, path| router.route(path, get(ring)))
}

/// `GET /ring` and its kin: this process is the only member. JSON where `Accept` asks for it.
async fn ring(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let state = if shared.state.ready.get() { "ACTIVE" } else { "PENDING" };
    let address = shared.state.config.listen_address();
    let wants_json = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("").contains("json");
    if wants_json {
        let member = json!({ "id": "millrace", "state": state, "address": address, "zone": "", "tokens": [] });
        return axum::Json(json!({ "shards": [member] })).into_response();
    }
    Html(format!(
        "<!doctype html><title>Ring</title><h1>Ring</h1><p>One process is all of the ring.</p>\
         <table border=1><tr><th>Instance<th>State<th>Address<tr><td>millrace<td>{state}<td>{address}</table>"
    ))
    .into_response()
}

/// `POST /ingester/shutdown`: writes all that is in memory to files (unless `flush=false`), answers 204 and ends the
/// process (unless `terminate=false`).
pub async fn shutdown(_: Administering, State(shared): State<Shared>, params: Params) -> Result<StatusCode, ApiError> {
    let is_off = |name| matches!(params.get(name), "false" | "0" | "f");
    if !is_off("flush") {
        let flushed = shared.state.door.sink.flush().await;
        flushed.map_err(|text| ApiError::new(ErrorKind::Bug, text).with_newline())?;
    }
    if !is_off("terminate") {
        tracing::info!("stopping, as /ingester/shutdown asks");
        shared.state.ready.set(false);
        let stopping = shared.state.stopping.clone();
        // The answer goes out first: a stop lets requests end.
        tokio::spawn(async move { stopping.cancel() });
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /ingester/prepare_shutdown`: `set` or `unset`.
pub async fn preparing(_: Administering, State(shared): State<Shared>) -> Response {
    plain_text(StatusCode::OK, if shared.shutdown_prepared.get() { "set" } else { "unset" })
}

/// `POST /ingester/prepare_shutdown`.
pub async fn prepare(_: Administering, State(shared): State<Shared>) -> StatusCode {
    shared.shutdown_prepared.set(true);
    StatusCode::NO_CONTENT
}

/// `DELETE /ingester/prepare_shutdown`.
pub async fn go_on(_: Administering, State(shared): State<Shared>) -> StatusCode {
    shared.shutdown_prepared.set(false);
    StatusCode::NO_CONTENT
}
