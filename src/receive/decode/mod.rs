//! Decoders: a body becomes a batch of the good rows and an answer about the bad ones. CPU-bound, no I/O.
//!
//! ```text
//! body ─ inflate (bounded) ─▶ loki_json | loki_json_legacy | loki_proto ─▶ ingest::validate ─▶ LogBatch
//! ```
//!
//! Errors: [`PushError`] with the status and text that Loki answers; nothing of a malformed body is kept.
//! Lines that are not UTF-8 have their bad bytes replaced by U+FFFD, as Loki's answers show them.

mod body;
pub(super) mod json_reader;
mod label_text;
mod loki_json;
mod loki_proto;

use bytes::Bytes;

use crate::ingest::limits::Limits;
use crate::ingest::validate::{Admission, Admitted, Discards};
use crate::types::batch::LogBatch;
use crate::types::time::UnixNanos;

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
}

impl PushError {
    fn bad(text: impl Into<String>) -> Self {
        PushError { status: 400, text: text.into() }
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
    fn refused(error: PushError) -> Self {
        PushOutcome { batch: None, answer: Err(error), discards: Discards::default(), lines: 0, bytes: 0 }
    }
}

/// Decodes and checks one push.
pub fn decode_push(
    request: &PushRequest<'_>,
    limits: &Limits,
    body_limits: &BodyLimits,
    now: UnixNanos,
) -> PushOutcome {
    outcome_of(admit(request, limits, body_limits, now))
}

/// A push that came without HTTP around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushKind {
    LokiJson,
    /// With snappy around it or without.
    LokiProtobuf,
    OtlpProtobuf,
}

/// Decodes and checks one push that came as a record.
pub fn decode_record(
    kind: PushKind,
    body: &[u8],
    limits: &Limits,
    body_limits: &BodyLimits,
    now: UnixNanos,
) -> PushOutcome {
    let mut admission = Admission::new(limits, now, body.len());
    let decoded = match kind {
        PushKind::LokiJson => loki_json::decode(body, &mut admission),
        PushKind::LokiProtobuf => match body::unsnap(body, body_limits) {
            Ok(inside) => loki_proto::decode(&inside, &mut admission),
            Err(_) => loki_proto::decode(body, &mut admission),
        },
        PushKind::OtlpProtobuf => Err(PushError::bad("OTLP is not read from records")),
    };
    let finished = || admission.finish().map_err(|error| PushError { status: 500, text: error.to_string() });
    outcome_of(decoded.and_then(|()| finished()))
}

fn outcome_of(admitted: Result<Admitted, PushError>) -> PushOutcome {
    match admitted {
        Err(error) => PushOutcome::refused(error),
        Ok(admitted) if admitted.streams == 0 => PushOutcome::refused(PushError {
            status: 422,
            text: "error at least one valid stream is required for ingestion".to_owned(),
        }),
        Ok(admitted) => PushOutcome {
            batch: admitted.batch,
            answer: admitted.refusal.map_or(Ok(()), |text| Err(PushError::bad(text))),
            discards: admitted.discards,
            lines: admitted.lines,
            bytes: admitted.bytes,
        },
    }
}

fn admit(
    request: &PushRequest<'_>,
    limits: &Limits,
    body_limits: &BodyLimits,
    now: UnixNanos,
) -> Result<Admitted, PushError> {
    let body = body::inflate(&request.body, request.content_encoding, body_limits)?;
    let is_json = body::is_json(request.content_type)?;
    let mut admission = Admission::new(limits, now, body.len());
    match (is_json, request.legacy) {
        (true, false) => loki_json::decode(&body, &mut admission)?,
        (true, true) => loki_json::decode_legacy(&body, &mut admission)?,
        (false, _) => loki_proto::decode(&body::unsnap(&body, body_limits)?, &mut admission)?,
    }
    admission.finish().map_err(|error| PushError { status: 500, text: error.to_string() })
}

#[cfg(test)]
mod tests;
