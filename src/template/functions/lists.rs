//! Lists: `list`, `first`, `append`, `uniq`, `has`, `join`, `split`.
//!
//! The plain names panic in Go on what is no list, the `must…` ones return an error; here both are errors, with the
//! same words.

use super::Parameter::{Any, Int, Text};
use super::reflection::{deep_equal, kind_name};
use super::words::strval;
use super::{Call, CallError, Function, ValueBody};
use crate::template::limits::{LIST_ITEMS_MAX, LimitError};
use crate::template::text::Text as Bytes;
use crate::template::value::{Element, List, Operand, Value};

type Called<'a> = Result<Operand<'a>, CallError>;

pub(super) static SPRIG: &[Function] = &[
    Function::value("list", &[], LIST).and_more(Any),
    Function::value("tuple", &[], LIST).and_more(Any),
    Function::value("append", &[Any, Any], APPEND),
    Function::value("push", &[Any, Any], APPEND),
    Function::value("mustAppend", &[Any, Any], APPEND),
    Function::value("mustPush", &[Any, Any], APPEND),
    Function::value("prepend", &[Any, Any], PREPEND),
    Function::value("mustPrepend", &[Any, Any], PREPEND),
    Function::value("first", &[Any], FIRST),
    Function::value("mustFirst", &[Any], FIRST),
    Function::value("last", &[Any], LAST),
    Function::value("mustLast", &[Any], LAST),
    Function::value("rest", &[Any], REST),
    Function::value("mustRest", &[Any], REST),
    Function::value("initial", &[Any], INITIAL),
    Function::value("mustInitial", &[Any], INITIAL),
    Function::value("reverse", &[Any], REVERSE),
    Function::value("mustReverse", &[Any], REVERSE),
    Function::value("uniq", &[Any], UNIQ),
    Function::value("mustUniq", &[Any], UNIQ),
    Function::value("compact", &[Any], COMPACT),
    Function::value("mustCompact", &[Any], COMPACT),
    Function::value("without", &[Any], WITHOUT).and_more(Any),
    Function::value("mustWithout", &[Any], WITHOUT).and_more(Any),
    Function::value("has", &[Any, Any], HAS),
    Function::value("mustHas", &[Any, Any], HAS),
    Function::value("slice", &[Any], SLICE).and_more(Any),
    Function::value("mustSlice", &[Any], SLICE).and_more(Any),
    Function::value("concat", &[], concat).and_more(Any),
    Function::value("chunk", &[Int, Any], CHUNK),
    Function::value("mustChunk", &[Int, Any], CHUNK),
    Function::text("join", &[Text, Any], |call, out| {
        for (at, text) in texts_of(call.value(1)).iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(call.bytes(0));
            }
            out.extend_from_slice(text.as_bytes());
            call.limit_text(out.len())?;
        }
        Ok(())
    }),
    Function::value("sortAlpha", &[Any], |call| {
        let mut texts = match call.value(0) {
            list @ Value::List(_) => texts_of(list),
            other => vec![strval(other)],
        };
        texts.sort();
        call.list(texts.into_iter().map(Value::Text).collect(), Element::Text)
    }),
    Function::value("toStrings", &[Any], |call| {
        let texts = texts_of(call.value(0));
        call.list(texts.into_iter().map(Value::Text).collect(), Element::Text)
    }),
    Function::value("splitList", &[Text, Text], |call| {
        let parts = split(&call.text(1), call.bytes(0), -1);
        call.list(parts.into_iter().map(Value::Text).collect(), Element::Text)
    }),
    Function::value("split", &[Text, Text], |call| numbered(call, split(&call.text(1), call.bytes(0), -1))),
    Function::value("splitn", &[Text, Int, Text], |call| {
        numbered(call, split(&call.text(2), call.bytes(0), call.int(1)))
    }),
];

const LIST: ValueBody = |call| call.list(call.values(0).cloned().collect(), Element::Any);

