//! `replace`: rewrites the parts of a text that an expression's groups matched.
//!
//! ```yaml
//! - replace:
//!     expression: 'password=(\S+)'
//!     replace: '****'          # a template: {{ .Value }} is what the group matched, other fields are extracted values
//!     source: payload          # an extracted value; without it, the line
//!     line_only: false         # not Promtail's: true leaves alone what earlier stages took out of the line
//! ```
//! `user=ann password=secret x` becomes `user=ann password=**** x`: each group of each match is replaced, the text
//! outside groups stays, and an expression without groups changes nothing. Named groups are extracted as replaced.
//!
//! Two rules go beyond Promtail, for the sake of what people write to mask personal data (`docs/stages.md`):
//! - a replacement that spells out the whole match (`"user_id":\s*"([^"]+)"` by `"user_id":"***"`) replaces the whole
//!   match, where Promtail would nest it under the group;
//! - a constant replacement of the line is also made in what the pipeline took out of the line: `redact`.

use std::borrow::Cow;

use regex::CaptureLocations;
use serde_json::Value as Yaml;

use super::redact::Redaction;
use super::regex::expression;
use super::template::Fields;
use super::{Input, done, source};
use crate::logql::go_regex::GoRegex;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Entry, Extracted, Text, Value};
use crate::pipeline::error::StageError;
use crate::pipeline::{Context, Stage, Tools};
use crate::template::{MissingKey, Template, promtail_functions};

/// What groups are replaced by.
pub(super) enum Replacement {
    /// A text without actions.
    Constant(Text),
    Template(Box<Template>),
    /// A constant that spells out a whole match; what it has in the place of each group.
    Whole {
        text: Text,
        groups: Vec<Option<Text>>,
    },
}

/// An expression and what its groups are replaced by.
pub(super) struct Rewrite {
    pub(super) expression: GoRegex,
    pub(super) replacement: Replacement,
    groups: Vec<(usize, Text)>,
    places: CaptureLocations,
}

struct Replace {
    source: Option<Text>,
    rewrite: Rewrite,
    redaction: Option<Redaction>,
}

/// What a group matched and what came in its place.
pub(super) type Captured = Vec<(Text, Text)>;

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let written = body.text("expression").unwrap_or_default();
    let from = source(&mut body, "empty source in replace stage");
    let replace = body.text("replace").unwrap_or_default();
    let line_only = body.flag("line_only").unwrap_or(false);
    done("replace", body, tools)?;
    if written.is_empty() {
        return Err(StageError::new("expression is required"));
    }
    let from = from?;
    let rewrite = Rewrite::new(&written, &replace)?;
    if matches!(rewrite.replacement, Replacement::Whole { .. }) {
        tools.note(format!(
            "replace: {replace:?} spells out a whole match of {written:?}, so the whole match is replaced; Promtail would put it in the place of the group alone, inside the text around it"
        ));
    }
    let redacts = from.is_none() && !line_only && !matches!(rewrite.replacement, Replacement::Template(_));
    let redaction = redacts.then(|| Redaction::new(&written));
    Ok(Box::new(Replace { source: from, rewrite, redaction }))
}

impl Rewrite {
    pub(super) fn new(written: &str, replace: &str) -> Result<Self, StageError> {
        let expression = expression(written)?;
        let replacement = if replace.contains("{{") {
            let template =
                Template::parse_with("pipeline_template", replace, promtail_functions(), MissingKey::NoValue);
            Replacement::Template(Box::new(template.map_err(|error| StageError::new(error.to_string()))?))
        } else {
            whole_match(written, &expression, replace).unwrap_or_else(|| Replacement::Constant(replace.into()))
        };
        let names = expression.capture_names().enumerate();
        let groups = names.filter_map(|(at, name)| name.filter(|name| !name.is_empty()).map(|name| (at, name.into())));
        Ok(Rewrite { groups: groups.collect(), places: expression.capture_locations(), expression, replacement })
    }

