//! Settings of the upkeep: Loki's `compactor` block, and `millrace.compaction` for the rest.

use serde::{Deserialize, Serialize};

use crate::files::compact_plan::CompactionPolicy;
use crate::types::units::{ByteSize, GoDuration};

/// Loki's `compactor`: what of it acts here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CompactorConfig {
    /// How often files are looked at.
    pub compaction_interval: GoDuration,
    /// How often retention is applied; 0: with each compaction.
    pub apply_retention_interval: GoDuration,
    /// Whether retention is applied and deletes are taken.
    pub retention_enabled: bool,
    /// How long files stay on the store after they left the table.
    pub retention_delete_delay: GoDuration,
    /// Delete requests worked on at once.
    pub delete_batch_size: usize,
    /// How long a delete can be taken back; its rows are hidden meanwhile, and removed afterwards.
    pub delete_request_cancel_period: GoDuration,
    /// The longest `max_interval` of a delete.
    pub delete_max_interval: GoDuration,
}

/// `millrace.compaction`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CompactionConfig {
    pub enabled: bool,
    /// Stored bytes of a file that is left alone.
    pub target_bytes: ByteSize,
    /// Files of like size that are worth a merge.
    pub min_files: usize,
    /// A day that got no rows for this long has settled: what is small of it is merged.
    pub settled_after: GoDuration,
    /// Of what rests: 1 to 22. What still grows has level 1.
    pub zstd_level: i32,
    /// On a table that other processes write too: the age at which an object that no commit names is deleted.
    pub orphan_age: GoDuration,
}

/// `millrace.erasure`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErasureConfig {
    /// What certificates are signed with: Ed25519, PKCS#8, PEM. None: `erasure.pem` in the data directory.
    pub key_file: Option<std::path::PathBuf>,
}

impl Default for CompactorConfig {
    fn default() -> Self {
        CompactorConfig {
            compaction_interval: GoDuration::from_secs(600),
            apply_retention_interval: GoDuration(0),
            retention_enabled: false,
            retention_delete_delay: GoDuration::from_secs(2 * 3600),
            delete_batch_size: 70,
            delete_request_cancel_period: GoDuration::from_secs(24 * 3600),
            delete_max_interval: GoDuration::from_secs(24 * 3600),
        }
    }
}

impl Default for CompactionConfig {
    fn default() -> Self {
        CompactionConfig {
            enabled: true,
            target_bytes: ByteSize(128 << 20),
            min_files: 8,
            settled_after: GoDuration::from_secs(3600),
            zstd_level: 8,
            orphan_age: GoDuration::from_secs(24 * 3600),
        }
    }
}

impl CompactorConfig {
    /// What is wrong with these settings.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.compaction_interval.0 <= 0 {
            problems.push("compactor.compaction_interval: more than 0".to_owned());
        }
        if self.apply_retention_interval.0 != 0
            && self.compaction_interval.0 > 0
            && self.apply_retention_interval.0 % self.compaction_interval.0 != 0
        {
            problems.push("compactor.apply_retention_interval: a multiple of compaction_interval".to_owned());
        }
        if self.delete_batch_size == 0 {
            problems.push("compactor.delete_batch_size: at least 1".to_owned());
        }
        problems
    }
}

impl CompactionConfig {
    /// What is wrong with these settings.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.target_bytes.0 < 1 << 20 {
            problems.push("millrace.compaction.target_bytes: at least 1MB".to_owned());
        }
        if self.min_files < 2 {
            problems.push("millrace.compaction.min_files: at least 2".to_owned());
        }
        if !(1..=22).contains(&self.zstd_level) {
            problems.push("millrace.compaction.zstd_level: 1 to 22".to_owned());
        }
        problems
    }

    /// What the planner goes by.
    pub fn policy(&self) -> CompactionPolicy {
        CompactionPolicy {
            target_bytes: self.target_bytes.0,
            files_min: self.min_files,
            settled_after_ns: self.settled_after.nanos(),
        }
    }
}
