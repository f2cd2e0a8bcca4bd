//! Go's `time`: instants in zones, layouts such as `2006-01-02T15:04:05Z07:00`, durations such as `1h30m`.
//!
//! ```text
//! text ─▶ parse (layout) ─▶ GoTime = Unix seconds + nanoseconds + Zone ─▶ format (layout) ─▶ text
//!                                        └─ calendar: year, month, day of the proleptic Gregorian calendar
//! ```
//!
//! Invariants: `nanos < 1_000_000_000`; arithmetic wraps where Go's wraps, so no instant panics.
//! `Local` is UTC: the process has no time zone of its own.
//! Zones are those of tzdata through `chrono-tz`, whose rules go on beyond its last year as Go's do.
//! Errors: [`TimeParseError`], [`UnknownZone`] and [`DurationError`] read as Go's texts.

mod calendar;
mod duration;
mod format;
mod layout;
mod parse;
#[cfg(test)]
mod tests;
mod zone;

pub use duration::{
    DurationError, duration_seconds, format_duration, parse_duration, round_duration, truncate_duration,
};
pub use parse::{TimeParseError, parse, parse_in_location};
pub use zone::{UnknownZone, Zone};

pub const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
pub const RFC3339_NANO: &str = "2006-01-02T15:04:05.999999999Z07:00";
/// The layouts that Go's `time` gives names to, as configuration files of Promtail use them.
pub const NAMED_LAYOUTS: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", RFC3339),
    ("RFC3339Nano", RFC3339_NANO),
];
/// How Go prints a time that is given no layout.
pub const DEFAULT_LAYOUT: &str = "2006-01-02 15:04:05.999999999 -0700 MST";

/// Seconds from year 1, where Go's zero time is, to the Unix epoch.
const ZERO_TIME_SECONDS: i64 = -62_135_596_800;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// An instant with the zone it is shown in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoTime {
    unix_seconds: i64,
    nanos: u32,
    zone: Zone,
}

/// A date of the calendar, in some zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

/// A time of day, in some zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

