//! The labels of one row while it goes through a pipeline.
//!
//! ```text
//! base (stream) ◀─ hidden by ─ deleted names
//!      ▲ overridden by
//! metadata entries
//!      ▲ overridden by
//! parsed entries ──▶ names and values are spans: of the row's line, of its metadata, or of the arena
//! ```
//!
//! Invariants: an entry once added stays in its list (`alive` tells whether it still is a label), so "was extracted
//! before" can be asked after a `drop`; a live name is in at most one of the two lists.
//! Nothing is allocated once the buffers have grown to the size of the rows.

use super::hints::Hints;
use super::json_fields::KeyAt;
use super::names::NameSet;
pub(super) use super::names::name_hash;
use crate::types::labels::Labels;

/// What a parsed name gets when a stream or metadata label has it already.
pub(in crate::query) const EXTRACTED_SUFFIX: &str = "_extracted";

/// The labels of a stream, made once per stream.
#[derive(Debug, Clone)]
pub struct StreamBase {
    labels: Labels,
    hashes: Vec<u32>,
    present: NameSet,
}

impl StreamBase {
    pub fn new(labels: Labels) -> Self {
        let hashes: Vec<u32> = labels.iter().map(|(name, _)| name_hash(name)).collect();
        let mut present = NameSet::default();
        hashes.iter().for_each(|hash| present.insert(*hash));
        StreamBase { labels, hashes, present }
    }

    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    #[inline]
    pub(super) fn get(&self, name: &str, hash: u32) -> Option<&str> {
        if self.present.may_contain(hash) && self.hashes.contains(&hash) { self.labels.get(name) } else { None }
    }

    #[inline]
    pub(super) fn has(&self, name: &str, hash: u32) -> bool {
        self.get(name, hash).is_some()
    }
}

/// What a row brings: read by every stage, changed by none.
pub(super) struct Context<'a> {
    pub(super) base: &'a StreamBase,
    pub(super) metadata: &'a [(&'a str, &'a str)],
    pub(super) line: &'a str,
    pub(super) timestamp_ns: i64,
    pub(super) now_ns: i64,
    pub(super) hints: &'a Hints,
}

/// Where the characters of a name or value are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text {
    Line { start: usize, end: usize },
    Arena { start: usize, end: usize },
    MetadataName(usize),
    MetadataValue(usize),
    Static(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) name: Text,
    pub(super) hash: u32,
    pub(super) value: Text,
    pub(super) alive: bool,
}

/// A label name a stage asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: Box<str>,
    pub(super) hash: u32,
}

impl Name {
    pub(super) fn new(text: &str) -> Self {
        Name { text: text.into(), hash: name_hash(text) }
    }
}

/// The line a parser reads: the row's own, or one a stage made.
#[derive(Clone, Copy)]
pub(super) struct LineView<'a> {
    pub(super) text: &'a str,
    pub(super) original: bool,
}

impl LineView<'_> {
    /// Bytes `start..end` of the line as a name or value.
    #[inline]
    pub(super) fn keep(self, labels: &mut LabelState, start: usize, end: usize) -> Text {
        if self.original {
            return Text::Line { start, end };
        }
        labels.store(&self.text[start..end])
    }
}

#[derive(Debug, Default)]
pub(super) struct LabelState {
    arena: String,
    metadata: Vec<Entry>,
    metadata_present: NameSet,
    parsed: Vec<Entry>,
    parsed_present: NameSet,
    deleted: Vec<Text>,
    /// Which of the hints' required labels were extracted.
    required_seen: Vec<bool>,
    required_missing: usize,
    pub(super) error: Option<Text>,
    pub(super) error_details: Option<Text>,
    /// The json parser's prefix of nested keys, reused.
    pub(super) prefix_scratch: String,
    /// What the json field parser knows of the line, reused.
    pub(super) field_done: Vec<bool>,
    pub(super) field_keys: Vec<KeyAt>,
}

