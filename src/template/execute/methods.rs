//! Methods that templates may call on times, durations, months, weekdays and locations.
//!
//! Not here: those that take or make byte slices (`AppendFormat`, `MarshalJSON`, `GobEncode`, …).

use std::rc::Rc;

use crate::template::format::string_of;
use crate::template::functions::{Body, Call, CallError, Function, Parameter};
use crate::template::value::{Operand, Value};
use crate::types::go_time::{GoTime, Zone, duration_seconds, format_duration, round_duration, truncate_duration};

type Called<'a> = Result<Operand<'a>, CallError>;

/// The method of that name, of a value that is no pointer.
pub(super) fn method(value: &Value<'_>, name: &str) -> Option<&'static Function> {
    let methods = match value {
        Value::Time(_) => TIME,
        Value::Duration(_) => DURATION,
        Value::Month(_) | Value::Weekday(_) | Value::Location(_) => NAMED,
        _ => return None,
    };
    methods.iter().find(|method| method.name == name)
}

const fn unfit(name: &'static str, fault: &'static str) -> Function {
    Function { name, parameters: &[], variadic: None, body: Body::Unfit(fault) }
}

static NAMED: &[Function] = &[Function::text("String", &[], |call, out| {
    out.extend_from_slice(string_of(call.receiver()).unwrap_or_default().as_bytes());
    Ok(())
})];

static TIME: &[Function] = &[
    Function::value("Add", &[Parameter::Duration], |call| {
        let nanos = call.int(0);
        of_time(call, |time| Value::time(time.add_nanos(nanos)))
    }),
    Function::value("AddDate", &[Parameter::Int, Parameter::Int, Parameter::Int], |call| {
        let (years, months, days) = (call.int(0), call.int(1), call.int(2));
        of_time(call, |time| Value::time(time.add_date(years, months, days)))
    }),
    Function::value("After", &[Parameter::Time], |call| compared(call, std::cmp::Ordering::is_gt)),
    Function::value("Before", &[Parameter::Time], |call| compared(call, std::cmp::Ordering::is_lt)),
    unfit("Clock", "function Clock has 3 return values; should be 1 or 2"),
    Function::value("Compare", &[Parameter::Time], |call| {
        let other = argument(call);
        of_time(call, |time| Value::Int(time.compare(&other) as i64))
    }),
    unfit("Date", "function Date has 3 return values; should be 1 or 2"),
    Function::value("Day", &[], |call| of_time(call, |time| Value::Int(time.date().day))),
    Function::value("Equal", &[Parameter::Time], |call| compared(call, std::cmp::Ordering::is_eq)),
    Function::text("Format", &[Parameter::Text], |call, out| {
        if let Value::Time(time) = call.receiver() {
            time.format_into(call.bytes(0), out);
        }
        Ok(())
    }),
    Function::text("GoString", &[], |call, out| {
        if let Value::Time(time) = call.receiver() {
            out.extend_from_slice(time.go_string().as_bytes());
        }
        Ok(())
    }),
    Function::value("Hour", &[], |call| of_time(call, |time| Value::Int(time.clock().hour))),
    unfit("ISOWeek", "invalid function signature for ISOWeek: second return value should be error; is int"),
    Function::value("In", &[Parameter::Location], |call| match call.value(0) {
        Value::Location(zone) => {
            let zone = Zone::clone(zone);
            of_time(call, |time| Value::time(time.in_zone(zone)))
        }
        _ => Err(CallError::new("time: missing Location in call to Time.In")),
    }),
    Function::value("IsZero", &[], |call| of_time(call, |time| Value::Bool(time.is_zero()))),
    Function::value("Local", &[], |call| of_time(call, |time| Value::time(time.in_zone(Zone::Local)))),
    Function::value("Location", &[], |call| of_time(call, |time| Value::Location(Rc::new(time.zone().clone())))),
    Function::value("Minute", &[], |call| of_time(call, |time| Value::Int(time.clock().minute))),
    Function::value("Month", &[], |call| of_time(call, |time| Value::Month(time.date().month))),
    Function::value("Nanosecond", &[], |call| of_time(call, |time| Value::Int(time.nanosecond().into()))),
    Function::value("Round", &[Parameter::Duration], |call| {
        let step = call.int(0);
        of_time(call, |time| Value::time(time.round(step)))
    }),
    Function::value("Second", &[], |call| of_time(call, |time| Value::Int(time.clock().second))),
    Function::text("String", &[], |call, out| {
        out.extend_from_slice(string_of(call.receiver()).unwrap_or_default().as_bytes());
        Ok(())
    }),
    Function::value("Sub", &[Parameter::Time], |call| {
        let other = argument(call);
        of_time(call, |time| Value::Duration(time.since(&other)))
    }),
    Function::value("Truncate", &[Parameter::Duration], |call| {
        let step = call.int(0);
        of_time(call, |time| Value::time(time.truncate(step)))
    }),
    Function::value("UTC", &[], |call| of_time(call, |time| Value::time(time.in_zone(Zone::Utc)))),
    Function::value("Unix", &[], |call| of_time(call, |time| Value::Int64(time.unix_seconds()))),
    Function::value("UnixMicro", &[], |call| of_time(call, |time| Value::Int64(time.unix_micros()))),
    Function::value("UnixMilli", &[], |call| of_time(call, |time| Value::Int64(time.unix_millis()))),
    Function::value("UnixNano", &[], |call| of_time(call, |time| Value::Int64(time.unix_nanos()))),
    Function::value("Weekday", &[], |call| of_time(call, |time| Value::Weekday(time.weekday()))),
    Function::value("Year", &[], |call| of_time(call, |time| Value::Int(time.date().year))),
    Function::value("YearDay", &[], |call| of_time(call, |time| Value::Int(time.year_day()))),
    unfit("Zone", "invalid function signature for Zone: second return value should be error; is int"),
    unfit("ZoneBounds", "invalid function signature for ZoneBounds: second return value should be error; is time.Time"),
];

static DURATION: &[Function] = &[
    Function::value("Abs", &[], |call| of_duration(call, |nanos| Value::Duration(nanos.saturating_abs()))),
    Function::value("Hours", &[], |call| of_duration(call, |nanos| Value::Float(in_units(nanos, 3_600_000_000_000)))),
    Function::value("Microseconds", &[], |call| of_duration(call, |nanos| Value::Int64(nanos / 1_000))),
    Function::value("Milliseconds", &[], |call| of_duration(call, |nanos| Value::Int64(nanos / 1_000_000))),
    Function::value("Minutes", &[], |call| of_duration(call, |nanos| Value::Float(in_units(nanos, 60_000_000_000)))),
    Function::value("Nanoseconds", &[], |call| of_duration(call, Value::Int64)),
    Function::value("Round", &[Parameter::Duration], |call| {
        let step = call.int(0);
        of_duration(call, |nanos| Value::Duration(round_duration(nanos, step)))
    }),
    Function::value("Seconds", &[], |call| of_duration(call, |nanos| Value::Float(duration_seconds(nanos)))),
    Function::text("String", &[], |call, out| {
        out.extend_from_slice(format_duration(call.receiver().integer().unwrap_or(0)).as_bytes());
        Ok(())
    }),
    Function::value("Truncate", &[Parameter::Duration], |call| {
        let step = call.int(0);
        of_duration(call, |nanos| Value::Duration(truncate_duration(nanos, step)))
    }),
];

fn of_time<'a>(call: &Call<'_, 'a>, make: impl FnOnce(&GoTime) -> Value<'a>) -> Called<'a> {
    match call.receiver() {
        Value::Time(time) => Ok(make(time).into()),
        _ => Ok(Operand::NIL),
    }
}

fn of_duration<'a>(call: &Call<'_, 'a>, make: impl FnOnce(i64) -> Value<'a>) -> Called<'a> {
    Ok(make(call.receiver().integer().unwrap_or(0)).into())
}

/// The time that the method is given.
fn argument(call: &Call<'_, '_>) -> GoTime {
    match call.value(0) {
        Value::Time(time) => GoTime::clone(time),
        _ => GoTime::zero(),
    }
}

fn compared<'a>(call: &Call<'_, 'a>, is_so: impl FnOnce(std::cmp::Ordering) -> bool) -> Called<'a> {
    let other = argument(call);
    of_time(call, |time| Value::Bool(is_so(time.compare(&other))))
}

fn in_units(nanos: i64, unit: i64) -> f64 {
    (nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64
}
