//! Rules as values: checked once, when they are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::expr::RuleExpr;
use crate::types::units::GoDuration;

/// The groups of one file; its name is the namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RuleFile {
    pub groups: Vec<Arc<RuleGroup>>,
}

/// Rules that are evaluated in order, at the same times.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleGroup {
    pub name: String,
    /// None: the configured one.
    pub interval: Option<GoDuration>,
    /// Series or alerts that one rule may make; 0 means no limit.
    pub limit: usize,
    /// Rules look at the time this long before their evaluation.
    pub query_offset: Option<GoDuration>,
    /// How late rows may come and still correct what was recorded. Ours alone. None: the configured one.
    pub lateness: Option<GoDuration>,
    /// Added to the labels of every rule that does not have them.
    pub labels: BTreeMap<String, String>,
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub kind: RuleKind,
    /// As written, without white space around it.
    pub text: String,
    pub expr: RuleExpr,
    /// Without the group's.
    pub labels: BTreeMap<String, String>,
    /// Where it stands in its file, from 1; 0 when it never was in one.
    pub line: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RuleKind {
    Recording { metric: String },
    Alerting { alert: String, hold: GoDuration, keep_firing: GoDuration, annotations: BTreeMap<String, String> },
}

impl Rule {
    /// The metric or the alert.
    pub fn name(&self) -> &str {
        match &self.kind {
            RuleKind::Recording { metric } => metric,
            RuleKind::Alerting { alert, .. } => alert,
        }
    }

    pub fn is_alert(&self) -> bool {
        matches!(self.kind, RuleKind::Alerting { .. })
    }

    /// Its labels over those of its group.
    pub fn all_labels(&self, group: &RuleGroup) -> BTreeMap<String, String> {
        let mut labels = group.labels.clone();
        labels.extend(self.labels.clone());
        labels
    }
}

impl PartialEq<RuleGroup> for Arc<RuleGroup> {
    fn eq(&self, other: &RuleGroup) -> bool {
        **self == *other
    }
}
