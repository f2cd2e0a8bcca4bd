//! Looks at every object of the commit log without changing it, and moves damaged ones aside.

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::TableError;
use super::log::{Entry, Log, checkpoint_name, version_name};

/// What the log is made of, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogReport {
    pub commits: u64,
    pub checkpoints: u64,
    pub newest: Option<u64>,
    pub damage: Vec<LogDamage>,
}

/// One object of the log that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDamage {
    /// Relative to the root.
    pub name: String,
    pub object: LogObject,
    pub reason: String,
    /// Whether the table can be read without it: an intact checkpoint stands for it, or for what it held.
    pub is_needed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogObject {
    Commit(u64),
    Checkpoint(u64),
}

/// What is wrong with an object that is not there.
const MISSING: &str = "it is missing";

impl LogDamage {
    pub fn is_missing(&self) -> bool {
        self.reason == MISSING
    }
}

/// Reads the whole log; `None` when there is no table.
pub async fn inspect(store: Arc<dyn ObjectStore>, root: Path) -> Result<Option<LogReport>, TableError> {
    let log = Log::new(store, root);
    let entries = log.entries(None).await?;
    let mut report = LogReport::default();
    let mut good_checkpoint = None;
    for entry in &entries {
        if let Entry::Checkpoint(version) = *entry {
            report.checkpoints += 1;
            match log.read_checkpoint(version).await {
                Ok(_) => good_checkpoint = Some(version),
                Err(TableError::Store(error)) => return Err(error.into()),
                Err(error) => report.damage.push(LogDamage {
                    name: checkpoint_name(version),
                    object: LogObject::Checkpoint(version),
                    reason: error.to_string(),
                    is_needed: false,
                }),
            }
        }
    }
    let (mut expected, first) = (None, good_checkpoint.map_or(0, |version| version + 1));
    let is_needed = |version: u64| version >= first;
    for entry in &entries {
        let Entry::Commit(version) = *entry else { continue };
        for missing in expected.unwrap_or(first.min(version))..version {
            report.damage.push(commit(missing, MISSING.to_owned(), is_needed(missing)));
        }
        expected = Some(version + 1);
        report.commits += 1;
        match log.read_version(version).await {
            Ok(_) => {}
            Err(TableError::Store(error)) => return Err(error.into()),
            Err(TableError::Corrupt { reason, .. }) => report.damage.push(commit(version, reason, is_needed(version))),
            Err(error) => report.damage.push(commit(version, error.to_string(), is_needed(version))),
        }
    }
    report.newest = entries.iter().next_back().map(|entry| match entry {
        Entry::Checkpoint(version) | Entry::Commit(version) => *version,
    });
    report.newest = report.newest.max(good_checkpoint).max(expected.map(|next| next - 1));
    if good_checkpoint.is_none() && report.commits == 0 {
        report.damage.iter_mut().for_each(|damage| damage.is_needed = true);
    }
    Ok((!entries.is_empty()).then_some(report))
}

fn commit(version: u64, reason: String, is_needed: bool) -> LogDamage {
    LogDamage { name: version_name(version), object: LogObject::Commit(version), reason, is_needed }
}

/// Moves an object of the table to `_quarantine`, where no one reads it. Answers its new name.
///
/// `store` is the raw one: what is damaged cannot be opened.
pub async fn quarantine(store: &Arc<dyn ObjectStore>, root: &Path, name: &str) -> Result<String, TableError> {
    let log = Log::new(store.clone(), root.clone());
    let to = format!("_quarantine/{name}");
    let content = store.get(&log.path(name)).await?.bytes().await?;
    store.put(&log.path(&to), content.into()).await?;
    store.delete(&log.path(name)).await?;
    Ok(to)
}
