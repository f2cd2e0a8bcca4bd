//! Masking what was taken out of a line as the line itself was masked.
//!
//! ```text
//! line  "… user_id":"12345" …  ─ replace ─▶  "… user_id":"***" …
//! extracted user=12345, label event="ann@example.com", metadata user_id=12345  ─▶  ***, ***, ***
//! ```
//!
//! A value is masked when the expression matches in it, when it is what a group of the line matched, or when the
//! expression matches the pair as JSON or logfmt writes it (`"user_id":"12345"`). Labels that the operator set stay.

use super::replace::{Captured, Replacement, Rewrite};
use crate::pipeline::entry::{Entry, Origin, Text, Value};

/// How pairs are looked at.
pub(super) struct Redaction {
    as_json: bool,
    as_logfmt: bool,
}

impl Redaction {
    pub(super) fn new(expression: &str) -> Self {
        Redaction { as_json: expression.contains('"') && expression.contains(':'), as_logfmt: expression.contains('=') }
    }

    /// Masks extracted values, labels and metadata.
    pub(super) fn redact(&self, rewrite: &mut Rewrite, entry: &mut Entry, captured: &Captured) {
        // What was taken out of a line without a match has none either, unless the line wrote it with escapes.
        let line_may_hide = !captured.is_empty() || entry.line.contains('\\');
        let Entry { labels, extracted, metadata, .. } = entry;
        if line_may_hide {
            for (name, value) in extracted.iter_mut() {
                let Value::Text(text) = value else { continue };
                if labels.origin(name) == Some(Origin::Operator) && labels.get(name) == Some(text) {
                    continue;
                }
                if let Some(masked) = self.masked(rewrite, name, text, captured) {
                    *value = Value::Text(masked);
                }
            }
        }
        for (name, value, origin) in labels.iter_mut() {
            if origin == Origin::Data
                && let Some(masked) = self.masked(rewrite, name, value, captured)
            {
                *value = masked;
            }
        }
        for (name, value) in metadata {
            if let Some(masked) = self.masked(rewrite, name, value, captured) {
                *value = masked;
            }
        }
    }

    fn masked(&self, rewrite: &mut Rewrite, name: &str, value: &Text, captured: &Captured) -> Option<Text> {
        if let Some((masked, _)) = rewrite.apply(value, None)
            && masked != **value
        {
            return Some(masked.into());
        }
        if let Some((_, by)) = captured.iter().find(|(known, _)| known == value && !value.is_empty()) {
            return Some(by.clone());
        }
        if self.as_json {
            let before = format!("\"{name}\":\"");
            if let Some(masked) = masked_pair(rewrite, &before, value, "\"") {
                return Some(masked);
            }
        }
        if self.as_logfmt {
            return masked_pair(rewrite, &format!("{name}="), value, "");
        }
        None
    }
}

/// The value that is left of a pair, when the pair matches.
fn masked_pair(rewrite: &mut Rewrite, before: &str, value: &str, after: &str) -> Option<Text> {
    let pair = format!("{before}{value}{after}");
    let (masked, captured) = rewrite.apply(&pair, None)?;
    if masked == pair {
        return None;
    }
    let inside = masked.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    let constant = || match &rewrite.replacement {
        Replacement::Constant(text) | Replacement::Whole { text, .. } => text.clone(),
        Replacement::Template(_) => Text::from(""),
    };
    Some(match inside {
        Some(inside) => inside.into(),
        None => captured.first().map_or_else(constant, |(_, by)| by.clone()),
    })
}