    /// The text with its groups replaced, and what they were; `None` when nothing matched or the template failed.
    pub(super) fn apply(&mut self, text: &str, fields: Option<&Fields<'_>>) -> Option<(String, Captured)> {
        let Rewrite { expression, replacement, places, .. } = self;
        let mut out = String::with_capacity(text.len());
        let mut captured: Captured = Vec::new();
        let (mut copied, mut from, mut last_end) = (0, 0, None);
        let mut found = false;
        while from <= text.len() {
            let Some(matched) = expression.captures_read_at(places, text, from) else { break };
            let (start, end) = (matched.start(), matched.end());
            from = if start == end { next_char(text, end) } else { end };
            // An empty match right behind a match does not count.
            if start == end && last_end == Some(start) {
                continue;
            }
            last_end = Some(end);
            found = true;
            if let Replacement::Whole { text: whole, groups } = &*replacement {
                out.push_str(&text[copied..start]);
                out.push_str(whole);
                copied = end;
                for (group, by) in groups.iter().enumerate().skip(1) {
                    if let Some((start, end)) = places.get(group) {
                        captured.push((text[start..end].into(), by.clone().unwrap_or_else(|| whole.clone())));
                    }
                }
                continue;
            }
            for group in 1..places.len() {
                let Some((start, end)) = places.get(group) else { continue };
                let value = &text[start..end];
                let by: Cow<'_, str> = match &*replacement {
                    Replacement::Template(template) => {
                        let mut by = String::new();
                        template.execute(&fields?.with_value(value), &mut by).ok()?;
                        Cow::Owned(by)
                    }
                    Replacement::Constant(constant) | Replacement::Whole { text: constant, .. } => {
                        Cow::Borrowed(&**constant)
                    }
                };
                // A group within a group that was replaced is gone already.
                if copied == 0 || copied <= start {
                    out.push_str(&text[copied..start]);
                    out.push_str(&by);
                    copied = end;
                }
                captured.push((value.into(), by.into()));
            }
        }
        if !found {
            return None;
        }
        out.push_str(&text[copied..]);
        Some((out, captured))
    }

    /// Named groups of the first match, as they were replaced, become extracted values.
    fn extract(&mut self, text: &str, captured: &Captured, extracted: &mut Extracted) {
        if self.groups.is_empty() || self.expression.captures_read(&mut self.places, text).is_none() {
            return;
        }
        for (group, name) in &self.groups {
            let value = self.places.get(*group).map_or("", |(start, end)| &text[start..end]);
            if let Some((_, by)) = captured.iter().rev().find(|(known, _)| **known == *value) {
                extracted.set(name, Value::Text(by.clone()));
            }
        }
    }
}

fn next_char(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(1, char::len_utf8)
}

/// A replacement that matches the whole expression, text outside the groups and all, and begins as every match does.
fn whole_match(written: &str, expression: &GoRegex, replace: &str) -> Option<Replacement> {
    let prefix = literal_prefix(written);
    if prefix.is_empty() || !replace.starts_with(&prefix) {
        return None;
    }
    let captures = expression.captures(replace)?;
    let whole = captures.get(0)?;
    let first_group = captures.iter().skip(1).flatten().map(|group| group.start()).min()?;
    if whole.range() != (0..replace.len()) || first_group < prefix.len() {
        return None;
    }
    let groups = captures.iter().map(|group| group.map(|group| Text::from(group.as_str()))).collect();
    Some(Replacement::Whole { text: replace.into(), groups })
}

/// The characters that the expression begins with, up to the first that means more than itself.
fn literal_prefix(written: &str) -> String {
    let end = written.find(|c: char| r"\.+*?()|[]{}^$".contains(c)).unwrap_or(written.len());
    let mut prefix = &written[..end];
    // A repeated character is none of the prefix.
    if written[end..].starts_with(['*', '?', '{', '+']) {
        prefix = &prefix[..prefix.char_indices().next_back().map_or(0, |(at, _)| at)];
    }
    prefix.to_owned()
}

