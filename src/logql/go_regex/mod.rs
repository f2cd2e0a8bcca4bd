//! Regular expressions as Go (RE2) reads them, on the `regex` crate.
//!
//! ```text
//! pattern ─▶ parse (Go's grammar, Go's errors) ─▶ the same expression in the crate's grammar ─▶ regex::Regex
//! ```
//!
//! Go's syntax and the crate's differ in many small ways (`{` that is no repeat count, `a**`, `\Q…\E`, nested classes,
//! ASCII `\w`, names of groups), so the pattern is read once by Go's rules and written anew: every error is Go's, and
//! no construct of the crate that Go lacks can slip through.

mod class;
mod escape;
mod parse;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Deref;

use regex::{Captures, Match, Regex, RegexBuilder};

/// Compiled size beyond which an expression is refused, bytes.
const PROGRAM_BYTES_MAX: usize = 10 << 20;
/// Nesting of what `parse` writes: a few levels for each of Go's thousand.
const NEST_MAX: u32 = 4_000;

/// A compiled expression; it is used as the `regex::Regex` it holds, but groups have Go's names.
#[derive(Clone)]
pub struct GoRegex {
    regex: Regex,
    names: Vec<Option<String>>,
}

impl GoRegex {
    /// The name of each group, the whole match (without one) first; names may repeat, as in Go.
    pub fn capture_names(&self) -> impl Iterator<Item = Option<&str>> {
        self.names.iter().map(Option::as_deref)
    }

    /// What the first group called `name` that took part matched.
    pub fn named<'t>(&self, captures: &Captures<'t>, name: &str) -> Option<Match<'t>> {
        let groups = self.names.iter().enumerate().filter(|(_, known)| known.as_deref() == Some(name));
        groups.filter_map(|(at, _)| captures.get(at)).next()
    }

    /// The expression alone, for those who ask only whether it matches.
    pub fn into_regex(self) -> Regex {
        self.regex
    }
}

impl Deref for GoRegex {
    type Target = Regex;

    fn deref(&self) -> &Regex {
        &self.regex
    }
}

impl fmt::Debug for GoRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.regex.fmt(f)
    }
}

/// Compiles `pattern`; the error is Go's text, `error parsing regexp: …`.
pub fn compile_go_regex(pattern: &str) -> Result<GoRegex, String> {
    let error = |words: String| format!("error parsing regexp: {words}");
    let parsed = parse::parse(pattern).map_err(|refusal| error(refusal.to_string()))?;
    let regex = RegexBuilder::new(&parsed.text)
        .size_limit(PROGRAM_BYTES_MAX)
        .nest_limit(NEST_MAX)
        .build()
        .map_err(|_| error(parse::Refusal::new("expression too large", pattern).to_string()))?;
    Ok(GoRegex { regex, names: parsed.names })
}
