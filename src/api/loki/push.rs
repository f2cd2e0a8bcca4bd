//! `/loki/api/v1/push` and the legacy `/api/prom/push`.
//!
//! ```text
//! body ─▶ size, room, time to arrive ─▶ decode (blocking pool), limits ─▶ sink ─▶ 204
//!                                            └─ refusals ─▶ 400, good lines stored all the same
//! ```
//!
//! Errors: 400, 413, 422 as the decoder says; 408 for a body that does not come; 429 of the tenant's limits; 503 when
//! there is no room or the store cannot take it; what `block_ingestion_status_code` says.

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;

use crate::api::Shared;
use crate::api::body::{self, header_text};
use crate::api::error::ApiError;
use crate::api::tenant::Writing;
use crate::receive::decode::{PushRequest, decode_push};

/// The path whose JSON has its own shape.
const LEGACY_PATH: &str = "/api/prom/push";

/// `POST /loki/api/v1/push` and `/api/prom/push`: 204, with everything durable.
pub async fn push(
    State(shared): State<Shared>,
    Writing(tenant): Writing,
    request: Request,
) -> Result<Response, ApiError> {
    let legacy = request.extensions().get::<MatchedPath>().is_some_and(|path| path.as_str() == LEGACY_PATH);
    let (parts, body) = request.into_parts();
    let (body, held) = body::read(&shared, &tenant, &parts.headers, body).await?;
    let decode = move |gate: &_, limits: &_| {
        let request = PushRequest {
            content_type: header_text(&parts.headers, header::CONTENT_TYPE),
            content_encoding: header_text(&parts.headers, header::CONTENT_ENCODING),
            body,
            legacy,
        };
        decode_push(&request, gate, limits)
    };
    shared.state.door.take(&tenant, held, decode).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
