//! Parameters of Loki's API: from the URL and from a form body, with Loki's defaults and texts.
//!
//! Times, in order: has `.` and parses as float → seconds rounded to ms; integer of at most 10
//! characters → seconds; longer integer → nanoseconds; else RFC 3339.
//!
//! Errors: 400 with the text Loki gives.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use url::form_urlencoded;

use crate::api::audit::Note;
use crate::api::error::{ApiError, ErrorKind};
use crate::query::Direction;
use crate::types::durations::parse_prometheus_duration;
use crate::types::time::{NANOS_PER_MILLI, NANOS_PER_SECOND, UnixNanos};

/// Bytes of a form body: Go's limit for forms.
const FORM_BYTES_MAX: usize = 10 << 20;
/// Points of a range query: 60 s resolution for a week.
const POINTS_MAX: i64 = 11_000;
const LIMIT_DEFAULT: usize = 100;
const SINCE_DEFAULT_NS: i64 = 3_600 * NANOS_PER_SECOND;

/// Names and values in the order of Go's `Request.Form`: body first, then URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    pub fn parse(body: &[u8], url_query: &str) -> Self {
        let body = form_urlencoded::parse(body);
        let url = form_urlencoded::parse(url_query.as_bytes());
        Params(body.chain(url).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value; empty when absent.
    pub fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or("")
    }

    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let note = Note::of(&parts);
        let form =
            if has_form_body(&parts.method, &parts.headers) { read_form(body).await? } else { Default::default() };
        let params = Params::parse(&form, parts.uri.query().unwrap_or(""));
        note.params(&params);
        Ok(params)
    }
}

fn has_form_body(method: &Method, headers: &axum::http::HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
        && media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

async fn read_form(body: Body) -> Result<axum::body::Bytes, ApiError> {
    to_bytes(body, FORM_BYTES_MAX)
        .await
        .map_err(|_| ApiError::new(ErrorKind::TooLarge, format!("form body larger than {FORM_BYTES_MAX} bytes")))
}

/// A range query's own parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeParams {
    pub start: UnixNanos,
    pub end: UnixNanos,
    /// Whole milliseconds, positive: Loki hands steps on in milliseconds.
    pub step_ns: i64,
    /// Whole milliseconds; 0 = all entries.
    pub interval_ns: i64,
    pub limit: usize,
    pub direction: Direction,
}

impl RangeParams {
    pub fn parse(params: &Params, now: UnixNanos) -> Result<Self, ApiError> {
        let (start, end) = bounds(params, now)?;
        if end < start {
            return Err(end_before_start());
        }
        let limit = limit(params)?;
        Self::with_limit(params, now, limit)
    }

    /// The same where the limit has rules of its own.
    pub fn with_limit(params: &Params, now: UnixNanos, limit: usize) -> Result<Self, ApiError> {
        let (start, end) = bounds(params, now)?;
        if end < start {
            return Err(end_before_start());
        }
        let direction = direction(params)?;
        let range_ns = end.0.saturating_sub(start.0);
        let step_ns = match params.get("step") {
            "" => (range_ns / NANOS_PER_SECOND / 250).max(1) * NANOS_PER_SECOND,
            text => seconds_or_duration(text)?,
        };
        if step_ns <= 0 {
            return Err(zero_step());
        }
        if range_ns / step_ns > POINTS_MAX {
            return Err(ApiError::bad_input(
                "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter",
            ));
        }
        let interval_ns = match params.get("interval") {
            "" => 0,
            text => seconds_or_duration(text)?,
        };
        if interval_ns < 0 {
            return Err(ApiError::bad_input("interval must be >= 0"));
        }
        let step_ns = whole_millis(step_ns);
        if step_ns == 0 {
            return Err(zero_step());
        }
        Ok(RangeParams { start, end, step_ns, interval_ns: whole_millis(interval_ns), limit, direction })
    }
}

/// An instant query's own parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstantParams {
    pub time: UnixNanos,
    pub limit: usize,
    pub direction: Direction,
}

impl InstantParams {
    pub fn parse(params: &Params, now: UnixNanos) -> Result<Self, ApiError> {
        let limit = limit(params)?;
        let time = timestamp(params.get("time"), now).map_err(ApiError::bad_input)?;
        Ok(InstantParams { time, limit, direction: direction(params)? })
    }
}

