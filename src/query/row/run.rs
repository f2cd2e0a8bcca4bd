//! One row through the steps, and what is left of it.

use super::builder::{Category, Context, LabelState, LineView, Slot, StreamBase, Text};
use super::compile::{Grouped, RowPipeline, Step};
use super::format::FormatScratch;
use super::json;
use super::logfmt;
use super::unpack::{Unpacked, unpack};
use crate::logql::decolorize::decolorize;
use crate::types::labels::Labels;

/// Buffers a thread reuses from row to row.
#[derive(Debug, Default)]
pub struct RowState {
    labels: LabelState,
    /// The line a step made; empty until one does.
    line: String,
    line_replaced: bool,
    scratch: String,
    names: Vec<String>,
    format: FormatScratch,
    slots: Vec<Slot>,
    value: f64,
    now_ns: i64,
}

/// A row the pipeline kept.
pub struct Row<'a> {
    state: &'a mut RowState,
    cx: Context<'a>,
    grouped: &'a Grouped,
    skips_empty: bool,
}

impl RowState {
    /// `now_ns` is what templates take for now, in nanoseconds.
    pub fn new(now_ns: i64) -> Self {
        RowState { now_ns, ..RowState::default() }
    }

    /// Runs one row; `None` when it is dropped.
    ///
    /// `metadata` may be in any order; of equal names the last counts.
    pub fn run<'a>(
        &'a mut self,
        pipeline: &'a RowPipeline,
        base: &'a StreamBase,
        metadata: &'a [(&'a str, &'a str)],
        timestamp_ns: i64,
        line: &'a str,
    ) -> Option<Row<'a>> {
        self.run_from(0, pipeline, base, metadata, timestamp_ns, line)
    }

    /// Runs one row that passed [`RowPipeline::leading_line_filters`] already.
    pub fn run_prefiltered<'a>(
        &'a mut self,
        pipeline: &'a RowPipeline,
        base: &'a StreamBase,
        metadata: &'a [(&'a str, &'a str)],
        timestamp_ns: i64,
        line: &'a str,
    ) -> Option<Row<'a>> {
        self.run_from(pipeline.leading_line_filters().len(), pipeline, base, metadata, timestamp_ns, line)
    }

    fn run_from<'a>(
        &'a mut self,
        first_step: usize,
        pipeline: &'a RowPipeline,
        base: &'a StreamBase,
        metadata: &'a [(&'a str, &'a str)],
        timestamp_ns: i64,
        line: &'a str,
    ) -> Option<Row<'a>> {
        let mut steps = &pipeline.steps[first_step..];
        // Filters at the front need no labels.
        while let Some((Step::LineFilter(test), rest)) = steps.split_first() {
            if !test.matches(line) {
                return None;
            }
            steps = rest;
        }
        let now_ns = self.now_ns;
        let cx = Context { base, metadata, line, timestamp_ns, now_ns, hints: &pipeline.hints };
        self.labels.reset(&cx);
        self.line_replaced = false;
        self.value = 1.0;
        for step in steps {
            if !self.step(step, &cx) {
                return None;
            }
        }
        Some(Row { state: self, cx, grouped: &pipeline.grouped, skips_empty: pipeline.skips_empty })
    }

    /// Runs one step; false drops the row.
    fn step(&mut self, step: &Step, cx: &Context<'_>) -> bool {
        match step {
            Step::LabelFilter(filter) => return filter.holds(cx, &mut self.labels),
            Step::Drop(selectors) => {
                selectors.drop(cx, &mut self.labels);
                return true;
            }
            Step::Keep(selectors) => {
                selectors.keep(cx, &mut self.labels, &mut self.names);
                return true;
            }
            Step::Unwrap(unwrap) => {
                let value = unwrap.value(cx, &mut self.labels);
                self.value = value.unwrap_or_default();
                return value.is_some();
            }
            _ => {}
        }
        // The line is taken out of the state while a step reads it and changes the rest.
        let made = std::mem::take(&mut self.line);
        let view = match self.line_replaced {
            true => LineView { text: &made, original: false },
            false => LineView { text: cx.line, original: true },
        };
        let mut out = std::mem::take(&mut self.scratch);
        let (kept, replaced) = self.line_step(step, cx, view, &mut out);
        if replaced {
            (self.line, self.scratch) = (out, made);
            self.line_replaced = true;
        } else {
            (self.line, self.scratch) = (made, out);
        }
        kept
    }

    /// A step that reads the line; tells whether the row stays and whether `out` is its new line.
    fn line_step(&mut self, step: &Step, cx: &Context<'_>, view: LineView<'_>, out: &mut String) -> (bool, bool) {
        let labels = &mut self.labels;
        match step {
            Step::LineFilter(test) => (test.matches(view.text), false),
            Step::Json => (json::parse(cx, labels, view), false),
            Step::JsonFields(fields) => {
                fields.parse(cx, labels, view);
                (true, false)
            }
            Step::Logfmt { strict, keep_empty } => (logfmt::parse(cx, labels, view, *strict, *keep_empty), false),
            Step::LogfmtFields(fields) => {
                fields.parse(cx, labels, view);
                (true, false)
            }
            Step::Regexp(regexp) => (regexp.parse(cx, labels, view), false),
            Step::Pattern(pattern) => (pattern.parse(cx, labels, view), false),
            Step::Unpack => match unpack(cx, labels, view, out) {
                Unpacked::Kept => (true, false),
                Unpacked::Replaced => (true, true),
                Unpacked::Dropped => (false, false),
            },
            Step::LineFormat(format) => (true, format.format(cx, labels, view, out)),
            Step::LabelFormat(format) => {
                format.format(cx, labels, view, &mut self.format);
                (true, false)
            }
            Step::Decolorize => (true, decolorize(view.text, out)),
            Step::LabelFilter(_) | Step::Drop(_) | Step::Keep(_) | Step::Unwrap(_) => (true, false),
        }
    }
}

