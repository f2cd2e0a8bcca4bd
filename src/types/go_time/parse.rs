//! A text read by a layout.
//!
//! Looser than writing, as Go is: a fraction of a second may follow the seconds although the layout has none,
//! runs of spaces count as one, months and weekdays are read in any case.

use super::calendar::{days_before, days_in, is_leap};
use super::duration::quoted;
use super::layout::{Element, Offset, next_chunk};
use super::{Clock, Date, GoTime, RFC3339, RFC3339_NANO, Zone};
use super::{MONTH_NAMES, WEEKDAY_NAMES};

/// A text that a layout does not fit; reads as Go's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeParseError {
    /// All four are quoted.
    #[error("parsing time {value} as {layout}: cannot parse {value_part} as {layout_part}")]
    Mismatch { value: String, layout: String, value_part: String, layout_part: String },
    #[error("parsing time {value}: extra text: {rest}")]
    ExtraText { value: String, rest: String },
    /// `part` is `month`, `day`, `second`, …
    #[error("parsing time {value}: {part} out of range")]
    OutOfRange { value: String, part: &'static str },
    #[error("parsing time {value}: day-of-year does not match {part}")]
    YearDayMismatch { value: String, part: &'static str },
}

/// Go's `time.Parse`: a text without zone is in UTC.
pub fn parse(layout: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<GoTime, TimeParseError> {
    parse_with(layout.as_ref(), value.as_ref(), &Zone::Utc, &Zone::Local)
}

/// Go's `time.ParseInLocation`: a text without zone is in `zone`, and abbreviations are that zone's.
pub fn parse_in_location(
    layout: impl AsRef<[u8]>,
    value: impl AsRef<[u8]>,
    zone: &Zone,
) -> Result<GoTime, TimeParseError> {
    parse_with(layout.as_ref(), value.as_ref(), zone, zone)
}

fn parse_with(layout: &[u8], value: &[u8], default: &Zone, local: &Zone) -> Result<GoTime, TimeParseError> {
    let is_rfc3339 = layout == RFC3339.as_bytes() || layout == RFC3339_NANO.as_bytes();
    if let (true, Some(time)) = (is_rfc3339, parse_rfc3339(value, local)) {
        return Ok(time);
    }
    let mut fields = Fields::default();
    let (mut layout_rest, mut rest) = (layout, value);
    loop {
        let chunk = next_chunk(layout_rest);
        let mismatch = |part: &[u8], layout_part: &[u8]| TimeParseError::Mismatch {
            value: quoted(value),
            layout: quoted(layout),
            value_part: quoted(part),
            layout_part: quoted(layout_part),
        };
        rest = skip(rest, chunk.prefix).map_err(|part| mismatch(part, chunk.prefix))?;
        let Some(element) = chunk.element else {
            return match rest {
                [] => fields.into_time(value, default, local),
                _ => Err(TimeParseError::ExtraText { value: quoted(value), rest: quoted(rest) }),
            };
        };
        layout_rest = chunk.rest;
        rest = match fields.read(element, rest, layout_rest) {
            Ok(rest) => rest,
            Err(Fault::Range(part)) => return Err(TimeParseError::OutOfRange { value: quoted(value), part }),
            Err(Fault::Bad) => return Err(mismatch(rest, chunk.written)),
        };
    }
}

enum Fault {
    Bad,
    Range(&'static str),
}

/// What has been read so far.
#[derive(Default)]
struct Fields {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    is_pm: bool,
    is_am: bool,
    is_utc: bool,
    /// Seconds east; −1 counts as none, as in Go.
    offset: Option<i64>,
    abbreviation: String,
}

impl Fields {
    /// Reads one element; the result is what follows it.
    fn read<'v>(&mut self, element: Element, value: &'v [u8], layout: &[u8]) -> Result<&'v [u8], Fault> {
        match element {
            Element::ShortYear => {
                let (digits, rest) = value.split_at_checked(2).ok_or(Fault::Bad)?;
                let year = signed(digits).ok_or(Fault::Bad)?;
                self.year = if year >= 69 { year + 1_900 } else { year + 2_000 };
                Ok(rest)
            }
            Element::LongYear => {
                let (digits, rest) = value.split_at_checked(4).ok_or(Fault::Bad)?;
                self.year = signed(digits).filter(|_| digits[0].is_ascii_digit()).ok_or(Fault::Bad)?;
                Ok(rest)
            }
            Element::ShortMonth | Element::LongMonth => {
                let length = if element == Element::ShortMonth { Some(3) } else { None };
                let (at, rest) = named(&MONTH_NAMES, length, value)?;
                self.month = Some(at + 1);
                Ok(rest)
            }
            Element::Month | Element::ZeroMonth => {
                let (month, rest) = number(value, element == Element::ZeroMonth)?;
                self.month = Some(month);
                in_range("month", (1..=12).contains(&month), rest)
            }
            Element::ShortWeekday => named(&WEEKDAY_NAMES, Some(3), value).map(|(_, rest)| rest),
            Element::LongWeekday => named(&WEEKDAY_NAMES, None, value).map(|(_, rest)| rest),
            Element::Day | Element::SpaceDay | Element::ZeroDay => {
                let value = if element == Element::SpaceDay { without_space(value) } else { value };
                let (day, rest) = number(value, element == Element::ZeroDay)?;
                self.day = Some(day);
                Ok(rest)
            }
            Element::SpaceYearDay | Element::ZeroYearDay => {
                let is_spaced = element == Element::SpaceYearDay;
                let value = if is_spaced { without_space(without_space(value)) } else { value };
                let digits = value.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
                if digits == 0 || !is_spaced && digits != 3 {
                    return Err(Fault::Bad);
                }
                self.year_day = signed(&value[..digits]);
                Ok(&value[digits..])
            }
            Element::Hour => {
                let (hour, rest) = number(value, false)?;
                self.hour = hour;
                in_range("hour", hour < 24, rest)
            }
            Element::Hour12 | Element::ZeroHour12 => {
                let (hour, rest) = number(value, element == Element::ZeroHour12)?;
                self.hour = hour;
                in_range("hour", hour <= 12, rest)
            }
            Element::Minute | Element::ZeroMinute => {
                let (minute, rest) = number(value, element == Element::ZeroMinute)?;
                self.minute = minute;
                in_range("minute", minute < 60, rest)
            }
            Element::Second | Element::ZeroSecond => {
                let (second, rest) = number(value, element == Element::ZeroSecond)?;
                self.second = second;
                let rest = in_range("second", second < 60, rest)?;
                self.read_unasked_fraction(rest, layout)
            }
            Element::UpperPm => self.read_half(value, *b"PM", *b"AM"),
            Element::LowerPm => self.read_half(value, *b"pm", *b"am"),
            Element::Offset(form) => self.read_offset(form, value),
            Element::ZoneName => self.read_zone_name(value),
            Element::Fraction(fraction) if fraction.trims_zeros => match fraction_length(value) {
                0 => Ok(value),
                length => self.read_fraction(value, length),
            },
            Element::Fraction(fraction) => {
                let length = 1 + fraction.digits;
                if value.len() < length { Err(Fault::Bad) } else { self.read_fraction(value, length) }
            }
        }
    }

    /// A fraction that the layout does not have, right after the seconds.
    fn read_unasked_fraction<'v>(&mut self, value: &'v [u8], layout: &[u8]) -> Result<&'v [u8], Fault> {
        let length = fraction_length(value);
        if length == 0 || matches!(next_chunk(layout).element, Some(Element::Fraction(_))) {
            return Ok(value);
        }
        self.read_fraction(value, length)
    }

    /// `length` bytes: a separator and digits, those beyond nanoseconds dropped.
    fn read_fraction<'v>(&mut self, value: &'v [u8], length: usize) -> Result<&'v [u8], Fault> {
        if !matches!(value[0], b'.' | b',') {
            return Err(Fault::Bad);
        }
        let digits = &value[1..length.min(10)];
        let number = signed(digits).ok_or(Fault::Bad)?;
        if number < 0 {
            return Err(Fault::Range("fractional second"));
        }
        let missing = 9_u32.saturating_sub(u32::try_from(digits.len()).unwrap_or(9));
        self.nanos = number * 10_i64.pow(missing);
        Ok(&value[length..])
    }

    fn read_half<'v>(&mut self, value: &'v [u8], pm: [u8; 2], am: [u8; 2]) -> Result<&'v [u8], Fault> {
        let (half, rest) = value.split_at_checked(2).ok_or(Fault::Bad)?;
        match half {
            half if half == pm => self.is_pm = true,
            half if half == am => self.is_am = true,
            _ => return Err(Fault::Bad),
        }
        Ok(rest)
    }

    fn read_offset<'v>(&mut self, form: Offset, value: &'v [u8]) -> Result<&'v [u8], Fault> {
        if let ([b'Z', rest @ ..], true) = (value, form.z_for_utc) {
            self.is_utc = true;
            return Ok(rest);
        }
        let colon = usize::from(form.colons);
        let minute_at = 3 + colon;
        let second_at = minute_at + 2 + colon;
        let length = if form.seconds {
            second_at + 2
        } else if form.minutes {
            minute_at + 2
        } else {
            3
        };
        if value.len() < length
            || form.colons && form.minutes && value[3] != b':'
            || form.colons && form.seconds && value[second_at - 1] != b':'
        {
            return Err(Fault::Bad);
        }
        let part = |at: usize, is_there: bool| match is_there {
            true => number(&value[at..at + 2], true).map(|(number, _)| number),
            false => Ok(0),
        };
        let parts = part(1, true).map(|hour| (hour, part(minute_at, form.minutes)));
        let (hour, minute, second, failed) = match parts {
            Ok((hour, Ok(minute))) => match part(second_at, form.seconds) {
                Ok(second) => (hour, minute, second, false),
                Err(_) => (hour, minute, 0, true),
            },
            Ok((hour, Err(_))) => (hour, 0, 0, true),
            Err(_) => (0, 0, 0, true),
        };
        // Ranges are looked at before faults, and are generous: some write 24 hours or 60 minutes.
        let beyond = [
            (second > 60, "time zone offset second"),
            (minute > 60, "time zone offset minute"),
            (hour > 24, "time zone offset hour"),
        ];
        if let Some((_, part)) = beyond.iter().find(|(is_beyond, _)| *is_beyond) {
            return Err(Fault::Range(part));
        }
        let offset = (hour * 60 + minute) * 60 + second;
        match value[0] {
            _ if failed => return Err(Fault::Bad),
            b'+' => self.offset = Some(offset),
            b'-' => self.offset = Some(-offset).filter(|offset| *offset != -1),
            _ => return Err(Fault::Bad),
        }
        Ok(&value[length..])
    }

    fn read_zone_name<'v>(&mut self, value: &'v [u8]) -> Result<&'v [u8], Fault> {
        if let Some(rest) = value.strip_prefix(b"UTC") {
            self.is_utc = true;
            return Ok(rest);
        }
        let length = zone_name_length(value).ok_or(Fault::Bad)?;
        self.abbreviation = String::from_utf8_lossy(&value[..length]).into_owned();
        Ok(&value[length..])
    }

    fn into_time(mut self, value: &[u8], default: &Zone, local: &Zone) -> Result<GoTime, TimeParseError> {
        if self.is_pm && self.hour < 12 {
            self.hour += 12;
        } else if self.is_am && !self.is_pm && self.hour == 12 {
            self.hour = 0;
        }
        let date = self.date(value)?;
        let clock = Clock { hour: self.hour, minute: self.minute, second: self.second };
        let at = |zone: &Zone| GoTime::from_parts(date, clock, self.nanos, zone.clone());
        if self.is_utc {
            return Ok(at(&Zone::Utc));
        }
        let as_utc = at(&Zone::Utc);
        let shifted = |offset: i64, zone: Zone| {
            GoTime::from_unix(as_utc.unix_seconds().wrapping_sub(offset), i64::from(as_utc.nanosecond()), zone)
        };
        if let Some(offset) = self.offset {
            let time = shifted(offset, local.clone());
            let is_local = time.offset_seconds() == offset
                && (self.abbreviation.is_empty() || time.zone_abbreviation() == self.abbreviation);
            return Ok(if is_local { time } else { time.in_zone(Zone::fixed(&self.abbreviation, offset)) });
        }
        if !self.abbreviation.is_empty() {
            if let Some(offset) = local.offset_named(&self.abbreviation, as_utc.unix_seconds()) {
                return Ok(shifted(offset, local.clone()));
            }
            // Unknown here: the name is kept, with an offset only if it tells one. The clock is read as UTC.
            let hours = self.abbreviation.strip_prefix("GMT").and_then(|hours| signed(hours.as_bytes())).unwrap_or(0);
            return Ok(as_utc.in_zone(Zone::fixed(&self.abbreviation, hours * 3_600)));
        }
        Ok(at(default))
    }

    fn date(&self, value: &[u8]) -> Result<Date, TimeParseError> {
        let beyond = |part| TimeParseError::OutOfRange { value: quoted(value), part };
        let (mut month, mut day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if let Some(year_day) = self.year_day {
            (month, day) = month_and_day(self.year, year_day).ok_or_else(|| beyond("day-of-year"))?;
            let unlike = |part| TimeParseError::YearDayMismatch { value: quoted(value), part };
            if self.month.is_some_and(|seen| seen != month) {
                return Err(unlike("month"));
            }
            if self.day.is_some_and(|seen| seen != day) {
                return Err(unlike("day"));
            }
        }
        if day < 1 || day > days_in(month, self.year) {
            return Err(beyond("day"));
        }
        Ok(Date { year: self.year, month, day })
    }
}

