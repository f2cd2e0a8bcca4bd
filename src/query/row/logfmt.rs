//! `| logfmt`: `key=value` pairs become labels.
//!
//! ```text
//! level=warn msg="a \"b\"" dur=3ms flag  ─▶  level="warn", msg=`a "b"`, dur="3ms"   (flag: only with --keep-empty)
//! ```
//!
//! Of equal keys the first wins. Without `--strict` what cannot be read is skipped; with it, reading stops there and
//! the row gets `__error__="LogfmtParserErr"` with the position (from 1) of the fault.

use super::builder::{Context, EXTRACTED_SUFFIX, LabelState, LineView, Name, Text, name_hash};
use super::json::{is_clean_name, push_label_name};

/// Which byte, or what else, is wrong at a position counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SyntaxError {
    position: usize,
    what: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Unexpected(char),
    InvalidKey,
    UnterminatedQuote,
    InvalidQuote,
}

/// A part of the line, or, for quoted values with escapes, of the text they were unquoted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Empty,
    Line { start: usize, end: usize },
    Unquoted,
}

struct Decoder<'l> {
    line: &'l str,
    at: usize,
    key: (usize, usize),
    value: Field,
    error: Option<SyntaxError>,
    /// The value, when it is [`Field::Unquoted`].
    unquoted: String,
}

impl<'l> Decoder<'l> {
    fn new(line: &'l str, unquoted: String) -> Self {
        Decoder { line, at: 0, key: (0, 0), value: Field::Empty, error: None, unquoted }
    }

    fn at_end(&self) -> bool {
        self.at >= self.line.len()
    }

    fn key(&self) -> &'l str {
        &self.line[self.key.0..self.key.1]
    }

    fn value(&self) -> &str {
        match self.value {
            Field::Empty => "",
            Field::Line { start, end } => &self.line[start..end],
            Field::Unquoted => &self.unquoted,
        }
    }

    /// Reads the next pair; false when there is none or it is wrong.
    fn next_pair(&mut self) -> bool {
        self.key = (0, 0);
        self.value = Field::Empty;
        let bytes = self.line.as_bytes();
        let Some(start) = (self.at..bytes.len()).find(|at| bytes[*at] > b' ') else {
            self.at = bytes.len();
            return false;
        };
        let end = (start..bytes.len()).find(|at| matches!(bytes[*at], b'=' | b'"' | 0..=b' ')).unwrap_or(bytes.len());
        self.at = end;
        let stopper = bytes.get(end).copied();
        if stopper == Some(b'"') {
            return self.unexpected('"');
        }
        if end == start {
            return self.unexpected('=');
        }
        self.key = (start, end);
        if self.key().contains(char::REPLACEMENT_CHARACTER) {
            self.fail(Fault::InvalidKey);
            if stopper == Some(b'=') {
                self.skip_value();
            }
            return false;
        }
        if stopper != Some(b'=') {
            return true;
        }
        self.at += 1;
        match bytes.get(self.at) {
            None | Some(0..=b' ') => true,
            Some(b'"') => self.quoted_value(),
            Some(_) => self.plain_value(),
        }
    }

    fn plain_value(&mut self) -> bool {
        let bytes = self.line.as_bytes();
        let start = self.at;
        let end = (start..bytes.len()).find(|at| matches!(bytes[*at], b'=' | b'"' | 0..=b' ')).unwrap_or(bytes.len());
        self.at = end;
        if let Some(stopper @ (b'=' | b'"')) = bytes.get(end).copied() {
            return self.unexpected(char::from(stopper));
        }
        self.value = Field::Line { start, end };
        true
    }

    fn quoted_value(&mut self) -> bool {
        let bytes = self.line.as_bytes();
        let start = self.at + 1;
        let (mut at, mut escaped) = (start, false);
        while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
            at += found;
            if bytes[at] == b'\\' {
                escaped = true;
                at += 2;
                continue;
            }
            self.at = at + 1;
            if escaped {
                self.unquoted.clear();
                if !unquote(&self.line[start..at], &mut self.unquoted) {
                    return self.fail(Fault::InvalidQuote);
                }
                self.value = Field::Unquoted;
            } else if at > start {
                self.value = Field::Line { start, end: at };
            }
            return true;
        }
        self.at = bytes.len();
        self.fail(Fault::UnterminatedQuote)
    }

    fn unexpected(&mut self, character: char) -> bool {
        self.fail(Fault::Unexpected(character));
        self.skip_value();
        false
    }

    fn skip_value(&mut self) {
        let bytes = self.line.as_bytes();
        self.at = (self.at..bytes.len()).find(|at| bytes[*at] <= b' ').unwrap_or(bytes.len());
    }

    fn fail(&mut self, what: Fault) -> bool {
        self.error = Some(SyntaxError { position: self.at + 1, what });
        false
    }
}

