//! Indexes and slices that Go's runtime or reflection would panic on.

use std::ops::Range;

use super::CallError;
use crate::template::value::Value;

/// An index that must be within `0..=capacity`.
pub(super) fn check_index(index: &Value<'_>, capacity: usize) -> Result<usize, CallError> {
    let Some(number) = index.integer() else {
        return Err(CallError::new(match index {
            Value::Nil => "cannot index slice/array with nil".to_owned(),
            other => format!("cannot index slice/array with type {}", other.type_name()),
        }));
    };
    match usize::try_from(number).ok().filter(|at| *at <= capacity) {
        Some(at) => Ok(at),
        None => Err(CallError::new(format!("index out of range: {number}"))),
    }
}

/// A range that is known to be within a text.
pub(super) fn string_range(length: usize, from: usize, to: usize) -> Range<usize> {
    let to = to.min(length);
    from.min(to)..to
}

/// Go's `text[from:to]` of a text of `length` bytes; a bound left out is nothing.
pub(super) fn go_slice(length: usize, from: Option<i64>, to: Option<i64>) -> Result<Range<usize>, CallError> {
    let fault = |words: String| CallError::new(format!("runtime error: slice bounds out of range [{words}"));
    let length_number = i64::try_from(length).unwrap_or(i64::MAX);
    let end = to.unwrap_or(length_number);
    if end < 0 {
        return Err(fault(format!(":{end}]")));
    }
    if end > length_number {
        return Err(fault(format!(":{end}] with length {length}")));
    }
    let start = from.unwrap_or(0);
    if start < 0 {
        return Err(fault(format!("{start}:]")));
    }
    if start > end {
        return Err(fault(format!("{start}:{end}]")));
    }
    Ok(usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(length))
}