/// `start` and `end`, or the last `since` (an hour) until now.
pub fn bounds(params: &Params, now: UnixNanos) -> Result<(UnixNanos, UnixNanos), ApiError> {
    let in_parameter = |name: &'static str| {
        move |cause: String| ApiError::bad_input(format!("could not parse '{name}' parameter: {cause}"))
    };
    let since_ns = match params.get("since") {
        "" => SINCE_DEFAULT_NS,
        text => parse_prometheus_duration(text).map_err(|cause| in_parameter("since")(cause.to_string()))?,
    };
    let end = timestamp(params.get("end"), now).map_err(in_parameter("end"))?;
    let start_default = end.min(now).saturating_sub(since_ns);
    let start = timestamp(params.get("start"), start_default).map_err(in_parameter("start"))?;
    Ok((start, end))
}

pub(super) fn end_before_start() -> ApiError {
    ApiError::bad_input("end timestamp must not be before or equal to start time")
}

fn zero_step() -> ApiError {
    ApiError::bad_input("zero or negative query resolution step widths are not accepted. Try a positive integer")
}

fn limit(params: &Params) -> Result<usize, ApiError> {
    positive_u32(params, "limit", LIMIT_DEFAULT)
}

/// A limit: positive, of 32 bits.
pub fn positive_u32(params: &Params, name: &str, default: usize) -> Result<usize, ApiError> {
    let limit = match params.get(name) {
        "" => return Ok(default),
        text => go_parse_int(text, "Atoi").map_err(ApiError::bad_input)?,
    };
    if limit <= 0 {
        return Err(ApiError::bad_input("limit must be a positive value"));
    }
    let in_range = u32::try_from(limit)
        .map_err(|_| ApiError::bad_input(format!("{name} value {limit} is out of range [0, {}]", u32::MAX)))?;
    Ok(in_range as usize)
}

fn direction(params: &Params) -> Result<Direction, ApiError> {
    match params.get("direction") {
        "" => Ok(Direction::Backward),
        text if text.eq_ignore_ascii_case("forward") => Ok(Direction::Forward),
        text if text.eq_ignore_ascii_case("backward") => Ok(Direction::Backward),
        text => Err(ApiError::bad_input(format!("invalid direction '{text}'"))),
    }
}

/// A time as Loki reads it; `default` when the text is empty.
pub fn timestamp(text: &str, default: UnixNanos) -> Result<UnixNanos, String> {
    if text.is_empty() {
        return Ok(default);
    }
    if text.contains('.')
        && let Ok(seconds) = text.parse::<f64>()
    {
        let millis = (seconds.fract() * 1000.0).round() as i64;
        return Ok(clamp_nanos(i128::from(seconds.trunc() as i64) * 1_000_000_000 + i128::from(millis) * 1_000_000));
    }
    match go_parse_int(text, "ParseInt") {
        Ok(number) if text.len() <= 10 => Ok(clamp_nanos(i128::from(number) * 1_000_000_000)),
        Ok(nanos) => Ok(UnixNanos(nanos)),
        Err(cause) => rfc3339(text).ok_or(cause),
    }
}

fn rfc3339(text: &str) -> Option<UnixNanos> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(clamp_nanos(i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos())))
}

fn clamp_nanos(nanos: i128) -> UnixNanos {
    UnixNanos(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

fn whole_millis(nanos: i64) -> i64 {
    nanos / NANOS_PER_MILLI * NANOS_PER_MILLI
}

/// Float seconds or a Prometheus duration, in nanoseconds.
fn seconds_or_duration(text: &str) -> Result<i64, ApiError> {
    if let Ok(seconds) = text.parse::<f64>() {
        let nanos = seconds * NANOS_PER_SECOND as f64;
        if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
            return Err(ApiError::bad_input(format!("cannot parse {text:?} to a valid duration. It overflows int64")));
        }
        return Ok(nanos as i64);
    }
    parse_prometheus_duration(text)
        .map_err(|_| ApiError::bad_input(format!("cannot parse {text:?} to a valid duration")))
}

/// Decimal as Go's `strconv` reads it, with its error text.
pub(super) fn go_parse_int(text: &str, function: &str) -> Result<i64, String> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse::<i64>().map_err(|error| {
        let why = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.{function}: parsing {text:?}: {why}")
    })
}

#[cfg(test)]
#[path = "params_tests.rs"]
mod tests;
