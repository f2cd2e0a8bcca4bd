//! Anything to a number, as the `cast` library does it: what cannot be one is zero.

use super::{CallError, Function, Parameter};
use crate::template::strconv::number::{parse_float, parse_int};
use crate::template::value::Value;

pub(super) static SPRIG: &[Function] = &[
    Function::value("int", &[Parameter::Any], |call| Ok(Value::Int(to_int64(call.value(0))).into())),
    Function::value("int64", &[Parameter::Any], |call| Ok(Value::Int64(to_int64(call.value(0))).into())),
    Function::value("float64", &[Parameter::Any], |call| Ok(Value::Float(to_float64(call.value(0))).into())),
    Function::value("atoi", &[Parameter::Text], |call| {
        Ok(Value::Int(crate::template::strconv::number::atoi_or_zero(call.bytes(0))).into())
    }),
    Function::value("toDecimal", &[Parameter::Any], |call| {
        let mut text = Vec::new();
        crate::template::format::print_value(&mut text, call.value(0))?;
        Ok(Value::Int64(parse_int(&text, 8).unwrap_or(0)).into())
    }),
];

/// Go's conversion of a float: beyond the range, and of no number, the least integer.
fn float_to_int(float: f64) -> i64 {
    let is_inside = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float);
    if is_inside { float as i64 } else { i64::MIN }
}

pub(super) fn to_int64(value: &Value<'_>) -> i64 {
    match value.target() {
        Value::Bool(value) => i64::from(*value),
        Value::Float(float) => float_to_int(*float),
        Value::Text(text) | Value::Html(text) => parse_int(without_decimals(text.as_bytes()), 0).unwrap_or(0),
        other => other.integer().unwrap_or(0),
    }
}

pub(super) fn to_float64(value: &Value<'_>) -> f64 {
    match value.target() {
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Float(float) => *float,
        Value::Text(text) | Value::Html(text) => parse_float(text.as_bytes()).unwrap_or(0.0),
        other => other.integer().unwrap_or(0) as f64,
    }
}

/// `12.9` is `12`: only of plain decimal numbers.
fn without_decimals(text: &[u8]) -> &[u8] {
    let Some(point) = text.iter().position(|byte| *byte == b'.') else { return text };
    let (whole, decimals) = (&text[..point], &text[point + 1..]);
    let digits = whole.strip_prefix(b"-").or_else(|| whole.strip_prefix(b"+")).unwrap_or(whole);
    if !digits.iter().chain(decimals).all(u8::is_ascii_digit) {
        return text;
    }
    if digits.is_empty() { b"0" } else { whole }
}

/// Go's `strconv.ParseInt(text, 10, 64)`; the error is its text.
pub(super) fn parse_decimal(text: &[u8]) -> Result<i64, String> {
    parse_int(text, 10).map_err(|fault| fault.words("ParseInt", text))
}

/// Prometheus's conversion: what cannot be a number is an error.
pub(super) fn to_float_or_fail(value: &Value<'_>) -> Result<f64, CallError> {
    match value {
        Value::Float(float) => Ok(*float),
        Value::Text(text) => {
            parse_float(text.as_bytes()).map_err(|fault| CallError::Failed(fault.words("ParseFloat", text.as_bytes())))
        }
        Value::Int(number) | Value::Int64(number) => Ok(*number as f64),
        Value::Duration(nanos) => Ok(crate::types::go_time::duration_seconds(*nanos)),
        other => Err(CallError::new(format!("can't convert {} to float", other.type_name()))),
    }
}