fn month_and_day(year: i64, year_day: i64) -> Option<(i64, i64)> {
    let after_february = 31 + 29;
    let year_day = match (is_leap(year), year_day) {
        (true, day) if day == after_february => return Some((2, 29)),
        (true, day) if day > after_february => day - 1,
        (_, day) => day,
    };
    let month = (1..=12).rev().find(|month| days_before(*month) < year_day)?;
    (1..=365).contains(&year_day).then_some((month, year_day - days_before(month)))
}

fn parse_rfc3339(value: &[u8], local: &Zone) -> Option<GoTime> {
    let (head, mut rest) = value.split_at_checked("2006-01-02T15:04:05".len())?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| head[*at] != *mark) {
        return None;
    }
    let part = |from: usize, to: usize, low: i64, high: i64| unsigned(&head[from..to], low, high);
    let (year, month) = (part(0, 4, 0, 9_999)?, part(5, 7, 1, 12)?);
    let date = Date { year, month, day: part(8, 10, 1, days_in(month, year))? };
    let clock = Clock { hour: part(11, 13, 0, 23)?, minute: part(14, 16, 0, 59)?, second: part(17, 19, 0, 59)? };
    let mut fields = Fields::default();
    if rest.first() == Some(&b'.') && fraction_length(rest) > 0 {
        rest = fields.read_fraction(rest, fraction_length(rest)).ok()?;
    }
    let time = GoTime::from_parts(date, clock, fields.nanos, Zone::Utc);
    let (sign, hour, minute) = match rest {
        b"Z" => return Some(time),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            (*sign, unsigned(&[*h1, *h2], 0, 23)?, unsigned(&[*m1, *m2], 0, 59)?)
        }
        _ => return None,
    };
    let offset = (hour * 60 + minute) * if sign == b'-' { -60 } else { 60 };
    let seconds = time.unix_seconds() - offset;
    let is_local = local.offset_seconds(seconds) == offset;
    let zone = if is_local { local.clone() } else { Zone::fixed("", offset) };
    Some(GoTime::from_unix(seconds, fields.nanos, zone))
}

