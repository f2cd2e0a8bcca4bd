//! Format texts: `%-10.3s %[2]*d %+v %%`, and plain printing.

use super::{LimitError, Printed, Printer};
use crate::template::unicode::{decode, push_char};
use crate::template::value::{Kind, Operand, Value};

/// What is printed for no value at all.
pub(in crate::template) const NO_VALUE: &[u8] = b"<no value>";
/// Widths, precisions and places of arguments beyond this are no numbers to Go.
const NUMBER_MAX: i64 = 1_000_000;

/// Go's `fmt.Sprint`: a space between two arguments that are no texts.
pub(in crate::template) fn print<'v, 'a: 'v>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = &'v Value<'a>>,
) -> Printed {
    let mut printer = Printer::new(out);
    let mut is_after_value = false;
    for value in values {
        let is_text = value.kind() == Kind::String;
        if is_after_value && !is_text {
            printer.push(" ");
        }
        printer.argument(value, 'v')?;
        printer.check(0)?;
        is_after_value = !is_text;
    }
    Ok(())
}

/// Go's `fmt.Sprintln`.
pub(in crate::template) fn print_line<'v, 'a: 'v>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = &'v Value<'a>>,
) -> Printed {
    let mut printer = Printer::new(out);
    for (at, value) in values.enumerate() {
        if at > 0 {
            printer.push(" ");
        }
        printer.argument(value, 'v')?;
        printer.check(0)?;
    }
    printer.push("\n");
    Ok(())
}

/// Go's `fmt.Sprintf`.
pub(in crate::template) fn print_format(out: &mut Vec<u8>, format: &[u8], arguments: &[Operand<'_>]) -> Printed {
    let mut reader = Reader {
        format,
        at: 0,
        arguments,
        argument: 0,
        is_reordered: false,
        is_good_argument: true,
        printer: Printer::new(out),
    };
    while reader.at < format.len() {
        reader.is_good_argument = true;
        let plain = format[reader.at..].iter().take_while(|byte| **byte != b'%').count();
        reader.printer.out.extend_from_slice(&format[reader.at..reader.at + plain]);
        reader.at += plain;
        if reader.at >= format.len() {
            break;
        }
        reader.at += 1;
        if !reader.directive()? {
            break;
        }
        reader.printer.check(0)?;
    }
    reader.extra_arguments()
}

struct Reader<'f, 'o, 'a> {
    format: &'f [u8],
    at: usize,
    arguments: &'f [Operand<'a>],
    /// The next argument.
    argument: usize,
    is_reordered: bool,
    is_good_argument: bool,
    printer: Printer<'o>,
}

