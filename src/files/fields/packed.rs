//! Ids whose text is mostly hexadecimal digits, two digits a byte.
//!
//! ```text
//! req_6b0d549b   form  req_␀␀␀␀␀␀␀␀   packed  6b 0d 54 9b
//! ```
//!
//! Random digits do not compress: as bytes they are half as long, need no compression, and can be skipped and compared
//! without a look at their text.

use serde::{Deserialize, Serialize};

/// Digits from which on a value is packed.
const DIGITS_MIN: usize = 8;
/// Bytes of a form at most.
const FORM_BYTES_MAX: usize = 64;
/// Where a digit is.
const DIGIT: u8 = 0;
const NO_DIGIT: u8 = 255;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// By byte: the value of a lower-case hexadecimal digit.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        nibbles[HEX[value] as usize] = value as u8;
        value += 1;
    }
    nibbles
};

/// What the values of a packed column have in common: their text with NUL for each digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Form(String);

impl Form {
    /// The form of a value; none where it has few digits. What stands in front of its last other letter is text.
    pub(super) fn of(value: &str) -> Option<Form> {
        let bytes = value.as_bytes();
        if bytes.len() > FORM_BYTES_MAX || !value.is_ascii() || bytes.contains(&DIGIT) {
            return None;
        }
        let is_digit = |byte: &u8| NIBBLES[*byte as usize] != NO_DIGIT;
        let prefix = bytes.iter().rposition(|byte| !is_digit(byte) && *byte != b'-').map_or(0, |at| at + 1);
        let digit_of = |byte: u8| if is_digit(&byte) { char::from(DIGIT) } else { char::from(byte) };
        let form = value[..prefix].chars().chain(bytes[prefix..].iter().map(|byte| digit_of(*byte))).collect();
        Some(Form(form)).filter(|form| form.digits() >= DIGITS_MIN)
    }

    fn digits(&self) -> usize {
        self.0.bytes().filter(|byte| *byte == DIGIT).count()
    }

    /// Bytes of a packed value.
    pub(in crate::files) fn width(&self) -> usize {
        self.digits().div_ceil(2)
    }

    /// Writes a value into `out`, [`Form::width`] zeros; false where it has another form.
    #[inline]
    pub(super) fn pack(&self, value: &[u8], out: &mut [u8]) -> bool {
        if !self.is_as_long_as(value) {
            return false;
        }
        let (mut digits, mut bad) = (0, 0);
        for (byte, form) in value.iter().zip(self.0.bytes()) {
            if form == DIGIT {
                let nibble = NIBBLES[*byte as usize];
                bad |= nibble & 0xf0;
                out[digits / 2] |= (nibble & 0xf) << (4 - digits % 2 * 4);
                digits += 1;
            } else if *byte != form {
                return false;
            }
        }
        bad == 0
    }

    /// A value as it is packed; none where it has another form.
    pub(in crate::files) fn packed(&self, value: &str) -> Option<Vec<u8>> {
        let mut packed = vec![0; self.width()];
        self.pack(value.as_bytes(), &mut packed).then_some(packed)
    }

    /// Appends the text of a value.
    #[inline]
    pub(super) fn unpack(&self, packed: &[u8], out: &mut Vec<u8>) {
        let mut digits = 0;
        out.extend(self.0.bytes().map(|form| {
            if form != DIGIT {
                return form;
            }
            let byte = packed.get(digits / 2).copied().unwrap_or(0);
            let nibble = byte >> (4 - digits % 2 * 4) & 0xf;
            digits += 1;
            HEX[nibble as usize]
        }));
    }

    /// Whether a value of this form can have `text`, which is shorter than a value or as long.
    pub(super) fn can_have(&self, text: &[u8]) -> bool {
        let fits = |(form, byte): (&u8, &u8)| match *form {
            DIGIT => NIBBLES[*byte as usize] != NO_DIGIT,
            form => form == *byte,
        };
        text.is_empty() || self.0.as_bytes().windows(text.len()).any(|part| part.iter().zip(text).all(fits))
    }

    /// Whether `text` is as long as a value.
    pub(super) fn is_as_long_as(&self, text: &[u8]) -> bool {
        self.0.len() == text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        for (value, width) in [
            ("6513269e0d37f2a74de4", Some(10)),
            ("req_6b0d549b", Some(4)),
            ("span-0a1b2c3d4", Some(5)),
            ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", Some(16)),
            ("abc", None),
            ("user1776@example.com", None),
            ("6513269E0D37F2A74DE4", None),
            ("żó6513269e0d37f2a7", None),
        ] {
            let form = Form::of(value);
            assert_eq!(form.as_ref().map(Form::width), width, "{value}");
            let Some(form) = form else { continue };
            let packed = form.packed(value).expect("of its own form");
            let mut text = Vec::new();
            form.unpack(&packed, &mut text);
            assert_eq!(text, value.as_bytes());
            assert!(form.can_have(&value.as_bytes()[3..7]) && form.is_as_long_as(value.as_bytes()));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let form = Form::of("req_6b0d549b").expect("digits");
        for other in ["req_6b0d549", "req_6b0d549bc", "rex_6b0d549b", "req_6b0d549B", "req_6b0d54 b", ""] {
            assert_eq!(form.packed(other), None, "{other}");
        }
        assert_eq!(Form::of("req_00000000"), Some(form.clone()));
        assert!(form.can_have(b"q_6") && !form.can_have(b"z") && !form.can_have(b"6_"));
    }
}
