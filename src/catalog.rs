//! What is visible now: the head, the heads being flushed, and the files, changed together.
//!
//! ```text
//!  append ─▶ head ─seal─▶ flushing ─flushed─▶ files        one lock: a snapshot sees a row in exactly one place
//! ```
//!
//! Invariant: every acknowledged row is in the head, in one sealed head, or in one file.
//! The lock is held for moments, never across an await.

mod changes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock, OnceLock};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parking_lot::Mutex;

use crate::files::DataFile;
use crate::files::table::Change;
use crate::head::{Head, HeadPart, HeadStats, RowHash, SealedHead, SourceGap};
use crate::streams::Streams;
use crate::types::ids::{Lsn, TenantId};
use crate::types::time::{TimeRange, UnixNanos};
use crate::types::txn::TxnStep;

pub use changes::ChangeSeq;
use changes::Changes;

/// The one place that says where rows are.
#[derive(Debug)]
pub struct Catalog {
    streams: Arc<Streams>,
    inner: Mutex<Inner>,
    watcher: OnceLock<Arc<dyn RowWatcher>>,
}

/// Told of rows as they become visible, under the catalog's lock: quick, and in the order of visibility.
pub trait RowWatcher: std::fmt::Debug + Send + Sync {
    /// These rows, repeats left out, can be read from now on. `source` names the door or the partition.
    fn rows_visible(&self, tenant: &TenantId, rows: &RecordBatch, source: &Arc<str>, now: UnixNanos);

    /// What was read of a source is gone.
    fn source_dropped(&self, source: &str);

    /// Whether rows should wait, because this watcher has not looked at the last ones yet.
    fn is_behind(&self) -> bool;
}

/// The source of rows that were pushed.
static PUSHED: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("push"));

#[derive(Debug)]
struct Inner {
    head: Head,
    /// Oldest first.
    flushing: Vec<Arc<SealedHead>>,
    files: HashMap<TenantId, BTreeMap<i32, Vec<Arc<DataFile>>>>,
    totals: FileTotals,
    changes: Changes,
}

/// Sums over all live files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileTotals {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// Everything a query may read, fixed at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub parts: Vec<Arc<HeadPart>>,
    /// Files that overlap the range asked for.
    pub files: Vec<Arc<DataFile>>,
}

/// One durable record on its way into the head.
#[derive(Debug)]
pub struct Arrival {
    pub tenant: TenantId,
    /// Schema `ROW_SCHEMA`.
    pub rows: RecordBatch,
    /// One a row, of `head::row_hashes`.
    pub hashes: Vec<RowHash>,
}

impl Catalog {
    /// A catalog over the files of the table, its head empty after `flushed`.
    pub fn new(streams: Arc<Streams>, files: Vec<DataFile>, flushed: Lsn) -> Self {
        let mut inner = Inner {
            head: Head::new(flushed),
            flushing: Vec::new(),
            files: HashMap::new(),
            totals: FileTotals::default(),
            changes: Changes::default(),
        };
        inner.add_files(files);
        Catalog { streams, inner: Mutex::new(inner), watcher: OnceLock::new() }
    }

    pub fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Tells `watcher` of rows from now on; the first one stays.
    pub fn watch(&self, watcher: Arc<dyn RowWatcher>) {
        let _ = self.watcher.set(watcher);
    }

    /// Whether rows should wait for the watcher.
    pub fn is_watcher_behind(&self) -> bool {
        self.watcher.get().is_some_and(|watcher| watcher.is_behind())
    }

