//! Stream selectors, compiled: which streams of a tenant they choose.

use regex::Regex;

use crate::logql::ast::{MatchOp, Matcher};
use crate::logql::go_regex::compile_go_regex;
use crate::query::QueryError;
use crate::streams::{StreamRef, TenantStreams};
use crate::types::labels::Labels;

/// All matchers of one selector.
#[derive(Debug, Clone)]
pub struct Selector(Vec<CompiledMatcher>);

#[derive(Debug, Clone)]
struct CompiledMatcher {
    name: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Equal(String),
    NotEqual(String),
    Regex(Regex),
    NotRegex(Regex),
}

/// A set of streams, by ref.
#[derive(Debug, Clone, Default)]
pub struct StreamSet(Vec<bool>);

impl Selector {
    /// # Errors
    /// `BadInput` for a regex that does not compile.
    pub fn compile(matchers: &[Matcher]) -> Result<Self, QueryError> {
        let compiled = matchers.iter().map(|matcher| {
            let test = match matcher.op {
                MatchOp::Equal => Test::Equal(matcher.value.clone()),
                MatchOp::NotEqual => Test::NotEqual(matcher.value.clone()),
                MatchOp::Regex => Test::Regex(anchored(&matcher.value)?),
                MatchOp::NotRegex => Test::NotRegex(anchored(&matcher.value)?),
            };
            Ok(CompiledMatcher { name: matcher.name.clone(), test })
        });
        Ok(Selector(compiled.collect::<Result<_, QueryError>>()?))
    }

    /// A missing label counts as the empty string.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|matcher| {
            let value = labels.get(&matcher.name).unwrap_or("");
            match &matcher.test {
                Test::Equal(wanted) => value == wanted,
                Test::NotEqual(unwanted) => value != unwanted,
                Test::Regex(regex) => regex.is_match(value),
                Test::NotRegex(regex) => !regex.is_match(value),
            }
        })
    }

    /// The streams known now that match.
    pub fn choose(&self, streams: &TenantStreams) -> StreamSet {
        StreamSet(streams.all().iter().map(|stream| self.matches(&stream.labels)).collect())
    }
}

impl StreamSet {
    pub fn contains(&self, stream: StreamRef) -> bool {
        self.0.get(stream.0 as usize).copied().unwrap_or(false)
    }

    /// Membership by ref, for filters over whole columns.
    pub fn as_flags(&self) -> &[bool] {
        &self.0
    }
}

/// Source: Prometheus anchors label regexes and lets `.` match newlines.
fn anchored(pattern: &str) -> Result<Regex, QueryError> {
    Ok(compile_go_regex(&format!("^(?s:{pattern})$")).map_err(QueryError::BadInput)?.into_regex())
}
