//! What annotations and labels of alerting rules know: Prometheus's functions.
//!
//! `sortByLabel` returns a sorted list and leaves the one it was given, which Go sorts along.

use std::rc::Rc;
use std::sync::LazyLock;

use super::Parameter::{Any, Sample, Samples, Text};
use super::cast::to_float_or_fail;
use super::{Call, CallError, Function, FunctionTable, addresses, humanize, regexes, strings};
use crate::template::QuerySample;
use crate::template::strconv::quote::quoted;
use crate::template::text::Text as Bytes;
use crate::template::unicode::{
    chars, is_digit, is_letter, is_lower, is_title, is_upper, push_char, to_lower, to_title,
};
use crate::template::value::{Element, Operand, Struct, StructField, Value};
use crate::types::go_time::{GoTime, Zone};

/// Prepended to the text of an alert's template by Prometheus.
pub const ALERT_DEFINITIONS: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                                     {{$externalURL := .ExternalURL}}{{$value := .Value}}";

static ALERT: LazyLock<FunctionTable> = LazyLock::new(|| FunctionTable::new(&[FUNCTIONS, humanize::FUNCTIONS]));

/// The functions of alerting rules.
pub fn alert_functions() -> &'static FunctionTable {
    &ALERT
}

/// What an alert's template is executed on: `.Labels`, `.ExternalLabels`, `.ExternalURL`, `.Value`.
pub fn alert_data<'a>(
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    external_labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    external_url: &'a str,
    value: f64,
) -> Value<'a> {
    Value::Struct(Rc::new(Struct {
        type_name: "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; \
                    Value interface {} }",
        fields: vec![
            StructField { name: "Labels", value: text_map(labels).into() },
            StructField { name: "ExternalLabels", value: text_map(external_labels).into() },
            StructField { name: "ExternalURL", value: Value::text(external_url).into() },
            StructField { name: "Value", value: Operand::boxed(Value::Float(value)) },
        ],
    }))
}

fn text_map<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value<'a> {
    Value::text_map(entries.into_iter().map(|(name, value)| (Bytes::from(name), Bytes::from(value))))
}

static FUNCTIONS: &[Function] = &[
    Function::value("query", &[Text], |call| {
        let samples = call.host().query(&call.str(0)).map_err(CallError::Failed)?;
        let samples = samples.into_iter().map(sample).collect();
        call.list(samples, Element::Sample)
    }),
    Function::value("first", &[Samples], |call| match call.value(0) {
        Value::List(list) if !list.items().is_empty() => Ok(list.items()[0].clone().into()),
        _ => Err(CallError::new("first() called on vector with no elements")),
    }),
    Function::value("label", &[Text, Sample], |call| {
        let label = label(call.value(1), call.bytes(0))?;
        Ok(label.unwrap_or_else(|| Value::text("")).into())
    }),
    Function::value("strvalue", &[Sample], |call| {
        let label = label(call.value(0), b"__value__")?;
        Ok(label.unwrap_or_else(|| Value::text("")).into())
    }),
    Function::value("value", &[Sample], |call| field(call.value(0), "Value")),
    Function::value("sortByLabel", &[Text, Samples], |call| {
        let Value::List(list) = call.value(1) else { return Ok(call.operand(1).clone()) };
        let mut keyed = Vec::new();
        for item in list.items() {
            keyed.push((label(item, call.bytes(0))?.unwrap_or_else(|| Value::text("")), item.clone()));
        }
        keyed.sort_by(|(a, _), (b, _)| a.bytes().cmp(&b.bytes()));
        call.list(keyed.into_iter().map(|(_, item)| item).collect(), Element::Sample)
    }),
    Function::value("args", &[], |call| {
        let arguments = call.values(0).enumerate();
        call.new_map(arguments.map(|(at, value)| (Bytes::from(format!("arg{at}")), value.clone())))
    })
    .and_more(Any),
    Function::text("reReplaceAll", &[Text, Text, Text], |call, out| {
        let regex = regexes::regex(call, true)?;
        let (replacement, text) = (call.bytes(1), call.str(2));
        regexes::push_replaced(call, out, &regex, &text, replacement, false)
    }),
    Function::value("match", &[Text, Text], |call| {
        let regex = call.regex(call.bytes(0))?;
        call.charge_bytes(call.bytes(1).len())?;
        Ok(Value::Bool(regex.is_match(&call.str(1))).into())
    }),
    Function::value("safeHtml", &[Text], |call| Ok(Value::Html(call.text(0)).into())),
    Function::text("title", &[Text], |call, out| {
        push_title(out, call.bytes(0));
        Ok(())
    }),
    Function::text("toUpper", &[Text], |call, out| {
        strings::push_upper(out, call.bytes(0));
        Ok(())
    }),
    Function::text("toLower", &[Text], |call, out| {
        strings::push_lower(out, call.bytes(0));
        Ok(())
    }),
    Function::text("graphLink", &[Text], |call, out| {
        push_link(call, out, b"0");
        Ok(())
    }),
    Function::text("tableLink", &[Text], |call, out| {
        push_link(call, out, b"1");
        Ok(())
    }),
    Function::text("stripPort", &[Text], |call, out| {
        let address = call.bytes(0);
        out.extend_from_slice(addresses::split_host_port(address).map_or(address, |(host, _)| host));
        Ok(())
    }),
    Function::text("stripDomain", &[Text], |call, out| {
        addresses::push_without_domain(out, call.bytes(0));
        Ok(())
    }),
    Function::value("toTime", &[Any], |call| {
        let seconds = to_float_or_fail(call.value(0))?;
        Ok(Value::pointer(Value::time(humanize::time_of(seconds)?)).into())
    }),
    Function::value("toDuration", &[Any], |call| {
        let nanos = Value::Float(to_float_or_fail(call.value(0))? * 1e9);
        Ok(Value::pointer(Value::Duration(super::cast::to_int64(&nanos))).into())
    }),
    Function::value("now", &[], |call| {
        let millis = call.host().now_ns().div_euclid(1_000_000);
        Ok(Value::Float(millis as f64 / 1000.0).into())
    }),
    Function::value("pathPrefix", &[], |call| Ok(Value::text(call.host().path_prefix()).into())),
    Function::value("externalURL", &[], |call| Ok(Value::text(call.host().external_url()).into())),
    Function::value("parseDuration", &[Text], |call| {
        let seconds = parse_duration(call.bytes(0)).map_err(CallError::Failed)?;
        Ok(Value::Float(seconds).into())
    }),
    Function::text("urlQueryEscape", &[Text], |call, out| {
        super::escape::push_query_escaped(out, call.bytes(0));
        Ok(())
    }),
];

