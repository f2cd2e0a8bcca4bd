//! Retention: rows past their period go, whole files at once where all rows are past it.
//!
//! ```text
//! limits ─▶ Rules (a tenant's) ─▶ file: stream index ─ all past ─▶ dropped, unread
//!                                                     ─ some past for long enough ─▶ written anew without them
//!                                                     ─ else ─▶ kept
//! ```
//!
//! A row's period is that of the rule with the highest priority among those that choose it, of equals the shortest;
//! else the tenant's `retention_period`; 0 is for ever. Its age is counted from its own time.
//! To not write a file anew for every row, rows may stay longer by an eighth of their period, at most a day.

mod apply;
mod preview;
mod rules;

pub use preview::{PreviewEntry, preview};
pub use rules::Rules;
