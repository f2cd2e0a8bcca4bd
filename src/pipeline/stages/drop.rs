//! `drop`: entries that meet every condition given do not go on.
//!
//! ```yaml
//! - drop:
//!     source: [level, msg]           # extracted values, joined by `separator`; alone: all of them are there
//!     separator: ";"
//!     expression: "debug;.*"         # or value: debug, exactly
//!     older_than: 24h                # by the entry's time
//!     longer_than: 8KB               # the line
//!     drop_counter_reason: too_old
//! ```
//! Without a source, the expression is looked for in the line.

use prometheus::IntCounterVec;
use regex::Regex;
use serde_json::Value as Yaml;

use super::done;
use crate::logql::go_regex::compile_go_regex;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::error::StageError;
use crate::pipeline::{Context, Entry, Stage, Tools};
use crate::types::go_time::parse_duration;
use crate::types::units::ByteSize;

struct Drop {
    source: Option<Vec<String>>,
    separator: String,
    expression: Option<Regex>,
    older_than_ns: Option<i64>,
    longer_than: Option<usize>,
    reason: String,
    dropped: IntCounterVec,
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Weak);
    let raw_source = body.raw("source");
    let source = match raw_source {
        None => None,
        Some(Yaml::String(_) | Yaml::Array(_)) => body.texts("source"),
        Some(_) => return Err(StageError::new("drop stage source invalid type should be string or list of strings")),
    };
    let separator = body.text("separator").unwrap_or_else(|| ";".to_owned());
    let (expression, value) = (body.text("expression"), body.text("value"));
    let (older_than, longer_than) = (body.text("older_than"), body.text("longer_than"));
    let reason = body.text("drop_counter_reason").filter(|reason| !reason.is_empty());
    done("drop", body, tools)?;
    if source.is_none() && expression.is_none() && older_than.is_none() && longer_than.is_none() {
        return Err(StageError::new(
            "drop stage config must contain at least one of `source`, `expression`, `older_than` or `longer_than`",
        ));
    }
    let older_than_ns = older_than.map(|text| {
        parse_duration(&text).map_err(|error| {
            StageError::new(format!("drop stage invalid duration, {text} cannot be converted to a duration: {error}"))
        })
    });
    let older_than_ns = older_than_ns.transpose()?;
    if value.is_some() && source.is_none() {
        return Err(StageError::new("drop stage config must contain `source` if `value` is specified"));
    }
    if value.is_some() && expression.is_some() {
        return Err(StageError::new(
            "drop stage config error, `value` and `expression` cannot both be defined at the same time.",
        ));
    }
    let pattern = expression.or_else(|| value.map(|value| format!("^{}$", regex::escape(&value))));
    let expression = pattern.map(|pattern| {
        let compiled = compile_go_regex(&pattern).map(|regex| regex.into_regex());
        compiled.map_err(|words| StageError::new(format!("drop stage regex compilation error: {words}")))
    });
    let longer_than = longer_than.map(|text| {
        let size = text.parse::<ByteSize>().map(|size| size.0 as usize);
        size.map_err(|error| StageError::new(format!("drop stage failed to parse longer_than to bytes: {error}")))
    });
    Ok(Box::new(Drop {
        source,
        separator,
        expression: expression.transpose()?,
        older_than_ns,
        longer_than: longer_than.transpose()?,
        reason: reason.unwrap_or_else(|| "drop_stage".to_owned()),
        dropped: tools.metrics.dropped_lines.clone(),
    }))
}

