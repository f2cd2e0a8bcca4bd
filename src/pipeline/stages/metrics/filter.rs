//! `filter` of a metric: comparisons of extracted values with texts, joined by `and`.
//!
//! ```text
//! filter = comparison ("and" | "&&" comparison)*      comparison = name ("==" | "=" | "!=" | "=~" | "!~") "text"
//! ```

use regex::Regex;

use crate::logql::go_regex::compile_go_regex;
use crate::pipeline::entry::{Entry, Value};
use crate::pipeline::error::StageError;

/// What entries must meet.
pub(super) struct Filter(Vec<Comparison>);

struct Comparison {
    name: String,
    holds: bool,
    test: Test,
}

enum Test {
    Equal(String),
    Regex(Regex),
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, StageError> {
        let wrong = || {
            StageError::new(format!(
                "filter {text:?} cannot be read: write comparisons such as level == \"error\" and app =~ \"a.*\""
            ))
        };
        let (mut comparisons, mut rest) = (Vec::new(), text.trim());
        loop {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').ok_or_else(wrong)?;
            let (name, after) = rest.split_at(end);
            let after = after.trim_start();
            let operators = [
                ("==", true, false),
                ("=~", true, true),
                ("!=", false, false),
                ("!~", false, true),
                ("=", true, false),
            ];
            let (operator, holds, is_regex) =
                operators.into_iter().find(|(operator, ..)| after.starts_with(operator)).ok_or_else(wrong)?;
            let (value, after) = quoted(after[operator.len()..].trim_start()).ok_or_else(wrong)?;
            if name.is_empty() {
                return Err(wrong());
            }
            let test = if is_regex {
                Test::Regex(compile_go_regex(&format!("^(?s:{value})$")).map_err(StageError::new)?.into_regex())
            } else {
                Test::Equal(value)
            };
            comparisons.push(Comparison { name: name.to_owned(), holds, test });
            rest = after.trim_start();
            if rest.is_empty() {
                return Ok(Filter(comparisons));
            }
            rest = rest.strip_prefix("and ").or_else(|| rest.strip_prefix("&&")).ok_or_else(wrong)?.trim_start();
        }
    }

    pub(super) fn matches(&self, entry: &Entry) -> bool {
        self.0.iter().all(|comparison| {
            let value = entry.extracted.get(&comparison.name).and_then(Value::as_text).unwrap_or_default();
            let found = match &comparison.test {
                Test::Equal(wanted) => *wanted == *value,
                Test::Regex(regex) => regex.is_match(&value),
            };
            found == comparison.holds
        })
    }
}

/// The text within quotes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| ['"', '\'', '`'].contains(c))?;
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote != '`' => value.push(chars.next()?.1),
            c if c == quote => return Some((value, &text[at + c.len_utf8()..])),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let mut entry = Entry::default();
        entry.extracted.set(&"level".into(), Value::text("error"));
        entry.extracted.set(&"n".into(), Value::Number(5.0));
        let check = |text: &str, expected: Option<bool>| {
            assert_eq!(Filter::parse(text).ok().map(|filter| filter.matches(&entry)), expected, "{text}");
        };
        check(r#"level == "error""#, Some(true));
        check(r#"level=='warn'"#, Some(false));
        check(r#"level =~ "err.*" and n != "6" && none == """#, Some(true));
        check(r#"level !~ `e`"#, Some(true));
        for bad in ["", "level", "level == error", "level == \"a", "level == \"a\" or n == \"b\"", "== \"a\""] {
            check(bad, None);
        }
    }
}
