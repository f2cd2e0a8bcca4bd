//! `logfmt`: takes values out of `key=value` pairs.
//!
//! ```yaml
//! - logfmt:
//!     mapping: {level: , user: username}
//!     source: payload          # an extracted value; without it, the line
//! ```
//! `level=warn username="a b" took=3ms` gives `level=warn`, `user=a b`. Of equal keys the last counts; reading stops
//! at what is no logfmt, and what was found before stays.

use std::borrow::Cow;

use serde_json::Value as Yaml;

use super::{Input, done, each, source};
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Entry, Text, Value};
use crate::pipeline::error::StageError;
use crate::pipeline::{Stage, Tools};

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let mapping = body.mapping("mapping").unwrap_or_default();
    let from = source(&mut body, "empty source");
    done("logfmt", body, tools)?;
    if mapping.is_empty() {
        return Err(StageError::new("logfmt mapping is required"));
    }
    let from = from?;
    let by_key: Vec<(String, Text)> =
        mapping.into_iter().map(|(name, key)| (if key.is_empty() { name.clone() } else { key }, name.into())).collect();
    Ok(each("logfmt", move |entry, _| {
        let Entry { line, extracted, .. } = entry;
        let Some(input) = Input::of(line, extracted, from.as_ref()) else { return };
        for (key, value) in Pairs(input.as_str()) {
            // As with Go's inverted mapping, the last name given to a key has it.
            if let Some((_, name)) = by_key.iter().rev().find(|(known, _)| *known == key) {
                extracted.set(name, Value::text(value.as_ref()));
            }
        }
    }))
}

/// The pairs of a text, up to the first fault.
struct Pairs<'l>(&'l str);

impl<'l> Iterator for Pairs<'l> {
    type Item = (&'l str, Cow<'l, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start_matches(|c: char| c <= ' ');
        let end = text.find(|c: char| c <= ' ' || c == '=' || c == '"' || c == char::REPLACEMENT_CHARACTER);
        let (key, rest) = text.split_at(end.unwrap_or(text.len()));
        if key.is_empty() {
            self.0 = "";
            return None;
        }
        if rest.starts_with(['"', char::REPLACEMENT_CHARACTER]) {
            self.0 = "";
            return None;
        }
        let Some(value) = rest.strip_prefix('=') else {
            self.0 = rest;
            return Some((key, Cow::Borrowed("")));
        };
        if let Some(quoted) = value.strip_prefix('"') {
            let Some((value, rest)) = unquoted(quoted) else {
                self.0 = "";
                return None;
            };
            self.0 = rest;
            return Some((key, value));
        }
        let end = value.find(|c: char| c <= ' ' || c == '=' || c == '"').unwrap_or(value.len());
        let (value, rest) = value.split_at(end);
        if rest.starts_with(['=', '"']) {
            self.0 = "";
            return None;
        }
        self.0 = rest;
        Some((key, Cow::Borrowed(value)))
    }
}

/// The value up to its closing quote, and what follows.
fn unquoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut has_escapes = false;
    loop {
        match bytes.get(at)? {
            b'"' => break,
            b'\\' => {
                has_escapes = true;
                at += 2;
            }
            0..=0x1f => return None,
            _ => at += 1,
        }
    }
    let (inside, rest) = (text.get(..at)?, text.get(at + 1..)?);
    if !has_escapes {
        return Some((Cow::Borrowed(inside), rest));
    }
    // The escapes are JSON's.
    let value: String = serde_json::from_str(text.get(..=at).map(|quoted| format!("\"{quoted}"))?.as_str()).ok()?;
    Some((Cow::Owned(value), rest))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check, check_error};

    #[test]
    fn mappings() {
        let line = r#"time=2012-11-01 app=loki level=WARN nested="child=value" duration=125 esc="a\"b\n" flag message="this is a log line" app=last"#;
        let values = |mapping: &str, expected: &str| {
            check(&format!("- logfmt: {{mapping: {mapping}}}"), line, &format!("0 {{}} {line}{expected}"));
        };
        values("{out: level, app: , duration: , unknown: }", "\nout=WARN app=last duration=125");
        values("{nested: , message: }", "\nnested=child=value message=this is a log line");
        values("{flag: , esc: }", "\nflag= esc=a\"b\n");
        values("{unknown: }", "");
        check(
            "- logfmt: {mapping: {extra: }}\n- logfmt: {source: extra, mapping: {user: }}",
            r#"extra="user=foo""#,
            "0 {} extra=\"user=foo\"\nextra=user=foo user=foo",
        );
    }

    #[test]
    fn reading_stops_at_a_fault() {
        let of = |line: &str, expected: &str| {
            check("- logfmt: {mapping: {a: , b: }}", line, &format!("0 {{}} {line}{expected}"))
        };
        of("a=1 =x b=2", "\na=1");
        of("a=1 b=\"open", "\na=1");
        of("a=1 x\"y b=2", "\na=1");
        of("a=x=y b=2", "");
        of("", "");
    }

    #[test]
    fn refused() {
        check_error("- logfmt:", "invalid logfmt stage config: logfmt mapping is required");
        check_error("- logfmt: {mapping: {a: }, source: ''}", "invalid logfmt stage config: empty source");
    }
}
