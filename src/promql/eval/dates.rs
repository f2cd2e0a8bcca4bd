//! Parts of dates, UTC.

use chrono::{DateTime, Datelike, Months, NaiveDate, Timelike, Utc};

/// The function that takes a part of a time in seconds since the epoch.
pub(in crate::promql) fn part(name: &str) -> Option<fn(i64) -> f64> {
    Some(match name {
        "minute" => |at| of(at, |time| time.minute()),
        "hour" => |at| of(at, |time| time.hour()),
        "day_of_week" => |at| of(at, |time| time.weekday().num_days_from_sunday()),
        "day_of_month" => |at| of(at, |time| time.day()),
        "day_of_year" => |at| of(at, |time| time.ordinal()),
        "days_in_month" => |at| of(at, days_in_month),
        "month" => |at| of(at, |time| time.month()),
        "year" => |at| DateTime::from_timestamp(at, 0).map_or(f64::NAN, |time| f64::from(time.year())),
        _ => return None,
    })
}

/// Whole seconds; a time beyond all calendars for what is no number.
pub(super) fn seconds(value: f64) -> i64 {
    if value.is_nan() { i64::MIN } else { value as i64 }
}

fn of(at: i64, part: impl Fn(DateTime<Utc>) -> u32) -> f64 {
    DateTime::from_timestamp(at, 0).map_or(f64::NAN, |time| f64::from(part(time)))
}

fn days_in_month(time: DateTime<Utc>) -> u32 {
    let first = NaiveDate::from_ymd_opt(time.year(), time.month(), 1);
    let next = first.and_then(|first| first.checked_add_months(Months::new(1)));
    let last = next.and_then(|next| next.pred_opt());
    last.map_or(31, |last| last.day())
}
