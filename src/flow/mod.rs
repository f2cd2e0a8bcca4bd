//! Continuous operators: LogQL over the rows as they arrive.
//!
//! ```text
//! Catalog ─ rows, in the order they become visible ─▶ Feed ─▶ flow thread
//!    rows ─▶ JSON lines narrowed to what rules read ─▶ every rule's RuleOperator: selector, row pipeline ─▶ panes by series
//!    rows ─▶ Watermark of the tenant ─▶ evaluations that are due ─▶ Output: samples of a round, corrections
//! new rule: snapshot + mark ─▶ rows of the past into an operator of its own ─▶ merged into the live one
//! ```
//!
//! Invariants: a rule's samples at t are what the query engine answers for its rows at t, whatever order they came in;
//! each row is in an operator once: before the mark from the snapshot, after it from the feed; work for a row does not
//! depend on range or interval. The windows are never saved: the store, which has every acknowledged row, is their
//! checkpoint ([decision 25](../docs/decisions/0025-the-store-is-the-checkpoint.md)).
//! Errors: [`FlowError`].

pub mod compile;
pub mod completeness;
pub mod feed;
pub mod grid;
pub mod group;
pub mod leaf;
mod narrowing;
pub mod operator;
pub mod pane;
pub mod quantile;
pub mod runner;
pub mod watermark;

pub use compile::{Timing, compile};
pub use feed::Feed;
pub use group::{GroupStatus, Phase, RuleStatus};
pub use operator::{RuleOperator, Samples};
pub use runner::{FlowGroup, FlowLimits, FlowRule, FlowStatus, GroupId, Order, Output, Round, start};
pub use watermark::WatermarkLimits;

use crate::types::time::UnixNanos;

/// Why a rule has no samples.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    #[error("{0}")]
    Compile(String),
    /// It can be asked of the query engine.
    #[error("not incremental: {0}")]
    NotIncremental(String),
    /// In the query engine's words.
    #[error("{0}")]
    Pipeline(String),
    #[error("rows could not be read: {0}")]
    Rows(String),
    #[error("the rows before the rule was loaded could not be read; its windows are whole from {} s (Unix) on", until.0 / 1_000_000_000)]
    Warming { until: UnixNanos },
    #[error(
        "the rule's state grew over {bytes_max} bytes and was dropped: select fewer series, shorten the range, or raise millrace.flow.state_bytes_max; its windows are whole again from {} s (Unix) on", until.0 / 1_000_000_000
    )]
    StateFull { bytes_max: usize, until: UnixNanos },
}

#[cfg(test)]
mod tests;
