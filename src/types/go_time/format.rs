//! A time written by a layout.

use std::io::Write as _;

use super::layout::{Element, Fraction, Offset, next_chunk};
use super::{DEFAULT_LAYOUT, GoTime, MONTH_NAMES, RFC3339, RFC3339_NANO, WEEKDAY_NAMES};

impl GoTime {
    /// Go's `Time.Format`.
    pub fn format(&self, layout: &str) -> String {
        let mut out = Vec::with_capacity(layout.len() + 10);
        self.format_into(layout.as_bytes(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Appends the time as `layout` says; text between the elements is copied byte by byte.
    pub fn format_into(&self, layout: &[u8], out: &mut Vec<u8>) {
        if layout == RFC3339.as_bytes() || layout == RFC3339_NANO.as_bytes() {
            return self.format_rfc3339(layout == RFC3339_NANO.as_bytes(), out);
        }
        let mut rest = layout;
        while !rest.is_empty() {
            let chunk = next_chunk(rest);
            out.extend_from_slice(chunk.prefix);
            let Some(element) = chunk.element else { return };
            self.format_element(element, out);
            rest = chunk.rest;
        }
    }

    /// RFC 3339 with the seconds of an offset cut, as Go's short way does it.
    fn format_rfc3339(&self, with_nanos: bool, out: &mut Vec<u8>) {
        let (date, clock) = (self.date(), self.clock());
        push_number(date.year, 4, out);
        for (mark, number) in [(b'-', date.month), (b'-', date.day), (b'T', clock.hour), (b':', clock.minute)] {
            out.push(mark);
            push_number(number, 2, out);
        }
        out.push(b':');
        push_number(clock.second, 2, out);
        if with_nanos {
            push_fraction(self.nanosecond(), Fraction { digits: 9, trims_zeros: true, separator: b'.' }, out);
        }
        let offset = self.offset_seconds();
        if offset == 0 {
            out.push(b'Z');
            return;
        }
        let minutes = offset / 60;
        out.push(if minutes < 0 { b'-' } else { b'+' });
        push_number(minutes.abs() / 60, 2, out);
        out.push(b':');
        push_number(minutes.abs() % 60, 2, out);
    }

    fn format_element(&self, element: Element, out: &mut Vec<u8>) {
        let name = |names: &'static [&'static str], at: i64| {
            usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
        };
        let month_name = || name(&MONTH_NAMES, self.date().month - 1);
        let weekday_name = || name(&WEEKDAY_NAMES, self.weekday());
        let hour12 = || match self.clock().hour % 12 {
            0 => 12,
            hour => hour,
        };
        let is_afternoon = || self.clock().hour >= 12;
        match element {
            Element::ShortYear => push_number((self.date().year.wrapping_abs()) % 100, 2, out),
            Element::LongYear => push_number(self.date().year, 4, out),
            Element::ShortMonth => out.extend_from_slice(&month_name().as_bytes()[..3]),
            Element::LongMonth => out.extend_from_slice(month_name().as_bytes()),
            Element::Month => push_number(self.date().month, 0, out),
            Element::ZeroMonth => push_number(self.date().month, 2, out),
            Element::ShortWeekday => out.extend_from_slice(&weekday_name().as_bytes()[..3]),
            Element::LongWeekday => out.extend_from_slice(weekday_name().as_bytes()),
            Element::Day => push_number(self.date().day, 0, out),
            Element::SpaceDay => push_padded(self.date().day, 2, out),
            Element::ZeroDay => push_number(self.date().day, 2, out),
            Element::SpaceYearDay => push_padded(self.year_day(), 3, out),
            Element::ZeroYearDay => push_number(self.year_day(), 3, out),
            Element::Hour => push_number(self.clock().hour, 2, out),
            Element::Hour12 => push_number(hour12(), 0, out),
            Element::ZeroHour12 => push_number(hour12(), 2, out),
            Element::Minute => push_number(self.clock().minute, 0, out),
            Element::ZeroMinute => push_number(self.clock().minute, 2, out),
            Element::Second => push_number(self.clock().second, 0, out),
            Element::ZeroSecond => push_number(self.clock().second, 2, out),
            Element::UpperPm => out.extend_from_slice(if is_afternoon() { b"PM" } else { b"AM" }),
            Element::LowerPm => out.extend_from_slice(if is_afternoon() { b"pm" } else { b"am" }),
            Element::ZoneName => self.push_zone_name(out),
            Element::Offset(form) => push_offset(self.offset_seconds(), form, out),
            Element::Fraction(fraction) => push_fraction(self.nanosecond(), fraction, out),
        }
    }

    fn push_zone_name(&self, out: &mut Vec<u8>) {
        let name = self.zone_abbreviation();
        if !name.is_empty() {
            out.extend_from_slice(name.as_bytes());
            return;
        }
        let form = Offset { z_for_utc: false, colons: false, minutes: true, seconds: false };
        push_offset(self.offset_seconds(), form, out);
    }

    /// Go's `Time.GoString`.
    pub fn go_string(&self) -> String {
        let (date, clock) = (self.date(), self.clock());
        let month =
            usize::try_from(date.month - 1).ok().and_then(|at| MONTH_NAMES.get(at)).copied().unwrap_or_default();
        format!(
            "time.Date({}, time.{month}, {}, {}, {}, {}, {}, {})",
            date.year,
            date.day,
            clock.hour,
            clock.minute,
            clock.second,
            self.nanosecond(),
            self.zone().go_string(),
        )
    }
}

/// Go's `Time.String`.
impl std::fmt::Display for GoTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.format(DEFAULT_LAYOUT))
    }
}

/// Digits with zeros before them up to `width`, the sign not counted.
fn push_number(number: i64, width: usize, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    write!(out, "{:0width$}", number.unsigned_abs()).expect("a vector takes all bytes");
}

fn push_padded(number: i64, width: usize, out: &mut Vec<u8>) {
    write!(out, "{number:width$}").expect("a vector takes all bytes");
}

fn push_offset(offset_seconds: i64, form: Offset, out: &mut Vec<u8>) {
    if offset_seconds == 0 && form.z_for_utc {
        out.push(b'Z');
        return;
    }
    let minutes = offset_seconds / 60;
    out.push(if minutes < 0 { b'-' } else { b'+' });
    // An offset of less than a minute keeps its sign in the seconds, as in Go.
    let seconds = if minutes < 0 { -offset_seconds } else { offset_seconds } % 60;
    push_number(minutes.abs() / 60, 2, out);
    if form.minutes {
        if form.colons {
            out.push(b':');
        }
        push_number(minutes.abs() % 60, 2, out);
    }
    if form.seconds {
        if form.colons {
            out.push(b':');
        }
        push_number(seconds, 2, out);
    }
}

fn push_fraction(nanos: u32, fraction: Fraction, out: &mut Vec<u8>) {
    if fraction.trims_zeros && nanos == 0 {
        return;
    }
    let start = out.len();
    write!(out, "{}{nanos:09}", char::from(fraction.separator)).expect("a vector takes all bytes");
    if fraction.digits < 9 {
        out.truncate(start + 1 + fraction.digits);
    }
    if fraction.trims_zeros {
        while out.len() > start + 1 && out.ends_with(b"0") {
            out.pop();
        }
        if out.len() == start + 1 {
            out.pop();
        }
    }
}
