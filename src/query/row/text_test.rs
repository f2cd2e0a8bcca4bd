//! Tests on a text, in the cheapest form that is exact: substring, set of substrings, regular expression.
//!
//! Errors: a regular expression that does not compile, as Go words it.

use aho_corasick::AhoCorasick;
use memchr::memmem::Finder;
use regex::Regex;
use regex_syntax::hir::{Hir, HirKind};

use crate::logql::go_regex::compile_go_regex;
use crate::logql::simplify::{Alternative, simplify};

use super::compile::CompileError;

#[derive(Debug, Clone)]
pub(super) enum TextTest {
    Always,
    NotEmpty,
    Equals(Box<str>),
    Contains(Box<Finder<'static>>),
    ContainsAny(AhoCorasick),
    Regex(Regex),
    /// Matches the expression and has this many bytes.
    SizedRegex(usize, Regex),
    Any(Vec<TextTest>),
}

impl TextTest {
    pub(super) fn contains(text: &str) -> TextTest {
        if text.is_empty() { TextTest::Always } else { TextTest::Contains(Box::new(Finder::new(text).into_owned())) }
    }

    /// `|~`: anywhere in the line.
    pub(super) fn line_regex(pattern: &str) -> Result<TextTest, CompileError> {
        // Compiled even when a literal does, for the sake of what Go refuses.
        let regex = go_regex(pattern)?;
        match simplify(pattern, false) {
            Some(ways) => TextTest::any_of(ways),
            None => Ok(TextTest::Regex(regex)),
        }
    }

    /// `=~` of a label filter: as Loki runs it, anchored unless it comes down to literals.
    pub(super) fn label_regex(pattern: &str) -> Result<TextTest, CompileError> {
        go_regex(pattern)?;
        match simplify(pattern, true) {
            Some(ways) => TextTest::any_of(ways),
            None => Ok(TextTest::Regex(go_regex(&format!("^(?:{pattern})$"))?)),
        }
    }

    /// `=~` of a matcher: anchored, `.` also for line breaks.
    pub(super) fn anchored_regex(pattern: &str) -> Result<TextTest, CompileError> {
        go_regex(pattern)?;
        Ok(TextTest::Regex(go_regex(&format!("^(?s:{pattern})$"))?))
    }

    fn any_of(ways: Vec<Alternative>) -> Result<TextTest, CompileError> {
        let mut tests = Vec::new();
        let mut literals: Vec<String> = Vec::new();
        for way in ways {
            match way {
                Alternative::Contains { text, fold: false } => literals.push(text),
                Alternative::Contains { text, fold: true } => tests.push(TextTest::Regex(folded(&text)?)),
                Alternative::Equals { text, fold: false } => tests.push(TextTest::Equals(text.into())),
                Alternative::Equals { text, fold: true } => {
                    tests.push(TextTest::SizedRegex(text.len(), folded(&text)?));
                }
                Alternative::NotEmpty => tests.push(TextTest::NotEmpty),
            }
        }
        tests.extend(Self::contains_any(literals));
        Ok(Self::either(tests))
    }

    /// Holds when any does; those that always hold do not count beside others.
    pub(super) fn either(tests: Vec<TextTest>) -> TextTest {
        let mut tests: Vec<TextTest> = tests.into_iter().filter(|test| !matches!(test, TextTest::Always)).collect();
        match tests.len() {
            0 => TextTest::Always,
            1 => tests.remove(0),
            _ => TextTest::Any(tests),
        }
    }

    /// One test for several substrings.
    pub(super) fn contains_any(literals: Vec<String>) -> Option<TextTest> {
        match literals.as_slice() {
            [] => None,
            [one] => Some(TextTest::contains(one)),
            many => Some(match AhoCorasick::new(many) {
                Ok(automaton) => TextTest::ContainsAny(automaton),
                // Too large for one automaton: one by one.
                Err(_) => TextTest::Any(many.iter().map(|text| TextTest::contains(text)).collect()),
            }),
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            TextTest::Always => true,
            TextTest::NotEmpty => !text.is_empty(),
            TextTest::Equals(want) => **want == *text,
            TextTest::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            TextTest::ContainsAny(automaton) => automaton.is_match(text),
            TextTest::Regex(regex) => regex.is_match(text),
            TextTest::SizedRegex(size, regex) => text.len() == *size && regex.is_match(text),
            TextTest::Any(tests) => tests.iter().any(|test| test.matches(text)),
        }
    }

    /// Substrings every matching text has.
    pub(super) fn required_literals(&self) -> Vec<String> {
        match self {
            TextTest::Contains(finder) => std::str::from_utf8(finder.needle()).map(str::to_owned).into_iter().collect(),
            TextTest::Equals(text) if !text.is_empty() => vec![text.to_string()],
            TextTest::Regex(regex) | TextTest::SizedRegex(_, regex) => literals_of(regex.as_str()),
            _ => Vec::new(),
        }
    }
}

/// The texts that every match of an expression has as they stand.
fn literals_of(pattern: &str) -> Vec<String> {
    fn push(hir: &Hir, literals: &mut Vec<String>) {
        match hir.kind() {
            HirKind::Literal(literal) => literals.extend(std::str::from_utf8(&literal.0).ok().map(str::to_owned)),
            HirKind::Concat(parts) => parts.iter().for_each(|part| push(part, literals)),
            HirKind::Capture(group) => push(&group.sub, literals),
            HirKind::Repetition(repeated) if repeated.min > 0 => push(&repeated.sub, literals),
            _ => {}
        }
    }
    let mut literals = Vec::new();
    if let Ok(hir) = regex_syntax::parse(pattern) {
        push(&hir, &mut literals);
    }
    literals
}

fn go_regex(pattern: &str) -> Result<Regex, CompileError> {
    Ok(compile_go_regex(pattern).map_err(CompileError::new)?.into_regex())
}

/// The literal, whatever its case.
fn folded(text: &str) -> Result<Regex, CompileError> {
    Regex::new(&format!("(?i:{})", regex::escape(text))).map_err(|error| CompileError::new(error.to_string()))
}
