//! Templates of log lines: what stays the same and where they differ, found line by line.
//!
//! ```text
//! line ─▶ Tokens: words between delimiters ─▶ Miner: same delimiters, most words equal? ─▶ template, generalised
//!   GET /a 200 in 3ms                          GET <_> 200 in <_>
//! ```
//!
//! After Drain (He et al., ICWS 2017), with the delimiters as the tree's key instead of the first words.
//!
//! Invariants: every line that a template was given matches its text under LogQL's `|>`, because templates only ever
//! get more `<_>`; a miner holds at most `TEMPLATES_MAX` templates.

mod miner;
mod tokens;

pub use miner::{Miner, TEMPLATES_MAX};
pub use tokens::{LINE_BYTES_MAX, Tokens, WILDCARD};
