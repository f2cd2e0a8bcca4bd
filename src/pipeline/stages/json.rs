//! `json`: takes values out of a JSON object by JMESPath.
//!
//! ```yaml
//! - json:
//!     expressions: {level: , user: data.user.name, first: "tags[0]"}
//!     source: payload          # an extracted value; without it, the line
//!     drop_malformed: false
//! ```
//! `{"level":"warn","data":{"user":{"name":"ann"}},"tags":["a","b"]}` gives `level=warn`, `user=ann`, `first=a`.
//! An empty expression is its own name; numbers are floats; lists and objects become JSON text; what is not there is
//! extracted as nothing. A line that is no object changes nothing, or is dropped with `drop_malformed`.
//!
//! Names and dotted names, which nearly all expressions are, are read without building the whole document.

use std::borrow::Cow;

use jmespath::{Expression as Jmes, Variable};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value as Yaml;
use serde_json::value::RawValue;

use super::{Input, done, source};
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Entry, Extracted, Text, Value};
use crate::pipeline::error::StageError;
use crate::pipeline::go_json;
use crate::pipeline::{Context, Stage, Tools};

struct Json {
    source: Option<Text>,
    drop_malformed: bool,
    paths: Vec<NamedPath>,
    general: Vec<(Text, Jmes<'static>)>,
}

/// `name: a.b.c`
struct NamedPath {
    name: Text,
    key: Box<str>,
    rest: Vec<Box<str>>,
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let expressions = body.mapping("expressions").unwrap_or_default();
    let from = source(&mut body, "empty source");
    let drop_malformed = body.flag("drop_malformed").unwrap_or(false);
    done("json", body, tools)?;
    if expressions.is_empty() {
        return Err(StageError::new("JMES expression is required"));
    }
    let mut stage = Json { source: from?, drop_malformed, paths: Vec::new(), general: Vec::new() };
    for (name, written) in &expressions {
        let expression = if written.is_empty() { name } else { written };
        match dotted_path(expression) {
            Some(mut keys) => {
                let key = keys.remove(0);
                stage.paths.push(NamedPath { name: name.as_str().into(), key, rest: keys });
            }
            None => {
                let compiled = jmespath::compile(expression)
                    .map_err(|error| StageError::new(format!("could not compile JMES expression: {error}")))?;
                stage.general.push((name.as_str().into(), compiled));
            }
        }
    }
    Ok(Box::new(stage))
}

/// The names of `a` or `a.b.c`, if the expression is no more than that.
fn dotted_path(expression: &str) -> Option<Vec<Box<str>>> {
    let keys = expression.trim().split('.');
    keys.map(|key| crate::pipeline::is_label_name(key).then(|| key.into())).collect()
}

impl Json {
    /// False when the text is no JSON object.
    fn extract(&self, text: &str, extracted: &mut Extracted) -> bool {
        let mut found: Vec<Option<&RawValue>> = vec![None; self.paths.len()];
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = reader.deserialize_any(Keys { paths: &self.paths, found: &mut found });
        if read.is_err() || reader.end().is_err() {
            return false;
        }
        for (path, raw) in self.paths.iter().zip(found) {
            let value = raw.map_or(Value::Nil, |raw| value_at(raw.get(), &path.rest));
            extracted.set(&path.name, value);
        }
        if !self.general.is_empty() {
            // Null counts as an object without members.
            let Ok(document) = Variable::from_json(if text.trim() == "null" { "{}" } else { text }) else {
                return false;
            };
            for (name, expression) in &self.general {
                if let Ok(result) = expression.search(&document) {
                    extracted.set(name, of_variable(&result));
                }
            }
        }
        true
    }
}

impl Stage for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, _context: &mut Context<'_>) {
        batch.retain_mut(|entry| {
            let Entry { line, extracted, .. } = entry;
            let Some(input) = Input::of(line, extracted, self.source.as_ref()) else { return true };
            self.extract(input.as_str(), extracted) || !self.drop_malformed
        });
    }
}

/// Finds the values of wanted keys in an object; of equal keys the last counts.
struct Keys<'s, 'f, 'de> {
    paths: &'s [NamedPath],
    found: &'f mut [Option<&'de RawValue>],
}

impl<'de> Visitor<'de> for Keys<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let mut wanted = self.paths.iter().enumerate().filter(|(_, path)| *path.key == *key).map(|(at, _)| at);
            let Some(first) = wanted.next() else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw = map.next_value()?;
            self.found[first] = Some(raw);
            for at in wanted {
                self.found[at] = Some(raw);
            }
        }
        Ok(())
    }
}

/// A key, borrowed unless it has escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

