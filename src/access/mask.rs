//! Redaction on read: what a role sees in place of a person's data.
//!
//! A mask works on rows before any filter of a query sees them: nobody can ask whether a hidden value is there.

use std::borrow::Cow;
use std::sync::Arc;

use regex::Regex;

use super::settings::MaskConfig;

/// E-mail addresses, as the exercise's pipeline finds them.
const EMAIL: &str = r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}";

/// One named rule.
#[derive(Debug)]
pub(super) struct MaskRule {
    pub(super) name: String,
    replacement: String,
    patterns: Vec<Regex>,
    /// Labels, metadata and fields of lines whose whole value is hidden.
    fields: Vec<String>,
    /// Those fields in JSON and in logfmt: prefix, value.
    in_lines: Vec<Regex>,
}

/// The rules that apply to a stream, in the order of their names. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mask(Arc<[Arc<MaskRule>]>);

impl MaskRule {
    /// # Errors
    /// What is wrong with the rule.
    pub(super) fn compile(name: &str, config: &MaskConfig) -> Result<Self, String> {
        let patterns = if config.pattern.is_empty() { Vec::new() } else { vec![regex(&config.pattern)?] };
        let in_lines = config.fields.iter().flat_map(|field| {
            let field = regex::escape(field);
            [
                format!(r#"("{field}"\s*:\s*)("(?:[^"\\]|\\.)*"|[^\s,}}\]]+)"#),
                format!(r#"((?:^|\s){field}=)("(?:[^"\\]|\\.)*"|\S+)"#),
            ]
        });
        let in_lines = in_lines.map(|pattern| regex(&pattern)).collect::<Result<_, _>>()?;
        if patterns.is_empty() && config.fields.is_empty() {
            return Err("a mask needs a pattern, or fields".to_owned());
        }
        let replacement = config.replacement.clone();
        Ok(MaskRule { name: name.to_owned(), replacement, patterns, fields: config.fields.clone(), in_lines })
    }

    /// The rule `emails`, which is always there.
    pub(super) fn emails() -> MaskConfig {
        MaskConfig { pattern: EMAIL.to_owned(), fields: Vec::new(), replacement: "***REDACTED_EMAIL***".to_owned() }
    }

    fn hide_in_line<'a>(&self, mut line: Cow<'a, str>) -> Cow<'a, str> {
        for pattern in &self.in_lines {
            let hidden = pattern.replace_all(&line, |found: &regex::Captures<'_>| {
                let quoted = found[2].starts_with('"') || found[1].starts_with('"');
                let quote = if quoted { "\"" } else { "" };
                format!("{}{quote}{}{quote}", &found[1], self.replacement)
            });
            if let Cow::Owned(hidden) = hidden {
                line = Cow::Owned(hidden);
            }
        }
        self.hide_patterns(line)
    }

    fn hide_patterns<'a>(&self, mut text: Cow<'a, str>) -> Cow<'a, str> {
        for pattern in &self.patterns {
            if let Cow::Owned(hidden) = pattern.replace_all(&text, regex::NoExpand(&self.replacement)) {
                text = Cow::Owned(hidden);
            }
        }
        text
    }
}

impl Mask {
    pub(super) fn of(rules: Vec<Arc<MaskRule>>) -> Option<Self> {
        (!rules.is_empty()).then(|| Mask(rules.into()))
    }

    pub(super) fn rules(&self) -> &[Arc<MaskRule>] {
        &self.0
    }

    /// A line as it may be shown.
    pub fn line<'a>(&self, line: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(line), |line, rule| rule.hide_in_line(line))
    }

    /// The value of a label or of metadata as it may be shown.
    pub fn value<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(value), |value, rule| {
            if rule.fields.iter().any(|field| field == name) {
                return Cow::Owned(rule.replacement.clone());
            }
            rule.hide_patterns(value)
        })
    }
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(configs: &[(&str, MaskConfig)]) -> Mask {
        let rules = configs.iter().map(|(name, config)| Arc::new(MaskRule::compile(name, config).expect("a rule")));
        Mask::of(rules.collect()).expect("rules")
    }

    #[test]
    fn patterns_and_fields_are_hidden_wherever_they_are() {
        let users =
            MaskConfig { fields: vec!["user_id".to_owned()], replacement: "***".to_owned(), ..MaskConfig::default() };
        let mask = mask(&[("emails", MaskRule::emails()), ("users", users)]);
        let check = |line: &str, expected: &str| assert_eq!(mask.line(line), expected, "{line}");
        check("mail to a.b@example.com now", "mail to ***REDACTED_EMAIL*** now");
        check(r#"{"user_id":"u-1","n":1}"#, r#"{"user_id":"***","n":1}"#);
        check(r#"{"user_id": 12,"n":1}"#, r#"{"user_id": "***","n":1}"#);
        check(r#"{"user_id":"a\"b@c.de"}"#, r#"{"user_id":"***"}"#);
        check("level=info user_id=12 n=1", "level=info user_id=*** n=1");
        check(r#"user_id="a b" n=1"#, r#"user_id="***" n=1"#);
        check("my_user_id=12", "my_user_id=12");
        assert!(matches!(mask.line("nothing here"), Cow::Borrowed(_)));
        assert_eq!(mask.value("user_id", "12"), "***");
        assert_eq!(mask.value("contact", "x@y.org"), "***REDACTED_EMAIL***");
        assert_eq!(mask.value("contact", "x"), "x");
    }

    #[test]
    fn a_replacement_is_taken_as_it_is_written() {
        let config = MaskConfig { pattern: "s(.)cret".to_owned(), replacement: "$1".to_owned(), fields: Vec::new() };
        assert_eq!(mask(&[("m", config)]).line("a secret"), "a $1");
        assert!(MaskRule::compile("m", &MaskConfig::default()).is_err());
        let bad = MaskConfig { pattern: "(".to_owned(), ..MaskConfig::default() };
        assert!(MaskRule::compile("m", &bad).is_err());
    }
}
