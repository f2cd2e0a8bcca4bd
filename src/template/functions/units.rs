//! Sizes and durations as numbers: `bytes`, `duration`, `duration_seconds`.

use super::Parameter::Text;
use super::{CallError, Function, ValueBody};
use crate::template::strconv::number::parse_float;
use crate::template::unicode::{chars, is_digit, to_lower, trim_space};
use crate::template::value::Value;
use crate::types::go_time::{duration_seconds, parse_duration};

/// From here on a float fits no unsigned 64-bit number.
const TOO_LARGE: f64 = 18_446_744_073_709_551_616.0;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::value("bytes", &[Text], |call| {
        let bytes = parse_bytes(call.bytes(0)).map_err(CallError::Failed)?;
        Ok(Value::Float(bytes).into())
    }),
    Function::value("duration", &[Text], SECONDS),
    Function::value("duration_seconds", &[Text], SECONDS),
];

const SECONDS: ValueBody = |call| match parse_duration(call.bytes(0)) {
    Ok(nanos) => Ok(Value::Float(duration_seconds(nanos)).into()),
    Err(error) => Err(CallError::new(error.to_string())),
};

/// `humanize.ParseBytes`: whole bytes, as a float.
fn parse_bytes(text: &[u8]) -> Result<f64, String> {
    // Characters are counted and taken for bytes, as in Go.
    let count = chars(text).take_while(|(_, c, _)| is_digit(*c) || matches!(c, '.' | ',')).count();
    let (number, unit) = text.split_at(count.min(text.len()));
    let number: Vec<u8> = number.iter().copied().filter(|byte| *byte != b',').collect();
    let value = parse_float(&number).map_err(|fault| fault.words("ParseFloat", &number))?;
    let unit: String = chars(&unit[trim_space(unit)]).map(|(_, c, _)| to_lower(c)).collect();
    let Some(factor) = size_factor(unit.as_bytes()) else { return Err(format!("unhandled size name: {unit}")) };
    let bytes = value * factor;
    if bytes >= TOO_LARGE {
        return Err(format!("too large: {}", String::from_utf8_lossy(text)));
    }
    Ok((bytes as u64) as f64)
}

/// Of a unit in lower case: powers of 1000, of 1024 with an `i`.
fn size_factor(unit: &[u8]) -> Option<f64> {
    let power = |letter: u8| {
        let at = b"kmgtpe".iter().position(|known| *known == letter)?;
        i32::try_from(at + 1).ok()
    };
    match unit {
        [] | [b'b'] => Some(1.0),
        [letter] | [letter, b'b'] => power(*letter).map(|power| 1000_f64.powi(power)),
        [letter, b'i'] | [letter, b'i', b'b'] => power(*letter).map(|power| 1024_f64.powi(power)),
        _ => None,
    }
}
