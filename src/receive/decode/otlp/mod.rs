//! OpenTelemetry's logs: an `ExportLogsServiceRequest`, read in place, with Loki's mapping.
//!
//! ```text
//! protobuf ─┐
//! JSON ─▶ json (the same bytes as protobuf) ─▶ ResourceLogs ─▶ ScopeLogs ─▶ LogRecord ─▶ Admission
//!                                                 labels          metadata      line, time, metadata
//! ```
//!
//! Resource attributes are labels where `otlp_config` says so, all other attributes are metadata; dots become `_`, maps
//! are flattened. Source: Loki's `pkg/loghttp/push/otlp.go` and `otlplabels/`.
//! Errors: 400 with what is malformed; then nothing of the request is kept.

mod attributes;
mod json;
mod value;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use self::attributes::{Attributes, Pairs, record_pairs, scope_pairs};
use self::value::{Any, any};
use super::wire::{Value, fields};
use super::{BodyLimits, PushError, PushOutcome, body, finish, outcome_of, text_of};
use crate::ingest::gate::TenantGate;
use crate::ingest::otlp_config::AttributeAction;
use crate::ingest::service_name::SERVICE_NAME;
use crate::ingest::validate::{Admission, Admitted, StreamHandle};
use crate::types::labels::Labels;

/// A request as it came to `/otlp/v1/logs`.
#[derive(Debug, Clone)]
pub struct OtlpRequest<'a> {
    pub content_type: Option<&'a str>,
    pub content_encoding: Option<&'a str>,
    pub body: Bytes,
}

/// Decodes and checks one request that came over HTTP.
pub fn decode_otlp(request: &OtlpRequest<'_>, gate: &TenantGate, limits: &BodyLimits) -> PushOutcome {
    outcome_of(admit(request, gate, limits))
}

fn admit(request: &OtlpRequest<'_>, gate: &TenantGate, limits: &BodyLimits) -> Result<Admitted, PushError> {
    let body = body::inflate_otlp(&request.body, request.content_encoding, limits)?;
    let mut admission = gate.admission(body.len());
    match request.content_type.unwrap_or("") {
        "application/x-protobuf" => decode_protobuf(&body, gate, &mut admission)?,
        "application/json" => decode_protobuf(&json::to_protobuf(&body)?, gate, &mut admission)?,
        other => return Err(PushError::bad(format!("content type: {other} is not supported"))),
    }
    finish(admission)
}

/// Reads a message.
pub(super) fn decode_protobuf(body: &[u8], gate: &TenantGate, admission: &mut Admission<'_>) -> Result<(), PushError> {
    fields(body, |tag, value| match (tag, value) {
        (1, Value::Bytes(logs)) => resource_logs(logs, gate, admission),
        _ => Ok(()),
    })
}

/// A resource with the stream its lines belong to.
struct Resource<'a> {
    labels: Vec<(String, String)>,
    metadata: Pairs<'a>,
    /// Whether `service_name` is to be found among the labels.
    discover_service: bool,
    stream: Option<StreamHandle>,
}

fn resource_logs(body: &[u8], gate: &TenantGate, admission: &mut Admission<'_>) -> Result<(), PushError> {
    let mut resource_body: &[u8] = &[];
    // The resource comes first from every known client, but the wire does not promise it.
    fields(body, |tag, value| {
        if let (1, Value::Bytes(resource)) = (tag, value) {
            resource_body = resource;
        }
        Ok(())
    })?;
    let mut resource = read_resource(resource_body, gate)?;
    fields(body, |tag, value| match (tag, value) {
        (2, Value::Bytes(scope)) => scope_logs(scope, &mut resource, gate, admission),
        _ => Ok(()),
    })
}

fn read_resource<'a>(body: &'a [u8], gate: &TenantGate) -> Result<Resource<'a>, PushError> {
    let rules = &gate.limits().otlp_config.resource_attributes;
    let mut resource = Resource { labels: Vec::new(), metadata: Vec::new(), discover_service: true, stream: None };
    Attributes::of(body, 1).each(|name, value| {
        if name == "service.name" && !value.is_empty_text() {
            resource.discover_service = false;
        }
        match rules.action_of(name, gate.otlp_labels()) {
            AttributeAction::Drop => Ok(()),
            AttributeAction::IndexLabel => {
                attributes::flatten(name, value, |name, text| resource.labels.push((name, text.into_owned())))
            }
            AttributeAction::StructuredMetadata => {
                attributes::flatten(name, value, |name, text| resource.metadata.push((name.into(), text)))
            }
        }
    })?;
    Ok(resource)
}

impl Resource<'_> {
    /// Makes the stream of the resource, with labels of a line besides, the one of the lines that follow.
    fn open(&self, of_line: &[(String, String)], admission: &mut Admission<'_>) -> StreamHandle {
        let pairs = self.labels.iter().chain(of_line).map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = Labels::from_pairs(pairs);
        if self.discover_service && labels.get(SERVICE_NAME).is_none() {
            admission.stream(labels)
        } else {
            admission.stream_as_it_is(labels)
        }
    }

    fn select(&mut self, of_line: &[(String, String)], admission: &mut Admission<'_>) {
        if !of_line.is_empty() {
            self.open(of_line, admission);
            self.stream = None;
            return;
        }
        match self.stream {
            Some(stream) => admission.select(stream),
            None => self.stream = Some(self.open(&[], admission)),
        }
    }
}

fn scope_logs<'a>(
    body: &'a [u8],
    resource: &mut Resource<'a>,
    gate: &TenantGate,
    admission: &mut Admission<'_>,
) -> Result<(), PushError> {
    let config = &gate.limits().otlp_config;
    let mut scope: Pairs<'a> = Vec::new();
    fields(body, |tag, value| match (tag, value) {
        (1, Value::Bytes(found)) => {
            scope = scope_pairs(found, &config.scope_attributes)?;
            Ok(())
        }
        _ => Ok(()),
    })?;
    let mut metadata: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    let mut line = String::new();
    fields(body, |tag, value| {
        let (2, Value::Bytes(record)) = (tag, value) else { return Ok(()) };
        metadata.clear();
        let read = record_pairs(record, config, &mut metadata)?;
        for (name, text) in resource.metadata.iter().chain(&scope) {
            metadata.push((name.clone(), text.clone()));
        }
        let time = [read.time, read.observed].into_iter().find(|time| *time != 0);
        let ts_ns = time.map_or(gate.now().0, |time| time as i64);
        resource.select(&read.labels, admission);
        let body = any(read.body)?;
        let text: &str = match body {
            Any::Text(text) => {
                let text = text_of(text);
                let _ = admission.entry(ts_ns, &text, &metadata);
                return Ok(());
            }
            other => {
                line.clear();
                other.push_text(&mut line)?;
                &line
            }
        };
        let _ = admission.entry(ts_ns, text, &metadata);
        Ok(())
    })
}
