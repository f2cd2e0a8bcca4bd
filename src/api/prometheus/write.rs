//! `/prometheus/api/v1/write`: samples of others, by Prometheus' remote write. Off unless it is switched on.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;

use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::prometheus::derived;
use crate::api::tenant::Writing;
use crate::remote_write::proto;
use crate::types::sample::{SampleError, SampleSink};

/// Bytes of a body as it arrives: senders make batches of a few thousand samples.
const BODY_BYTES_MAX: usize = 16 << 20;

/// `POST /prometheus/api/v1/write`: 204 when the samples survive `kill -9`.
pub async fn write(State(shared): State<Shared>, Writing(tenant): Writing, body: Body) -> Result<StatusCode, ApiError> {
    if !shared.state.config.millrace.metrics.remote_write_receiver {
        let text = "remote write receiver needs to be enabled with millrace.metrics.remote_write_receiver";
        return Err(ApiError::new(ErrorKind::NotFound, text).with_newline());
    }
    let store = derived(&shared).map_err(|refusal| ApiError::with_status(refusal.status, refusal.text))?.store.clone();
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        ApiError::new(ErrorKind::TooLarge, format!("the body is larger than {BODY_BYTES_MAX} bytes")).with_newline()
    })?;
    let decoding = tokio::task::spawn_blocking(move || proto::decode(&bytes)).await;
    let decoded = decoding.map_err(|error| ApiError::new(ErrorKind::Bug, error.to_string()))?;
    let samples = decoded.map_err(|error| ApiError::bad_input(error.to_string()).with_newline())?;
    let refused = |error: SampleError| {
        let kind = match &error {
            SampleError::Full(_) => ErrorKind::OverLimit,
            SampleError::BadQuery(_) | SampleError::Failed(_) => ErrorKind::Unavailable,
        };
        ApiError::new(kind, error.to_string()).with_newline()
    };
    store.append(&tenant, samples).map_err(refused)?;
    store.sync().await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