impl LabelState {
    /// Empties the state and adds the row's metadata.
    pub(super) fn reset(&mut self, cx: &Context<'_>) {
        self.arena.clear();
        self.metadata.clear();
        self.metadata_present = NameSet::default();
        self.parsed.clear();
        self.parsed_present = NameSet::default();
        self.deleted.clear();
        self.error = None;
        self.error_details = None;
        let required = cx.hints.required.len();
        self.required_seen.clear();
        self.required_seen.resize(required, false);
        self.required_missing = required;
        for (at, (name, _)) in cx.metadata.iter().enumerate() {
            self.add_metadata(cx, at, name);
        }
    }

    fn add_metadata(&mut self, cx: &Context<'_>, at: usize, name: &str) {
        let value = Text::MetadataValue(at);
        let mut hash = name_hash(name);
        let mut text = Text::MetadataName(at);
        if cx.base.has(name, hash) {
            (text, hash) = self.store_extracted(name);
        } else if name == "__error__" {
            self.error = Some(value);
            return;
        } else if name == "__error_details__" {
            self.error_details = Some(value);
            return;
        }
        if self.metadata_present.may_contain(hash)
            && let Some(found) = self.find(cx, &self.metadata, self.text(cx, text), hash)
        {
            self.metadata[found].value = value;
            return;
        }
        self.metadata_present.insert(hash);
        self.metadata.push(Entry { name: text, hash, value, alive: true });
    }

    #[inline]
    pub(super) fn text<'s>(&'s self, cx: &Context<'s>, text: Text) -> &'s str {
        match text {
            Text::Line { start, end } => &cx.line[start..end],
            Text::Arena { start, end } => &self.arena[start..end],
            Text::MetadataName(at) => cx.metadata[at].0,
            Text::MetadataValue(at) => cx.metadata[at].1,
            Text::Static(text) => text,
        }
    }

    /// Copies `text` into the arena.
    pub(super) fn store(&mut self, text: &str) -> Text {
        let start = self.arena.len();
        self.arena.push_str(text);
        Text::Arena { start, end: self.arena.len() }
    }

    /// Appends what `write` appends to the arena.
    pub(super) fn store_with(&mut self, write: impl FnOnce(&mut String)) -> Text {
        let start = self.arena.len();
        write(&mut self.arena);
        Text::Arena { start, end: self.arena.len() }
    }

    /// `name_extracted` and its hash.
    pub(super) fn store_extracted(&mut self, name: &str) -> (Text, u32) {
        let text = self.store_with(|arena| {
            arena.push_str(name);
            arena.push_str(EXTRACTED_SUFFIX);
        });
        (text, self.arena_hash(text))
    }

    pub(super) fn arena_hash(&self, text: Text) -> u32 {
        match text {
            Text::Arena { start, end } => name_hash(&self.arena[start..end]),
            Text::Static(text) => name_hash(text),
            _ => 0,
        }
    }

    /// Whether a parsed label of this name must take the suffix.
    #[inline]
    pub(super) fn conflicts(&self, cx: &Context<'_>, name: &str, hash: u32) -> bool {
        cx.base.has(name, hash)
            || (self.metadata_present.may_contain(hash) && self.find(cx, &self.metadata, name, hash).is_some())
    }

    /// Whether a parser or format made this label before, even if it was dropped since.
    #[inline]
    pub(super) fn extracted(&self, cx: &Context<'_>, name: &str, hash: u32) -> bool {
        self.parsed_present.may_contain(hash)
            && self.parsed.iter().any(|entry| entry.hash == hash && self.text(cx, entry.name) == name)
    }

    #[inline]
    pub(super) fn all_required_extracted(&self) -> bool {
        self.required_missing == 0 && !self.required_seen.is_empty()
    }

    /// Whether parsers have nothing to do.
    pub(super) fn no_labels(&self, cx: &Context<'_>) -> bool {
        cx.hints.no_labels || self.all_required_extracted()
    }

    pub(super) fn get<'s>(&'s self, cx: &Context<'s>, name: &Name) -> Option<&'s str> {
        if let Some(value) = self.get_added(cx, &name.text, name.hash) {
            return Some(self.text(cx, value));
        }
        self.base_value(cx, &name.text, name.hash)
    }

    pub(super) fn get_by_text<'s>(&'s self, cx: &Context<'s>, name: &str) -> Option<&'s str> {
        let hash = name_hash(name);
        match self.get_added(cx, name, hash) {
            Some(value) => Some(self.text(cx, value)),
            None => self.base_value(cx, name, hash),
        }
    }

