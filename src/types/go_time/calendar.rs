//! Days and dates of the proleptic Gregorian calendar, for every instant of 64-bit seconds.
//!
//! Days are counted from 1 March of a year far before all instants, so that they are unsigned and February, with
//! its changing length, ends the year.

use super::{Clock, Date};

const SECONDS_PER_DAY: u64 = 86_400;
const DAYS_PER_400_YEARS: u64 = 146_097;
/// Years before year 0 at which days begin; a multiple of 400.
const ABSOLUTE_YEARS: i64 = 292_277_022_400;
/// Days from 1 March to the end of the year.
const MARCH_THROUGH_DECEMBER: u64 = 306;
/// Days from 1 January of year 1 to the Unix epoch.
const YEAR_ONE_TO_UNIX_DAYS: u64 = 719_162;
const UNIX_TO_ABSOLUTE_DAYS: u64 =
    ABSOLUTE_YEARS.unsigned_abs() / 400 * DAYS_PER_400_YEARS + MARCH_THROUGH_DECEMBER + YEAR_ONE_TO_UNIX_DAYS;
const UNIX_TO_ABSOLUTE_SECONDS: u64 = UNIX_TO_ABSOLUTE_DAYS.wrapping_mul(SECONDS_PER_DAY);

/// Days since the absolute zero, of Unix seconds shifted by the zone's offset.
#[derive(Clone, Copy)]
pub(super) struct AbsoluteDays(u64);

fn absolute_seconds(local_seconds: i64) -> u64 {
    local_seconds.cast_unsigned().wrapping_add(UNIX_TO_ABSOLUTE_SECONDS)
}

pub(super) fn absolute_days(local_seconds: i64) -> AbsoluteDays {
    AbsoluteDays(absolute_seconds(local_seconds) / SECONDS_PER_DAY)
}

pub(super) fn clock_of(local_seconds: i64) -> Clock {
    let second_of_day = (absolute_seconds(local_seconds) % SECONDS_PER_DAY).cast_signed();
    Clock { hour: second_of_day / 3_600, minute: second_of_day / 60 % 60, second: second_of_day % 60 }
}

/// Century, year in it and day of the year that begins in March.
fn split(days: AbsoluteDays) -> (u64, u64, u64) {
    let quarter_days = days.0.wrapping_mul(4).wrapping_add(3);
    let in_century = (quarter_days % DAYS_PER_400_YEARS) | 3;
    (quarter_days / DAYS_PER_400_YEARS, in_century / 1_461, in_century % 1_461 / 4)
}

fn is_january_or_february(march_day: u64) -> bool {
    march_day >= MARCH_THROUGH_DECEMBER
}

pub(super) fn date_of(days: AbsoluteDays) -> Date {
    let (century, century_year, march_day) = split(days);
    let months = 5 * march_day + 461;
    let early = i64::from(is_january_or_february(march_day));
    Date {
        year: (century * 100 + century_year).cast_signed() - ABSOLUTE_YEARS + early,
        month: (months / 153).cast_signed() - 12 * early,
        day: (months % 153 / 5).cast_signed() + 1,
    }
}

pub(super) fn year_day_of(days: AbsoluteDays) -> i64 {
    let (century, century_year, march_day) = split(days);
    if is_january_or_february(march_day) {
        return (march_day - MARCH_THROUGH_DECEMBER).cast_signed() + 1;
    }
    let is_leap = century_year % 4 == 0 && (century_year != 0 || century % 4 == 0);
    march_day.cast_signed() + 1 + 31 + 28 + i64::from(is_leap)
}

pub(super) fn weekday_of(days: AbsoluteDays) -> i64 {
    // 1 March of the absolute year, as that of 2000, was a Wednesday.
    (days.0.wrapping_add(3) % 7).cast_signed()
}

/// Seconds since the Unix epoch of a date and clock read as UTC; parts beyond their range carry over.
pub(super) fn local_seconds(date: Date, clock: Clock) -> i64 {
    let months = date.month.wrapping_sub(1);
    let year = date.year.wrapping_add(months.div_euclid(12));
    let month = months.rem_euclid(12) + 1;
    let days = days_of(year, month).wrapping_add(date.day.wrapping_sub(1).cast_unsigned());
    let day_seconds = days.wrapping_sub(UNIX_TO_ABSOLUTE_DAYS).wrapping_mul(SECONDS_PER_DAY).cast_signed();
    let clock_seconds =
        clock.hour.wrapping_mul(3_600).wrapping_add(clock.minute.wrapping_mul(60)).wrapping_add(clock.second);
    day_seconds.wrapping_add(clock_seconds)
}

/// Absolute days to the first of a month, 1 to 12.
fn days_of(year: i64, month: i64) -> u64 {
    let early = month < 3;
    let month = if early { month + 12 } else { month };
    let march_year = year.wrapping_sub(i64::from(early)).wrapping_add(ABSOLUTE_YEARS).cast_unsigned();
    let year_days = ((153 * month - 457) / 5).cast_unsigned();
    let (century, century_year) = (march_year / 100, march_year % 100);
    (DAYS_PER_400_YEARS.wrapping_mul(century) / 4).wrapping_add(1_461 * century_year / 4).wrapping_add(year_days)
}

pub(super) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month, 1 to 12.
pub(super) fn days_in(month: i64, year: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of a common year before a month, 1 to 13.
pub(super) fn days_before(month: i64) -> i64 {
    (1..month).map(|month| days_in(month, 1)).sum()
}
