//! `/loki/api/v1/push` and the legacy `/api/prom/push`.
//!
//! ```text
//! body ─▶ size, bytes in flight, time to arrive ─▶ decode (blocking pool) ─▶ sink ─▶ 204
//!                                                       └─ refusals ─▶ 400, good lines stored all the same
//! ```
//!
//! Errors: 400, 413, 422 as the decoder says; 408 for a body that does not come; 429 and 503 from gate and sink.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::BytesMut;
use futures::StreamExt;

use crate::api::error::{ApiError, ErrorKind};
use crate::api::gate::BodyBytes;
use crate::api::tenant::Writing;
use crate::api::{PushRefused, RefusedKind, Shared};
use crate::receive::decode::{BodyLimits, PushOutcome, PushRequest, decode_push};
use crate::types::ids::TenantId;
use crate::types::time::UnixNanos;

/// The path whose JSON has its own shape.
const LEGACY_PATH: &str = "/api/prom/push";

/// `POST /loki/api/v1/push` and `/api/prom/push`: 204, with everything durable.
pub async fn push(
    State(shared): State<Shared>,
    Writing(tenant): Writing,
    request: Request,
) -> Result<Response, ApiError> {
    take(&shared, &tenant, request).await.map_err(ApiError::with_newline)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

async fn take(shared: &Shared, tenant: &TenantId, request: Request) -> Result<(), ApiError> {
    let legacy = request.extensions().get::<MatchedPath>().is_some_and(|path| path.as_str() == LEGACY_PATH);
    let (parts, body) = request.into_parts();
    let patience = shared.state.config.server.http_server_read_timeout.to_std();
    let reading = read_body(shared, &parts.headers, body);
    let (body, in_flight) = tokio::time::timeout(patience, reading)
        .await
        .map_err(|_| ApiError::with_status(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))??;
    let outcome = decode(shared, parts.headers, body, legacy).await?;
    count_discards(shared, tenant, &outcome);
    if let Some(batch) = outcome.batch {
        shared.state.ingest.push(tenant, batch).await?;
        let metrics = &shared.state.metrics;
        metrics.lines_received.with_label_values(&[tenant.as_str()]).inc_by(outcome.lines);
        metrics.bytes_received.with_label_values(&[tenant.as_str()]).inc_by(outcome.bytes);
    }
    drop(in_flight);
    outcome.answer.map_err(|refused| {
        let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST);
        ApiError::with_status(status, refused.text)
    })
}

/// Reads a body while there is room for it.
async fn read_body(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<(Bytes, BodyBytes), ApiError> {
    let bytes_max = usize::try_from(shared.state.config.distributor.max_recv_msg_size.0).unwrap_or(usize::MAX);
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let announced =
        announced.or_else(|| body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok())).unwrap_or(0);
    if announced > bytes_max {
        return Err(too_large(announced, bytes_max));
    }
    let mut in_flight = shared.push_gate.enter(announced)?;
    let mut taken = BytesMut::with_capacity(announced);
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|error| ApiError::bad_input(error.to_string()))?;
        let bytes = taken.len() + frame.len();
        if bytes > bytes_max {
            return Err(too_large(bytes, bytes_max));
        }
        in_flight.hold(&shared.push_gate, bytes)?;
        taken.extend_from_slice(&frame);
    }
    Ok((taken.freeze(), in_flight))
}

fn too_large(bytes: usize, bytes_max: usize) -> ApiError {
    let text = format!("request body too large: message size too large than max ({bytes} vs {bytes_max})");
    ApiError::new(ErrorKind::TooLarge, text)
}

/// Decodes on the blocking pool, at most as many at once as there are decoders.
async fn decode(shared: &Shared, headers: HeaderMap, body: Bytes, legacy: bool) -> Result<PushOutcome, ApiError> {
    let decoder = shared.push_gate.decoder().await;
    let config = shared.state.config.clone();
    let now: UnixNanos = shared.state.clock.now();
    let decoding = tokio::task::spawn_blocking(move || {
        let _decoder = decoder;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let request = PushRequest {
            content_type: text(header::CONTENT_TYPE),
            content_encoding: text(header::CONTENT_ENCODING),
            body,
            legacy,
        };
        let usize_of = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let body_limits = BodyLimits {
            compressed_bytes_max: usize_of(config.distributor.max_recv_msg_size.0),
            inflated_bytes_max: usize_of(config.distributor.max_decompressed_size.0),
        };
        decode_push(&request, &config.limits_config, &body_limits, now)
    });
    decoding.await.map_err(|stopped| {
        shared.state.metrics.panics.inc();
        tracing::error!(error = %stopped, "decoding a push stopped");
        ApiError::new(ErrorKind::Bug, "error while processing request: internal error")
    })
}

fn count_discards(shared: &Shared, tenant: &TenantId, outcome: &PushOutcome) {
    for (reason, lines, bytes) in &outcome.discards.0 {
        let labels = [*reason, tenant.as_str()];
        shared.state.metrics.discarded_samples.with_label_values(&labels).inc_by(*lines);
        shared.state.metrics.discarded_bytes.with_label_values(&labels).inc_by(*bytes);
    }
}

impl From<PushRefused> for ApiError {
    fn from(refused: PushRefused) -> Self {
        let kind = match refused.kind {
            RefusedKind::Unavailable => ErrorKind::Unavailable,
            RefusedKind::Overloaded => ErrorKind::OverLimit,
        };
        ApiError::new(kind, refused.text)
    }
}