    /// Like [`LabelState::get`], as something that stays valid while labels are set.
    pub(super) fn get_text(&mut self, cx: &Context<'_>, name: &Name) -> Option<Text> {
        if let Some(value) = self.get_added(cx, &name.text, name.hash) {
            return Some(value);
        }
        if self.is_deleted(cx, &name.text) {
            return None;
        }
        let value = cx.base.get(&name.text, name.hash).filter(|value| !value.is_empty())?;
        Some(self.store(value))
    }

    fn base_value<'s>(&'s self, cx: &Context<'s>, name: &str, hash: u32) -> Option<&'s str> {
        let value = cx.base.get(name, hash).filter(|value| !value.is_empty())?;
        if self.is_deleted(cx, name) { None } else { Some(value) }
    }

    fn get_added(&self, cx: &Context<'_>, name: &str, hash: u32) -> Option<Text> {
        if self.metadata_present.may_contain(hash)
            && let Some(at) = self.find(cx, &self.metadata, name, hash)
        {
            return Some(self.metadata[at].value);
        }
        if self.parsed_present.may_contain(hash)
            && let Some(at) = self.find(cx, &self.parsed, name, hash)
        {
            return Some(self.parsed[at].value);
        }
        None
    }

    #[inline]
    fn find(&self, cx: &Context<'_>, entries: &[Entry], name: &str, hash: u32) -> Option<usize> {
        entries.iter().position(|entry| entry.hash == hash && entry.alive && self.text(cx, entry.name) == name)
    }

    /// Adds a parsed label whose name was not extracted before; it replaces metadata of that name, which only a name
    /// with the suffix can meet.
    #[inline]
    pub(super) fn push_parsed(&mut self, cx: &Context<'_>, name: Text, hash: u32, value: Text) {
        if self.metadata_present.may_contain(hash)
            && let Some(at) = self.find(cx, &self.metadata, self.text(cx, name), hash)
        {
            self.metadata[at].alive = false;
        }
        self.parsed_present.insert(hash);
        self.parsed.push(Entry { name, hash, value, alive: true });
        if !self.required_seen.is_empty() {
            let required = cx.hints.required_index(self.text(cx, name), hash);
            self.mark_required(required);
        }
    }

    /// Sets a parsed label; it replaces one of any other kind.
    pub(super) fn set_parsed(&mut self, cx: &Context<'_>, name: Text, hash: u32, value: Text) {
        if self.parsed_present.may_contain(hash)
            && let Some(at) = self.find(cx, &self.parsed, self.text(cx, name), hash)
        {
            self.parsed[at].value = value;
            return;
        }
        self.push_parsed(cx, name, hash, value);
    }

    fn mark_required(&mut self, index: Option<usize>) {
        if let Some(seen) = index.and_then(|at| self.required_seen.get_mut(at))
            && !*seen
        {
            *seen = true;
            self.required_missing -= 1;
        }
    }

    /// Removes a label of any kind.
    pub(super) fn delete(&mut self, cx: &Context<'_>, name: &str) {
        let hash = name_hash(name);
        for kind in [Category::Metadata, Category::Parsed] {
            let entries = if kind == Category::Parsed { &self.parsed } else { &self.metadata };
            if let Some(at) = self.find(cx, entries, name, hash) {
                let entries = if kind == Category::Parsed { &mut self.parsed } else { &mut self.metadata };
                entries[at].alive = false;
            }
        }
        let stored = self.store(name);
        self.deleted.push(stored);
    }

    pub(super) fn is_deleted(&self, cx: &Context<'_>, name: &str) -> bool {
        self.deleted.iter().any(|deleted| self.text(cx, *deleted) == name)
    }

    pub(super) fn has_error(&self, cx: &Context<'_>) -> bool {
        self.error.is_some_and(|error| !self.text(cx, error).is_empty())
    }

    /// A parser's failure; metric queries that ask for `__error__` keep such rows.
    pub(super) fn set_parser_error(&mut self, cx: &Context<'_>, error: &'static str, details: Option<Text>) {
        self.error = Some(Text::Static(error));
        if details.is_some() {
            self.error_details = details;
        }
        if cx.hints.preserve_error {
            let name = Text::Static("__preserve_error__");
            self.set_parsed(cx, name, name_hash("__preserve_error__"), Text::Static("true"));
        }
    }

