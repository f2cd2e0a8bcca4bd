//! `structured_metadata`: extracted values or labels become metadata of the line.
//!
//! ```yaml
//! - structured_metadata: {trace_id: , user: user_id}     # name: extracted value or label
//! ```
//! A label that went into metadata with the value it had is taken away, so that it makes no stream.

use serde_json::Value as Yaml;

use super::each;
use super::labels::sources;
use crate::pipeline::Stage;
use crate::pipeline::error::StageError;

pub(super) fn build(config: &Yaml) -> Result<Box<dyn Stage>, StageError> {
    let sources = sources(config)?;
    Ok(each("structured_metadata", move |entry, _| {
        let mut taken = Vec::new();
        for (name, source) in &sources {
            if let Some(value) = entry.extracted.get(source).and_then(|value| value.to_text()) {
                entry.metadata.push((name.clone(), value.clone()));
                taken.push((source, value));
            }
        }
        for (name, source) in &sources {
            if taken.iter().any(|(known, _)| *known == source) {
                continue;
            }
            if let Some(value) = entry.labels.get(source).cloned() {
                entry.metadata.push((name.clone(), value.clone()));
                taken.push((source, value));
            }
        }
        for (source, value) in taken {
            if entry.labels.get(source) == Some(&value) {
                entry.labels.remove(source);
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check, check_entry, check_error, entry};

    #[test]
    fn from_extracted_values_and_labels() {
        let line = r#"{"app":"loki","component":"dist"}"#;
        check(
            "- json: {expressions: {app: , component: }}\n- structured_metadata: {app: , part: component, none: }",
            line,
            &format!("0 {{}} {line}\napp=loki component=dist\n[app=loki part=dist]"),
        );
        check_entry(
            "- structured_metadata: {pod: , name: node}",
            entry(&[("pod", "p"), ("node", "n"), ("job", "j")], "x"),
            "0 {job=\"j\"} x\nnode=n pod=p\n[pod=p name=n]",
        );
        check_entry(
            "- json: {expressions: {app: }}\n- structured_metadata: {app: }",
            entry(&[("app", "other")], line),
            &format!("0 {{app=\"other\"}} {line}\n[app=loki]"),
        );
        check_error(
            "- structured_metadata: {'a-b': }",
            "invalid structured_metadata stage config: invalid label name: a-b",
        );
        check("- non_indexed_labels: {a: }", "x", "0 {} x");
    }
}
