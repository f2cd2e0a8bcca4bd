//! Finding the parts of a JSON text without building anything.
//!
//! The scanner accepts and refuses what Loki's parser does, which is less than a validating parser would: a value's
//! end is found first (the matching bracket, the closing quote, the next separator), and only what is entered is
//! checked. Positions are byte offsets; all found ends are at ASCII characters, so slices stay valid UTF-8.
//!
//! Errors: [`ScanError`], worded as Loki words them.

/// Why a text is no JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanError {
    UnknownValue,
    Malformed,
    String,
    Array,
    Object,
    Escape,
}

impl ScanError {
    /// The words of Loki's parser.
    pub fn words(self) -> &'static str {
        match self {
            ScanError::UnknownValue => "Unknown value type",
            ScanError::Malformed => "Malformed JSON error",
            ScanError::String => "Value is string, but can't find closing '\"' symbol",
            ScanError::Array => "Value is array, but can't find closing ']' symbol",
            ScanError::Object => "Value looks like object, but can't find closing '}' symbol",
            ScanError::Escape => "Encountered an invalid escape sequence in a string",
        }
    }
}

/// What a value is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    String,
    Number,
    Object,
    Array,
    Boolean,
    Null,
}

/// A value: `start..end` is its text, without the quotes of a string; `after` is where scanning goes on.
#[derive(Debug, Clone, Copy)]
pub struct Value {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    pub after: usize,
    /// For strings: has a backslash.
    pub escaped: bool,
    /// For strings: has a byte that is not ASCII.
    pub beyond_ascii: bool,
}

/// Where a string ends: `quote` is its closing quote.
#[derive(Debug, Clone, Copy)]
pub struct StringEnd {
    pub quote: usize,
    pub escaped: bool,
    pub beyond_ascii: bool,
}

/// The next byte that is no white space, at `from` or later.
#[inline]
pub fn next_token(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            return Some(at);
        }
        at += 1;
    }
    None
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// High bits where a byte of `word` equals `byte`; exact up to and including the first.
#[inline]
fn matches_of(word: u64, byte: u8) -> u64 {
    let difference = word ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference & HIGHS
}

/// The end of the string whose first character is at `from`, after the opening quote.
#[inline]
pub fn string_end(bytes: &[u8], from: usize) -> Option<StringEnd> {
    let (mut at, mut escaped, mut high) = (from, false, 0u64);
    loop {
        while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*chunk);
            let found = matches_of(word, b'"') | matches_of(word, b'\\');
            if found != 0 {
                let skipped = (found.trailing_zeros() / 8) as usize;
                high |= word & HIGHS & ((1u64 << (skipped * 8)) - 1);
                at += skipped;
                break;
            }
            high |= word & HIGHS;
            at += 8;
        }
        match bytes.get(at)? {
            b'"' => return Some(StringEnd { quote: at, escaped, beyond_ascii: high != 0 }),
            b'\\' => {
                escaped = true;
                high |= u64::from(*bytes.get(at + 1)? & 0x80);
                at += 2;
            }
            byte => {
                high |= u64::from(byte & 0x80);
                at += 1;
            }
        }
    }
}

/// The position after the bracket that closes the one at `from`; only this kind of bracket is counted.
pub fn block_end(bytes: &[u8], from: usize, open: u8, close: u8) -> Option<usize> {
    let (mut at, mut level) = (from, 0i64);
    loop {
        let byte = *bytes.get(at)?;
        if byte == b'"' {
            at = string_end(bytes, at + 1)?.quote;
        } else if byte == open {
            level += 1;
        } else if byte == close {
            level -= 1;
            if level == 0 {
                return Some(at + 1);
            }
        }
        at += 1;
    }
}

/// Which bytes end a number, a boolean or a null.
static ENDS_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 7 {
        table[b" \n\r\t,}]"[at] as usize] = true;
        at += 1;
    }
    table
};

/// The value at `from`, white space before it allowed.
#[inline]
pub fn value_at(bytes: &[u8], from: usize) -> Result<Value, ScanError> {
    let start = next_token(bytes, from).ok_or(ScanError::Malformed)?;
    let plain = |kind, end| Value { kind, start, end, after: end, escaped: false, beyond_ascii: false };
    match bytes[start] {
        b'"' => {
            let end = string_end(bytes, start + 1).ok_or(ScanError::String)?;
            Ok(Value {
                kind: Kind::String,
                start: start + 1,
                end: end.quote,
                after: end.quote + 1,
                escaped: end.escaped,
                beyond_ascii: end.beyond_ascii,
            })
        }
        b'[' => block_end(bytes, start, b'[', b']').map(|end| plain(Kind::Array, end)).ok_or(ScanError::Array),
        b'{' => block_end(bytes, start, b'{', b'}').map(|end| plain(Kind::Object, end)).ok_or(ScanError::Object),
        first => {
            let mut end = start;
            while bytes.get(end).is_some_and(|byte| !ENDS_TOKEN[usize::from(*byte)]) {
                end += 1;
            }
            match first {
                b'0'..=b'9' | b'-' => Ok(plain(Kind::Number, end)),
                b't' | b'f' if matches!(&bytes[start..end], b"true" | b"false") => Ok(plain(Kind::Boolean, end)),
                b'n' if &bytes[start..end] == b"null" => Ok(plain(Kind::Null, end)),
                _ => Err(ScanError::UnknownValue),
            }
        }
    }
}

