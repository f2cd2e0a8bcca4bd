//! Texts cut, trimmed, replaced and changed in case: the functions that Loki, Promtail and Sprig share.

use super::Parameter::{Int, Text as TextParameter};
use super::slices::go_slice;
use super::{Call, CallError, Function};
use crate::template::text::Text;
use crate::template::unicode::{
    self, chars, is_digit, is_letter, push_mapped, to_lower, to_title, to_upper, trimmed_end, trimmed_start,
};
use crate::template::value::{Operand, Value};

type Called<'a> = Result<Operand<'a>, CallError>;

const ONE: &[super::Parameter] = &[TextParameter];
const TWO: &[super::Parameter] = &[TextParameter, TextParameter];
const THREE: &[super::Parameter] = &[TextParameter, TextParameter, TextParameter];

/// Go's `strings`, as Loki and Promtail first had them: the text comes first.
pub(super) static GO: &[Function] = &[
    LOWER.named("ToLower"),
    UPPER.named("ToUpper"),
    Function::text("Replace", &[TextParameter, TextParameter, TextParameter, Int], |call, out| {
        push_replaced(call, out, call.bytes(0), call.bytes(1), call.bytes(2), call.int(3))
    }),
    Function::value("Trim", TWO, |call| trim(call, &call.text(0), call.bytes(1), true, true)),
    Function::value("TrimLeft", TWO, |call| trim(call, &call.text(0), call.bytes(1), true, false)),
    Function::value("TrimRight", TWO, |call| trim(call, &call.text(0), call.bytes(1), false, true)),
    Function::value("TrimPrefix", TWO, |call| trim_prefix(&call.text(0), call.bytes(1))),
    Function::value("TrimSuffix", TWO, |call| trim_suffix(&call.text(0), call.bytes(1))),
    TRIM_SPACE.named("TrimSpace"),
];

const LOWER: Function = Function::text("lower", ONE, |call, out| {
    push_lower(out, call.bytes(0));
    Ok(())
});
const UPPER: Function = Function::text("upper", ONE, |call, out| {
    push_upper(out, call.bytes(0));
    Ok(())
});
const TRIM_SPACE: Function = Function::value("trim", ONE, |call| {
    let text = call.text(0);
    part(&text, unicode::trim_space(text.as_bytes()))
});

/// Sprig's, where the text comes last, so that it can be piped.
pub(super) static SPRIG: &[Function] = &[
    LOWER,
    UPPER,
    TRIM_SPACE,
    Function::text("title", ONE, |call, out| {
        push_title(out, call.bytes(0));
        Ok(())
    }),
    Function::value("trunc", &[Int, TextParameter], |call| {
        let text = call.text(1);
        let length = i64::try_from(text.as_bytes().len()).unwrap_or(i64::MAX);
        let count = call.int(0);
        // A count beyond the text leaves it as it is, either way.
        let range = match count {
            ..0 if length.saturating_add(count) > 0 => go_slice(text.as_bytes().len(), Some(length + count), None)?,
            0.. if length > count => go_slice(text.as_bytes().len(), None, Some(count))?,
            _ => 0..text.as_bytes().len(),
        };
        part(&text, range)
    }),
    Function::value("substr", &[Int, Int, TextParameter], |call| {
        let (start, end, text) = (call.int(0), call.int(1), call.text(2));
        let length = text.as_bytes().len();
        let is_beyond = end < 0 || usize::try_from(end).is_ok_and(|end| end > length);
        let range = match (start, is_beyond) {
            (..0, _) => go_slice(length, None, Some(end))?,
            (_, true) => go_slice(length, Some(start), None)?,
            (_, false) => go_slice(length, Some(start), Some(end))?,
        };
        part(&text, range)
    }),
    Function::value("contains", TWO, |call| {
        call.charge_bytes(call.bytes(1).len())?;
        Ok(Value::Bool(find(call.bytes(1), call.bytes(0)).is_some()).into())
    }),
    Function::value("hasPrefix", TWO, |call| Ok(Value::Bool(call.bytes(1).starts_with(call.bytes(0))).into())),
    Function::value("hasSuffix", TWO, |call| Ok(Value::Bool(call.bytes(1).ends_with(call.bytes(0))).into())),
    Function::text("indent", &[Int, TextParameter], push_indented),
    Function::text("nindent", &[Int, TextParameter], |call, out| {
        out.push(b'\n');
        push_indented(call, out)
    }),
    Function::text("replace", THREE, |call, out| {
        push_replaced(call, out, call.bytes(2), call.bytes(0), call.bytes(1), -1)
    }),
    Function::text("repeat", &[Int, TextParameter], |call, out| push_repeated(call, out, call.bytes(1), call.int(0))),
    Function::value("trimAll", TWO, |call| trim(call, &call.text(1), call.bytes(0), true, true)),
    Function::value("trimall", TWO, |call| trim(call, &call.text(1), call.bytes(0), true, true)),
    Function::value("trimSuffix", TWO, |call| trim_suffix(&call.text(1), call.bytes(0))),
    Function::value("trimPrefix", TWO, |call| trim_prefix(&call.text(1), call.bytes(0))),
];

/// A part of a text as a value.
pub(super) fn part<'a>(text: &Text<'a>, range: std::ops::Range<usize>) -> Called<'a> {
    Ok(Value::Text(text.slice(range)).into())
}

