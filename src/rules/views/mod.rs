//! SQL continuous views: a windowed SELECT over `logs` becomes recording rules, their result a table.
//!
//! ```text
//! SELECT date_bin(…) …, keys, aggregates FROM logs WHERE … GROUP BY …
//!    ─ translate ─▶ one recording rule an aggregate: `sum by (keys) (count_over_time(…))`, metric `<view>:<column>`
//!    ─ table ─────▶ what was recorded, the columns beside each other again
//! ```
//!
//! Invariant: the table has what the statement answers when it is asked of `logs` afterwards, for bins that are over.
//! Errors: [`ViewError`] says what of a statement is not supported.

mod parts;
mod table;

mod translate;

pub use table::ViewTables;
pub use translate::{ContinuousView, ViewError, translate};

use serde::{Deserialize, Serialize};

use crate::types::units::GoDuration;

/// The namespace that the groups of views have.
pub const VIEWS_NAMESPACE: &str = "continuous_views";

/// A view as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContinuousViewConfig {
    /// The name of its table: lower-case letters, digits and `_`.
    pub name: String,
    /// None: the single tenant.
    pub tenant: Option<String>,
    pub query: String,
    /// How late rows may come and still correct a bin; the configured lateness when missing.
    pub lateness: Option<GoDuration>,
}

#[cfg(test)]
mod tests;
