//! Comparisons: `eq ne lt le gt ge`.

use std::cmp::Ordering;

use super::Parameter::Reflect;
use super::{Call, CallError, Function};
use crate::template::format::print_with_verb;
use crate::template::value::{Operand, Value};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::value("eq", &[Reflect], |call| {
        if call.arguments().len() < 2 {
            return Err(CallError::new("missing argument for comparison"));
        }
        let first = call.value(0);
        for other in call.values(1) {
            if is_equal(first, other)? {
                return truth(true);
            }
        }
        truth(false)
    })
    .and_more(Reflect),
    Function::value("ne", &[Reflect, Reflect], |call| truth(!is_equal(call.value(0), call.value(1))?)),
    Function::value("lt", &[Reflect, Reflect], |call| truth(is_less(call)?)),
    Function::value("le", &[Reflect, Reflect], |call| truth(is_less_or_equal(call)?)),
    Function::value("gt", &[Reflect, Reflect], |call| truth(!is_less_or_equal(call)?)),
    Function::value("ge", &[Reflect, Reflect], |call| truth(!is_less(call)?)),
];

fn truth<'a>(value: bool) -> Result<Operand<'a>, CallError> {
    Ok(Value::Bool(value).into())
}

/// Types that compare with each other.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Basic<'v> {
    Bool(bool),
    Complex(f64, f64),
    Int(i64),
    Float(f64),
    Text(&'v [u8]),
    Uint(u8),
}

fn basic<'v>(value: &'v Value<'_>) -> Option<Basic<'v>> {
    Some(match value {
        Value::Bool(value) => Basic::Bool(*value),
        Value::Complex(real, imaginary) => Basic::Complex(*real, *imaginary),
        Value::Float(value) => Basic::Float(*value),
        Value::Text(text) | Value::Html(text) => Basic::Text(text.as_bytes()),
        Value::Uint8(byte) => Basic::Uint(*byte),
        other => Basic::Int(other.integer()?),
    })
}

fn incompatible(first: &Value<'_>, second: &Value<'_>) -> CallError {
    let (first, second) = (first.type_name(), second.type_name());
    CallError::new(format!("incompatible types for comparison: {first} and {second}"))
}

fn is_equal<'a>(first: &Value<'a>, second: &Value<'a>) -> Result<bool, CallError> {
    match (basic(first), basic(second)) {
        (None, None) => is_equal_other(first, second),
        (Some(Basic::Int(int)), Some(Basic::Uint(uint))) | (Some(Basic::Uint(uint)), Some(Basic::Int(int))) => {
            Ok(int == i64::from(uint))
        }
        (Some(a), Some(b)) if std::mem::discriminant(&a) == std::mem::discriminant(&b) => Ok(a == b),
        _ if matches!(first, Value::Nil) || matches!(second, Value::Nil) => Ok(false),
        _ => Err(incompatible(first, second)),
    }
}

/// Of values that are no basic types: nil, lists, maps, structs.
fn is_equal_other<'a>(first: &Value<'a>, second: &Value<'a>) -> Result<bool, CallError> {
    let is_nil = |value: &Value<'_>| matches!(value, Value::Nil);
    if !is_nil(first) && !is_nil(second) && first.kind() != second.kind() {
        let (first_type, second_type) = (first.type_name(), second.type_name());
        return Err(CallError::new(format!(
            "non-comparable types {}: {first_type}, {second_type}: {}",
            printed(first, 's')?,
            printed(second, 'v')?
        )));
    }
    if first.is_nil() || second.is_nil() {
        return Ok(first.is_nil() == second.is_nil());
    }
    match (first, second) {
        (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (Value::Location(a), Value::Location(b)) => Ok(a == b),
        (Value::Pointer(a), Value::Pointer(b)) => Ok(std::rc::Rc::ptr_eq(a, b)),
        (_, Value::Time(_) | Value::Location(_) | Value::Pointer(_)) => Ok(false),
        _ => {
            let type_name = second.type_name();
            Err(CallError::new(format!("non-comparable type {}: {type_name}", printed(second, 's')?)))
        }
    }
}

fn printed(value: &Value<'_>, verb: char) -> Result<String, CallError> {
    let mut out = Vec::new();
    print_with_verb(&mut out, value, verb)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn is_less(call: &Call<'_, '_>) -> Result<bool, CallError> {
    Ok(order(call.value(0), call.value(1))? == Some(Ordering::Less))
}

fn is_less_or_equal(call: &Call<'_, '_>) -> Result<bool, CallError> {
    let (first, second) = (call.value(0), call.value(1));
    Ok(order(first, second)? == Some(Ordering::Less) || is_equal(first, second)?)
}

/// Nothing of floats that are no numbers.
fn order(first: &Value<'_>, second: &Value<'_>) -> Result<Option<Ordering>, CallError> {
    let invalid = || CallError::new("invalid type for comparison");
    let (a, b) = (basic(first).ok_or_else(invalid)?, basic(second).ok_or_else(invalid)?);
    Ok(match (a, b) {
        (Basic::Int(a), Basic::Int(b)) => Some(a.cmp(&b)),
        (Basic::Int(a), Basic::Uint(b)) => Some(a.cmp(&i64::from(b))),
        (Basic::Uint(a), Basic::Int(b)) => Some(i64::from(a).cmp(&b)),
        (Basic::Uint(a), Basic::Uint(b)) => Some(a.cmp(&b)),
        (Basic::Float(a), Basic::Float(b)) => a.partial_cmp(&b),
        (Basic::Text(a), Basic::Text(b)) => Some(a.cmp(b)),
        (a, b) if std::mem::discriminant(&a) == std::mem::discriminant(&b) => return Err(invalid()),
        _ => return Err(incompatible(first, second)),
    })
}
