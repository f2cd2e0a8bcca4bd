//! Sprig's functions of words: quoted, wrapped, abbreviated, joined; and parts of paths.
//!
//! Those that come from Go's `goutils` take bytes for characters, and so do these.

use super::Parameter::{Any, Int, Text};
use super::{CallError, Function};
use crate::template::format::{print_value, string_of};
use crate::template::strconv::quote::push_quoted;
use crate::template::text::Text as Bytes;
use crate::template::unicode::{chars, is_lower, is_title, is_upper, push_char, to_lower, to_title, to_upper};
use crate::template::value::Value;

pub(super) static SPRIG: &[Function] = &[
    Function::text("toString", &[Any], |call, out| {
        out.extend_from_slice(strval(call.value(0)).as_bytes());
        Ok(())
    }),
    Function::text("quote", &[], |call, out| {
        for (at, value) in call.values(0).filter(|value| !matches!(value, Value::Nil)).enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            push_quoted(out, strval(value).as_bytes(), b'"', false);
        }
        Ok(())
    })
    .and_more(Any),
    Function::text("squote", &[], |call, out| {
        for (at, value) in call.values(0).filter(|value| !matches!(value, Value::Nil)).enumerate() {
            out.extend_from_slice(if at > 0 { b" '" } else { b"'" });
            print_value(out, value)?;
            out.push(b'\'');
        }
        Ok(())
    })
    .and_more(Any),
    Function::text("cat", &[], |call, out| {
        for (at, value) in call.values(0).filter(|value| !matches!(value, Value::Nil)).enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            print_value(out, value)?;
        }
        Ok(())
    })
    .and_more(Any),
    Function::text("plural", &[Text, Text, Int], |call, out| {
        out.extend_from_slice(call.bytes(if call.int(2) == 1 { 0 } else { 1 }));
        Ok(())
    }),
    Function::text("abbrev", &[Int, Text], |call, out| {
        push_abbreviated(out, call.bytes(1), 0, call.int(0));
        Ok(())
    }),
    Function::text("abbrevboth", &[Int, Int, Text], |call, out| {
        let (left, width, text) = (call.int(0), call.int(1), call.bytes(2));
        if width < 4 || left > 0 && width < 7 {
            out.extend_from_slice(text);
        } else {
            push_abbreviated(out, text, left, width);
        }
        Ok(())
    }),
    Function::text("initials", &[Text], |call, out| {
        let mut after_gap = true;
        for byte in call.bytes(0) {
            let c = char::from(*byte);
            let is_gap = c.is_whitespace();
            if after_gap && !is_gap {
                push_char(out, c);
            }
            after_gap = is_gap;
        }
        Ok(())
    }),
    Function::text("nospace", &[Text], |call, out| {
        let text = call.bytes(0);
        if !text.iter().any(|byte| char::from(*byte).is_whitespace()) {
            out.extend_from_slice(text);
            return Ok(());
        }
        let kept = text.iter().map(|byte| char::from(*byte)).filter(|c| !c.is_whitespace());
        kept.for_each(|c| push_char(out, c));
        Ok(())
    }),
    Function::text("untitle", &[Text], |call, out| {
        let mut is_first = true;
        for (_, c, _) in chars(call.bytes(0)) {
            let is_gap = c.is_whitespace();
            push_char(out, if is_first && !is_gap { to_lower(c) } else { c });
            is_first = is_gap;
        }
        Ok(())
    }),
    Function::text("swapcase", &[Text], |call, out| {
        let mut after_space = true;
        for (_, c, _) in chars(call.bytes(0)) {
            let swapped = match c {
                c if is_upper(c) || is_title(c) => to_lower(c),
                c if is_lower(c) && after_space => to_title(c),
                c if is_lower(c) => to_upper(c),
                c => {
                    after_space = c.is_whitespace();
                    push_char(out, c);
                    continue;
                }
            };
            after_space = false;
            push_char(out, swapped);
        }
        Ok(())
    }),
    Function::text("wrap", &[Int, Text], |call, out| {
        push_wrapped(out, call.bytes(1), call.int(0), b"", false);
        Ok(())
    }),
    Function::text("wrapWith", &[Int, Text, Text], |call, out| {
        call.limit_text(call.bytes(2).len().saturating_mul(1 + call.bytes(1).len()))?;
        push_wrapped(out, call.bytes(2), call.int(0), call.bytes(1), true);
        Ok(())
    }),
    Function::text("hello", &[], |_, out| {
        out.extend_from_slice(b"Hello!");
        Ok(())
    }),
    Function::text("base", &[Text], |call, out| base(call.bytes(0), out)),
    Function::text("osBase", &[Text], |call, out| base(call.bytes(0), out)),
    Function::text("dir", &[Text], |call, out| dir(call.bytes(0), out)),
    Function::text("osDir", &[Text], |call, out| dir(call.bytes(0), out)),
    Function::text("clean", &[Text], |call, out| clean(call.bytes(0), out)),
    Function::text("osClean", &[Text], |call, out| clean(call.bytes(0), out)),
    Function::text("ext", &[Text], |call, out| extension(call.bytes(0), out)),
    Function::text("osExt", &[Text], |call, out| extension(call.bytes(0), out)),
    Function::value("isAbs", &[Text], |call| Ok(Value::Bool(call.bytes(0).starts_with(b"/")).into())),
    Function::value("osIsAbs", &[Text], |call| Ok(Value::Bool(call.bytes(0).starts_with(b"/")).into())),
];

