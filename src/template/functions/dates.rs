//! Times: `now`, `toDate`, `date`, `unixEpoch` and what Sprig has besides.
//!
//! The time zone `Local` is UTC.

use super::Parameter::{Any, Text, Time};
use super::{Call, CallError, Function, TextBody, ValueBody};
use crate::template::value::{Operand, Value};
use crate::types::go_time::{GoTime, Zone, format_duration, parse_duration, parse_in_location, round_duration};

const SECOND: i64 = 1_000_000_000;

pub(super) static SPRIG: &[Function] = &[
    Function::value("now", &[], |call| Ok(Value::time(now(call)).into())),
    Function::text("date", &[Text, Any], |call, out| {
        push_date(call, out, call.value(1), Zone::Local);
        Ok(())
    }),
    Function::text("dateInZone", &[Text, Any, Text], DATE_IN_ZONE),
    Function::text("date_in_zone", &[Text, Any, Text], DATE_IN_ZONE),
    Function::text("htmlDate", &[Any], |call, out| {
        time_of(call, call.value(0)).in_zone(Zone::Local).format_into(b"2006-01-02", out);
        Ok(())
    }),
    Function::text("htmlDateInZone", &[Any, Text], |call, out| {
        let zone = Zone::load(&call.str(1)).unwrap_or(Zone::Utc);
        time_of(call, call.value(0)).in_zone(zone).format_into(b"2006-01-02", out);
        Ok(())
    }),
    Function::value("toDate", &[Text, Text], |call| {
        Ok(Value::time(to_date(call).unwrap_or_else(|_| GoTime::zero())).into())
    }),
    Function::value("mustToDate", &[Text, Text], |call| Ok(Value::time(to_date(call)?).into())),
    Function::text("unixEpoch", &[Time], |call, out| {
        push_of_time(call, out, |time| time.unix_seconds().to_string());
        Ok(())
    }),
    Function::value("dateModify", &[Text, Time], MODIFIED),
    Function::value("date_modify", &[Text, Time], MODIFIED),
    Function::value("mustDateModify", &[Text, Time], MUST_MODIFIED),
    Function::value("must_date_modify", &[Text, Time], MUST_MODIFIED),
    Function::text("ago", &[Any], |call, out| {
        let time = match call.value(0) {
            Value::Time(_) | Value::Int64(_) | Value::Int(_) => time_of(call, call.value(0)),
            _ => now(call),
        };
        let nanos = round_duration(now(call).since(&time), SECOND);
        out.extend_from_slice(format_duration(nanos).as_bytes());
        Ok(())
    }),
    Function::text("duration", &[Any], |call, out| {
        let seconds = match call.value(0) {
            Value::Text(text) => crate::template::strconv::number::atoi_or_zero(text.as_bytes()),
            Value::Int64(seconds) => *seconds,
            _ => 0,
        };
        out.extend_from_slice(format_duration(seconds.wrapping_mul(SECOND)).as_bytes());
        Ok(())
    }),
    Function::text("durationRound", &[Any], |call, out| {
        let nanos = match call.value(0) {
            Value::Text(text) => parse_duration(text.as_bytes()).unwrap_or(0),
            Value::Int64(nanos) => *nanos,
            Value::Time(time) => now(call).since(time),
            _ => 0,
        };
        out.extend_from_slice(rounded(nanos.unsigned_abs()).as_bytes());
        Ok(())
    }),
];

const DATE_IN_ZONE: TextBody = |call, out| {
    let zone = Zone::load(&call.str(2)).unwrap_or(Zone::Utc);
    push_date(call, out, call.value(1), zone);
    Ok(())
};

const MODIFIED: ValueBody = |call| match parse_duration(call.bytes(0)) {
    Ok(nanos) => shifted(call, nanos),
    Err(_) => Ok(call.operand(1).clone()),
};

const MUST_MODIFIED: ValueBody = |call| match parse_duration(call.bytes(0)) {
    Ok(nanos) => shifted(call, nanos),
    Err(error) => Err(CallError::new(error.to_string())),
};

fn shifted<'a>(call: &Call<'_, 'a>, nanos: i64) -> Result<Operand<'a>, CallError> {
    Ok(match call.value(1) {
        Value::Time(time) => Value::time(time.add_nanos(nanos)).into(),
        _ => call.operand(1).clone(),
    })
}

fn now(call: &Call<'_, '_>) -> GoTime {
    GoTime::from_unix_nanos(call.host().now_ns(), Zone::Local)
}

/// A time, or Unix seconds; anything else is now.
fn time_of(call: &Call<'_, '_>, value: &Value<'_>) -> GoTime {
    match value.target() {
        Value::Time(time) => GoTime::clone(time),
        Value::Int(seconds) | Value::Int64(seconds) => GoTime::from_unix(*seconds, 0, Zone::Local),
        _ => now(call),
    }
}

fn push_date(call: &Call<'_, '_>, out: &mut Vec<u8>, value: &Value<'_>, zone: Zone) {
    time_of(call, value).in_zone(zone).format_into(call.bytes(0), out);
}

fn to_date(call: &Call<'_, '_>) -> Result<GoTime, CallError> {
    parse_in_location(call.bytes(0), call.bytes(1), &Zone::Local).map_err(|error| CallError::new(error.to_string()))
}

/// Appends what `text_of` makes of the first argument, a time.
pub(super) fn push_of_time(call: &Call<'_, '_>, out: &mut Vec<u8>, text_of: impl FnOnce(&GoTime) -> String) {
    if let Value::Time(time) = call.value(0) {
        out.extend_from_slice(text_of(time).as_bytes());
    }
}

/// In the largest unit that it has more than one of.
fn rounded(nanos: u64) -> String {
    const HOUR: u64 = 3_600_000_000_000;
    let units = [
        (365 * 24 * HOUR, "y"),
        (30 * 24 * HOUR, "mo"),
        (24 * HOUR, "d"),
        (HOUR, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
    ];
    let unit = units.into_iter().find(|(unit, _)| nanos > *unit);
    unit.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", nanos / unit))
}
