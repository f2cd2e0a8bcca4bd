//! Numbers in texts: `0x1F`, `1_000`, `1e3`, `0x1p-2`, `1+2i`.

use super::quote::quoted;

/// Why a text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::template) enum NumberFault {
    Syntax,
    Range,
}

impl NumberFault {
    /// As Go words it: `strconv.ParseInt: parsing "x": invalid syntax`.
    pub(in crate::template) fn words(self, function: &str, text: &[u8]) -> String {
        let fault = match self {
            NumberFault::Syntax => "invalid syntax",
            NumberFault::Range => "value out of range",
        };
        format!("strconv.{function}: parsing {}: {fault}", quoted(text))
    }
}

/// Go's `strconv.ParseUint(text, base, 64)`; base 0 takes prefixes and underscores.
pub(in crate::template) fn parse_uint(text: &[u8], base: u32) -> Result<u64, NumberFault> {
    let is_free = base == 0;
    let (radix, digits) = match text {
        [] => return Err(NumberFault::Syntax),
        _ if !is_free => (base, text),
        [b'0', b'b' | b'B', digits @ ..] if !digits.is_empty() => (2, digits),
        [b'0', b'o' | b'O', digits @ ..] if !digits.is_empty() => (8, digits),
        [b'0', b'x' | b'X', digits @ ..] if !digits.is_empty() => (16, digits),
        [b'0', digits @ ..] => (8, digits),
        digits => (10, digits),
    };
    let (mut number, mut is_beyond) = (0_u64, false);
    for byte in digits {
        if *byte == b'_' && is_free {
            continue;
        }
        let digit = char::from(*byte).to_digit(radix).ok_or(NumberFault::Syntax)?;
        // A digit that does not fit ends it in Go, whatever follows.
        match number.checked_mul(u64::from(radix)).and_then(|number| number.checked_add(u64::from(digit))) {
            Some(next) => number = next,
            None => {
                is_beyond = true;
                break;
            }
        }
    }
    if is_beyond {
        return Err(NumberFault::Range);
    }
    if is_free && digits.contains(&b'_') && !underscores_are_between_digits(text) {
        return Err(NumberFault::Syntax);
    }
    Ok(number)
}

/// Go's `strconv.ParseInt(text, base, 64)`.
pub(in crate::template) fn parse_int(text: &[u8], base: u32) -> Result<i64, NumberFault> {
    let (is_negative, digits) = match text {
        [sign @ (b'-' | b'+'), digits @ ..] => (*sign == b'-', digits),
        _ => (false, text),
    };
    let number = parse_uint(digits, base)?;
    let signed = if is_negative { 0_i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() };
    signed.ok_or(NumberFault::Range)
}

/// Go's `strconv.Atoi`, errors as zero.
pub(in crate::template) fn atoi_or_zero(text: &[u8]) -> i64 {
    // Go returns the nearest number beside a range error.
    match parse_int(text, 10) {
        Ok(number) => number,
        Err(NumberFault::Syntax) => 0,
        Err(NumberFault::Range) => nearest(text),
    }
}

/// The 64-bit number next to one beyond the range.
pub(in crate::template) fn nearest(text: &[u8]) -> i64 {
    if text.starts_with(b"-") { i64::MIN } else { i64::MAX }
}

/// An underscore is fine between digits or after a base prefix.
fn underscores_are_between_digits(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let (is_hex, digits, mut before) = match unsigned {
        [b'0', b'x' | b'X', digits @ ..] => (true, digits, b'0'),
        [b'0', b'b' | b'B' | b'o' | b'O', digits @ ..] => (false, digits, b'0'),
        _ => (false, unsigned, b'^'),
    };
    for byte in digits {
        let class = match byte {
            b'_' => b'_',
            byte if byte.is_ascii_digit() || is_hex && byte.is_ascii_hexdigit() => b'0',
            _ => b'!',
        };
        if class == b'_' && before != b'0' || before == b'_' && class != b'0' {
            return false;
        }
        before = class;
    }
    before != b'_'
}

/// Go's `strconv.ParseFloat(text, 64)`.
pub(in crate::template) fn parse_float(text: &[u8]) -> Result<f64, NumberFault> {
    let (value, length) = float_prefix(text)?;
    if length == text.len() { Ok(value) } else { Err(NumberFault::Syntax) }
}

