//! Parameters of Prometheus' API, with its texts.
//!
//! Times: float seconds (rounded to milliseconds) or RFC 3339. Durations: float seconds or `5m`.

use std::time::Duration;

use crate::api::params::Params;
use crate::api::prometheus::answer::Refusal;
use crate::promql::{Matcher, Steps, parse_matchers};
use crate::types::durations::parse_prometheus_duration;
use crate::types::time::NANOS_PER_MILLI;

/// Farthest time, milliseconds: beyond, a float knows no single one.
const TIME_MS_MAX: i64 = 1 << 53;
/// Points of a series of a range query.
const POINTS_MAX: i64 = 11_000;

/// An asked range of times, milliseconds, both inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start_ms: i64,
    pub end_ms: i64,
}

impl Span {
    /// All times when nothing is said.
    pub fn parse(params: &Params) -> Result<Self, Refusal> {
        let start_ms = time_or(params, "start", -TIME_MS_MAX)?;
        let end_ms = time_or(params, "end", TIME_MS_MAX)?;
        Ok(Span { start_ms, end_ms })
    }
}

/// Times of a range query.
pub fn steps(params: &Params) -> Result<Steps, Refusal> {
    let at = |name: &str| time(params.get(name)).map_err(|why| Refusal::parameter(name, why));
    let (start_ms, end_ms) = (at("start")?, at("end")?);
    if end_ms < start_ms {
        return Err(Refusal::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = duration_ms(params.get("step")).map_err(|why| Refusal::parameter("step", why))?;
    if step_ms <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Refusal::parameter("step", why));
    }
    if (end_ms - start_ms) / step_ms > POINTS_MAX {
        return Err(Refusal::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(Steps::range(start_ms, end_ms, step_ms))
}

/// A time, or `default` when it is not said.
pub fn time_or(params: &Params, name: &str, default: i64) -> Result<i64, Refusal> {
    match params.get(name) {
        "" => Ok(default),
        text => time(text).map_err(|why| Refusal::parameter(name, format!("invalid time value for '{name}': {why}"))),
    }
}

/// A duration that may be left out.
pub fn optional_duration(params: &Params, name: &str) -> Result<Option<Duration>, Refusal> {
    match params.get(name) {
        "" => Ok(None),
        text => {
            let millis = duration_ms(text).map_err(|why| Refusal::parameter(name, why))?;
            Ok(Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0))))
        }
    }
}

/// Results to answer at most; none: all.
pub fn limit(params: &Params) -> Result<Option<usize>, Refusal> {
    match params.get("limit") {
        "" | "0" => Ok(None),
        text => match text.parse() {
            Ok(limit) => Ok(Some(limit)),
            Err(_) if text.starts_with('-') => Err(Refusal::parameter("limit", "limit must be non-negative")),
            Err(_) => Err(Refusal::parameter("limit", format!("cannot parse {text:?} to a valid limit"))),
        },
    }
}

/// Selectors in `match[]`.
pub fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, Refusal> {
    let texts = params.all("match[]").filter(|text| !text.is_empty());
    texts.map(|text| parse_matchers(text).map_err(|error| Refusal::parameter("match[]", error))).collect()
}

/// Milliseconds since the epoch.
fn time(text: &str) -> Result<i64, String> {
    let bad = || format!("cannot parse {text:?} to a valid timestamp");
    let millis = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => (seconds * 1000.0).round(),
        Ok(_) => return Err(bad()),
        Err(_) => {
            let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| bad())?;
            time.timestamp_millis() as f64
        }
    };
    if millis.abs() > TIME_MS_MAX as f64 { Err(bad()) } else { Ok(millis as i64) }
}

/// Milliseconds.
fn duration_ms(text: &str) -> Result<i64, String> {
    let bad = || format!("cannot parse {text:?} to a valid duration");
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = seconds * 1000.0;
        if millis.is_nan() || millis.abs() > TIME_MS_MAX as f64 {
            return Err(bad() + ". It overflows int64");
        }
        return Ok(millis as i64);
    }
    parse_prometheus_duration(text).map(|nanos| nanos / NANOS_PER_MILLI).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::parse(b"", query)
    }

    #[test]
    fn times_and_steps_are_read() {
        let check = |query: &str, expected: Result<(i64, i64, usize), &str>| {
            let read = steps(&params(query)).map(|steps| (steps.start_ms, steps.step_ms, steps.count));
            assert_eq!(read.map_err(|refusal| refusal.text), expected.map_err(str::to_owned), "{query}");
        };
        check("start=0&end=60&step=15", Ok((0, 15_000, 5)));
        check("start=1.5&end=2.0004&step=0.1", Ok((1_500, 100, 6)));
        check("start=2026-01-15T10:00:00Z&end=1768471260&step=1m", Ok((1_768_471_200_000, 60_000, 2)));
        check("start=x&end=1&step=1", Err(r#"invalid parameter "start": cannot parse "x" to a valid timestamp"#));
        check("start=2&end=1&step=1", Err(r#"invalid parameter "end": end timestamp must not be before start time"#));
        check("start=0&end=1&step=q", Err(r#"invalid parameter "step": cannot parse "q" to a valid duration"#));
        check(
            "start=0&end=1&step=0",
            Err(
                r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
            ),
        );
        check(
            "start=0&end=11001&step=1",
            Err(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ),
        );
        check("start=NaN&end=1&step=1", Err(r#"invalid parameter "start": cannot parse "NaN" to a valid timestamp"#));
        check("start=0&end=1e300&step=1", Err(r#"invalid parameter "end": cannot parse "1e300" to a valid timestamp"#));
    }
}
