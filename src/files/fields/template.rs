//! A line without its values: what lines of one kind have in common. Of JSON here, of logfmt in [`super::logfmt`].
//!
//! ```text
//! {"level":"info","status":200,"user":{"id":"7"}}
//! {"level":"␀","status":␀,"user":{"id":"␀"}}       text; values are cut out at ␀ (NUL)
//!           level        status          user␟id     paths of the slots, in order
//! ```
//!
//! A string leaves what is between its quotes, an array what is between its brackets, a number, boolean or null all of
//! its text: so a slot has values of one of these three sorts. A line that was taken apart is put together again byte
//! by byte. A template only exists for lines that Loki's parser reads to
//! their end without an error, with every path at most once, so that a part of the members says of these members
//! what the whole line does.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::logfmt::{self, plain_end};
use crate::types::json_scan::{Kind, Value, next_token, string_end, value_at};

/// Where a value was cut out.
pub(super) const SLOT: char = '\0';
/// Between the keys of a path.
pub(super) const PATH_SEPARATOR: char = '\u{1f}';
/// Objects within objects that are taken apart; deeper ones stay whole lines.
const NESTING_MAX: usize = 8;
/// Values of one line; a line with more is kept whole.
pub(super) const SLOTS_MAX: usize = 256;

/// What sort of text a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Syntax {
    #[default]
    Json,
    Logfmt,
}

/// A member of the outermost object, or a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// As in the line; a key with escapes has no template.
    pub key: String,
    /// What its value is.
    pub kind: MemberKind,
    /// From its key, with its quote, to the end of its value, in the template's text.
    pub(super) text: Range<u32>,
    /// Its slots among those of the template.
    pub(super) slots: Range<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberKind {
    Scalar,
    Object,
    Array,
}

/// One kind of line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Template {
    #[serde(default)]
    pub(super) syntax: Syntax,
    pub(super) text: String,
    /// The column of each slot.
    pub(super) columns: Vec<u32>,
    pub(super) members: Vec<Member>,
}

/// A line taken apart.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) syntax: Syntax,
    pub(super) text: String,
    pub(super) members: Vec<Member>,
    /// Joined keys of each slot.
    pub(super) paths: Vec<String>,
    /// Bytes of each slot in the line.
    pub(super) values: Vec<Range<u32>>,
}

impl Template {
    /// The texts around the slots: one more than slots.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &str> {
        self.text.split(SLOT)
    }
}

/// The values of `line` when it is of the kind that `pieces` describe; `values` is replaced.
#[inline]
pub(super) fn match_pieces(pieces: &[Box<str>], line: &str, values: &mut Vec<Range<u32>>) -> bool {
    values.clear();
    let bytes = line.as_bytes();
    let Some((last, before)) = pieces.split_last() else { return false };
    let mut at = 0;
    for piece in before {
        let Some(rest) = bytes.get(at..) else { return false };
        if !rest.starts_with(piece.as_bytes()) {
            return false;
        }
        at += piece.len();
        let end = match piece.as_bytes().last() {
            Some(b'"') => match string_end(bytes, at) {
                // Of logfmt not every escape is one.
                Some(end) if end.escaped && piece.ends_with("=\"") => return false,
                Some(end) => end.quote,
                None => return false,
            },
            Some(b'=') => match plain_end(bytes, at) {
                Some(end) => end,
                None => return false,
            },
            Some(b'[') => match value_at(bytes, at - 1) {
                Ok(Value { kind: Kind::Array, end, .. }) => end - 1,
                _ => return false,
            },
            _ => match value_at(bytes, at) {
                Ok(Value { kind: Kind::Number | Kind::Boolean | Kind::Null, start, end, .. }) if start == at => end,
                _ => return false,
            },
        };
        values.push(at as u32..end as u32);
        at = end;
    }
    bytes.get(at..).is_some_and(|rest| rest == last.as_bytes())
}

/// Takes a line apart; `None` when it has to stay whole.
pub(super) fn parse(line: &str) -> Option<Parsed> {
    let bytes = line.as_bytes();
    if u32::try_from(bytes.len()).is_err() || memchr::memchr(0, bytes).is_some() {
        return None;
    }
    let parsed = match bytes[next_token(bytes, 0)?] {
        b'{' => parse_json(line)?,
        _ => logfmt::parse(line)?,
    };
    let mut paths: Vec<&str> = parsed.paths.iter().map(String::as_str).collect();
    paths.sort_unstable();
    let each_once = paths.windows(2).all(|pair| pair[0] != pair[1]);
    each_once.then_some(parsed)
}

fn parse_json(line: &str) -> Option<Parsed> {
    let bytes = line.as_bytes();
    let start = next_token(bytes, 0)?;
    let mut parser = Parser { line, copied: 0, path: String::new(), parsed: Parsed::default() };
    let end = parser.object(start, 0)?;
    if next_token(bytes, end).is_some() {
        return None;
    }
    parser.copy_to(bytes.len());
    Some(parser.parsed)
}

struct Parser<'l> {
    line: &'l str,
    /// Bytes of the line that are in the text already.
    copied: usize,
    path: String,
    parsed: Parsed,
}