/// Whether an expression would change a text, without changing it.
#[cfg(test)]
fn would_change(rewrite: &mut Rewrite, text: &str) -> bool {
    rewrite.apply(text, None).is_some_and(|(out, _)| out != text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::LabelSet;
    use crate::pipeline::testing::{build, check, run, show};

    const EXERCISE: &str = r#"
- replace:
    expression: '(?P<email>[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,})'
    replace: '***REDACTED_EMAIL***'
- replace:
    expression: '"user_id":\s*"([^"]+)"'
    replace: '"user_id":"***REDACTED***"'
"#;

    #[test]
    fn the_exercises_example_comes_out_to_the_letter() {
        check(
            EXERCISE,
            r#"{"level":"info","message":"User test@example.com logged in","user_id":"12345"}"#,
            "0 {} {\"level\":\"info\",\"message\":\"User ***REDACTED_EMAIL*** logged in\",\"user_id\":\"***REDACTED***\"}\nemail=***REDACTED_EMAIL***",
        );
    }

    #[test]
    fn labels_metadata_and_extracted_values_are_masked_too() {
        let stages = format!(
            "- json: {{expressions: {{message: , who: user_id, event: , n: , copy: }}}}\n- labels: {{event: }}\n- structured_metadata: {{who: }}\n{EXERCISE}"
        );
        let line = r#"{"message":"mail to a\u0040b.example x@y.example","user_id":"12345","event":"login of x@y.example","n":12345,"copy":"12345"}"#;
        check(
            &stages,
            line,
            "0 {event=\"login of ***REDACTED_EMAIL***\"} {\"message\":\"mail to a\\u0040b.example ***REDACTED_EMAIL***\",\"user_id\":\"***REDACTED***\",\"event\":\"login of ***REDACTED_EMAIL***\",\"n\":12345,\"copy\":\"12345\"}\n\
             message=mail to ***REDACTED_EMAIL*** ***REDACTED_EMAIL*** who=***REDACTED*** event=login of ***REDACTED_EMAIL*** n=12345 copy=***REDACTED*** email=***REDACTED_EMAIL***\n[who=***REDACTED***]",
        );
    }

    #[test]
    fn what_clients_sent_beside_the_line_is_masked() {
        let mut given =
            Entry::new(LabelSet::from_pairs(Origin::Data, [("who", "x@y.example"), ("user_id", "77")]), 0, "plain");
        given.labels.set("job".into(), "j@k.example".into(), Origin::Operator);
        given.metadata = vec![("user_id".into(), "12345".into()), ("other".into(), "12345".into())];
        let out = run(&mut build(EXERCISE), vec![given]);
        let shown = show(&out[0]);
        assert!(
            shown.starts_with(r#"0 {job="j@k.example", user_id="***REDACTED***", who="***REDACTED_EMAIL***"} plain"#),
            "{shown}"
        );
        assert!(shown.ends_with("[user_id=***REDACTED*** other=12345]"), "{shown}");
    }

    #[test]
    fn line_only_is_promtails_way() {
        let line = r#"{"m":"a@b.example"}"#;
        check(
            "- json: {expressions: {m: }}\n- replace: {expression: '(\\w+@\\S+\\.\\w+)', replace: X, line_only: true}",
            line,
            "0 {} {\"m\":\"X\"}\nm=a@b.example",
        );
        check(
            "- logfmt: {mapping: {pin: }}\n- structured_metadata: {pin: }\n- replace: {expression: 'pin=(\\d+)', replace: X}",
            "pin=123 x",
            "0 {} pin=X x\npin=X\n[pin=X]",
        );
    }

    #[test]
    fn pairs_are_seen_as_they_are_written() {
        let mut rewrite = Rewrite::new(r#""user_id":\s*"([^"]+)""#, r#""user_id":"***""#).expect("good");
        assert!(would_change(&mut rewrite, r#""user_id": "1""#));
        assert_eq!(masked_pair(&mut rewrite, "\"user_id\":\"", "1", "\"").as_deref(), Some("***"));
        assert_eq!(masked_pair(&mut rewrite, "\"user\":\"", "1", "\""), None);
        let mut removes = Rewrite::new(r"(pin=\d+)", "").expect("good");
        assert_eq!(masked_pair(&mut removes, "pin=", "1", "").as_deref(), Some(""));
    }
}
