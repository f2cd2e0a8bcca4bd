//! Regular expressions compiled once.
//!
//! A command keeps the first expression its function compiled, which is the only one when the pattern is written in
//! the template. Patterns that change from row to row go through a small cache of the template.

use std::borrow::Cow;
use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::logql::go_regex::{GoRegex, compile_go_regex};

/// Expressions kept for patterns that come from rows.
const CACHED_MAX: usize = 16;

/// A pattern and what became of it.
#[derive(Debug, Clone)]
pub(super) struct CompiledRegex {
    pattern: Vec<u8>,
    /// The error is Go's text.
    regex: Result<GoRegex, String>,
}

impl CompiledRegex {
    fn new(pattern: &[u8]) -> Self {
        let regex = match std::str::from_utf8(pattern) {
            Ok(text) => compile_go_regex(text),
            Err(_) => Err(format!("error parsing regexp: invalid UTF-8: `{}`", String::from_utf8_lossy(pattern))),
        };
        CompiledRegex { pattern: pattern.to_owned(), regex }
    }
}

/// The template's cache; the oldest makes way.
#[derive(Debug, Default)]
pub(super) struct RegexCache {
    compiled: Mutex<Vec<CompiledRegex>>,
}

impl RegexCache {
    /// The expression of `pattern`, through the place that asks for it if there is one.
    pub(super) fn get<'a>(
        &self,
        pattern: &[u8],
        place: Option<&'a OnceLock<CompiledRegex>>,
    ) -> Result<Cow<'a, GoRegex>, String> {
        if let Some(place) = place {
            let compiled = place.get_or_init(|| CompiledRegex::new(pattern));
            if compiled.pattern == pattern {
                return compiled.regex.as_ref().map(Cow::Borrowed).map_err(Clone::clone);
            }
        }
        let mut known = self.compiled.lock();
        if let Some(compiled) = known.iter().find(|compiled| compiled.pattern == pattern) {
            return compiled.regex.clone().map(Cow::Owned);
        }
        let compiled = CompiledRegex::new(pattern);
        let regex = compiled.regex.clone();
        if known.len() >= CACHED_MAX {
            known.remove(0);
        }
        known.push(compiled);
        regex.map(Cow::Owned)
    }
}
