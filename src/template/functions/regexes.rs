//! Regular expressions: Go's syntax, Go's `$1` and `${name}` in replacements.

use std::borrow::Cow;

use regex::Captures;

use super::Parameter::{Int, Text};
use super::{Call, CallError, Function, TextBody};
use crate::logql::go_regex::GoRegex;
use crate::template::limits::LIST_ITEMS_MAX;
use crate::template::strconv::quote::quoted;
use crate::template::unicode::{chars, is_digit, is_letter};
use crate::template::value::{Element, List, Operand, Value};

/// As Loki and Promtail have them: a bad pattern is an error.
pub(super) static GO: &[Function] = &[
    Function::text("regexReplaceAll", &[Text, Text, Text], REPLACED),
    Function::text("regexReplaceAllLiteral", &[Text, Text, Text], REPLACED_LITERALLY),
];

/// Sprig's. Where Go's `MustCompile` panics on a bad pattern, the error says so.
pub(super) static SPRIG: &[Function] = &[
    Function::value("regexMatch", &[Text, Text], |call| {
        let is_match = call.regex(call.bytes(0)).is_ok_and(|regex| regex.is_match(&call.str(1)));
        call.charge_bytes(call.bytes(1).len())?;
        Ok(Value::Bool(is_match).into())
    }),
    Function::value("mustRegexMatch", &[Text, Text], |call| {
        let regex = call.regex(call.bytes(0))?;
        call.charge_bytes(call.bytes(1).len())?;
        Ok(Value::Bool(regex.is_match(&call.str(1))).into())
    }),
    Function::text("regexFind", &[Text, Text], |call, out| found(call, out, true)),
    Function::text("mustRegexFind", &[Text, Text], |call, out| found(call, out, false)),
    Function::value("regexFindAll", &[Text, Text, Int], |call| found_all(call, true)),
    Function::value("mustRegexFindAll", &[Text, Text, Int], |call| found_all(call, false)),
    Function::text("regexReplaceAll", &[Text, Text, Text], |call, out| replaced(call, out, true, false)),
    Function::text("mustRegexReplaceAll", &[Text, Text, Text], REPLACED),
    Function::text("regexReplaceAllLiteral", &[Text, Text, Text], |call, out| replaced(call, out, true, true)),
    Function::text("mustRegexReplaceAllLiteral", &[Text, Text, Text], REPLACED_LITERALLY),
    Function::value("regexSplit", &[Text, Text, Int], |call| split(call, true)),
    Function::value("mustRegexSplit", &[Text, Text, Int], |call| split(call, false)),
    Function::text("regexQuoteMeta", &[Text], |call, out| {
        for byte in call.bytes(0) {
            if br"\.+*?()|[]{}^$".contains(byte) {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        Ok(())
    }),
];

const REPLACED: TextBody = |call, out| replaced(call, out, false, false);
const REPLACED_LITERALLY: TextBody = |call, out| replaced(call, out, false, true);

/// The expression of the first argument; `panics` words a bad pattern as Go's panic.
pub(super) fn regex<'a>(call: &mut Call<'_, 'a>, panics: bool) -> Result<Cow<'a, GoRegex>, CallError> {
    let pattern = call.bytes(0);
    call.regex(pattern).map_err(|error| match (panics, error) {
        (true, CallError::Failed(words)) => {
            let pattern = match crate::template::strconv::quote::can_backquote(pattern) {
                true => format!("`{}`", String::from_utf8_lossy(pattern)),
                false => quoted(pattern),
            };
            CallError::new(format!("regexp: Compile({pattern}): {words}"))
        }
        (_, error) => error,
    })
}

fn replaced(call: &mut Call<'_, '_>, out: &mut Vec<u8>, panics: bool, is_literal: bool) -> Result<(), CallError> {
    let regex = regex(call, panics)?;
    let (text, replacement) = (call.str(1), call.bytes(2));
    push_replaced(call, out, &regex, &text, replacement, is_literal)
}

pub(super) fn push_replaced(
    call: &mut Call<'_, '_>,
    out: &mut Vec<u8>,
    regex: &GoRegex,
    text: &str,
    replacement: &[u8],
    is_literal: bool,
) -> Result<(), CallError> {
    call.charge_bytes(text.len())?;
    let (start, mut end) = (out.len(), 0);
    if is_literal || !replacement.contains(&b'$') {
        for found in regex.find_iter(text) {
            out.extend_from_slice(&text.as_bytes()[end..found.start()]);
            out.extend_from_slice(replacement);
            end = found.end();
            call.limit_text(out.len() - start)?;
            call.charge_items(1)?;
        }
    } else {
        for captures in regex.captures_iter(text) {
            let Some(found) = captures.get(0) else { continue };
            out.extend_from_slice(&text.as_bytes()[end..found.start()]);
            push_expanded(out, replacement, regex, &captures);
            end = found.end();
            call.limit_text(out.len() - start)?;
            call.charge_items(1)?;
        }
    }
    out.extend_from_slice(&text.as_bytes()[end..]);
    Ok(())
}

/// Go's `Regexp.Expand`: `$1x` is the group named `1x`, `$$` a dollar, a `$` before no name itself.
pub fn push_expanded(out: &mut Vec<u8>, replacement: &[u8], regex: &GoRegex, captures: &Captures<'_>) {
    let mut rest = replacement;
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let [b'$', after @ ..] = rest {
            out.push(b'$');
            rest = after;
            continue;
        }
        let Some((name, after)) = group_name(rest) else {
            out.push(b'$');
            continue;
        };
        rest = after;
        let group = match group_number(name) {
            Some(number) => captures.get(number),
            None => std::str::from_utf8(name).ok().and_then(|name| regex.named(captures, name)),
        };
        out.extend_from_slice(group.map_or(&b""[..], |group| group.as_str().as_bytes()));
    }
    out.extend_from_slice(rest);
}

/// The name after a `$`, with braces or without, and what follows.
fn group_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (is_braced, inside) = match text {
        [b'{', inside @ ..] => (true, inside),
        _ => (false, text),
    };
    let is_of_name = |c: char| c == '_' || is_letter(c) || is_digit(c);
    let length = chars(inside).find(|(_, c, _)| !is_of_name(*c)).map_or(inside.len(), |(at, _, _)| at);
    let (name, after) = inside.split_at(length);
    match (name, is_braced, after) {
        ([], ..) => None,
        (name, false, after) => Some((name, after)),
        (name, true, [b'}', after @ ..]) => Some((name, after)),
        _ => None,
    }
}

