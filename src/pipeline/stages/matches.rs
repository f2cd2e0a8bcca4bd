//! `match`: stages for some entries only, or none of them goes on.
//!
//! ```yaml
//! - match:
//!     selector: '{app="loki"} |= "panic" !~ "test"'
//!     stages: [{json: {expressions: {msg: }}}]
//!     action: keep                     # or drop: then without stages
//!     drop_counter_reason: no_loki     # of logentry_dropped_lines_total
//! ```
//! The matchers look at labels, the filters at the line. Entries that do not match pass untouched.

use memchr::memmem::Finder;
use prometheus::IntCounterVec;
use regex::Regex;
use serde_json::Value as Yaml;

use super::done;
use crate::logql::ast::{LineFilterOp, LineMatch, MatchOp, Stage as LogStage};
use crate::logql::go_regex::compile_go_regex;
use crate::logql::parse_line_selector;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::LabelSet;
use crate::pipeline::error::StageError;
use crate::pipeline::{Context, Entry, Pipeline, Stage, Tools};

struct Match {
    selector: Selector,
    action: Action,
}

enum Action {
    Keep(Pipeline),
    Drop { reason: String, dropped: IntCounterVec },
}

/// Which entries are meant.
struct Selector {
    labels: Vec<(String, bool, ValueTest)>,
    lines: Vec<(bool, Vec<TextTest>)>,
}

enum ValueTest {
    Equal(String),
    Regex(Regex),
}

enum TextTest {
    Contains(Box<Finder<'static>>),
    Regex(Regex),
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let name = body.text("pipeline_name");
    let selector = body.text("selector").unwrap_or_default();
    let stages = body.raw("stages").filter(|stages| stages.as_array().is_none_or(|list| !list.is_empty()));
    let action = body.text("action").unwrap_or_default();
    let reason = body.text("drop_counter_reason").filter(|reason| !reason.is_empty());
    done("match", body, tools)?;
    if name.is_some_and(|name| name.is_empty()) {
        return Err(StageError::new("match stage pipeline name can be omitted but cannot be an empty string"));
    }
    if selector.is_empty() {
        return Err(StageError::new("selector statement required for match stage"));
    }
    let action = match (action.as_str(), stages) {
        ("" | "keep", None) => {
            return Err(StageError::new(
                "match stage requires at least one additional stage to be defined in '- stages'",
            ));
        }
        ("" | "keep", Some(stages)) => {
            let pipeline = Pipeline::build(stages, tools);
            let context = "match stage failed to create pipeline from config";
            Action::Keep(pipeline.map_err(|error| error.within(context))?)
        }
        ("drop", Some(_)) => {
            return Err(StageError::new("match stage configured to drop entries cannot contains stages"));
        }
        ("drop", None) => Action::Drop {
            reason: reason.unwrap_or_else(|| "match_stage".to_owned()),
            dropped: tools.metrics.dropped_lines.clone(),
        },
        _ => return Err(StageError::new("match stage action should be 'keep' or 'drop'")),
    };
    Ok(Box::new(Match { selector: Selector::parse(&selector)?, action }))
}

impl Selector {
    fn parse(text: &str) -> Result<Self, StageError> {
        let syntax = |words: String| StageError::new(format!("invalid selector syntax for match stage: {words}"));
        let parsed = parse_line_selector(text).map_err(|error| syntax(error.to_string()))?;
        let compile = |pattern: &str| compile_go_regex(pattern).map(|regex| regex.into_regex()).map_err(syntax);
        let mut labels = Vec::new();
        for matcher in parsed.matchers {
            let holds = matches!(matcher.op, MatchOp::Equal | MatchOp::Regex);
            let test = match matcher.op {
                MatchOp::Equal | MatchOp::NotEqual => ValueTest::Equal(matcher.value),
                MatchOp::Regex | MatchOp::NotRegex => {
                    compile(&matcher.value)?;
                    ValueTest::Regex(compile(&format!("^(?s:{})$", matcher.value))?)
                }
            };
            labels.push((matcher.name, holds, test));
        }
        let mut lines = Vec::new();
        for stage in parsed.stages {
            let LogStage::LineFilter(filter) = stage else {
                return Err(syntax("only line filters may follow the matchers".to_owned()));
            };
            let (holds, is_regex) = match filter.op {
                LineFilterOp::Contains => (true, false),
                LineFilterOp::NotContains => (false, false),
                LineFilterOp::Regex => (true, true),
                LineFilterOp::NotRegex => (false, true),
                LineFilterOp::Pattern | LineFilterOp::NotPattern => {
                    return Err(syntax(
                        "patterns (|>, !>) are not available in a match stage; use |~ or !~".to_owned(),
                    ));
                }
            };
            let tests = filter.any_of.iter().map(|way| match way {
                LineMatch::Text(text) if is_regex => Ok(TextTest::Regex(compile(text)?)),
                LineMatch::Text(text) => Ok(TextTest::Contains(Box::new(Finder::new(text.as_str()).into_owned()))),
                LineMatch::Ip(_) => Err(syntax("ip(…) is not available in a match stage".to_owned())),
            });
            lines.push((holds, tests.collect::<Result<_, _>>()?));
        }
        Ok(Selector { labels, lines })
    }

