//! Loki's push protobuf, read in place: no message is built, no string copied before it is a column.
//!
//! ```text
//! PushRequest { streams = 1: Stream { labels = 1: string, entries = 2: Entry {
//!     timestamp = 1: { seconds = 1, nanos = 2 }, line = 2: string, structuredMetadata = 3: { name = 1, value = 2 } } } }
//! ```

use std::borrow::Cow;

use super::label_text::parse_labels;
use super::wire::{Value, fields};
use super::{PushError, text_of};
use crate::ingest::validate::Admission;

/// Decodes an unsnapped body.
pub(super) fn decode(body: &[u8], admission: &mut Admission<'_>) -> Result<(), PushError> {
    fields(body, |tag, value| match (tag, value) {
        (1, Value::Bytes(stream)) => decode_stream(stream, admission),
        _ => Ok(()),
    })
}

fn decode_stream(body: &[u8], admission: &mut Admission<'_>) -> Result<(), PushError> {
    let mut labels: Cow<'_, str> = Cow::Borrowed("");
    // Labels come first from every known client, but the wire does not promise it.
    fields(body, |tag, value| {
        if let (1, Value::Bytes(text)) = (tag, value) {
            labels = text_of(text);
        }
        Ok(())
    })?;
    admission.stream(parse_labels(&labels).map_err(|error| PushError::bad(error.to_string()))?);
    fields(body, |tag, value| match (tag, value) {
        (2, Value::Bytes(entry)) => decode_entry(entry, admission),
        _ => Ok(()),
    })
}

fn decode_entry(body: &[u8], admission: &mut Admission<'_>) -> Result<(), PushError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    let mut line: Cow<'_, str> = Cow::Borrowed("");
    let mut metadata: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    fields(body, |tag, value| {
        match (tag, value) {
            (1, Value::Bytes(timestamp)) => fields(timestamp, |tag, value| {
                match (tag, value) {
                    (1, Value::Number(number)) => seconds = number as i64,
                    (2, Value::Number(number)) => nanos = i64::from(number as i32),
                    _ => {}
                }
                Ok(())
            })?,
            (2, Value::Bytes(text)) => line = text_of(text),
            (3, Value::Bytes(pair)) => {
                let (mut name, mut text): (Cow<'_, str>, Cow<'_, str>) = Default::default();
                fields(pair, |tag, value| {
                    match (tag, value) {
                        (1, Value::Bytes(bytes)) => name = text_of(bytes),
                        (2, Value::Bytes(bytes)) => text = text_of(bytes),
                        _ => {}
                    }
                    Ok(())
                })?;
                metadata.push((name, text));
            }
            _ => {}
        }
        Ok(())
    })?;
    let ts_ns = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    let _ = admission.entry(ts_ns, &line, &metadata);
    Ok(())
}
