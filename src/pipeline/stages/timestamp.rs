//! `timestamp`: an extracted value becomes the entry's time.
//!
//! ```yaml
//! - timestamp:
//!     source: time
//!     format: RFC3339Nano        # a Go layout, its name, or Unix, UnixMs, UnixUs, UnixNs
//!     fallback_formats: ["2006-01-02 15:04:05"]
//!     location: Europe/Berlin    # of layouts that have no zone
//!     action_on_failure: fudge   # or skip
//! ```
//! A layout without a year takes the one nearest to now. A value that cannot be read gets the time of the stream's
//! last entry that could, and a nanosecond more (`fudge`, the default), or keeps the time it was read at (`skip`).

use hashbrown::HashMap;
use serde_json::Value as Yaml;

use super::{done, each};
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::LabelSet;
use crate::pipeline::error::StageError;
use crate::pipeline::{Stage, Tools};
use crate::types::go_time::{GoTime, NAMED_LAYOUTS, Zone, parse, parse_in_location};

/// Streams whose last time is remembered, in each of two generations; as many as Promtail's in both.
const STREAMS_MAX: usize = 5_000;

/// How a text becomes a time.
#[derive(Debug, Clone)]
enum Format {
    /// Units in a second: 1, 10³, 10⁶ or 10⁹.
    Unix(i64),
    /// Of a name: zones are in the text or UTC.
    Named(&'static str),
    Layout {
        layout: String,
        zone: Option<Zone>,
    },
    WithoutYear {
        layout: String,
        zone: Option<Zone>,
    },
}

impl Format {
    fn new(written: &str, zone: Option<&Zone>) -> Self {
        let named = NAMED_LAYOUTS.iter().find(|(name, _)| *name == written);
        match written {
            "Unix" => Format::Unix(1),
            "UnixMs" => Format::Unix(1_000),
            "UnixUs" => Format::Unix(1_000_000),
            "UnixNs" => Format::Unix(1_000_000_000),
            _ if named.is_some() => Format::Named(named.map_or("", |(_, layout)| layout)),
            layout if layout.contains("06") => Format::Layout { layout: layout.to_owned(), zone: zone.cloned() },
            layout => Format::WithoutYear { layout: layout.to_owned(), zone: zone.cloned() },
        }
    }

    /// Nanoseconds since the Unix epoch.
    fn read(&self, text: &str, now_ns: i64) -> Option<i64> {
        let at = |layout: &str, zone: &Option<Zone>| match zone {
            Some(zone) => parse_in_location(layout, text, zone).ok(),
            None => parse(layout, text).ok(),
        };
        match self {
            Format::Unix(1) => unix_seconds(text),
            Format::Unix(units) => text.parse::<i64>().ok()?.checked_mul(1_000_000_000 / units),
            Format::Named(layout) => Some(parse(layout, text).ok()?.unix_nanos()),
            Format::Layout { layout, zone } => Some(at(layout, zone)?.unix_nanos()),
            Format::WithoutYear { layout, zone } => {
                nearest_year(&at(layout, zone)?, now_ns).map(|time| time.unix_nanos())
            }
        }
    }
}

fn unix_seconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.contains('.') {
        return None;
    }
    let nanos = fraction.parse::<i64>().ok()? as f64 * 10_f64.powi(9 - i32::try_from(fraction.len()).ok()?);
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos as i64)
}

/// A time without a year is near now: in January, December was last year's, and the other way round.
fn nearest_year(time: &GoTime, now_ns: i64) -> Option<GoTime> {
    let (date, now) = (time.date(), GoTime::from_unix_nanos(now_ns, Zone::Utc).date());
    if date.year != 0 {
        return None;
    }
    let years = match (date.month, now.month) {
        (12, 1) => now.year - 1,
        (1, 12) => now.year + 1,
        _ => now.year,
    };
    Some(time.add_date(years, 0, 0))
}

/// The last time of each stream, in two generations: when the young one is full, the old one goes.
#[derive(Default)]
struct LastTimes {
    young: HashMap<LabelSet, i64>,
    old: HashMap<LabelSet, i64>,
}

impl LastTimes {
    fn set(&mut self, labels: &LabelSet, ts_ns: i64) {
        if let Some(known) = self.young.get_mut(labels) {
            *known = ts_ns;
            return;
        }
        if self.young.len() >= STREAMS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(labels.clone(), ts_ns);
    }

