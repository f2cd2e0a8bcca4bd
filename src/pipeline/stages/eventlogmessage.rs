//! `eventlogmessage`: takes `Key: value` lines out of the message of a Windows event.
//!
//! ```yaml
//! - eventlogmessage:
//!     source: message              # an extracted value
//!     drop_invalid_labels: false   # true: keys that are no label names are left out, else they are cleaned
//!     overwrite_existing: false    # true: values already extracted are replaced, else the key gets `_extracted`
//! ```
//! `Logon Type: 5\r\nUser: ann` gives `Logon_Type=5`, `User=ann`. An entry whose source has no text is dropped.

use serde_json::Value as Yaml;

use super::done;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Text, Value};
use crate::pipeline::error::StageError;
use crate::pipeline::names::{is_label_name, sanitized_label_name};
use crate::pipeline::{Context, Entry, Stage, Tools};

struct EventLogMessage {
    source: String,
    drop_invalid: bool,
    overwrite: bool,
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let source = body.text("source");
    let drop_invalid = body.flag("drop_invalid_labels").unwrap_or(false);
    let overwrite = body.flag("overwrite_existing").unwrap_or(false);
    done("eventlogmessage", body, tools)?;
    if let Some(name) = source.as_ref().filter(|name| !is_label_name(name)) {
        return Err(StageError::new(format!("invalid label name: {name}")));
    }
    let source = source.unwrap_or_else(|| "message".to_owned());
    Ok(Box::new(EventLogMessage { source, drop_invalid, overwrite }))
}

impl EventLogMessage {
    /// False when the entry goes.
    fn extract(&self, entry: &mut Entry) -> bool {
        let Some(value) = entry.extracted.get(&self.source) else { return true };
        let Some(message) = value.to_text() else { return false };
        for line in message.split("\r\n") {
            let Some((key, value)) = line.split_once(':') else { continue };
            let mut key = match is_label_name(key) {
                true => key.to_owned(),
                false if self.drop_invalid => continue,
                false => sanitized_label_name(key),
            };
            if !self.overwrite && entry.extracted.get(&key).is_some() {
                key.push_str("_extracted");
            }
            entry.extracted.set(&Text::from(key), Value::text(value.trim()));
        }
        true
    }
}

impl Stage for EventLogMessage {
    fn name(&self) -> &'static str {
        "eventlogmessage"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, _context: &mut Context<'_>) {
        batch.retain_mut(|entry| self.extract(entry));
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check, check_error};

    #[test]
    fn messages() {
        let line = r#"{"message":"Key1: Value 1\r\nKey 2: Value: 2\r\nnone\r\n: x"}"#;
        let of = |config: &str, expected: &str| {
            let shown = expected.replace("MESSAGE", "Key1: Value 1\r\nKey 2: Value: 2\r\nnone\r\n: x");
            check(
                &format!("- json: {{expressions: {{message: , Key1: none}}}}\n- eventlogmessage: {config}"),
                line,
                &format!("0 {{}} {line}\n{shown}"),
            );
        };
        of("{}", "message=MESSAGE Key1=<nil> Key1_extracted=Value 1 Key_2=Value: 2 _=x");
        of("{drop_invalid_labels: true, overwrite_existing: true}", "message=MESSAGE Key1=Value 1");
        of("{source: absent}", "message=MESSAGE Key1=<nil>");
        check("- json: {expressions: {message: }}\n- eventlogmessage:", "{}", "");
        check_error(
            "- eventlogmessage: {source: 'a-b'}",
            "invalid eventlogmessage stage config: invalid label name: a-b",
        );
    }
}
