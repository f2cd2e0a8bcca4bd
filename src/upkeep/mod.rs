//! The table's upkeep: one worker that merges, expires, erases and cleans up while rows come and queries run.
//!
//! ```text
//!            ┌─▶ deletes    rows that were asked away: files rewritten without them
//! every      ├─▶ retention  rows past their period: files dropped or rewritten
//! interval ──┼─▶ compaction small files merged (files/compact_plan decides, files/merge does)
//!            ├─▶ tiers      old files moved to colder places (files/tier_plan decides)
//!            └─▶ vacuum     objects that no commit names and nobody reads any more: deleted
//!                  │
//!                  └ each: read inputs ─▶ write outputs ─▶ one commit (remove + add) ─▶ Catalog::replace
//! ```
//!
//! Invariants: rows move between files in one commit and under the catalog's lock at once, so a query sees each once;
//! the steps run one after the other on one thread of low priority, so they never compete with each other and little
//! with queries; a step that a crash cut short is begun anew from what the table says.
//! Errors: [`UpkeepError`]: logged and counted, and tried again at the next round.

mod compaction;
pub mod deletes;
pub mod retention;
pub mod settings;
pub mod status;
mod tiering;
mod vacuum;
mod worker;
mod workshop;

use crate::files::FilesError;
use crate::files::table::TableError;

pub use settings::{CompactionConfig, CompactorConfig, ErasureConfig};
pub use status::TableStatus;
pub use worker::{Upkeep, UpkeepParts};

/// Why a step of upkeep did not end well.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    #[error("{0}")]
    Files(#[from] FilesError),
    #[error("{0}")]
    Table(#[from] TableError),
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    #[error("{0}")]
    Flush(#[from] crate::ingest::flush::FlushError),
    #[error("{0}")]
    Ledger(String),
    #[error("a query of a delete or of a retention rule: {0}")]
    Query(String),
    #[error("{0}")]
    Certificate(String),
    #[error("files changed while they were rewritten; nothing was done, trying again")]
    Conflict,
    #[error("a merge of {files} files read {read} rows and wrote {written}, not {expected}; nothing was changed")]
    RowsLost { files: usize, read: u64, written: u64, expected: u64 },
}