    fn matches(&self, labels: &LabelSet, line: &str) -> bool {
        let by_label = |(name, holds, test): &(String, bool, ValueTest)| {
            let value = labels.get(name).map_or("", |value| value);
            let found = match test {
                ValueTest::Equal(wanted) => wanted == value,
                ValueTest::Regex(regex) => regex.is_match(value),
            };
            found == *holds
        };
        let by_line = |(holds, tests): &(bool, Vec<TextTest>)| {
            let found = tests.iter().any(|test| match test {
                TextTest::Contains(finder) => finder.find(line.as_bytes()).is_some(),
                TextTest::Regex(regex) => regex.is_match(line),
            });
            found == *holds
        };
        self.labels.iter().all(by_label) && self.lines.iter().all(by_line)
    }
}

impl Stage for Match {
    fn name(&self) -> &'static str {
        "match"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        let Match { selector, action } = self;
        match action {
            Action::Drop { reason, dropped } => {
                let before = batch.len();
                batch.retain(|entry| !selector.matches(&entry.labels, &entry.line));
                let gone = (before - batch.len()) as u64;
                if gone > 0 {
                    dropped.with_label_values(&[reason.as_str()]).inc_by(gone);
                }
            }
            Action::Keep(pipeline) => {
                context.depth += 1;
                keep(selector, pipeline, batch, context);
                context.depth -= 1;
            }
        }
    }

    fn finish(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        if let Action::Keep(pipeline) = &mut self.action {
            let mut held = Vec::new();
            pipeline.finish(&mut held, context);
            batch.append(&mut held);
        }
    }

    fn next_due_ns(&self) -> Option<i64> {
        match &self.action {
            Action::Keep(pipeline) => pipeline.next_due_ns(),
            Action::Drop { .. } => None,
        }
    }
}

