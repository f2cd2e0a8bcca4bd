//! Segment files: their names and headers, formatted and parsed here only.
//!
//! ```text
//! 00000000000000000042.wal := "MRWAL001" first_lsn:u64 record*
//! ```

use std::path::{Path, PathBuf};

use super::WalError;
use crate::types::ids::Lsn;

const MAGIC: [u8; 8] = *b"MRWAL001";
pub(super) const HEADER_BYTES: u64 = 16;

/// A segment on disk, by the first record it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentFile {
    pub(super) first: Lsn,
    pub(super) path: PathBuf,
}

pub(super) fn path_of(dir: &Path, first: Lsn) -> PathBuf {
    dir.join(format!("{:020}.wal", first.0))
}

fn first_of(path: &Path) -> Option<Lsn> {
    let name = path.file_name()?.to_str()?.strip_suffix(".wal")?;
    if name.len() != 20 { None } else { name.parse().ok().map(Lsn) }
}

pub(super) fn header(first: Lsn) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..].copy_from_slice(&first.0.to_le_bytes());
    bytes
}

/// The segments of a directory, oldest first.
pub(super) fn list(dir: &Path) -> Result<Vec<SegmentFile>, WalError> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(WalError::io(dir))? {
        let path = entry.map_err(WalError::io(dir))?.path();
        if let Some(first) = first_of(&path) {
            segments.push(SegmentFile { first, path });
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_strangers_are_ignored() {
        let path = path_of(Path::new("/x"), Lsn(42));
        assert_eq!(path, Path::new("/x/00000000000000000042.wal"));
        assert_eq!(first_of(&path), Some(Lsn(42)));
        for stranger in ["/x/LOCK", "/x/42.wal", "/x/0000000000000000004x.wal", "/x/00000000000000000042.tmp"] {
            assert_eq!(first_of(Path::new(stranger)), None, "{stranger}");
        }
    }
}
