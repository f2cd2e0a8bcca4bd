//! `| pattern "<a> - <_>"` and the line filters `|>`, `!>`.
//!
//! A pattern is literals with captures between. The parser takes what stands before the next literal, and once a
//! literal is missing gives all the rest to the capture before it. The filter wants the whole line to match, with
//! nothing empty where a capture is.
//!
//! Errors: those of the pattern, as Loki words them.

use memchr::memmem::Finder;

use super::builder::{Context, LabelState, LineView, Name, Text};
use super::compile::CompileError;

#[derive(Debug, Clone)]
enum Part {
    Literal(Box<Finder<'static>>),
    Named(Name),
    Unnamed,
}

impl Part {
    fn is_capture(&self) -> bool {
        !matches!(self, Part::Literal(_))
    }
}

/// The parser stage.
#[derive(Debug, Clone)]
pub(super) struct PatternParser {
    parts: Vec<Part>,
}

impl PatternParser {
    pub(super) fn new(pattern: &str) -> Result<Self, CompileError> {
        let parts = parse_parts(pattern);
        let names: Vec<&str> = parts.iter().filter_map(name_of).collect();
        if names.is_empty() {
            return Err(CompileError::new("at least one capture is required".to_owned()));
        }
        refuse_consecutive(&parts)?;
        if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(CompileError::new(format!("duplicate capture name ({}): invalid expression", twice.1)));
        }
        Ok(PatternParser { parts })
    }

    /// Adds the labels; false drops the row.
    pub(super) fn parse(&self, cx: &Context<'_>, labels: &mut LabelState, view: LineView<'_>) -> bool {
        if labels.no_labels(cx) || view.text.is_empty() {
            return true;
        }
        let bytes = view.text.as_bytes();
        let (mut at, mut parts) = (0, self.parts.as_slice());
        if let Some((Part::Literal(literal), rest)) = parts.split_first() {
            if !bytes.starts_with(literal.needle()) {
                return true;
            }
            at = literal.needle().len();
            parts = rest;
        }
        while let Some((capture, rest)) = parts.split_first() {
            let (end, next, rest) = match rest.split_first() {
                Some((Part::Literal(literal), rest)) => match literal.find(&bytes[at..]) {
                    Some(found) => (at + found, at + found + literal.needle().len(), rest),
                    None => (bytes.len(), bytes.len(), [].as_slice()),
                },
                _ => (bytes.len(), bytes.len(), [].as_slice()),
            };
            if let Part::Named(name) = capture
                && !set_capture(cx, labels, view, name, at, end)
            {
                return false;
            }
            (at, parts) = (next, rest);
        }
        true
    }
}

/// Sets one captured label unless it is not needed; false drops the row.
pub(super) fn set_capture(
    cx: &Context<'_>,
    labels: &mut LabelState,
    view: LineView<'_>,
    name: &Name,
    start: usize,
    end: usize,
) -> bool {
    let (text, hash) = if labels.conflicts(cx, &name.text, name.hash) {
        labels.store_extracted(&name.text)
    } else {
        if !cx.hints.should_extract(&name.text) || labels.extracted(cx, &name.text, name.hash) {
            return true;
        }
        (labels.store(&name.text), name.hash)
    };
    let known = labels.text(cx, text);
    if !cx.hints.should_extract(known) || labels.extracted(cx, known, hash) {
        return true;
    }
    let value = if start == end { Text::Static("") } else { view.keep(labels, start, end) };
    labels.set_parsed(cx, text, hash, value);
    cx.hints.should_continue(cx, labels, text, hash)
}

/// The pattern of a line filter.
#[derive(Debug, Clone)]
pub(super) struct LinePattern {
    parts: Vec<Part>,
}

impl LinePattern {
    pub(super) fn parse(pattern: &str) -> Result<Self, CompileError> {
        let parts = parse_parts(pattern);
        refuse_consecutive(&parts)?;
        if let Some(name) = parts.iter().find_map(name_of) {
            return Err(CompileError::new(format!("named captures are not allowed: found '<{name}>'")));
        }
        Ok(LinePattern { parts })
    }

    pub(super) fn matches(&self, line: &str) -> bool {
        let (Some(last), false) = (self.parts.last(), line.is_empty()) else {
            return self.parts.is_empty() && line.is_empty();
        };
        let bytes = line.as_bytes();
        let mut at = 0;
        for (index, part) in self.parts.iter().enumerate() {
            let Part::Literal(literal) = part else { continue };
            match literal.find(&bytes[at..]) {
                None => return false,
                // Something must stand where the capture before it is.
                Some(0) if index != 0 => return false,
                Some(found) => at += found + literal.needle().len(),
            }
        }
        last.is_capture() == (at != bytes.len())
    }
}

fn name_of(part: &Part) -> Option<&str> {
    match part {
        Part::Named(name) => Some(&name.text),
        _ => None,
    }
}

fn spelled(part: &Part) -> String {
    format!("<{}>", name_of(part).unwrap_or("_"))
}

fn refuse_consecutive(parts: &[Part]) -> Result<(), CompileError> {
    match parts.windows(2).find(|pair| pair[0].is_capture() && pair[1].is_capture()) {
        Some(pair) => Err(CompileError::new(format!(
            "found consecutive capture '{}{}': invalid expression",
            spelled(&pair[0]),
            spelled(&pair[1])
        ))),
        None => Ok(()),
    }
}

/// `<name>` is a capture, anything else is literal.
fn parse_parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut literal_from, mut at) = (0, 0);
    let literal = |text: &str| Part::Literal(Box::new(Finder::new(text).into_owned()));
    while let Some(open) = pattern[at..].find('<').map(|found| at + found) {
        let Some(name) = capture_name(&pattern[open + 1..]) else {
            at = open + 1;
            continue;
        };
        if open > literal_from {
            parts.push(literal(&pattern[literal_from..open]));
        }
        parts.push(if name == "_" { Part::Unnamed } else { Part::Named(Name::new(name)) });
        at = open + name.len() + 2;
        literal_from = at;
    }
    if literal_from < pattern.len() {
        parts.push(literal(&pattern[literal_from..]));
    }
    parts
}

fn capture_name(text: &str) -> Option<&str> {
    let name = &text[..text.find('>')?];
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (starts_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_patterns_want_the_whole_line() {
        for (pattern, line, want) in [
            ("", "", true),
            ("", "x", false),
            ("<_> bar", "foo bar", true),
            ("<_> bar", "foo bar baz", false),
            ("<_> baz", "foo bar baz", true),
            ("foo <_>", "foo bar baz", true),
            ("<_> bar <_>", " bar ", false),
            ("<_>bar<_>", " bar ", true),
            ("foo", "foo", true),
            ("foo", "foofoo", false),
            ("<_>", "", false),
            ("<_", "<_", true),
        ] {
            assert_eq!(LinePattern::parse(pattern).expect(pattern).matches(line), want, "{pattern} on {line}");
        }
        let error = LinePattern::parse("a <b>").expect_err("named").to_string();
        assert_eq!(error, "named captures are not allowed: found '<b>'");
    }
}
