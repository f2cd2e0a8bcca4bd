//! `| json`: every scalar of an object becomes a label.
//!
//! ```text
//! {"a":1,"b":{"c-d":"x"},"e":[…],"f":null}  ─▶  a="1", b_c_d="x"
//! ```
//!
//! Keys of nested objects join with `_`; what a label name may not hold becomes `_`; arrays and nulls are left out;
//! numbers keep their spelling; of equal keys the first wins. Scanning stops as soon as every label the query needs
//! is there, or a filter on a label just parsed refuses the row.
//!
//! Errors: the labels `__error__="JSONParserErr"` and `__error_details__`; labels read before the fault stay.

use super::builder::{Context, EXTRACTED_SUFFIX, LabelState, LineView, Text, name_hash};
use crate::types::json_scan::{Kind, ScanError, Value, next_token, push_label_value, string_end, unescape, value_at};

/// Objects within objects that are entered; deeper ones are skipped, so that no line exhausts the stack.
const NESTING_MAX: usize = 128;

enum Stop {
    /// Every label the query needs is there.
    Satisfied,
    /// A filter refused a label.
    Refused,
    Fault(ScanError),
}

/// Adds the labels; false drops the row.
pub(super) fn parse(cx: &Context<'_>, labels: &mut LabelState, view: LineView<'_>) -> bool {
    if labels.no_labels(cx) {
        return true;
    }
    let mut prefix = std::mem::take(&mut labels.prefix_scratch);
    prefix.clear();
    let mut parser = Parser { cx, labels, view, prefix, limited: cx.hints.is_limited() };
    let stop = parser.object(0, view.text.len(), 0).err();
    let Parser { prefix, .. } = parser;
    labels.prefix_scratch = prefix;
    match stop {
        None | Some(Stop::Satisfied) => true,
        Some(Stop::Refused) => false,
        Some(Stop::Fault(error)) => {
            labels.set_parser_error(cx, "JSONParserErr", Some(Text::Static(error.words())));
            true
        }
    }
}

/// A key with its escapes resolved; `at` is where it starts in the text, when it stands there as it is.
#[derive(Clone, Copy)]
pub(super) struct Key<'t> {
    pub(super) text: &'t str,
    pub(super) at: Option<usize>,
}

/// Calls `entry` for each key and value of the object at `start`, looking no further than the end of `text`.
#[inline]
pub(super) fn object_each<E: From<ScanError>>(
    text: &str,
    start: usize,
    mut entry: impl FnMut(Key<'_>, Value) -> Result<(), E>,
) -> Result<(), E> {
    let bytes = text.as_bytes();
    let mut unescaped = String::new();
    let mut at = match next_token(bytes, start) {
        Some(at) if bytes[at] == b'{' => at + 1,
        _ => return Err(ScanError::Object.into()),
    };
    at = next_token(bytes, at).ok_or(ScanError::Malformed)?;
    loop {
        match bytes[at] {
            b'"' => at += 1,
            b'}' => return Ok(()),
            _ => return Err(ScanError::Object.into()),
        }
        let end = string_end(bytes, at).ok_or(ScanError::Malformed)?;
        let raw = &text[at..end.quote];
        let key = if end.escaped {
            unescaped.clear();
            unescape(raw, &mut unescaped)?;
            Key { text: &unescaped, at: None }
        } else {
            Key { text: raw, at: Some(at) }
        };
        at = match next_token(bytes, end.quote + 1) {
            Some(colon) if bytes[colon] == b':' => colon + 1,
            _ => return Err(ScanError::Malformed.into()),
        };
        let value = value_at(bytes, at)?;
        entry(key, value)?;
        at = next_token(bytes, value.after).ok_or(ScanError::Array)?;
        match bytes[at] {
            b'}' => return Ok(()),
            b',' => at = next_token(bytes, at + 1).ok_or(ScanError::Array)?,
            _ => return Err(ScanError::Object.into()),
        }
    }
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Stop::Fault(error)
    }
}

struct Parser<'p, 'a, 'l> {
    cx: &'p Context<'a>,
    labels: &'p mut LabelState,
    view: LineView<'l>,
    /// The joined, cleaned keys of the objects around.
    prefix: String,
    /// Whether the query needs only some labels.
    limited: bool,
}

