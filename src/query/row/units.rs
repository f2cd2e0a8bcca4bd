//! Numbers, durations and sizes in label values, read as Go reads them.
//!
//! `strconv.ParseFloat`, `time.ParseDuration` and `humanize.ParseBytes`: same accepted inputs, same error words,
//! because the words end up in `__error_details__`.
//!
//! Errors: [`UnitError`] holds what went wrong; [`UnitError::write`] words it for the input it came from.

use crate::types::labels::push_go_quoted;

/// Why a value is no number, duration or size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::query) enum UnitError {
    FloatSyntax,
    FloatRange,
    DurationSyntax,
    DurationWithoutUnit,
    /// Bytes `start..end` of the input.
    DurationUnit {
        start: usize,
        end: usize,
    },
    /// The number before a size's unit: bytes `..end` of the input, commas left out.
    SizeNumber {
        end: usize,
        range: bool,
    },
    SizeTooLarge,
    /// Bytes `start..` of the input.
    SizeUnit {
        start: usize,
    },
}

impl UnitError {
    /// Appends Go's error text for `input`.
    pub(super) fn write(self, input: &str, out: &mut String) {
        match self {
            UnitError::FloatSyntax => push_float_error(out, input, "invalid syntax"),
            UnitError::FloatRange => push_float_error(out, input, "value out of range"),
            UnitError::DurationSyntax => {
                out.push_str("time: invalid duration ");
                push_time_quoted(out, input);
            }
            UnitError::DurationWithoutUnit => {
                out.push_str("time: missing unit in duration ");
                push_time_quoted(out, input);
            }
            UnitError::DurationUnit { start, end } => {
                out.push_str("time: unknown unit ");
                push_time_quoted(out, input.get(start..end).unwrap_or_default());
                out.push_str(" in duration ");
                push_time_quoted(out, input);
            }
            UnitError::SizeNumber { end, range } => {
                let number = input.get(..end).unwrap_or_default().replace(',', "");
                push_float_error(out, &number, if range { "value out of range" } else { "invalid syntax" });
            }
            UnitError::SizeTooLarge => {
                out.push_str("too large: ");
                out.push_str(input);
            }
            UnitError::SizeUnit { start } => {
                out.push_str("unhandled size name: ");
                out.push_str(&input.get(start..).unwrap_or_default().trim().to_lowercase());
            }
        }
    }
}

/// `strconv.ParseFloat(text, 64)`.
pub(in crate::query) fn parse_float(text: &str) -> Result<f64, UnitError> {
    let bytes = text.as_bytes();
    let unsigned = bytes.strip_prefix(b"+").or_else(|| bytes.strip_prefix(b"-")).unwrap_or(bytes);
    if let [b'0', b'x' | b'X', digits @ ..] = unsigned {
        let value = parse_hex_float(digits)?;
        return Ok(if bytes[0] == b'-' { -value } else { value });
    }
    let Ok(value) = text.parse::<f64>() else { return Err(UnitError::FloatSyntax) };
    let spelled = unsigned.first().is_some_and(u8::is_ascii_alphabetic);
    if value.is_nan() && unsigned.len() != bytes.len() {
        return Err(UnitError::FloatSyntax);
    }
    if value.is_infinite() && !spelled {
        return Err(UnitError::FloatRange);
    }
    Ok(value)
}