fn value_at(raw: &str, path: &[Box<str>]) -> Value {
    if path.is_empty() && !raw.starts_with(['{', '[']) {
        return scalar(raw);
    }
    let Ok(document) = serde_json::from_str::<Yaml>(raw) else { return Value::Nil };
    let mut value = &document;
    for key in path {
        value = value.get(&**key).unwrap_or(&Yaml::Null);
    }
    of_json(value)
}

fn scalar(raw: &str) -> Value {
    let inside = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match (inside, raw) {
        (Some(plain), _) if !plain.contains('\\') => Value::text(plain),
        (Some(_), _) => serde_json::from_str::<String>(raw).map_or(Value::Nil, Value::text),
        (None, "true") => Value::Bool(true),
        (None, "false") => Value::Bool(false),
        (None, "null") => Value::Nil,
        (None, number) => number.parse().map_or(Value::Nil, Value::Number),
    }
}

fn of_json(value: &Yaml) -> Value {
    match value {
        Yaml::Null => Value::Nil,
        Yaml::Bool(flag) => Value::Bool(*flag),
        Yaml::Number(number) => Value::Number(number.as_f64().unwrap_or(0.0)),
        Yaml::String(text) => Value::text(text.as_str()),
        Yaml::Array(_) | Yaml::Object(_) => {
            let mut text = String::new();
            go_json::push_value(&mut text, value);
            Value::text(text)
        }
    }
}

fn of_variable(variable: &Variable) -> Value {
    match variable {
        Variable::Null | Variable::Expref(_) => Value::Nil,
        Variable::Bool(flag) => Value::Bool(*flag),
        Variable::Number(number) => Value::Number(number.as_f64().unwrap_or(0.0)),
        Variable::String(text) => Value::text(text.as_str()),
        Variable::Array(_) | Variable::Object(_) => {
            serde_json::to_value(variable).map_or(Value::Nil, |value| of_json(&value))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check, check_error};

    // Promtail's own tests of this stage, and what its documentation shows.
    const LINE: &str = r#"{"time":"2012-11-01T22:08:41+00:00","app":"loki","component":["parser","type"],"level":"WARN","numeric":{"float":12.34,"integer":123,"string":"123"},"nested":{"child":"value"},"duration":125,"complex":{"log":{"array":[{"test1":"test2"},{"test3":"test4"}],"prop":"value","prop2":"val2"}},"esc":"a\"b","nil":null,"yes":true}"#;

    #[test]
    fn paths() {
        let values = |expressions: &str, expected: &str| {
            check(&format!("- json: {{expressions: {expressions}}}"), LINE, &format!("0 {{}} {LINE}\n{expected}"));
        };
        values(
            "{out: level, app: , nested: , duration: , unknown: }",
            r#"out=WARN app=loki nested={"child":"value"} duration=125 unknown=<nil>"#,
        );
        values(
            "{f: numeric.float, i: numeric.integer, s: numeric.string, c: nested.child.none}",
            "f=12.34 i=123 s=123 c=<nil>",
        );
        values(
            r#"{c: "complex.log.array[1].test3", all: complex.log, comp: "component[0]"}"#,
            r#"all={"array":[{"test1":"test2"},{"test3":"test4"}],"prop":"value","prop2":"val2"} c=test4 comp=parser"#,
        );
        values("{esc: , nil: , yes: , component: }", r#"esc=a"b nil=<nil> yes=true component=["parser","type"]"#);
        values(r#"{n: "length(component)", k: "numeric.[float, integer]"}"#, r#"n=2 k=[12.34,123]"#);
    }

    #[test]
    fn sources_and_malformed_lines() {
        let stages = "- json: {expressions: {extra: }}\n- json: {source: extra, expressions: {user: }}";
        let line = r#"{"extra":"{\"user\":\"marco\"}"}"#;
        check(stages, line, &format!("0 {{}} {line}\nextra={{\"user\":\"marco\"}} user=marco"));
        for malformed in ["x", "[1]", "5", "\"a\"", "{\"a\":1", "{\"a\":1} x", ""] {
            check("- json: {expressions: {a: }}", malformed, &format!("0 {{}} {malformed}"));
            check("- json: {expressions: {a: }, drop_malformed: true}", malformed, "");
        }
        check("- json: {expressions: {a: }, drop_malformed: true}", "null", "0 {} null\na=<nil>");
        check("- json: {expressions: {a: }}", r#"{"a":1,"a":2}"#, "0 {} {\"a\":1,\"a\":2}\na=2");
    }

    #[test]
    fn refused() {
        check_error("- json:", "invalid json stage config: JMES expression is required");
        check_error("- json: {expressions: {}}", "invalid json stage config: JMES expression is required");
        check_error("- json: {expressions: {a: }, source: ''}", "invalid json stage config: empty source");
        check_error(
            "- json: {expressions: {a: '###@'}}",
            "invalid json stage config: could not compile JMES expression: *",
        );
    }
}
