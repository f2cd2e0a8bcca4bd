//! Durations and sizes as people write them in Loki's configuration.
//!
//! Durations: `30s`, `1h30m`, `250ms` (Go) and `7d`, `1w` (Prometheus); `0` needs no unit.
//! Sizes: a number of bytes, or with `B KB MB GB TB PB` (and `KiB` …), each 1024 times the one before.
//! Errors: [`UnitError`], with the text Prometheus gives where a client sees it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("empty duration string")]
    Empty,
    #[error("not a valid duration string: {0:?}")]
    NotADuration(String),
    #[error("unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit { unit: String, text: String },
    #[error("duration out of range")]
    OutOfRange,
    #[error("not a size: {0:?} (a number of bytes, or like 64MB)")]
    NotASize(String),
}

/// A span of time in a configuration file; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ConfigDuration(pub Duration);

/// A number of bytes in a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

impl ConfigDuration {
    pub const fn from_secs(seconds: u64) -> Self {
        ConfigDuration(Duration::from_secs(seconds))
    }

    pub const fn from_millis(millis: u64) -> Self {
        ConfigDuration(Duration::from_millis(millis))
    }

    /// Nanoseconds, at most `i64::MAX`.
    pub fn nanos(self) -> i64 {
        i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)
    }
}

impl ByteSize {
    pub const fn mib(mebibytes: u64) -> Self {
        ByteSize(mebibytes << 20)
    }

    pub fn usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
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
pub fn parse_prometheus_duration(text: &str) -> Result<i64, UnitError> {
    match text {
        "0" => return Ok(0),
        "" => return Err(UnitError::Empty),
        _ => {}
    }
    let malformed = || UnitError::NotADuration(text.to_owned());
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
            return Err(UnitError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
        };
        if at < units_from {
            return Err(malformed());
        }
        units_from = at + 1;
        let part = i64::try_from(number).ok().and_then(|number| number.checked_mul(PROMETHEUS_UNITS[at].1));
        total_ms = part.and_then(|part| total_ms.checked_add(part)).ok_or(UnitError::OutOfRange)?;
    }
    total_ms.checked_mul(1_000_000).ok_or(UnitError::OutOfRange)
}

/// A duration of either kind; what is written with Go's fractions and small units works too.
fn parse_any_duration(text: &str) -> Result<Duration, UnitError> {
    if let Ok(nanos) = parse_prometheus_duration(text) {
        return Ok(Duration::from_nanos(nanos.unsigned_abs()));
    }
    let malformed = || UnitError::NotADuration(text.to_owned());
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let number: f64 = rest[..digits].parse().map_err(|_| malformed())?;
        rest = &rest[digits..];
        let unit = &rest[..rest.bytes().take_while(|byte| !byte.is_ascii_digit() && *byte != b'.').count()];
        rest = &rest[unit.len()..];
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(UnitError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() }),
            };
    }
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| UnitError::OutOfRange)
}

fn parse_size(text: &str) -> Result<u64, UnitError> {
    let malformed = || UnitError::NotASize(text.to_owned());
    let text_trimmed = text.trim();
    let digits = text_trimmed.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let number: f64 = text_trimmed[..digits].parse().map_err(|_| malformed())?;
    let factor: u64 = match text_trimmed[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        "p" | "pb" | "pib" => 1 << 50,
        _ => return Err(malformed()),
    };
    Ok((number * factor as f64) as u64)
}

/// As Go prints a `time.Duration`: `744h0m0s`, `1m30s`, `250ms`.
pub fn format_go_duration(nanos: i64) -> String {
    let magnitude = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    if magnitude == 0 {
        return "0s".to_owned();
    }
    if magnitude < 1_000_000_000 {
        let (unit, size) = match magnitude {
            0..1_000 => ("ns", 1.0),
            1_000..1_000_000 => ("µs", 1e3),
            _ => ("ms", 1e6),
        };
        return format!("{sign}{}{unit}", magnitude as f64 / size);
    }
    let (seconds, fraction) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
    let mut last = (seconds % 60).to_string();
    if fraction > 0 {
        last.push_str(format!(".{fraction:09}").trim_end_matches('0'));
    }
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{sign}{last}s"),
        (0, minutes) => format!("{sign}{minutes}m{last}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{last}s"),
    }
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

impl fmt::Display for ConfigDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_go_duration(self.nanos()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(50, "PB"), (40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// A number or a text, as YAML gives them.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Integer(u64),
    Float(f64),
    Text(String),
}

impl fmt::Display for NumberOrText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NumberOrText::Integer(number) => number.fmt(f),
            NumberOrText::Float(number) => number.fmt(f),
            NumberOrText::Text(text) => f.write_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for ConfigDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = NumberOrText::deserialize(from)?.to_string();
        parse_any_duration(&text).map(ConfigDuration).map_err(serde::de::Error::custom)
    }
}

impl Serialize for ConfigDuration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = NumberOrText::deserialize(from)?.to_string();
        parse_size(&text).map(ByteSize).map_err(serde::de::Error::custom)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_printed() {
        let check = |text: &str, nanos: i64, go: &str, prometheus: &str| {
            let read = parse_any_duration(text).map(|duration| duration.as_nanos() as i64);
            assert_eq!(read, Ok(nanos), "{text}");
            assert_eq!(format_go_duration(nanos), go, "{text}");
            assert_eq!(format_prometheus_duration(nanos), prometheus, "{text}");
        };
        let second = 1_000_000_000;
        check("0", 0, "0s", "0s");
        check("250ms", second / 4, "250ms", "250ms");
        check("1.5s", 3 * second / 2, "1.5s", "1s500ms");
        check("90s", 90 * second, "1m30s", "1m30s");
        check("1h30m", 5_400 * second, "1h30m0s", "1h30m");
        check("721h", 721 * 3_600 * second, "721h0m0s", "30d1h");
        check("7d", 7 * 86_400 * second, "168h0m0s", "1w");
        check("8d", 8 * 86_400 * second, "192h0m0s", "8d");
        check("1y", 365 * 86_400 * second, "8760h0m0s", "1y");
        check("10us", 10_000, "10µs", "0s");
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

    #[test]
    fn sizes_read_and_printed() {
        let check = |text: &str, bytes: Option<u64>, printed: &str| {
            let read = parse_size(text).ok();
            assert_eq!(read, bytes, "{text}");
            assert_eq!(read.map_or(String::new(), |bytes| ByteSize(bytes).to_string()), printed, "{text}");
        };
        check("1024", Some(1024), "1KB");
        check("3MB", Some(3 << 20), "3MB");
        check("1.5GB", Some(3 << 29), "1536MB");
        check("64 MiB", Some(64 << 20), "64MB");
        check("1001", Some(1001), "1001");
        check("many", None, "");
        check("3 parsecs", None, "");
    }
}
