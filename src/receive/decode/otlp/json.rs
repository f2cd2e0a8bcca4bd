//! OTLP's JSON, rewritten as its protobuf: one mapping for both, and no tree of a body is ever built.
//!
//! ```text
//! {"resourceLogs":[{…}]} ─▶ fields by table ─▶ tag, length (five bytes, filled in afterwards), content
//! ```
//!
//! As the collector reads it: ids in hexadecimal, 64-bit numbers as strings or numbers, enums as numbers or names, keys
//! also with `_`, unknown keys and `null` passed over.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::super::json_reader::{JsonError, JsonReader, JsonResult};
use super::super::{PushError, text_of};
use super::value::DEPTH_MAX;

/// A field of a message.
struct Field {
    name: &'static str,
    tag: u32,
    kind: Kind,
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    One(&'static Message),
    Many(&'static Message),
    Text,
    Base64,
    Hex,
    Double,
    Fixed64,
    Fixed32,
    Bool,
    /// A varint.
    Int,
    Severity,
}

/// A message by its fields.
struct Message(&'static [Field]);

const fn field(name: &'static str, tag: u32, kind: Kind) -> Field {
    Field { name, tag, kind }
}

static REQUEST: Message = Message(&[field("resourceLogs", 1, Kind::Many(&RESOURCE_LOGS))]);
static RESOURCE_LOGS: Message =
    Message(&[field("resource", 1, Kind::One(&RESOURCE)), field("scopeLogs", 2, Kind::Many(&SCOPE_LOGS))]);
static RESOURCE: Message = Message(&[field("attributes", 1, Kind::Many(&KEY_VALUE))]);
static SCOPE_LOGS: Message =
    Message(&[field("scope", 1, Kind::One(&SCOPE)), field("logRecords", 2, Kind::Many(&LOG_RECORD))]);
static SCOPE: Message = Message(&[
    field("name", 1, Kind::Text),
    field("version", 2, Kind::Text),
    field("attributes", 3, Kind::Many(&KEY_VALUE)),
    field("droppedAttributesCount", 4, Kind::Int),
]);
static LOG_RECORD: Message = Message(&[
    field("timeUnixNano", 1, Kind::Fixed64),
    field("severityNumber", 2, Kind::Severity),
    field("severityText", 3, Kind::Text),
    field("body", 5, Kind::One(&ANY_VALUE)),
    field("attributes", 6, Kind::Many(&KEY_VALUE)),
    field("droppedAttributesCount", 7, Kind::Int),
    field("flags", 8, Kind::Fixed32),
    field("traceId", 9, Kind::Hex),
    field("spanId", 10, Kind::Hex),
    field("observedTimeUnixNano", 11, Kind::Fixed64),
    field("eventName", 12, Kind::Text),
]);
static KEY_VALUE: Message = Message(&[field("key", 1, Kind::Text), field("value", 2, Kind::One(&ANY_VALUE))]);
static ANY_VALUE: Message = Message(&[
    field("stringValue", 1, Kind::Text),
    field("boolValue", 2, Kind::Bool),
    field("intValue", 3, Kind::Int),
    field("doubleValue", 4, Kind::Double),
    field("arrayValue", 5, Kind::One(&LIST)),
    field("kvlistValue", 6, Kind::One(&MAP)),
    field("bytesValue", 7, Kind::Base64),
]);
static LIST: Message = Message(&[field("values", 1, Kind::Many(&ANY_VALUE))]);
static MAP: Message = Message(&[field("values", 1, Kind::Many(&KEY_VALUE))]);

/// The same request as protobuf.
pub(super) fn to_protobuf(body: &[u8]) -> Result<Vec<u8>, PushError> {
    let text = text_of(body);
    let mut out = Vec::with_capacity(body.len());
    message(&mut JsonReader::new(&text), &REQUEST, &mut out, 0).map_err(|error| malformed(&text, &error))?;
    Ok(out)
}

fn malformed(text: &str, error: &JsonError) -> PushError {
    let near = |at: usize| text.floor_char_boundary(at.min(text.len()));
    let around = &text[near(error.at.saturating_sub(10))..near(error.at + 10)];
    PushError::bad(format!(
        "ReadObject: expect {}, error found in #{} byte of ...|{around}|...",
        error.expected, error.at
    ))
}

fn message(reader: &mut JsonReader<'_>, of: &Message, out: &mut Vec<u8>, depth: usize) -> JsonResult<()> {
    // A value of OpenTelemetry is two messages deep.
    if depth > 2 * DEPTH_MAX {
        return reader.fail("fewer nested values");
    }
    reader.object(|reader, key| {
        let found = of.0.iter().find(|field| is_named(field.name, &key));
        match found {
            _ if reader.take_null() => Ok(()),
            None => reader.skip().map(|_| ()),
            Some(Field { tag, kind: Kind::Many(inner), .. }) => {
                reader.array(|reader| inside(*tag, out, |out| message(reader, inner, out, depth + 1)))
            }
            Some(Field { tag, kind: Kind::One(inner), .. }) => {
                inside(*tag, out, |out| message(reader, inner, out, depth + 1))
            }
            Some(Field { tag, kind, .. }) => scalar(reader, *tag, *kind, out),
        }
    })
}

/// `resourceLogs` and `resource_logs` are the same.
fn is_named(name: &str, key: &str) -> bool {
    let mut rest = key.chars();
    let as_written = name.chars().all(|c| match rest.next() {
        Some('_') if c.is_ascii_uppercase() => rest.next() == Some(c.to_ascii_lowercase()),
        other => other == Some(c),
    });
    as_written && rest.next().is_none()
}

/// A field whose length is known only when its content is written.
fn inside(tag: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> JsonResult<()>) -> JsonResult<()> {
    const LENGTH_BYTES: usize = 5;
    encode_key(tag, WireType::LengthDelimited, out);
    let begin = out.len() + LENGTH_BYTES;
    out.resize(begin, 0);
    write(out)?;
    let mut length = out.len() - begin;
    for at in 0..LENGTH_BYTES {
        let more = if at + 1 < LENGTH_BYTES { 0x80 } else { 0 };
        out[begin - LENGTH_BYTES + at] = (length & 0x7f) as u8 | more;
        length >>= 7;
    }
    Ok(())
}

fn scalar(reader: &mut JsonReader<'_>, tag: u32, kind: Kind, out: &mut Vec<u8>) -> JsonResult<()> {
    let varint = |number: u64, out: &mut Vec<u8>| {
        encode_key(tag, WireType::Varint, out);
        encode_varint(number, out);
    };
    let bytes = |bytes: &[u8], out: &mut Vec<u8>| {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    };
    match kind {
        Kind::Text => bytes(reader.string()?.as_bytes(), out),
        Kind::Base64 => match STANDARD.decode(reader.string()?.as_bytes()) {
            Ok(decoded) => bytes(&decoded, out),
            Err(_) => return reader.fail("base64"),
        },
        Kind::Hex => match hex(&reader.string()?) {
            Some(decoded) => bytes(&decoded, out),
            None => return reader.fail("hexadecimal digits"),
        },
        Kind::Bool => match reader.skip()? {
            "true" => varint(1, out),
            "false" => varint(0, out),
            _ => return reader.fail("true or false"),
        },
        Kind::Int => {
            let number = number(reader, |text| text.parse::<i64>().ok(), "an integer")?;
            varint(number as u64, out);
        }
        Kind::Severity => {
            let number = number(reader, severity, "a severity number")?;
            varint(number as u64, out);
        }
        Kind::Double => {
            let number = number(reader, |text| text.parse::<f64>().ok(), "a number")?;
            encode_key(tag, WireType::SixtyFourBit, out);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Fixed64 => {
            let number = number(reader, |text| text.parse::<u64>().ok(), "a positive integer")?;
            encode_key(tag, WireType::SixtyFourBit, out);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Fixed32 => {
            let number = number(reader, |text| text.parse::<u32>().ok(), "a positive integer")?;
            encode_key(tag, WireType::ThirtyTwoBit, out);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::One(_) | Kind::Many(_) => return reader.fail("a value"),
    }
    Ok(())
}

/// A number as such or in a string.
fn number<T>(
    reader: &mut JsonReader<'_>,
    parse: impl FnOnce(&str) -> Option<T>,
    expected: &'static str,
) -> JsonResult<T> {
    let parsed = match reader.peek() {
        Some(b'"') => parse(&reader.string()?),
        _ => parse(reader.skip()?),
    };
    parsed.map_or_else(|| reader.fail(expected), Ok)
}

/// `9`, `SEVERITY_NUMBER_INFO` or `SEVERITY_NUMBER_INFO2`.
fn severity(text: &str) -> Option<i64> {
    let Some(name) = text.strip_prefix("SEVERITY_NUMBER_") else { return text.parse().ok() };
    let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let (level, step) = match name.as_bytes().last() {
        Some(digit @ b'2'..=b'4') => (&name[..name.len() - 1], i64::from(digit - b'1')),
        _ => (name, 0),
    };
    if name == "UNSPECIFIED" {
        return Some(0);
    }
    let at = levels.iter().position(|known| *known == level)?;
    Some(4 * at as i64 + 1 + step)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(digit(&pair[0])? << 4 | digit(&pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_in_all_their_forms() {
        assert!(is_named("resourceLogs", "resourceLogs") && is_named("resourceLogs", "resource_logs"));
        assert!(!is_named("resourceLogs", "resourceLog") && !is_named("resource", "resource_logs"));
        let check = |text: &str, expected| assert_eq!(severity(text), expected, "{text}");
        check("17", Some(17));
        check("SEVERITY_NUMBER_INFO", Some(9));
        check("SEVERITY_NUMBER_WARN4", Some(16));
        check("SEVERITY_NUMBER_UNSPECIFIED", Some(0));
        check("SEVERITY_NUMBER_LOUD", None);
        assert_eq!(hex("0aFF"), Some(vec![10, 255]));
        assert_eq!((hex("0"), hex("xy")), (None, None));
    }
}
