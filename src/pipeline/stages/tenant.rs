//! `tenant`: says whose line it is.
//!
//! ```yaml
//! - tenant: {label: namespace}        # or source: customer (an extracted value), or value: team-a
//! ```
//! An entry whose source or label is not there keeps the client's tenant.

use serde_json::Value as Yaml;

use super::{done, each};
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::entry::{Origin, TENANT_LABEL, Text};
use crate::pipeline::error::StageError;
use crate::pipeline::{Place, Stage, Tools};

enum From {
    Label(String),
    Source(String),
    Value(Text),
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Strict);
    let mut given = |name| body.text(name).filter(|text| !text.is_empty());
    let (label, source, value) = (given("label"), given("source"), given("value"));
    done("tenant", body, tools)?;
    if tools.place == Place::Ingest {
        return Err(StageError::new(
            "not at ingest: the request says whose a line is, and of Kafka's records kafka.topics[].tenant",
        ));
    }
    let from = match (label, source, value) {
        (None, None, None) => return Err(StageError::new("label, source or value config are required")),
        (Some(label), None, None) => From::Label(label),
        (None, Some(source), None) => From::Source(source),
        (None, None, Some(value)) => From::Value(value.into()),
        _ => {
            return Err(StageError::new(
                "label, source and value are mutually exclusive: you should set source, value or label but not all",
            ));
        }
    };
    let tenant_label = Text::from(TENANT_LABEL);
    Ok(each("tenant", move |entry, _| {
        let tenant = match &from {
            From::Label(label) => entry.labels.get(label).cloned(),
            From::Source(source) => entry.extracted.get(source).and_then(|value| value.to_text()),
            From::Value(value) => Some(value.clone()),
        };
        if let Some(tenant) = tenant.filter(|tenant| !tenant.is_empty()) {
            entry.labels.set(tenant_label.clone(), tenant, Origin::Operator);
        }
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check, check_entry, check_error, entry};

    #[test]
    fn tenants() {
        check("- tenant: {value: foo}", "x", "0 {__tenant_id__=\"foo\"} x");
        check_entry("- tenant: {label: ns}", entry(&[("ns", "a")], "x"), "0 {__tenant_id__=\"a\", ns=\"a\"} x");
        check("- tenant: {label: ns}", "x", "0 {} x");
        let line = r#"{"c":7}"#;
        check(
            "- json: {expressions: {c: }}\n- tenant: {source: c}",
            line,
            &format!("0 {{__tenant_id__=\"7\"}} {line}\nc=7"),
        );
    }

    #[test]
    fn refused() {
        check_error("- tenant: {}", "invalid tenant stage config: label, source or value config are required");
        check_error(
            "- tenant: {source: a, value: b}",
            "invalid tenant stage config: label, source and value are mutually exclusive: you should set source, value or label but not all",
        );
    }
}