pub const MONTH_NAMES: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub const WEEKDAY_NAMES: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl GoTime {
    /// Go's `time.Unix`: `nanos` may be negative or beyond a second.
    pub fn from_unix(seconds: i64, nanos: i64, zone: Zone) -> Self {
        let seconds = seconds.wrapping_add(nanos.div_euclid(NANOS_PER_SECOND));
        let nanos = u32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).expect("a remainder by 10⁹ fits 32 bits");
        GoTime { unix_seconds: seconds, nanos, zone }
    }

    /// Nanoseconds since the Unix epoch.
    pub fn from_unix_nanos(nanos: i64, zone: Zone) -> Self {
        GoTime::from_unix(0, nanos, zone)
    }

    /// 1 January of year 1, UTC: Go's zero time.
    pub fn zero() -> Self {
        GoTime { unix_seconds: ZERO_TIME_SECONDS, nanos: 0, zone: Zone::Utc }
    }

    /// Go's `time.Date`: parts beyond their range carry over; a local time that does not exist or exists twice
    /// gets one of its two offsets, as Go chooses.
    pub fn from_parts(date: Date, clock: Clock, nanos: i64, zone: Zone) -> Self {
        let local = calendar::local_seconds(date, clock).wrapping_add(nanos.div_euclid(NANOS_PER_SECOND));
        let nanos = u32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).expect("a remainder by 10⁹ fits 32 bits");
        let guess = zone.offset_seconds(local);
        let offset = if guess == 0 { 0 } else { zone.offset_seconds(local.wrapping_sub(guess)) };
        GoTime { unix_seconds: local.wrapping_sub(offset), nanos, zone }
    }

    pub fn is_zero(&self) -> bool {
        self.unix_seconds == ZERO_TIME_SECONDS && self.nanos == 0
    }

    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The same instant, shown in another zone.
    pub fn in_zone(&self, zone: Zone) -> Self {
        GoTime { unix_seconds: self.unix_seconds, nanos: self.nanos, zone }
    }

    pub fn unix_seconds(&self) -> i64 {
        self.unix_seconds
    }

    /// The part of the second.
    pub fn nanosecond(&self) -> u32 {
        self.nanos
    }

    pub fn unix_millis(&self) -> i64 {
        self.unix_seconds.wrapping_mul(1_000).wrapping_add(i64::from(self.nanos / 1_000_000))
    }

    pub fn unix_micros(&self) -> i64 {
        self.unix_seconds.wrapping_mul(1_000_000).wrapping_add(i64::from(self.nanos / 1_000))
    }

    /// Wraps outside the years 1678 to 2262, as Go's `UnixNano`.
    pub fn unix_nanos(&self) -> i64 {
        self.unix_seconds.wrapping_mul(NANOS_PER_SECOND).wrapping_add(i64::from(self.nanos))
    }

    pub fn date(&self) -> Date {
        calendar::date_of(calendar::absolute_days(self.local_seconds()))
    }

    pub fn clock(&self) -> Clock {
        calendar::clock_of(self.local_seconds())
    }

    /// 1 to 366.
    pub fn year_day(&self) -> i64 {
        calendar::year_day_of(calendar::absolute_days(self.local_seconds()))
    }

    /// 0 is Sunday.
    pub fn weekday(&self) -> i64 {
        calendar::weekday_of(calendar::absolute_days(self.local_seconds()))
    }

    /// Seconds east of UTC.
    pub fn offset_seconds(&self) -> i64 {
        self.zone.offset_seconds(self.unix_seconds)
    }

    /// The zone's abbreviation at this instant: `CET`, `+03`, empty for an unnamed fixed offset.
    pub fn zone_abbreviation(&self) -> String {
        self.zone.abbreviation(self.unix_seconds)
    }

    pub fn add_nanos(&self, nanos: i64) -> Self {
        let sum = i64::from(self.nanos) + nanos % NANOS_PER_SECOND;
        let seconds = self.unix_seconds.wrapping_add(nanos / NANOS_PER_SECOND);
        GoTime::from_unix(seconds, sum, self.zone.clone())
    }

    pub fn add_date(&self, years: i64, months: i64, days: i64) -> Self {
        let date = self.date();
        let date = Date {
            year: date.year.wrapping_add(years),
            month: date.month.wrapping_add(months),
            day: date.day.wrapping_add(days),
        };
        GoTime::from_parts(date, self.clock(), i64::from(self.nanos), self.zone.clone())
    }

    /// Nanoseconds from `earlier` to this, kept within 64 bits.
    pub fn since(&self, earlier: &GoTime) -> i64 {
        let seconds = i128::from(self.unix_seconds) - i128::from(earlier.unix_seconds);
        let nanos = seconds * i128::from(NANOS_PER_SECOND) + i128::from(self.nanos) - i128::from(earlier.nanos);
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }

    /// Order on the time line, whatever the zones.
    pub fn compare(&self, other: &GoTime) -> std::cmp::Ordering {
        (self.unix_seconds, self.nanos).cmp(&(other.unix_seconds, other.nanos))
    }

    /// Rounded down to a multiple of `step_nanos` since Go's zero time; no step leaves it as it is.
    pub fn truncate(&self, step_nanos: i64) -> Self {
        match self.remainder(step_nanos) {
            0 => self.clone(),
            remainder => self.add_nanos(-remainder),
        }
    }

    /// Rounded to the nearest multiple of `step_nanos` since Go's zero time, halves up.
    pub fn round(&self, step_nanos: i64) -> Self {
        match self.remainder(step_nanos) {
            0 => self.clone(),
            remainder if remainder < step_nanos - remainder => self.add_nanos(-remainder),
            remainder => self.add_nanos(step_nanos - remainder),
        }
    }

    fn remainder(&self, step_nanos: i64) -> i64 {
        if step_nanos <= 0 {
            return 0;
        }
        let since_zero = (i128::from(self.unix_seconds) - i128::from(ZERO_TIME_SECONDS)) * i128::from(NANOS_PER_SECOND)
            + i128::from(self.nanos);
        i64::try_from(since_zero.rem_euclid(i128::from(step_nanos))).unwrap_or(0)
    }

    fn local_seconds(&self) -> i64 {
        self.unix_seconds.wrapping_add(self.offset_seconds())
    }
}
