//! `output`: an extracted value becomes the line.
//!
//! ```yaml
//! - output: {source: message}
//! ```
//! What is not there, or is nothing, leaves the line as it is.

use serde_json::Value as Yaml;

use super::{done, each};
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::error::StageError;
use crate::pipeline::{Stage, Tools};

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let source = body.text("source").unwrap_or_default();
    done("output", body, tools)?;
    if source.is_empty() {
        return Err(StageError::new("output source value is required if output is specified"));
    }
    Ok(each("output", move |entry, _| {
        if let Some(text) = entry.extracted.get(&source).and_then(|value| value.as_text()) {
            entry.line.clear();
            entry.line.push_str(&text);
        }
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check, check_error};

    #[test]
    fn lines() {
        let stages =
            |source: &str| format!("- json: {{expressions: {{m: , n: , nil: }}}}\n- output: {{source: {source}}}");
        let line = r#"{"m":"hello","n":1.50}"#;
        check(&stages("m"), line, "0 {} hello\nm=hello n=1.5 nil=<nil>");
        check(&stages("n"), line, "0 {} 1.5\nm=hello n=1.5 nil=<nil>");
        check(&stages("nil"), line, &format!("0 {{}} {line}\nm=hello n=1.5 nil=<nil>"));
        check_error(
            "- output: {}",
            "invalid output stage config: output source value is required if output is specified",
        );
    }
}
