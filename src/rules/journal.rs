//! What rules remember over a restart: how far groups were evaluated, and their alerts.
//!
//! ```text
//! DATA/rules-state/<tenant>.json    replaced whole, after the samples it speaks of are durable
//! ```
//!
//! Windows are not here: they are computed from the rows again. Samples recorded after the last write are recorded
//! again with the same labels and times, which changes nothing.
//! Invariant: a group's `evaluated` is never ahead of what the store of samples has on disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::durable;
use crate::rules::alerts::{Alert, AlertState};
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// One tenant's groups, by `namespace;group`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantState {
    pub groups: BTreeMap<String, GroupState>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupState {
    /// The last evaluation at an interval, nanoseconds since the epoch.
    pub evaluated_ns: Option<i64>,
    /// By [`rule_key`].
    pub rules: BTreeMap<String, RuleState>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleState {
    pub alerts: Vec<AlertRecord>,
    /// Labels, as JSON, of what the last evaluation recorded.
    pub series: Vec<String>,
}

/// An alert on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRecord {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    state: AlertState,
    /// As text: JSON has no NaN.
    value: String,
    active_at_ns: i64,
    fired_at_ns: Option<i64>,
    resolved_at_ns: Option<i64>,
    keep_since_ns: Option<i64>,
    last_sent_ns: Option<i64>,
    sent_as: Option<AlertState>,
}

/// How a rule is known over changes of its group: its name, and which of that name it is.
pub fn rule_key(name: &str, occurrence: usize) -> String {
    format!("{name}#{occurrence}")
}

/// How a group is known.
pub fn group_key(namespace: &str, group: &str) -> String {
    format!("{namespace};{group}")
}

impl From<&Alert> for AlertRecord {
    fn from(alert: &Alert) -> Self {
        let map = |labels: &Labels| labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let nanos = |at: Option<UnixNanos>| at.map(|at| at.0);
        AlertRecord {
            labels: map(&alert.labels),
            annotations: map(&alert.annotations),
            state: alert.state,
            value: alert.value.to_string(),
            active_at_ns: alert.active_at.0,
            fired_at_ns: nanos(alert.fired_at),
            resolved_at_ns: nanos(alert.resolved_at),
            keep_since_ns: nanos(alert.keep_since),
            last_sent_ns: nanos(alert.last_sent),
            sent_as: alert.sent_as,
        }
    }
}

impl From<AlertRecord> for Alert {
    fn from(record: AlertRecord) -> Self {
        Alert {
            labels: Labels::from_pairs(record.labels),
            annotations: Labels::from_pairs_with_empty(record.annotations),
            state: record.state,
            value: record.value.parse().unwrap_or(f64::NAN),
            active_at: UnixNanos(record.active_at_ns),
            fired_at: record.fired_at_ns.map(UnixNanos),
            resolved_at: record.resolved_at_ns.map(UnixNanos),
            keep_since: record.keep_since_ns.map(UnixNanos),
            last_sent: record.last_sent_ns.map(UnixNanos),
            sent_as: record.sent_as,
        }
    }
}

/// The directory of states.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
}

impl Journal {
    pub fn new(directory: PathBuf) -> Self {
        Journal { directory }
    }

    /// Every tenant's state. A file that does not read is said and left out: its rules begin anew. Blocking.
    pub fn load(&self) -> BTreeMap<TenantId, TenantState> {
        let mut states = BTreeMap::new();
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
            let Some(tenant) = name.and_then(|name| TenantId::parse(name).ok()) else { continue };
            match read(&path) {
                Ok(state) => {
                    states.insert(tenant, state);
                }
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), "the state of rules cannot be read; alerts and timers of this tenant begin anew");
                }
            }
        }
        states
    }

    /// Replaces one tenant's state. Blocking.
    pub fn save(&self, tenant: &TenantId, state: &TenantState) -> io::Result<()> {
        let text = serde_json::to_vec(state).map_err(io::Error::other)?;
        durable::replace(&self.directory.join(format!("{tenant}.json")), &text)
    }
}

fn read(path: &Path) -> io::Result<TenantState> {
    serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().expect("a directory");
        let journal = Journal::new(directory.path().join("states"));
        assert!(journal.load().is_empty());
        let alert = Alert {
            labels: Labels::from_pairs([("a", "\"x\"")]),
            annotations: Labels::from_pairs_with_empty([("s", ""), ("t", "lines\n")]),
            state: AlertState::Firing,
            value: f64::INFINITY,
            active_at: UnixNanos(1),
            fired_at: Some(UnixNanos(2)),
            resolved_at: None,
            keep_since: Some(UnixNanos(3)),
            last_sent: Some(UnixNanos(4)),
            sent_as: Some(AlertState::Firing),
        };
        let rule = RuleState { alerts: vec![(&alert).into()], series: vec!["{}".to_owned()] };
        let group = GroupState { evaluated_ns: Some(5), rules: BTreeMap::from([(rule_key("High", 0), rule)]) };
        let state = TenantState { groups: BTreeMap::from([(group_key("f.yaml", "g"), group)]) };
        let tenant = TenantId::parse("team-a").expect("valid");
        journal.save(&tenant, &state).expect("saved");
        let loaded = journal.load();
        assert_eq!(loaded.get(&tenant), Some(&state));
        let record = loaded[&tenant].groups["f.yaml;g"].rules["High#0"].alerts[0].clone();
        assert_eq!(Alert::from(record), alert);
        std::fs::write(directory.path().join("states/team-b.json"), "{").expect("written");
        assert_eq!(journal.load().len(), 1);
    }
}
