//! Integers, floats and complex numbers: `%d %b %o %x %c %q %U %f %e %g`.

use super::{Printed, Printer};
use crate::template::strconv::float::{FloatForm, push_float};
use crate::template::strconv::quote::push_quoted_char;
use crate::template::unicode::{REPLACEMENT, is_print, push_char};
use crate::template::value::Value;

impl Printer<'_> {
    /// `of` is what a bad verb is reported with.
    pub(super) fn integer(&mut self, number: i64, is_signed: bool, verb: char, of: &Value<'_>) -> Printed {
        match verb {
            'v' if self.flags.sharp_v && !is_signed => {
                let sharp = std::mem::replace(&mut self.flags.sharp, true);
                self.radix(number, 16, is_signed, verb);
                self.flags.sharp = sharp;
            }
            'v' | 'd' => self.radix(number, 10, is_signed, verb),
            'b' => self.radix(number, 2, is_signed, verb),
            'o' | 'O' => self.radix(number, 8, is_signed, verb),
            'x' | 'X' => self.radix(number, 16, is_signed, verb),
            'c' => {
                let mut out = Vec::new();
                push_char(&mut out, character(number));
                self.padded(&out);
            }
            'q' => {
                let mut out = Vec::new();
                push_quoted_char(&mut out, character(number), self.flags.plus);
                self.padded(&out);
            }
            'U' => self.code_point(number),
            _ => return self.bad_verb(verb, of),
        }
        Ok(())
    }

    fn radix(&mut self, number: i64, radix: u8, is_signed: bool, verb: char) {
        let is_negative = is_signed && number < 0;
        let magnitude = if is_negative { number.unsigned_abs() } else { number.cast_unsigned() };
        let zero = std::mem::replace(&mut self.flags.zero, false);
        let has_sign = is_negative || self.flags.plus || self.flags.space;
        // Zeros to the left are digits: of a precision, or of a width when there is none.
        let digits_min = match (self.precision, self.width) {
            (Some(0), _) if magnitude == 0 => {
                self.padding(self.width.unwrap_or(0));
                self.flags.zero = zero;
                return;
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if zero && !self.flags.minus => width.saturating_sub(usize::from(has_sign)),
            _ => 0,
        };
        let digits = match (radix, verb) {
            (2, _) => format!("{magnitude:b}"),
            (8, _) => format!("{magnitude:o}"),
            (16, 'X') => format!("{magnitude:X}"),
            (16, _) => format!("{magnitude:x}"),
            _ => magnitude.to_string(),
        };
        let digits = zero_filled(digits, digits_min);
        let prefix = match (radix, verb) {
            (8, 'O') if self.flags.sharp && !digits.starts_with('0') => "0o0",
            (8, 'O') => "0o",
            (2, _) if self.flags.sharp => "0b",
            (8, _) if self.flags.sharp && !digits.starts_with('0') => "0",
            (16, 'X') if self.flags.sharp => "0X",
            (16, _) if self.flags.sharp => "0x",
            _ => "",
        };
        let sign = match is_negative {
            true => "-",
            false if self.flags.plus => "+",
            false if self.flags.space => " ",
            false => "",
        };
        self.padded(format!("{sign}{prefix}{digits}").as_bytes());
        self.flags.zero = zero;
    }

    /// `U+0078`, or `U+0078 'x'`.
    fn code_point(&mut self, number: i64) {
        let digits_min = self.precision.unwrap_or(0).max(4);
        let mut text = format!("U+{}", zero_filled(format!("{number:X}"), digits_min));
        let printable = u32::try_from(number).ok().and_then(char::from_u32).filter(|c| is_print(*c));
        if let (true, Some(c)) = (self.flags.sharp, printable) {
            text.push_str(&format!(" '{c}'"));
        }
        let zero = std::mem::replace(&mut self.flags.zero, false);
        self.padded(text.as_bytes());
        self.flags.zero = zero;
    }

    pub(super) fn float(&mut self, value: f64, verb: char) -> Printed {
        let (form, upper, default) = match verb {
            'v' | 'g' => (FloatForm::General, false, None),
            'G' => (FloatForm::General, true, None),
            'b' => (FloatForm::Binary, false, None),
            'x' => (FloatForm::Hex, false, None),
            'X' => (FloatForm::Hex, true, None),
            'f' | 'F' => (FloatForm::Fixed, false, Some(6)),
            'e' => (FloatForm::Exponent, false, Some(6)),
            'E' => (FloatForm::Exponent, true, Some(6)),
            _ => return self.bad_verb(verb, &Value::Float(value)),
        };
        let precision = self.precision.or(default);
        let mut number = Vec::new();
        push_float(&mut number, value, form, upper, precision);
        let sign = match number.first() {
            Some(b'-') => Some(b'-'),
            _ if self.flags.plus => Some(b'+'),
            _ if self.flags.space => Some(b' '),
            _ => None,
        };
        if matches!(number.first(), Some(b'-' | b'+')) {
            number.remove(0);
        }
        if !value.is_finite() {
            let zero = std::mem::replace(&mut self.flags.zero, false);
            // Infinities show their sign, asked or not.
            let sign = sign.or(if value.is_infinite() { Some(b'+') } else { None });
            let text: Vec<u8> = sign.into_iter().chain(number).collect();
            self.padded(&text);
            self.flags.zero = zero;
            return Ok(());
        }
        if self.flags.sharp && form != FloatForm::Binary {
            number = with_point(&number, form, precision);
        }
        let Some(sign) = sign else {
            self.padded(&number);
            return Ok(());
        };
        // Zeros go between the sign and the digits.
        match self.width {
            Some(width) if self.flags.zero && !self.flags.minus && width > number.len() + 1 => {
                self.out.push(sign);
                self.padding(width - number.len() - 1);
                self.out.extend_from_slice(&number);
            }
            _ => {
                number.insert(0, sign);
                self.padded(&number);
            }
        }
        Ok(())
    }

    pub(super) fn complex(&mut self, real: f64, imaginary: f64, verb: char) -> Printed {
        if !"vbgGxXfFeE".contains(verb) {
            return self.bad_verb(verb, &Value::Complex(real, imaginary));
        }
        self.push("(");
        self.float(real, verb)?;
        let plus = std::mem::replace(&mut self.flags.plus, true);
        self.float(imaginary, verb)?;
        self.flags.plus = plus;
        self.push("i)");
        Ok(())
    }
}

fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(REPLACEMENT)
}

/// Digits with zeros before them. Rust's own widths end at 65,535.
fn zero_filled(digits: String, digits_min: usize) -> String {
    let missing = digits_min.saturating_sub(digits.len());
    if missing == 0 { digits } else { "0".repeat(missing) + &digits }
}

/// `%#g`: a point always, and the zeros that `%g` leaves out.
fn with_point(number: &[u8], form: FloatForm, precision: Option<usize>) -> Vec<u8> {
    let is_hex = form == FloatForm::Hex;
    let tail_at = number.iter().position(|byte| match byte {
        b'e' | b'E' => !is_hex,
        b'p' | b'P' => true,
        _ => false,
    });
    let (digits, tail) = number.split_at(tail_at.unwrap_or(number.len()));
    let has_point = digits.contains(&b'.');
    let significant = digits.iter().filter(|byte| **byte != b'.').skip_while(|byte| **byte == b'0').count();
    let mut missing = match (form, precision) {
        (FloatForm::General, None) => 6,
        (FloatForm::General, Some(precision)) => precision,
        // Only the lower case `x` counts digits in Go.
        (FloatForm::Hex, None) if !number.starts_with(b"0X") => 6,
        (FloatForm::Hex, Some(precision)) if !number.starts_with(b"0X") => precision,
        _ => 0,
    }
    .saturating_sub(if is_hex { digits.len().saturating_sub(1 + usize::from(has_point)) } else { significant });
    let mut out = digits.to_vec();
    if !has_point {
        if digits == b"0" {
            missing = missing.saturating_sub(1);
        }
        out.push(b'.');
    }
    out.resize(out.len() + missing, b'0');
    out.extend_from_slice(tail);
    out
}
