//! `| json a="b.c[0]"`: labels from named places of a JSON line.
//!
//! Loki's search for paths is lenient and has edges one can see: it reads a broken line up to the break without an
//! error, it looks for keys at the depth of the path wherever they are, and it reports an error only for a value it
//! was asked for. The walk below follows it step by step.
//!
//! Errors: `__error__="JSONParserErr"`. A label whose place is missing is set to "".

use super::builder::{Context, LabelState, LineView, Name, Text};
use crate::types::json_scan::{
    Kind, ScanError, Value, block_end, next_token, push_label_value, string_end, unescape, value_at,
};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathStep {
    Key(Box<str>),
    Index(usize),
}

#[derive(Debug)]
pub(super) struct JsonFields {
    fields: Vec<(Name, Vec<PathStep>)>,
    depth_max: usize,
}

impl JsonFields {
    pub(super) fn new(fields: Vec<(Name, Vec<PathStep>)>) -> Self {
        let depth_max = fields.iter().map(|(_, path)| path.len()).max().unwrap_or(0);
        JsonFields { fields, depth_max }
    }

    /// The keys of the outermost object that the paths begin with; none when one begins with a position.
    pub(super) fn first_keys(&self) -> Option<Vec<Box<str>>> {
        let first = |path: &[PathStep]| match path.first() {
            Some(PathStep::Key(key)) => Some(key.clone()),
            _ => None,
        };
        self.fields.iter().map(|(_, path)| first(path)).collect()
    }

    /// Adds the labels; the row stays.
    pub(super) fn parse(&self, cx: &Context<'_>, labels: &mut LabelState, view: LineView<'_>) {
        let Some(first) = view.text.bytes().next() else { return };
        if labels.no_labels(cx) {
            return;
        }
        if !matches!(first, b'"' | b'{' | b'[') {
            labels.set_parser_error(cx, "JSONParserErr", None);
            return;
        }
        let mut done = std::mem::take(&mut labels.field_done);
        done.clear();
        done.resize(self.fields.len(), false);
        let mut keys = std::mem::take(&mut labels.field_keys);
        keys.clear();
        keys.resize(self.depth_max, KeyAt::default());
        let mut walk = Walk { fields: self, cx, labels, view, found: 0, reported: 0, done, keys };
        walk.run();
        let Walk { reported, done, keys, .. } = walk;
        labels.field_done = done;
        labels.field_keys = keys;
        if reported < self.fields.len() {
            for (name, _) in &self.fields {
                if labels.get(cx, name).is_none() {
                    let text = labels.store(&name.text);
                    labels.set_parsed(cx, text, name.hash, Text::Static(""));
                }
            }
        }
    }
}

/// The last key read at a depth; ranges of the line, unescaped when it has escapes.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyAt {
    start: usize,
    end: usize,
    unescaped: Option<String>,
}

struct Walk<'w, 'a, 'l> {
    fields: &'w JsonFields,
    cx: &'w Context<'a>,
    labels: &'w mut LabelState,
    view: LineView<'l>,
    /// Paths matched, whether or not they had a value.
    found: usize,
    /// Paths that had a value.
    reported: usize,
    done: Vec<bool>,
    keys: Vec<KeyAt>,
}

