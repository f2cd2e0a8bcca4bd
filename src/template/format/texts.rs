//! Texts and booleans: `%s %q %x %t`.

use super::{Printed, Printer};
use crate::template::strconv::quote::{can_backquote, push_quoted};
use crate::template::unicode::chars;
use crate::template::value::Value;

impl Printer<'_> {
    pub(super) fn bool(&mut self, value: bool, verb: char) -> Printed {
        match verb {
            't' | 'v' => {
                self.padded(if value { b"true" } else { b"false" });
                Ok(())
            }
            _ => self.bad_verb(verb, &Value::Bool(value)),
        }
    }

    /// `of` is what a bad verb is reported with.
    pub(super) fn text(&mut self, text: &[u8], verb: char, of: &Value<'_>) -> Printed {
        match verb {
            'v' if self.flags.sharp_v => self.quoted(text),
            'v' | 's' => {
                let cut = self.cut(text);
                self.padded(cut);
            }
            'x' | 'X' => self.hex(text, verb == 'X'),
            'q' => self.quoted(text),
            _ => return self.bad_verb(verb, of),
        }
        Ok(())
    }

    /// The text up to the precision, in characters.
    pub(super) fn cut<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let end = self.precision.and_then(|precision| chars(text).nth(precision)).map_or(text.len(), |(at, _, _)| at);
        &text[..end]
    }

    fn quoted(&mut self, text: &[u8]) {
        let text = self.cut(text);
        let mut quoted = Vec::with_capacity(text.len() + 2);
        if self.flags.sharp && can_backquote(text) {
            quoted.push(b'`');
            quoted.extend_from_slice(text);
            quoted.push(b'`');
        } else {
            push_quoted(&mut quoted, text, b'"', self.flags.plus);
        }
        self.padded(&quoted);
    }

    fn hex(&mut self, bytes: &[u8], upper: bool) {
        const LOWER: &[u8; 16] = b"0123456789abcdef";
        const UPPER: &[u8; 16] = b"0123456789ABCDEF";
        let bytes = &bytes[..bytes.len().min(self.precision.unwrap_or(usize::MAX))];
        if bytes.is_empty() {
            return self.padding(self.width.unwrap_or(0));
        }
        let (digits, prefix) = if upper { (UPPER, b"0X") } else { (LOWER, b"0x") };
        let mut out = Vec::with_capacity(bytes.len() * 2 + 2);
        for (at, byte) in bytes.iter().enumerate() {
            if self.flags.space && at > 0 {
                out.push(b' ');
            }
            if self.flags.sharp && (at == 0 || self.flags.space) {
                out.extend_from_slice(prefix);
            }
            out.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
        self.padded(&out);
    }
}
