//! What is visible now: the head, the heads being flushed, and the files, changed together.
//!
//! ```text
//!  append ─▶ head ─seal─▶ flushing ─flushed─▶ files        one lock: a snapshot sees a row in exactly one place
//! ```
//!
//! Invariant: every acknowledged row is in the head, in one sealed head, or in one file.
//! The lock is held for moments, never across an await.

mod changes;
mod files;
mod hides;
mod replicas;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parking_lot::Mutex;

use crate::files::DataFile;
use crate::files::table::Change;
use crate::head::{Head, HeadPart, HeadStats, RowHash, SealedHead, SourceGap};
use crate::streams::Streams;
use crate::types::ids::{IngestSeq, Lsn, TenantId};
use crate::types::time::{TimeRange, UnixNanos};
use crate::types::txn::TxnStep;

pub use changes::ChangeSeq;
use changes::Changes;
use files::FileSet;
pub use files::{Partition, Retired};
pub use hides::{Hide, RowPredicate};
use replicas::Replicas;
pub use replicas::{ReplicaRows, Unflushed};

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
    files: FileSet,
    changes: Changes,
    /// The newest ingest sequence given out.
    seq: IngestSeq,
    /// Sequence of the head before this one, whose rows are known as repeats.
    remembered_since: IngestSeq,
    hides: HashMap<TenantId, Vec<Arc<Hide>>>,
    /// Recent rows of other processes.
    replicas: Replicas,
    sources_dropped: u64,
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
    /// What is hidden of their rows.
    pub hides: Vec<Arc<Hide>>,
}