fn in_range<'v>(part: &'static str, is_inside: bool, rest: &'v [u8]) -> Result<&'v [u8], Fault> {
    if is_inside { Ok(rest) } else { Err(Fault::Range(part)) }
}

/// Removes text of the layout, runs of spaces being alike; the error is where it does not fit.
fn skip<'v>(mut value: &'v [u8], mut prefix: &[u8]) -> Result<&'v [u8], &'v [u8]> {
    while let Some((first, after)) = prefix.split_first() {
        if *first == b' ' {
            if value.first().is_some_and(|byte| *byte != b' ') {
                return Err(value);
            }
            prefix = without_spaces(prefix);
            value = without_spaces(value);
            continue;
        }
        value = value.strip_prefix(&[*first]).ok_or(value)?;
        prefix = after;
    }
    Ok(value)
}

fn without_spaces(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|byte| **byte == b' ').count()..]
}

fn without_space(value: &[u8]) -> &[u8] {
    value.strip_prefix(b" ").unwrap_or(value)
}

/// One or two digits; `two` wants both.
fn number(value: &[u8], two: bool) -> Result<(i64, &[u8]), Fault> {
    let digit = |at: usize| value.get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| i64::from(byte - b'0'));
    match (digit(0), digit(1)) {
        (Some(tens), Some(ones)) => Ok((tens * 10 + ones, &value[2..])),
        (Some(ones), None) if !two => Ok((ones, &value[1..])),
        _ => Err(Fault::Bad),
    }
}