/// `time.ParseDuration(text)`, in nanoseconds.
pub(in crate::query) fn parse_duration(text: &str) -> Result<i64, UnitError> {
    const LIMIT: u64 = 1 << 63;
    let bytes = text.as_bytes();
    let negative = bytes.first() == Some(&b'-');
    let mut at = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    if &bytes[at..] == b"0" {
        return Ok(0);
    }
    if at == bytes.len() {
        return Err(UnitError::DurationSyntax);
    }
    let mut total: u64 = 0;
    while at < bytes.len() {
        let number_start = at;
        let mut whole: u64 = 0;
        while let Some(digit) = digit_at(bytes, at) {
            if whole > LIMIT / 10 {
                return Err(UnitError::DurationSyntax);
            }
            whole = whole * 10 + digit;
            if whole > LIMIT {
                return Err(UnitError::DurationSyntax);
            }
            at += 1;
        }
        let mut has_digits = at > number_start;
        let (mut fraction, mut scale, mut overflow) = (0u64, 1f64, false);
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let fraction_start = at;
            while let Some(digit) = digit_at(bytes, at) {
                at += 1;
                if overflow || fraction > (LIMIT - 1) / 10 {
                    overflow = true;
                    continue;
                }
                let next = fraction * 10 + digit;
                if next > LIMIT {
                    overflow = true;
                    continue;
                }
                fraction = next;
                scale *= 10.0;
            }
            has_digits |= at > fraction_start;
        }
        if !has_digits {
            return Err(UnitError::DurationSyntax);
        }
        let unit_start = at;
        while at < bytes.len() && bytes[at] != b'.' && !bytes[at].is_ascii_digit() {
            at += 1;
        }
        if at == unit_start {
            return Err(UnitError::DurationWithoutUnit);
        }
        let unit: u64 = match &bytes[unit_start..at] {
            b"ns" => 1,
            b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
            b"ms" => 1_000_000,
            b"s" => 1_000_000_000,
            b"m" => 60_000_000_000,
            b"h" => 3_600_000_000_000,
            _ => return Err(UnitError::DurationUnit { start: unit_start, end: at }),
        };
        if whole > LIMIT / unit {
            return Err(UnitError::DurationSyntax);
        }
        let mut nanos = whole * unit;
        if fraction > 0 {
            nanos += (fraction as f64 * (unit as f64 / scale)) as u64;
            if nanos > LIMIT {
                return Err(UnitError::DurationSyntax);
            }
        }
        total = match total.checked_add(nanos) {
            Some(sum) if sum <= LIMIT => sum,
            _ => return Err(UnitError::DurationSyntax),
        };
    }
    if negative {
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| UnitError::DurationSyntax)
}

/// `time.Duration.Seconds()` of nanoseconds.
pub(super) fn seconds(nanos: i64) -> f64 {
    (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9
}

/// `humanize.ParseBytes(text)`.
pub(in crate::query) fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let end = text.bytes().position(|b| !(b.is_ascii_digit() || b == b'.' || b == b',')).unwrap_or(text.len());
    let number = &text[..end];
    let parsed = if number.contains(',') { parse_float(&number.replace(',', "")) } else { parse_float(number) };
    let value = match parsed {
        Ok(value) => value,
        Err(error) => return Err(UnitError::SizeNumber { end, range: error == UnitError::FloatRange }),
    };
    let unit = text[end..].trim();
    let Some(factor) = size_factor(unit.as_bytes()) else { return Err(UnitError::SizeUnit { start: end }) };
    let bytes = value * factor;
    if bytes >= u64::MAX as f64 {
        return Err(UnitError::SizeTooLarge);
    }
    Ok(bytes as u64)
}

fn size_factor(unit: &[u8]) -> Option<f64> {
    let power =
        |letter: u8| b"kmgtpe".iter().position(|known| *known == letter.to_ascii_lowercase()).map(|at| at as i32 + 1);
    match unit {
        [] | [b'b' | b'B'] => Some(1.0),
        [letter] | [letter, b'b' | b'B'] => power(*letter).map(|power| 1000f64.powi(power)),
        [letter, b'i' | b'I'] | [letter, b'i' | b'I', b'b' | b'B'] => power(*letter).map(|power| 1024f64.powi(power)),
        _ => None,
    }
}

fn digit_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| u64::from(byte - b'0'))
}

