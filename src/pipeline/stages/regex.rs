//! `regex`: takes the named groups of the first match out of a text.
//!
//! ```yaml
//! - regex:
//!     expression: '^(?P<time>\S+) (?P<level>\w+)'
//!     source: payload          # an extracted value; without it, the line
//! ```
//! `12:00 WARN x` gives `time=12:00`, `level=WARN`. The expression is Go's (RE2), not anchored. A group that takes no
//! part gives an empty text; no match changes nothing.

use serde_json::Value as Yaml;

use super::{Input, done, each, source};
use crate::logql::go_regex::{GoRegex, compile_go_regex};
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Entry, Text, Value};
use crate::pipeline::error::StageError;
use crate::pipeline::{Stage, Tools};

/// Compiles the `expression` of a stage.
pub(super) fn expression(written: &str) -> Result<GoRegex, StageError> {
    compile_go_regex(written).map_err(|words| StageError::new(format!("could not compile regular expression: {words}")))
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let written = body.text("expression").unwrap_or_default();
    let from = source(&mut body, "empty source");
    done("regex", body, tools)?;
    if written.is_empty() {
        return Err(StageError::new("expression is required"));
    }
    let (from, expression) = (from?, expression(&written)?);
    let groups: Vec<(usize, Text)> = expression
        .capture_names()
        .enumerate()
        .filter_map(|(at, name)| name.filter(|name| !name.is_empty()).map(|name| (at, Text::from(name))))
        .collect();
    let mut places = expression.capture_locations();
    Ok(each("regex", move |entry, _| {
        let Entry { line, extracted, .. } = entry;
        let Some(input) = Input::of(line, extracted, from.as_ref()) else { return };
        let text = input.as_str();
        if expression.captures_read(&mut places, text).is_none() {
            return;
        }
        for (at, name) in &groups {
            let matched = places.get(*at).map_or("", |(start, end)| &text[start..end]);
            extracted.set(name, Value::text(matched));
        }
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check, check_error};

    #[test]
    fn groups() {
        let line = r#"11.11.11.11 - frank [25/Jan/2000:14:00:01 -0500] "GET /1986.js HTTP/1.1" 200 932"#;
        check(
            r#"- regex: {expression: '^(?P<ip>\S+) (?P<identd>\S+) (?P<user>\S+) \[(?P<timestamp>[\w:/]+\s[+\-]\d{4})\] "(?P<action>\S+)\s?(?P<path>\S+)?\s?(?P<protocol>\S+)?" (?P<status>\d{3}|-) (?P<size>\d+|-)(?P<none>x)?'}"#,
            line,
            &format!(
                "0 {{}} {line}\nip=11.11.11.11 identd=- user=frank timestamp=25/Jan/2000:14:00:01 -0500 action=GET path=/1986.js protocol=HTTP/1.1 status=200 size=932 none="
            ),
        );
        check("- regex: {expression: '(?P<a>x)'}", "abc", "0 {} abc");
        check(
            r#"- json: {expressions: {payload: }}
- regex: {expression: 'HTTP/(?P<v>\S+)', source: payload}"#,
            r#"{"payload":"HTTP/1.1 200"}"#,
            "0 {} {\"payload\":\"HTTP/1.1 200\"}\npayload=HTTP/1.1 200 v=1.1",
        );
        check("- regex: {expression: '(?P<a>.*)', source: none}", "x", "0 {} x");
    }

    #[test]
    fn refused() {
        check_error("- regex: {}", "invalid regex stage config: expression is required");
        check_error(
            "- regex: {expression: '(?P<ts[0-9]+).*'}",
            "invalid regex stage config: could not compile regular expression: error parsing regexp: invalid named capture: `(?P<ts[0-9]+).*`",
        );
        check_error("- regex: {expression: a, source: ''}", "invalid regex stage config: empty source");
    }
}
