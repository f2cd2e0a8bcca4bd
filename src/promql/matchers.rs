//! Label matchers: which series a selector means.

use std::fmt;

use promql_parser::label as parsed;
use regex::Regex;

use super::error::PromqlError;
use crate::logql::go_regex::compile_go_regex;
use crate::types::labels::{Labels, push_go_quoted};
use crate::types::sample::METRIC_NAME;

/// One condition on one label; a label that is not there has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    value: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Equal,
    NotEqual,
    Regex(Regex),
    NotRegex(Regex),
}

impl Matcher {
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Matcher { name: name.into(), value: value.into(), test: Test::Equal }
    }

    /// # Errors
    /// `BadQuery` for an expression that is none.
    pub(super) fn of(parsed: &parsed::Matcher) -> Result<Self, PromqlError> {
        let anchored = || {
            let compiled = compile_go_regex(&format!("^(?s:{})$", parsed.value));
            compiled.map(|regex| regex.into_regex()).map_err(PromqlError::BadQuery)
        };
        let test = match parsed.op {
            parsed::MatchOp::Equal => Test::Equal,
            parsed::MatchOp::NotEqual => Test::NotEqual,
            parsed::MatchOp::Re(_) => Test::Regex(anchored()?),
            parsed::MatchOp::NotRe(_) => Test::NotRegex(anchored()?),
        };
        Ok(Matcher { name: parsed.name.clone(), value: parsed.value.clone(), test })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a label that must be equal.
    pub fn equal_value(&self) -> Option<&str> {
        matches!(self.test, Test::Equal).then_some(self.value.as_str())
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_value(labels.get(&self.name).unwrap_or(""))
    }

    pub fn matches_value(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal => value == self.value,
            Test::NotEqual => value != self.value,
            Test::Regex(regex) => regex.is_match(value),
            Test::NotRegex(regex) => !regex.is_match(value),
        }
    }

    /// The one metric that `matchers` ask for, if they ask for one.
    pub fn metric(matchers: &[Matcher]) -> Option<&str> {
        matchers.iter().filter(|matcher| matcher.name == METRIC_NAME).find_map(Matcher::equal_value)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.test {
            Test::Equal => "=",
            Test::NotEqual => "!=",
            Test::Regex(_) => "=~",
            Test::NotRegex(_) => "!~",
        };
        let mut quoted = String::new();
        push_go_quoted(&mut quoted, &self.value);
        write!(f, "{}{op}{quoted}", self.name)
    }
}