impl<'f, 'a> Reader<'f, '_, 'a> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    fn value(&self) -> Option<&'f Value<'a>> {
        self.arguments.get(self.argument).map(|operand| &operand.value)
    }

    /// What follows a `%`; false when the format ends in it.
    fn directive(&mut self) -> Result<bool, LimitError> {
        self.printer.clear();
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => self.printer.flags.sharp = true,
                b'0' => self.printer.flags.zero = true,
                b'+' => self.printer.flags.plus = true,
                b'-' => self.printer.flags.minus = true,
                b' ' => self.printer.flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        let mut after_index = self.argument_index();
        if self.peek() == Some(b'*') {
            self.at += 1;
            let width = self.integer_argument();
            if width.is_none() {
                self.printer.push("%!(BADWIDTH)");
            }
            if width.is_some_and(|width| width < 0) {
                self.printer.flags.minus = true;
                self.printer.flags.zero = false;
            }
            self.printer.width = width.and_then(|width| usize::try_from(width.unsigned_abs()).ok());
            after_index = false;
        } else {
            self.printer.width = self.number();
            if after_index && self.printer.width.is_some() {
                self.is_good_argument = false;
            }
        }
        if self.peek() == Some(b'.') && self.at + 1 < self.format.len() {
            self.at += 1;
            if after_index {
                self.is_good_argument = false;
            }
            after_index = self.argument_index();
            if self.peek() == Some(b'*') {
                self.at += 1;
                self.printer.precision = self.integer_argument().and_then(|number| usize::try_from(number).ok());
                if self.printer.precision.is_none() {
                    self.printer.push("%!(BADPREC)");
                }
                after_index = false;
            } else {
                self.printer.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.argument_index();
        }
        self.verb()
    }

    fn verb(&mut self) -> Result<bool, LimitError> {
        let Some((verb, width)) = decode(&self.format[self.at..]) else {
            self.printer.push("%!(NOVERB)");
            return Ok(false);
        };
        self.at += width;
        let fault = |printer: &mut Printer<'_>, words: &str| {
            printer.push("%!");
            push_char(printer.out, verb);
            printer.push(words);
        };
        match (verb, self.value()) {
            ('%', _) => self.printer.push("%"),
            _ if !self.is_good_argument => fault(&mut self.printer, "(BADINDEX)"),
            (_, None) => fault(&mut self.printer, "(MISSING)"),
            (_, Some(value)) => {
                if matches!(verb, 'v' | 'w') {
                    let flags = &mut self.printer.flags;
                    flags.sharp_v = std::mem::take(&mut flags.sharp);
                    flags.plus_v = std::mem::take(&mut flags.plus);
                }
                self.argument += 1;
                self.printer.argument(value, verb)?;
            }
        }
        Ok(true)
    }

    /// Decimal digits; a number too large takes the rest of the format with it, as in Go.
    fn number(&mut self) -> Option<usize> {
        let mut number: Option<i64> = None;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            let known = number.unwrap_or(0);
            if known > NUMBER_MAX {
                self.at = self.format.len();
                return None;
            }
            number = Some(known * 10 + i64::from(digit - b'0'));
            self.at += 1;
        }
        number.and_then(|number| usize::try_from(number).ok())
    }

    /// `[3]`: the place of the next argument; whether there was one.
    fn argument_index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.is_reordered = true;
        let inside = &self.format[self.at + 1..];
        let Some(length) = inside.iter().position(|byte| *byte == b']').filter(|_| inside.len() >= 2) else {
            self.is_good_argument = false;
            self.at += 1;
            return false;
        };
        self.at += length + 2;
        let digits = &inside[..length];
        let number = digits.iter().try_fold(0_i64, |number, digit| {
            let is_fine = digit.is_ascii_digit() && number <= NUMBER_MAX;
            is_fine.then(|| number * 10 + i64::from(digit - b'0'))
        });
        match number.filter(|_| !digits.is_empty()) {
            Some(number) => {
                match usize::try_from(number - 1).ok().filter(|at| *at < self.arguments.len()) {
                    Some(at) => self.argument = at,
                    None => self.is_good_argument = false,
                }
                true
            }
            None => {
                self.is_good_argument = false;
                false
            }
        }
    }

    /// The next argument as a width or precision.
    fn integer_argument(&mut self) -> Option<i64> {
        let value = self.value()?;
        self.argument += 1;
        value.integer().filter(|number| (-NUMBER_MAX..=NUMBER_MAX).contains(number))
    }

    /// Arguments that no verb took, unless verbs said which they take.
    fn extra_arguments(&mut self) -> Printed {
        let extra = self.arguments.get(self.argument..).unwrap_or_default();
        if self.is_reordered || extra.is_empty() {
            return Ok(());
        }
        self.printer.clear();
        self.printer.push("%!(EXTRA ");
        for (at, operand) in extra.iter().enumerate() {
            if at > 0 {
                self.printer.push(", ");
            }
            match &operand.value {
                Value::Nil => self.printer.push("<nil>"),
                value => {
                    self.printer.push(value.type_name());
                    self.printer.push("=");
                    self.printer.argument(value, 'v')?;
                }
            }
            self.printer.check(0)?;
        }
        self.printer.push(")");
        Ok(())
    }
}
