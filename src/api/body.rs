//! The body of a push, read while there is room for it and time.
//!
//! Errors: 413 for a body over its limit, 408 for one that does not come, 503 when there is no room, 400 when it breaks.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderName, header};
use bytes::BytesMut;
use futures::StreamExt;

use crate::api::Shared;
use crate::receive::decode::PushError;
use crate::receive::in_flight::Held;
use crate::types::ids::TenantId;

/// Of a refused body this much is read and thrown away, for no longer than this.
const PASSED_OVER_BYTES_MAX: usize = 16 << 20;
const PASSED_OVER_WAIT: Duration = Duration::from_secs(1);

/// Reads a body; what it takes of memory is held until the second part is dropped.
pub async fn read(
    shared: &Shared,
    tenant: &TenantId,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Held), PushError> {
    let patience = shared.state.config.server.http_server_read_timeout.to_std();
    let exact = body.size_hint().exact();
    let mut frames = body.into_data_stream();
    let reading = read_frames(shared, tenant, headers, exact, &mut frames);
    let read = tokio::time::timeout(patience, reading).await;
    let read = read.unwrap_or_else(|_| Err(PushError::new(408, "the body did not arrive in time")));
    // Who is told to go on sending has not sent yet.
    if read.is_err() && !headers.contains_key(header::EXPECT) {
        pass_over(&mut frames).await;
    }
    read
}

/// Reads what follows of a refused body, within bounds: a client in the middle of sending would find its connection
/// broken, and not read why.
async fn pass_over(frames: &mut BodyDataStream) {
    let passing = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = frames.next().await {
            bytes += frame.len();
            if bytes > PASSED_OVER_BYTES_MAX {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(PASSED_OVER_WAIT, passing).await;
}

async fn read_frames(
    shared: &Shared,
    tenant: &TenantId,
    headers: &HeaderMap,
    exact: Option<u64>,
    frames: &mut BodyDataStream,
) -> Result<(Bytes, Held), PushError> {
    let door = &shared.state.door;
    let bytes_max = door.body_limits.compressed_bytes_max;
    let too_large = |bytes: usize| {
        door.count_too_large(tenant, bytes);
        let text = format!("request body too large: message size too large than max ({bytes} vs {bytes_max})");
        PushError::new(413, text)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let announced = announced.or_else(|| exact.and_then(|bytes| usize::try_from(bytes).ok())).unwrap_or(0);
    if announced > bytes_max {
        return Err(too_large(announced));
    }
    let mut held = door.in_flight.enter(tenant, announced)?;
    let mut taken = BytesMut::with_capacity(announced);
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