/// The part after `0x` of a Go hexadecimal float; the `p` exponent is mandatory.
fn parse_hex_float(digits: &[u8]) -> Result<f64, UnitError> {
    let (mut mantissa, mut exponent, mut seen_point, mut seen_digit, mut at) = (0f64, 0i32, false, false, 0);
    while at < digits.len() {
        match digits[at] {
            b'_' => {}
            b'.' if !seen_point => seen_point = true,
            byte => {
                let Some(digit) = char::from(byte).to_digit(16) else { break };
                seen_digit = true;
                mantissa = mantissa * 16.0 + f64::from(digit);
                exponent -= if seen_point { 4 } else { 0 };
            }
        }
        at += 1;
    }
    if !seen_digit || !matches!(digits.get(at), Some(b'p' | b'P')) {
        return Err(UnitError::FloatSyntax);
    }
    let power = std::str::from_utf8(&digits[at + 1..]).ok().and_then(|text| text.parse::<i32>().ok());
    let Some(power) = power else { return Err(UnitError::FloatSyntax) };
    let value = mantissa * 2f64.powi(exponent.saturating_add(power));
    if value.is_infinite() { Err(UnitError::FloatRange) } else { Ok(value) }
}

fn push_float_error(out: &mut String, number: &str, words: &str) {
    out.push_str("strconv.ParseFloat: parsing ");
    push_go_quoted(out, number);
    out.push_str(": ");
    out.push_str(words);
}

/// The `time` package's own quoting: other than printable ASCII as `\xNN`, byte by byte.
fn push_time_quoted(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=0x7f => out.push(char::from(byte)),
            _ => {
                out.push_str("\\x");
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<T: std::fmt::Debug>(input: &str, result: Result<T, UnitError>) -> String {
        match result {
            Ok(value) => format!("{value:?}"),
            Err(error) => {
                let mut out = String::new();
                error.write(input, &mut out);
                out
            }
        }
    }

    #[test]
    fn floats() {
        for (input, want) in [
            ("1.5", "1.5"),
            ("-.5", "-0.5"),
            ("1e3", "1000.0"),
            ("Inf", "inf"),
            ("NaN", "NaN"),
            ("0x10p-1", "8.0"),
            ("n/a", r#"strconv.ParseFloat: parsing "n/a": invalid syntax"#),
            ("", r#"strconv.ParseFloat: parsing "": invalid syntax"#),
            ("+nan", r#"strconv.ParseFloat: parsing "+nan": invalid syntax"#),
            ("1e999", r#"strconv.ParseFloat: parsing "1e999": value out of range"#),
        ] {
            assert_eq!(words(input, parse_float(input)), want, "{input}");
        }
    }

    #[test]
    fn durations() {
        for (input, want) in [
            ("0", "0"),
            ("1h2m3s", "3723000000000"),
            ("-1.5s", "-1500000000"),
            (".5ms", "500000"),
            ("3µs", "3000"),
            ("1.000000001s", "1000000001"),
            ("5", r#"time: missing unit in duration "5""#),
            ("", r#"time: invalid duration """#),
            ("x", r#"time: invalid duration "x""#),
            ("5d", r#"time: unknown unit "d" in duration "5d""#),
            ("5ż", r#"time: unknown unit "\xc5\xbc" in duration "5\xc5\xbc""#),
            ("9999999h", r#"time: invalid duration "9999999h""#),
        ] {
            assert_eq!(words(input, parse_duration(input)), want, "{input}");
        }
    }

    #[test]
    fn sizes() {
        for (input, want) in [
            ("42 MB", "42000000"),
            ("1.5KiB", "1536"),
            ("512B", "512"),
            ("1,000", "1000"),
            ("2k", "2000"),
            ("n/a", r#"strconv.ParseFloat: parsing "": invalid syntax"#),
            ("5 Xb", "unhandled size name: xb"),
            ("100EiB", "too large: 100EiB"),
        ] {
            assert_eq!(words(input, parse_bytes(input)), want, "{input}");
        }
    }
}
