//! Opens one data directory: table, log, head, engine; and closes them in order.
//!
//! ```text
//! DATA/logs   the Delta table        DATA/wal   the write-ahead log and its identity
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::last_flush::{files_of_last_flush, remember};
use crate::backup::RESTORING;
use crate::catalog::{Arrival, Catalog, Hide};
use crate::files::FileIndexes;
use crate::files::fields::LineLayout;
use crate::files::table::{RemovedFile, Table, TableError, TableState, mend};
use crate::head::RowHash;
use crate::ingest::arrivals::Arrivals;
use crate::ingest::flush::{FlushReport, Flusher};
use crate::ingest::flush_plan::{FlushLimits, FlushReason};
use crate::ingest::shard::{IngestError, Shard, apply_to, replay_payload};
use crate::query::{Engine, EngineLimits, QueryError};
use crate::seal::record::{RecordOpener, RecordSealer};
use crate::store::{BlockCache, Location, Opened, Sealing, StoreStats, TierPlace, TierStats, check_conditional_put};
use crate::streams::Streams;
use crate::types::ids::Lsn;
use crate::types::time::Clock;
use crate::upkeep::deletes::Ledger;
use crate::wal::{DirectoryLock, Wal, WalConfig, identity, make_whole, open_record, replay};

/// How long a stop waits for the last flush: a bucket that is gone must not hold it up.
const LAST_FLUSH_WAIT: Duration = Duration::from_secs(20);

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    pub data_dir: PathBuf,
    /// Where the table lies.
    pub table: Location,
    /// Where older files lie, warmest first.
    pub tiers: Vec<TierPlace>,
    /// Of what is read of buckets.
    pub cache: BlockCache,
    /// How the table and the log are encrypted, if they are.
    pub sealing: Option<Sealing>,
    /// How often commits of other processes are looked for; none when there are no others.
    pub follow_interval: Option<Duration>,
    pub flush: FlushLimits,
    /// How files keep lines.
    pub layout: LineLayout,
    pub wal: WalConfig,
    pub engine: EngineLimits,
    /// Parsed footers kept, bytes.
    pub index_cache_bytes: u64,
}

/// What was found when the store was opened.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub files: u64,
    pub file_rows: u64,
    pub replayed_records: u64,
    pub replayed_rows: u64,
    /// Records of the log that are lost: see the log of the program.
    pub lost_records: u64,
}