/// Sprig's `strval`: a text itself, anything else as it prints.
pub(super) fn strval<'a>(value: &Value<'a>) -> Bytes<'a> {
    if let Value::Text(text) = value {
        return text.clone();
    }
    if let Some(text) = string_of(value.target()) {
        return text.into();
    }
    let mut out = Vec::new();
    // A value nested too deep ends where that shows.
    let _ = print_value(&mut out, value);
    out.into()
}

/// `width` bytes at most, an ellipsis for what is left out; `offset` is where the text may begin.
fn push_abbreviated(out: &mut Vec<u8>, text: &[u8], offset: i64, width: i64) {
    let (Ok(width), length) = (usize::try_from(width), text.len()) else { return out.extend_from_slice(text) };
    if width < 4 || length <= width {
        return out.extend_from_slice(text);
    }
    let offset = usize::try_from(offset).unwrap_or(0).min(length).min(length - (width - 3));
    if offset <= 4 {
        out.extend_from_slice(&text[..width - 3]);
        return out.extend_from_slice(b"...");
    }
    if width < 7 {
        return;
    }
    out.extend_from_slice(b"...");
    if offset + width - 3 < length {
        let rest = &text[offset..];
        let kept = width - 6;
        out.extend_from_slice(&rest[..kept.min(rest.len())]);
        return out.extend_from_slice(b"...");
    }
    out.extend_from_slice(&text[length - (width - 3)..]);
}

/// Lines of `width` bytes, cut at spaces; longer words are cut only if asked.
fn push_wrapped(out: &mut Vec<u8>, text: &[u8], width: i64, line_end: &[u8], cuts_words: bool) {
    let width = usize::try_from(width).unwrap_or(0).max(1);
    let line_end = if line_end.is_empty() { &b"\n"[..] } else { line_end };
    let mut at = 0;
    while text.len() - at > width {
        if text[at] == b' ' {
            at += 1;
            continue;
        }
        let line = &text[at..at + width + 1];
        let end = match line.iter().rposition(|byte| *byte == b' ') {
            Some(space) => at + space,
            None if cuts_words => {
                out.extend_from_slice(&text[at..at + width]);
                out.extend_from_slice(line_end);
                at += width;
                continue;
            }
            None => match text[at + width..].iter().position(|byte| *byte == b' ') {
                Some(space) => at + width + space,
                None => break,
            },
        };
        out.extend_from_slice(&text[at..end]);
        out.extend_from_slice(line_end);
        at = end + 1;
        if at > text.len() {
            return;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// Go's `path.Clean`.
fn clean(path: &[u8], out: &mut Vec<u8>) -> Result<(), CallError> {
    let is_rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(last) if *last != b".." => {
                    parts.pop();
                }
                _ if is_rooted => {}
                _ => parts.push(part),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (is_rooted, joined.is_empty()) {
        (true, _) => out.push(b'/'),
        (false, true) => out.push(b'.'),
        (false, false) => {}
    }
    out.extend_from_slice(&joined);
    Ok(())
}

/// Go's `path.Dir`.
fn dir(path: &[u8], out: &mut Vec<u8>) -> Result<(), CallError> {
    let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    clean(&path[..end], out)
}

/// Go's `path.Base`.
fn base(path: &[u8], out: &mut Vec<u8>) -> Result<(), CallError> {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    let name = path[..end].rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    out.extend_from_slice(match (path, name) {
        ([], _) => b".",
        (_, []) => b"/",
        (_, name) => name,
    });
    Ok(())
}

/// Go's `path.Ext`.
fn extension(path: &[u8], out: &mut Vec<u8>) -> Result<(), CallError> {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if let Some(at) = name.iter().rposition(|byte| *byte == b'.') {
        out.extend_from_slice(&name[at..]);
    }
    Ok(())
}