    /// Makes durable records visible, in their order. Answers the rows kept, where there are any: repeats are dropped.
    pub fn append(
        &self,
        arrivals: impl IntoIterator<Item = (Lsn, Arrival)>,
        now: UnixNanos,
    ) -> Vec<(Lsn, TenantId, RecordBatch)> {
        let mut inner = self.inner.lock();
        let mut all_kept = Vec::new();
        for (lsn, arrival) in arrivals {
            inner.changes.rows_came(&arrival.tenant, arrival.rows.column(0).as_primitive::<Int64Type>().values());
            let kept = inner.head.append(lsn, &arrival.tenant, arrival.rows, &arrival.hashes, now);
            if kept.num_rows() > 0 {
                if let Some(watcher) = self.watcher.get() {
                    watcher.rows_visible(&arrival.tenant, &kept, &PUSHED, now);
                }
                all_kept.push((lsn, arrival.tenant, kept));
            }
        }
        all_kept
    }

    /// Makes rows of a source visible, with how far it has come.
    ///
    /// # Errors
    /// `SourceGap` when the step does not begin where the source ended: nothing is appended.
    pub fn append_source(
        &self,
        step: TxnStep,
        rows: Vec<(TenantId, RecordBatch)>,
        now: UnixNanos,
    ) -> Result<usize, SourceGap> {
        let mut inner = self.inner.lock();
        let source = step.app_id.clone();
        let visible = rows.clone();
        let kept = inner.head.append_source(step, rows, now)?;
        for (tenant, rows) in visible {
            inner.changes.rows_came(&tenant, rows.column(0).as_primitive::<Int64Type>().values());
            if let Some(watcher) = self.watcher.get() {
                watcher.rows_visible(&tenant, &rows, &source, now);
            }
        }
        Ok(kept)
    }

    /// Forgets what was read of a source and is in no file: another process reads it again.
    pub fn drop_source(&self, app_id: &str) {
        let mut inner = self.inner.lock();
        inner.head.drop_source(app_id);
        for sealed in &mut inner.flushing {
            if sealed.steps.iter().any(|step| &*step.app_id == app_id) {
                *sealed = Arc::new(sealed.without_source(app_id));
            }
        }
        inner.changes.everything_changed();
        if let Some(watcher) = self.watcher.get() {
            watcher.source_dropped(app_id);
        }
    }

    /// Tells the head of rows that were flushed before a restart.
    pub fn remember_flushed(&self, hashes: &[RowHash]) {
        self.inner.lock().head.remember_flushed(hashes);
    }

    /// The heads that wait for their files, oldest first.
    pub fn sealed(&self) -> Vec<Arc<SealedHead>> {
        self.inner.lock().flushing.clone()
    }

    /// Moves the head aside for a flush; `None` when it has no rows.
    pub fn seal(&self) -> Option<Arc<SealedHead>> {
        let mut inner = self.inner.lock();
        let sealed = Arc::new(inner.head.seal()?);
        inner.flushing.push(sealed.clone());
        Some(sealed)
    }

    /// Replaces a sealed head by the files that now hold its rows.
    pub fn flushed(&self, sealed: &Arc<SealedHead>, files: Vec<DataFile>) {
        let mut inner = self.inner.lock();
        inner.flushing.retain(|other| other.number != sealed.number);
        inner.add_files(files);
    }

    /// Takes over what another process committed.
    pub fn apply(&self, change: Change) {
        let mut inner = self.inner.lock();
        inner.remove_files(&change.removed);
        for file in &change.added {
            let range = TimeRange::new(file.ts_min, file.ts_max.saturating_add(1));
            inner.changes.range_changed(&file.tenant, range);
        }
        inner.add_files(change.added);
    }

    /// What a query of `tenant` over `range` may read.
    pub fn snapshot(&self, tenant: &TenantId, range: TimeRange) -> Snapshot {
        self.snapshot_marked(tenant, range, || {})
    }

