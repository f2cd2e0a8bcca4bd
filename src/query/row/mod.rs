//! The log pipeline, row by row: compiled once, run without allocating.
//!
//! ```text
//! stages ─▶ RowPipeline ─┐
//! stream ─▶ StreamBase ──┼─▶ RowState::run(metadata, time, line) ─▶ Row: line, labels by origin, value
//! row ───────────────────┘
//! ```
//!
//! Reading order: `compile` (stages to steps), `builder` (the labels of a row), `hints` (what parsers leave
//! out), then one file a stage.
//!
//! Semantics are Loki's, its quirks included where answers show them: `_extracted` names, which of two equal keys
//! wins, error labels and their words, early refusal while parsing, anchors of label filters that get lost.
//!
//! Invariants: a pipeline is immutable and shared by threads; a [`RowState`] belongs to one thread and forgets
//! everything between rows. No input makes it panic.
//! Errors: [`CompileError`] before any row runs; afterwards only the labels `__error__` and `__error_details__`.

mod builder;
mod compile;
mod drop_keep;
mod format;
mod hints;
mod ip;
mod json;
mod json_fields;
mod label_filter;
mod line_filter;
mod logfmt;
mod names;
mod narrow;
mod pattern;
mod regexp;
mod run;
mod text_test;
pub(super) mod units;
mod unpack;
mod unwrap;

#[cfg(test)]
mod tests;

pub(super) use builder::EXTRACTED_SUFFIX;
pub use builder::{Category, StreamBase};
pub use compile::{CompileError, Output, RowPipeline};
pub(super) use json::label_name_of_path;
pub use line_filter::LineTest;
pub use narrow::{field_filters, prefilter_stages};
pub use run::{Row, RowState};
