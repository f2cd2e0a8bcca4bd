//! Characters as Go classifies, maps and decodes them.
//!
//! Go's texts are bytes: what is no UTF-8 decodes to U+FFFD, one byte at a time. Its mappings are the simple ones,
//! a character for a character. Classes come from `regex-syntax`, whose Unicode is newer than Go's.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

pub(super) const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// A sorted set of characters.
struct CharSet(Vec<(char, char)>);

impl CharSet {
    fn new(class: &str) -> Self {
        let hir = regex_syntax::parse(class).expect("the classes below are well-formed");
        let HirKind::Class(Class::Unicode(class)) = hir.kind() else { return CharSet(Vec::new()) };
        CharSet(class.iter().map(|range| (range.start(), range.end())).collect())
    }

    fn contains(&self, c: char) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < c);
        self.0.get(at).is_some_and(|(start, _)| *start <= c)
    }
}

static LETTERS: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"\p{L}"));
static DIGITS: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"\p{Nd}"));
static PRINTABLE: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"[\p{L}\p{M}\p{N}\p{P}\p{S}]"));
static UPPER: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"\p{Lu}"));
static LOWER: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"\p{Ll}"));
static TITLE: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"\p{Lt}"));

static NUMBERS: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"\p{N}"));
static PUNCTUATION: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"\p{P}"));

/// Go's `unicode.IsNumber`.
pub(super) fn is_number(c: char) -> bool {
    NUMBERS.contains(c)
}

/// Go's `unicode.IsPunct`.
pub(super) fn is_punctuation(c: char) -> bool {
    PUNCTUATION.contains(c)
}

/// Go's `unicode.IsLetter`.
pub(super) fn is_letter(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { LETTERS.contains(c) }
}

/// Go's `unicode.IsDigit`.
pub(super) fn is_digit(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { DIGITS.contains(c) }
}

/// Go's `unicode.IsPrint`: the space is the only space among them.
pub(super) fn is_print(c: char) -> bool {
    if c.is_ascii() { (' '..='~').contains(&c) } else { PRINTABLE.contains(c) }
}

pub(super) fn is_upper(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_uppercase() } else { UPPER.contains(c) }
}

pub(super) fn is_lower(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_lowercase() } else { LOWER.contains(c) }
}

pub(super) fn is_title(c: char) -> bool {
    TITLE.contains(c)
}

/// The first character and its bytes; nothing of an empty text.
#[inline]
pub(super) fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = *bytes.first()?;
    let width = match first {
        0..0x80 => return Some((char::from(first), 1)),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((REPLACEMENT, 1)),
    };
    let text = bytes.get(..width).and_then(|bytes| std::str::from_utf8(bytes).ok());
    Some(text.and_then(|text| text.chars().next()).map_or((REPLACEMENT, 1), |c| (c, width)))
}

/// The last character and its bytes.
pub(super) fn decode_last(bytes: &[u8]) -> Option<(char, usize)> {
    let (last, _) = bytes.split_last()?;
    if last.is_ascii() {
        return Some((char::from(*last), 1));
    }
    for width in 2..=bytes.len().min(4) {
        let start = bytes.len() - width;
        if let Some((c, decoded)) = decode(&bytes[start..])
            && decoded == width
        {
            return Some((c, width));
        }
    }
    Some((REPLACEMENT, 1))
}

/// Characters with the places of their bytes.
pub(super) fn chars(bytes: &[u8]) -> impl Iterator<Item = (usize, char, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (c, width) = decode(&bytes[at..])?;
        at += width;
        Some((at - width, c, width))
    })
}

pub(super) fn push_char(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Appends `bytes` with a mapping applied; bytes that are no UTF-8 become U+FFFD.
pub(super) fn push_mapped(out: &mut Vec<u8>, bytes: &[u8], map: impl Fn(char) -> char) {
    for (_, c, _) in chars(bytes) {
        push_char(out, map(c));
    }
}

/// A text of `bytes`, with U+FFFD for each byte that is no UTF-8.
pub(super) fn to_string(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| chars(error.as_bytes()).map(|(_, c, _)| c).collect())
}

/// Go's `unicode.ToUpper`.
pub(super) fn to_upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        // Those that expand in full case mapping but have a simple one: Greek with iota below.
        _ => match c {
            '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => shifted(c, 8),
            '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => shifted(c, 9),
            _ => c,
        },
    }
}

/// Go's `unicode.ToLower`.
pub(super) fn to_lower(c: char) -> char {
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ if c == '\u{130}' => 'i',
        _ => c,
    }
}

/// Go's `unicode.ToTitle`.
pub(super) fn to_title(c: char) -> char {
    match c {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        '\u{10d0}'..='\u{10ff}' => c,
        c => to_upper(c),
    }
}

fn shifted(c: char, by: u32) -> char {
    char::from_u32(u32::from(c) + by).unwrap_or(c)
}

/// Go's `strings.TrimSpace`: the range of what is left.
pub(super) fn trim_space(bytes: &[u8]) -> std::ops::Range<usize> {
    let is_space = |c: char| c.is_whitespace();
    let start = chars(bytes).find(|(_, c, _)| !is_space(*c)).map_or(bytes.len(), |(at, _, _)| at);
    start..start + trimmed_end(&bytes[start..], is_space)
}

/// Bytes left when characters are taken off the end.
pub(super) fn trimmed_end(bytes: &[u8], is_taken: impl Fn(char) -> bool) -> usize {
    let mut end = bytes.len();
    while let Some((_, width)) = decode_last(&bytes[..end]).filter(|(c, _)| is_taken(*c)) {
        end -= width;
    }
    end
}

/// Bytes to leave out at the start when characters are taken off it.
pub(super) fn trimmed_start(bytes: &[u8], is_taken: impl Fn(char) -> bool) -> usize {
    chars(bytes).find(|(_, c, _)| !is_taken(*c)).map_or(bytes.len(), |(at, _, _)| at)
}