/// Digits with an optional sign; none at all is zero.
fn signed(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [sign @ (b'-' | b'+'), digits @ ..] => (*sign == b'-', digits),
        _ => (false, text),
    };
    let number = digits.iter().try_fold(0_i64, |number, byte| {
        if !byte.is_ascii_digit() {
            return None;
        }
        number.checked_mul(10)?.checked_add(i64::from(byte - b'0'))
    })?;
    Some(if is_negative { -number } else { number })
}

fn unsigned(digits: &[u8], low: i64, high: i64) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    signed(digits).filter(|number| (low..=high).contains(number))
}

/// The place in `names` of the name, or its first bytes, that `value` begins with.
fn named<'v>(names: &[&str], length: Option<usize>, value: &'v [u8]) -> Result<(i64, &'v [u8]), Fault> {
    for (at, name) in (0_i64..).zip(names) {
        let name = &name.as_bytes()[..length.unwrap_or(name.len())];
        if let Some((head, rest)) = value.split_at_checked(name.len())
            && head.eq_ignore_ascii_case(name)
        {
            return Ok((at, rest));
        }
    }
    Err(Fault::Bad)
}

/// Bytes of a separator and the digits after it; zero when there is no fraction.
fn fraction_length(value: &[u8]) -> usize {
    match value {
        [b'.' | b',', digits @ ..] => match digits.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            0 => 0,
            count => count + 1,
        },
        _ => 0,
    }
}

/// Bytes of what looks like an abbreviation: three capitals, four or five that end in `T`, `GMT+3`, `+03`.
fn zone_name_length(value: &[u8]) -> Option<usize> {
    if value.len() < 3 {
        return None;
    }
    if value.starts_with(b"ChST") || value.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(hours) = value.strip_prefix(b"GMT") {
        return Some(3 + signed_offset_length(hours));
    }
    if matches!(value[0], b'+' | b'-') {
        return Some(signed_offset_length(value)).filter(|length| *length > 0);
    }
    match value.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count() {
        5 if value[4] == b'T' => Some(5),
        4 if value[3] == b'T' || value.starts_with(b"WITA") => Some(4),
        3 => Some(3),
        _ => None,
    }
}

/// Bytes of `+03` or `-4`, hours up to 23; zero when there are none.
fn signed_offset_length(value: &[u8]) -> usize {
    let [b'+' | b'-', digits @ ..] = value else { return 0 };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match signed(&digits[..count]) {
        Some(hours) if count > 0 && hours <= 23 => 1 + count,
        _ => 0,
    }
}
