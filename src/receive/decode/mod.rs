//! Decoders: a body becomes a batch of the good rows and an answer about the bad ones. CPU-bound, no I/O.
//!
//! ```text
//! body ─ inflate (bounded) ─▶ loki_json | loki_proto | otlp | elastic ─▶ ingest::validate ─▶ LogBatch
//! ```
//!
//! Errors: [`PushError`] with the status and text that Loki answers; nothing of a malformed body is kept.
//! Lines that are not UTF-8 have their bad bytes replaced by U+FFFD, as Loki's answers show them.

mod body;
pub mod elastic;
pub(super) mod json_reader;
mod label_text;
mod loki_json;
mod loki_proto;
pub mod otlp;
mod wire;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use crate::ingest::gate::TenantGate;
use crate::ingest::validate::{Admission, Admitted, Discards};
use crate::types::batch::LogBatch;

pub use body::BodyLimits;

/// A push as it came.
#[derive(Debug, Clone)]
pub struct PushRequest<'a> {
    pub content_type: Option<&'a str>,
    pub content_encoding: Option<&'a str>,
    pub body: Bytes,
    /// Came to `/api/prom/push`, whose JSON has another shape.
    pub legacy: bool,
}

/// A refusal, as the client reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct PushError {
    pub status: u16,
    pub text: String,
    /// When the same may work: of a 429 or 503, where it is known.
    pub retry_after: Option<Duration>,
}

impl PushError {
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        PushError { status, text: text.into(), retry_after: None }
    }

    pub(in crate::receive) fn bad(text: impl Into<String>) -> Self {
        PushError::new(400, text)
    }

    fn too_large(what: &str, bytes: usize, bytes_max: usize) -> Self {
        PushError::new(413, format!("request body too large: {what} than max ({bytes} vs {bytes_max})"))
    }
}

/// What came of a push. A batch and a refusal together: good entries are stored, bad ones named.
#[derive(Debug)]
pub struct PushOutcome {
    pub batch: Option<LogBatch>,
    pub answer: Result<(), PushError>,
    pub discards: Discards,
    /// Lines and bytes taken.
    pub lines: u64,
    pub bytes: u64,
}

impl PushOutcome {
    pub(in crate::receive) fn refused(error: PushError) -> Self {
        PushOutcome { batch: None, answer: Err(error), discards: Discards::default(), lines: 0, bytes: 0 }
    }
}

/// Decodes and checks one Loki push.
pub fn decode_push(request: &PushRequest<'_>, gate: &TenantGate, body_limits: &BodyLimits) -> PushOutcome {
    outcome_of(admit(request, gate, body_limits))
}

/// A push that came without HTTP around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushKind {
    LokiJson,
    /// With snappy around it or without.
    LokiProtobuf,
    OtlpProtobuf,
}

/// Decodes and checks one push that came as a record or as a message.
pub fn decode_record(kind: PushKind, body: &[u8], gate: &TenantGate, body_limits: &BodyLimits) -> PushOutcome {
    let mut admission = gate.admission(body.len());
    let decoded = match kind {
        PushKind::LokiJson => loki_json::decode(body, &mut admission),
        PushKind::LokiProtobuf => match body::unsnap(body, body_limits) {
            Ok(inside) => loki_proto::decode(&inside, &mut admission),
            Err(_) => loki_proto::decode(body, &mut admission),
        },
        PushKind::OtlpProtobuf => otlp::decode_protobuf(body, gate, &mut admission),
    };
    outcome_of(decoded.and_then(|()| finish(admission)))
}

/// Bytes as text: what is not UTF-8 becomes U+FFFD. Nearly all is, which is found out far faster than what is not.
pub(in crate::receive) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

pub(in crate::receive) fn finish(admission: Admission<'_>) -> Result<Admitted, PushError> {
    admission.finish().map_err(|error| PushError::new(500, error.to_string()))
}

pub(in crate::receive) fn outcome_of(admitted: Result<Admitted, PushError>) -> PushOutcome {
    match admitted {
        Err(error) => PushOutcome::refused(error),
        Ok(admitted) if admitted.streams == 0 => {
            PushOutcome::refused(PushError::new(422, "error at least one valid stream is required for ingestion"))
        }
        Ok(admitted) => {
            let slow_down = admitted.slow_down.map(|slow_down| PushError {
                retry_after: slow_down.retry_after,
                ..PushError::new(429, slow_down.text)
            });
            let refusal = slow_down.or_else(|| admitted.refusal.map(PushError::bad));
            PushOutcome {
                batch: admitted.batch,
                answer: refusal.map_or(Ok(()), Err),
                discards: admitted.discards,
                lines: admitted.lines,
                bytes: admitted.bytes,
            }
        }
    }
}

fn admit(request: &PushRequest<'_>, gate: &TenantGate, body_limits: &BodyLimits) -> Result<Admitted, PushError> {
    let body = body::inflate(&request.body, request.content_encoding, body_limits)?;
    let is_json = body::is_json(request.content_type)?;
    let mut admission = gate.admission(body.len());
    match (is_json, request.legacy) {
        (true, false) => loki_json::decode(&body, &mut admission)?,
        (true, true) => loki_json::decode_legacy(&body, &mut admission)?,
        (false, _) => loki_proto::decode(&body::unsnap(&body, body_limits)?, &mut admission)?,
    }
    finish(admission)
}

#[cfg(test)]
pub(super) mod tests;
