//! The store: opened, appended to, asked, flushed, closed.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::{ObjectStore, path::Path};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::codec::{self, Batches};
use super::flush::FlushReport;
use super::history::{History, ReadError, joined};
use super::memory::{Memory, MemoryLimits};
use super::settings::DerivedSettings;
use crate::files::table::{Table, TableError, schema};
use crate::promql::{Matcher, RawSeries, Selection, SeriesSource};
use crate::seal::record::{RecordOpener, RecordSealer};
use crate::store::Sealing;
use crate::store::{Opened, StoreError};
use crate::types::ids::{Lsn, TenantId};
use crate::types::labels::Labels;
use crate::types::sample::{Sample, SampleError, SampleSink};
use crate::types::time::{Clock, NANOS_PER_MILLI, UnixNanos};
use crate::wal::{DirectoryLock, FsyncPolicy, Wal, WalConfig, WalError, make_whole, open_record, replay};

/// Bytes of samples that wait for the log; more are refused until `sync` has taken them.
const PENDING_BYTES_MAX: usize = 64 << 20;
/// Bytes of a pending sample beside its labels.
const PENDING_SAMPLE_BYTES: usize = 64;
/// How often pending samples go to the log though nobody asked, and a flush is thought of.
const TICK: Duration = Duration::from_secs(1);
/// Bytes of one segment of the log.
const SEGMENT_BYTES_MAX: u64 = 16 << 20;

/// Where else samples go, such as a Prometheus receiver.
#[async_trait]
pub trait Forward: Send + Sync {
    /// Returns when what is handed over survives `kill -9`.
    async fn forward(&self, batches: &[(TenantId, Vec<Sample>)]) -> Result<(), SampleError>;
}