/// Adds the labels; false drops the row.
pub(super) fn parse(
    cx: &Context<'_>,
    labels: &mut LabelState,
    view: LineView<'_>,
    strict: bool,
    keep_empty: bool,
) -> bool {
    if labels.no_labels(cx) {
        return true;
    }
    let mut decoder = Decoder::new(view.text, std::mem::take(&mut labels.prefix_scratch));
    let mut goes_on = true;
    while goes_on && !decoder.at_end() {
        if !decoder.next_pair() {
            if strict {
                break;
            }
            continue;
        }
        let Some((name, hash)) = label_name(cx, labels, view, &decoder) else { continue };
        let known = labels.text(cx, name);
        if !cx.hints.should_extract(known) || labels.extracted(cx, known, hash) {
            continue;
        }
        if !keep_empty && decoder.value().is_empty() {
            continue;
        }
        let value = value_text(labels, view, &decoder);
        labels.push_parsed(cx, name, hash, value);
        goes_on = cx.hints.should_continue(cx, labels, name, hash);
        if labels.all_required_extracted() {
            break;
        }
    }
    let error = decoder.error.filter(|_| strict && goes_on);
    labels.prefix_scratch = decoder.unquoted;
    if let Some(error) = error {
        set_error(cx, labels, error);
        let name = Text::Static("__error__");
        return cx.hints.should_continue(cx, labels, name, name_hash("__error__"));
    }
    goes_on
}

/// The name a key becomes; `None` when nothing is left of it.
fn label_name(
    cx: &Context<'_>,
    labels: &mut LabelState,
    view: LineView<'_>,
    decoder: &Decoder<'_>,
) -> Option<(Text, u32)> {
    let key = decoder.key();
    if cx.hints.is_limited() && key.is_ascii() && !cx.hints.key_length_fits(key.len()) {
        return None;
    }
    let (name, hash) = if is_clean_name(key) && view.original {
        (Text::Line { start: decoder.key.0, end: decoder.key.1 }, name_hash(key))
    } else {
        let name = labels.store_with(|arena| push_label_name(arena, key));
        (name, labels.arena_hash(name))
    };
    if labels.text(cx, name).is_empty() {
        return None;
    }
    if !labels.conflicts(cx, labels.text(cx, name), hash) {
        return Some((name, hash));
    }
    let name = labels.store_with(|arena| {
        push_label_name(arena, key);
        arena.push_str(EXTRACTED_SUFFIX);
    });
    Some((name, labels.arena_hash(name)))
}

fn value_text(labels: &mut LabelState, view: LineView<'_>, decoder: &Decoder<'_>) -> Text {
    let text = decoder.value();
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return labels.store(&text.replace(char::REPLACEMENT_CHARACTER, " "));
    }
    match decoder.value {
        Field::Empty => Text::Static(""),
        Field::Line { start, end } => view.keep(labels, start, end),
        Field::Unquoted => labels.store(text),
    }
}

fn set_error(cx: &Context<'_>, labels: &mut LabelState, error: SyntaxError) {
    let details = labels.store_with(|arena| {
        arena.push_str("logfmt syntax error at pos ");
        arena.push_str(&error.position.to_string());
        arena.push_str(" : ");
        match error.what {
            Fault::Unexpected(character) => {
                arena.push_str("unexpected '");
                arena.push(character);
                arena.push('\'');
            }
            Fault::InvalidKey => arena.push_str("invalid key"),
            Fault::UnterminatedQuote => arena.push_str("unterminated quoted value"),
            Fault::InvalidQuote => arena.push_str("invalid quoted value"),
        }
    });
    labels.set_parser_error(cx, "LogfmtParserErr", Some(details));
}

/// `| logfmt a="b"`: label and the key it is read from.
#[derive(Debug)]
pub(super) struct LogfmtFields {
    fields: Vec<(Name, Box<str>)>,
    strict: bool,
}

