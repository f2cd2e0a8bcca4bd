//! Stream selectors, compiled: whether a label set passes all matchers.

use std::sync::Arc;

use regex::Regex;

use super::ast::{MatchOp, Matcher};
use super::go_regex::compile_go_regex;
use super::parser::parse_matchers;
use super::printer::print_matchers;
use crate::types::labels::Labels;

/// All matchers of one selector. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LabelSelector {
    matchers: Arc<[CompiledMatcher]>,
    text: Arc<str>,
}

#[derive(Debug)]
struct CompiledMatcher {
    name: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Equal(String),
    NotEqual(String),
    Regex(Regex),
    NotRegex(Regex),
}

impl LabelSelector {
    /// # Errors
    /// The text for the client, when a regex does not compile.
    pub fn compile(matchers: &[Matcher]) -> Result<Self, String> {
        let compiled = matchers.iter().map(|matcher| {
            let test = match matcher.op {
                MatchOp::Equal => Test::Equal(matcher.value.clone()),
                MatchOp::NotEqual => Test::NotEqual(matcher.value.clone()),
                MatchOp::Regex => Test::Regex(anchored(&matcher.value)?),
                MatchOp::NotRegex => Test::NotRegex(anchored(&matcher.value)?),
            };
            Ok(CompiledMatcher { name: matcher.name.clone(), test })
        });
        let compiled = compiled.collect::<Result<Vec<_>, String>>()?.into();
        Ok(LabelSelector { matchers: compiled, text: print_matchers(matchers).into() })
    }

    /// Reads `{a="b", c=~"d.*"}`; answers the selector and its canonical text.
    ///
    /// # Errors
    /// What does not parse, as Loki words it.
    pub fn parse(text: &str) -> Result<(Self, String), String> {
        let matchers = parse_matchers(text, false).map_err(|error| error.to_string())?;
        Ok((Self::compile(&matchers)?, print_matchers(&matchers)))
    }

    /// Its canonical text, which no other selector has.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A missing label counts as the empty string.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = labels.get(&matcher.name).unwrap_or("");
            match &matcher.test {
                Test::Equal(wanted) => value == wanted,
                Test::NotEqual(unwanted) => value != unwanted,
                Test::Regex(regex) => regex.is_match(value),
                Test::NotRegex(regex) => !regex.is_match(value),
            }
        })
    }
}

/// Source: Prometheus anchors label regexes and lets `.` match newlines.
fn anchored(pattern: &str) -> Result<Regex, String> {
    Ok(compile_go_regex(&format!("^(?s:{pattern})$"))?.into_regex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_matcher_must_pass_and_regexes_are_anchored() {
        let labels = Labels::from_pairs([("app", "mine-api"), ("level", "error")]);
        let check = |text: &str, expected: bool| {
            let (selector, _) = LabelSelector::parse(text).expect("a selector");
            assert_eq!(selector.matches(&labels), expected, "{text}");
        };
        check(r#"{app="mine-api"}"#, true);
        check(r#"{app=~"mine-.*"}"#, true);
        check(r#"{app=~"mine"}"#, false);
        check(r#"{app=~"mine-.*", level!="error"}"#, false);
        check(r#"{other=""}"#, true);
        check(r#"{other!~"x.*"}"#, true);
        check(r#"{other=~".+"}"#, false);
        assert!(LabelSelector::parse(r#"{app=~"("}"#).is_err());
        assert!(LabelSelector::parse(r#"{app="a"} |= "x""#).is_err());
        assert_eq!(LabelSelector::parse(r#"{ app = "a" }"#).expect("good").1, r#"{app="a"}"#);
    }
}
