//! Times of records: as numbers, by a Go layout, or by one of strftime.

use crate::types::go_time;
use crate::types::time::{NANOS_PER_MILLI, NANOS_PER_SECOND, UnixNanos};

/// How a time is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// Units of so many nanoseconds since the epoch.
    Epoch(i64),
    Go(String),
    Strftime(String),
    /// RFC 3339, or a number whose size tells its unit.
    Guess,
}

impl Layout {
    pub(super) fn parse(text: Option<&str>) -> Self {
        match text {
            None => Layout::Guess,
            Some("Unix" | "unix") => Layout::Epoch(NANOS_PER_SECOND),
            Some("UnixMs" | "unix_ms") => Layout::Epoch(NANOS_PER_MILLI),
            Some("UnixUs" | "unix_us") => Layout::Epoch(1_000),
            Some("UnixNs" | "unix_ns") => Layout::Epoch(1),
            Some("RFC3339") => Layout::Go(go_time::RFC3339.to_owned()),
            Some("RFC3339Nano") => Layout::Go(go_time::RFC3339_NANO.to_owned()),
            Some(layout) if layout.contains('%') => Layout::Strftime(layout.to_owned()),
            Some(layout) => Layout::Go(layout.to_owned()),
        }
    }

    /// The time of a text, UTC where it names no zone.
    pub(super) fn read(&self, text: &str) -> Option<UnixNanos> {
        match self {
            Layout::Epoch(unit) => epoch(text, *unit),
            Layout::Go(layout) => go_time::parse(layout, text).ok().map(|time| UnixNanos(time.unix_nanos())),
            Layout::Strftime(layout) => strftime(layout, text),
            Layout::Guess => rfc3339(text).or_else(|| guessed_epoch(text)),
        }
    }
}

fn rfc3339(text: &str) -> Option<UnixNanos> {
    chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt().map(UnixNanos)
}

fn epoch(text: &str, unit_ns: i64) -> Option<UnixNanos> {
    if let Ok(whole) = text.parse::<i64>() {
        return whole.checked_mul(unit_ns).map(UnixNanos);
    }
    let (whole, fraction) = text.split_once('.')?;
    let nanos = whole.parse::<i64>().ok()?.checked_mul(unit_ns)?;
    let share = format!("0.{fraction}").parse::<f64>().ok()? * unit_ns as f64;
    let share = if whole.starts_with('-') { -share } else { share };
    nanos.checked_add(share.round() as i64).map(UnixNanos)
}

/// Seconds, milliseconds, microseconds or nanoseconds by the number of digits: right from 1973 to 5138.
fn guessed_epoch(text: &str) -> Option<UnixNanos> {
    let digits = text.trim_start_matches('-').split('.').next()?.len();
    let unit_ns = match digits {
        0..=11 => NANOS_PER_SECOND,
        12..=14 => NANOS_PER_MILLI,
        15..=17 => 1_000,
        _ => 1,
    };
    epoch(text, unit_ns)
}

fn strftime(layout: &str, text: &str) -> Option<UnixNanos> {
    if let Ok(time) = chrono::DateTime::parse_from_str(text, layout) {
        return time.timestamp_nanos_opt().map(UnixNanos);
    }
    let naive = chrono::NaiveDateTime::parse_from_str(text, layout).ok();
    let naive = naive.or_else(|| chrono::NaiveDate::parse_from_str(text, layout).ok()?.and_hms_opt(0, 0, 0))?;
    naive.and_utc().timestamp_nanos_opt().map(UnixNanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let check = |layout: Option<&str>, text: &str, expected: Option<i64>| {
            assert_eq!(Layout::parse(layout).read(text), expected.map(UnixNanos), "{layout:?} {text}");
        };
        let at = 1_768_471_200_000_000_000;
        check(None, "2026-01-15T10:00:00Z", Some(at));
        check(None, "2026-01-15T11:00:00.5+01:00", Some(at + 500_000_000));
        check(None, "1768471200", Some(at));
        check(None, "1768471200.25", Some(at + 250_000_000));
        check(None, "1768471200123", Some(at + 123_000_000));
        check(None, "1768471200123456", Some(at + 123_456_000));
        check(None, "1768471200123456789", Some(at + 123_456_789));
        check(None, "yesterday", None);
        check(Some("UnixMs"), "1768471200123", Some(at + 123_000_000));
        check(Some("Unix"), "-1.5", Some(-1_500_000_000));
        check(Some("Unix"), "99999999999999999", None);
        check(Some("2006-01-02 15:04:05"), "2026-01-15 10:00:00", Some(at));
        check(Some("%Y-%m-%d %H:%M:%S"), "2026-01-15 10:00:00", Some(at));
        check(Some("%Y-%m-%dT%H:%M:%S%z"), "2026-01-15T11:00:00+0100", Some(at));
        check(Some("%Y-%m-%d"), "2026-01-15", Some(1_768_435_200_000_000_000));
        check(Some("%Y"), "no", None);
    }
}
