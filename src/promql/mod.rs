//! PromQL over series of samples.
//!
//! ```text
//! text ─▶ parse (limits, promql-parser) ─▶ plan: Node + selections ─▶ SeriesSource::select ─▶ eval (pure) ─▶ Answer
//! ```
//!
//! A plan is made for one query at known times, so that what every selector reads is known before anything is read;
//! evaluation is then pure and runs off the async threads. Ranges and the look back are open on the left, closed on
//! the right, as in Prometheus 3. Native histograms are no samples here, so functions of them give nothing.
//!
//! Invariants: nothing of a query's text panics; what a query holds in memory is counted and limited.
//! Errors: [`PromqlError`]; its kind is Prometheus' `errorType`.

pub mod engine;
pub mod error;
mod eval;
mod labels;
pub mod matchers;
mod node;
mod numbers;
mod parse;
mod plan;
mod plan_call;
#[cfg(test)]
mod tests;
pub mod value;

pub use engine::{Engine, EngineLimits, SeriesSource};
pub use error::PromqlError;
pub use matchers::Matcher;
pub use numbers::format_value;
pub use parse::{format, parse_matchers};
pub use plan::Selection;
pub use value::{Answer, Asked, Notes, Outcome, Points, RawSeries, Steps};
