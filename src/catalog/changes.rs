//! When the rows of a stretch of time last changed: what a cache of results asks before it believes itself.
//!
//! Time is cut into buckets. A bucket that was never touched since the process started, or was forgotten,
//! counts as touched at the tenant's floor.
//!
//! Invariant: an answer computed at `ChangeSeq` s over a range for which `changed_since(range, s)` is false is the
//! answer now.

use std::collections::{BTreeMap, HashMap};

use crate::types::ids::TenantId;
use crate::types::time::{TimeRange, UnixNanos};

/// Width of a bucket, nanoseconds: narrow enough that live rows leave answers of the last hour alone.
const BUCKET_NS: i64 = 60_000_000_000;
/// Buckets kept for a tenant, about two weeks of minutes; then all are forgotten and its floor rises.
const BUCKETS_MAX: usize = 20_000;
/// A batch that spans at most so many buckets touches all of them; else the buckets of its rows.
const SPAN_TOUCHED_WHOLE: i64 = 8;

/// A moment in the order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ChangeSeq(u64);

/// Changes of all tenants.
#[derive(Debug, Default)]
pub(super) struct Changes {
    last: ChangeSeq,
    tenants: HashMap<TenantId, Touched>,
}

#[derive(Debug, Default)]
struct Touched {
    /// Every bucket not in `buckets` changed at this moment at the latest.
    floor: ChangeSeq,
    buckets: BTreeMap<i64, ChangeSeq>,
}

impl Changes {
    pub(super) fn now(&self) -> ChangeSeq {
        self.last
    }

    /// Rows with these times came.
    pub(super) fn rows_came(&mut self, tenant: &TenantId, times: &[i64]) {
        let (Some(min), Some(max)) = (times.iter().min(), times.iter().max()) else {
            return;
        };
        self.last.0 += 1;
        let (seq, touched) = (self.last, touched_of(&mut self.tenants, tenant));
        let (first, last) = (bucket(*min), bucket(*max));
        if last - first <= SPAN_TOUCHED_WHOLE {
            (first..=last).for_each(|bucket| touched.touch(bucket, seq));
        } else {
            let mut before = None;
            for bucket in times.iter().map(|ts| bucket(*ts)) {
                if before != Some(bucket) {
                    touched.touch(bucket, seq);
                    before = Some(bucket);
                }
            }
        }
    }

    /// Rows anywhere in `range` may be gone or different.
    pub(super) fn range_changed(&mut self, tenant: &TenantId, range: TimeRange) {
        if range.is_empty() {
            return;
        }
        self.last.0 += 1;
        let (seq, touched) = (self.last, touched_of(&mut self.tenants, tenant));
        let (first, last) = (bucket(range.start.0), bucket(range.end.0.saturating_sub(1)));
        if last - first < BUCKETS_MAX as i64 {
            (first..=last).for_each(|bucket| touched.touch(bucket, seq));
        } else {
            touched.forget(seq);
        }
    }

    /// Rows of any tenant, at any time, may be gone.
    pub(super) fn everything_changed(&mut self) {
        self.last.0 += 1;
        let seq = self.last;
        self.tenants.values_mut().for_each(|touched| touched.forget(seq));
    }

    /// Whether a row with a time in `range` came or went after `seq`.
    pub(super) fn changed_since(&self, tenant: &TenantId, range: TimeRange, seq: ChangeSeq) -> bool {
        let Some(touched) = self.tenants.get(tenant) else {
            return false;
        };
        if touched.floor > seq {
            return true;
        }
        let buckets = bucket(range.start.0)..=bucket(UnixNanos(range.end.0.saturating_sub(1)).0);
        !range.is_empty() && touched.buckets.range(buckets).any(|(_, at)| *at > seq)
    }
}

impl Touched {
    fn touch(&mut self, bucket: i64, seq: ChangeSeq) {
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(&bucket) {
            self.forget(seq);
        }
        self.buckets.insert(bucket, seq);
    }

    fn forget(&mut self, seq: ChangeSeq) {
        self.buckets.clear();
        self.floor = seq;
    }
}

/// Looks a tenant up without copying its name when it is known.
fn touched_of<'a>(tenants: &'a mut HashMap<TenantId, Touched>, tenant: &TenantId) -> &'a mut Touched {
    if !tenants.contains_key(tenant) {
        tenants.insert(tenant.clone(), Touched::default());
    }
    tenants.get_mut(tenant).expect("put there if it was not")
}

fn bucket(ts_ns: i64) -> i64 {
    ts_ns.div_euclid(BUCKET_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = BUCKET_NS;

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange::new(UnixNanos(from), UnixNanos(to))
    }

    #[test]
    fn only_what_a_change_touches_counts_as_changed() {
        let (a, b) = (TenantId::parse("a").expect("valid"), TenantId::parse("b").expect("valid"));
        let mut changes = Changes::default();
        let before = changes.now();
        changes.rows_came(&a, &[10 * MINUTE + 5, 10 * MINUTE]);
        let check = |changes: &Changes, tenant, from, to, seq, expected| {
            assert_eq!(changes.changed_since(tenant, range(from, to), seq), expected, "{from}..{to}");
        };
        check(&changes, &a, 0, 10 * MINUTE, before, false);
        check(&changes, &a, 0, 10 * MINUTE + 1, before, true);
        check(&changes, &a, 11 * MINUTE, 12 * MINUTE, before, false);
        check(&changes, &b, 0, 20 * MINUTE, before, false);
        check(&changes, &a, 0, 20 * MINUTE, changes.now(), false);
        check(&changes, &a, 10 * MINUTE, 10 * MINUTE, before, false);
    }

    #[test]
    fn sparse_batches_touch_their_rows_alone_and_deletes_touch_ranges() {
        let a = TenantId::single();
        let mut changes = Changes::default();
        let before = changes.now();
        changes.rows_came(&a, &[0, 1000 * MINUTE]);
        assert!(!changes.changed_since(&a, range(500 * MINUTE, 600 * MINUTE), before));
        assert!(changes.changed_since(&a, range(1000 * MINUTE, 1001 * MINUTE), before));
        let before = changes.now();
        changes.range_changed(&a, range(500 * MINUTE, 501 * MINUTE));
        assert!(changes.changed_since(&a, range(500 * MINUTE, 600 * MINUTE), before));
        assert!(!changes.changed_since(&a, range(501 * MINUTE, 600 * MINUTE), before));
        changes.range_changed(&a, TimeRange::ALL);
        assert!(changes.changed_since(&a, range(0, 1), changes_before(&changes)));
    }

    fn changes_before(changes: &Changes) -> ChangeSeq {
        ChangeSeq(changes.now().0 - 1)
    }

    #[test]
    fn too_many_buckets_raise_the_floor() {
        let a = TenantId::single();
        let mut changes = Changes::default();
        changes.rows_came(&a, &[0]);
        let before = changes.now();
        for minute in 0..=BUCKETS_MAX as i64 {
            changes.rows_came(&a, &[1000 * MINUTE + minute * MINUTE]);
        }
        assert!(changes.tenants[&a].buckets.len() <= BUCKETS_MAX);
        assert!(changes.changed_since(&a, range(0, 1), before));
        assert!(!changes.changed_since(&a, range(0, 1), changes.now()));
    }
}