impl Row<'_> {
    /// The line as the pipeline left it.
    pub fn line(&self) -> &str {
        if self.state.line_replaced { &self.state.line } else { self.cx.line }
    }

    /// The value unwrapped; 1 without an unwrap.
    pub fn value(&self) -> f64 {
        self.state.value
    }

    /// The label `__error__`.
    pub fn error(&self) -> Option<&str> {
        self.error_text(self.state.labels.error)
    }

    /// The label `__error_details__`.
    pub fn error_details(&self) -> Option<&str> {
        self.error_text(self.state.labels.error_details)
    }

    fn error_text(&self, text: Option<Text>) -> Option<&str> {
        text.map(|text| self.state.labels.text(&self.cx, text)).filter(|text| !text.is_empty())
    }

    /// A label of the row, errors not among them.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.state.labels.get_by_text(&self.cx, name)
    }

    /// Whether the row has the labels of its stream, no more and no less.
    pub fn has_stream_labels_only(&self) -> bool {
        self.state.labels.is_unchanged(&self.cx)
    }

    /// Every label with its origin: of the stream, of the metadata, parsed (errors among these). Each name once;
    /// within an origin in the order they were set. The grouping of a metric query is not applied.
    pub fn for_each_label(&self, visit: impl FnMut(Category, &str, &str)) {
        self.state.labels.for_each(&self.cx, visit);
    }

    /// The labels that make the row's series, unsorted: the grouping applied, unless the row has an error, which
    /// keeps all.
    fn for_each_series_label<'s>(&'s self, mut visit: impl FnMut(&'s str, &'s str)) {
        let labels = &self.state.labels;
        if labels.has_error(&self.cx) {
            return labels.for_each(&self.cx, |_, name, value| visit(name, value));
        }
        let skips_empty = self.skips_empty;
        let mut visit = |name: &'s str, value: &'s str| {
            if !skips_empty || !value.is_empty() {
                visit(name, value);
            }
        };
        match self.grouped {
            Grouped::All => labels.for_each(&self.cx, |_, name, value| visit(name, value)),
            Grouped::None => {}
            Grouped::By(names) => {
                for name in names {
                    // A label deleted once is gone from groupings even if it was set again.
                    if labels.has_deleted() && labels.is_deleted(&self.cx, &name.text) {
                        continue;
                    }
                    if let Some(value) = labels.get(&self.cx, name) {
                        visit(&name.text, value);
                    }
                }
            }
            Grouped::Without(names) => {
                let stays = |label: &str| names.iter().all(|name| *name.text != *label);
                labels.for_each(&self.cx, |_, name, value| {
                    // Error details without an error are no series label.
                    if stays(name) && name != "__error_details__" {
                        visit(name, value);
                    }
                });
            }
        }
    }

    /// Replaces `key` by bytes that are equal for rows of the same series, and only for them.
    pub fn labels_key(&mut self, key: &mut Vec<u8>) {
        key.clear();
        let has_error = self.state.labels.has_error(&self.cx);
        if has_error || matches!(self.grouped, Grouped::All) {
            let mut slots = std::mem::take(&mut self.state.slots);
            self.state.labels.sorted_slots(&self.cx, &mut slots);
            key.push(u8::from(has_error));
            for slot in &slots {
                let (name, value) = self.state.labels.slot_label(&self.cx, *slot);
                if has_error || !self.skips_empty || !value.is_empty() {
                    push_sized(key, name);
                    push_sized(key, value);
                }
            }
            self.state.slots = slots;
            return;
        }
        if let Grouped::By(_) = self.grouped {
            // In the order of the names already.
            self.for_each_series_label(|name, value| {
                push_sized(key, name);
                push_sized(key, value);
            });
            return;
        }
        let mut slots = std::mem::take(&mut self.state.slots);
        self.state.labels.sorted_slots(&self.cx, &mut slots);
        let Grouped::Without(names) = self.grouped else { return };
        for slot in &slots {
            let (name, value) = self.state.labels.slot_label(&self.cx, *slot);
            let is_skipped = self.skips_empty && value.is_empty();
            if !is_skipped && name != "__error_details__" && names.iter().all(|gone| *gone.text != *name) {
                push_sized(key, name);
                push_sized(key, value);
            }
        }
        self.state.slots = slots;
    }

    /// The labels [`Row::labels_key`] stands for.
    pub fn labels(&self) -> Labels {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        self.for_each_series_label(|name, value| pairs.push((name, value)));
        Labels::from_pairs_with_empty(pairs)
    }
}

/// Length, then text: no two lists of texts have the same bytes.
fn push_sized(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(&(text.len() as u64).to_le_bytes());
    key.extend_from_slice(text.as_bytes());
}