impl LogfmtFields {
    /// Of equal labels the last counts.
    pub(super) fn new(fields: Vec<(Name, Box<str>)>, strict: bool) -> Self {
        let mut unique: Vec<(Name, Box<str>)> = Vec::new();
        for (name, key) in fields {
            match unique.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = key,
                None => unique.push((name, key)),
            }
        }
        LogfmtFields { fields: unique, strict }
    }

    /// Keys that are read, cleaned, and those that would be labels of these names.
    pub(super) fn names(&self) -> Vec<String> {
        self.fields.iter().flat_map(|(label, key)| [label.text.to_string(), key.to_string()]).collect()
    }

    /// Adds the labels; the row stays.
    pub(super) fn parse(&self, cx: &Context<'_>, labels: &mut LabelState, view: LineView<'_>) {
        if labels.no_labels(cx) {
            return;
        }
        for (name, _) in &self.fields {
            if !labels.conflicts(cx, &name.text, name.hash) {
                let text = labels.store(&name.text);
                labels.set_parsed(cx, text, name.hash, Text::Static(""));
            }
        }
        let mut decoder = Decoder::new(view.text, std::mem::take(&mut labels.prefix_scratch));
        while !decoder.at_end() {
            if !decoder.next_pair() {
                if self.strict {
                    break;
                }
                continue;
            }
            if !self.take_pair(cx, labels, view, &decoder) {
                break;
            }
        }
        let error = decoder.error.filter(|_| self.strict);
        labels.prefix_scratch = decoder.unquoted;
        if let Some(error) = error {
            set_error(cx, labels, error);
        }
    }

    /// Takes one pair; false when reading may stop.
    fn take_pair(&self, cx: &Context<'_>, labels: &mut LabelState, view: LineView<'_>, decoder: &Decoder<'_>) -> bool {
        let name = labels.store_with(|arena| push_label_name(arena, decoder.key()));
        let key = labels.text(cx, name);
        let is_label = self.fields.iter().any(|(label, _)| *label.text == *key);
        let hash = name_hash(key);
        if key.is_empty() || (!is_label && (!cx.hints.should_extract(key) || labels.extracted(cx, key, hash))) {
            return true;
        }
        let field = self
            .fields
            .iter()
            .find(|(_, source)| **source == *key)
            .or_else(|| self.fields.iter().find(|(label, _)| *label.text == *key));
        let Some((label, _)) = field else { return true };
        let (mut name, mut hash) = (None, label.hash);
        if labels.conflicts(cx, &label.text, label.hash) {
            let (text, suffixed) = labels.store_extracted(&label.text);
            let known = labels.text(cx, text);
            if labels.extracted(cx, known, suffixed) || !cx.hints.should_extract(known) {
                return false;
            }
            (name, hash) = (Some(text), suffixed);
        }
        let name = name.unwrap_or_else(|| labels.store(&label.text));
        let value = if decoder.value().contains(char::REPLACEMENT_CHARACTER) {
            Text::Static("")
        } else {
            value_text(labels, view, decoder)
        };
        labels.set_parsed(cx, name, hash, value);
        !labels.all_required_extracted()
    }
}

/// Appends a quoted value's inside with its escapes resolved; false when one is wrong.
fn unquote(inside: &str, out: &mut String) -> bool {
    let mut rest = inside;
    while let Some(backslash) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..backslash]);
        let bytes = &rest.as_bytes()[backslash..];
        let (character, used) = match bytes.get(1) {
            Some(simple @ (b'"' | b'\\' | b'/' | b'\'')) => (char::from(*simple), 2),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => match unquote_unicode(bytes) {
                Some(found) => found,
                None => return false,
            },
            _ => return false,
        };
        out.push(character);
        rest = &rest[backslash + used..];
    }
    out.push_str(rest);
    true
}

/// `\uXXXX`, a pair of them, or half a pair, which becomes the replacement character.
fn unquote_unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = |bytes: &[u8]| -> Option<u32> {
        let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
        digits.iter().try_fold(0, |unit, byte| Some(unit << 4 | char::from(*byte).to_digit(16)?))
    };
    let high = unit(bytes)?;
    if let Some(character) = char::from_u32(high) {
        return Some((character, 6));
    }
    match unit(&bytes[6..]) {
        Some(low) if (0xD800..0xDC00).contains(&high) && (0xDC00..0xE000).contains(&low) => {
            let combined = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            Some((char::from_u32(combined).unwrap_or(char::REPLACEMENT_CHARACTER), 12))
        }
        _ => Some((char::REPLACEMENT_CHARACTER, 6)),
    }
}
