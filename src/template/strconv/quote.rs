//! Quoted texts and characters: `"a\tb"`, `` `raw` ``, `'x'`.

use std::io::Write as _;

use crate::template::unicode::{REPLACEMENT, decode, is_print, push_char};

/// Go's `strconv.Quote`.
pub(in crate::template) fn quoted(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_quoted(&mut out, text, b'"', false);
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends `text` between quotes, what does not print as escapes; `ascii_only` escapes all but ASCII.
pub(in crate::template) fn push_quoted(out: &mut Vec<u8>, text: &[u8], quote: u8, ascii_only: bool) {
    out.push(quote);
    let mut rest = text;
    while let Some((c, width)) = decode(rest) {
        if c == REPLACEMENT && width == 1 {
            push_escape(out, format_args!("\\x{:02x}", rest[0]));
        } else {
            push_escaped(out, c, quote, ascii_only);
        }
        rest = &rest[width..];
    }
    out.push(quote);
}

/// Appends a character between single quotes.
pub(in crate::template) fn push_quoted_char(out: &mut Vec<u8>, c: char, ascii_only: bool) {
    out.push(b'\'');
    push_escaped(out, c, b'\'', ascii_only);
    out.push(b'\'');
}

fn push_escape(out: &mut Vec<u8>, escape: std::fmt::Arguments<'_>) {
    out.write_fmt(escape).expect("a vector takes all bytes");
}

fn push_escaped(out: &mut Vec<u8>, c: char, quote: u8, ascii_only: bool) {
    if c == char::from(quote) || c == '\\' {
        out.push(b'\\');
        push_char(out, c);
        return;
    }
    if is_print(c) && (c.is_ascii() || !ascii_only) {
        push_char(out, c);
        return;
    }
    let short: &[u8] = match c {
        '\x07' => b"\\a",
        '\x08' => b"\\b",
        '\x0c' => b"\\f",
        '\n' => b"\\n",
        '\r' => b"\\r",
        '\t' => b"\\t",
        '\x0b' => b"\\v",
        _ => {
            return match u32::from(c) {
                code @ (0..0x20 | 0x7f) => push_escape(out, format_args!("\\x{code:02x}")),
                code @ 0..0x10000 => push_escape(out, format_args!("\\u{code:04x}")),
                code => push_escape(out, format_args!("\\U{code:08x}")),
            };
        }
    };
    out.extend_from_slice(short);
}

/// Whether a text can stand unchanged between backquotes on one line.
pub(in crate::template) fn can_backquote(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((c, width)) = decode(rest) {
        rest = &rest[width..];
        let is_plain = match c {
            '\u{feff}' | '`' | '\x7f' => false,
            '\t' => true,
            REPLACEMENT => width > 1,
            c => c >= ' ',
        };
        if !is_plain {
            return false;
        }
    }
    true
}

/// The text of a `"…"` or `` `…` `` literal; nothing when it is malformed.
pub(in crate::template) fn unquote(literal: &str) -> Option<Vec<u8>> {
    if let Some(inside) = literal.strip_prefix('`') {
        // Raw: all but carriage returns, as it is.
        let inside = inside.strip_suffix('`').filter(|inside| !inside.contains('`'))?;
        return Some(inside.bytes().filter(|byte| *byte != b'\r').collect());
    }
    let mut rest = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        if rest.starts_with('\n') {
            return None;
        }
        let (piece, after) = unquote_char(rest, '"')?;
        match piece {
            Piece::Byte(byte) => out.push(byte),
            Piece::Char(c) => push_char(&mut out, c),
        }
        rest = after;
    }
    Some(out)
}

/// The code of a `'…'` literal.
pub(in crate::template) fn unquote_char_literal(literal: &str) -> Result<i64, CharFault> {
    let inside = literal.strip_prefix('\'').ok_or(CharFault::Syntax)?;
    let (piece, rest) = unquote_char(inside, '\'').ok_or(CharFault::Syntax)?;
    match (piece, rest) {
        (Piece::Byte(byte), "'") => Ok(i64::from(byte)),
        (Piece::Char(c), "'") => Ok(i64::from(u32::from(c))),
        _ => Err(CharFault::NotOne),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::template) enum CharFault {
    Syntax,
    /// More than one character.
    NotOne,
}

enum Piece {
    /// Of an escape for a byte, which may be no UTF-8.
    Byte(u8),
    Char(char),
}

/// The first character of a literal's inside and what follows it.
fn unquote_char(text: &str, quote: char) -> Option<(Piece, &str)> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if first == quote {
        return None;
    }
    if first != '\\' {
        return Some((Piece::Char(first), chars.as_str()));
    }
    let escape = chars.next()?;
    let rest = chars.as_str();
    let plain = |byte: u8| Some((Piece::Byte(byte), rest));
    match escape {
        'a' => plain(7),
        'b' => plain(8),
        'f' => plain(12),
        'n' => plain(b'\n'),
        'r' => plain(b'\r'),
        't' => plain(b'\t'),
        'v' => plain(11),
        '\\' => plain(b'\\'),
        c if c == quote => Some((Piece::Char(c), rest)),
        'x' => {
            let (code, rest) = digits(rest, 2, 16)?;
            Some((Piece::Byte(u8::try_from(code).ok()?), rest))
        }
        'u' | 'U' => {
            let (code, rest) = digits(rest, if escape == 'u' { 4 } else { 8 }, 16)?;
            Some((Piece::Char(char::from_u32(code)?), rest))
        }
        '0'..='7' => {
            let from_first = &text[1..];
            let (code, rest) = digits(from_first, 3, 8)?;
            Some((Piece::Byte(u8::try_from(code).ok()?), rest))
        }
        _ => None,
    }
}

fn digits(text: &str, count: usize, radix: u32) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    // No sign: `from_str_radix` would take one.
    let is_number = digits.chars().all(|c| c.is_digit(radix));
    let code = u32::from_str_radix(digits, radix).ok().filter(|_| is_number)?;
    Some((code, rest))
}
