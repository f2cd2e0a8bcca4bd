//! `limits_config.otlp_config`: which attributes of OpenTelemetry become labels, which metadata, which nothing.
//!
//! Names, forms and defaults are Loki's; the first rule that fits an attribute counts, and without one it is metadata.

use std::fmt;

use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::logql::go_regex::compile_go_regex;

/// Resource attributes that are labels unless `distributor.otlp_config` says otherwise.
pub const DEFAULT_INDEX_ATTRIBUTES: &[&str] = &[
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
    "container.name",
    "k8s.replicaset.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
];

/// What becomes of the attributes of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    pub resource_attributes: ResourceRules,
    pub scope_attributes: Vec<AttributeRule>,
    pub log_attributes: Vec<AttributeRule>,
    /// Whether the severity's text is a label, too.
    pub severity_text_as_label: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceRules {
    /// Whether only `attributes_config` counts, and not the list of the whole server.
    pub ignore_defaults: bool,
    pub attributes_config: Vec<AttributeRule>,
}

/// One rule; it names its attributes or has a regular expression for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RuleText")]
pub struct AttributeRule {
    pub action: AttributeAction,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<AnchoredRegex>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeAction {
    IndexLabel,
    #[default]
    StructuredMetadata,
    Drop,
}

/// An expression that must fit the whole name.
#[derive(Clone)]
pub struct AnchoredRegex {
    text: String,
    regex: Regex,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct RuleText {
    action: AttributeAction,
    attributes: Vec<String>,
    regex: Option<AnchoredRegex>,
}

impl TryFrom<RuleText> for AttributeRule {
    type Error = &'static str;

    fn try_from(rule: RuleText) -> Result<Self, Self::Error> {
        match (rule.attributes.is_empty(), &rule.regex) {
            (true, None) => Err("attributes or regex must be set"),
            (false, Some(_)) => Err("only one of attributes or regex must be set"),
            _ => Ok(AttributeRule { action: rule.action, attributes: rule.attributes, regex: rule.regex }),
        }
    }
}

impl AnchoredRegex {
    /// # Errors
    /// Go's text, when it is no expression.
    pub fn new(text: &str) -> Result<Self, String> {
        let regex = compile_go_regex(&format!("^(?s:{text})$"))?.into_regex();
        Ok(AnchoredRegex { text: text.to_owned(), regex })
    }
}

impl fmt::Debug for AnchoredRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl PartialEq for AnchoredRegex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for AnchoredRegex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for AnchoredRegex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        AnchoredRegex::new(&text).map_err(serde::de::Error::custom)
    }
}

/// What becomes of an attribute by these rules; without one that fits, metadata.
pub fn action_of(name: &str, rules: &[AttributeRule]) -> AttributeAction {
    let fits = |rule: &&AttributeRule| {
        rule.regex.as_ref().is_some_and(|regex| regex.regex.is_match(name))
            || rule.attributes.iter().any(|attribute| attribute == name)
    };
    rules.iter().find(fits).map_or(AttributeAction::StructuredMetadata, |rule| rule.action)
}

impl ResourceRules {
    /// What becomes of a resource's attribute; `defaults` are the labels of the whole server.
    pub fn action_of(&self, name: &str, defaults: &[String]) -> AttributeAction {
        if !self.ignore_defaults && defaults.iter().any(|attribute| attribute == name) {
            return AttributeAction::IndexLabel;
        }
        action_of(name, &self.attributes_config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let config: OtlpConfig = serde_json::from_str(
            r#"{"resource_attributes": {"attributes_config": [
                {"action": "drop", "attributes": ["host.id"]},
                {"action": "index_label", "regex": "host\\..+"},
                {"regex": "cloud.*"}]}}"#,
        )
        .expect("valid");
        let defaults = vec!["service.name".to_owned(), "host.id".to_owned()];
        let check = |name: &str, expected| {
            assert_eq!(config.resource_attributes.action_of(name, &defaults[..1]), expected, "{name}");
        };
        check("service.name", AttributeAction::IndexLabel);
        check("host.id", AttributeAction::Drop);
        check("host.name", AttributeAction::IndexLabel);
        check("my.host.name", AttributeAction::StructuredMetadata);
        check("cloud.region", AttributeAction::StructuredMetadata);
        assert_eq!(config.resource_attributes.action_of("host.id", &defaults), AttributeAction::IndexLabel);
        let text = serde_json::to_string(&config).expect("serialisable");
        assert_eq!(serde_json::from_str::<OtlpConfig>(&text).expect("as it was written"), config);
    }

    #[test]
    fn rules_that_say_nothing_or_too_much_are_refused() {
        for bad in [
            r#"{"action": "drop"}"#,
            r#"{"attributes": ["a"], "regex": "b"}"#,
            r#"{"action": "keep", "attributes": ["a"]}"#,
            r#"{"regex": "("}"#,
            r#"{"attributes": ["a"], "regexp": "b"}"#,
        ] {
            assert!(serde_json::from_str::<AttributeRule>(bad).is_err(), "{bad}");
        }
    }
}
