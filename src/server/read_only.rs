//! Opens what a server keeps, without it and without changing anything: for commands on a directory or a bucket.
//!
//! ```text
//! table ─▶ files, how far they hold the log ─▶ log, records after that ─▶ catalog ─▶ engine
//!    ▲                                            └ begins later: a running server flushed meanwhile ─┐
//!    └────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! It is what was there at one moment. Of a running server's memory, what came from Kafka and is in no file is not in it.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::config::Config;
use crate::files::FileIndexes;
use crate::files::table::Table;
use crate::ingest::shard::replay_payload;
use crate::query::Engine;
use crate::seal::record::RecordOpener;
use crate::server::AnyError;
use crate::server::store_settings;
use crate::store::Place;
use crate::streams::Streams;
use crate::types::ids::{Lsn, TenantId};
use crate::types::time::Clock;
use crate::upkeep::deletes::Ledger;
use crate::wal::{WalError, inspect, open_record};

/// A running server may flush while the log is read. After so many attempts, records between are lost: the rest is read.
const TRIES_MAX: usize = 5;

/// An opened store that is only read.
pub struct ReadOnly {
    pub engine: Engine,
    pub catalog: Arc<Catalog>,
    /// Queries run here; dropped off the async threads.
    threads: Option<tokio::runtime::Runtime>,
}

/// What the log adds to the table.
enum FromLog {
    Read,
    /// Records between the table and the log are gone: they are in newer files.
    Moved,
}

impl ReadOnly {
    /// Opens a place; without its log when that is elsewhere.
    ///
    /// # Errors
    /// When there is nothing, or it cannot be read.
    pub async fn open(config: &Config, place: &Place, with_log: bool) -> Result<ReadOnly, AnyError> {
        let settings = store_settings(config)?;
        let (store, root) = (&place.table.store, &place.table.root);
        for attempt in 1..=TRIES_MAX {
            let table = Table::read(store.clone(), root.clone()).await?;
            if table.is_none() && !(with_log && place.data_dir.join("wal").is_dir()) {
                return Err(format!("there is no table in {}", place.data_dir.display()).into());
            }
            let (files, txns) = table.map_or_else(Default::default, |state| (state.files, state.txns));
            let identity = std::fs::read_to_string(place.data_dir.join("wal").join("IDENTITY")).unwrap_or_default();
            let flushed = txns.get(identity.trim()).copied().and_then(|lsn| u64::try_from(lsn).ok()).unwrap_or(0);
            let streams = Arc::new(Streams::default());
            let indexes = FileIndexes::new(store.clone(), root.clone(), streams.clone(), settings.index_cache_bytes);
            let catalog = Arc::new(Catalog::new(streams, files, Lsn(flushed)));
            let ledger = Ledger::load(store.clone(), root.clone()).await?;
            for request in ledger.all().iter().filter(|request| request.is_open()) {
                catalog.hide(request.hide(catalog.streams())?);
            }
            if with_log {
                let (log, of_catalog) = (place.clone(), catalog.clone());
                let reading = tokio::task::spawn_blocking(move || read_log(&log, &of_catalog, Lsn(flushed)));
                if matches!(reading.await??, FromLog::Moved) && attempt < TRIES_MAX {
                    continue;
                }
            }
            let threads = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(settings.engine.threads)
                .thread_name("query")
                .enable_all()
                .build()?;
            let handle = threads.handle().clone();
            let engine = Engine::new(catalog.clone(), indexes, settings.engine, Clock::system(), handle)?;
            return Ok(ReadOnly { engine, catalog, threads: Some(threads) });
        }
        unreachable!("the last attempt answers")
    }

    /// Every tenant with rows.
    pub fn tenants(&self) -> Vec<TenantId> {
        let of_files = self.catalog.partitions().into_iter().map(|partition| partition.tenant);
        let mut tenants: Vec<TenantId> =
            of_files.chain(self.catalog.head_streams().into_iter().map(|(tenant, _)| tenant)).collect();
        tenants.sort_unstable();
        tenants.dedup();
        tenants
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Appends the records after `flushed`. CPU and disk bound.
fn read_log(place: &Place, catalog: &Catalog, flushed: Lsn) -> Result<FromLog, AnyError> {
    let dir = place.data_dir.join("wal");
    if !dir.is_dir() {
        return Ok(FromLog::Read);
    }
    let mut opener = place.sealing.as_ref().map(|sealing| RecordOpener::new(sealing.keys.clone(), sealing.allow_plain));
    let mut failed: Option<AnyError> = None;
    let mut first: Option<Lsn> = None;
    let now = Clock::system().now();
    let read = inspect(&dir, |record| {
        first.get_or_insert(record.lsn);
        if record.lsn <= flushed || record.payload.is_empty() || failed.is_some() {
            return;
        }
        let arrival = open_record(opener.as_mut(), &record).map_err(AnyError::from).and_then(|payload| {
            replay_payload(&payload, |tenant| catalog.streams().tenant(tenant)).map_err(AnyError::from)
        });
        match arrival {
            Ok(arrival) => {
                catalog.append([(record.lsn, arrival)], now);
            }
            Err(error) => failed = Some(error),
        }
    });
    match (read, failed) {
        // A segment went between the listing and the reading: its records are in files by now.
        (Err(WalError::Io { source, .. }), _) if source.kind() == std::io::ErrorKind::NotFound => Ok(FromLog::Moved),
        (Err(error), _) => Err(error.into()),
        (Ok(_), Some(error)) => Err(error),
        (Ok(_), None) if first.is_some_and(|first| first > flushed.next()) => Ok(FromLog::Moved),
        (Ok(_), None) => Ok(FromLog::Read),
    }
}