/// Appends `text` with its escapes resolved; on an error `out` is as before.
pub fn unescape(text: &str, out: &mut String) -> Result<(), ScanError> {
    let mark = out.len();
    let mut rest = text;
    while let Some(backslash) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..backslash]);
        match unescape_one(&rest[backslash..]) {
            Some((character, used)) => {
                out.push(character);
                rest = &rest[backslash + used..];
            }
            None => {
                out.truncate(mark);
                return Err(ScanError::Escape);
            }
        }
    }
    out.push_str(rest);
    Ok(())
}

/// One escape sequence: its character and its length in bytes.
fn unescape_one(text: &str) -> Option<(char, usize)> {
    let bytes = text.as_bytes();
    let character = match *bytes.get(1)? {
        simple @ (b'"' | b'\\' | b'/') => char::from(simple),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_unicode(bytes),
        _ => return None,
    };
    Some((character, 2))
}

fn unescape_unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = hex_unit(bytes)?;
    if !(0xD800..=0xDFFF).contains(&unit) {
        return Some((char::from_u32(unit)?, 6));
    }
    // Any half of a pair takes the next six bytes as the other half, whatever their first two are.
    let low = hex_unit(&bytes[6..]).filter(|low| *low >= 0xDC00)?;
    let combined = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    Some((char::from_u32(combined).unwrap_or(char::REPLACEMENT_CHARACTER), 12))
}

fn hex_unit(bytes: &[u8]) -> Option<u32> {
    bytes.get(2..6)?.iter().try_fold(0, |unit, byte| Some(unit << 4 | char::from(*byte).to_digit(16)?))
}

/// Appends the unescaped text of a string as a label value: nothing when an escape is wrong, and a space for each
/// replacement character, which labels may not hold.
pub fn push_label_value(text: &str, out: &mut String) {
    let mark = out.len();
    if unescape(text, out).is_err() {
        return;
    }
    if out[mark..].contains(char::REPLACEMENT_CHARACTER) {
        let cleaned = out[mark..].replace(char::REPLACEMENT_CHARACTER, " ");
        out.truncate(mark);
        out.push_str(&cleaned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_at_the_unescaped_quote() {
        for (text, quote, escaped, beyond_ascii) in [
            (r#"abc" "#, 3, false, false),
            (r#"0123456789abcdef""#, 16, false, false),
            (r#"01234567\"9abcdef""#, 17, true, false),
            (r#"a\\""#, 3, true, false),
            ("ż\"", 2, false, true),
            ("0123456\"ż", 7, false, false),
            (r#"\ż""#, 3, true, true),
        ] {
            let end = string_end(text.as_bytes(), 0).expect(text);
            assert_eq!((end.quote, end.escaped, end.beyond_ascii), (quote, escaped, beyond_ascii), "{text}");
        }
        for text in ["abc", r#"abc\""#, "", "\\"] {
            assert!(string_end(text.as_bytes(), 0).is_none(), "{text}");
        }
    }

    #[test]
    fn escapes() {
        for (text, want) in [
            (r"a\n\t\/\\b", Some("a\n\t/\\b")),
            (r"\u0041\u00e9", Some("Aé")),
            (r"\ud83d\ude00!", Some("😀!")),
            (r"\ud83d", None),
            (r"\ud83dxxxxxx", None),
            (r"\x41", None),
            (r"\u12", None),
            ("plain", Some("plain")),
        ] {
            let mut out = String::from("kept:");
            let ok = unescape(text, &mut out).is_ok();
            assert_eq!(ok.then_some(&out[5..]), want, "{text}");
            assert!(ok || out == "kept:");
        }
    }

    #[test]
    fn values() {
        fn check(text: &str) -> Result<(Kind, &str), ScanError> {
            value_at(text.as_bytes(), 0).map(|value| (value.kind, &text[value.start..value.end]))
        }
        assert_eq!(check(" 12.5e3,"), Ok((Kind::Number, "12.5e3")));
        assert_eq!(check("-x}"), Ok((Kind::Number, "-x")));
        assert_eq!(check("true "), Ok((Kind::Boolean, "true")));
        assert_eq!(check("tru "), Err(ScanError::UnknownValue));
        assert_eq!(check("undefined"), Err(ScanError::UnknownValue));
        assert_eq!(check("null]"), Ok((Kind::Null, "null")));
        assert_eq!(check(r#"{"a":"}"},"#), Ok((Kind::Object, r#"{"a":"}"}"#)));
        assert_eq!(check("[1,[2]"), Err(ScanError::Array));
        assert_eq!(check("{"), Err(ScanError::Object));
        assert_eq!(check("\"a"), Err(ScanError::String));
        assert_eq!(check("  "), Err(ScanError::Malformed));
    }
}
