//! LogQL syntax: text to tree and back. No data, no execution.
//!
//! ```text
//! text ─▶ lexer ─▶ parser (recursive descent) ─▶ ast ─▶ validate        printer: ast ─▶ canonical text
//! ```
//!
//! Errors: [`ParseError`], worded as Loki words it, with line and column.

pub mod ast;
pub mod decolorize;
mod error;
pub mod go_regex;
pub mod json_path;
mod lexer;
pub mod line_pattern;
mod literals;
pub mod logfmt_key;
mod number;
mod parser;
mod pretty;
mod printer;
pub mod selector;
pub mod simplify;
mod validate;

pub use error::ParseError;
pub use literals::human_bytes;
pub use parser::{parse, parse_line_selector, parse_log, parse_matchers};
pub use pretty::format;
pub use printer::{print, print_stage};
pub use validate::needs_selective;

#[cfg(test)]
mod tests;
