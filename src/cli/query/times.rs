//! Times as people write them.

use crate::types::time::NANOS_PER_SECOND;
use crate::types::units::GoDuration;

/// Nanoseconds of RFC 3339, of a date, of `now-1h`, or of digits: seconds, or nanoseconds when they are many.
///
/// # Errors
/// With what would be understood.
pub(super) fn parse(text: &str, now_ns: i64) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no time: RFC 3339, a date, now-1h, or seconds or nanoseconds since 1970");
    if let Some(ago) = text.strip_prefix("now") {
        return match ago.strip_prefix('-') {
            None if ago.is_empty() => Ok(now_ns),
            Some(ago) => ago.parse::<GoDuration>().map(|ago| now_ns.saturating_sub(ago.0)).map_err(|_| wrong()),
            None => Err(wrong()),
        };
    }
    if let Ok(number) = text.parse::<i64>() {
        let is_seconds = text.len() <= 10;
        return if is_seconds { number.checked_mul(NANOS_PER_SECOND).ok_or_else(wrong) } else { Ok(number) };
    }
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return time.timestamp_nanos_opt().ok_or_else(wrong);
    }
    let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())?;
    let midnight = date.and_hms_opt(0, 0, 0).ok_or_else(wrong)?;
    midnight.and_utc().timestamp_nanos_opt().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_understood() {
        let check = |text: &str, seconds: i64| {
            assert_eq!(parse(text, 5_000_000_000_000), Ok(seconds * NANOS_PER_SECOND), "{text}")
        };
        check("2026-01-15T10:00:00Z", 1_768_471_200);
        check("2026-01-15T11:00:00+01:00", 1_768_471_200);
        check("2026-01-15", 1_768_435_200);
        check("1768471200", 1_768_471_200);
        check("1768471200000000000", 1_768_471_200);
        check("now", 5000);
        check("now-1h", 1400);
        for bad in ["", "yesterday", "now+1h", "2026-13-01"] {
            assert!(parse(bad, 0).is_err(), "{bad}");
        }
    }
}
