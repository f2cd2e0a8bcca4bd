//! `labels`: extracted values become labels.
//!
//! ```yaml
//! - labels: {level: , app: app_name}      # label: extracted value; empty is the label's own name
//! ```
//! What is not there, or is nothing, sets no label.

use serde_json::Value as Yaml;

use super::each;
use crate::pipeline::Stage;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Origin, Text};
use crate::pipeline::error::StageError;
use crate::pipeline::names::is_label_name;

/// `label: source` of a stage that names labels.
pub(super) fn sources(config: &Yaml) -> Result<Vec<(Text, Text)>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let pairs = body.whole_mapping();
    let is_empty = pairs.is_none() && config.is_null();
    // Every name is asked for.
    body.finish().map(drop)?;
    if is_empty {
        return Err(StageError::new("label stage config cannot be empty"));
    }
    let mut sources = Vec::new();
    for (label, source) in pairs.unwrap_or_default() {
        if !is_label_name(&label) {
            return Err(StageError::new(format!("invalid label name: {label}")));
        }
        let label = Text::from(label);
        let source = if source.is_empty() { label.clone() } else { source.into() };
        sources.push((label, source));
    }
    Ok(sources)
}

pub(super) fn build(config: &Yaml) -> Result<Box<dyn Stage>, StageError> {
    let sources = sources(config)?;
    Ok(each("labels", move |entry, _| {
        for (label, source) in &sources {
            if let Some(value) = entry.extracted.get(source).and_then(|value| value.to_text()) {
                entry.labels.set(label.clone(), value, Origin::Data);
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check, check_error};

    #[test]
    fn promoted() {
        let stages = "- json: {expressions: {level: , app_rename: app, n: , nil: }}\n- labels: {level: , app: app_rename, n: , nil: , none: }";
        let line = r#"{"app":"loki","level":"WARN","n":7}"#;
        check(
            stages,
            line,
            &format!("0 {{app=\"loki\", level=\"WARN\", n=\"7\"}} {line}\nlevel=WARN app_rename=loki n=7 nil=<nil>"),
        );
    }

    #[test]
    fn refused() {
        check_error("- labels:", "invalid labels stage config: label stage config cannot be empty");
        check_error("- labels: {'#*FDDS*': }", "invalid labels stage config: invalid label name: #*FDDS*");
        check_error(
            "- labels: {a: 1}",
            "invalid labels stage config: 1 error(s) decoding:\n\n* '[a]' expected type 'string', got unconvertible type 'int', value: '1'",
        );
    }
}