/// The place of `wanted` in `text`.
pub(super) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    match wanted {
        [] => Some(0),
        [byte] => text.iter().position(|known| known == byte),
        _ if wanted.len() > text.len() => None,
        // Texts are UTF-8 nearly always, and searching those is fast.
        _ => match (std::str::from_utf8(text), std::str::from_utf8(wanted)) {
            (Ok(text), Ok(wanted)) => text.find(wanted),
            _ => text.windows(wanted.len()).position(|window| window == wanted),
        },
    }
}

pub(super) fn push_lower(out: &mut Vec<u8>, text: &[u8]) {
    if !text.is_ascii() {
        return push_mapped(out, text, to_lower);
    }
    let start = out.len();
    out.extend_from_slice(text);
    out[start..].make_ascii_lowercase();
}

pub(super) fn push_upper(out: &mut Vec<u8>, text: &[u8]) {
    if !text.is_ascii() {
        return push_mapped(out, text, to_upper);
    }
    let start = out.len();
    out.extend_from_slice(text);
    out[start..].make_ascii_uppercase();
}

/// Go's `strings.Title`: the first letter of each word.
fn push_title(out: &mut Vec<u8>, text: &[u8]) {
    let mut before = ' ';
    if text.is_ascii() {
        return out.extend(text.iter().map(|byte| {
            let is_first = is_separator(std::mem::replace(&mut before, char::from(*byte)));
            if is_first { byte.to_ascii_uppercase() } else { *byte }
        }));
    }
    let mapped: Vec<(char, char)> = chars(text)
        .map(|(_, c, _)| {
            let is_first = is_separator(std::mem::replace(&mut before, c));
            (c, if is_first { to_title(c) } else { c })
        })
        .collect();
    // A text that does not change keeps even what is no UTF-8.
    if mapped.iter().all(|(c, mapped)| c == mapped && *c != unicode::REPLACEMENT) {
        return out.extend_from_slice(text);
    }
    mapped.into_iter().for_each(|(_, c)| unicode::push_char(out, c));
}

fn is_separator(c: char) -> bool {
    match c {
        '_' => false,
        c if c.is_ascii() => !c.is_ascii_alphanumeric(),
        c => !is_letter(c) && !is_digit(c) && c.is_whitespace(),
    }
}

/// Takes the characters of `cutset` off the ends.
fn trim<'a>(call: &mut Call<'_, 'a>, text: &Text<'a>, cutset: &[u8], left: bool, right: bool) -> Called<'a> {
    let bytes = text.as_bytes();
    call.charge_bytes(cutset.len())?;
    let is_taken = |c: char| chars(cutset).any(|(_, known, _)| known == c);
    let start = if left { trimmed_start(bytes, is_taken) } else { 0 };
    let end = if right { start + trimmed_end(&bytes[start..], is_taken) } else { bytes.len() };
    part(text, start..end)
}

fn trim_prefix<'a>(text: &Text<'a>, prefix: &[u8]) -> Called<'a> {
    let bytes = text.as_bytes();
    part(text, if bytes.starts_with(prefix) { prefix.len() } else { 0 }..bytes.len())
}

fn trim_suffix<'a>(text: &Text<'a>, suffix: &[u8]) -> Called<'a> {
    let bytes = text.as_bytes();
    part(text, 0..bytes.len() - if bytes.ends_with(suffix) { suffix.len() } else { 0 })
}

/// Go's `strings.Replace`: `count` times, always if it is negative; an empty `old` is before every character.
pub(super) fn push_replaced(
    call: &mut Call<'_, '_>,
    out: &mut Vec<u8>,
    text: &[u8],
    old: &[u8],
    new: &[u8],
    count: i64,
) -> Result<(), CallError> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let begin = out.len();
    let mut rest = text;
    let mut is_first = true;
    for _ in 0..count {
        let found = match old {
            [] if is_first => Some(0),
            [] => unicode::decode(rest).map(|(_, width)| width),
            _ => find(rest, old),
        };
        let Some(at) = found else { break };
        is_first = false;
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(new);
        rest = &rest[at + old.len()..];
        call.limit_text(out.len() - begin)?;
        call.charge_items(1)?;
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Go's `strings.Repeat`.
pub(super) fn push_repeated(
    call: &mut Call<'_, '_>,
    out: &mut Vec<u8>,
    text: &[u8],
    count: i64,
) -> Result<(), CallError> {
    let count = usize::try_from(count).map_err(|_| CallError::new("strings: negative Repeat count"))?;
    let length = text.len().checked_mul(count).filter(|length| i64::try_from(*length).is_ok());
    let length = length.ok_or_else(|| CallError::new("strings: Repeat output length overflow"))?;
    call.limit_text(length)?;
    if !text.is_empty() {
        out.reserve(length);
        (0..count).for_each(|_| out.extend_from_slice(text));
    }
    Ok(())
}

/// Every line of the text after so many spaces.
fn push_indented(call: &mut Call<'_, '_>, out: &mut Vec<u8>) -> Result<(), CallError> {
    let (count, text) = (call.int(0), call.bytes(1));
    let start = out.len();
    push_repeated(call, out, b" ", count)?;
    let pad = out.len() - start;
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if at > 0 {
            out.push(b'\n');
            call.limit_text(out.len() - start + pad)?;
            out.resize(out.len() + pad, b' ');
        }
        out.extend_from_slice(line);
    }
    Ok(())
}