    fn get(&self, labels: &LabelSet) -> Option<i64> {
        self.young.get(labels).or_else(|| self.old.get(labels)).copied()
    }
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let source = body.text("source").unwrap_or_default();
    let format = body.text("format").unwrap_or_default();
    let fallbacks = body.texts("fallback_formats").unwrap_or_default();
    let location = body.text("location");
    let action = body.text("action_on_failure");
    done("timestamp", body, tools)?;
    if source.is_empty() {
        return Err(StageError::new("timestamp source value is required if timestamp is specified"));
    }
    if format.is_empty() {
        return Err(StageError::new("timestamp format is required"));
    }
    let zone = location.map(|name| Zone::load(&name)).transpose();
    let zone = zone.map_err(|error| StageError::new(format!("invalid location specified: {error}")))?;
    let fudges = match action.as_deref() {
        None | Some("fudge") => true,
        Some("skip") => false,
        Some(_) => {
            return Err(StageError::new("invalid action on failure (supported values are [skip fudge])"));
        }
    };
    let written = std::iter::once(&format).chain(&fallbacks);
    let formats: Vec<Format> = written.map(|format| Format::new(format, zone.as_ref())).collect();
    let mut last = LastTimes::default();
    Ok(each("timestamp", move |entry, now_ns| {
        let text = entry.extracted.get(&source).and_then(|value| value.as_text());
        let time = text.and_then(|text| formats.iter().find_map(|format| format.read(&text, now_ns)));
        match time {
            Some(time) => {
                entry.ts_ns = time;
                if fudges {
                    last.set(&entry.labels, time);
                }
            }
            None if fudges => {
                if let Some(before) = last.get(&entry.labels) {
                    entry.ts_ns = before.saturating_add(1);
                    last.set(&entry.labels, entry.ts_ns);
                }
            }
            None => {}
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::{build as pipeline, check_error, entry, run};

    const NOW_NS: i64 = 1_736_942_400_000_000_000; // 2025-01-15T12:00:00Z

    #[test]
    fn formats() {
        let check = |format: &str, zone: Option<&str>, text: &str, expected: Option<&str>| {
            let zone = zone.map(|name| Zone::load(name).expect("a zone"));
            let read = Format::new(format, zone.as_ref()).read(text, NOW_NS);
            let expected = expected.map(|text| {
                parse("RFC3339Nano".replace("RFC3339Nano", crate::types::go_time::RFC3339_NANO), text)
                    .expect("a time")
                    .unix_nanos()
            });
            assert_eq!(read, expected, "{format} {text}");
        };
        check("RFC3339", None, "2012-11-01T22:08:41-04:00", Some("2012-11-02T02:08:41Z"));
        check("RFC3339Nano", None, "2025-10-23T14:32:15.123456Z", Some("2025-10-23T14:32:15.123456Z"));
        check(
            "2006-01-02T15:04:05.999999999Z07:00",
            None,
            "2025-10-23T14:32:15.5+02:00",
            Some("2025-10-23T12:32:15.5Z"),
        );
        check("Unix", None, "1562708916", Some("2019-07-09T21:48:36Z"));
        check("Unix", None, "1562708916.000000123", Some("2019-07-09T21:48:36.000000123Z"));
        check("Unix", None, "1562708916.1.2", None);
        check("UnixMs", None, "1562708916414", Some("2019-07-09T21:48:36.414Z"));
        check("UnixUs", None, "1562708916414123", Some("2019-07-09T21:48:36.414123Z"));
        check("UnixNs", None, "1562708916000000123", Some("2019-07-09T21:48:36.000000123Z"));
        check("2006-01-02 15:04:05", Some("America/New_York"), "2019-07-15 16:43:07", Some("2019-07-15T20:43:07Z"));
        check("Jan _2 15:04:05", None, "Jan  5 10:00:00", Some("2025-01-05T10:00:00Z"));
        check("Jan _2 15:04:05", None, "Dec 31 23:59:59", Some("2024-12-31T23:59:59Z"));
        check("Jan _2 15:04:05", Some("Europe/Berlin"), "Feb  1 00:00:00", Some("2025-01-31T23:00:00Z"));
        check("ANSIC", None, "Mon Jan  2 15:04:05 2006", Some("2006-01-02T15:04:05Z"));
        check("RFC3339", None, "yesterday", None);
    }

    fn times(stages: &str, lines: &[&str]) -> Vec<i64> {
        let entries = lines.iter().map(|line| entry(&[], line)).collect();
        run(&mut pipeline(stages), entries).iter().map(|entry| entry.ts_ns).collect()
    }

    #[test]
    fn what_cannot_be_read() {
        let stages = |more: &str| {
            format!("- regex: {{expression: '(?P<t>\\S+)'}}\n- timestamp: {{source: t, format: Unix{more}}}")
        };
        let lines = ["x", "5", "x", "x", "7"];
        assert_eq!(times(&stages(""), &lines), [0, 5_000_000_000, 5_000_000_001, 5_000_000_002, 7_000_000_000]);
        assert_eq!(times(&stages(", action_on_failure: skip"), &lines), [0, 5_000_000_000, 0, 0, 7_000_000_000]);
        assert_eq!(times(&stages(", fallback_formats: [RFC3339]"), &["1970-01-01T00:00:09Z"]), [9_000_000_000]);
    }

    #[test]
    fn refused() {
        check_error(
            "- timestamp: {}",
            "invalid timestamp stage config: timestamp source value is required if timestamp is specified",
        );
        check_error("- timestamp: {source: a}", "invalid timestamp stage config: timestamp format is required");
        check_error(
            "- timestamp: {source: a, format: Unix, location: Moon}",
            "invalid timestamp stage config: invalid location specified: unknown time zone Moon",
        );
        check_error(
            "- timestamp: {source: a, format: Unix, action_on_failure: x}",
            "invalid timestamp stage config: invalid action on failure (supported values are [skip fudge])",
        );
    }
}
