//! The grammar: what is open is a stack of groups; what is read is written in the crate's syntax.

use std::fmt;

use super::class::{parse_class, parse_perl_class, parse_unicode_class, write_class};
use super::escape::parse_escape;

/// Largest repeat count, of one repetition and of nested ones together.
const REPEAT_MAX: u32 = 1_000;
/// Deepest nesting.
const HEIGHT_MAX: u32 = 1_000;

/// Why Go refuses a pattern: its words and the part they are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    words: &'static str,
    about: String,
}

impl Refusal {
    pub(super) fn new(words: &'static str, about: &str) -> Self {
        Self { words, about: about.to_owned() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`", self.words, self.about)
    }
}

#[derive(Debug)]
pub(super) struct Parsed {
    /// In the crate's syntax.
    pub(super) text: String,
    /// Of each group, the whole match first.
    pub(super) names: Vec<Option<String>>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    /// `i`
    pub(super) fold: bool,
    /// `m`: `^` and `$` hold at lines.
    lines: bool,
    /// `s`: `.` takes a line feed.
    dot_all: bool,
    /// `U`: greedy and lazy change places.
    lazy: bool,
}

/// One thing a repetition can apply to.
struct Item {
    text: String,
    /// Whether a further repetition needs a group around it.
    is_repeated: bool,
    /// The product of the repeat counts on the deepest way down.
    repeats: u32,
    height: u32,
}

impl Item {
    fn atom(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_repeated: false, repeats: 1, height: 1 }
    }
}

/// An open group, or the whole expression.
struct Group {
    /// What opens it in the crate's syntax.
    opening: &'static str,
    /// In force before it and again after it.
    flags: Flags,
    /// Alternatives that are complete, each followed by `|`.
    before: String,
    items: Vec<Item>,
    repeats: u32,
    height: u32,
}

impl Group {
    fn new(opening: &'static str, flags: Flags) -> Self {
        Self { opening, flags, before: String::new(), items: Vec::new(), repeats: 1, height: 1 }
    }

    /// Moves the items to `before`.
    fn settle(&mut self) {
        for item in self.items.drain(..) {
            self.before.push_str(&item.text);
            self.repeats = self.repeats.max(item.repeats);
            self.height = self.height.max(item.height + 1);
        }
    }
}

struct Parser<'p> {
    whole: &'p str,
    flags: Flags,
    groups: Vec<Group>,
    names: Vec<Option<String>>,
}

pub(super) fn parse(pattern: &str) -> Result<Parsed, Refusal> {
    let mut parser = Parser {
        whole: pattern,
        flags: Flags::default(),
        groups: vec![Group::new("", Flags::default())],
        names: vec![None],
    };
    let mut rest = pattern;
    // The text from the repetition just read on, when the last thing read was one.
    let mut last_repeat: Option<&str> = None;
    while let Some(c) = rest.chars().next() {
        let repeat = match repetition(rest)? {
            Some(repetition) => {
                let before = rest;
                rest = parser.repeat(repetition, before, last_repeat)?;
                Some(before)
            }
            None => {
                rest = parser.step(c, rest)?;
                None
            }
        };
        last_repeat = repeat;
    }
    if parser.groups.len() > 1 {
        return Err(Refusal::new("missing closing )", pattern));
    }
    let mut whole = parser.groups.remove(0);
    whole.settle();
    Ok(Parsed { text: whole.before, names: parser.names })
}

/// `*`, `+`, `?` or `{n,m}`, and what follows it.
struct Repetition<'p> {
    op: &'p str,
    /// The larger bound (of `{n,}` the smaller), 0 when there is no count.
    most: u32,
    /// Whether the count exceeds one.
    is_counted: bool,
    after: &'p str,
}

/// The repetition `rest` begins with. A brace that is no count is a literal.
fn repetition(rest: &str) -> Result<Option<Repetition<'_>>, Refusal> {
    if rest.starts_with(['*', '+', '?']) {
        return Ok(Some(Repetition { op: &rest[..1], most: 0, is_counted: false, after: &rest[1..] }));
    }
    let Some((min, max, after)) = rest.strip_prefix('{').and_then(counts) else { return Ok(None) };
    let op = &rest[..rest.len() - after.len()];
    if min > REPEAT_MAX || max.is_some_and(|max| max > REPEAT_MAX || min > max) {
        return Err(Refusal::new("invalid repeat count", op));
    }
    let most = max.unwrap_or(min);
    Ok(Some(Repetition { op, most, is_counted: min >= 2 || most >= 2, after }))
}

/// `n}`, `n,}` or `n,m}`: the bounds and what follows.
fn counts(text: &str) -> Option<(u32, Option<u32>, &str)> {
    let (min, text) = count(text)?;
    if let Some(after) = text.strip_prefix('}') {
        return Some((min, Some(min), after));
    }
    let text = text.strip_prefix(',')?;
    if let Some(after) = text.strip_prefix('}') {
        return Some((min, None, after));
    }
    let (max, text) = count(text)?;
    Some((min, Some(max), text.strip_prefix('}')?))
}

/// A decimal without leading zeros; one too big to be held is the largest.
fn count(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let digits = &text[..end];
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), &text[end..]))
}

impl<'p> Parser<'p> {
    fn group(&mut self) -> &mut Group {
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }

    fn push(&mut self, text: impl Into<String>) {
        self.group().items.push(Item::atom(text));
    }

    fn literal(&mut self, c: char) {
        let mut bytes = [0; 4];
        let escaped = regex_syntax::escape(c.encode_utf8(&mut bytes));
        if self.flags.fold && c.is_alphabetic() {
            self.push(format!("(?i:{escaped})"));
        } else {
            self.push(escaped);
        }
    }

    /// Reads whatever is no repetition; the rest.
    fn step(&mut self, c: char, rest: &'p str) -> Result<&'p str, Refusal> {
        match c {
            '(' if rest.starts_with("(?") => return self.flags_or_group(rest),
            '(' => {
                self.names.push(None);
                self.groups.push(Group::new("(", self.flags));
            }
            '|' => {
                self.group().settle();
                self.group().before.push('|');
            }
            ')' => self.close()?,
            '^' => self.push(if self.flags.lines { "(?m:^)" } else { r"\A" }),
            '$' => self.push(if self.flags.lines { "(?m:$)" } else { r"\z" }),
            '.' => self.push(if self.flags.dot_all { "(?s:.)" } else { "." }),
            '[' => {
                let (class, rest) = parse_class(rest, self.flags.fold)?;
                self.push(write_class(class));
                return Ok(rest);
            }
            '\\' => return self.escape(rest),
            c => self.literal(c),
        }
        Ok(&rest[c.len_utf8()..])
    }

    fn escape(&mut self, rest: &'p str) -> Result<&'p str, Refusal> {
        let assertion = match rest.as_bytes().get(1) {
            Some(b'A') => r"\A",
            Some(b'z') => r"\z",
            // Words are of ASCII.
            Some(b'b') => r"(?-u:\b)",
            Some(b'B') => r"(?-u:\B)",
            Some(b'C') => return Err(Refusal::new("invalid escape sequence", &rest[..2])),
            Some(b'Q') => {
                let (quoted, after) = rest[2..].split_once(r"\E").unwrap_or((&rest[2..], ""));
                quoted.chars().for_each(|c| self.literal(c));
                return Ok(after);
            }
            _ => "",
        };
        if !assertion.is_empty() {
            self.push(assertion);
            return Ok(&rest[2..]);
        }
        if let Some((class, after)) = parse_unicode_class(rest, self.flags.fold)? {
            self.push(write_class(class));
            return Ok(after);
        }
        if let Some((class, after)) = parse_perl_class(rest, self.flags.fold) {
            self.push(write_class(class));
            return Ok(after);
        }
        let (code, after) = parse_escape(rest)?;
        match char::from_u32(code) {
            Some(c) => self.literal(c),
            // A surrogate, which no text holds.
            None => self.push(write_class(regex_syntax::hir::ClassUnicode::empty())),
        }
        Ok(after)
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)` or `(?flags:`.
    fn flags_or_group(&mut self, rest: &'p str) -> Result<&'p str, Refusal> {
        let named = match rest.as_bytes() {
            [_, _, b'P', b'<', _, ..] => Some(&rest[4..]),
            [_, _, b'<', _, ..] => Some(&rest[3..]),
            _ => None,
        };
        if let Some(named) = named {
            let Some((name, after)) = named.split_once('>') else {
                return Err(Refusal::new("invalid named capture", rest));
            };
            if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
                return Err(Refusal::new("invalid named capture", &rest[..rest.len() - after.len()]));
            }
            self.names.push(Some(name.to_owned()));
            self.groups.push(Group::new("(", self.flags));
            return Ok(after);
        }
        let mut flags = self.flags;
        let (mut is_set, mut saw_flag) = (true, false);
        let mut read = 2;
        for c in rest[2..].chars() {
            read += c.len_utf8();
            match c {
                'i' => flags.fold = is_set,
                'm' => flags.lines = is_set,
                's' => flags.dot_all = is_set,
                'U' => flags.lazy = is_set,
                '-' if is_set => (is_set, saw_flag) = (false, false),
                ':' | ')' if is_set || saw_flag => {
                    if c == ':' {
                        self.groups.push(Group::new("(?:", self.flags));
                    }
                    self.flags = flags;
                    return Ok(&rest[read..]);
                }
                _ => break,
            }
            saw_flag |= c != '-';
        }
        Err(Refusal::new("invalid or unsupported Perl syntax", &rest[..read]))
    }

    fn close(&mut self) -> Result<(), Refusal> {
        if self.groups.len() == 1 {
            return Err(Refusal::new("unexpected )", self.whole));
        }
        let Some(mut group) = self.groups.pop() else { return Ok(()) };
        group.settle();
        self.flags = group.flags;
        self.check_height(group.height + 1)?;
        let item = Item {
            text: format!("{}{})", group.opening, group.before),
            is_repeated: false,
            repeats: group.repeats,
            height: group.height + 1,
        };
        self.group().items.push(item);
        Ok(())
    }

    /// Applies a repetition to the last item; the rest.
    fn repeat(
        &mut self,
        repetition: Repetition<'p>,
        before: &'p str,
        last_repeat: Option<&'p str>,
    ) -> Result<&'p str, Refusal> {
        let Repetition { op, most, is_counted, after } = repetition;
        let (is_lazy, after) = match after.strip_prefix('?') {
            Some(after) => (!self.flags.lazy, after),
            None => (self.flags.lazy, after),
        };
        if let Some(last) = last_repeat {
            return Err(Refusal::new("invalid nested repetition operator", &last[..last.len() - after.len()]));
        }
        let written = &before[..before.len() - after.len()];
        let Some(mut item) = self.group().items.pop() else {
            return Err(Refusal::new("missing argument to repetition operator", written));
        };
        if most > 0 {
            item.repeats = item.repeats.saturating_mul(most);
        }
        if is_counted && item.repeats > REPEAT_MAX {
            return Err(Refusal::new("invalid repeat count", written));
        }
        if item.is_repeated {
            item.text = format!("(?:{})", item.text);
        }
        item.text.push_str(op);
        if is_lazy {
            item.text.push('?');
        }
        item.is_repeated = true;
        item.height += 1;
        self.check_height(item.height)?;
        self.group().items.push(item);
        Ok(after)
    }

    fn check_height(&self, height: u32) -> Result<(), Refusal> {
        if height > HEIGHT_MAX {
            return Err(Refusal::new("expression nests too deeply", self.whole));
        }
        Ok(())
    }
}