impl Walk<'_, '_, '_> {
    fn run(&mut self) {
        let text = self.view.text;
        let bytes = text.as_bytes();
        let (mut at, mut level) = (0usize, 0i64);
        while at < bytes.len() {
            match bytes[at] {
                b'"' => {
                    let start = at + 1;
                    let Some(end) = string_end(bytes, start) else { return };
                    let Some(next) = next_token(bytes, end.quote + 1) else { return };
                    if bytes[next] != b':' {
                        at = next;
                        continue;
                    }
                    let key = &text[start..end.quote];
                    let unescaped = match end.escaped {
                        true => {
                            let mut out = String::new();
                            if unescape(key, &mut out).is_err() {
                                return;
                            }
                            Some(out)
                        }
                        false => None,
                    };
                    if level <= self.fields.depth_max as i64 {
                        if level < 1 {
                            self.fault(ScanError::Malformed);
                            return;
                        }
                        let depth = level as usize;
                        self.keys[depth - 1] = KeyAt { start, end: end.quote, unescaped };
                        self.take_matches(depth, next + 1);
                        if self.found == self.fields.fields.len() {
                            return;
                        }
                    }
                    at = next + 1;
                    continue;
                }
                b'{' => level += 1,
                b'}' | b']' => level -= 1,
                b'[' => {
                    if level < 0 {
                        self.fault(ScanError::Malformed);
                        return;
                    }
                    let Some((next, closed)) = self.array(at, level as usize) else { return };
                    level += i64::from(!closed);
                    at = next;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Paths that end at the key just read at `depth`: their value is at `value_from`.
    fn take_matches(&mut self, depth: usize, value_from: usize) {
        for at in 0..self.fields.fields.len() {
            let path = &self.fields.fields[at].1;
            if path.len() != depth || self.done[at] || !self.keys_match(path, depth) {
                continue;
            }
            self.found += 1;
            self.done[at] = true;
            match value_at(self.view.text.as_bytes(), value_from) {
                Ok(value) => self.report(at, value),
                Err(error) => self.fault(error),
            }
            if self.found == self.fields.fields.len() {
                return;
            }
        }
    }

    /// Whether the first `depth` steps of `path` are the keys read last.
    fn keys_match(&self, path: &[PathStep], depth: usize) -> bool {
        path.iter().zip(&self.keys).take(depth).all(|(step, key)| {
            let text = key.unescaped.as_deref().unwrap_or(&self.view.text[key.start..key.end]);
            step_is(step, text)
        })
    }

    /// Handles the array at `at`; returns where to go on, and whether the array was whole.
    fn array(&mut self, at: usize, level: usize) -> Option<(usize, bool)> {
        let text = self.view.text;
        let bytes = text.as_bytes();
        let asked: Vec<(usize, usize)> = (0..self.fields.fields.len())
            .filter(|field| !self.done[*field])
            .filter_map(|field| {
                let path = &self.fields.fields[field].1;
                match path.get(level) {
                    Some(PathStep::Index(index)) if self.keys_match(path, level) => Some((field, *index)),
                    _ => None,
                }
            })
            .collect();
        if asked.is_empty() {
            return block_end(bytes, at, b'[', b']').map(|end| (end, true));
        }
        let mut index = 0;
        let after = array_each(bytes, at, |value| {
            for (field, _) in asked.iter().filter(|(_, wanted)| *wanted == index) {
                self.found += 1;
                self.done[*field] = true;
                let rest = &self.fields.fields[*field].1[level + 1..];
                if rest.is_empty() {
                    self.report(*field, value);
                } else if value.kind != Kind::String
                    && let Some(from) = search(text, value.start, value.end, rest)
                {
                    match value_at(&bytes[..value.end], from) {
                        Ok(value) => self.report(*field, value),
                        Err(error) => self.fault(error),
                    }
                }
            }
            index += 1;
        });
        if self.found == self.fields.fields.len() {
            return None;
        }
        let closed = bytes.get(after) == Some(&b']');
        Some((after + usize::from(closed), closed))
    }

    fn report(&mut self, field: usize, value: Value) {
        self.reported += 1;
        let cx = self.cx;
        let name = &self.fields.fields[field].0;
        let (text, hash) = if self.labels.conflicts(cx, &name.text, name.hash) {
            self.labels.store_extracted(&name.text)
        } else {
            (self.labels.store(&name.text), name.hash)
        };
        let raw = &self.view.text[value.start..value.end];
        let value = match value.kind {
            Kind::Null => Text::Static(""),
            Kind::Object => self.view.keep(self.labels, value.start, value.end),
            _ if raw.contains(['\\', char::REPLACEMENT_CHARACTER]) => {
                self.labels.store_with(|arena| push_label_value(raw, arena))
            }
            _ => self.view.keep(self.labels, value.start, value.end),
        };
        self.labels.set_parsed(cx, text, hash, value);
    }

    fn fault(&mut self, error: ScanError) {
        self.labels.set_parser_error(self.cx, "JSONParserErr", Some(Text::Static(error.words())));
    }
}

fn step_is(step: &PathStep, key: &str) -> bool {
    match step {
        PathStep::Key(name) => **name == *key,
        // Loki holds an index as the key `[1]`.
        PathStep::Index(index) => key
            .strip_prefix('[')
            .and_then(|key| key.strip_suffix(']'))
            .is_some_and(|digits| *digits == index.to_string()),
    }
}

/// Calls `element` for the values of the array at `at`; returns where it ends: at its bracket, or at the fault.
fn array_each(bytes: &[u8], at: usize, mut element: impl FnMut(Value)) -> usize {
    let Some(mut at) = next_token(bytes, at + 1) else { return bytes.len() };
    if bytes[at] == b']' {
        return at;
    }
    loop {
        let Ok(value) = value_at(bytes, at) else { return at };
        element(value);
        at = match next_token(bytes, value.after) {
            Some(next) => next,
            None => return bytes.len(),
        };
        if bytes[at] != b',' {
            return at;
        }
        at += 1;
    }
}

/// Where the value at `path` within `text[start..end]` begins.
fn search(text: &str, start: usize, end: usize, path: &[PathStep]) -> Option<usize> {
    let bytes = &text.as_bytes()[..end];
    let (mut at, mut level, mut key_level, mut last_matched) = (start, 0usize, 0usize, true);
    while at < end {
        match bytes[at] {
            b'"' => {
                let from = at + 1;
                let string = string_end(bytes, from)?;
                let next = next_token(bytes, string.quote + 1)?;
                if bytes[next] != b':' {
                    at = next;
                    continue;
                }
                if level < 1 || level > path.len() {
                    return None;
                }
                let raw = &text[from..string.quote];
                let mut unescaped = String::new();
                if string.escaped {
                    unescape(raw, &mut unescaped).ok()?;
                }
                last_matched = step_is(&path[level - 1], if string.escaped { &unescaped } else { raw });
                if last_matched && key_level == level - 1 {
                    key_level += 1;
                    if key_level == path.len() {
                        return Some(next + 1);
                    }
                }
                at = next + 1;
                continue;
            }
            b'{' if !last_matched => {
                at = block_end(bytes, at, b'{', b'}')?;
                continue;
            }
            b'{' => level += 1,
            b'}' => {
                level = level.checked_sub(1)?;
                key_level -= usize::from(level == key_level && key_level > 0);
            }
            b'[' => {
                let Some(PathStep::Index(wanted)) = path.get(level).filter(|_| key_level == level) else {
                    at = block_end(bytes, at, b'[', b']')?;
                    continue;
                };
                let (mut index, mut hit) = (0, None);
                array_each(bytes, at, |value| {
                    if index == *wanted {
                        hit = Some(value);
                    }
                    index += 1;
                });
                let hit = hit?;
                let from = if hit.kind == Kind::String { hit.start - 1 } else { hit.start };
                let rest = &path[level + 1..];
                return if rest.is_empty() { Some(from) } else { search(text, from, hit.after, rest) };
            }
            b':' => return None,
            _ => {}
        }
        at += 1;
    }
    None
}