/// The float a text begins with, and its bytes.
fn float_prefix(text: &[u8]) -> Result<(f64, usize), NumberFault> {
    if let Some(special) = special_float(text) {
        return Ok(special);
    }
    let sign_bytes = usize::from(matches!(text, [b'+' | b'-', ..]));
    let unsigned = &text[sign_bytes..];
    let is_hex = matches!(unsigned, [b'0', b'x' | b'X', _, ..]);
    let (radix, mut at) = if is_hex { (16, 2) } else { (10, 0) };
    let (mut has_point, mut has_digits) = (false, false);
    while let Some(byte) = unsigned.get(at) {
        match byte {
            b'_' => {}
            b'.' if !has_point => has_point = true,
            byte if char::from(*byte).is_digit(radix) => has_digits = true,
            _ => break,
        }
        at += 1;
    }
    if !has_digits {
        return Err(NumberFault::Syntax);
    }
    let mantissa = &unsigned[..at];
    let exponent_letter = if is_hex { b'p' } else { b'e' };
    let mut exponent: &[u8] = b"";
    if unsigned.get(at).is_some_and(|byte| byte.to_ascii_lowercase() == exponent_letter) {
        let start = at + 1;
        let digits_at = start + usize::from(matches!(unsigned.get(start), Some(b'+' | b'-')));
        if !unsigned.get(digits_at).is_some_and(u8::is_ascii_digit) {
            return Err(NumberFault::Syntax);
        }
        let digits = unsigned[digits_at..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'_').count();
        at = digits_at + digits;
        exponent = &unsigned[start..at];
    } else if is_hex {
        // Mantissas in hexadecimal must have an exponent.
        return Err(NumberFault::Syntax);
    }
    let read = &unsigned[..at];
    if read.contains(&b'_') && !underscores_are_between_digits(read) {
        return Err(NumberFault::Syntax);
    }
    let magnitude = if is_hex { hex_float(&mantissa[2..], exponent) } else { decimal_float(read) };
    if magnitude.is_infinite() {
        return Err(NumberFault::Range);
    }
    let value = if text[..sign_bytes] == *b"-" { -magnitude } else { magnitude };
    Ok((value, sign_bytes + at))
}

/// `inf`, `infinity` with a sign or without, `nan` without, in any case.
fn special_float(text: &[u8]) -> Option<(f64, usize)> {
    let sign_bytes = usize::from(matches!(text, [b'+' | b'-', ..]));
    let word = &text[sign_bytes..];
    let has = |prefix: &[u8]| word.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    let infinity = if text.first() == Some(&b'-') { f64::NEG_INFINITY } else { f64::INFINITY };
    if has(b"infinity") {
        return Some((infinity, sign_bytes + 8));
    }
    if has(b"inf") {
        return Some((infinity, sign_bytes + 3));
    }
    (sign_bytes == 0 && has(b"nan")).then_some((f64::NAN, 3))
}

fn decimal_float(digits: &[u8]) -> f64 {
    let plain: String = digits.iter().filter(|byte| **byte != b'_').map(|byte| char::from(*byte)).collect();
    plain.parse().unwrap_or(f64::NAN)
}

/// Rounds once, to even.
fn hex_float(mantissa: &[u8], exponent: &[u8]) -> f64 {
    const EXPONENT_MAX: i64 = 100_000;
    let (mut bits, mut power, mut has_point) = (0_u64, 0_i64, false);
    for byte in mantissa {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            has_point |= *byte == b'.';
            continue;
        };
        if bits >> 60 == 0 {
            bits = bits << 4 | u64::from(digit);
            power -= if has_point { 4 } else { 0 };
        } else {
            // Beyond 61 bits only whether there is anything matters.
            bits |= u64::from(digit != 0);
            power += if has_point { 0 } else { 4 };
        }
    }
    let written: Vec<u8> = exponent.iter().copied().filter(|byte| *byte != b'_').collect();
    let power_of_two = match parse_int(&written, 10) {
        Ok(number) => number.clamp(-EXPONENT_MAX, EXPONENT_MAX),
        Err(_) => nearest(&written).clamp(-EXPONENT_MAX, EXPONENT_MAX),
    };
    scaled(bits, power.saturating_add(power_of_two))
}

