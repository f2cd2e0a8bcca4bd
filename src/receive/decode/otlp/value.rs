//! OpenTelemetry's `AnyValue`, in place, and its text: as it is, a number, base64, or JSON of lists and maps.
//!
//! Source: the collector's `pcommon.Value.AsString`, which Loki uses.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::wire::{Value, fields};
use super::super::{PushError, text_of};

/// Values nested deeper than this are refused.
pub(super) const DEPTH_MAX: usize = 64;

/// A value; lists and maps are the bytes of their messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Any<'a> {
    Empty,
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(&'a [u8]),
    Map(&'a [u8]),
    Bytes(&'a [u8]),
}

/// Reads an `AnyValue`; of several the last counts.
pub(super) fn any(body: &[u8]) -> Result<Any<'_>, PushError> {
    let mut found = Any::Empty;
    fields(body, |tag, value| {
        found = match (tag, value) {
            (1, Value::Bytes(text)) => Any::Text(text),
            (2, Value::Number(number)) => Any::Bool(number != 0),
            (3, Value::Number(number)) => Any::Int(number as i64),
            (4, Value::Fixed64(bits)) => Any::Double(f64::from_bits(bits)),
            (5, Value::Bytes(list)) => Any::List(list),
            (6, Value::Bytes(map)) => Any::Map(map),
            (7, Value::Bytes(bytes)) => Any::Bytes(bytes),
            _ => return Ok(()),
        };
        Ok(())
    })?;
    Ok(found)
}

/// Reads a `KeyValue`.
pub(super) fn key_value(body: &[u8]) -> Result<(Cow<'_, str>, Any<'_>), PushError> {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    fields(body, |tag, field| {
        match (tag, field) {
            (1, Value::Bytes(bytes)) => key = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        }
        Ok(())
    })?;
    Ok((text_of(key), any(value)?))
}

impl<'a> Any<'a> {
    pub(super) fn is_empty_text(self) -> bool {
        matches!(self, Any::Empty | Any::Text([]))
    }

    /// The value's text; borrowed when it is text.
    pub(super) fn text(self) -> Result<Cow<'a, str>, PushError> {
        match self {
            Any::Text(text) => Ok(text_of(text)),
            other => {
                let mut text = String::new();
                other.push_text(&mut text)?;
                Ok(Cow::Owned(text))
            }
        }
    }

    /// Appends the value's text.
    pub(super) fn push_text(self, out: &mut String) -> Result<(), PushError> {
        match self {
            Any::Empty => {}
            Any::Text(text) => out.push_str(&text_of(text)),
            Any::Bytes(bytes) => STANDARD.encode_string(bytes, out),
            Any::Double(number) if number.is_nan() => out.push_str("NaN"),
            Any::Double(number) if number.is_infinite() => {
                out.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
            }
            Any::Bool(_) | Any::Int(_) | Any::Double(_) => {
                self.push_json(out, 0)?;
            }
            Any::List(_) | Any::Map(_) => {
                let start = out.len();
                if !self.push_json(out, 0)? {
                    out.truncate(start);
                }
            }
        }
        Ok(())
    }

    /// Appends JSON as Go writes it, keys sorted; false when there is none, because a number is not finite.
    fn push_json(self, out: &mut String, depth: usize) -> Result<bool, PushError> {
        if depth > DEPTH_MAX {
            return Err(PushError::bad(format!("a value is nested deeper than {DEPTH_MAX}")));
        }
        let mut sound = true;
        match self {
            Any::Empty => out.push_str("null"),
            Any::Text(text) => push_json_text(out, &text_of(text)),
            Any::Bool(truth) => out.push_str(if truth { "true" } else { "false" }),
            Any::Int(number) => out.push_str(&number.to_string()),
            Any::Double(number) if !number.is_finite() => return Ok(false),
            Any::Double(number) => push_number(out, number),
            Any::Bytes(bytes) => {
                out.push('"');
                STANDARD.encode_string(bytes, out);
                out.push('"');
            }
            Any::List(body) => {
                out.push('[');
                let mut first = true;
                fields(body, |tag, value| {
                    if let (1, Value::Bytes(item)) = (tag, value) {
                        if !std::mem::take(&mut first) {
                            out.push(',');
                        }
                        sound &= any(item)?.push_json(out, depth + 1)?;
                    }
                    Ok(())
                })?;
                out.push(']');
            }
            Any::Map(body) => {
                let mut members = BTreeMap::new();
                fields(body, |tag, value| {
                    if let (1, Value::Bytes(member)) = (tag, value) {
                        let (key, value) = key_value(member)?;
                        members.insert(key, value);
                    }
                    Ok(())
                })?;
                out.push('{');
                for (at, (key, value)) in members.into_iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    push_json_text(out, &key);
                    out.push(':');
                    sound &= value.push_json(out, depth + 1)?;
                }
                out.push('}');
            }
        }
        Ok(sound)
    }
}

/// A finite number as ECMAScript and Go's JSON write it.
fn push_number(out: &mut String, number: f64) {
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        out.push_str(&number.to_string());
        return;
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => {
            out.push_str(digits);
            out.push_str("e+");
            out.push_str(exponent);
        }
        _ => out.push_str(&text),
    }
}

/// A JSON string as Go writes it when it leaves HTML alone.
fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let check = |number: f64, expected: &str| {
            let mut out = String::new();
            push_number(&mut out, number);
            assert_eq!(out, expected);
        };
        check(1.0, "1");
        check(-0.5, "-0.5");
        check(1e20, "100000000000000000000");
        check(1e21, "1e+21");
        check(1.5e-7, "1.5e-7");
        check(0.000001, "0.000001");
    }

    #[test]
    fn texts_are_escaped_as_go_escapes_them() {
        let mut out = String::new();
        push_json_text(&mut out, "a\"\\\n\u{1}<b>&\u{2028}é");
        assert_eq!(out, "\"a\\\"\\\\\\n\\u0001<b>&\\u2028é\"");
    }
}
