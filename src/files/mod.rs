//! History: Parquet files, the commit log that says which of them count, and their indexes.
//!
//! ```text
//! rows of a sealed head ─sort─▶ write ─▶ tenant=…/date=…/part-….parquet ─▶ Table::commit
//!                                              └─ footer: StreamIndex (runs of rows by stream)
//! FileIndexes (cache of footers) ─▶ select (runs × time → rows to read) ─▶ read ─▶ row batches
//! ```
//!
//! Invariants: rows of a file are sorted by (service_name, labels, ts_ns), so the rows of a stream are
//! one run in time order; a file is read only if a commit names it; a file never changes.
//! Errors: [`FilesError`].

pub mod blocks;
pub mod compact_plan;
mod error;
pub mod fields;
pub mod index;
pub mod merge;
pub mod object_reader;
mod pattern_merge;
pub mod patterns;
pub mod read;
pub mod row_file;
pub mod select;
pub mod skip;
mod stream_index;
pub mod table;
pub mod tier_plan;
pub mod verify;
pub mod write;

pub use error::FilesError;
pub use index::{FileIndex, FileIndexes, Run};
pub use table::DataFile;
