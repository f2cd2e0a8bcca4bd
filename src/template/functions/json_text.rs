//! Values to JSON: `toJson`, `toPrettyJson`, `toRawJson`.

use super::Parameter::Any;
use super::{CallError, Function};
use crate::template::limits::{LimitError, TEXT_BYTES_MAX, VALUE_DEPTH_MAX};
use crate::template::strconv::float::{FloatForm, push_float};
use crate::template::unicode::decode;
use crate::template::value::Value;
use crate::types::go_time::RFC3339_NANO;

pub(super) static SPRIG: &[Function] = &[
    Function::text("toJson", &[Any], |call, out| lenient(call.value(0), true, false, out)),
    Function::text("mustToJson", &[Any], |call, out| strict(call.value(0), true, false, out)),
    Function::text("toPrettyJson", &[Any], |call, out| lenient(call.value(0), true, true, out)),
    Function::text("mustToPrettyJson", &[Any], |call, out| strict(call.value(0), true, true, out)),
    Function::text("toRawJson", &[Any], |call, out| strict(call.value(0), false, false, out)),
    Function::text("mustToRawJson", &[Any], |call, out| strict(call.value(0), false, false, out)),
];

fn strict(value: &Value<'_>, escapes_html: bool, is_pretty: bool, out: &mut Vec<u8>) -> Result<(), CallError> {
    Writer { out, escapes_html, is_pretty }.value(value, 0)
}

/// A value that has no JSON is empty.
fn lenient(value: &Value<'_>, escapes_html: bool, is_pretty: bool, out: &mut Vec<u8>) -> Result<(), CallError> {
    let start = out.len();
    match strict(value, escapes_html, is_pretty, out) {
        Err(CallError::Failed(_)) => {
            out.truncate(start);
            Ok(())
        }
        other => other,
    }
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    escapes_html: bool,
    is_pretty: bool,
}

impl Writer<'_> {
    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn line(&mut self, depth: usize) {
        if self.is_pretty {
            self.push("\n");
            self.out.resize(self.out.len() + 2 * depth, b' ');
        }
    }

    fn value(&mut self, value: &Value<'_>, depth: usize) -> Result<(), CallError> {
        if depth > VALUE_DEPTH_MAX {
            return Err(LimitError::ValueDepth.into());
        }
        if self.out.len() > TEXT_BYTES_MAX {
            return Err(LimitError::Text.into());
        }
        match value.target() {
            Value::Nil => self.push("null"),
            Value::Bool(flag) => self.push(if *flag { "true" } else { "false" }),
            Value::Float(float) => self.float(*float)?,
            Value::Text(text) | Value::Html(text) => self.text(text.as_bytes()),
            Value::Time(time) => self.text(time.format(RFC3339_NANO).as_bytes()),
            Value::Complex(..) => return Err(CallError::new("json: unsupported type: complex128")),
            Value::Location(_) => self.push("{}"),
            list @ Value::List(_) if list.is_nil() => self.push("null"),
            Value::List(list) => {
                self.push("[");
                for (at, item) in list.items().iter().enumerate() {
                    self.push(if at > 0 { "," } else { "" });
                    self.line(depth + 1);
                    self.value(item, depth + 1)?;
                }
                if !list.items().is_empty() {
                    self.line(depth);
                }
                self.push("]");
            }
            Value::Struct(fields) => {
                let fields = fields.fields.iter().map(|field| (field.name.as_bytes(), &field.value.value));
                self.object(fields.collect(), depth)?;
            }
            map @ (Value::Map(_) | Value::Fields(_)) => {
                let (entries, _) = map.entries().unwrap_or((Vec::new(), crate::template::value::Element::Any));
                self.object(entries.iter().map(|(key, value)| (key.as_bytes(), value)).collect(), depth)?;
            }
            other => self.push(&other.integer().unwrap_or(0).to_string()),
        }
        Ok(())
    }

    fn object(&mut self, fields: Vec<(&[u8], &Value<'_>)>, depth: usize) -> Result<(), CallError> {
        self.push("{");
        for (at, (name, value)) in fields.iter().enumerate() {
            self.push(if at > 0 { "," } else { "" });
            self.line(depth + 1);
            self.text(name);
            self.push(if self.is_pretty { ": " } else { ":" });
            self.value(value, depth + 1)?;
        }
        if !fields.is_empty() {
            self.line(depth);
        }
        self.push("}");
        Ok(())
    }

    fn float(&mut self, float: f64) -> Result<(), CallError> {
        let mut number = Vec::new();
        if !float.is_finite() {
            push_float(&mut number, float, FloatForm::General, false, None);
            let number = String::from_utf8_lossy(&number);
            return Err(CallError::new(format!("json: unsupported value: {number}")));
        }
        let magnitude = float.abs();
        let is_plain = magnitude == 0.0 || (1e-6..1e21).contains(&magnitude);
        let form = if is_plain { FloatForm::Fixed } else { FloatForm::Exponent };
        push_float(&mut number, float, form, false, None);
        // `e-09` is written `e-9`.
        if let [head @ .., b'e', b'-', b'0', digit] = &*number
            && !is_plain
        {
            let mut short = head.to_vec();
            short.extend([b'e', b'-', *digit]);
            number = short;
        }
        self.out.append(&mut number);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) {
        self.push("\"");
        let mut rest = text;
        while let Some((c, width)) = decode(rest) {
            let (head, tail) = rest.split_at(width);
            rest = tail;
            match c {
                '"' | '\\' => self.out.extend([b'\\', head[0]]),
                '\x08' => self.push("\\b"),
                '\x0c' => self.push("\\f"),
                '\n' => self.push("\\n"),
                '\r' => self.push("\\r"),
                '\t' => self.push("\\t"),
                '<' | '>' | '&' if !self.escapes_html => self.out.push(head[0]),
                '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    self.push(&format!("\\u{:04x}", u32::from(c)));
                }
                char::REPLACEMENT_CHARACTER if width == 1 => self.push("\\ufffd"),
                _ => self.out.extend_from_slice(head),
            }
        }
        self.push("\"");
    }
}
