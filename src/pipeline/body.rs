//! The settings of one stage: a YAML mapping read as Go's mapstructure reads it for Promtail.
//!
//! Names are found whatever their case; nulls are as good as absent; a value of another type is an error
//! unless the stage reads weakly. What no one asked for is not an error, only noted.

use serde_json::{Map, Value as Yaml};

use super::error::StageError;

/// How types are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typing {
    Strict,
    /// Numbers and flags may be written as texts, and the other way round.
    Weak,
}

/// A stage's settings while they are read.
#[derive(Debug)]
pub(super) struct Body<'c> {
    map: Option<&'c Map<String, Yaml>>,
    typing: Typing,
    asked: Vec<&'static str>,
    problems: Vec<String>,
}

impl<'c> Body<'c> {
    pub(super) fn new(config: &'c Yaml, typing: Typing) -> Self {
        let (map, problems) = match config {
            Yaml::Object(map) => (Some(map), Vec::new()),
            Yaml::Null => (None, Vec::new()),
            other => (None, vec![format!("'' expected a map, got '{}'", kind(other))]),
        };
        Body { map, typing, asked: Vec::new(), problems }
    }

    /// The value as it was written; null is absent.
    pub(super) fn raw(&mut self, name: &'static str) -> Option<&'c Yaml> {
        self.asked.push(name);
        let map = self.map?;
        let exact = map.get(name);
        let found =
            exact.or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value));
        found.filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.raw(name)?;
        self.text_of(name, value)
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        match (self.raw(name)?, self.typing) {
            (Yaml::Bool(flag), _) => Some(*flag),
            (Yaml::Number(number), Typing::Weak) => Some(number.as_f64() != Some(0.0)),
            (Yaml::String(text), Typing::Weak) => match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
                "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
                _ => {
                    self.problems.push(format!(
                        "cannot parse '{name}' as bool: strconv.ParseBool: parsing \"{text}\": invalid syntax"
                    ));
                    None
                }
            },
            (other, _) => self.mismatch(name, "bool", other),
        }
    }

    pub(super) fn number(&mut self, name: &'static str) -> Option<f64> {
        let value = self.raw(name)?;
        match (value, self.typing) {
            (Yaml::Number(number), _) => number.as_f64(),
            (Yaml::Bool(flag), Typing::Weak) => Some(f64::from(u8::from(*flag))),
            (Yaml::String(text), Typing::Weak) => match text.parse() {
                Ok(number) => Some(number),
                Err(_) => {
                    self.problems.push(format!(
                        "cannot parse '{name}' as float: strconv.ParseFloat: parsing \"{text}\": invalid syntax"
                    ));
                    None
                }
            },
            (other, _) => self.mismatch(name, "float64", other),
        }
    }

    /// A list of texts; one text alone counts as a list of it where types are weak.
    pub(super) fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        match (self.raw(name)?, self.typing) {
            (Yaml::Array(items), _) => Some(items.iter().filter_map(|item| self.text_of(name, item)).collect()),
            (Yaml::String(text), Typing::Weak) => Some(vec![text.clone()]),
            (other, _) => {
                self.problems.push(format!("'{name}': source data must be an array or slice, got {}", kind(other)));
                None
            }
        }
    }

    /// A mapping of texts to texts; a null value is an empty text.
    pub(super) fn mapping(&mut self, name: &'static str) -> Option<Vec<(String, String)>> {
        match self.raw(name)? {
            Yaml::Object(map) => Some(self.pairs(name, map)),
            other => {
                self.problems.push(format!("'{name}' expected a map, got '{}'", kind(other)));
                None
            }
        }
    }

    /// The whole body as a mapping of names to texts, null among them: `labels`, `static_labels`.
    pub(super) fn whole_mapping(&mut self) -> Option<Vec<(String, String)>> {
        let map = self.map?;
        Some(self.pairs("", map))
    }

    fn pairs(&mut self, name: &str, map: &'c Map<String, Yaml>) -> Vec<(String, String)> {
        let value = |body: &mut Self, key: &str, value: &Yaml| match value {
            Yaml::Null => Some(String::new()),
            value => body.text_of(&format!("{name}[{key}]"), value),
        };
        map.iter().filter_map(|(key, item)| Some((key.clone(), value(self, key, item)?))).collect()
    }

    fn text_of(&mut self, name: &str, value: &Yaml) -> Option<String> {
        match (value, self.typing) {
            (Yaml::String(text), _) => Some(text.clone()),
            (Yaml::Number(number), Typing::Weak) => Some(number.to_string()),
            (Yaml::Bool(flag), Typing::Weak) => Some(if *flag { "1" } else { "0" }.to_owned()),
            (other, _) => self.mismatch(name, "string", other),
        }
    }

    fn mismatch<T>(&mut self, name: &str, expected: &str, found: &Yaml) -> Option<T> {
        let value = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        self.problems.push(format!(
            "'{name}' expected type '{expected}', got unconvertible type '{}', value: '{value}'",
            kind(found)
        ));
        None
    }

    /// Names that nobody asked for.
    ///
    /// # Errors
    /// Values of other types than were asked for.
    pub(super) fn finish(self) -> Result<Vec<String>, StageError> {
        if !self.problems.is_empty() {
            let list: Vec<String> = self.problems.iter().map(|problem| format!("* {problem}")).collect();
            return Err(StageError::new(format!("{} error(s) decoding:\n\n{}", list.len(), list.join("\n"))));
        }
        let unknown = |key: &&String| !self.asked.iter().any(|name| name.eq_ignore_ascii_case(key));
        Ok(self.map.into_iter().flat_map(Map::keys).filter(unknown).cloned().collect())
    }
}

/// Go's name of a YAML value's type.
fn kind(value: &Yaml) -> &'static str {
    match value {
        Yaml::Null => "nil",
        Yaml::Bool(_) => "bool",
        Yaml::Number(number) if number.is_f64() => "float64",
        Yaml::Number(_) => "int",
        Yaml::String(_) => "string",
        Yaml::Array(_) => "[]interface {}",
        Yaml::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn read_as_mapstructure_reads() {
        let config = json!({"Source": "a", "flag": true, "extra": 1, "none": null});
        let mut body = Body::new(&config, Typing::Strict);
        assert_eq!(body.text("source").as_deref(), Some("a"));
        assert_eq!((body.flag("flag"), body.text("none"), body.text("absent")), (Some(true), None, None));
        assert_eq!(body.finish(), Ok(vec!["extra".to_owned()]));
    }

    #[test]
    fn wrong_types_are_named() {
        let check = |typing: Typing, expected: Result<Option<String>, &str>| {
            let config = json!({"expression": 5});
            let mut body = Body::new(&config, typing);
            let text = body.text("expression");
            let words = body.finish().map(|_| text).map_err(|error| error.0);
            assert_eq!(words, expected.map_err(str::to_owned));
        };
        check(
            Typing::Strict,
            Err(
                "1 error(s) decoding:\n\n* 'expression' expected type 'string', got unconvertible type 'int', value: '5'",
            ),
        );
        check(Typing::Weak, Ok(Some("5".to_owned())));
    }
}
