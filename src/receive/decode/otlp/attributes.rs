//! Attributes and fixed fields as pairs of names and texts.
//!
//! A name is made of `[A-Za-z0-9_]`; a map becomes one pair a member, its name before the member's with `_`.

use std::borrow::Cow;

use super::super::wire::{Value, fields};
use super::super::{PushError, text_of};
use super::value::{Any, DEPTH_MAX, key_value};
use crate::ingest::otlp_config::{AttributeAction, AttributeRule, OtlpConfig, action_of};
use crate::ingest::validate::normalized_name;

/// Names and texts.
pub(super) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The `KeyValue`s of one field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a> {
    body: &'a [u8],
    tag: u32,
}

impl<'a> Attributes<'a> {
    /// Those in field `tag` of `body`.
    pub(super) fn of(body: &'a [u8], tag: u32) -> Self {
        Attributes { body, tag }
    }

    pub(super) fn each(
        self,
        mut attribute: impl FnMut(&str, Any<'a>) -> Result<(), PushError>,
    ) -> Result<(), PushError> {
        fields(self.body, |tag, value| match value {
            Value::Bytes(body) if tag == self.tag => {
                let (name, value) = key_value(body)?;
                attribute(&name, value)
            }
            _ => Ok(()),
        })
    }
}

/// Hands an attribute's pairs to `pair`.
pub(super) fn flatten<'a>(
    name: &str,
    value: Any<'a>,
    mut pair: impl FnMut(String, Cow<'a, str>),
) -> Result<(), PushError> {
    flatten_at(name, value, &mut pair, 0)
}

fn flatten_at<'a>(
    name: &str,
    value: Any<'a>,
    pair: &mut dyn FnMut(String, Cow<'a, str>),
    depth: usize,
) -> Result<(), PushError> {
    if depth > DEPTH_MAX {
        return Err(PushError::bad(format!("an attribute is nested deeper than {DEPTH_MAX}")));
    }
    if name.is_empty() {
        return Err(PushError::bad("symbolizer lookup: label name is empty"));
    }
    let normalized = normalized_name(name);
    if normalized.bytes().all(|byte| byte == b'_') {
        return Err(PushError::bad(format!(
            "symbolizer lookup: normalization for label name {name:?} resulted in invalid name {normalized:?}"
        )));
    }
    match value {
        Any::Map(body) => Attributes::of(body, 1)
            .each(|key, value| flatten_at(&format!("{normalized}_{key}"), value, pair, depth + 1)),
        value => {
            pair(normalized, value.text()?);
            Ok(())
        }
    }
}

/// Metadata that a scope gives its lines.
pub(super) fn scope_pairs<'a>(body: &'a [u8], rules: &[AttributeRule]) -> Result<Pairs<'a>, PushError> {
    let mut pairs: Pairs<'a> = Vec::new();
    Attributes::of(body, 3).each(|name, value| match action_of(name, rules) {
        AttributeAction::StructuredMetadata => flatten(name, value, |name, text| pairs.push((name.into(), text))),
        AttributeAction::Drop | AttributeAction::IndexLabel => Ok(()),
    })?;
    let (mut name, mut version, mut dropped) = (Cow::Borrowed(""), Cow::Borrowed(""), 0);
    fields(body, |tag, value| {
        match (tag, value) {
            (1, Value::Bytes(text)) => name = text_of(text),
            (2, Value::Bytes(text)) => version = text_of(text),
            (4, Value::Number(number)) => dropped = number as u32,
            _ => {}
        }
        Ok(())
    })?;
    for (label, text) in [("scope_name", name), ("scope_version", version)] {
        if !text.is_empty() {
            pairs.push((label.into(), text));
        }
    }
    if dropped != 0 {
        pairs.push(("scope_dropped_attributes_count".into(), dropped.to_string().into()));
    }
    Ok(pairs)
}

/// What a `LogRecord` says besides its metadata.
#[derive(Debug, Default)]
pub(super) struct Record<'a> {
    /// Nanoseconds since the epoch; 0 is none.
    pub(super) time: u64,
    pub(super) observed: u64,
    /// Its `AnyValue`.
    pub(super) body: &'a [u8],
    /// Attributes that are labels.
    pub(super) labels: Vec<(String, String)>,
}

/// Reads a `LogRecord`; its metadata goes to `pairs`.
pub(super) fn record_pairs<'a>(
    body: &'a [u8],
    config: &OtlpConfig,
    pairs: &mut Pairs<'a>,
) -> Result<Record<'a>, PushError> {
    let mut record = Record::default();
    let (mut severity, mut dropped, mut flags) = (0_i32, 0_u32, 0_u32);
    let (mut severity_text, mut event_name): (&[u8], &[u8]) = (&[], &[]);
    let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
    fields(body, |tag, value| {
        match (tag, value) {
            (1, Value::Fixed64(time)) => record.time = time,
            (2, Value::Number(number)) => severity = number as i32,
            (3, Value::Bytes(text)) => severity_text = text,
            (5, Value::Bytes(value)) => record.body = value,
            (7, Value::Number(number)) => dropped = number as u32,
            (8, Value::Fixed32(bits)) => flags = bits,
            (9, Value::Bytes(id)) => trace_id = id,
            (10, Value::Bytes(id)) => span_id = id,
            (11, Value::Fixed64(time)) => record.observed = time,
            (12, Value::Bytes(text)) => event_name = text,
            _ => {}
        }
        Ok(())
    })?;
    Attributes::of(body, 6).each(|name, value| {
        let action = action_of(name, &config.log_attributes);
        if action == AttributeAction::Drop || (name == "event_name" && !event_name.is_empty()) {
            return Ok(());
        }
        flatten(name, value, |name, text| match action {
            AttributeAction::IndexLabel => record.labels.push((name, text.into_owned())),
            _ => pairs.push((name.into(), text)),
        })
    })?;
    let mut push = |name: &'static str, text: Cow<'a, str>| pairs.push((Cow::Borrowed(name), text));
    if record.time != 0 && record.observed != 0 {
        push("observed_timestamp", (record.observed as i64).to_string().into());
    }
    if severity != 0 {
        push("severity_number", severity.to_string().into());
    }
    if !severity_text.is_empty() {
        let text = text_of(severity_text);
        if config.severity_text_as_label {
            record.labels.push(("severity_text".to_owned(), text.clone().into_owned()));
        }
        push("severity_text", text);
    }
    if dropped != 0 {
        push("dropped_attributes_count", dropped.to_string().into());
    }
    if flags != 0 {
        push("flags", flags.to_string().into());
    }
    for (name, id, bytes) in [("trace_id", trace_id, 16), ("span_id", span_id, 8)] {
        if !id.is_empty() && id.len() != bytes {
            return Err(PushError::bad(format!("{name}: invalid length, {} bytes instead of {bytes}", id.len())));
        }
        if id.iter().any(|byte| *byte != 0) {
            push(name, id.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into());
        }
    }
    if !event_name.is_empty() {
        push("event_name", text_of(event_name));
    }
    Ok(record)
}