const APPEND: ValueBody = |call| {
    let mut items = items(call, 0, "push on")?.to_vec();
    items.push(call.value(1).clone());
    call.list(items, Element::Any)
};

const PREPEND: ValueBody = |call| {
    let mut items = items(call, 0, "prepend on")?.to_vec();
    items.insert(0, call.value(1).clone());
    call.list(items, Element::Any)
};

const FIRST: ValueBody = |call| {
    let items = items(call, 0, "find first on")?;
    Ok(Operand::boxed(items.first().cloned().unwrap_or(Value::Nil)))
};

const LAST: ValueBody = |call| {
    let items = items(call, 0, "find last on")?;
    Ok(Operand::boxed(items.last().cloned().unwrap_or(Value::Nil)))
};

const REST: ValueBody = |call| match items(call, 0, "find rest on")? {
    [] => nil_list(),
    [_, rest @ ..] => call.list(rest.to_vec(), Element::Any),
};

const INITIAL: ValueBody = |call| match items(call, 0, "find initial on")? {
    [] => nil_list(),
    [initial @ .., _] => call.list(initial.to_vec(), Element::Any),
};

const REVERSE: ValueBody = |call| {
    let items = items(call, 0, "find reverse on")?;
    call.list(items.iter().rev().cloned().collect(), Element::Any)
};

const UNIQ: ValueBody = |call| {
    let mut kept: Vec<Value<'_>> = Vec::new();
    for item in items(call, 0, "find uniq on")? {
        if !contains(call, &kept, item)? {
            kept.push(item.clone());
        }
    }
    call.list(kept, Element::Any)
};

const COMPACT: ValueBody = |call| {
    let items = items(call, 0, "compact on")?;
    let kept = items.iter().filter(|item| !super::defaults::is_empty(item));
    call.list(kept.cloned().collect(), Element::Any)
};

const WITHOUT: ValueBody = |call| {
    let omitted: Vec<Value<'_>> = call.values(1).cloned().collect();
    let mut kept = Vec::new();
    for item in items(call, 0, "find without on")? {
        if !contains(call, &omitted, item)? {
            kept.push(item.clone());
        }
    }
    call.list(kept, Element::Any)
};

const HAS: ValueBody = |call| {
    if let Value::Nil = call.value(1) {
        return Ok(Value::Bool(false).into());
    }
    let items = items(call, 1, "find has on")?;
    Ok(Value::Bool(contains(call, items, call.value(0))?).into())
};

const SLICE: ValueBody = |call| {
    let Value::List(list) = call.value(0) else {
        return Err(no_list(call.value(0), "list should be type of slice or array but"));
    };
    if list.items().is_empty() {
        return Ok(Operand::boxed(Value::Nil));
    }
    let index = |at: usize| usize::try_from(super::cast::to_int64(call.value(at))).ok();
    let count = call.arguments().len();
    let start = if count > 1 { index(1) } else { Some(0) };
    let end = if count > 2 { index(2) } else { Some(list.items().len()) };
    match (start, end) {
        (Some(start), Some(end)) if start <= end && end <= list.capacity() => {
            Ok(Operand::boxed(Value::List(list.slice(start, end))))
        }
        _ => Err(CallError::new("reflect.Value.Slice: slice index out of bounds")),
    }
};

const CHUNK: ValueBody = |call| {
    let items = match call.value(1) {
        Value::List(list) => list.items(),
        other => return Err(no_list(other, "Cannot chunk type")),
    };
    let size = call.int(0);
    // As Go's floats have it: no size makes an infinity of chunks.
    let count = ((items.len() as f64 - 1.0) / size as f64).floor() + 1.0;
    let makes_no_slice = || CallError::new("runtime error: makeslice: len out of range");
    if !(0.0..=LIST_ITEMS_MAX as f64).contains(&count) {
        return Err(makes_no_slice());
    }
    if count == 0.0 {
        return call.list(Vec::new(), Element::AnyList);
    }
    // A size below zero can still make one chunk, of the rest that is left by division.
    let rest = i64::try_from(items.len()).unwrap_or(i64::MAX).checked_rem(size);
    let size = if size < 0 && count == 1.0 { rest.filter(|rest| *rest > 0).unwrap_or(size) } else { size };
    let size = usize::try_from(size).map_err(|_| makes_no_slice())?.max(1);
    let mut chunks = Vec::new();
    for chunk in items.chunks(size) {
        chunks.push(call.list(chunk.to_vec(), Element::Any)?.value);
    }
    call.list(chunks, Element::AnyList)
};

