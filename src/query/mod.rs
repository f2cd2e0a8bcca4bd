//! Questions and answers: LogQL and SQL over the rows of the head and of the files.
//!
//! ```text
//! LogQL ─▶ logql::parse ─▶ plan ─▶ ScanExec (head ∪ files) ─▶ row pipeline ─▶ entries ─▶ streams
//!                                                                 └─▶ panes ─▶ matrix ─▶ vector operations
//! SQL ───▶ DataFusion ───▶ views `logs`, `streams` over the same ScanExec
//! ```
//!
//! Invariant: a scan works on one snapshot, in which each acknowledged row is either in the head
//! or in a committed file, never in both.
//! Errors: [`QueryError`]; its kind tells the caller what to do.

pub mod answer;
pub mod engine;
pub mod error;
pub mod fields;
mod fold;
pub mod hiding;
pub mod index;
pub mod limits;
pub mod matchers;
pub mod matrix;
pub mod memory;
mod newest;
mod operands;
pub mod operators;
pub mod panes;
pub mod patterns;
pub mod plan;
pub mod pushdown;
mod redact;
pub mod removal;
pub mod results;
pub mod row;
pub mod scan;
pub mod sql;
pub mod tail;
pub mod visible;
pub mod volumes;

pub use answer::{Direction, Entry, QueryAnswer, QueryKind, QueryRequest, QueryStats, Splitting, StreamEntries};
pub use engine::{Engine, EngineLimits, SqlAnswer, SqlRequest};
pub use error::QueryError;
pub use fold::SnapshotRows;
pub use results::{ResultsCache, ResultsCacheStats};
