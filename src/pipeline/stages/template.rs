//! `template`: a Go template makes an extracted value.
//!
//! ```yaml
//! - template: {source: level, template: '{{ if eq .Value "WARN" }}warning{{ else }}{{ ToLower .Value }}{{ end }}'}
//! ```
//! `.Value` is the source's value, `.Entry` the line, every other field an extracted value. Functions are Sprig's and
//! `ToLower`, `ToUpper`, `Replace`, `Trim…`, `Hash`, `Sha2Hash`, `regexReplaceAll(Literal)`. An empty result takes the
//! value away; a template that fails leaves it.

use std::borrow::Cow;

use serde_json::Value as Yaml;

use super::{done, each};
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Entry, Text, Value};
use crate::pipeline::error::StageError;
use crate::pipeline::{Stage, Tools};
use crate::template::{Host, MissingKey, Scope, Template, promtail_functions};

/// An entry's values as a template's fields.
#[derive(Clone)]
pub(super) struct Fields<'e> {
    /// Values that are no text are written out once.
    values: Vec<(&'e str, Cow<'e, str>)>,
    value: Option<Cow<'e, str>>,
    line: Option<&'e str>,
    now_ns: i64,
}

impl<'e> Fields<'e> {
    /// `source` is what `.Value` and `.Entry` are for; without it neither is there.
    pub(super) fn of(entry: &'e Entry, source: Option<&str>, now_ns: i64) -> Self {
        let texts = entry.extracted.iter().filter_map(|(name, value)| Some((&**name, value.as_text()?)));
        let values: Vec<_> = texts.collect();
        let value = source.and_then(|source| values.iter().find(|(name, _)| *name == source));
        let value = value.map(|(_, text)| text.clone());
        Fields { value, line: source.map(|_| entry.line.as_str()), values, now_ns }
    }

    /// The same with another `.Value`.
    pub(super) fn with_value<'v>(&'v self, value: &'v str) -> WithValue<'v> {
        WithValue { fields: self, value }
    }
}

impl Host for Fields<'_> {
    fn now_ns(&self) -> i64 {
        self.now_ns
    }
}

impl Scope for Fields<'_> {
    fn field(&self, name: &str) -> Option<&str> {
        match (name, &self.value, self.line) {
            ("Value", Some(value), _) => Some(value),
            ("Entry", _, Some(line)) => Some(line),
            _ => self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value),
        }
    }

    fn for_each_field(&self, visit: &mut dyn FnMut(&str, &str)) {
        let special =
            |name: &str| (name == "Value" && self.value.is_some()) || (name == "Entry" && self.line.is_some());
        let mut all: Vec<(&str, &str)> =
            self.values.iter().filter(|(name, _)| !special(name)).map(|(name, value)| (*name, &**value)).collect();
        all.extend(self.value.as_deref().map(|value| ("Value", value)));
        all.extend(self.line.map(|line| ("Entry", line)));
        all.sort_unstable();
        all.into_iter().for_each(|(name, value)| visit(name, value));
    }
}

/// [`Fields`] while one group is replaced.
pub(super) struct WithValue<'v> {
    fields: &'v Fields<'v>,
    value: &'v str,
}

impl Host for WithValue<'_> {
    fn now_ns(&self) -> i64 {
        self.fields.now_ns
    }
}

impl Scope for WithValue<'_> {
    fn field(&self, name: &str) -> Option<&str> {
        if name == "Value" { Some(self.value) } else { self.fields.field(name) }
    }

    fn for_each_field(&self, visit: &mut dyn FnMut(&str, &str)) {
        self.fields.for_each_field(&mut |name, value| {
            if name != "Value" {
                visit(name, value);
            }
        });
        visit("Value", self.value);
    }
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let source = body.text("source").unwrap_or_default();
    let text = body.text("template").unwrap_or_default();
    done("template", body, tools)?;
    if source.is_empty() {
        return Err(StageError::new("template source value is required"));
    }
    let template = Template::parse_with("pipeline_template", &text, promtail_functions(), MissingKey::NoValue)
        .map_err(|error| StageError::new(error.to_string()))?;
    let source = Text::from(source);
    let mut out = String::new();
    Ok(each("template", move |entry, now_ns| {
        out.clear();
        if template.execute(&Fields::of(entry, Some(&source), now_ns), &mut out).is_err() {
            return;
        }
        if out.is_empty() {
            entry.extracted.remove(&source);
        } else {
            entry.extracted.set(&source, Value::text(out.as_str()));
        }
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check, check_error};

    #[test]
    fn templates() {
        let of = |template: &str, expected: &str| {
            let quoted = template.replace('\'', "''");
            let line = r#"{"app":"loki","level":"WARN","n":7.0,"nil":null,"e":"  x y "}"#;
            check(
                &format!(
                    "- json: {{expressions: {{level: , n: , e: }}}}\n- template: {{source: level, template: '{quoted}'}}"
                ),
                line,
                &format!("0 {{}} {line}\nn=7 e=  x y  {expected}"),
            );
        };
        of("{{ .Value }} doki", "level=WARN doki");
        of(
            r#"{{ if eq .Value "WARN" }}{{ Replace .Value "WARN" "OK" -1 }}{{ else }}{{ .Value }}{{ end }}"#,
            "level=OK",
        );
        of("{{ ToLower .Value }}{{ .n }}{{ .missing }}{{ TrimSpace .e }}", "level=warn7<no value>x y");
        of("{{ .Entry | len }}", "level=61");
        of(r#"{{ Sha2Hash "salt" .Value | len }}"#, "level=64");
    }

    #[test]
    fn results_that_change_nothing_or_take_away() {
        let line = r#"{"level":"WARN"}"#;
        let stages = |template: &str| {
            format!("- json: {{expressions: {{level: }}}}\n- template: {{source: level, template: '{template}'}}")
        };
        check(&stages(""), line, &format!("0 {{}} {line}"));
        check(&stages("{{ .Value.x }}"), line, &format!("0 {{}} {line}\nlevel=WARN"));
        check("- template: {source: new, template: 'x{{ .Value }}'}", "l", "0 {} l\nnew=x<no value>");
        check(
            "- json: {expressions: {a: }}\n- template: {source: a, template: '{{ .Value }}'}",
            "{}",
            "0 {} {}\na=<no value>",
        );
    }

    #[test]
    fn refused() {
        check_error("- template: {}", "invalid template stage config: template source value is required");
        check_error(
            "- template: {source: a, template: '{{ x }}'}",
            "invalid template stage config: template: pipeline_template:1: function \"x\" not defined",
        );
    }
}
