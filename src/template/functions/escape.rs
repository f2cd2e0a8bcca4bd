//! Escapes: `html`, `js`, `urlquery`.

use std::borrow::Cow;

use super::{Call, CallError, Function, Parameter};
use crate::template::format::verbs;
use crate::template::unicode::{decode, is_print};
use crate::template::value::{Operand, Value};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::text("html", &[], |call, out| {
        let text = joined(call)?;
        push_html(out, &text);
        Ok(())
    })
    .and_more(Parameter::Any),
    Function::text("js", &[], |call, out| {
        let text = joined(call)?;
        push_js(out, &text);
        Ok(())
    })
    .and_more(Parameter::Any),
    Function::text("urlquery", &[], |call, out| {
        let text = joined(call)?;
        push_query_escaped(out, &text);
        Ok(())
    })
    .and_more(Parameter::Any),
];

/// The arguments as one text: `<no value>` stands for nothing.
fn joined<'c>(call: &mut Call<'c, '_>) -> Result<Cow<'c, [u8]>, CallError> {
    if let [Operand { value: Value::Text(text), .. }] = call.arguments() {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let values: Vec<Value<'_>> = call
        .values(0)
        .map(|value| match value.target() {
            Value::Nil => Value::text(verbs::NO_VALUE),
            value => value.clone(),
        })
        .collect();
    let mut out = Vec::new();
    verbs::print(&mut out, values.iter())?;
    Ok(Cow::Owned(out))
}

fn push_html(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            byte => out.push(*byte),
        }
    }
}

fn push_js(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some((c, width)) = decode(rest) {
        let (head, tail) = rest.split_at(width);
        rest = tail;
        match c {
            '\\' | '\'' | '"' => out.extend([b'\\', head[0]]),
            '\0'..' ' | '<' | '>' | '&' | '=' => out.extend(format!("\\u{:04X}", u32::from(c)).bytes()),
            c if c.is_ascii() || is_print(c) => out.extend_from_slice(head),
            c => out.extend(format!("\\u{:04X}", u32::from(c)).bytes()),
        }
    }
}

/// Go's `url.QueryEscape`.
pub(super) fn push_query_escaped(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text {
        match byte {
            b' ' => out.push(b'+'),
            b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            byte if byte.is_ascii_alphanumeric() => out.push(*byte),
            byte => out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

/// Go's `url.QueryUnescape`; the error is its text.
pub(super) fn push_query_unescaped(out: &mut Vec<u8>, text: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                    let end = text.len().min(at + 3);
                    let escape = crate::template::strconv::quote::quoted(&text[at..end]);
                    return Err(format!("invalid URL escape {escape}"));
                };
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 2;
            }
            byte => out.push(*byte),
        }
        at += 1;
    }
    Ok(())
}
