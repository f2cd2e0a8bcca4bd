//! `| unpack`: undoes Promtail's `pack`: `{"a":"x","_entry":"line"}` becomes the label `a` and the line `line`.
//!
//! Only strings count. Without `_entry` nothing is changed.
//!
//! Errors: `__error__="JSONParserErr"`; the line stays as it is.

use super::builder::{Context, EXTRACTED_SUFFIX, LabelState, LineView, Text, name_hash};
use super::json::{object_each, push_label_name};
use crate::types::json_scan::{Kind, ScanError, push_label_value, unescape};

/// What becomes of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unpacked {
    /// The line stays as it was.
    Kept,
    /// `entry` holds the new line.
    Replaced,
    Dropped,
}

/// Adds the labels and writes the packed line to `entry`.
pub(super) fn unpack(cx: &Context<'_>, labels: &mut LabelState, view: LineView<'_>, entry: &mut String) -> Unpacked {
    if view.text.is_empty() || labels.no_labels(cx) {
        return Unpacked::Kept;
    }
    if !view.text.starts_with('{') {
        let words = Text::Static("expecting json object(6), but it is not");
        labels.set_parser_error(cx, "JSONParserErr", Some(words));
        return Unpacked::Kept;
    }
    entry.clear();
    let mut packed = false;
    // Labels count only once the whole object is read and `_entry` is in it.
    let mut waiting: Vec<(Text, u32, Text)> = Vec::new();
    let read = object_each::<ScanError>(view.text, 0, |key, value| {
        if value.kind != Kind::String {
            return Ok(());
        }
        let raw = &view.text[value.start..value.end];
        if key.text == "_entry" {
            entry.clear();
            unescape(raw, entry)?;
            packed = true;
            return Ok(());
        }
        let suffix = if labels.conflicts(cx, key.text, name_hash(key.text)) { EXTRACTED_SUFFIX } else { "" };
        let unclean = labels.store_with(|arena| {
            arena.push_str(key.text);
            arena.push_str(suffix);
        });
        let known = labels.text(cx, unclean);
        if !cx.hints.should_extract(known) || labels.extracted(cx, known, name_hash(known)) {
            return Ok(());
        }
        let name = labels.store_with(|arena| {
            push_label_name(arena, if suffix.is_empty() { key.text } else { key.text.trim_start() });
            arena.push_str(suffix);
        });
        let value = labels.store_with(|arena| push_label_value(raw, arena));
        waiting.push((name, labels.arena_hash(name), value));
        Ok(())
    });
    if let Err(error) = read {
        labels.set_parser_error(cx, "JSONParserErr", Some(Text::Static(error.words())));
        return Unpacked::Kept;
    }
    if !packed {
        return Unpacked::Kept;
    }
    for (name, hash, value) in waiting {
        labels.set_parsed(cx, name, hash, value);
        if !cx.hints.should_continue(cx, labels, name, hash) {
            return Unpacked::Dropped;
        }
    }
    Unpacked::Replaced
}
