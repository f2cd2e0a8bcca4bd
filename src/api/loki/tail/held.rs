//! Entries of a tail that are not sent yet, by time; when they are too many, the oldest are dropped and remembered.

use std::collections::BTreeMap;

use crate::query::tail::TailEntry;
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// Entries that wait for `delay_for` or for the reader.
const HELD_ENTRIES_MAX: usize = 10_000;
/// Bytes of their lines.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Dropped entries that are told one by one; further ones are counted only.
const DROPPED_TOLD_MAX: usize = 1000;

/// An entry that the client will not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) ts: UnixNanos,
    pub(super) labels: Labels,
}

/// Entries by time, then as they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: BTreeMap<(UnixNanos, u64), TailEntry>,
    line_bytes: usize,
    came: u64,
    dropped: Vec<Dropped>,
    /// Dropped since the last look, those not told included.
    dropped_count: u64,
}

impl Held {
    pub(super) fn push(&mut self, entry: TailEntry) {
        self.line_bytes += entry.entry.line.len();
        self.entries.insert((entry.entry.ts, self.came), entry);
        self.came += 1;
        while self.entries.len() > HELD_ENTRIES_MAX || self.line_bytes > HELD_BYTES_MAX {
            let Some((_, oldest)) = self.entries.pop_first() else { return };
            self.line_bytes -= oldest.entry.line.len();
            self.drop_one(Dropped { ts: oldest.entry.ts, labels: oldest.labels });
        }
    }

    /// Remembers that an entry was lost before it came here.
    pub(super) fn drop_one(&mut self, dropped: Dropped) {
        self.dropped_count += 1;
        if self.dropped.len() < DROPPED_TOLD_MAX {
            self.dropped.push(dropped);
        }
    }

    /// When the oldest entry happened.
    pub(super) fn oldest(&self) -> Option<UnixNanos> {
        self.entries.first_key_value().map(|((ts, _), _)| *ts)
    }

    /// Takes at most `limit` entries up to `until`, oldest first.
    pub(super) fn take_until(&mut self, until: UnixNanos, limit: usize) -> Vec<TailEntry> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some(first) = self.entries.first_entry().filter(|first| first.key().0 <= until) else { break };
            let entry = first.remove();
            self.line_bytes -= entry.entry.line.len();
            taken.push(entry);
        }
        taken
    }

    /// What is to be told of dropped entries, and how many there were since the last call.
    pub(super) fn take_dropped(&mut self) -> (Vec<Dropped>, u64) {
        (std::mem::take(&mut self.dropped), std::mem::take(&mut self.dropped_count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Entry;

    fn entry(ts: i64) -> TailEntry {
        let nothing = Labels::from_pairs::<&str, &str>([]);
        let entry =
            Entry { ts: UnixNanos(ts), line: ts.to_string(), metadata: nothing.clone(), parsed: nothing.clone() };
        TailEntry { labels: nothing, entry }
    }

    #[test]
    fn entries_leave_by_time_and_not_before_it() {
        let mut held = Held::default();
        [3, 1, 2, 1].into_iter().for_each(|ts| held.push(entry(ts)));
        let times = |entries: Vec<TailEntry>| entries.iter().map(|entry| entry.entry.ts.0).collect::<Vec<_>>();
        assert_eq!(held.oldest(), Some(UnixNanos(1)));
        assert_eq!(times(held.take_until(UnixNanos(2), 2)), [1, 1]);
        assert_eq!(times(held.take_until(UnixNanos(2), 9)), [2]);
        assert_eq!(times(held.take_until(UnixNanos(2), 9)), [0; 0]);
        assert_eq!(times(held.take_until(UnixNanos(9), 9)), [3]);
        assert_eq!(held.take_dropped(), (Vec::new(), 0));
    }

    #[test]
    fn too_many_drop_the_oldest_and_say_so() {
        let mut held = Held::default();
        (0..HELD_ENTRIES_MAX as i64 + 1500).for_each(|ts| held.push(entry(ts)));
        assert_eq!(held.oldest(), Some(UnixNanos(1500)));
        let (told, count) = held.take_dropped();
        assert_eq!((told.len(), count, told[0].ts), (DROPPED_TOLD_MAX, 1500, UnixNanos(0)));
    }
}