/// What lies between rows that are there and rows that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// All rows there are came in at or before, those that come later.
    pub seq: IngestSeq,
    /// The last record of the log among them.
    pub last_lsn: Lsn,
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
        let seq = files.iter().map(|file| file.seq).max().unwrap_or_default();
        let inner = Inner {
            head: Head::new(flushed),
            flushing: Vec::new(),
            seq,
            remembered_since: seq,
            files: FileSet::of_table(files),
            changes: Changes::default(),
            hides: HashMap::new(),
            replicas: Replicas::default(),
            sources_dropped: 0,
        };
        Catalog { streams, inner: Mutex::new(inner), watcher: OnceLock::new() }
    }

    /// The same, of a table in which sources have come so far.
    pub fn with_committed(self, committed: HashMap<Arc<str>, i64>) -> Self {
        self.inner.lock().replicas = Replicas::new(committed);
        self
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
        inner.begin_head(now);
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
        inner.begin_head(now);
        let source = step.app_id.clone();
        let visible = rows.clone();
        let kept = inner.head.append_source(step, rows, now)?;
        inner.replicas.source_moved(&source, None);
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
        inner.sources_dropped += 1;
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
        self.inner.lock().seal()
    }

    /// Replaces a sealed head by the files that now hold its rows.
    pub fn flushed(&self, sealed: &Arc<SealedHead>, files: Vec<DataFile>) {
        let mut inner = self.inner.lock();
        inner.flushing.retain(|other| other.number != sealed.number);
        inner.files.add(files);
    }

    /// Exchanges files for others, at once: `added` hold the rows of `removed` that are not hidden or expired.
    pub fn replace(&self, removed: &[Arc<DataFile>], added: Vec<DataFile>, now: UnixNanos) {
        let mut inner = self.inner.lock();
        inner.files.remove(removed, now);
        inner.files.add(added);
    }

    /// Takes over what another process committed.
    pub fn apply(&self, change: Change, now: UnixNanos) {
        let mut inner = self.inner.lock();
        for file in inner.files.remove_paths(&change.removed, now) {
            if !change.rows_stay {
                let range = TimeRange::new(file.ts_min, file.ts_max.saturating_add(1));
                inner.changes.range_changed(&file.tenant, range);
            }
        }
        for file in change.added.iter().filter(|_| !change.rows_stay) {
            let range = TimeRange::new(file.ts_min, file.ts_max.saturating_add(1));
            inner.changes.range_changed(&file.tenant, range);
        }
        inner.files.add(change.added);
        inner.replicas.committed(&change.txns);
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
        parts.extend(inner.replicas.parts(tenant).cloned());
        parts.retain(|part| range.overlaps_closed(part.bounds().0, part.bounds().1));
        let files = inner.files.overlapping(tenant, range);
        let overlaps =
            |hide: &&Arc<Hide>| !range.is_empty() && hide.range.start < range.end && range.start < hide.range.end;
        let hides = inner.hides.get(tenant).into_iter().flatten().filter(overlaps).cloned().collect();
        Snapshot { parts, files, hides }
    }

    /// The live files by tenant and day, in their order.
    pub fn partitions(&self) -> Vec<Partition> {
        self.inner.lock().files.partitions()
    }

    /// The live files of one tenant and day.
    pub fn files_of(&self, tenant: &TenantId, day: i32) -> Vec<Arc<DataFile>> {
        self.inner.lock().files.of_day(tenant, day).to_vec()
    }

    /// Takes the files out that went at or before `until` and that no snapshot holds any more.
    pub fn take_unread(&self, until: UnixNanos) -> Vec<Retired> {
        self.inner.lock().files.take_unread(until)
    }

    /// Puts back what [`Catalog::take_unread`] gave and could not be deleted.
    pub fn retire(&self, retired: Vec<Retired>) {
        self.inner.lock().files.retire(retired);
    }

    /// Files that are gone and not deleted yet.
    pub fn retired(&self) -> Vec<Retired> {
        self.inner.lock().files.retired().to_vec()
    }

    /// Draws a line between the rows there are now and those that come: sets the head aside.
    pub fn draw_line(&self, now: UnixNanos) -> Line {
        let mut inner = self.inner.lock();
        inner.seal();
        Line { seq: inner.next_seq(now), last_lsn: inner.head.last_lsn() }
    }

    /// The newest ingest sequence given out.
    pub fn newest_seq(&self) -> IngestSeq {
        self.inner.lock().seq
    }

    /// When the oldest rows came in of which repeats are still known.
    pub fn remembered_since(&self) -> IngestSeq {
        self.inner.lock().remembered_since
    }

    /// Takes rows that come again for new ones: they were deleted.
    pub fn forget_repeats(&self, hashes: &[RowHash]) {
        self.inner.lock().head.forget(hashes);
    }

    /// Hides rows from now on.
    pub fn hide(&self, hide: Hide) {
        let mut inner = self.inner.lock();
        inner.seq = inner.seq.max(hide.ceiling);
        inner.changes.range_changed(&hide.tenant, hide.range);
        let of_tenant = inner.hides.entry(hide.tenant.clone()).or_default();
        of_tenant.retain(|other| other.id != hide.id);
        of_tenant.push(Arc::new(hide));
    }

    /// Ends a hide: its rows are gone, or are to be seen again.
    pub fn unhide(&self, tenant: &TenantId, id: &str) {
        let mut inner = self.inner.lock();
        let Some(of_tenant) = inner.hides.get_mut(tenant) else { return };
        let Some(at) = of_tenant.iter().position(|hide| &*hide.id == id) else { return };
        let hide = of_tenant.remove(at);
        inner.changes.range_changed(&hide.tenant, hide.range);
    }

    /// What is hidden of a tenant's rows, oldest request first.
    pub fn hides(&self, tenant: &TenantId) -> Vec<Arc<Hide>> {
        self.inner.lock().hides.get(tenant).cloned().unwrap_or_default()
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
        self.inner.lock().files.totals()
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
    /// Says when the rows of an empty head come in.
    fn begin_head(&mut self, now: UnixNanos) {
        if self.head.stats().is_empty() {
            let seq = self.next_seq(now);
            self.head.begin(seq);
        }
    }

    fn seal(&mut self) -> Option<Arc<SealedHead>> {
        let sealed = Arc::new(self.head.seal()?);
        self.remembered_since = sealed.seq;
        self.flushing.push(sealed.clone());
        Some(sealed)
    }

    fn next_seq(&mut self, now: UnixNanos) -> IngestSeq {
        self.seq = IngestSeq(u64::try_from(now.0).unwrap_or(0).max(self.seq.0 + 1));
        self.seq
    }
}