impl Parser<'_, '_, '_> {
    fn object(&mut self, start: usize, end: usize, depth: usize) -> Result<(), Stop> {
        let text = &self.view.text[..end];
        object_each(text, start, |key, value| {
            let taken = match value.kind {
                Kind::Object => return self.nested(key.text, value, depth),
                Kind::Array | Kind::Null => Ok(()),
                // Lengths of needed names are known with the suffix and without: a key of another length is not needed.
                _ if depth == 0
                    && self.limited
                    && !self.cx.hints.key_length_fits(key.text.len())
                    && is_surely_plain(key.text) =>
                {
                    Ok(())
                }
                Kind::String | Kind::Number | Kind::Boolean => self.scalar(key, value, depth),
            };
            if self.limited && self.labels.all_required_extracted() { Err(Stop::Satisfied) } else { taken }
        })
    }

    fn nested(&mut self, key: &str, value: Value, depth: usize) -> Result<(), Stop> {
        let mark = self.prefix.len();
        push_cleaned_part(&mut self.prefix, key, "");
        let wanted = depth < NESTING_MAX && self.cx.hints.should_extract_prefix(&self.prefix);
        let entered = if wanted { self.object(value.start, value.end, depth + 1) } else { Ok(()) };
        self.prefix.truncate(mark);
        entered
    }

    fn scalar(&mut self, key: Key<'_>, value: Value, depth: usize) -> Result<(), Stop> {
        let (cx, hints) = (self.cx, self.cx.hints);
        let as_it_stands = key.at.filter(|_| depth == 0 && self.view.original && is_clean_name(key.text));
        let mut stored = None;
        let (mut name, mut hash) = match as_it_stands {
            Some(start) => (Text::Line { start, end: start + key.text.len() }, name_hash(key.text)),
            None => *stored.insert(self.store_name(key.text, depth, "")),
        };
        let mut known = if stored.is_none() { key.text } else { self.labels.text(cx, name) };
        if known.is_empty() && depth == 0 {
            return Ok(());
        }
        if self.labels.conflicts(cx, known, hash) {
            (name, hash) = self.store_name(key.text, depth, EXTRACTED_SUFFIX);
            known = self.labels.text(cx, name);
        }
        if (self.limited && !hints.should_extract(known)) || self.labels.extracted(cx, known, hash) {
            return Ok(());
        }
        let value = self.value_text(value);
        self.labels.push_parsed(cx, name, hash, value);
        if hints.should_continue(cx, self.labels, name, hash) { Ok(()) } else { Err(Stop::Refused) }
    }

    /// The label name of a key, joined with the objects around it.
    fn store_name(&mut self, key: &str, depth: usize, suffix: &str) -> (Text, u32) {
        let prefix = &self.prefix;
        let name = self.labels.store_with(|arena| {
            if depth == 0 {
                push_label_name(arena, key);
                arena.push_str(suffix);
                return;
            }
            let start = arena.len();
            arena.push_str(prefix);
            push_cleaned_part_after(arena, start, key, suffix);
        });
        (name, self.labels.arena_hash(name))
    }

    fn value_text(&mut self, value: Value) -> Text {
        let view = self.view;
        let text = &view.text[value.start..value.end];
        if value.kind == Kind::String
            && (value.escaped || (value.beyond_ascii && text.contains(char::REPLACEMENT_CHARACTER)))
        {
            return self.labels.store_with(|arena| push_label_value(text, arena));
        }
        view.keep(self.labels, value.start, value.end)
    }
}

/// Appends `key` as a label name: trimmed, a digit in front gets `_`, what a name may not hold becomes `_`.
pub(super) fn push_label_name(out: &mut String, key: &str) {
    let key = key.trim();
    if key.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    push_cleaned(out, key);
}

/// The label that the value at these keys of a JSON line becomes.
pub(in crate::query) fn label_name_of_path(keys: &[String]) -> String {
    let mut name = String::new();
    match keys {
        [key] => push_label_name(&mut name, key),
        _ => keys.iter().for_each(|key| push_cleaned_part(&mut name, key, "")),
    }
    name
}

/// What the parser asks the hints about a member of the outermost object: its label, or the prefix of its labels.
pub(super) fn name_of_member(key: &str, is_object: bool) -> String {
    let mut name = String::new();
    match is_object {
        true => push_cleaned_part(&mut name, key, ""),
        false => push_label_name(&mut name, key),
    }
    name
}

/// Whether [`push_label_name`] would change nothing.
#[inline]
pub(super) fn is_clean_name(key: &str) -> bool {
    let clean = key.bytes().fold(true, |clean, byte| clean & IN_NAME[usize::from(byte)]);
    clean && !key.as_bytes().first().is_some_and(u8::is_ascii_digit)
}

/// Which bytes a label name may have.
static IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_';
        byte += 1;
    }
    table
};

/// Whether cleaning keeps the key's length, but for a `_` before a digit.
#[inline]
fn is_surely_plain(key: &str) -> bool {
    let bytes = key.as_bytes();
    key.is_ascii() && bytes.first().is_none_or(|b| *b > b' ') && bytes.last().is_none_or(|b| *b > b' ')
}

/// Appends a further key to a prefix of joined keys.
fn push_cleaned_part(prefix: &mut String, key: &str, suffix: &str) {
    push_cleaned_part_after(prefix, 0, key, suffix);
}

/// The same for a prefix that starts at `start` of `out`.
fn push_cleaned_part_after(out: &mut String, start: usize, key: &str, suffix: &str) {
    if key.trim().is_empty() && suffix.is_empty() {
        return;
    }
    // With a suffix, white space at the key's end is inside the name.
    let key = if suffix.is_empty() { key.trim() } else { key.trim_start() };
    if out.len() > start || key.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    push_cleaned(out, key);
    out.push_str(suffix);
}

fn push_cleaned(out: &mut String, key: &str) {
    if is_clean_name(key) {
        return out.push_str(key);
    }
    out.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }));
}
