//! JSON and logfmt lines as columns: every field of the lines of a file in a column of its own, the rest of the text once.
//!
//! ```text
//! lines ─ Splitter ─▶ template, line (what is neither), $.level, $.status, … ─▶ Parquet
//!                        └ footer: FieldIndex (columns, templates, facts of each row group)
//! Parquet ─ Recipe ─▶ lines, or lines with some members alone
//! lines ─ Narrower ─▶ lines with some members alone, of batches that are in no file yet
//! ```
//!
//! Reading order: `template` and `logfmt` (a line without its values), `columns` (which fields get one), `packed` (ids as bytes), `split` and `rebuild`,
//! `facts` (what no line of a row group has), `stretches` (which rows can have an id), `index` (the footer).
//!
//! Invariants: a line comes back byte by byte; a narrowed line gives the parsers for its members what the whole line
//! gives. Why it is so: `docs/decisions/0050-fields-as-columns.md`.

mod columns;
mod facts;
mod index;
mod logfmt;
mod narrow;
mod noted;
mod packed;
mod rebuild;
mod sought;
mod split;
mod stretches;
mod template;

#[cfg(test)]
mod tests;

/// How files keep lines that are JSON or logfmt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineLayout {
    /// In columns of their fields.
    #[default]
    Fields,
    /// As they are, in the column `line`, for readers that know no other.
    Whole,
}

pub(super) use columns::parquet_names;
pub use columns::{FieldColumn, FieldColumns};
pub(super) use facts::GroupFacts;
pub use facts::MayHave;
pub use index::FieldIndex;
pub(super) use index::{FOOTER_KEY, encode};
pub use narrow::Narrower;
pub use packed::Form;
pub use rebuild::Members;
pub(super) use rebuild::Recipe;
pub(super) use split::Splitter;
pub(super) use stretches::IdFilters;
pub use stretches::Stretches;
pub use template::{Member, MemberKind, Syntax};
