//! Floats as texts: `%e`, `%f`, `%g`, `%b`, `%x`, with so many digits or the fewest that read back.

use std::io::Write as _;

/// Decimals beyond which all digits of all floats are zeros. Rust's own precisions end at 65,535.
const DECIMALS_MAX: usize = 1_100;

/// How a float is written; `upper` is for the letters of the exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::template) enum FloatForm {
    /// `1.5e+06`
    Exponent,
    /// `1500000`
    Fixed,
    /// The shorter of both.
    General,
    /// `6755399441055744p-52`
    Binary,
    /// `0x1.8p+00`
    Hex,
}

/// Decimal digits `d₁d₂…`, without zeros at the end, of the number `0.d₁d₂… × 10^point`.
pub(in crate::template) struct Digits {
    pub(in crate::template) digits: Vec<u8>,
    pub(in crate::template) point: i32,
}

/// Appends `value` with a minus sign if it has one; no `precision` writes the fewest digits that read back.
pub(in crate::template) fn push_float(
    out: &mut Vec<u8>,
    value: f64,
    form: FloatForm,
    upper: bool,
    precision: Option<usize>,
) {
    if !value.is_finite() {
        let name: &[u8] = if value.is_nan() {
            b"NaN"
        } else if value < 0.0 {
            b"-Inf"
        } else {
            b"+Inf"
        };
        return out.extend_from_slice(name);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let magnitude = value.abs();
    match form {
        FloatForm::Binary => push_binary(out, magnitude),
        FloatForm::Hex => push_hex(out, magnitude, upper, precision),
        FloatForm::Exponent => {
            let digits = digits_of(magnitude, precision);
            push_exponent(out, &digits, precision.unwrap_or(digits.digits.len().saturating_sub(1)), upper);
        }
        FloatForm::Fixed => match precision {
            Some(precision) => {
                let written = precision.min(DECIMALS_MAX);
                push(out, format_args!("{magnitude:.written$}"));
                out.resize(out.len() + precision - written, b'0');
            }
            None => {
                let digits = digits_of(magnitude, None);
                let decimals = i32_len(&digits) - digits.point;
                push_fixed(out, &digits, usize::try_from(decimals).unwrap_or(0));
            }
        },
        FloatForm::General => push_general(out, magnitude, upper, precision),
    }
}

fn push(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a vector takes all bytes");
}

fn i32_len(digits: &Digits) -> i32 {
    i32::try_from(digits.digits.len()).unwrap_or(i32::MAX)
}

/// The digits of a magnitude, rounded to one and `decimals` more, or the fewest that read back.
pub(in crate::template) fn digits_of(magnitude: f64, decimals: Option<usize>) -> Digits {
    // With fewer digits there is no tie between two that read back.
    const TIE_DIGITS_MIN: usize = 15;
    let Some(decimals) = decimals else {
        let shortest = parsed(&format!("{magnitude:e}"));
        let count = shortest.digits.len();
        if count < TIE_DIGITS_MIN {
            return shortest;
        }
        // Of two as near, Go takes the even one.
        let rounded = format!("{magnitude:.*e}", count - 1);
        return if rounded.parse() == Ok(magnitude) { parsed(&rounded) } else { shortest };
    };
    parsed(&format!("{magnitude:.*e}", decimals.min(DECIMALS_MAX)))
}

/// Of a number such as `1.50e3`.
fn parsed(written: &str) -> Digits {
    let (mantissa, exponent) = written.split_once('e').unwrap_or((written, "0"));
    let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    if digits.is_empty() {
        return Digits { digits, point: 0 };
    }
    Digits { digits, point: exponent.parse().unwrap_or(0) + 1 }
}

fn push_general(out: &mut Vec<u8>, magnitude: f64, upper: bool, precision: Option<usize>) {
    let precision = precision.map(|precision| precision.max(1));
    let digits = digits_of(magnitude, precision.map(|precision| precision - 1));
    let count = digits.digits.len();
    let wanted = precision.unwrap_or(count);
    let point = usize::try_from(digits.point).unwrap_or(0);
    let exponent_from = match precision {
        None => 6,
        Some(wanted) if wanted > count && count >= point => count,
        Some(wanted) => wanted,
    };
    let exponent = digits.point - 1;
    if exponent < -4 || usize::try_from(exponent).is_ok_and(|exponent| exponent >= exponent_from) {
        return push_exponent(out, &digits, wanted.min(count).saturating_sub(1), upper);
    }
    let wanted = if i64::try_from(wanted).unwrap_or(i64::MAX) > i64::from(digits.point) { count } else { wanted };
    let decimals = i64::try_from(wanted).unwrap_or(i64::MAX) - i64::from(digits.point);
    push_fixed(out, &digits, usize::try_from(decimals).unwrap_or(0));
}

fn push_exponent(out: &mut Vec<u8>, digits: &Digits, decimals: usize, upper: bool) {
    let digit = |at: usize| digits.digits.get(at).copied().unwrap_or(b'0');
    out.push(digit(0));
    if decimals > 0 {
        out.push(b'.');
        out.extend((1..=decimals).map(digit));
    }
    let exponent = if digits.digits.is_empty() { 0 } else { digits.point - 1 };
    out.push(if upper { b'E' } else { b'e' });
    out.push(if exponent < 0 { b'-' } else { b'+' });
    push(out, format_args!("{:02}", exponent.unsigned_abs()));
}

fn push_fixed(out: &mut Vec<u8>, digits: &Digits, decimals: usize) {
    let digit = |at: i64| usize::try_from(at).ok().and_then(|at| digits.digits.get(at)).copied().unwrap_or(b'0');
    let point = i64::from(digits.point);
    match point {
        ..=0 => out.push(b'0'),
        _ => out.extend((0..point).map(digit)),
    }
    if decimals > 0 {
        out.push(b'.');
        out.extend((0..decimals).map(|at| digit(point + i64::try_from(at).unwrap_or(i64::MAX))));
    }
}

/// Mantissa and binary exponent: `magnitude = mantissa × 2^exponent`.
fn parts(magnitude: f64) -> (u64, i64) {
    let bits = magnitude.to_bits();
    let (exponent, mantissa) = (bits >> 52 & 0x7ff, bits & ((1 << 52) - 1));
    match exponent {
        0 => (mantissa, -1074),
        _ => (mantissa | 1 << 52, exponent.cast_signed() - 1075),
    }
}

fn push_binary(out: &mut Vec<u8>, magnitude: f64) {
    let (mantissa, exponent) = parts(magnitude);
    push(out, format_args!("{mantissa}p{exponent:+}"));
}

fn push_hex(out: &mut Vec<u8>, magnitude: f64, upper: bool, precision: Option<usize>) {
    let (mut mantissa, mut exponent) = parts(magnitude);
    exponent += 52;
    // The leading one goes to bit 60, so that fifteen hexadecimal digits follow.
    match mantissa {
        0 => exponent = 0,
        _ => {
            let shift = mantissa.leading_zeros() - 3;
            mantissa <<= shift;
            exponent -= i64::from(shift) - 8;
        }
    }
    if let Some(precision) = precision.filter(|precision| *precision < 15) {
        let dropped = 60 - 4 * precision;
        let rest = mantissa & ((1 << dropped) - 1);
        let half = 1_u64 << (dropped - 1);
        mantissa >>= dropped;
        mantissa += u64::from(rest > half || rest == half && mantissa & 1 == 1);
        mantissa <<= dropped;
        if mantissa >> 61 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let leading = mantissa >> 60 & 1;
    let mut decimals = format!("{:015x}", mantissa & ((1 << 60) - 1));
    match precision {
        None => decimals.truncate(decimals.trim_end_matches('0').len()),
        Some(precision) if precision <= 15 => decimals.truncate(precision),
        Some(precision) => decimals.extend(std::iter::repeat_n('0', precision - 15)),
    }
    let point = if decimals.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let mut text = format!("0x{leading}{point}{decimals}p{sign}{:02}", exponent.abs());
    if upper {
        text.make_ascii_uppercase();
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let check = |value: f64, form: FloatForm, precision: Option<usize>, expected: &str| {
            let mut out = Vec::new();
            push_float(&mut out, value, form, false, precision);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{value} {form:?} {precision:?}");
        };
        check(1e6, FloatForm::General, None, "1e+06");
        check(123_456.0, FloatForm::General, None, "123456");
        check(0.0001, FloatForm::General, None, "0.0001");
        check(0.00001, FloatForm::General, None, "1e-05");
        check(21.5, FloatForm::General, Some(4), "21.5");
        check(100_000.0, FloatForm::General, Some(4), "1e+05");
        check(1000.0, FloatForm::General, Some(4), "1000");
        check(0.0, FloatForm::General, None, "0");
        check(1.5, FloatForm::Fixed, Some(3), "1.500");
        check(1e21, FloatForm::Fixed, None, "1000000000000000000000");
        check(1.5, FloatForm::Exponent, None, "1.5e+00");
        check(1.5, FloatForm::Binary, None, "6755399441055744p-52");
        check(1.5, FloatForm::Hex, None, "0x1.8p+00");
        check(0.0, FloatForm::Hex, Some(2), "0x0.00p+00");
        check(-f64::INFINITY, FloatForm::General, None, "-Inf");
    }
}
