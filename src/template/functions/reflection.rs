//! Types and deep equality: `typeOf`, `kindIs`, `deepEqual`.

use super::Parameter::{Any, Text};
use super::{Call, CallError, Function, ValueBody};
use crate::template::limits::{LimitError, VALUE_DEPTH_MAX};
use crate::template::value::{Kind, Operand, Value};

/// Steps that a copied value costs, so that copies stay within some megabytes.
const COPY_STEPS: usize = 8;

pub(super) static SPRIG: &[Function] = &[
    Function::text("typeOf", &[Any], |call, out| {
        out.extend_from_slice(call.value(0).type_name().as_bytes());
        Ok(())
    }),
    Function::value("typeIs", &[Text, Any], |call| {
        Ok(Value::Bool(call.bytes(0) == call.value(1).type_name().as_bytes()).into())
    }),
    Function::value("typeIsLike", &[Text, Any], |call| {
        let name = call.value(1).type_name().as_bytes();
        let is_like = name == call.bytes(0) || name.strip_prefix(b"*") == Some(call.bytes(0));
        Ok(Value::Bool(is_like).into())
    }),
    Function::text("kindOf", &[Any], |call, out| {
        out.extend_from_slice(kind_name(call.value(0).kind()).as_bytes());
        Ok(())
    }),
    Function::value("kindIs", &[Text, Any], |call| {
        Ok(Value::Bool(call.bytes(0) == kind_name(call.value(1).kind()).as_bytes()).into())
    }),
    Function::value("deepEqual", &[Any, Any], |call| {
        Ok(Value::Bool(deep_equal(call, call.value(0), call.value(1), 0)?).into())
    }),
    Function::value("deepCopy", &[Any], COPIED),
    Function::value("mustDeepCopy", &[Any], COPIED),
];

const COPIED: ValueBody = |call| match call.value(0) {
    Value::Nil => Err(CallError::new("reflect: call of reflect.Value.Type on zero Value")),
    value => Ok(Operand::boxed(deep_copy(call, value, 0)?)),
};

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid => "invalid",
        Kind::Bool => "bool",
        Kind::Int => "int",
        Kind::Int64 => "int64",
        Kind::Uint8 => "uint8",
        Kind::Float64 => "float64",
        Kind::Complex128 => "complex128",
        Kind::String => "string",
        Kind::Slice => "slice",
        Kind::Map => "map",
        Kind::Struct => "struct",
        Kind::Pointer => "ptr",
    }
}

/// Go's `reflect.DeepEqual`: of the same type and alike all the way down.
pub(super) fn deep_equal(
    call: &mut Call<'_, '_>,
    a: &Value<'_>,
    b: &Value<'_>,
    depth: usize,
) -> Result<bool, CallError> {
    // Values may share parts, so that there is more to walk through than there is in memory.
    call.charge_items(1)?;
    if depth > VALUE_DEPTH_MAX {
        return Err(LimitError::ValueDepth.into());
    }
    if a.type_name() != b.type_name() {
        return Ok(false);
    }
    match (a, b) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Complex(a, b), Value::Complex(c, d)) => Ok(a == c && b == d),
        (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (Value::Location(a), Value::Location(b)) => Ok(a == b),
        (Value::Pointer(a), Value::Pointer(b)) => deep_equal(call, a, b, depth + 1),
        (Value::List(x), Value::List(y)) => {
            if a.is_nil() != b.is_nil() || x.items().len() != y.items().len() {
                return Ok(false);
            }
            for (x, y) in x.items().iter().zip(y.items()) {
                if !deep_equal(call, x, y, depth + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => match (a.entries(), b.entries()) {
            (Some((x, _)), Some((y, _))) => {
                if x.len() != y.len() {
                    return Ok(false);
                }
                for ((x_key, x), (y_key, y)) in x.iter().zip(&y) {
                    if x_key != y_key || !deep_equal(call, x, y, depth + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(a.bytes() == b.bytes() && a.integer() == b.integer()),
        },
    }
}

/// Maps and lists of its own, all the way down.
fn deep_copy<'a>(call: &mut Call<'_, 'a>, value: &Value<'a>, depth: usize) -> Result<Value<'a>, CallError> {
    // What was shared before is not after: a copy may be much larger.
    call.charge_items(COPY_STEPS)?;
    if depth > VALUE_DEPTH_MAX {
        return Err(LimitError::ValueDepth.into());
    }
    match value {
        Value::Map(map) => {
            let mut entries = Vec::new();
            for (key, entry) in map.entries() {
                entries.push((key, deep_copy(call, &entry, depth + 1)?));
            }
            Ok(Value::map_of(map.element(), entries))
        }
        Value::List(list) if !value.is_nil() => {
            let items: Result<Vec<_>, _> = list.items().iter().map(|item| deep_copy(call, item, depth + 1)).collect();
            Ok(Value::list(items?, list.element()))
        }
        other => Ok(other.clone()),
    }
}
