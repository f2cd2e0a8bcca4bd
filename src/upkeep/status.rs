//! What the table looks like to its operator: partitions, what is due, what runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::Partition;
use crate::files::DataFile;
use crate::files::compact_plan::{CompactionPolicy, is_small};
use crate::types::time::UnixNanos;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) running: Option<Running>,
    /// When retention was applied last.
    pub(super) retention_applied: Option<UnixNanos>,
    /// When the last round ended.
    pub(super) round_ended: Option<UnixNanos>,
}

/// A merge that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub tenant: String,
    pub date: String,
    pub files: u64,
    pub bytes: u64,
    /// Nanoseconds since the epoch.
    pub started_ns: i64,
}

/// The table as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    /// Of the newest commit.
    pub version: u64,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    pub partitions: Vec<PartitionStatus>,
    /// Files that left the table and are not deleted yet.
    pub retired_files: u64,
    pub retired_bytes: u64,
    /// Merges that are due; none from a directory that is not served.
    pub merges_due: Option<u64>,
    pub running: Option<Running>,
    /// Files that could not be read and are left alone.
    pub damaged: Vec<String>,
    /// The process that does the upkeep, where several share the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_charge: Option<String>,
}

/// One tenant's day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    pub tenant: String,
    pub date: String,
    pub files: u64,
    /// Files that should still grow.
    pub small_files: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Bounds of event time, nanoseconds since the epoch, both inside.
    pub ts_min: i64,
    pub ts_max: i64,
}

impl Running {
    pub(super) fn of(files: &[Arc<DataFile>], started: UnixNanos) -> Self {
        Running {
            tenant: files.first().map_or_else(String::new, |file| file.tenant.to_string()),
            date: files.first().map_or_else(String::new, |file| file.date()),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
            started_ns: started.0,
        }
    }
}

impl TableStatus {
    /// Sums over partitions.
    pub fn of(version: u64, partitions: &[Partition], policy: &CompactionPolicy) -> Self {
        let partitions: Vec<_> = partitions.iter().map(|partition| PartitionStatus::of(partition, policy)).collect();
        TableStatus {
            version,
            files: partitions.iter().map(|partition| partition.files).sum(),
            rows: partitions.iter().map(|partition| partition.rows).sum(),
            bytes: partitions.iter().map(|partition| partition.bytes).sum(),
            partitions,
            ..TableStatus::default()
        }
    }
}

impl PartitionStatus {
    fn of(partition: &Partition, policy: &CompactionPolicy) -> Self {
        let files = &partition.files;
        PartitionStatus {
            tenant: partition.tenant.to_string(),
            date: files.first().map_or_else(String::new, |file| file.date()),
            files: files.len() as u64,
            small_files: files.iter().filter(|file| is_small(file, policy)).count() as u64,
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            ts_min: files.iter().map(|file| file.ts_min.0).min().unwrap_or_default(),
            ts_max: files.iter().map(|file| file.ts_max.0).max().unwrap_or_default(),
        }
    }
}
