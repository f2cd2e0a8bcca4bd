//! Numbers for people: `humanize`, `humanize1024`, `humanizeDuration`, `humanizePercentage`, `humanizeTimestamp`.

use super::Parameter::Any;
use super::alert::utc_from_millis;
use super::cast::to_float_or_fail;
use super::{CallError, Function};
use crate::template::strconv::float::{FloatForm, push_float};
use crate::types::go_time::GoTime;

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

pub(super) static FUNCTIONS: &[Function] = &[
    Function::text("humanize", &[Any], |call, out| {
        let value = to_float_or_fail(call.value(0))?;
        match value {
            _ if value == 0.0 || !value.is_finite() => push(out, value, ""),
            _ if value.abs() >= 1.0 => push_divided(out, value, 1000.0, &LARGE),
            _ => push_multiplied(out, value, ""),
        }
        Ok(())
    }),
    Function::text("humanize1024", &[Any], |call, out| {
        let value = to_float_or_fail(call.value(0))?;
        if value.abs() <= 1.0 || !value.is_finite() {
            push(out, value, "");
        } else {
            push_divided(out, value, 1024.0, &BINARY);
        }
        Ok(())
    }),
    Function::text("humanizePercentage", &[Any], |call, out| {
        push(out, to_float_or_fail(call.value(0))? * 100.0, "%");
        Ok(())
    }),
    Function::text("humanizeDuration", &[Any], |call, out| {
        push_duration(out, to_float_or_fail(call.value(0))?);
        Ok(())
    }),
    Function::text("humanizeTimestamp", &[Any], |call, out| {
        let seconds = to_float_or_fail(call.value(0))?;
        if !seconds.is_finite() {
            push(out, seconds, "");
        } else {
            out.extend_from_slice(time_of(seconds)?.to_string().as_bytes());
        }
        Ok(())
    }),
];

/// `%.4g` and a unit.
fn push(out: &mut Vec<u8>, value: f64, unit: &str) {
    push_float(out, value, FloatForm::General, false, Some(4));
    out.extend_from_slice(unit.as_bytes());
}

fn push_divided(out: &mut Vec<u8>, value: f64, by: f64, prefixes: &[&str]) {
    let (mut value, mut prefix) = (value, "");
    for next in prefixes {
        if value.abs() < by {
            break;
        }
        prefix = next;
        value /= by;
    }
    push(out, value, prefix);
}

fn push_multiplied(out: &mut Vec<u8>, value: f64, unit: &str) {
    let (mut value, mut prefix) = (value, "");
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    push(out, value, prefix);
    out.extend_from_slice(unit.as_bytes());
}

fn push_duration(out: &mut Vec<u8>, seconds: f64) {
    if !seconds.is_finite() {
        return push(out, seconds, "");
    }
    if seconds == 0.0 {
        return push(out, seconds, "s");
    }
    if seconds.abs() < 1.0 {
        return push_multiplied(out, seconds, "s");
    }
    if seconds < 0.0 {
        out.push(b'-');
    }
    let magnitude = seconds.abs();
    let whole = super::cast::to_int64(&crate::template::value::Value::Float(magnitude));
    let (second, minute, hour, day) = (whole % 60, whole / 60 % 60, whole / 3_600 % 24, whole / 86_400);
    let text = match (day, hour, minute) {
        (0, 0, 0) => return push(out, magnitude, "s"),
        (0, 0, _) => format!("{minute}m {second}s"),
        (0, ..) => format!("{hour}h {minute}m {second}s"),
        _ => format!("{day}d {hour}h {minute}m {second}s"),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Unix seconds as a time, to the millisecond.
pub(super) fn time_of(seconds: f64) -> Result<GoTime, CallError> {
    if !seconds.is_finite() {
        return Err(CallError::new("value is NaN or Inf"));
    }
    let nanos = seconds * 1e9;
    if !(i64::MIN as f64..=i64::MAX as f64).contains(&nanos) {
        let mut written = Vec::new();
        push_float(&mut written, seconds, FloatForm::General, false, None);
        let written = String::from_utf8_lossy(&written);
        return Err(CallError::new(format!(
            "{written} cannot be represented as a nanoseconds timestamp since it overflows int64"
        )));
    }
    // Go divides towards zero.
    let nanos = if nanos >= i64::MAX as f64 { i64::MIN } else { nanos as i64 };
    Ok(utc_from_millis(nanos / 1_000_000))
}
