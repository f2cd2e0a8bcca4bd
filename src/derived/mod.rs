//! Samples of derived metrics: recent ones in memory, all in a Delta table `metrics`.
//!
//! ```text
//! append ─▶ Memory (readable at once) ─ pending ─▶ sync ─▶ write-ahead log (kill -9 loses nothing from here on)
//!                │                                    └──▶ forwards (remote write)
//!                └ dirty ─ flush: age or bytes ─▶ Parquet by tenant and day ─▶ one Delta commit (txn = log position)
//! select ─▶ Memory ∪ files: by labels and time, the newer of two samples at one time
//! ```
//!
//! Invariants:
//! - a sample is known by tenant, labels and time; one that comes again replaces the earlier;
//! - what is in memory and not in a committed file is in the log once `sync` has returned;
//! - memory, pending samples, series and the cache of indexes are bounded by settings, each with a metric.
//!
//! Errors: [`SampleError`](crate::types::sample::SampleError); [`DerivedError`] when the store cannot be opened.

pub(crate) mod codec;
mod file;
mod flush;
mod history;
mod index;
mod memory;
pub mod seen;
mod settings;
mod sql;
mod store;
#[cfg(test)]
mod tests;

pub use flush::FlushReport;
pub use settings::DerivedSettings;
pub use store::{DerivedError, DerivedPlace, DerivedStats, Forward, Store};