/// Runs what matches through the stages, neighbours together, so that the order stays.
fn keep(selector: &Selector, pipeline: &mut Pipeline, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
    let mut out = Vec::with_capacity(batch.len());
    let mut matching = Vec::new();
    // What is due goes on even when nothing matches.
    pipeline.run(&mut out, context);
    for entry in std::mem::take(batch) {
        if selector.matches(&entry.labels, &entry.line) {
            matching.push(entry);
            continue;
        }
        if !matching.is_empty() {
            pipeline.run(&mut matching, context);
            out.append(&mut matching);
        }
        out.push(entry);
    }
    if !matching.is_empty() {
        pipeline.run(&mut matching, context);
        out.append(&mut matching);
    }
    *batch = out;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::{build, build_with, check_entry, check_error, entry, metrics, run};

    #[test]
    fn selectors() {
        let check = |selector: &str, matches: bool| {
            let given = entry(&[("app", "loki"), ("env", "prod")], "level=error msg=panic");
            let selector = Selector::parse(selector).expect("good");
            assert_eq!(selector.matches(&given.labels, &given.line), matches);
        };
        check(r#"{app="loki"}"#, true);
        check(r#"{app="lok"}"#, false);
        check(r#"{app=~"lo.+",env!="dev"}"#, true);
        check(r#"{app=~"lo"}"#, false);
        check(r#"{app!~"lo.+"}"#, false);
        check(r#"{none=""}"#, true);
        check(r#"{app="loki"} |= "panic" != "warn""#, true);
        check(r#"{app="loki"} |~ "pan.c$" |= "nope""#, false);
        check(r#"{app="loki"} !~ "level=\\w+""#, false);
        check(r#"{app=~".*"}"#, true);
    }

    #[test]
    fn nested_stages_see_what_matches() {
        let stages = r#"
- match:
    selector: '{app="loki"}'
    stages:
      - regex: {expression: 'msg=(?P<msg>\S+)'}
      - match:
          selector: '{env="prod"} |= "panic"'
          stages: [{labels: {msg: }}]
"#;
        check_entry(
            stages,
            entry(&[("app", "loki"), ("env", "prod")], "msg=panic"),
            "0 {app=\"loki\", env=\"prod\", msg=\"panic\"} msg=panic\nmsg=panic",
        );
        check_entry(stages, entry(&[("app", "loki")], "msg=panic"), "0 {app=\"loki\"} msg=panic\nmsg=panic");
        check_entry(stages, entry(&[("app", "other")], "msg=panic"), "0 {app=\"other\"} msg=panic");
    }

    #[test]
    fn the_order_stays_and_drops_are_counted() {
        let mut pipeline = build("- match: {selector: '{a=\"1\"}', stages: [{static_labels: {b: x}}]}");
        let given = ["1", "2", "1", "1"].iter().enumerate().map(|(at, a)| entry(&[("a", a)], &at.to_string()));
        let lines: Vec<String> = run(&mut pipeline, given.collect()).into_iter().map(|entry| entry.line).collect();
        assert_eq!(lines, ["0", "1", "2", "3"]);
        let metrics = metrics();
        let (mut pipeline, _) =
            build_with("- match: {selector: '{a=\"1\"}', action: drop, drop_counter_reason: why}", &metrics)
                .expect("good");
        let given = vec![entry(&[("a", "1")], "x"), entry(&[("a", "2")], "y")];
        assert_eq!(run(&mut pipeline, given).len(), 1);
        assert_eq!(metrics.dropped_lines.with_label_values(&["why"]).get(), 1);
    }

    #[test]
    fn refused() {
        let check = |config: &str, words: &str| {
            check_error(&format!("- match: {config}"), &format!("invalid match stage config: {words}"))
        };
        check("{}", "selector statement required for match stage");
        check(
            "{pipeline_name: '', selector: '{a=\"b\"}'}",
            "match stage pipeline name can be omitted but cannot be an empty string",
        );
        check(
            "{selector: '{a=\"b\"}'}",
            "match stage requires at least one additional stage to be defined in '- stages'",
        );
        check("{selector: '{a=\"b\"}', action: x}", "match stage action should be 'keep' or 'drop'");
        check(
            "{selector: '{a=\"b\"}', action: drop, stages: [{docker: }]}",
            "match stage configured to drop entries cannot contains stages",
        );
        check("{selector: 'a', stages: [{docker: }]}", "invalid selector syntax for match stage: *");
        check("{selector: '{a=\"b\"} | json', stages: [{docker: }]}", "invalid selector syntax for match stage: *");
        check(
            "{selector: '{a=\"b\"}', stages: [{json: }]}",
            "match stage failed to create pipeline from config: invalid json stage config: JMES expression is required",
        );
    }
}