impl Parser<'_> {
    fn copy_to(&mut self, end: usize) {
        self.parsed.text.push_str(&self.line[self.copied..end]);
        self.copied = end;
    }

    fn slot(&mut self, value: Range<usize>) -> Option<()> {
        self.copy_to(value.start);
        self.parsed.text.push(SLOT);
        self.copied = value.end;
        self.parsed.paths.push(self.path.clone());
        self.parsed.values.push(value.start as u32..value.end as u32);
        (self.parsed.values.len() <= SLOTS_MAX).then_some(())
    }

    /// The object at `start`; answers the position after it.
    fn object(&mut self, start: usize, depth: usize) -> Option<usize> {
        let bytes = self.line.as_bytes();
        let mut at = next_token(bytes, start + 1)?;
        loop {
            match bytes[at] {
                b'"' => {}
                b'}' => return Some(at + 1),
                _ => return None,
            }
            let end = string_end(bytes, at + 1)?;
            if end.escaped {
                return None;
            }
            let (key_at, key) = (at, &self.line[at + 1..end.quote]);
            if key.contains(PATH_SEPARATOR) {
                return None;
            }
            let colon = next_token(bytes, end.quote + 1).filter(|at| bytes[*at] == b':')?;
            let value = value_at(bytes, colon + 1).ok()?;
            let after = self.member(key_at, key, value, depth)?;
            at = next_token(bytes, after)?;
            match bytes[at] {
                b'}' => return Some(at + 1),
                b',' => at = next_token(bytes, at + 1)?,
                _ => return None,
            }
        }
    }

    /// One key and value; answers the position after them.
    fn member(&mut self, key_at: usize, key: &str, value: Value, depth: usize) -> Option<usize> {
        let path_before = self.path.len();
        if depth > 0 {
            self.path.push(PATH_SEPARATOR);
        }
        self.path.push_str(key);
        self.copy_to(key_at);
        let (text_start, slot_start) = (self.parsed.text.len() as u32, self.parsed.values.len() as u32);
        let kind = match value.kind {
            Kind::Object => MemberKind::Object,
            Kind::Array => MemberKind::Array,
            Kind::String | Kind::Number | Kind::Boolean | Kind::Null => MemberKind::Scalar,
        };
        match kind {
            MemberKind::Object if depth == NESTING_MAX => return None,
            MemberKind::Object if self.object(value.start, depth + 1)? != value.after => return None,
            MemberKind::Object => {}
            MemberKind::Array => self.slot(value.start + 1..value.end - 1)?,
            MemberKind::Scalar => self.slot(value.start..value.end)?,
        }
        self.copy_to(value.after);
        self.path.truncate(path_before);
        if depth == 0 {
            let (text, slots) = (self.parsed.text.len() as u32, self.parsed.values.len() as u32);
            let member = Member { key: key.to_owned(), kind, text: text_start..text, slots: slot_start..slots };
            self.parsed.members.push(member);
        }
        Some(value.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'l>(line: &'l str, ranges: &[Range<u32>]) -> Vec<&'l str> {
        ranges.iter().map(|range| &line[range.start as usize..range.end as usize]).collect()
    }

    #[test]
    fn a_line_is_its_text_and_its_values() {
        let line = r#" {"level": "in\"fo","n":-1.50e3,"u":{"id":"ż","ok":true,"e":{}},"a":[1,"]"],"x":null} "#;
        let parsed = parse(line).expect("plain JSON");
        assert_eq!(
            parsed.text,
            " {\"level\": \"\0\",\"n\":\0,\"u\":{\"id\":\"\0\",\"ok\":\0,\"e\":{}},\"a\":[\0],\"x\":\0} "
        );
        assert_eq!(values(line, &parsed.values), ["in\\\"fo", "-1.50e3", "ż", "true", "1,\"]\"", "null"]);
        assert_eq!(parsed.paths, ["level", "n", "u\u{1f}id", "u\u{1f}ok", "a", "x"]);
        let members: Vec<_> = parsed.members.iter().map(|m| (&*m.key, m.kind, m.slots.clone())).collect();
        use MemberKind::{Array, Object, Scalar};
        assert_eq!(
            members,
            [
                ("level", Scalar, 0..1),
                ("n", Scalar, 1..2),
                ("u", Object, 2..4),
                ("a", Array, 4..5),
                ("x", Scalar, 5..6)
            ]
        );
        let text = &parsed.members[2].text;
        assert_eq!(&parsed.text[text.start as usize..text.end as usize], "\"u\":{\"id\":\"\0\",\"ok\":\0,\"e\":{}}");
        let pieces: Vec<Box<str>> = parsed.text.split(SLOT).map(Box::from).collect();
        let mut found = Vec::new();
        assert!(match_pieces(&pieces, line, &mut found));
        assert_eq!(found, parsed.values);
    }

    #[test]
    fn lines_that_stay_whole() {
        for line in [
            "",
            "plain text",
            "[1]",
            r#"{"a":1"#,
            r#"{"a":1} trailing"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":undefined}"#,
            r#"{"a\n":1}"#,
            r#"{"a":{"b":1},"a":{"b":2}}"#,
            "{\"a\":\"\0\"}",
            r#"{"a":1,}x"#,
            r#"{"a":{"b":1]}"#,
        ] {
            assert!(parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn another_kind_of_line_does_not_match() {
        let pieces: Vec<Box<str>> = ["{\"a\":\"", "\",\"b\":", "}"].map(Box::from).to_vec();
        let mut found = Vec::new();
        assert!(match_pieces(&pieces, r#"{"a":"x","b":1}"#, &mut found));
        for line in [
            r#"{"a":"x","b":"1"}"#,
            r#"{"a":"x","b":1} "#,
            r#"{"a":"x","b": 1}"#,
            r#"{"a":"x"#,
            r#"{"a":"x","b":{}}"#,
            r#"{"a":"x","b":[]}"#,
            "",
        ] {
            assert!(!match_pieces(&pieces, line, &mut found), "{line}");
        }
    }
}
