//! Durations in parameters and texts, as Prometheus reads and prints them.
//!
//! Errors: [`DurationError`], with the text Prometheus gives.

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("empty duration string")]
    Empty,
    #[error("not a valid duration string: {0:?}")]
    NotADuration(String),
    #[error("unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit { unit: String, text: String },
    #[error("duration out of range")]
    OutOfRange,
}

const PROMETHEUS_UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A Prometheus duration in nanoseconds: whole numbers, units from large to small, each once.
pub fn parse_prometheus_duration(text: &str) -> Result<i64, DurationError> {
    match text {
        "0" => return Ok(0),
        "" => return Err(DurationError::Empty),
        _ => {}
    }
    let malformed = || DurationError::NotADuration(text.to_owned());
    let (mut rest, mut total_ms, mut units_from) = (text, 0i64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| malformed())?;
        rest = &rest[digits..];
        let unit = &rest[..rest.bytes().take_while(|byte| !byte.is_ascii_digit()).count()];
        if unit.is_empty() {
            return Err(malformed());
        }
        rest = &rest[unit.len()..];
        let Some(at) = PROMETHEUS_UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
        };
        if at < units_from {
            return Err(malformed());
        }
        units_from = at + 1;
        let part = i64::try_from(number).ok().and_then(|number| number.checked_mul(PROMETHEUS_UNITS[at].1));
        total_ms = part.and_then(|part| total_ms.checked_add(part)).ok_or(DurationError::OutOfRange)?;
    }
    total_ms.checked_mul(1_000_000).ok_or(DurationError::OutOfRange)
}

/// As Prometheus prints a duration: `30d1h`, `1h30m`, `0s`. Years and weeks only where they are whole.
pub fn format_prometheus_duration(nanos: i64) -> String {
    let mut rest = nanos / 1_000_000;
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if rest < 0 {
        out.push('-');
        rest = -rest;
    }
    for (unit, size_ms) in PROMETHEUS_UNITS {
        let only_whole = matches!(unit, "y" | "w");
        if only_whole && rest % size_ms != 0 {
            continue;
        }
        if rest / size_ms > 0 {
            out.push_str(&format!("{}{unit}", rest / size_ms));
            rest %= size_ms;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_printed() {
        let check = |text: &str, nanos: i64, printed: &str| {
            if let Ok(read) = parse_prometheus_duration(text) {
                assert_eq!(read, nanos, "{text}");
            }
            assert_eq!(format_prometheus_duration(nanos), printed, "{text}");
        };
        let second = 1_000_000_000;
        check("0", 0, "0s");
        check("250ms", second / 4, "250ms");
        check("1.5s", 3 * second / 2, "1s500ms");
        check("90s", 90 * second, "1m30s");
        check("1h30m", 5_400 * second, "1h30m");
        check("721h", 721 * 3_600 * second, "30d1h");
        check("7d", 7 * 86_400 * second, "1w");
        check("8d", 8 * 86_400 * second, "8d");
        check("1y", 365 * 86_400 * second, "1y");
        check("10us", 10_000, "0s");
    }

    #[test]
    fn what_is_no_prometheus_duration() {
        let check = |text: &str, expected: &str| {
            assert_eq!(parse_prometheus_duration(text).map_err(|e| e.to_string()), Err(expected.to_owned()), "{text}");
        };
        check("", "empty duration string");
        check("5x", "unknown unit \"x\" in duration \"5x\"");
        check("5", "not a valid duration string: \"5\"");
        check("1m1h", "not a valid duration string: \"1m1h\"");
        check("1m1m", "not a valid duration string: \"1m1m\"");
        check("-1m", "not a valid duration string: \"-1m\"");
        check("300y", "duration out of range");
        check("99999999999999999999s", "not a valid duration string: \"99999999999999999999s\"");
    }
}
