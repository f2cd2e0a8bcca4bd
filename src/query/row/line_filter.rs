//! `|=`, `!=`, `|~`, `!~`, `|>`, `!>`: which lines stay.
//!
//! Alternatives (`or`) are tried until one holds; the negative filters hold when none does. Filters before anything
//! that changes the line can be evaluated over whole columns first: they depend on the line alone.

use super::compile::CompileError;
use super::ip::IpMatcher;
use super::pattern::LinePattern;
use super::text_test::TextTest;
use crate::logql::ast::{LineFilter, LineFilterOp, LineMatch};

/// One line filter, ready to run.
#[derive(Debug, Clone)]
pub struct LineTest {
    negate: bool,
    text: Option<TextTest>,
    others: Vec<OtherTest>,
    /// The texts of which one in the line decides, when nothing else does.
    literals: Option<Vec<String>>,
}

#[derive(Debug, Clone)]
enum OtherTest {
    Ip(IpMatcher),
    Pattern(LinePattern),
}

impl LineTest {
    pub(super) fn new(filter: &LineFilter) -> Result<Self, CompileError> {
        let negate = matches!(filter.op, LineFilterOp::NotContains | LineFilterOp::NotRegex | LineFilterOp::NotPattern);
        let (mut tests, mut literals, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let mut always = false;
        for way in &filter.any_of {
            match (way, filter.op) {
                (LineMatch::Ip(pattern), LineFilterOp::Contains | LineFilterOp::NotContains) => {
                    others.push(OtherTest::Ip(IpMatcher::parse(pattern)?));
                }
                (LineMatch::Ip(_), _) => return Err(CompileError::new("ip: invalid operation".to_owned())),
                (LineMatch::Text(text), LineFilterOp::Contains | LineFilterOp::NotContains) => {
                    always |= text.is_empty();
                    literals.extend((!text.is_empty()).then(|| text.clone()));
                }
                (LineMatch::Text(text), LineFilterOp::Regex | LineFilterOp::NotRegex) => {
                    let test = TextTest::line_regex(text)?;
                    always |= matches!(test, TextTest::Always);
                    tests.push(test);
                }
                (LineMatch::Text(text), LineFilterOp::Pattern | LineFilterOp::NotPattern) => {
                    others.push(OtherTest::Pattern(LinePattern::parse(text)?));
                }
            }
        }
        let decisive = tests.is_empty() && others.is_empty() && !always;
        let decisive = decisive.then(|| literals.clone());
        tests.extend(TextTest::contains_any(literals));
        // What always holds is left out beside others, but `!= "a" or ""` is two filters, of which one never holds.
        let text = match TextTest::either(tests) {
            _ if negate && always => Some(TextTest::Always),
            TextTest::Always if !others.is_empty() => None,
            test => Some(test),
        };
        let literals = decisive.or_else(|| match &text {
            Some(TextTest::Contains(finder)) if others.is_empty() => {
                Some(vec![String::from_utf8_lossy(finder.needle()).into_owned()])
            }
            _ => None,
        });
        Ok(LineTest { negate, text, others, literals })
    }

    /// Whether the line stays.
    pub fn matches(&self, line: &str) -> bool {
        let found = self.text.as_ref().is_some_and(|test| test.matches(line))
            || self.others.iter().any(|test| match test {
                OtherTest::Ip(matcher) => matcher.finds_in(line),
                OtherTest::Pattern(pattern) => pattern.matches(line),
            });
        found != self.negate
    }

    /// The texts of which one in the line decides whether it stays; `None` when more is to be looked at.
    pub fn deciding_literals(&self) -> Option<&[String]> {
        self.literals.as_deref()
    }

    /// Substrings every line that stays has.
    pub fn required_literals(&self) -> Vec<String> {
        match &self.text {
            Some(text) if !self.negate && self.others.is_empty() => text.required_literals(),
            _ => Vec::new(),
        }
    }

    /// Keeps every line.
    pub(super) fn is_noop(&self) -> bool {
        !self.negate && self.others.is_empty() && matches!(self.text, Some(TextTest::Always))
    }
}
