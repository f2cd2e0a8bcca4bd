//! Limits on what a query asks, before it runs: length, lookback, entries. Texts are Loki's.

use crate::access::Scope;
use crate::api::Shared;
use crate::api::error::ApiError;
use crate::api::params::{Params, bounds};
use crate::ingest::limits::Limits;
use crate::types::durations::format_prometheus_duration;
use crate::types::time::{NANOS_PER_MILLI, TimeRange, UnixNanos};
use crate::types::units::GoDuration;

/// The part of `start..=end` that may be asked for; none when all of it is beyond the lookback.
///
/// # Errors
/// 400 when it is longer than `max_query_length`.
pub fn allowed_range(
    limits: &Limits,
    start: UnixNanos,
    end: UnixNanos,
    now: UnixNanos,
) -> Result<Option<(UnixNanos, UnixNanos)>, ApiError> {
    let lookback_ns = limits.max_query_lookback.0;
    let oldest = if lookback_ns > 0 { now.saturating_sub(lookback_ns) } else { UnixNanos::MIN };
    if end < oldest {
        return Ok(None);
    }
    let start = start.max(oldest);
    let whole_millis = |time: UnixNanos| time.0.div_euclid(NANOS_PER_MILLI) * NANOS_PER_MILLI;
    let length_ns = whole_millis(end).saturating_sub(whole_millis(start));
    let length_max_ns = limits.max_query_length.0;
    if length_max_ns > 0 && length_ns > length_max_ns {
        return Err(ApiError::bad_input(format!(
            "the query time range exceeds the limit (query length: {}, limit: {})",
            GoDuration(length_ns),
            format_prometheus_duration(length_max_ns)
        )));
    }
    Ok(Some((start, end)))
}

/// The range of a question about labels or streams, `end` inside.
pub fn metadata_range(shared: &Shared, scope: &Scope, params: &Params) -> Result<Option<TimeRange>, ApiError> {
    let now = shared.state.clock.now();
    let (start, end) = bounds(params, now)?;
    let allowed = allowed_range(&shared.limits_of(scope), start, end, now)?;
    Ok(allowed.map(|(start, end)| TimeRange::new(start, end.saturating_add(1))))
}

/// # Errors
/// 400 when a log query asks for more entries than allowed.
pub fn check_entries(limits: &Limits, limit: usize) -> Result<(), ApiError> {
    let entries_max = limits.max_entries_limit_per_query;
    if entries_max > 0 && limit > entries_max {
        return Err(ApiError::bad_input(format!(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {entries_max})"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_or_refused() {
        let hour = 3_600_000_000_000;
        let limits = Limits {
            max_query_length: GoDuration(721 * hour),
            max_query_lookback: GoDuration(1000 * hour),
            ..Limits::default()
        };
        let check = |start: i64, end: i64, expected: Result<Option<(i64, i64)>, &str>| {
            let now = UnixNanos(2000 * hour);
            let got = allowed_range(&limits, UnixNanos(start * hour), UnixNanos(end * hour), now);
            let got =
                got.map(|range| range.map(|(start, end)| (start.0 / hour, end.0 / hour))).map_err(|error| error.text);
            assert_eq!(got, expected.map_err(str::to_owned), "{start} to {end}");
        };
        check(1200, 1300, Ok(Some((1200, 1300))));
        check(900, 1300, Ok(Some((1000, 1300))));
        check(1, 999, Ok(None));
        check(1, 1721, Ok(Some((1000, 1721))));
        check(1100, 1844, Err("the query time range exceeds the limit (query length: 744h0m0s, limit: 30d1h)"));
    }

    #[test]
    fn entries_are_limited() {
        let limits = Limits { max_entries_limit_per_query: 5000, ..Limits::default() };
        assert!(check_entries(&limits, 5000).is_ok());
        assert_eq!(
            check_entries(&limits, 6000).expect_err("too many").text,
            "max entries limit per query exceeded, limit > max_entries_limit_per_query (6000 > 5000)"
        );
        assert!(check_entries(&Limits { max_entries_limit_per_query: 0, ..limits }, 6000).is_ok());
    }
}
