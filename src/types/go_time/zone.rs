//! Time zones: UTC, the local one, fixed offsets, and those of the IANA database.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::{OffsetName as _, Tz};

use super::{Clock, Date, calendar};

/// Seconds between the instants at which a zone is asked for abbreviations it ever had: about a quarter.
const ABBREVIATION_STEP_SECONDS: i64 = 91 * 86_400;
/// The years 1840 to 2038, in which abbreviations are looked for.
const ABBREVIATION_RANGE_SECONDS: std::ops::Range<i64> = -4_102_444_800..2_145_916_800;
/// The last year the database has whole; later ones follow the rules of a like year before.
const YEAR_LAST: i64 = 2_098;
/// Years of which each kind, by leap day and first weekday, occurs in the 28 before the last.
const LIKE_YEARS: std::ops::Range<i64> = YEAR_LAST - 28..YEAR_LAST;

/// Where a time is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Zone {
    Utc,
    /// The zone of the process, which is UTC; Go code would tell it from [`Zone::Utc`] only by `%#v`.
    Local,
    /// An offset that a text gave, with the abbreviation it gave or none.
    Fixed {
        abbreviation: Arc<str>,
        offset_seconds: i64,
    },
    Iana(Tz),
}

/// A name that is no zone's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownZone {
    #[error("unknown time zone {0}")]
    NotFound(String),
    #[error("time: invalid location name")]
    NotAName,
}

impl Zone {
    /// Go's `time.LoadLocation`: empty is UTC, `Local` the process's zone, all else a name such as `Europe/Paris`.
    pub fn load(name: &str) -> Result<Self, UnknownZone> {
        match name {
            "" | "UTC" => Ok(Zone::Utc),
            "Local" => Ok(Zone::Local),
            _ if name.contains("..") || name.starts_with(['/', '\\']) => Err(UnknownZone::NotAName),
            _ => name.parse().map(Zone::Iana).map_err(|_| UnknownZone::NotFound(name.to_owned())),
        }
    }

    pub fn fixed(abbreviation: &str, offset_seconds: i64) -> Self {
        Zone::Fixed { abbreviation: abbreviation.into(), offset_seconds }
    }

    /// What Go's `Location.String` says.
    pub fn name(&self) -> &str {
        match self {
            Zone::Utc | Zone::Local => "UTC",
            Zone::Fixed { abbreviation, .. } => abbreviation,
            Zone::Iana(tz) => tz.name(),
        }
    }

    /// Seconds east of UTC at an instant.
    pub fn offset_seconds(&self, unix_seconds: i64) -> i64 {
        match self {
            Zone::Utc | Zone::Local => 0,
            Zone::Fixed { offset_seconds, .. } => *offset_seconds,
            Zone::Iana(tz) => offset_of(*tz, unix_seconds),
        }
    }

    /// `CET`, `+03`; empty for a fixed offset without a name.
    pub fn abbreviation(&self, unix_seconds: i64) -> String {
        match self {
            Zone::Utc | Zone::Local => "UTC".to_owned(),
            Zone::Fixed { abbreviation, .. } => abbreviation.to_string(),
            Zone::Iana(tz) => abbreviation_of(*tz, unix_seconds),
        }
    }

    /// The offset that `abbreviation` stands for, near a local time first and at any other time second.
    pub(super) fn offset_named(&self, abbreviation: &str, local_seconds: i64) -> Option<i64> {
        let tz = match self {
            Zone::Utc | Zone::Local => return (abbreviation == "UTC").then_some(0),
            Zone::Fixed { abbreviation: own, offset_seconds } => {
                return (abbreviation == &**own).then_some(*offset_seconds);
            }
            Zone::Iana(tz) => *tz,
        };
        let half_year = 2 * ABBREVIATION_STEP_SECONDS;
        let near = [local_seconds, local_seconds.wrapping_sub(half_year), local_seconds.wrapping_add(half_year)];
        for instant in near {
            let offset = offset_of(tz, instant);
            let instant = local_seconds.wrapping_sub(offset);
            if abbreviation_of(tz, instant) == abbreviation {
                return Some(offset_of(tz, instant));
            }
        }
        let step = usize::try_from(ABBREVIATION_STEP_SECONDS).unwrap_or(usize::MAX);
        let mut instants = ABBREVIATION_RANGE_SECONDS.step_by(step);
        instants.find(|instant| abbreviation_of(tz, *instant) == abbreviation).map(|instant| offset_of(tz, instant))
    }

    pub(super) fn go_string(&self) -> String {
        match self {
            Zone::Utc => "time.UTC".to_owned(),
            Zone::Local => "time.Local".to_owned(),
            other => format!("time.Location({})", super::duration::quoted(other.name().as_bytes())),
        }
    }
}

/// The instant as the database is asked for it: beyond its years, the same day of a like year.
fn naive(unix_seconds: i64) -> NaiveDateTime {
    let year = calendar::date_of(calendar::absolute_days(unix_seconds)).year;
    let like_seconds = match year > YEAR_LAST {
        true => unix_seconds.wrapping_sub(year_start(year)).wrapping_add(year_start(like_year(year))),
        false => unix_seconds,
    };
    let end = if unix_seconds < 0 { DateTime::<chrono::Utc>::MIN_UTC } else { DateTime::<chrono::Utc>::MAX_UTC };
    DateTime::from_timestamp(like_seconds, 0).unwrap_or(end).naive_utc()
}

/// Unix seconds of 1 January, UTC.
fn year_start(year: i64) -> i64 {
    calendar::local_seconds(Date { year, month: 1, day: 1 }, Clock { hour: 0, minute: 0, second: 0 })
}

fn like_year(year: i64) -> i64 {
    let kind = |year: i64| (calendar::is_leap(year), calendar::weekday_of(calendar::absolute_days(year_start(year))));
    LIKE_YEARS.into_iter().find(|like| kind(*like) == kind(year)).unwrap_or(YEAR_LAST)
}

fn offset_of(tz: Tz, unix_seconds: i64) -> i64 {
    i64::from(tz.offset_from_utc_datetime(&naive(unix_seconds)).fix().local_minus_utc())
}

fn abbreviation_of(tz: Tz, unix_seconds: i64) -> String {
    let offset = tz.offset_from_utc_datetime(&naive(unix_seconds));
    if let Some(name) = offset.abbreviation() {
        return name.to_owned();
    }
    // Zones without letters are called by their offset: `+03`, `-0330`.
    let minutes = i64::from(offset.fix().local_minus_utc()) / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    match (minutes.abs() / 60, minutes.abs() % 60) {
        (hours, 0) => format!("{sign}{hours:02}"),
        (hours, minutes) => format!("{sign}{hours:02}{minutes:02}"),
    }
}
