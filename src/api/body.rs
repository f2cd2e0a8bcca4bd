//! The body of a push, read while there is room for it and time.
//!
//! Errors: 413 for a body over its limit, 408 for one that does not come, 503 when there is no room, 400 when it breaks.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderName, header};
use bytes::BytesMut;
use futures::StreamExt;

use crate::api::Shared;
use crate::receive::decode::PushError;
use crate::receive::in_flight::Held;
use crate::types::ids::TenantId;

/// Reads a body; what it takes of memory is held until the second part is dropped.
pub async fn read(
    shared: &Shared,
    tenant: &TenantId,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Held), PushError> {
    let patience = shared.state.config.server.http_server_read_timeout.to_std();
    let reading = read_frames(shared, tenant, headers, body);
    let read = tokio::time::timeout(patience, reading).await;
    read.unwrap_or_else(|_| Err(PushError::new(408, "the body did not arrive in time")))
}

async fn read_frames(
    shared: &Shared,
    tenant: &TenantId,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Held), PushError> {
    let door = &shared.state.door;
    let bytes_max = door.body_limits.compressed_bytes_max;
    let too_large = |bytes: usize| {
        door.count_too_large(tenant, bytes);
        let text = format!("request body too large: message size too large than max ({bytes} vs {bytes_max})");
        PushError::new(413, text)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let announced =
        announced.or_else(|| body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok())).unwrap_or(0);
    if announced > bytes_max {
        return Err(too_large(announced));
    }
    let mut held = door.in_flight.enter(tenant, announced)?;
    let mut taken = BytesMut::with_capacity(announced);
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|error| PushError::new(400, error.to_string()))?;
        let bytes = taken.len() + frame.len();
        if bytes > bytes_max {
            return Err(too_large(bytes));
        }
        held.hold(bytes)?;
        taken.extend_from_slice(&frame);
    }
    Ok((taken.freeze(), held))
}

/// A header as text.
pub fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
