//! `| drop a, b="c"` and `| keep a, b=~"c.*"`.
//!
//! `drop` can take away the errors; `keep` never does.

use super::builder::{Context, LabelState, Name};
use super::compile::CompileError;
use super::text_test::TextTest;
use crate::logql::ast::{LabelSelector, MatchOp};

/// A label, or a label whose value passes a test.
#[derive(Debug)]
struct Selector {
    name: Name,
    test: Option<(TextTest, bool)>,
}

impl Selector {
    fn accepts(&self, value: &str) -> bool {
        self.test.as_ref().is_none_or(|(test, negate)| test.matches(value) != *negate)
    }
}

#[derive(Debug)]
pub(super) struct Selectors(Vec<Selector>);

impl Selectors {
    pub(super) fn new(selectors: &[LabelSelector]) -> Result<Self, CompileError> {
        let one = |selector: &LabelSelector| -> Result<Selector, CompileError> {
            let matcher = match selector {
                LabelSelector::Name(name) => return Ok(Selector { name: Name::new(name), test: None }),
                LabelSelector::Matcher(matcher) => matcher,
            };
            let test = match matcher.op {
                MatchOp::Equal | MatchOp::NotEqual => TextTest::Equals(matcher.value.as_str().into()),
                MatchOp::Regex | MatchOp::NotRegex => TextTest::anchored_regex(&matcher.value)?,
            };
            let negate = matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRegex);
            Ok(Selector { name: Name::new(&matcher.name), test: Some((test, negate)) })
        };
        Ok(Selectors(selectors.iter().map(one).collect::<Result<_, _>>()?))
    }

    pub(super) fn drop(&self, cx: &Context<'_>, labels: &mut LabelState) {
        for selector in &self.0 {
            let error = match &*selector.name.text {
                "__error__" => labels.error,
                "__error_details__" => labels.error_details,
                name => {
                    let value = labels.get(cx, &selector.name);
                    // A test is put to a missing label too, as "".
                    let gone = match value {
                        Some(value) => selector.accepts(value),
                        None => selector.test.is_some() && selector.accepts(""),
                    };
                    if gone {
                        labels.delete(cx, name);
                    }
                    continue;
                }
            };
            if selector.accepts(error.map(|error| labels.text(cx, error)).unwrap_or_default()) {
                match &*selector.name.text {
                    "__error__" => labels.error = None,
                    _ => labels.error_details = None,
                }
            }
        }
    }

    pub(super) fn keep(&self, cx: &Context<'_>, labels: &mut LabelState, names: &mut Vec<String>) {
        if self.0.is_empty() {
            return;
        }
        let mut count = 0;
        labels.for_each(cx, |_, name, value| {
            let special = matches!(name, "__error__" | "__error_details__" | "__preserve_error__");
            let kept = special || self.0.iter().any(|selector| *selector.name.text == *name && selector.accepts(value));
            if kept {
                return;
            }
            if names.len() == count {
                names.push(String::new());
            }
            names[count].clear();
            names[count].push_str(name);
            count += 1;
        });
        for name in &names[..count] {
            labels.delete(cx, name);
        }
    }
}
