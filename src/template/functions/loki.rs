//! What `line_format` and `label_format` know.
//!
//! Loki's own functions, a part of Sprig's, and the row's line and time. Where both have a name, Loki's counts.

use std::sync::LazyLock;

use super::Parameter::{Int, Text, Time};
use super::{CallError, Function, FunctionTable, cast, dates, defaults, encoding, json, math, regexes, strings, units};
use crate::template::unicode::{chars, push_char};
use crate::template::value::Value;
use crate::types::go_time::{GoTime, Zone};

/// The functions of Sprig that Loki takes over.
const SPRIG_NAMES: &[&str] = &[
    "b64enc",
    "lower",
    "upper",
    "title",
    "trunc",
    "substr",
    "contains",
    "hasPrefix",
    "hasSuffix",
    "indent",
    "nindent",
    "replace",
    "repeat",
    "trim",
    "trimAll",
    "trimSuffix",
    "trimPrefix",
    "int",
    "float64",
    "add",
    "sub",
    "mul",
    "div",
    "mod",
    "addf",
    "subf",
    "mulf",
    "divf",
    "max",
    "min",
    "maxf",
    "minf",
    "ceil",
    "floor",
    "round",
    "fromJson",
    "date",
    "toDate",
    "now",
    "unixEpoch",
    "default",
];

static LOKI: LazyLock<FunctionTable> = LazyLock::new(|| {
    let sprig = [strings::SPRIG, cast::SPRIG, math::SPRIG, dates::SPRIG, encoding::SPRIG, json::SPRIG, defaults::SPRIG];
    FunctionTable::new(&[strings::GO, regexes::GO, units::FUNCTIONS, OWN]).with_named(&sprig, SPRIG_NAMES)
});

/// The functions of LogQL's templates.
pub fn loki_functions() -> &'static FunctionTable {
    &LOKI
}

static OWN: &[Function] = &[
    Function::value("__line__", &[], |call| Ok(Value::text(call.host().line()).into())),
    Function::value("__timestamp__", &[], |call| {
        Ok(Value::time(GoTime::from_unix_nanos(call.host().timestamp_ns(), Zone::Local)).into())
    }),
    Function::value("count", &[Text, Text], |call| {
        let regex = call.regex(call.bytes(0))?;
        call.charge_bytes(call.bytes(1).len())?;
        let count = regex.find_iter(&call.str(1)).count();
        call.charge_items(count)?;
        Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)).into())
    }),
    Function::text("urlencode", &[Text], |call, out| {
        super::escape::push_query_escaped(out, call.bytes(0));
        Ok(())
    }),
    Function::text("urldecode", &[Text], |call, out| {
        super::escape::push_query_unescaped(out, call.bytes(0)).map_err(CallError::Failed)
    }),
    Function::text("b64dec", &[Text], |call, out| {
        encoding::push_base64_decoded(out, call.bytes(0), true);
        Ok(())
    }),
    Function::text("alignLeft", &[Int, Text], |call, out| {
        let (count, text) = (call.int(0), call.bytes(1));
        let Some(missing) = missing_width(count, text) else {
            out.extend_from_slice(text);
            return Ok(());
        };
        match usize::try_from(missing) {
            Ok(missing) => {
                call.limit_text(text.len().saturating_add(missing))?;
                out.extend_from_slice(text);
                out.resize(out.len() + missing, b' ');
            }
            Err(_) => {
                let kept = usize::try_from(count).unwrap_or(0);
                chars(text).take(kept).for_each(|(_, c, _)| push_char(out, c));
            }
        }
        Ok(())
    }),
    Function::text("alignRight", &[Int, Text], |call, out| {
        let (count, text) = (call.int(0), call.bytes(1));
        let Some(missing) = missing_width(count, text) else {
            out.extend_from_slice(text);
            return Ok(());
        };
        match usize::try_from(missing) {
            Ok(missing) => {
                call.limit_text(text.len().saturating_add(missing))?;
                out.resize(out.len() + missing, b' ');
                out.extend_from_slice(text);
            }
            Err(_) => {
                let dropped = usize::try_from(missing.unsigned_abs()).unwrap_or(usize::MAX);
                chars(text).skip(dropped).for_each(|(_, c, _)| push_char(out, c));
            }
        }
        Ok(())
    }),
    Function::text("unixEpochMillis", &[Time], |call, out| {
        dates::push_of_time(call, out, |time| time.unix_millis().to_string());
        Ok(())
    }),
    Function::text("unixEpochNanos", &[Time], |call, out| {
        dates::push_of_time(call, out, |time| time.unix_nanos().to_string());
        Ok(())
    }),
    Function::value("toDateInZone", &[Text, Text, Text], |call| {
        let zone = Zone::load(&call.str(1)).unwrap_or(Zone::Utc);
        let time = crate::types::go_time::parse_in_location(call.bytes(0), call.bytes(2), &zone);
        Ok(Value::time(time.unwrap_or_else(|_| GoTime::zero())).into())
    }),
    Function::value("unixToTime", &[Text], |call| {
        let text = call.bytes(0);
        let fault = |words: &str| CallError::new(format!("unable to parse time '{}': {words}", call.str(0)));
        let number = cast::parse_decimal(text).map_err(|words| fault(&words))?;
        let time = match text.len() {
            5 => GoTime::from_unix(number.wrapping_mul(86_400), 0, Zone::Local),
            10 => GoTime::from_unix(number, 0, Zone::Local),
            13 => GoTime::from_unix_nanos(number.wrapping_mul(1_000_000), Zone::Local),
            16 => GoTime::from_unix_nanos(number.wrapping_mul(1_000), Zone::Local),
            19 => GoTime::from_unix_nanos(number, Zone::Local),
            // Loki wraps an error that it does not have.
            _ => return Err(fault("%!w(<nil>)")),
        };
        Ok(Value::time(time).into())
    }),
];

/// Characters to add, or below zero to take away; nothing when the text stays as it is.
fn missing_width(count: i64, text: &[u8]) -> Option<i64> {
    let length = i64::try_from(chars(text).count()).unwrap_or(i64::MAX);
    (count >= 0 && count != length).then_some(count - length)
}
