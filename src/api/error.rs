//! Why a request was not answered, and the one place where kinds become HTTP.
//!
//! Bodies are plain text with `nosniff`, as Loki's. Loki ends push and login errors with a newline
//! (Go's `http.Error`) and query errors without one; [`ApiError::with_newline`] tells them apart.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::audit::Refused;
use crate::query::QueryError;
use crate::receive::decode::PushError;

/// What the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is to blame; the same one never works.
    BadInput,
    /// No tenant was named.
    Unauthorized,
    /// Nobody known asks.
    Unauthenticated,
    /// No role allows it.
    Forbidden,
    NotFound,
    /// The body is larger than the limit.
    TooLarge,
    /// Well-formed, but nothing in it can be taken.
    Unprocessable,
    /// Later or slower it may work.
    OverLimit,
    /// The client went away.
    ClientGone,
    /// A defect of ours.
    Bug,
    /// The server cannot take it now.
    Unavailable,
    /// The time limit of queries passed.
    Timeout,
}

impl ErrorKind {
    /// The one mapping of kinds to HTTP.
    pub fn status(self) -> StatusCode {
        match self {
            ErrorKind::BadInput => StatusCode::BAD_REQUEST,
            ErrorKind::Unauthorized | ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::OverLimit => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::ClientGone => StatusCode::from_u16(499).expect("499 is in the range of status codes"),
            ErrorKind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// An error on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ApiError {
    pub status: StatusCode,
    pub text: String,
    newline: bool,
    retry_after: Option<Duration>,
}

impl ApiError {
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self::with_status(kind.status(), text)
    }

    pub fn bad_input(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadInput, text)
    }

    /// An error whose status others decided.
    pub fn with_status(status: StatusCode, text: impl Into<String>) -> Self {
        ApiError { status, text: text.into(), newline: false, retry_after: None }
    }

    /// Ends the body with a newline.
    pub fn with_newline(mut self) -> Self {
        self.newline = !self.text.ends_with('\n');
        self
    }
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> Self {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
        ApiError { retry_after: error.retry_after, ..ApiError::with_status(status, error.text) }.with_newline()
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let kind = match &error {
            QueryError::BadInput(_) => ErrorKind::BadInput,
            QueryError::Timeout => ErrorKind::Timeout,
            QueryError::Overloaded(_) => ErrorKind::OverLimit,
            QueryError::Internal(_) => ErrorKind::Bug,
        };
        ApiError::new(kind, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(status = self.status.as_u16(), error = %self.text, "request failed");
        }
        let mut text = self.text;
        if self.newline {
            text.push('\n');
        }
        let mut response = plain_text(self.status, text.clone());
        response.extensions_mut().insert(Refused(text));
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"millrace\", Bearer realm=\"millrace\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.headers_mut().extend(retry_after(self.status, self.retry_after));
        response
    }
}

/// When clients may come again, whole seconds, of a 429 or 503.
pub fn retry_after(status: StatusCode, wait: Option<Duration>) -> Option<(HeaderName, HeaderValue)> {
    let is_passing = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let seconds = wait.map_or(1, |wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
    is_passing.then(|| (header::RETRY_AFTER, HeaderValue::from(seconds)))
}

/// Plain text as Go's `http.Error` sends it.
pub fn plain_text(status: StatusCode, text: impl Into<String>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, text.into()).into_response()
}