impl Stage for Replace {
    fn name(&self) -> &'static str {
        "replace"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, context: &mut Context<'_>) {
        for entry in batch {
            self.replace(entry, context.now_ns);
        }
    }
}

impl Replace {
    fn replace(&mut self, entry: &mut Entry, now_ns: i64) {
        let Some(input) = Input::of(&entry.line, &entry.extracted, self.source.as_ref()) else { return };
        let needs_fields = matches!(self.rewrite.replacement, Replacement::Template(_));
        let fields = needs_fields.then(|| Fields::of(entry, None, now_ns));
        let replaced = self.rewrite.apply(input.as_str(), fields.as_ref());
        drop(fields);
        let mut captured = Captured::new();
        if let Some((text, found)) = replaced {
            let before = match (&self.source, input) {
                (Some(source), Input::Extracted(before)) => {
                    entry.extracted.set(source, Value::text(text));
                    Cow::Owned(before.to_string())
                }
                (_, Input::Extracted(before)) => Cow::Owned(before.to_string()),
                (_, Input::Line(_)) => Cow::Owned(std::mem::replace(&mut entry.line, text)),
            };
            captured = found;
            self.rewrite.extract(&before, &captured, &mut entry.extracted);
        }
        if let Some(redaction) = &self.redaction {
            redaction.redact(&mut self.rewrite, entry, &captured);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::literal_prefix;
    use crate::pipeline::testing::{check, check_error};

    const LINE: &str = r#"11.11.11.11 - frank [25/Jan/2000:14:00:01 -0500] "GET /1986.js HTTP/1.1" 200 932 "-" "Mozilla/5.0 (Windows; U; Windows NT 5.1; de; rv:1.9.1.7) Gecko/20091221 Firefox/3.5.7 GTB6""#;

    // Promtail's own tests of this stage.
    #[test]
    fn groups() {
        let rest = LINE.strip_prefix("11.11.11.11 - frank").expect("it begins so");
        check(
            r"- replace: {expression: '11.11.11.11 - (\S+) .*', replace: dummy}",
            LINE,
            &format!("0 {{}} 11.11.11.11 - dummy{rest}"),
        );
        check(
            r"- replace: {expression: '11.11.11.11 - (\S+\s)', replace: ''}",
            LINE,
            &format!("0 {{}} 11.11.11.11 - {}", &rest[1..]),
        );
        check("- replace: {expression: '(a|b|c)', replace: ''}", "abc", "0 {} ");
        check("- replace: {expression: 'abc', replace: 'x'}", "abc", "0 {} abc");
        check("- replace: {expression: '(z)', replace: 'x'}", "abc", "0 {} abc");
        check(
            "- replace: {expression: 'user=(?P<u>\\w+)', replace: '{{ .Value | ToUpper }}'}",
            "user=ann user=bob",
            "0 {} user=ANN user=BOB\nu=ANN",
        );
    }

    #[test]
    fn named_and_nested_groups_with_a_template() {
        let template = r#"{{ if eq .Value "200" }}{{ Replace .Value "200" "HttpStatusOk" -1 }}{{ else }}{{ .Value | ToUpper }}{{ end }}"#;
        let expected = r#"11.11.11.11 - FRANK [25/JAN/2000:14:00:01 -0500] "GET /1986.JS HTTP/1.1" HttpStatusOk 932 "-" "MOZILLA/5.0 (WINDOWS; U; WINDOWS NT 5.1; DE; RV:1.9.1.7) GECKO/20091221 FIREFOX/3.5.7 GTB6""#;
        let values = "timestamp=25/JAN/2000:14:00:01 -0500\naction=GET path=/1986.JS protocol=HTTP/1.1 status=HttpStatusOk referer=- useragent=MOZILLA/5.0 (WINDOWS; U; WINDOWS NT 5.1; DE; RV:1.9.1.7) GECKO/20091221 FIREFOX/3.5.7 GTB6 ip=11.11.11.11 identd=- user=FRANK";
        check(
            &format!(
                r#"- replace: {{expression: '^(?P<ip>\S+) (?P<identd>\S+) (?P<user>\S+) \[(?P<timestamp>[\w:/]+\s[+\-]\d{{4}})\] "(?P<action>\S+)\s?(?P<path>\S+)?\s?(?P<protocol>\S+)?" (?P<status>\d{{3}}|-) (\d+|-)\s?"?(?P<referer>[^"]*)"?\s?"?(?P<useragent>[^"]*)?"?$', replace: '{template}'}}"#
            ),
            LINE,
            &format!("0 {{}} {expected}\n{values}"),
        );
        check(
            &format!(
                r#"- replace: {{expression: '(?P<ip_user>^(?P<ip>\S+) (?P<identd>\S+) (?P<user>\S+)) \[(?P<timestamp>[\w:/]+\s[+\-]\d{{4}})\] "(?P<action_path>(?P<action>\S+)\s?(?P<path>\S+)?)\s?(?P<protocol>\S+)?" (?P<status>\d{{3}}|-) (\d+|-)\s?"?(?P<referer>[^"]*)"?\s?"?(?P<useragent>[^"]*)?"?$', replace: '{template}'}}"#
            ),
            LINE,
            &format!("0 {{}} {expected}\n{values} ip_user=11.11.11.11 - FRANK action_path=GET /1986.JS"),
        );
    }

    #[test]
    fn a_source_is_replaced_in_place() {
        let line = r#"{"level":"info","msg":"11.11.11.11 - \"POST /loki/api/push/ HTTP/1.1\" 200"}"#;
        check(
            r#"- json: {expressions: {level: , msg: }}
- replace: {expression: '\S+ - "POST (\S+) .*', source: msg, replace: /loki/api/v1/push/}"#,
            line,
            &format!("0 {{}} {line}\nlevel=info msg=11.11.11.11 - \"POST /loki/api/v1/push/ HTTP/1.1\" 200"),
        );
        check("- replace: {expression: '(a)', source: none, replace: b}", "a", "0 {} a");
    }

    #[test]
    fn a_replacement_that_spells_out_the_match_replaces_it_whole() {
        let check = |expression: &str, replace: &str, line: &str, expected: &str| {
            let quoted = |text: &str| text.replace('\'', "''");
            check(
                &format!("- replace: {{expression: '{}', replace: '{}'}}", quoted(expression), quoted(replace)),
                line,
                &format!("0 {{}} {expected}"),
            );
        };
        check(
            r#""user_id":\s*"([^"]+)""#,
            r#""user_id":"***""#,
            r#"{"user_id": "1","b":2}"#,
            r#"{"user_id":"***","b":2}"#,
        );
        check(r"token=(\w+)", "token=hidden", "token=a token=b", "token=hidden token=hidden");
        // Not spelled out: the group alone.
        check(r"token=(\w+)", "hidden", "token=a", "token=hidden");
        check(r"(\w+)\s*", "hidden", "a b", "hidden hidden");
        check(r"to?ken=(\w+)", "tken=x", "token=a", "tken=x");
    }

    #[test]
    fn prefixes() {
        for (written, expected) in [("abc(d)", "abc"), ("abc*d", "ab"), ("(a)", ""), ("^a", ""), ("a|b", "a"), ("", "")]
        {
            assert_eq!(literal_prefix(written), expected, "{written}");
        }
    }

    #[test]
    fn refused() {
        check_error("- replace:", "invalid replace stage config: expression is required");
        check_error(
            "- replace: {expression: '(?P<ts[0-9]+).*', replace: test}",
            "invalid replace stage config: could not compile regular expression: error parsing regexp: invalid named capture: `(?P<ts[0-9]+).*`",
        );
        check_error(
            "- replace: {expression: a, source: ''}",
            "invalid replace stage config: empty source in replace stage",
        );
        check_error(
            "- replace: {expression: a, replace: '{{'}",
            "invalid replace stage config: template: pipeline_template:1: *",
        );
    }
}