impl Drop {
    fn drops(&self, entry: &Entry, now_ns: i64) -> bool {
        if self.longer_than.is_some_and(|most| entry.line.len() <= most) {
            return false;
        }
        if self.older_than_ns.is_some_and(|age| entry.ts_ns >= now_ns.saturating_sub(age)) {
            return false;
        }
        match (&self.source, &self.expression) {
            (None, None) => true,
            (None, Some(expression)) => expression.is_match(&entry.line),
            (Some(source), None) => source.iter().all(|name| entry.extracted.get(name).is_some()),
            (Some(source), Some(expression)) => {
                let mut texts = Vec::new();
                for value in source.iter().filter_map(|name| entry.extracted.get(name)) {
                    match value.as_text() {
                        Some(text) => texts.push(text),
                        None => return false,
                    }
                }
                expression.is_match(&texts.join(&self.separator))
            }
        }
    }
}

impl Stage for Drop {
    fn name(&self) -> &'static str {
        "drop"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        let before = batch.len();
        batch.retain(|entry| !self.drops(entry, context.now_ns));
        let gone = (before - batch.len()) as u64;
        if gone > 0 {
            self.dropped.with_label_values(&[self.reason.as_str()]).inc_by(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::{build, build_with, check_error, entry, metrics};

    #[test]
    fn conditions() {
        let check = |config: &str, line: &str, dropped: bool| {
            let stages = format!("- logfmt: {{mapping: {{level: , msg: , n: }}}}\n- drop: {config}");
            let mut batch = vec![entry(&[], line)];
            build(&stages).run(&mut batch, &mut Context::new(3_600_000_000_000));
            assert_eq!(batch.is_empty(), dropped, "{config} {line}");
        };
        check("{longer_than: 4}", "12345", true);
        check("{longer_than: 4}", "1234", false);
        check("{longer_than: 1KB}", "1234", false);
        check("{older_than: 59m}", "x", true);
        check("{older_than: 2h}", "x", false);
        check("{expression: '.*de.ug.*'}", "a debug b", true);
        check("{expression: 'debug', longer_than: 100}", "a debug b", false);
        check("{source: level}", "level=debug", true);
        check("{source: level}", "msg=x", false);
        check("{source: [level, msg]}", "level=debug msg=x", true);
        check("{source: [level, msg]}", "level=debug", false);
        check("{source: level, value: debug}", "level=debug", true);
        check("{source: level, value: deb}", "level=debug", false);
        check("{source: [level, msg], value: debug;x}", "level=debug msg=x", true);
        check("{source: [level, msg], separator: '#', expression: '^debug#x$'}", "level=debug msg=x", true);
        check("{source: [level, none], expression: '^debug$'}", "level=debug", true);
        check("{source: n, value: 5}", "n=5", true);
    }

    #[test]
    fn counted_by_reason() {
        let metrics = metrics();
        let (mut pipeline, _) =
            build_with("- drop: {expression: x}\n- drop: {expression: y, drop_counter_reason: why}", &metrics)
                .expect("good");
        pipeline.run(&mut vec![entry(&[], "x"), entry(&[], "y"), entry(&[], "y")], &mut Context::new(0));
        let count = |reason: &str| metrics.dropped_lines.with_label_values(&[reason]).get();
        assert_eq!((count("drop_stage"), count("why")), (1, 2));
    }

    #[test]
    fn refused() {
        let check = |config: &str, words: &str| {
            check_error(&format!("- drop: {config}"), &format!("invalid drop stage config: {words}"))
        };
        check(
            "{}",
            "drop stage config must contain at least one of `source`, `expression`, `older_than` or `longer_than`",
        );
        check(
            "{older_than: 10y}",
            "drop stage invalid duration, 10y cannot be converted to a duration: time: unknown unit \"y\" in duration \"10y\"",
        );
        check(
            "{expression: a, value: b, source: c}",
            "drop stage config error, `value` and `expression` cannot both be defined at the same time.",
        );
        check(
            "{expression: '(?P<ts[0-9]+).*'}",
            "drop stage regex compilation error: error parsing regexp: invalid named capture: `(?P<ts[0-9]+).*`",
        );
        check("{value: b, expression: a}", "drop stage config must contain `source` if `value` is specified");
        check("{source: {a: b}}", "drop stage source invalid type should be string or list of strings");
    }
}
