//! `/otlp/v1/logs`: OpenTelemetry's logs over HTTP, protobuf or JSON.
//!
//! As Loki answers: 204; errors as a protobuf `Status` of which only the message is set; 503 where others say 500,
//! because clients of OpenTelemetry try again only then.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prost::encoding::string;

use crate::api::Shared;
use crate::api::body::{self, header_text};
use crate::api::error::retry_after;
use crate::api::tenant::Writing;
use crate::receive::decode::PushError;
use crate::receive::decode::otlp::{OtlpRequest, decode_otlp};
use crate::types::ids::TenantId;

/// `POST /otlp/v1/logs`: 204, with everything durable.
pub async fn logs(State(shared): State<Shared>, Writing(tenant): Writing, request: Request) -> Response {
    match take(&shared, &tenant, request).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(error),
    }
}

async fn take(shared: &Shared, tenant: &TenantId, request: Request) -> Result<(), PushError> {
    let (parts, body) = request.into_parts();
    let (body, held) = body::read(shared, tenant, &parts.headers, body).await?;
    let decode = move |gate: &_, limits: &_| {
        let request = OtlpRequest {
            content_type: header_text(&parts.headers, header::CONTENT_TYPE),
            content_encoding: header_text(&parts.headers, header::CONTENT_ENCODING),
            body,
        };
        decode_otlp(&request, gate, limits)
    };
    shared.state.door.take(tenant, held, decode).await.map(|_| ())
}

fn refused(error: PushError) -> Response {
    let status = match error.status {
        500 => StatusCode::SERVICE_UNAVAILABLE,
        status => StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
    };
    let mut message = Vec::new();
    string::encode(2, &error.text, &mut message);
    let mut response = Response::new(Body::from(message));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.extend(retry_after(status, error.retry_after));
    response
}
