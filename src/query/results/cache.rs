//! Finished splits, kept: bounded in bytes and in age, and believed only while nothing in their time changed.
//!
//! Invariant: a kept split is the answer to its key over the rows there were at its [`ChangeSeq`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::catalog::ChangeSeq;
use crate::query::Direction;
use crate::query::matrix::Matrix;
use crate::query::results::logs::Categorized;
use crate::types::time::TimeRange;

/// What an entry takes beside what is in it, about: key, list and map.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// Which answer a split belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SplitKey {
    /// [`crate::access::Scope::key`]: who sees the same may use the same answer.
    pub(super) scope: Arc<str>,
    /// The normalised text of what was computed.
    pub(super) text: Arc<str>,
    pub(super) shape: Shape,
    /// Width and number of the split.
    pub(super) interval_ns: i64,
    pub(super) number: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// Steps of this width; `phase_ns` is where they lie within it.
    Steps {
        step_ns: i64,
        phase_ns: i64,
    },
    Entries {
        forward: bool,
    },
}

impl Shape {
    pub(super) fn entries(direction: Direction) -> Self {
        Shape::Entries { forward: direction == Direction::Forward }
    }
}

/// One kept split.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) seq: ChangeSeq,
    pub(super) answer: Answer,
}

#[derive(Debug)]
pub(super) enum Answer {
    Steps(Matrix),
    Entries {
        range: TimeRange,
        /// In the direction of the key.
        entries: Vec<Categorized>,
        /// Whether these are all there are, not only the first.
        complete: bool,
    },
}

impl Answer {
    fn bytes(&self) -> usize {
        match self {
            Answer::Steps(matrix) => {
                let of_series = matrix.steps.count * 8 + matrix.steps.count / 8 + 64;
                matrix.series.len() * of_series
            }
            Answer::Entries { entries, .. } => entries.iter().map(Categorized::bytes).sum(),
        }
    }
}

/// How the cache is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResultsCacheStats {
    pub hits: u64,
    pub misses: u64,
    /// Found, but rows in their time had changed.
    pub stale: u64,
    pub bytes: u64,
    pub entries: u64,
}

/// Kept splits of all tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ResultsCache {
    splits: moka::sync::Cache<SplitKey, Arc<Kept>>,
    bytes_max: u64,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
}

impl ResultsCache {
    /// Keeps at most `bytes_max`, each split at most for `time_to_live`.
    pub fn new(bytes_max: u64, time_to_live: Duration) -> Self {
        let splits = moka::sync::Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|key: &SplitKey, kept: &Arc<Kept>| {
                let bytes = kept.answer.bytes() + key.text.len() + ENTRY_OVERHEAD_BYTES;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .time_to_live(time_to_live)
            .build();
        ResultsCache { splits, bytes_max, counts: Arc::default() }
    }

    pub fn stats(&self) -> ResultsCacheStats {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ResultsCacheStats {
            hits: count(&self.counts.hits),
            misses: count(&self.counts.misses),
            stale: count(&self.counts.stale),
            bytes: self.splits.weighted_size(),
            entries: self.splits.entry_count(),
        }
    }

    /// The kept split of `key` that `fits`, unless it `is_stale`.
    pub(super) fn get(
        &self,
        key: &SplitKey,
        fits: impl FnOnce(&Answer) -> bool,
        is_stale: impl FnOnce(&Kept) -> bool,
    ) -> Option<Arc<Kept>> {
        let found = self.splits.get(key).filter(|kept| fits(&kept.answer));
        let Some(kept) = found else {
            self.counts.misses.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if is_stale(&kept) {
            self.counts.stale.fetch_add(1, Ordering::Relaxed);
            self.splits.invalidate(key);
            return None;
        }
        self.counts.hits.fetch_add(1, Ordering::Relaxed);
        Some(kept)
    }

    /// Keeps a split, unless it alone would push out a good part of the others.
    pub(super) fn put(&self, key: SplitKey, seq: ChangeSeq, answer: Answer) {
        if (answer.bytes() as u64) < self.bytes_max / 8 {
            self.splits.insert(key, Arc::new(Kept { seq, answer }));
        }
    }
}
