//! Pages about the table: what it holds and what is done to it.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::tenant::Administering;
use crate::upkeep::Upkeep;

/// `GET /api/v1/table/status`: partitions, files, merges due and running.
pub async fn table_status(_: Administering, State(shared): State<Shared>) -> Result<Response, ApiError> {
    Ok(Json(upkeep(&shared)?.table_status().await).into_response())
}

/// `POST /api/v1/table/upkeep`: begins a round of upkeep now.
pub async fn wake(_: Administering, State(shared): State<Shared>) -> Result<Response, ApiError> {
    upkeep(&shared)?.wake().map_err(|in_charge| {
        let who = in_charge.map_or_else(|| "another process".to_owned(), |holder| format!("{holder:?}"));
        ApiError::new(ErrorKind::Unavailable, format!("{who} does the upkeep of this table; ask it")).with_newline()
    })?;
    Ok(axum::http::StatusCode::NO_CONTENT.into_response())
}

/// `GET /api/v1/retention/preview`: what retention would take now, by tenant and rule.
pub async fn retention_preview(_: Administering, State(shared): State<Shared>) -> Result<Response, ApiError> {
    let upkeep = upkeep(&shared)?.clone();
    let runtime = tokio::runtime::Handle::current();
    // Where single lines count, files are read: off the threads that answer others.
    let reading = tokio::task::spawn_blocking(move || runtime.block_on(upkeep.retention_preview()));
    let failed = |text: String| ApiError::new(ErrorKind::Bug, text).with_newline();
    let entries = reading.await.map_err(|error| failed(error.to_string()))?;
    Ok(Json(entries.map_err(|error| failed(error.to_string()))?).into_response())
}

fn upkeep(shared: &Shared) -> Result<&Upkeep, ApiError> {
    let upkeep = shared.state.upkeep.as_ref();
    upkeep.ok_or_else(|| ApiError::new(ErrorKind::Unavailable, "this server keeps no table").with_newline())
}