/// An open data directory.
pub struct Store {
    pub shard: Arc<Shard>,
    pub flusher: Arc<Flusher>,
    pub engine: Engine,
    pub found: Found,
    /// What was asked of the table's store.
    pub table_stats: Arc<StoreStats>,
    pub table: Arc<Table>,
    /// Where the table lies.
    pub objects: Arc<dyn ObjectStore>,
    pub root: ObjectPath,
    /// Files that left the table before it was opened.
    pub removed: Vec<RemovedFile>,
    /// Deletes asked for; those that are not carried out are hidden.
    pub ledger: Arc<Ledger>,
    pub tier_stats: TierStats,
    /// Where tiers are in `objects`.
    pub tier_roots: Vec<ObjectPath>,
    /// How often commits of other processes are looked for; none when there are no others.
    pub follow_interval: Option<Duration>,
    indexes: FileIndexes,
    stop_flushing: Arc<Notify>,
    flush_loop: Option<JoinHandle<()>>,
    /// Queries run here; dropped last, off the async threads.
    query_threads: Option<tokio::runtime::Runtime>,
}

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {}: {doing}: {source}", path.display())]
pub struct OpenError {
    path: PathBuf,
    doing: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Store {
    /// Opens `settings.data_dir`, creating what is not there, and replays the log.
    pub async fn open(
        settings: StoreSettings,
        clock: Clock,
        on_flush: Box<dyn Fn(&FlushReport) + Send + Sync>,
    ) -> Result<Store, OpenError> {
        let data_dir = settings.data_dir.clone();
        let failed = |doing: &'static str| {
            let path = data_dir.clone();
            move |source: Box<dyn std::error::Error + Send + Sync>| OpenError { path, doing, source }
        };
        if settings.data_dir.join(RESTORING).exists() {
            return Err(failed("looking at it")(
                "a restore was cut short here; run `millrace backup restore` again".into(),
            ));
        }
        let wal_dir = settings.data_dir.join("wal");
        std::fs::create_dir_all(&wal_dir).map_err(|e| failed("creating directories")(e.into()))?;
        let app_id = identity(&wal_dir, "millrace-wal").map_err(|e| failed("reading the log's identity")(e.into()))?;
        let (sealing, cache) = (settings.sealing.as_ref(), Some(&settings.cache));
        let opened = settings.table.open_cached(sealing, cache);
        let opened = opened.map_err(|e| failed("opening the table's store")(e.into()))?;
        if settings.table.is_bucket() {
            let checked = check_conditional_put(&opened, &settings.table).await;
            checked.map_err(|e| failed("reaching the table's bucket")(e.into()))?;
        }
        let joined = opened.with_tiers(&settings.tiers, sealing, cache);
        let (opened, tier_stats) = joined.map_err(|e| failed("opening the stores of tiers")(e.into()))?;
        let (table, state) = open_table(&opened, &clock, settings.follow_interval.is_none())
            .await
            .map_err(|e| failed("opening the table")(e.into()))?;
        let Opened { store, root, stats: table_stats, mut roots, .. } = opened;
        let tier_roots = roots.split_off(1);
        let flushed = Lsn(state.txns.get(&app_id).copied().unwrap_or(0).try_into().unwrap_or(0));
        let streams = Arc::new(Streams::default());
        let indexes = FileIndexes::new(store.clone(), root.clone(), streams.clone(), settings.index_cache_bytes);
        let last_flush = files_of_last_flush(&state.files, settings.follow_interval.is_some());
        let committed = state.txns.iter().map(|(source, position)| (source.as_str().into(), *position)).collect();
        let catalog = Arc::new(Catalog::new(streams, state.files, flushed).with_committed(committed));
        let ledger =
            Ledger::load(store.clone(), root.clone()).await.map_err(|e| failed("reading the ledger")(e.into()))?;
        let deleted = hide_deleted(&catalog, &ledger, &app_id).map_err(|e| failed("hiding deleted rows")(e.into()))?;
        let ledger = Arc::new(ledger);
        remember(&catalog, &indexes, &last_flush).await;
        let flush_due = Arc::new(Notify::new());
        let arrivals = Arrivals::default();
        let on_durable = apply_to(catalog.clone(), clock.clone(), settings.flush, flush_due.clone(), arrivals.clone());
        let (wal, replayed) = open_wal(&wal_dir, &settings, flushed, &catalog, deleted, &clock, on_durable)
            .await
            .map_err(failed("replaying the write-ahead log"))?;
        let totals = catalog.file_totals();
        let found = Found { files: totals.files, file_rows: totals.rows, ..replayed };
        let query_threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.engine.threads)
            .thread_name("query")
            .enable_all()
            .build()
            .map_err(|e| failed("starting the query threads")(e.into()))?;
        let engine = Engine::new(
            catalog.clone(),
            indexes.clone(),
            settings.engine,
            clock.clone(),
            query_threads.handle().clone(),
        )
        .map_err(|e| failed("setting up the query engine")(e.into()))?;
        let shard = Arc::new(Shard::new(wal, catalog, settings.flush, clock.clone(), flush_due, arrivals));
        let table = Arc::new(table);
        let flusher = Arc::new(Flusher::new(
            shard.clone(),
            table.clone(),
            store.clone(),
            root.clone(),
            app_id,
            settings.layout,
            flushed,
            clock,
            on_flush,
        ));
        let stop_flushing = Arc::new(Notify::new());
        let flush_loop = tokio::spawn({
            let (flusher, stop) = (flusher.clone(), stop_flushing.clone());
            let follow = settings.follow_interval;
            async move { flusher.run(follow, stop).await }
        });
        Ok(Store {
            shard,
            flusher,
            engine,
            found,
            table_stats,
            table,
            objects: store,
            root,
            removed: state.removed,
            ledger,
            tier_stats,
            tier_roots,
            follow_interval: settings.follow_interval,
            indexes,
            stop_flushing,
            flush_loop: Some(flush_loop),
            query_threads: Some(query_threads),
        })
    }

    /// The cache of file indexes.
    pub fn indexes(&self) -> FileIndexes {
        self.indexes.clone()
    }

    /// Stops in order: the flush loop, a last flush, the log, the query threads.
    pub async fn close(mut self) {
        self.stop_flushing.notify_one();
        if let Some(flush_loop) = self.flush_loop.take() {
            let _ = flush_loop.await;
        }
        match tokio::time::timeout(LAST_FLUSH_WAIT, self.flusher.flush(FlushReason::Shutdown)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last flush failed; the next start replays the log"),
            Err(_) => tracing::warn!(
                seconds = LAST_FLUSH_WAIT.as_secs(),
                "the last flush takes too long; the next start replays the log"
            ),
        }
        let shard = self.shard.clone();
        match tokio::task::spawn_blocking(move || shard.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "closing the write-ahead log failed"),
            Err(error) => tracing::error!(%error, "closing the write-ahead log stopped"),
        }
        if let Some(threads) = self.query_threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(threads) = self.query_threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Opens the table; its log is mended first where it cannot be read and that costs nothing.
