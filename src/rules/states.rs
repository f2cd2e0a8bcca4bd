//! The states of all groups in memory, and when they are written.
//!
//! ```text
//! group ─ put ─▶ memory ─ every few seconds, or now when an alert changed ─▶ samples synced ─▶ journal
//! ```
//!
//! Invariant: a state is written after the samples that it speaks of are durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::rules::journal::{GroupState, Journal, TenantState};
use crate::types::ids::TenantId;
use crate::types::sample::SampleSink;
use crate::types::time::UnixNanos;

/// Share it behind an `Arc`.
pub struct States {
    journal: Journal,
    sink: Arc<dyn SampleSink>,
    memory: Mutex<Memory>,
    /// Held while writing: an older state never replaces a newer.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Memory {
    tenants: BTreeMap<TenantId, TenantState>,
    dirty: BTreeSet<TenantId>,
}

impl std::fmt::Debug for States {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("States").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl States {
    /// With what a former life wrote. Blocking.
    pub fn open(journal: Journal, sink: Arc<dyn SampleSink>) -> Self {
        let tenants = journal.load();
        States {
            journal,
            sink,
            memory: Mutex::new(Memory { tenants, dirty: BTreeSet::new() }),
            writing: tokio::sync::Mutex::default(),
        }
    }

    pub fn get(&self, tenant: &TenantId, group: &str) -> GroupState {
        let memory = self.memory.lock();
        memory.tenants.get(tenant).and_then(|state| state.groups.get(group)).cloned().unwrap_or_default()
    }

    pub fn put(&self, tenant: &TenantId, group: &str, state: GroupState) {
        let mut memory = self.memory.lock();
        memory.tenants.entry(tenant.clone()).or_default().groups.insert(group.to_owned(), state);
        memory.dirty.insert(tenant.clone());
    }

    /// A group begins after this interval, unless its state says otherwise.
    pub fn began(&self, tenant: &TenantId, group: &str, at: UnixNanos) {
        let mut memory = self.memory.lock();
        let state = memory.tenants.entry(tenant.clone()).or_default().groups.entry(group.to_owned()).or_default();
        state.evaluated_ns.get_or_insert(at.0);
        memory.dirty.insert(tenant.clone());
    }

    /// The group is gone.
    pub fn forget(&self, tenant: &TenantId, group: &str) {
        let mut memory = self.memory.lock();
        if memory.tenants.get_mut(tenant).is_some_and(|state| state.groups.remove(group).is_some()) {
            memory.dirty.insert(tenant.clone());
        }
    }

    /// Writes what changed. A failure is said, and tried again next time.
    pub async fn write(&self) {
        let _writing = self.writing.lock().await;
        let changed: Vec<(TenantId, TenantState)> = {
            let mut memory = self.memory.lock();
            let dirty = std::mem::take(&mut memory.dirty);
            let states = dirty.into_iter().filter_map(|tenant| {
                let state = memory.tenants.get(&tenant)?.clone();
                Some((tenant, state))
            });
            states.collect()
        };
        if changed.is_empty() {
            return;
        }
        let outcome = match self.sink.sync().await {
            Ok(()) => self.save(&changed).await,
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = outcome {
            tracing::error!(error, "the state of rules could not be written; trying again");
            self.memory.lock().dirty.extend(changed.into_iter().map(|(tenant, _)| tenant));
        }
    }

    async fn save(&self, changed: &[(TenantId, TenantState)]) -> Result<(), String> {
        let (journal, changed) = (self.journal.clone(), changed.to_vec());
        let saving = tokio::task::spawn_blocking(move || {
            changed
                .iter()
                .try_for_each(|(tenant, state)| journal.save(tenant, state))
                .map_err(|error| error.to_string())
        });
        saving.await.map_err(|error| error.to_string())?
    }
}
