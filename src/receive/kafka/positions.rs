//! Where each assigned partition stands: pure.
//!
//! ```text
//! assigned (recorded in the table) ─▶ taken(batch) ─▶ step { after, to } ─▶ head ─▶ … ─▶ table
//!          └─ revoked, fenced ─▶ forgotten: records polled before that are no longer ours
//! ```
//!
//! Invariant: the steps of a partition, one after the other, have neither gap nor overlap in what they name, whatever
//! offsets Kafka leaves out (transaction markers, compaction).

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::txn::{After, TxnStep};

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    pub topic: String,
    pub partition: i32,
}

/// The name under which a group's position in a partition is kept in the table: formatted and parsed here.
pub fn app_id(group: &str, partition: &PartitionId) -> String {
    format!("kafka/{group}/{}/{}", partition.topic, partition.partition)
}

/// Reads what [`app_id`] wrote for this group.
pub fn parse_app_id(group: &str, app_id: &str) -> Option<PartitionId> {
    let rest = app_id.strip_prefix("kafka/")?.strip_prefix(group)?.strip_prefix('/')?;
    let (topic, partition) = rest.rsplit_once('/')?;
    Some(PartitionId { topic: topic.to_owned(), partition: partition.parse().ok()? })
}

/// A partition that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assigned {
    app_id: Arc<str>,
    /// The generation it was assigned in: records polled in an earlier one are not taken.
    generation: u64,
    /// What the last step ended at; none when the table knows nothing of it.
    ended: Option<i64>,
}

/// All partitions that are ours.
#[derive(Debug, Default)]
pub struct Positions {
    group: String,
    partitions: HashMap<PartitionId, Assigned>,
    generation: u64,
}

impl Positions {
    pub fn new(group: &str) -> Self {
        Positions { group: group.to_owned(), ..Positions::default() }
    }

    /// The partition is ours from `recorded` on.
    pub fn assign(&mut self, partition: PartitionId, recorded: Option<i64>) {
        self.generation += 1;
        let app_id: Arc<str> = app_id(&self.group, &partition).into();
        self.partitions.insert(partition, Assigned { app_id, generation: self.generation, ended: recorded });
    }

    pub fn revoke(&mut self, partition: &PartitionId) {
        self.partitions.remove(partition);
    }

    /// Where the records end that are taken; none when the table and this process know nothing of the partition.
    pub fn ended(&self, partition: &PartitionId) -> Option<i64> {
        self.partitions.get(partition)?.ended
    }

    /// Grows with every assignment; what is polled is marked with it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn is_assigned(&self, partition: &PartitionId) -> bool {
        self.partitions.contains_key(partition)
    }

    /// The generation the partition was assigned in, if it is ours: what was polled in an earlier one is not taken.
    pub fn assigned_in(&self, partition: &PartitionId) -> Option<u64> {
        self.partitions.get(partition).map(|assigned| assigned.generation)
    }

    /// The step of records up to and with offset `last`; none when the partition is not ours.
    pub fn step(&self, partition: &PartitionId, last: i64) -> Option<TxnStep> {
        let assigned = self.partitions.get(partition)?;
        Some(TxnStep { app_id: assigned.app_id.clone(), after: After::Exactly(assigned.ended), to: last + 1 })
    }

    /// A step of the partition is in the head.
    pub fn taken(&mut self, partition: &PartitionId, step: &TxnStep) {
        if let Some(assigned) = self.partitions.get_mut(partition) {
            assigned.ended = Some(step.to);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &PartitionId> {
        self.partitions.keys()
    }

    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, partition: i32) -> PartitionId {
        PartitionId { topic: topic.to_owned(), partition }
    }

    #[test]
    fn names_come_back() {
        for (group, topic, number) in [("g", "logs", 0), ("a/b", "x/y", 12), ("millrace", "t.e-s_t", 3)] {
            let id = partition(topic, number);
            assert_eq!(parse_app_id(group, &app_id(group, &id)), Some(id));
        }
        assert_eq!(parse_app_id("g", "kafka/other/logs/0"), None);
        assert_eq!(parse_app_id("g", "millrace-wal-1"), None);
        assert_eq!(parse_app_id("g", "kafka/g/logs/x"), None);
    }

    #[test]
    fn steps_follow_each_other_and_end_with_the_assignment() {
        let id = partition("logs", 0);
        let mut positions = Positions::new("g");
        positions.assign(id.clone(), None);
        let polled_in = positions.generation();
        let first = positions.step(&id, 9).expect("ours");
        assert_eq!((first.after, first.to), (After::Exactly(None), 10));
        positions.taken(&id, &first);
        assert_eq!(positions.ended(&id), Some(10));
        let second = positions.step(&id, 14).expect("ours");
        assert_eq!((second.after, second.to), (After::Exactly(Some(10)), 15));
        assert!(first.then(&second).is_some());
        positions.revoke(&id);
        assert_eq!(positions.step(&id, 20), None);
        positions.assign(partition("logs", 1), None);
        positions.assign(id.clone(), Some(15));
        assert!(positions.assigned_in(&id) > Some(polled_in), "what was polled before comes again");
        assert_eq!(positions.step(&id, 20).map(|step| step.after), Some(After::Exactly(Some(15))));
    }
}
