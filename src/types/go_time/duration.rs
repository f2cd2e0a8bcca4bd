//! Durations: nanoseconds in 64 bits, written `1h30m0.5s`.
//!
//! ```text
//! duration = ["-"|"+"] ("0" | (digits ["." digits] unit)+)      unit = ns | us | µs | ms | s | m | h
//! ```

use std::fmt::Write as _;

/// Magnitude of the smallest duration.
const MAGNITUDE_MAX: u64 = 1 << 63;
const SECOND: u64 = 1_000_000_000;

/// A text that is no duration; reads as Go's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("time: invalid duration {0}")]
    Invalid(String),
    #[error("time: missing unit in duration {0}")]
    MissingUnit(String),
    #[error("time: unknown unit {unit} in duration {duration}")]
    UnknownUnit { unit: String, duration: String },
}

/// Go's `time.ParseDuration`, in nanoseconds.
pub fn parse_duration(text: impl AsRef<[u8]>) -> Result<i64, DurationError> {
    let text = text.as_ref();
    let invalid = || DurationError::Invalid(quoted(text));
    let (is_negative, mut rest) = match text {
        [sign @ (b'-' | b'+'), rest @ ..] => (*sign == b'-', rest),
        _ => (false, text),
    };
    if rest == b"0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let whole_digits = digits(rest);
        let whole = leading_number(&rest[..whole_digits]).ok_or_else(invalid)?;
        rest = &rest[whole_digits..];
        let (mut fraction, mut fraction_digits) = ((0, 1.0), 0);
        if let [b'.', after @ ..] = rest {
            fraction_digits = digits(after);
            fraction = leading_fraction(&after[..fraction_digits]);
            rest = &after[fraction_digits..];
        }
        if whole_digits + fraction_digits == 0 {
            return Err(invalid());
        }
        let unit_length = rest.iter().take_while(|byte| **byte != b'.' && !byte.is_ascii_digit()).count();
        if unit_length == 0 {
            return Err(DurationError::MissingUnit(quoted(text)));
        }
        let (unit, after) = rest.split_at(unit_length);
        let unit = unit_nanos(unit)
            .ok_or_else(|| DurationError::UnknownUnit { unit: quoted(unit), duration: quoted(text) })?;
        rest = after;
        let nanos = whole
            .checked_mul(unit)
            .and_then(|nanos| nanos.checked_add((fraction.0 as f64 * (unit as f64 / fraction.1)) as u64))
            .and_then(|nanos| total.checked_add(nanos))
            .filter(|nanos| *nanos <= MAGNITUDE_MAX);
        total = nanos.ok_or_else(invalid)?;
    }
    match is_negative {
        true => Ok(total.cast_signed().wrapping_neg()),
        false => i64::try_from(total).map_err(|_| invalid()),
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn leading_number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        (number <= MAGNITUDE_MAX).then_some(number)
    })
}

/// The digits as a number and the power of ten they are to be divided by; digits beyond 64 bits are dropped.
fn leading_fraction(digits: &[u8]) -> (u64, f64) {
    let (mut number, mut scale) = (0_u64, 1.0);
    for digit in digits {
        if number > (MAGNITUDE_MAX - 1) / 10 {
            break;
        }
        let next = number * 10 + u64::from(digit - b'0');
        if next > MAGNITUDE_MAX {
            break;
        }
        number = next;
        scale *= 10.0;
    }
    (number, scale)
}

fn unit_nanos(unit: &[u8]) -> Option<u64> {
    Some(match unit {
        b"ns" => 1,
        // The micro sign and the Greek letter.
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
        b"ms" => 1_000_000,
        b"s" => SECOND,
        b"m" => 60 * SECOND,
        b"h" => 3_600 * SECOND,
        _ => return None,
    })
}

/// Go's `Duration.String`: `1h0m0.25s`, `1.5ms`, `0s`.
pub fn format_duration(nanos: i64) -> String {
    let mut out = String::new();
    let magnitude = nanos.unsigned_abs();
    if nanos < 0 {
        out.push('-');
    }
    match magnitude {
        0 => out.push('0'),
        1..1_000 => push(&mut out, format_args!("{magnitude}n")),
        1_000..1_000_000 => push_decimal(&mut out, magnitude, 1_000, "µ"),
        1_000_000..SECOND => push_decimal(&mut out, magnitude, 1_000_000, "m"),
        _ => {
            let minutes = magnitude / (60 * SECOND);
            if minutes >= 60 {
                push(&mut out, format_args!("{}h", minutes / 60));
            }
            if minutes > 0 {
                push(&mut out, format_args!("{}m", minutes % 60));
            }
            push_decimal(&mut out, magnitude % (60 * SECOND), SECOND, "");
        }
    }
    out.push('s');
    out
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a string takes all text");
}

/// `number / unit`, without zeros at the end, and a suffix.
fn push_decimal(out: &mut String, number: u64, unit: u64, suffix: &str) {
    push(out, format_args!("{}", number / unit));
    let fraction = number % unit;
    if fraction > 0 {
        let width = usize::try_from(unit.ilog10()).unwrap_or(0);
        push(out, format_args!(".{fraction:0width$}"));
        out.truncate(out.trim_end_matches('0').len());
    }
    out.push_str(suffix);
}

/// Go's `Duration.Seconds`.
pub fn duration_seconds(nanos: i64) -> f64 {
    (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9
}

/// Towards zero, to a multiple of `step`; no step leaves it as it is.
pub fn truncate_duration(nanos: i64, step: i64) -> i64 {
    if step <= 0 { nanos } else { nanos - nanos % step }
}

/// To the nearest multiple of `step`, halves away from zero; kept within 64 bits.
pub fn round_duration(nanos: i64, step: i64) -> i64 {
    if step <= 0 {
        return nanos;
    }
    let remainder = (nanos % step).unsigned_abs();
    let step = step.unsigned_abs();
    let down = nanos.unsigned_abs() - remainder;
    let magnitude = if remainder.saturating_mul(2) < step { down } else { down.saturating_add(step) };
    match nanos < 0 {
        true => 0_i64.saturating_sub_unsigned(magnitude),
        false => i64::try_from(magnitude).unwrap_or(i64::MAX),
    }
}

/// The quoting of Go's `time` package: all but printable ASCII as `\xNN`, byte by byte.
pub(super) fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in text {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b' '..=0x7f => out.push(char::from(*byte)),
            _ => push(&mut out, format_args!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}
