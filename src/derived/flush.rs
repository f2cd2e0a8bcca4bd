//! Samples from memory to files.
//!
//! ```text
//! sync (log position L) ─▶ take dirty ─▶ by tenant and day ─▶ with the day's small files when there are many ─▶ encode
//!  ─▶ put ─▶ commit(add, remove, txn = L) ─▶ memory forgets what is old ─▶ log truncated through L
//! ```
//!
//! Whatever fails, the samples are dirty again and the next flush takes them; a sample that lands twice is one sample.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStoreExt;

use super::file::{encode, in_order};
use super::memory::{Dirty, Point};
use super::store::Inner;
use crate::files::table::{DataFile, OPERATION_DELETE, OPERATION_WRITE, TableError};
use crate::files::write::{EncodedFile, put};
use crate::types::ids::{IngestSeq, Lsn, TenantId};
use crate::types::labels::Labels;
use crate::types::time::{NANOS_PER_DAY, NANOS_PER_MILLI, UnixNanos};
use crate::types::txn::{After, TxnStep};

/// Files of one tenant and day that are let be; one more, and the small ones become one.
const DAY_FILES_MAX: usize = 8;
/// Bytes of a file that is no longer small.
const SMALL_FILE_BYTES: u64 = 32 << 20;
/// How long a removed file stays for readers that still have it open.
const GRACE_NS: i64 = 3_600 * 1_000_000_000;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What one flush did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlushReport {
    pub samples: usize,
    /// Files written, and files that they replaced.
    pub files: usize,
    pub replaced: usize,
    /// Files whose samples were older than the retention.
    pub expired: usize,
}

/// Series of one tenant and day.
type Day = (TenantId, i32, Vec<(Labels, Vec<Point>)>);