/// Where and how the store keeps its log and table.
#[derive(Debug, Clone)]
pub struct DerivedPlace {
    pub data_dir: PathBuf,
    pub fsync: FsyncPolicy,
    /// How both are encrypted, if they are.
    pub sealing: Option<Sealing>,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DerivedError {
    #[error("creating {path}: {source}")]
    Directory { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Location(#[from] StoreError),
    #[error("the table of metrics: {0}")]
    Table(#[from] TableError),
    #[error("the log of metrics: {0}")]
    Wal(#[from] WalError),
    #[error("the log of metrics: {0}")]
    Record(String),
}

/// What the store holds and does, for metrics.
#[derive(Debug, Clone, Copy, Default)]
pub struct DerivedStats {
    pub memory_bytes: usize,
    pub memory_series: usize,
    pub memory_samples: usize,
    pub pending_bytes: usize,
    pub files: usize,
    pub file_bytes: u64,
    pub index_bytes: u64,
    pub appended: u64,
    pub refused: u64,
    pub log_records: u64,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) memory: RwLock<Memory>,
    pub(super) limits: MemoryLimits,
    pub(super) history: History,
    pub(super) table: Table,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    pub(super) clock: Clock,
    pub(super) wal: Wal<()>,
    /// Who the log is in the table.
    pub(super) app_id: String,
    settings: DerivedSettings,
    /// Samples that the log does not have yet.
    pending: Mutex<Batches>,
    pending_bytes: AtomicUsize,
    syncing: tokio::sync::Mutex<()>,
    /// The last record of the log.
    pub(super) synced: AtomicU64,
    /// The last record that is in a file; held through a flush.
    pub(super) flushed: tokio::sync::Mutex<Lsn>,
    pub(super) sequence: Mutex<u64>,
    /// Removed files, and when they may go.
    pub(super) doomed: Mutex<Vec<(UnixNanos, crate::files::DataFile)>>,
    forwards: RwLock<Vec<Arc<dyn Forward>>>,
    appended: AtomicU64,
    refused: AtomicU64,
    stop: Notify,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.inner.root).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store at `place`, creating what is not there, and replays its log.
    pub async fn open(settings: DerivedSettings, place: DerivedPlace, clock: Clock) -> Result<Store, DerivedError> {
        let DerivedPlace { data_dir, fsync, sealing } = place;
        let location = settings.location(&data_dir)?;
        let Opened { store, root, .. } = location.open(sealing.as_ref())?;
        let (table, state) = Table::open_as(store.clone(), root.clone(), clock.clone(), &schema::METRICS).await?;
        let wal_dir = data_dir.join("metrics-wal");
        let failed = |source| DerivedError::Directory { path: wal_dir.clone(), source };
        std::fs::create_dir_all(&wal_dir).map_err(failed)?;
        let app_id = crate::wal::identity(&wal_dir, "millrace-metrics").map_err(failed)?;
        let flushed = Lsn(state.txns.get(&app_id).copied().and_then(|to| u64::try_from(to).ok()).unwrap_or(0));
        let limits = MemoryLimits {
            bytes_max: usize::try_from(settings.memory_bytes_max.0).unwrap_or(usize::MAX),
            series_max: settings.series_max,
        };
        let config = WalConfig { fsync, segment_bytes_max: SEGMENT_BYTES_MAX, ..WalConfig::default() };
        let opening = tokio::task::spawn_blocking(move || open_log(&wal_dir, config, sealing, flushed, limits));
        let (wal, memory, last) = opening.await.map_err(|error| DerivedError::Record(error.to_string()))??;
        let history = History::new(store.clone(), root.clone(), settings.index_cache_bytes.0, state.files);
        Ok(Store {
            inner: Arc::new(Inner {
                memory: RwLock::new(memory),
                limits,
                history,
                table,
                store,
                root,
                clock,
                wal,
                app_id,
                settings,
                pending: Mutex::default(),
                pending_bytes: AtomicUsize::new(0),
                syncing: tokio::sync::Mutex::new(()),
                synced: AtomicU64::new(last.max(flushed).0),
                flushed: tokio::sync::Mutex::new(flushed),
                sequence: Mutex::new(0),
                doomed: Mutex::default(),
                forwards: RwLock::default(),
                appended: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                stop: Notify::new(),
            }),
        })
    }

    /// Sends everything that is appended from now on there too.
    pub fn forward_to(&self, forward: Arc<dyn Forward>) {
        self.inner.forwards.write().push(forward);
    }

    /// Writes what is in no file yet.
    pub async fn flush(&self) -> Result<FlushReport, String> {
        let inner = self.inner.clone();
        let flushing = tokio::spawn(async move { inner.flush().await.map_err(|error| error.to_string()) });
        flushing.await.map_err(|error| error.to_string())?
    }

    /// Syncs, flushes and expires in time, until [`Store::close`].
    pub async fn run(self, report: impl Fn(&Result<FlushReport, String>) + Send) {
        let mut last_flush = self.inner.clock.now();
        loop {
            tokio::select! {
                () = self.inner.stop.notified() => return,
                () = tokio::time::sleep(TICK) => {}
            }
            if let Err(error) = self.sync().await {
                tracing::warn!(%error, "samples could not be written to their log; they are kept and tried again");
            }
            let now = self.inner.clock.now();
            let is_old = now.0.saturating_sub(last_flush.0) >= self.inner.settings.flush_max_age.nanos();
            let is_large = self.inner.memory.read().stats().bytes > self.inner.limits.bytes_max / 2;
            if is_old || is_large {
                report(&self.flush().await);
                last_flush = now;
            }
        }
    }

    /// Ends [`Store::run`], flushes, and closes the log.
    pub async fn close(&self) {
        self.inner.stop.notify_one();
        if let Err(error) = self.flush().await {
            tracing::warn!(error, "the last flush of metrics failed; the next start replays their log");
        }
        let inner = self.inner.clone();
        match tokio::task::spawn_blocking(move || inner.wal.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "closing the log of metrics failed"),
            Err(error) => tracing::error!(%error, "closing the log of metrics stopped"),
        }
    }

    /// Labels of series that match any of `selectors` and have samples between two times, both inside; sorted.
    pub async fn series(
        &self,
        tenant: &TenantId,
        selectors: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<Labels>, SampleError> {
        let start_ms = self.inner.from(start_ms);
        let mut found = Vec::new();
        for matchers in selectors {
            let of_files = self.inner.history.series(tenant, matchers, start_ms, end_ms).await;
            found.extend(of_files.map_err(|error| SampleError::Failed(error.to_string()))?);
            found.extend(self.inner.memory.read().series(tenant, matchers, start_ms, end_ms));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Samples that one question may hold.
    pub fn samples_max(&self) -> usize {
        self.inner.settings.query_max_samples
    }

    /// The newest sample of each series, no older than the look back; sorted by labels. Times in milliseconds.
    pub fn latest(&self, tenant: &TenantId) -> Vec<(Labels, (i64, f64))> {
        let since = self.inner.clock.now().saturating_sub(self.inner.settings.lookback_delta.nanos());
        self.inner.memory.read().latest(tenant, since.0.div_euclid(NANOS_PER_MILLI))
    }

    pub fn stats(&self) -> DerivedStats {
        let inner = &self.inner;
        let memory = inner.memory.read().stats();
        let files = inner.history.files();
        DerivedStats {
            memory_bytes: memory.bytes,
            memory_series: memory.series,
            memory_samples: memory.samples,
            pending_bytes: inner.pending_bytes.load(Ordering::Relaxed),
            files: files.len(),
            file_bytes: files.iter().map(|file| file.bytes).sum(),
            index_bytes: inner.history.index_bytes(),
            appended: inner.appended.load(Ordering::Relaxed),
            refused: inner.refused.load(Ordering::Relaxed),
            log_records: inner.wal.stats().records.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    /// Where memory begins once its samples are in files.
    pub(super) fn window_start_ms(&self) -> i64 {
        self.clock.now().saturating_sub(self.settings.memory_window.nanos()).0.div_euclid(NANOS_PER_MILLI)
    }

    /// Where samples begin at all.
    pub(super) fn retention_start_ms(&self) -> Option<i64> {
        let retention = self.settings.retention.nanos();
        (retention > 0).then(|| self.clock.now().saturating_sub(retention).0.div_euclid(NANOS_PER_MILLI))
    }

    fn from(&self, start_ms: i64) -> i64 {
        self.retention_start_ms().map_or(start_ms, |oldest| oldest.max(start_ms))
    }

    /// Hands pending samples to the log and to the forwards.
    ///
    /// Cancellation: run it where it is not cancelled.
    pub(super) async fn sync(&self) -> Result<(), SampleError> {
        let _turn = self.syncing.lock().await;
        let batches = std::mem::take(&mut *self.pending.lock());
        if batches.is_empty() {
            return Ok(());
        }
        let bytes = batches.iter().map(|(_, samples)| pending_bytes(samples)).sum::<usize>();
        if let Err(error) = self.log(&batches).await {
            let mut pending = self.pending.lock();
            let newer = std::mem::replace(&mut *pending, batches);
            pending.extend(newer);
            return Err(error);
        }
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Ok(())
    }

    async fn log(&self, batches: &Batches) -> Result<(), SampleError> {
        let logged = self.wal.append(codec::encode(batches).into(), ()).await;
        let lsn = logged.map_err(|error| SampleError::Failed(error.to_string()))?;
        self.synced.store(lsn.0, Ordering::Release);
        let forwards = self.forwards.read().clone();
        for forward in forwards {
            forward.forward(batches).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl SampleSink for Store {
    fn append(&self, tenant: &TenantId, samples: Vec<Sample>) -> Result<(), SampleError> {
        if samples.is_empty() {
            return Ok(());
        }
        let inner = &self.inner;
        let refuse = |error| {
            inner.refused.fetch_add(samples.len() as u64, Ordering::Relaxed);
            Err(error)
        };
        let bytes = pending_bytes(&samples);
        if inner.pending_bytes.load(Ordering::Relaxed) + bytes > PENDING_BYTES_MAX {
            return refuse(SampleError::Full(format!("{PENDING_BYTES_MAX} bytes of samples wait for their log")));
        }
        // The log gets samples in the order in which memory got them.
        let mut pending = inner.pending.lock();
        if let Err(error) = inner.memory.write().append(tenant, &samples, inner.limits) {
            return refuse(error);
        }
        inner.appended.fetch_add(samples.len() as u64, Ordering::Relaxed);
        inner.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        pending.push((tenant.clone(), samples));
        Ok(())
    }

    async fn sync(&self) -> Result<(), SampleError> {
        let inner = self.inner.clone();
        let syncing = tokio::spawn(async move { inner.sync().await });
        syncing.await.map_err(|error| SampleError::Failed(error.to_string()))?
    }
}

#[async_trait]
impl SeriesSource for Store {
    async fn select(
        &self,
        tenant: &TenantId,
        selection: &Selection,
        samples_max: usize,
    ) -> Result<Vec<RawSeries>, SampleError> {
        let (start_ms, end_ms) = (self.inner.from(selection.start_ms), selection.end_ms);
        let matchers = &selection.matchers;
        // Memory first: what moves from it to a file meanwhile is then seen twice rather than not at all.
        let memory = self.inner.memory.read().select(tenant, matchers, start_ms, end_ms);
        let files = self.inner.history.select(tenant, matchers, start_ms, end_ms, samples_max).await;
        let mut lists = files.map_err(|error| match error {
            ReadError::TooMany { .. } => SampleError::Full(error.to_string()),
            ReadError::Files(error) => SampleError::Failed(error.to_string()),
        })?;
        lists.push(memory);
        let series = joined(lists);
        if series.iter().map(|one| one.times.len()).sum::<usize>() > samples_max {
            return Err(SampleError::Full(format!("more than {samples_max} samples")));
        }
        Ok(series)
    }
}

fn pending_bytes(samples: &[Sample]) -> usize {
    let of_labels = |sample: &Sample| sample.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    samples.iter().map(|sample| PENDING_SAMPLE_BYTES + of_labels(sample)).sum()
}

/// Replays the log into a new memory and opens it for writing. Blocks.
fn open_log(
    dir: &FilePath,
    config: WalConfig,
    sealing: Option<Sealing>,
    flushed: Lsn,
    limits: MemoryLimits,
) -> Result<(Wal<()>, Memory, Lsn), DerivedError> {
    let lock = DirectoryLock::take(dir)?;
    let sealer = sealing.as_ref().map(|sealing| RecordSealer::new(&sealing.keys)).transpose();
    let sealer = sealer.map_err(|error| DerivedError::Record(error.to_string()))?;
    let mut opener = sealing.map(|sealing| RecordOpener::new(sealing.keys, sealing.allow_plain));
    let mut memory = Memory::default();
    // What was acknowledged before fits now, whatever the limits have become.
    let unlimited = MemoryLimits { bytes_max: usize::MAX, series_max: usize::MAX };
    make_whole(dir, &dir.join("quarantine"), flushed)?;
    let end = replay(dir, |record| {
        // An empty one was put in place of one that is lost.
        if record.lsn <= flushed || record.payload.is_empty() {
            return Ok(());
        }
        let payload = open_record(opener.as_mut(), &record)?;
        let batches = codec::decode(&payload).map_err(|error| DerivedError::Record(error.to_string()))?;
        for (tenant, samples) in batches {
            memory.append(&tenant, &samples, unlimited).map_err(|error| DerivedError::Record(error.to_string()))?;
        }
        Ok::<_, DerivedError>(())
    })?;
    if memory.stats().bytes > limits.bytes_max {
        tracing::warn!(
            bytes = memory.stats().bytes,
            "the log of metrics holds more than memory_bytes_max; it is flushed"
        );
    }
    Ok((Wal::open_sealed(lock, dir, config, end, sealer, |_| {})?, memory, end.last))
}