/// A pointer to Prometheus's `sample`.
fn sample<'a>(sample: QuerySample) -> Value<'a> {
    let labels = sample.labels.into_iter().map(|(name, value)| (Bytes::from(name), Bytes::from(value)));
    Value::pointer(Value::Struct(Rc::new(Struct {
        type_name: "template.sample",
        fields: vec![
            StructField { name: "Labels", value: Value::text_map(labels).into() },
            StructField { name: "Value", value: Operand::boxed(Value::Float(sample.value)) },
        ],
    })))
}

fn field<'a>(sample: &Value<'a>, name: &str) -> Result<Operand<'a>, CallError> {
    match sample.target() {
        Value::Struct(fields) => {
            let field = fields.fields.iter().find(|field| field.name == name);
            Ok(field.map_or(Operand::NIL, |field| field.value.clone()))
        }
        _ => Err(CallError::new("runtime error: invalid memory address or nil pointer dereference")),
    }
}

fn label<'a>(sample: &Value<'a>, name: &[u8]) -> Result<Option<Value<'a>>, CallError> {
    Ok(match field(sample, "Labels")?.value {
        Value::Map(labels) => labels.get(name),
        _ => None,
    })
}

fn push_link(call: &Call<'_, '_>, out: &mut Vec<u8>, tab: &[u8]) {
    out.extend_from_slice(b"/graph?g0.expr=");
    super::escape::push_query_escaped(out, call.bytes(0));
    out.extend_from_slice(b"&g0.tab=");
    out.extend_from_slice(tab);
}

/// The first letter of each word, full mappings included; what stands between letters, as an apostrophe, a colon or
/// a full stop does, parts no words unless there are two.
fn push_title(out: &mut Vec<u8>, text: &[u8]) {
    let is_between = |c: char| matches!(c, '\'' | '.' | ':' | '·' | '‘' | '’' | '\u{2024}' | '\u{2027}');
    let (mut is_inside, mut was_between) = (false, false);
    for (at, c, width) in chars(text) {
        let is_between = is_between(c);
        is_inside &= !(was_between && is_between);
        was_between = is_between;
        if !(is_upper(c) || is_lower(c) || is_title(c)) {
            is_inside &= is_between || is_letter(c) || is_digit(c) || c == '_';
            out.extend_from_slice(&text[at..at + width]);
            continue;
        }
        if std::mem::replace(&mut is_inside, true) {
            push_char(out, c);
            continue;
        }
        let mut full = c.to_uppercase();
        match (full.next(), full.len()) {
            (Some(first), 1..) => {
                push_char(out, first);
                full.for_each(|c| push_char(out, to_lower(c)));
            }
            _ => push_char(out, to_title(c)),
        }
    }
}

/// Prometheus's durations, in seconds: `1d12h`, units from the largest to the smallest, years of 365 days.
fn parse_duration(text: &[u8]) -> Result<f64, String> {
    const UNITS: [(&[u8], u64); 7] = [
        (b"y", 365 * 24 * 3_600_000),
        (b"w", 7 * 24 * 3_600_000),
        (b"d", 24 * 3_600_000),
        (b"h", 3_600_000),
        (b"m", 60_000),
        (b"s", 1_000),
        (b"ms", 1),
    ];
    let (is_negative, unsigned) = match text {
        [b'-', unsigned @ ..] => (true, unsigned),
        _ => (false, text),
    };
    let invalid = || format!("not a valid duration string: {}", quoted(unsigned));
    let out_of_range = || "duration out of range".to_owned();
    match unsigned {
        b"0" => return Ok(0.0),
        b"" => return Err("empty duration string".to_owned()),
        _ => {}
    }
    let (mut nanos, mut rest, mut units_left) = (0_u64, unsigned, &UNITS[..]);
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = crate::template::strconv::number::parse_uint(&rest[..digits], 10).map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.iter().take_while(|byte| !byte.is_ascii_digit()).count();
        let (unit, after) = rest.split_at(letters);
        rest = after;
        if unit.is_empty() {
            return Err(invalid());
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(format!("unknown unit {} in duration {}", quoted(unit), quoted(unsigned)));
        }
        let at = units_left.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let unit_nanos = units_left[at].1 * 1_000_000;
        units_left = &units_left[at + 1..];
        let sum = number.checked_mul(unit_nanos).and_then(|more| nanos.checked_add(more));
        nanos = sum.filter(|nanos| i64::try_from(*nanos).is_ok()).ok_or_else(out_of_range)?;
    }
    let seconds = nanos as f64 / 1e9;
    Ok(if is_negative { -seconds } else { seconds })
}

/// A time that Prometheus's milliseconds hold.
pub(super) fn utc_from_millis(millis: i64) -> GoTime {
    GoTime::from_unix(millis.div_euclid(1_000), millis.rem_euclid(1_000) * 1_000_000, Zone::Utc)
}