    /// Nothing was added, removed or wrong.
    pub(super) fn is_unchanged(&self, cx: &Context<'_>) -> bool {
        self.deleted.is_empty() && !self.has_added() && !self.has_error(cx)
    }

    pub(super) fn has_added(&self) -> bool {
        self.metadata.iter().chain(&self.parsed).any(|entry| entry.alive)
    }

    pub(super) fn has_deleted(&self) -> bool {
        !self.deleted.is_empty()
    }

    pub(super) fn metadata(&self) -> impl Iterator<Item = &Entry> {
        self.metadata.iter().filter(|entry| entry.alive)
    }

    pub(super) fn parsed(&self) -> impl Iterator<Item = &Entry> {
        self.parsed.iter().filter(|entry| entry.alive)
    }

    /// Every label of the row, stream labels first, errors last; each name once.
    pub(super) fn for_each<'s>(&'s self, cx: &Context<'s>, mut visit: impl FnMut(Category, &'s str, &'s str)) {
        let plain = !self.has_added();
        for ((name, value), hash) in cx.base.labels.iter().zip(&cx.base.hashes) {
            let hidden = (!plain && self.get_added(cx, name, *hash).is_some())
                || (!self.deleted.is_empty() && self.is_deleted(cx, name));
            if !hidden {
                visit(Category::Stream, name, value);
            }
        }
        for entry in self.metadata() {
            visit(Category::Metadata, self.text(cx, entry.name), self.text(cx, entry.value));
        }
        for entry in self.parsed() {
            visit(Category::Parsed, self.text(cx, entry.name), self.text(cx, entry.value));
        }
        if self.is_unchanged(cx) {
            return;
        }
        for (name, value) in [("__error__", self.error), ("__error_details__", self.error_details)] {
            if let Some(value) = value.map(|value| self.text(cx, value)).filter(|value| !value.is_empty()) {
                visit(Category::Parsed, name, value);
            }
        }
    }
}

/// One visible label of a row, for sorting without copying.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    Base(usize),
    Metadata(usize),
    Parsed(usize),
    Error,
    ErrorDetails,
}

impl LabelState {
    /// Replaces `slots` by every label of the row, sorted by name.
    pub(super) fn sorted_slots(&self, cx: &Context<'_>, slots: &mut Vec<Slot>) {
        slots.clear();
        for (at, (name, _)) in cx.base.labels.iter().enumerate() {
            let hash = cx.base.hashes[at];
            if self.get_added(cx, name, hash).is_none() && !self.is_deleted(cx, name) {
                slots.push(Slot::Base(at));
            }
        }
        slots.extend((0..self.metadata.len()).filter(|at| self.metadata[*at].alive).map(Slot::Metadata));
        slots.extend((0..self.parsed.len()).filter(|at| self.parsed[*at].alive).map(Slot::Parsed));
        if !self.is_unchanged(cx) {
            for (slot, value) in [(Slot::Error, self.error), (Slot::ErrorDetails, self.error_details)] {
                slots.extend(value.filter(|value| !self.text(cx, *value).is_empty()).map(|_| slot));
            }
        }
        slots.sort_unstable_by(|a, b| self.slot_label(cx, *a).0.cmp(self.slot_label(cx, *b).0));
    }

    pub(super) fn slot_label<'s>(&'s self, cx: &Context<'s>, slot: Slot) -> (&'s str, &'s str) {
        let of_entry = |entry: &Entry| (self.text(cx, entry.name), self.text(cx, entry.value));
        let of_error = |value: Option<Text>| value.map(|value| self.text(cx, value)).unwrap_or_default();
        match slot {
            Slot::Base(at) => cx.base.labels.iter().nth(at).unwrap_or_default(),
            Slot::Metadata(at) => of_entry(&self.metadata[at]),
            Slot::Parsed(at) => of_entry(&self.parsed[at]),
            Slot::Error => ("__error__", of_error(self.error)),
            Slot::ErrorDetails => ("__error_details__", of_error(self.error_details)),
        }
    }
}

/// Where a label of a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    Stream,
    Metadata,
    Parsed,
}
