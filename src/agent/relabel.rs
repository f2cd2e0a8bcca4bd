//! Relabelling: what discovery found becomes the labels of a stream, as Prometheus does it.
//!
//! ```text
//! __meta_… and static labels ─▶ rules in order ─▶ labels (those that begin with __ go at the end) | dropped
//! ```
//!
//! Errors: a rule that Prometheus would refuse, in its words.

mod md5;

use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::logql::go_regex::compile_go_regex;
use crate::pipeline::is_label_name;

/// Labels by name.
pub type LabelMap = BTreeMap<String, String>;

/// One entry of `relabel_configs`, as written.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelabelConfig {
    pub source_labels: Vec<String>,
    pub separator: String,
    pub regex: String,
    pub modulus: u64,
    pub target_label: String,
    pub replacement: String,
    pub action: String,
}

impl Default for RelabelConfig {
    fn default() -> Self {
        RelabelConfig {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: "replace".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

/// A rule that can be applied.
#[derive(Debug, Clone)]
pub struct Relabel {
    action: Action,
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    modulus: u64,
    target_label: String,
    replacement: String,
}

impl Relabel {
    /// # Errors
    /// What is wrong with the rule.
    pub fn new(config: &RelabelConfig) -> Result<Self, String> {
        let name = config.action.to_lowercase();
        let action = match name.as_str() {
            "replace" | "" => Action::Replace,
            "keep" => Action::Keep,
            "drop" => Action::Drop,
            "keepequal" => Action::KeepEqual,
            "dropequal" => Action::DropEqual,
            "hashmod" => Action::HashMod,
            "labelmap" => Action::LabelMap,
            "labeldrop" => Action::LabelDrop,
            "labelkeep" => Action::LabelKeep,
            "lowercase" => Action::Lowercase,
            "uppercase" => Action::Uppercase,
            _ => return Err(format!("unknown relabel action {:?}", config.action)),
        };
        let anchored = format!("^(?s:{})$", config.regex);
        compile_go_regex(&config.regex)?;
        let regex = compile_go_regex(&anchored)?.into_regex();
        let needs_target = matches!(
            action,
            Action::Replace
                | Action::HashMod
                | Action::Lowercase
                | Action::Uppercase
                | Action::KeepEqual
                | Action::DropEqual
        );
        if action == Action::HashMod && config.modulus == 0 {
            return Err("relabel configuration for hashmod requires non-zero modulus".to_owned());
        }
        if needs_target && config.target_label.is_empty() {
            return Err(format!("relabel configuration for {name} action requires 'target_label' value"));
        }
        let is_name = is_label_name(&config.target_label);
        let may_expand = action == Action::Replace && config.target_label.contains('$');
        if needs_target && !is_name && !may_expand {
            return Err(format!("{:?} is invalid 'target_label' for {name} action", config.target_label));
        }
        Ok(Relabel {
            action,
            source_labels: config.source_labels.clone(),
            separator: config.separator.clone(),
            regex,
            modulus: config.modulus,
            target_label: config.target_label.clone(),
            replacement: config.replacement.clone(),
        })
    }

    /// Applies the rule; false when the target goes.
    fn apply(&self, labels: &mut LabelMap) -> bool {
        let values: Vec<&str> =
            self.source_labels.iter().map(|name| labels.get(name).map_or("", String::as_str)).collect();
        let value = values.join(&self.separator);
        match self.action {
            Action::Keep => return self.regex.is_match(&value),
            Action::Drop => return !self.regex.is_match(&value),
            Action::KeepEqual => return labels.get(&self.target_label).map_or("", String::as_str) == value,
            Action::DropEqual => return labels.get(&self.target_label).map_or("", String::as_str) != value,
            Action::Replace => self.replace(&value, labels),
            Action::Lowercase => set(labels, &self.target_label, value.to_lowercase()),
            Action::Uppercase => set(labels, &self.target_label, value.to_uppercase()),
            Action::HashMod => {
                let digest = md5::digest(value.as_bytes());
                let tail = digest[8..].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                set(labels, &self.target_label, (tail % self.modulus).to_string());
            }
            Action::LabelMap => {
                let mut mapped = Vec::new();
                for (name, value) in labels.iter() {
                    if let Some(captures) = self.regex.captures(name) {
                        let mut target = String::new();
                        captures.expand(&self.replacement, &mut target);
                        mapped.push((target, value.clone()));
                    }
                }
                mapped.into_iter().for_each(|(name, value)| set(labels, &name, value));
            }
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
        }
        true
    }

    fn replace(&self, value: &str, labels: &mut LabelMap) {
        let Some(captures) = self.regex.captures(value) else { return };
        let mut target = String::new();
        captures.expand(&self.target_label, &mut target);
        if !is_label_name(&target) {
            return;
        }
        let mut replacement = String::new();
        captures.expand(&self.replacement, &mut replacement);
        set(labels, &target, replacement);
    }
}

/// An empty value is no label.
fn set(labels: &mut LabelMap, name: &str, value: String) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}

/// Compiles rules that were checked.
///
/// # Errors
/// The first that is wrong.
pub fn compile(configs: &[RelabelConfig]) -> Result<Vec<Relabel>, String> {
    configs.iter().map(Relabel::new).collect()
}

/// Applies all rules; `None` when one drops the target.
pub fn relabel(mut labels: LabelMap, rules: &[Relabel]) -> Option<LabelMap> {
    rules.iter().all(|rule| rule.apply(&mut labels)).then_some(labels)
}

/// The labels that streams have: those that do not begin with `__`.
pub fn visible(labels: &LabelMap) -> LabelMap {
    labels
        .iter()
        .filter(|(name, _)| !name.starts_with("__"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(yaml: &str) -> Result<Vec<Relabel>, String> {
        let tree = crate::pipeline::yaml::parse(yaml).expect("YAML");
        let configs: Vec<RelabelConfig> = serde_json::from_value(tree).map_err(|error| error.to_string())?;
        compile(&configs)
    }

    /// Prometheus's own table of tests, as far as it is about what Promtail uses.
    #[test]
    fn actions() {
        let check = |yaml: &str, expected: Option<&str>| {
            let given = [("a", "foo"), ("b", "bar"), ("c", "baz"), ("__meta_x_name", "/web.1"), ("__tmp", "UPper")];
            let labels = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let out = relabel(labels, &rules(yaml).expect("good")).map(|labels| {
                let pairs: Vec<String> =
                    visible(&labels).iter().map(|(name, value)| format!("{name}={value}")).collect();
                pairs.join(" ")
            });
            assert_eq!(out.as_deref(), expected, "{yaml}");
        };
        check("[]", Some("a=foo b=bar c=baz"));
        check(
            "- {source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-ch$1', separator: ';'}",
            Some("a=foo b=bar c=baz d=choo-choo"),
        );
        check(
            "- {source_labels: [a, b], regex: 'f(.*);(.*)r', target_label: a, replacement: 'b${1}${2}m'}",
            Some("a=boobam b=bar c=baz"),
        );
        check(
            "- {source_labels: [__meta_x_name], regex: '/(.*)', target_label: container}",
            Some("a=foo b=bar c=baz container=web.1"),
        );
        check("- {source_labels: [a], regex: 'o(.*)', target_label: d}", Some("a=foo b=bar c=baz"));
        check(
            "- {source_labels: [none], target_label: cluster, replacement: lab}",
            Some("a=foo b=bar c=baz cluster=lab"),
        );
        check("- {source_labels: [none], target_label: c}", Some("a=foo b=bar"));
        check("- {source_labels: [a], regex: '.*o.*', action: drop}", None);
        check("- {source_labels: [a], regex: 'o', action: drop}", Some("a=foo b=bar c=baz"));
        check("- {source_labels: [a], regex: 'no-match', action: keep}", None);
        check("- {source_labels: [a], regex: 'f|foo', action: Keep}", Some("a=foo b=bar c=baz"));
        check("- {source_labels: [a], target_label: b, action: keepequal}", None);
        check("- {source_labels: [a], target_label: b, action: dropequal}", Some("a=foo b=bar c=baz"));
        check(
            "- {source_labels: [c], target_label: d, action: hashmod, modulus: 1000}",
            Some("a=foo b=bar c=baz d=976"),
        );
        check("- {regex: '(b|c)', replacement: 'x_$1', action: labelmap}", Some("a=foo b=bar c=baz x_b=bar x_c=baz"));
        check("- {regex: '[bc]', action: labeldrop}", Some("a=foo"));
        check("- {regex: '[bc]', action: labelkeep}", Some("b=bar c=baz"));
        check("- {source_labels: [__tmp], target_label: d, action: lowercase}", Some("a=foo b=bar c=baz d=upper"));
        check("- {source_labels: [__tmp], target_label: d, action: uppercase}", Some("a=foo b=bar c=baz d=UPPER"));
        check(
            "- {source_labels: [a], regex: '(f).*', target_label: '${1}_x', replacement: y}",
            Some("a=foo b=bar c=baz f_x=y"),
        );
        check(
            "- {source_labels: [a], regex: '(f).*', target_label: '${1}-x', replacement: y}",
            Some("a=foo b=bar c=baz"),
        );
    }

    #[test]
    fn refused() {
        let check = |yaml: &str, words: &str| assert_eq!(rules(yaml).err().as_deref(), Some(words), "{yaml}");
        check("- {action: dance}", "unknown relabel action \"dance\"");
        check(
            "- {source_labels: [a], target_label: b, action: hashmod}",
            "relabel configuration for hashmod requires non-zero modulus",
        );
        check("- {source_labels: [a]}", "relabel configuration for replace action requires 'target_label' value");
        check(
            "- {source_labels: [a], target_label: 'b-c', action: lowercase}",
            "\"b-c\" is invalid 'target_label' for lowercase action",
        );
        check("- {regex: '(', target_label: a}", "error parsing regexp: missing closing ): `(`");
    }
}