fn nil_list<'a>() -> Called<'a> {
    Ok(Value::List(List::nil(Element::Any)).into())
}

fn no_list(value: &Value<'_>, words: &str) -> CallError {
    if let Value::Nil = value {
        return CallError::new("runtime error: invalid memory address or nil pointer dereference");
    }
    CallError::new(format!("{words} {}", kind_name(value.kind())))
}

/// The items of a list argument; `action` is what Go says it cannot do otherwise.
fn items<'c, 'a>(call: &mut Call<'c, 'a>, at: usize, action: &str) -> Result<&'c [Value<'a>], CallError> {
    match call.value(at) {
        Value::List(list) => {
            let list: &'c List<'a> = list;
            Ok(list.items())
        }
        other => Err(no_list(other, &format!("Cannot {action} type"))),
    }
}

fn contains(call: &mut Call<'_, '_>, items: &[Value<'_>], wanted: &Value<'_>) -> Result<bool, CallError> {
    for item in items {
        if deep_equal(call, wanted, item, 0)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn concat<'a>(call: &mut Call<'_, 'a>) -> Called<'a> {
    let mut all = Vec::new();
    for value in call.values(0) {
        match value {
            Value::List(list) => all.extend_from_slice(list.items()),
            Value::Nil => return Err(no_list(value, "")),
            other => {
                let kind = kind_name(other.kind());
                return Err(CallError::new(format!("Cannot concat type {kind} as list")));
            }
        }
    }
    if all.is_empty() {
        return Ok(Operand::boxed(Value::List(List::nil(Element::Any))));
    }
    Ok(Operand::boxed(call.list(all, Element::Any)?.value))
}

/// Sprig's `strslice`: nils of lists are left out; what is no list is the only text.
fn texts_of<'a>(value: &Value<'a>) -> Vec<Bytes<'a>> {
    match value {
        Value::Nil => Vec::new(),
        Value::List(list) => list.items().iter().filter(|item| !matches!(item, Value::Nil)).map(strval).collect(),
        other => vec![strval(other)],
    }
}

/// Go's `strings.SplitN`; no separator cuts between characters.
fn split<'a>(text: &Bytes<'a>, separator: &[u8], count: i64) -> Vec<Bytes<'a>> {
    let bytes = text.as_bytes();
    if count == 0 {
        return Vec::new();
    }
    // One more than a list may have is as good as all.
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(LIST_ITEMS_MAX + 1);
    let (mut parts, mut start) = (Vec::new(), 0);
    while parts.len() + 1 < count {
        let rest = &bytes[start..];
        let found = match separator {
            [] => crate::template::unicode::decode(rest).map(|(_, width)| width).filter(|width| *width < rest.len()),
            _ => super::strings::find(rest, separator),
        };
        let Some(at) = found else { break };
        parts.push(text.slice(start..start + at));
        start += at + separator.len();
    }
    if !separator.is_empty() || start < bytes.len() {
        parts.push(text.slice(start..bytes.len()));
    }
    parts
}

/// `_0`, `_1`, … of the parts.
fn numbered<'a>(call: &mut Call<'_, 'a>, parts: Vec<Bytes<'a>>) -> Called<'a> {
    if parts.len() > LIST_ITEMS_MAX {
        return Err(LimitError::Items.into());
    }
    call.charge_items(parts.len())?;
    let entries = parts.into_iter().enumerate();
    Ok(Value::text_map(entries.map(|(at, part)| (Bytes::from(format!("_{at}")), part))).into())
}