impl Inner {
    /// Writes what is in no file yet. One at a time.
    ///
    /// Cancellation: run it where it is not cancelled; samples that were taken would wait for a restart.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<FlushReport, AnyError> {
        let mut flushed = self.flushed.lock().await;
        self.sync().await?;
        let through = Lsn(self.synced.load(std::sync::atomic::Ordering::Acquire));
        let taken = self.memory.write().take_dirty();
        let mut report = FlushReport::default();
        match self.write(&taken, through, *flushed, &mut report).await {
            Ok(()) => {}
            Err(error) => {
                self.memory.write().return_dirty(taken);
                return Err(error);
            }
        }
        *flushed = through;
        self.memory.write().evict(self.window_start_ms());
        self.shed_when_tight();
        self.expire(&mut report).await?;
        self.remove_doomed().await;
        let inner = self.clone();
        tokio::task::spawn_blocking(move || inner.wal.truncate_through(through)).await??;
        Ok(report)
    }

    async fn write(
        self: &Arc<Self>,
        taken: &Dirty,
        through: Lsn,
        flushed: Lsn,
        report: &mut FlushReport,
    ) -> Result<(), AnyError> {
        let mut added = Vec::new();
        let mut removed = Vec::new();
        for (tenant, day, mut series) in by_day(taken) {
            report.samples += series.iter().map(|(_, points)| points.len()).sum::<usize>();
            let small = self.small_files(&tenant, day);
            if small.len() >= DAY_FILES_MAX {
                let mut all = Vec::new();
                for file in &small {
                    for raw in self.history.read_all(file).await? {
                        all.push((raw.labels, raw.times.into_iter().zip(raw.values).collect::<Vec<_>>()));
                    }
                }
                all.append(&mut series);
                series = merged(all);
                removed.extend(small);
            }
            in_order(&mut series);
            let seq = self.next_sequence();
            let encoding = tokio::task::spawn_blocking(move || encode(&tenant, day, seq, &series));
            let encoded: EncodedFile = encoding.await??;
            added.push(put(&*self.store, &self.root, encoded).await?);
        }
        (report.files, report.replaced) = (added.len(), removed.len());
        if added.is_empty() {
            return Ok(());
        }
        let step = TxnStep { app_id: self.app_id.as_str().into(), after: After::AnyLower, to: through.position() };
        let txns = if through > flushed { vec![step] } else { Vec::new() };
        match self.table.commit(&added, &removed, &txns, OPERATION_WRITE).await {
            Ok(_) => {}
            // An earlier try landed though it seemed to fail: its files are the table's, these are nobody's.
            Err(TableError::AlreadyCommitted { recorded_at: Some(version), .. }) => {
                let landed = self.table.added_at(version).await?;
                self.doom(&added);
                added = landed;
            }
            Err(error) => return Err(error.into()),
        }
        self.history.change(added, &removed);
        self.doom(&removed);
        Ok(())
    }

    fn small_files(&self, tenant: &TenantId, day: i32) -> Vec<DataFile> {
        let is_small = |file: &&DataFile| file.tenant == *tenant && file.day == day && file.bytes < SMALL_FILE_BYTES;
        self.history.files().iter().filter(is_small).cloned().collect()
    }

    /// Greater than that of any file: files with greater ones hold newer samples.
    fn next_sequence(&self) -> IngestSeq {
        let newest = self.history.files().iter().map(|file| file.seq.0).max().unwrap_or(0);
        let mut sequence = self.sequence.lock();
        *sequence = (*sequence).max(newest) + 1;
        IngestSeq(*sequence)
    }

    /// Removes files that are older than the retention.
    async fn expire(&self, report: &mut FlushReport) -> Result<(), AnyError> {
        let Some(cutoff_ms) = self.retention_start_ms() else { return Ok(()) };
        let is_old = |file: &&DataFile| file.ts_max < UnixNanos(cutoff_ms.saturating_mul(NANOS_PER_MILLI));
        let old: Vec<DataFile> = self.history.files().iter().filter(is_old).cloned().collect();
        if old.is_empty() {
            return Ok(());
        }
        self.table.commit(&[], &old, &[], OPERATION_DELETE).await?;
        self.history.change(Vec::new(), &old);
        self.doom(&old);
        report.expired = old.len();
        Ok(())
    }

    fn doom(&self, files: &[DataFile]) {
        let due = self.clock.now().saturating_add(GRACE_NS);
        self.doomed.lock().extend(files.iter().map(|file| (due, file.clone())));
    }

    /// Deletes files that have been removed long enough.
    async fn remove_doomed(&self) {
        let now = self.clock.now();
        let due: Vec<DataFile> = {
            let mut doomed = self.doomed.lock();
            let (due, waiting) = doomed.drain(..).partition(|(due, _)| *due <= now);
            *doomed = waiting;
            let due: Vec<(UnixNanos, DataFile)> = due;
            due.into_iter().map(|(_, file)| file).collect()
        };
        for file in due {
            match self.store.delete(&file.location(&self.root)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, path = file.path, "a removed file of metrics could not be deleted")
                }
            }
        }
    }

    /// When samples that are in files fill more than half of the memory, they go before their time.
    fn shed_when_tight(&self) {
        let mut memory = self.memory.write();
        if memory.stats().bytes > self.limits.bytes_max / 2 {
            memory.evict(i64::MAX);
            tracing::warn!(
                bytes = memory.stats().bytes,
                bytes_max = self.limits.bytes_max,
                "derived metrics keep only what is in no file, for lack of memory; raise millrace.metrics.memory_bytes_max"
            );
        }
    }
}

fn by_day(taken: &Dirty) -> Vec<Day> {
    let mut days: Vec<Day> = Vec::new();
    for (tenant, series) in taken {
        let mut of_tenant: BTreeMap<i32, Vec<(Labels, Vec<Point>)>> = BTreeMap::new();
        for (labels, points) in series {
            let mut of_series: BTreeMap<i32, Vec<Point>> = BTreeMap::new();
            for point in points {
                of_series.entry(day_of(point.0)).or_default().push(*point);
            }
            for (day, points) in of_series {
                of_tenant.entry(day).or_default().push((labels.clone(), points));
            }
        }
        days.extend(of_tenant.into_iter().map(|(day, series)| (tenant.clone(), day, series)));
    }
    days
}

fn day_of(time_ms: i64) -> i32 {
    let days = time_ms.div_euclid(NANOS_PER_DAY / NANOS_PER_MILLI);
    i32::try_from(days).unwrap_or(if days < 0 { i32::MIN } else { i32::MAX })
}

/// Lists of the same labels as one, in their order.
fn merged(all: Vec<(Labels, Vec<Point>)>) -> Vec<(Labels, Vec<Point>)> {
    let mut by_labels: BTreeMap<Labels, Vec<Point>> = BTreeMap::new();
    for (labels, mut points) in all {
        by_labels.entry(labels).or_default().append(&mut points);
    }
    by_labels.into_iter().collect()
}
