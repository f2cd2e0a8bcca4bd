//! What one backup holds, and the names of backups: formatted and parsed here only.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::time::{NANOS_PER_SECOND, UnixNanos};

/// Newest form of manifests that this program reads and writes.
const FORMAT: u32 = 1;

/// `20260116T020000Z`: when it was begun, UTC. Names sort as times do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackupId(String);

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub id: BackupId,
    /// The program that wrote it.
    pub program: String,
    /// Version of the table.
    pub version: u64,
    pub rows: u64,
    pub entries: Vec<Entry>,
    /// Bytes that this backup added to the repository.
    pub added_bytes: u64,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub place: EntryPlace,
    /// Below its place, with `/`.
    pub path: String,
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Milliseconds since the epoch at which the store says it was written; 0 for what is not compared.
    #[serde(default)]
    pub modified_ms: i64,
}

/// Where a file belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryPlace {
    /// Below the table's root, immutable.
    Table,
    /// Below the table's root; makes the table: written last.
    Log,
    /// Below the data directory.
    Data,
}

impl BackupId {
    pub(super) fn at(now: UnixNanos) -> Self {
        let time = chrono::DateTime::from_timestamp(now.0.div_euclid(NANOS_PER_SECOND), 0).unwrap_or_default();
        BackupId(time.format("%Y%m%dT%H%M%SZ").to_string())
    }

    /// A name as users type it; `None` when it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_good = text.len() == 16
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            });
        is_good.then(|| BackupId(text.to_owned()))
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Manifest {
    pub(super) fn new(id: BackupId, version: u64, rows: u64, entries: Vec<Entry>, added_bytes: u64) -> Self {
        let program = concat!("millrace ", env!("CARGO_PKG_VERSION")).to_owned();
        Manifest { format: FORMAT, id, program, version, rows, entries, added_bytes }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("strings and integers always serialise")
    }

    /// # Errors
    /// A text naming what is wrong.
    pub(super) fn decode(body: &[u8]) -> Result<Self, String> {
        let manifest: Manifest = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if manifest.format > FORMAT {
            return Err(format!("it has format {}, this program knows {FORMAT}", manifest.format));
        }
        for entry in &manifest.entries {
            let is_inside = entry.path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
            if !is_inside || entry.path.contains('\\') {
                return Err(format!("{:?} does not stay inside its place", entry.path));
            }
            if entry.sha256.len() != 64 || !entry.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(format!("{} has no SHA-256", entry.path));
            }
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_times() {
        let id = BackupId::at(UnixNanos(1_768_528_800_000_000_000));
        assert_eq!(id.to_string(), "20260116T020000Z");
        assert_eq!(BackupId::parse("20260116T020000Z"), Some(id));
        for bad in ["", "latest", "20260116T020000", "20260116-020000Z", "../../etc/passwd"] {
            assert_eq!(BackupId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn manifests_come_back_and_strangers_do_not() {
        let entry = |path: &str| Entry {
            place: EntryPlace::Data,
            path: path.to_owned(),
            bytes: 1,
            sha256: "ab".repeat(32),
            modified_ms: 0,
        };
        let id = BackupId::at(UnixNanos(0));
        let manifest = |path: &str| Manifest::new(id.clone(), 3, 4, vec![entry(path)], 5);
        assert_eq!(Manifest::decode(&manifest("wal/1.wal").encode()), Ok(manifest("wal/1.wal")));
        for bad in ["../x", "/etc/passwd", "a//b", "a/./b", ""] {
            assert!(Manifest::decode(&manifest(bad).encode()).is_err(), "{bad}");
        }
        let newer = Manifest { format: 2, ..manifest("a") };
        assert!(Manifest::decode(&newer.encode()).is_err_and(|error| error.contains("format 2")));
    }
}
