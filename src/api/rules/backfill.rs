//! `POST /api/v1/rules/backfill`: a group's recording rules over history; the answer is a line of JSON for every
//! step forward, and ends when the work does.
//!
//! Parameters: `namespace`, `group`, `rule` (none: all), `from`, `to` as times of Loki's API.
//! Cancellation: closing the connection stops the work; what was recorded stays.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::params::{Params, timestamp};
use crate::api::tenant::Ruling;
use crate::rules::backfill::{Backfill, backfill};

/// Lines that may wait for a slow reader; then the work waits.
const LINES_MAX: usize = 16;

pub(super) async fn start(
    State(shared): State<Shared>,
    Ruling(tenant): Ruling,
    params: Params,
) -> Result<Response, ApiError> {
    let ruler = shared.state.rules.clone().filter(|ruler| ruler.config().enable_api);
    let ruler = ruler.ok_or_else(|| ApiError::new(ErrorKind::NotFound, "404 page not found").with_newline())?;
    let now = shared.state.clock.now();
    let time = |name: &str| {
        let text = params.get(name);
        if text.is_empty() {
            return Err(ApiError::bad_input(format!("`{name}` is missing")));
        }
        timestamp(text, now).map_err(ApiError::bad_input)
    };
    let wanted = Backfill {
        tenant,
        namespace: params.get("namespace").to_owned(),
        group: params.get("group").to_owned(),
        rule: Some(params.get("rule").to_owned()).filter(|rule| !rule.is_empty()),
        from: time("from")?,
        to: time("to")?,
    };
    let (progress, received) = mpsc::channel(LINES_MAX);
    backfill(ruler, wanted, progress).await.map_err(|error| ApiError::bad_input(error.to_string()))?;
    // The server may stop in between: the answer ends then.
    let stopping: CancellationToken = shared.state.stopping.clone();
    let lines = futures::stream::unfold(received, |mut received| async move {
        let progress = received.recv().await?;
        let line = serde_json::to_string(&progress).unwrap_or_default() + "\n";
        Some((Ok::<_, std::convert::Infallible>(line), received))
    });
    let lines = lines.take_until(stopping.cancelled_owned());
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}