    /// As [`Catalog::snapshot`]; `mark` is called in the same moment: rows the watcher was told of before are in the
    /// snapshot, those it is told of afterwards are not.
    pub fn snapshot_marked(&self, tenant: &TenantId, range: TimeRange, mark: impl FnOnce()) -> Snapshot {
        let inner = self.inner.lock();
        mark();
        let mut parts = Vec::new();
        for sealed in &inner.flushing {
            parts.extend(sealed.tenants.get(tenant).into_iter().flatten().cloned());
        }
        parts.extend(inner.head.parts(tenant));
        parts.retain(|part| range.overlaps_closed(part.bounds().0, part.bounds().1));
        let mut files = Vec::new();
        if let Some(days) = inner.files.get(tenant).filter(|_| !range.is_empty()) {
            let last = UnixNanos(range.end.0.saturating_sub(1)).day();
            for file in days.range(range.start.day()..=last).flat_map(|(_, files)| files) {
                if range.overlaps_closed(file.ts_min, file.ts_max) {
                    files.push(file.clone());
                }
            }
        }
        Snapshot { parts, files }
    }

    /// The latest change there is; take it before the snapshot of the answer it is kept with.
    pub fn change_seq(&self) -> ChangeSeq {
        self.inner.lock().changes.now()
    }

    /// Whether rows of `tenant` with times in `range` came or went after `seq`.
    pub fn changed_since(&self, tenant: &TenantId, range: TimeRange, seq: ChangeSeq) -> bool {
        self.inner.lock().changes.changed_since(tenant, range, seq)
    }

    /// Tells those who kept answers that rows in `range` may be gone or different.
    pub fn range_changed(&self, tenant: &TenantId, range: TimeRange) {
        self.inner.lock().changes.range_changed(tenant, range);
    }

    pub fn head_stats(&self) -> HeadStats {
        self.inner.lock().head.stats()
    }

    /// Sealed heads that wait for their files, and their bytes.
    pub fn flushing(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.flushing.len(), inner.flushing.iter().map(|sealed| sealed.bytes).sum())
    }

    pub fn file_totals(&self) -> FileTotals {
        self.inner.lock().totals
    }

    /// Distinct streams in heads, by tenant.
    pub fn head_streams(&self) -> Vec<(TenantId, usize)> {
        let inner = self.inner.lock();
        let mut refs: HashMap<TenantId, Vec<u32>> = HashMap::new();
        let tenants: Vec<TenantId> = inner.head.rows_by_tenant().map(|(tenant, _)| tenant.clone()).collect();
        let sealed =
            inner.flushing.iter().flat_map(|sealed| sealed.tenants.iter().map(|(t, p)| (t.clone(), p.clone())));
        let open = tenants.into_iter().map(|tenant| (tenant.clone(), inner.head.parts(&tenant)));
        for (tenant, parts) in sealed.chain(open) {
            let seen = refs.entry(tenant).or_default();
            seen.extend(parts.iter().flat_map(|part| part.streams().iter().map(|stream| stream.0)));
        }
        refs.into_iter()
            .map(|(tenant, mut seen)| {
                seen.sort_unstable();
                seen.dedup();
                (tenant, seen.len())
            })
            .collect()
    }
}

impl Inner {
    /// Adds files; one that is there already is there once.
    fn add_files(&mut self, files: Vec<DataFile>) {
        for file in files {
            let of_day = self.files.entry(file.tenant.clone()).or_default().entry(file.day).or_default();
            if of_day.iter().any(|known| known.path == file.path) {
                continue;
            }
            self.totals.files += 1;
            self.totals.rows += file.rows;
            self.totals.bytes += file.bytes;
            of_day.push(Arc::new(file));
        }
    }

    fn remove_files(&mut self, paths: &[String]) {
        if paths.is_empty() {
            return;
        }
        let gone: HashSet<&str> = paths.iter().map(String::as_str).collect();
        for of_day in self.files.values_mut().flat_map(BTreeMap::values_mut) {
            of_day.retain(|file| {
                let stays = !gone.contains(file.path.as_str());
                if !stays {
                    self.totals.files -= 1;
                    self.totals.rows -= file.rows;
                    self.totals.bytes -= file.bytes;
                }
                stays
            });
        }
    }
}
