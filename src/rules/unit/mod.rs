//! Unit tests of rules: promtool's format, with lines beside series.
//!
//! ```text
//! test file ─▶ rules, inputs ─▶ a world in memory (rows, engine, samples), its clock at 0
//!           ─▶ every group at every evaluation ─▶ what was expected │ what was got ─▶ differences
//! ```
//!
//! Ours beside promtool's: `input_streams`, `logql_expr_test`, and rules in LogQL.

mod compare;
mod file;
mod input;
mod run;
mod world;

pub use file::{TestFile, read_tests};
pub use run::{Report, run_file};

#[cfg(test)]
mod tests;
