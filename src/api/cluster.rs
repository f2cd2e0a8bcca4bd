//! `GET /api/v1/cluster/rows`: recent rows, for other processes over the same table.
//!
//! They are those of all tenants: who asks shows the secret that the processes share, and no role allows it.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use sha2::{Digest, Sha256};

use crate::api::Shared;

/// Answers frames for as long as they are read.
pub async fn rows(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let Some(face) = &shared.state.cluster else {
        return (StatusCode::NOT_FOUND, "millrace.cluster.token_file is not set\n").into_response();
    };
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // Digests take as long to compare whatever they are.
    if Sha256::digest(shown) != Sha256::digest(&*face.token) {
        return (StatusCode::UNAUTHORIZED, "not the secret of this cluster\n").into_response();
    }
    // A stop does not wait for those who listen.
    let stopping = shared.state.stopping.clone().cancelled_owned();
    Body::from_stream(face.origin.rows().take_until(stopping)).into_response()
}