/// `bits × 2^power`, rounded to even once.
fn scaled(bits: u64, power: i64) -> f64 {
    const MANTISSA_BITS: i64 = 53;
    const SMALLEST_POWER: i64 = -1074;
    if bits == 0 {
        return 0.0;
    }
    let length = 64 - i64::from(bits.leading_zeros());
    // Bits that do not fit, because the mantissa is full or the number subnormal.
    let dropped = (length - MANTISSA_BITS).max(SMALLEST_POWER - power).max(0);
    let (mut kept, power) = match dropped {
        0 => (bits, power),
        65.. => return 0.0,
        64 => (0, power + 64),
        _ => (bits >> dropped, power + dropped),
    };
    if dropped > 0 {
        let half = 1_u128 << (dropped - 1);
        let rest = u128::from(bits) & ((1_u128 << dropped) - 1);
        kept += u64::from(rest > half || rest == half && kept & 1 == 1);
    }
    let power = i32::try_from(power).unwrap_or(if power < 0 { i32::MIN } else { i32::MAX });
    // In two steps, for powers that alone are out of range; both are exact.
    let first = power.clamp(-1_000, 1_000);
    kept as f64 * 2_f64.powi(first) * 2_f64.powi(power.saturating_sub(first).clamp(-1_100, 1_100))
}

/// Go's `fmt.Sscan` of a complex number such as `1+2i`; the error is its text.
pub(in crate::template) fn parse_complex(text: &[u8]) -> Result<(f64, f64), String> {
    let not_complex = || "syntax error scanning complex number".to_owned();
    let body = text.strip_suffix(b"i").ok_or_else(not_complex)?;
    // The sign of the imaginary part: the last one that is no exponent's.
    let split = (1..body.len())
        .rev()
        .find(|at| matches!(body[*at], b'+' | b'-') && !matches!(body[*at - 1], b'e' | b'E' | b'p' | b'P'))
        .filter(|at| at + 1 < body.len())
        .ok_or_else(not_complex)?;
    let part = |part: &[u8]| parse_float(part).map_err(|fault| fault.words("ParseFloat", part));
    Ok((part(&body[..split])?, part(&body[split..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        let check = |text: &str, base: u32, expected: Result<i64, NumberFault>| {
            assert_eq!(parse_int(text.as_bytes(), base), expected, "{text}");
        };
        check("0x1F", 0, Ok(31));
        check("010", 0, Ok(8));
        check("1_000", 0, Ok(1000));
        check("1__0", 0, Err(NumberFault::Syntax));
        check("0_8", 0, Err(NumberFault::Syntax));
        check("-9223372036854775808", 10, Ok(i64::MIN));
        check("9223372036854775808", 10, Err(NumberFault::Range));
        check("1_0", 10, Err(NumberFault::Syntax));
        check("", 10, Err(NumberFault::Syntax));
        check("+", 10, Err(NumberFault::Syntax));
    }

    #[test]
    fn floats() {
        let check = |text: &str, expected: Result<f64, NumberFault>| {
            assert_eq!(parse_float(text.as_bytes()), expected, "{text}");
        };
        check("1e3", Ok(1000.0));
        check(".5", Ok(0.5));
        check("0x1p-2", Ok(0.25));
        check("0x1.8p1", Ok(3.0));
        check("0x1fffffffffffff8p0", Ok(144_115_188_075_855_870.0));
        check("0x1p-1074", Ok(5e-324));
        check("0x1p-1076", Ok(0.0));
        check("0x1p1024", Err(NumberFault::Range));
        check("1e999", Err(NumberFault::Range));
        check("1_0.5", Ok(10.5));
        check("1__0.5", Err(NumberFault::Syntax));
        check("0x_1p0", Ok(1.0));
        check("+Inf", Ok(f64::INFINITY));
        check("-infinity", Ok(f64::NEG_INFINITY));
        check("+nan", Err(NumberFault::Syntax));
        check("1e", Err(NumberFault::Syntax));
        check(".", Err(NumberFault::Syntax));
        assert_eq!(parse_complex(b"1e+3-2i"), Ok((1000.0, -2.0)));
    }
}