/// A name of digits only, without zeros before them and below 10⁸.
fn group_number(name: &[u8]) -> Option<usize> {
    let number = name.iter().try_fold(0_usize, |number, byte| {
        let is_fine = byte.is_ascii_digit() && number < 100_000_000;
        is_fine.then(|| number * 10 + usize::from(byte - b'0'))
    })?;
    (name.len() == 1 || name[0] != b'0').then_some(number)
}

fn found(call: &mut Call<'_, '_>, out: &mut Vec<u8>, panics: bool) -> Result<(), CallError> {
    let regex = regex(call, panics)?;
    let text = call.str(1);
    call.charge_bytes(text.len())?;
    out.extend_from_slice(regex.find(&text).map_or("", |found| found.as_str()).as_bytes());
    Ok(())
}

/// Up to so many; all if the number is negative; nil if there are none.
fn found_all<'a>(call: &mut Call<'_, 'a>, panics: bool) -> Result<Operand<'a>, CallError> {
    let regex = regex(call, panics)?;
    let text = call.str(1);
    call.charge_bytes(text.len())?;
    // One more than a list may have is as good as all.
    let count = usize::try_from(call.int(2)).unwrap_or(usize::MAX).min(LIST_ITEMS_MAX + 1);
    let items: Vec<Value<'a>> =
        regex.find_iter(&text).take(count).map(|found| Value::text(found.as_str().to_owned())).collect();
    if items.is_empty() {
        return Ok(Value::List(List::nil(Element::Text)).into());
    }
    call.list(items, Element::Text)
}

/// Go's `Regexp.Split`.
fn split<'a>(call: &mut Call<'_, 'a>, panics: bool) -> Result<Operand<'a>, CallError> {
    let regex = regex(call, panics)?;
    let text = call.str(1);
    call.charge_bytes(text.len())?;
    let count = call.int(2);
    if count == 0 {
        return Ok(Value::List(List::nil(Element::Text)).into());
    }
    let has_pattern = !call.bytes(0).is_empty();
    if has_pattern && text.is_empty() {
        return call.list(vec![Value::text("")], Element::Text);
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let (mut items, mut start, mut end) = (Vec::new(), 0, 0);
    for found in regex.find_iter(&text).take(count) {
        if items.len() + 1 >= count || items.len() > LIST_ITEMS_MAX {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            items.push(Value::text(text[start..end].to_owned()));
        }
        start = found.end();
    }
    if end != text.len() {
        items.push(Value::text(text[start..].to_owned()));
    }
    call.list(items, Element::Text)
}
