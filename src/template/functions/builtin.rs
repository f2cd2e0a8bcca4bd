//! Functions every template has: `and or not len index slice print printf println call`.

use super::Parameter::{Reflect, Text};
use super::slices::{check_index, string_range};
use super::{Body, Call, CallError, Function, Parameter};
use crate::template::format::verbs;
use crate::template::value::{Element, Kind, Operand, Value};

pub(super) static FUNCTIONS: &[Function] = &[
    Function { name: "and", parameters: &[Reflect], variadic: Some(Reflect), body: Body::And },
    Function { name: "or", parameters: &[Reflect], variadic: Some(Reflect), body: Body::Or },
    Function { name: "call", parameters: &[Reflect], variadic: Some(Reflect), body: Body::CallOf },
    Function::value("not", &[Reflect], |call| Ok(Value::Bool(!call.value(0).is_true()).into())),
    Function::value("len", &[Reflect], length),
    Function::value("index", &[Reflect], index).and_more(Reflect),
    Function::value("slice", &[Reflect], slice).and_more(Reflect),
    Function::text("print", &[], |call, out| Ok(verbs::print(out, call.values(0))?)).and_more(Parameter::Any),
    Function::text("println", &[], |call, out| Ok(verbs::print_line(out, call.values(0))?)).and_more(Parameter::Any),
    Function::text("printf", &[Text], |call, out| {
        Ok(verbs::print_format(out, call.bytes(0), call.arguments().get(1..).unwrap_or_default())?)
    })
    .and_more(Parameter::Any),
];

fn length<'a>(call: &mut Call<'_, 'a>) -> Result<Operand<'a>, CallError> {
    let operand = call.operand(0);
    if let Value::Nil = operand.value {
        return Err(CallError::new(match operand.is_boxed {
            true => "len of nil pointer",
            false => "reflect: call of reflect.Value.Type on zero Value",
        }));
    }
    let target = operand.value.target();
    match target.length() {
        Some(length) => Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)).into()),
        None => Err(CallError::new(format!("len of type {}", target.target_type_name()))),
    }
}

/// `index x 1 "a"` is `x[1]["a"]`.
fn index<'a>(call: &mut Call<'_, 'a>) -> Result<Operand<'a>, CallError> {
    let mut item = call.operand(0).clone();
    if let Value::Nil = item.value {
        return Err(CallError::new("index of untyped nil"));
    }
    if call.arguments().len() > 1 {
        item.is_boxed = false;
    }
    for index in call.values(1) {
        if let Value::Nil = item.value {
            return Err(CallError::new("index of nil pointer"));
        }
        item = match item.value.target() {
            Value::List(list) => {
                let at = check_index(index, list.items().len())?;
                match list.items().get(at) {
                    Some(value) => Operand::element(value.clone(), list.element()),
                    None => return Err(CallError::new("reflect: slice index out of range")),
                }
            }
            Value::Text(text) | Value::Html(text) => {
                let at = check_index(index, text.as_bytes().len())?;
                match text.as_bytes().get(at) {
                    Some(byte) => Value::Uint8(*byte).into(),
                    None => return Err(CallError::new("reflect: string index out of range")),
                }
            }
            Value::Map(map) => {
                let value = map.get(key(index)?);
                Operand::element(value.unwrap_or(zero(map.element())), map.element())
            }
            Value::Fields(scope) => {
                let name = String::from_utf8_lossy(key(index)?);
                Value::text(scope.field(&name).unwrap_or("")).into()
            }
            other => return Err(CallError::new(format!("can't index item of type {}", other.target_type_name()))),
        };
    }
    Ok(item)
}

/// What a map gives for a key it does not have.
fn zero<'a>(element: Element) -> Value<'a> {
    if element == Element::Text { Value::text("") } else { Value::Nil }
}

/// The bytes of a key; keys are texts of the plain type.
fn key<'v>(index: &'v Value<'_>) -> Result<&'v [u8], CallError> {
    match index {
        Value::Text(text) => Ok(text.as_bytes()),
        Value::Nil => Err(CallError::new("value is nil; should be of type string")),
        other => Err(CallError::new(format!("value has type {}; should be string", other.type_name()))),
    }
}

/// `slice x 1 3` is `x[1:3]`.
fn slice<'a>(call: &mut Call<'_, 'a>) -> Result<Operand<'a>, CallError> {
    let item = call.value(0).target();
    if let Value::Nil = item {
        return Err(CallError::new("slice of untyped nil"));
    }
    let indexes = call.arguments().get(1..).unwrap_or_default();
    if indexes.len() > 3 {
        return Err(CallError::new(format!("too many slice indexes: {}", indexes.len())));
    }
    let (length, capacity) = match item {
        Value::Text(_) | Value::Html(_) if indexes.len() == 3 => {
            return Err(CallError::new("cannot 3-index slice a string"));
        }
        Value::List(list) => (list.items().len(), list.capacity()),
        value if value.kind() == Kind::String => {
            let length = value.length().unwrap_or(0);
            (length, length)
        }
        other => return Err(CallError::new(format!("can't slice item of type {}", other.target_type_name()))),
    };
    let mut range = [0, length, capacity];
    for (place, index) in range.iter_mut().zip(indexes) {
        // Unlike `index`, it does not look into interfaces.
        if index.is_boxed {
            return Err(CallError::new("cannot index slice/array with type interface {}"));
        }
        *place = check_index(&index.value, capacity)?;
    }
    let [from, to, end] = range;
    if from > to {
        return Err(CallError::new(format!("invalid slice index: {from} > {to}")));
    }
    if indexes.len() == 3 && to > end {
        return Err(CallError::new(format!("invalid slice index: {to} > {end}")));
    }
    Ok(match item {
        Value::Text(text) => Value::Text(text.slice(string_range(text.as_bytes().len(), from, to))).into(),
        Value::Html(text) => Value::Html(text.slice(string_range(text.as_bytes().len(), from, to))).into(),
        Value::List(list) => Value::List(list.slice(from, to)).into(),
        _ => Operand::NIL,
    })
}