async fn open_table(opened: &Opened, clock: &Clock, is_own: bool) -> Result<(Table, TableState), TableError> {
    let open = || Table::open(opened.store.clone(), opened.root.clone(), clock.clone());
    let table = open().await;
    let Err(error @ TableError::Corrupt { .. }) = table else { return table };
    if !is_own {
        return Err(error);
    }
    let Some(done) = mend(&opened.raw, &opened.root).await? else { return Err(error) };
    done.iter().for_each(|done| tracing::error!("the table's log was damaged: {done}"));
    open().await
}

/// Replays the log into the catalog and opens it for writing. CPU and disk bound: off the async threads.
async fn open_wal(
    wal_dir: &Path,
    settings: &StoreSettings,
    flushed: Lsn,
    catalog: &Arc<Catalog>,
    deleted: Vec<DeletedUpTo>,
    clock: &Clock,
    on_durable: impl FnMut(Vec<(Lsn, Arrival)>) + Send + 'static,
) -> Result<(Wal<Arrival>, Found), Box<dyn std::error::Error + Send + Sync>> {
    let (wal_dir, config) = (wal_dir.to_owned(), settings.wal);
    let quarantine = settings.data_dir.join("quarantine");
    let (catalog, clock) = (catalog.clone(), clock.clone());
    let sealing = settings.sealing.clone();
    let sealer = sealing.as_ref().map(|sealing| RecordSealer::new(&sealing.keys)).transpose()?;
    let opening = tokio::task::spawn_blocking(move || {
        let lock = DirectoryLock::take(&wal_dir)?;
        let mut opener = sealing.map(|sealing| RecordOpener::new(sealing.keys, sealing.allow_plain));
        let lost_records = make_whole(&wal_dir, &quarantine, flushed)?;
        let mut found = Found { files: 0, file_rows: 0, replayed_records: 0, replayed_rows: 0, lost_records };
        let end = replay(&wal_dir, |record| {
            if record.payload.is_empty() {
                // It stands in place of one that is lost.
                return Ok::<_, IngestError>(());
            }
            let payload = open_record(opener.as_mut(), &record)?;
            let arrival = replay_payload(&payload, |tenant| catalog.streams().tenant(tenant))?;
            if record.lsn <= flushed {
                catalog.remember_flushed(&hashes_of_kept(&arrival, record.lsn, &deleted));
                return Ok::<_, IngestError>(());
            }
            found.replayed_records += 1;
            let kept = catalog.append([(record.lsn, arrival)], clock.now());
            found.replayed_rows += kept.iter().map(|(_, _, rows)| rows.num_rows() as u64).sum::<u64>();
            Ok(())
        })?;
        Ok::<_, IngestError>((Wal::open_sealed(lock, &wal_dir, config, end, sealer, on_durable)?, found))
    });
    Ok(opening.await??)
}

/// Rows that were deleted, among the records of this log up to one.
struct DeletedUpTo {
    hide: Hide,
    lsn: Lsn,
}

/// Hides what was deleted and is not removed. Answers every delete that concerns records of this log.
fn hide_deleted(catalog: &Catalog, ledger: &Ledger, log: &str) -> Result<Vec<DeletedUpTo>, QueryError> {
    let mut deleted = Vec::new();
    for request in ledger.all() {
        let hide = request.hide(catalog.streams())?;
        if request.is_open() {
            catalog.hide(hide.clone());
        }
        if request.log.log == log {
            deleted.push(DeletedUpTo { hide, lsn: Lsn(request.log.lsn) });
        }
    }
    Ok(deleted)
}

/// Hashes of the rows of a record that were not deleted: those that come again are new rows.
fn hashes_of_kept(arrival: &Arrival, lsn: Lsn, deleted: &[DeletedUpTo]) -> Vec<RowHash> {
    let concerns = |deleted: &&DeletedUpTo| deleted.lsn >= lsn && deleted.hide.tenant == arrival.tenant;
    let gone = deleted.iter().filter(concerns).map(|deleted| deleted.hide.hidden(&arrival.rows));
    match gone.reduce(|all, one| &all | &one) {
        None => arrival.hashes.clone(),
        Some(gone) => arrival.hashes.iter().zip(&gone).filter(|(_, gone)| !gone).map(|(hash, _)| *hash).collect(),
    }
}
