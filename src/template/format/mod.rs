//! Go's `fmt`: verbs, flags, widths, and values of every type.
//!
//! ```text
//! printf ─▶ verbs (format text) ─▶ Printer::argument ─▶ values (lists, maps, structs, times)
//! print, {{value}} ────────────────────┘                  └─▶ pad, numbers, texts
//! ```
//!
//! Errors: [`LimitError`] only; what is wrong with a format is written into the output as `%!d(string=x)`.

mod numbers;
mod texts;
mod values;
pub(super) use values::string_of;
pub(super) mod verbs;

use super::limits::{LimitError, TEXT_BYTES_MAX, VALUE_DEPTH_MAX};
use super::unicode::chars;
use super::value::Value;

type Printed = Result<(), LimitError>;

/// Appends a value as `%v`.
pub(super) fn print_value(out: &mut Vec<u8>, value: &Value<'_>) -> Printed {
    print_with_verb(out, value, 'v')
}

/// Appends a value as the verb says.
pub(super) fn print_with_verb(out: &mut Vec<u8>, value: &Value<'_>, verb: char) -> Printed {
    Printer::new(out).argument(value, verb)
}

/// One argument's flags and where it is written to.
struct Printer<'o> {
    out: &'o mut Vec<u8>,
    flags: Flags,
    width: Option<usize>,
    precision: Option<usize>,
    /// Set while a bad verb is reported: methods are not asked then.
    is_reporting: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%+v`
    plus_v: bool,
    /// `%#v`
    sharp_v: bool,
}

impl<'o> Printer<'o> {
    fn new(out: &'o mut Vec<u8>) -> Self {
        Printer { out, flags: Flags::default(), width: None, precision: None, is_reporting: false }
    }

    fn clear(&mut self) {
        self.flags = Flags::default();
        self.width = None;
        self.precision = None;
    }

    fn check(&self, depth: usize) -> Printed {
        if depth > VALUE_DEPTH_MAX {
            return Err(LimitError::ValueDepth);
        }
        if self.out.len() > TEXT_BYTES_MAX { Err(LimitError::Text) } else { Ok(()) }
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn padding(&mut self, count: usize) {
        // Zeros pad on the left only.
        let byte = if self.flags.zero && !self.flags.minus { b'0' } else { b' ' };
        self.out.resize(self.out.len() + count, byte);
    }

    /// Writes `text`, padded to the width in characters.
    fn padded(&mut self, text: &[u8]) {
        let missing = match self.width {
            Some(width) if width > 0 => width.saturating_sub(chars(text).count()),
            _ => 0,
        };
        if !self.flags.minus {
            self.padding(missing);
        }
        self.out.extend_from_slice(text);
        if self.flags.minus {
            self.padding(missing);
        }
    }
}
