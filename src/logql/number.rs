//! Numbers as Go's `text/scanner` reads them: what it takes, and the words with which it refuses the rest.

use super::lexer::Lexer;

/// What digits were met.
#[derive(Default)]
struct Met {
    digit: bool,
    separator: bool,
    /// The first that the base does not have.
    invalid: Option<char>,
}

impl Lexer {
    /// The text of the number that starts here.
    pub(super) fn number(&mut self) -> Result<String, String> {
        let start = self.at;
        let (mut met, mut mantissa_is_float) = (Met::default(), false);
        let (mut base, mut prefix) = (10, None);
        if self.peek() != Some('.') {
            if self.peek() == Some('0') {
                self.advance();
                (base, prefix) = match self.peek().map(|c| c.to_ascii_lowercase()) {
                    Some('x') => (16, Some('x')),
                    Some('o') => (8, Some('o')),
                    Some('b') => (2, Some('b')),
                    _ => (8, Some('0')),
                };
                match prefix {
                    Some('0') => met.digit = true,
                    _ => {
                        self.advance();
                    }
                }
            }
            self.digits(base, &mut met);
        }
        let mut error = None;
        let mut refuse = |words: String| {
            error.get_or_insert(words);
        };
        if self.peek() == Some('.') {
            self.advance();
            mantissa_is_float = true;
            if matches!(prefix, Some('o' | 'b')) {
                refuse(format!("invalid radix point in {}", literal_name(prefix)));
            }
            self.digits(base, &mut met);
        }
        if !met.digit {
            refuse(format!("{} has no digits", literal_name(prefix)));
        }
        let mut is_float = mantissa_is_float;
        match self.peek() {
            Some(c @ ('e' | 'E' | 'p' | 'P')) => {
                let is_hexadecimal = matches!(c, 'p' | 'P');
                if is_hexadecimal && prefix != Some('x') {
                    refuse(format!("{c:?} exponent requires hexadecimal mantissa"));
                }
                if !is_hexadecimal && !matches!(prefix, None | Some('0')) {
                    refuse(format!("{c:?} exponent requires decimal mantissa"));
                }
                is_float = true;
                self.advance();
                if matches!(self.peek(), Some('+' | '-')) {
                    self.advance();
                }
                let mut exponent = Met::default();
                self.digits(10, &mut exponent);
                met.separator |= exponent.separator;
                if !exponent.digit {
                    refuse("exponent has no digits".to_owned());
                }
            }
            _ if prefix == Some('x') && mantissa_is_float => {
                refuse("hexadecimal mantissa requires a 'p' exponent".to_owned());
            }
            _ => {}
        }
        if let Some(invalid) = met.invalid.filter(|_| !is_float) {
            refuse(format!("invalid digit {invalid:?} in {}", literal_name(prefix)));
        }
        let text: String = self.chars[start..self.at].iter().collect();
        if met.separator && !separators_stand_between_digits(&text) {
            refuse("'_' must separate successive digits".to_owned());
        }
        error.map_or(Ok(text), Err)
    }

    fn digits(&mut self, base: u32, met: &mut Met) {
        while let Some(c) = self.peek().filter(|c| *c == '_' || c.is_digit(base.max(10))) {
            if c == '_' {
                met.separator = true;
            } else {
                met.digit = true;
                if !c.is_digit(base) {
                    met.invalid.get_or_insert(c);
                }
            }
            self.advance();
        }
    }
}

fn literal_name(prefix: Option<char>) -> &'static str {
    match prefix {
        Some('x') => "hexadecimal literal",
        Some('o' | '0') => "octal literal",
        Some('b') => "binary literal",
        _ => "decimal literal",
    }
}

/// Whether each `_` has a digit before it, or the prefix of a base, and one behind it.
fn separators_stand_between_digits(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let (is_hexadecimal, rest) = match lower.get(..2) {
        Some("0x") => (true, &lower[2..]),
        Some("0o" | "0b") => (false, &lower[2..]),
        _ => (false, lower.as_str()),
    };
    // What stands before: a digit (or the prefix), a separator, or anything else.
    let mut before = if rest.len() < lower.len() { '0' } else { '.' };
    for c in rest.chars() {
        let kind = match c {
            '_' => '_',
            c if c.is_ascii_digit() || (is_hexadecimal && c.is_ascii_hexdigit()) => '0',
            _ => '.',
        };
        if (kind == '_' && before != '0') || (kind == '.' && before == '_') {
            return false;
        }
        before = kind;
    }
    before != '_'
}
