//! The write-ahead log: what was acknowledged is on disk, in order, checked, and replayable.
//!
//! ```text
//! append ─▶ queue (bounded) ─▶ writer thread: take all waiting ─▶ write ─▶ sync ─▶ on_durable(group) ─▶ wake callers
//! ```
//!
//! Invariants: log sequence numbers are contiguous; `on_durable` sees records in their order, each once,
//! after they are synced and before their callers are told; a failed group leaves no trace.
//! Errors: [`WalError`].

mod codec;
mod disk;
mod error;
mod identity;
mod inspect;
mod mend;
mod replay;
mod segment;
mod writer;

pub use error::WalError;
pub use identity::identity;
pub use inspect::{SegmentReport, inspect};
pub use mend::{MendedLog, make_whole, mend, mend_all};
pub use replay::{LogEnd, Record, open_record, replay};
pub use writer::{DirectoryLock, Wal, WalStats};

use std::time::Duration;

/// When a group is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsyncPolicy {
    /// Before each acknowledgement: survives power loss.
    Always,
    /// At this interval: survives `kill -9`; power loss costs what came since.
    Interval(Duration),
    /// Left to the operating system: survives `kill -9`, not power loss.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalConfig {
    pub fsync: FsyncPolicy,
    /// A segment that has grown beyond this is followed by a new one.
    pub segment_bytes_max: u64,
    /// Bytes of records waiting for the writer; more wait outside.
    pub queue_bytes_max: usize,
    /// How long an append waits for room before it is refused.
    pub queue_wait_max: Duration,
}

impl Default for WalConfig {
    fn default() -> Self {
        WalConfig {
            fsync: FsyncPolicy::Always,
            segment_bytes_max: 64 << 20,
            queue_bytes_max: 64 << 20,
            queue_wait_max: Duration::from_secs(10),
        }
    }
}

/// The files of a log, oldest first, each with the first record it may hold.
pub fn segments(dir: &std::path::Path) -> Result<Vec<(crate::types::ids::Lsn, std::path::PathBuf)>, WalError> {
    Ok(segment::list(dir)?.into_iter().map(|segment| (segment.first, segment.path)).collect())
}

#[cfg(test)]
mod tests;
