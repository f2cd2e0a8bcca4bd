//! The worker: a thread of low priority with a runtime of its own, and its rounds.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::UpkeepError;
use super::deletes::{Ledger, SigningKey};
use super::retention::{PreviewEntry, preview};
use super::settings::{CompactionConfig, CompactorConfig};
use super::status::{Progress, TableStatus};
use super::workshop::Workshop;
use crate::catalog::Catalog;
use crate::files::FileIndexes;
use crate::files::fields::LineLayout;
use crate::files::table::{RemovedFile, Table};
use crate::files::tier_plan::Level;
use crate::ingest::flush::Flusher;
use crate::ingest::overrides::LimitsOf;
use crate::lease::Lease;
use crate::tasks::panic_text;
use crate::telemetry::metrics::Metrics;
use crate::types::time::Clock;
use crate::types::units::GoDuration;

/// The upkeep's thread gives way to everything that somebody waits for.
const NICENESS: i32 = 15;
/// How long the upkeep rests after a panic.
const PANIC_PAUSE: Duration = Duration::from_secs(60);
/// Rounds between two looks through the whole store.
const SWEEP_ROUNDS: u64 = 144;
/// How often a process that does not do the upkeep looks whether it should.
const IN_CHARGE_PAUSE: Duration = Duration::from_millis(250);

/// What upkeep is made of.
pub struct UpkeepParts {
    pub catalog: Arc<Catalog>,
    pub table: Arc<Table>,
    pub store: Arc<dyn ObjectStore>,
    pub root: Path,
    pub indexes: FileIndexes,
    pub flusher: Arc<Flusher>,
    pub limits: LimitsOf,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub compactor: CompactorConfig,
    pub compaction: CompactionConfig,
    /// How files keep lines.
    pub layout: LineLayout,
    /// The table's directory, if no other process writes it.
    pub own_directory: Option<PathBuf>,
    /// Colder places, warmest first, and where they are in the store.
    pub levels: Vec<Level>,
    pub tier_roots: Vec<Path>,
    /// What commits removed before this process began.
    pub removed: Vec<RemovedFile>,
    pub ledger: Arc<Ledger>,
    pub signing_key: SigningKey,
    /// How long audit records are kept; 0: for ever.
    pub audit_period: GoDuration,
    /// Of the processes that share the table, the one that has it does the upkeep; none where there is one process.
    pub lease: Option<Arc<Lease>>,
}

/// The running upkeep. Cheap to clone.
#[derive(Clone)]
pub struct Upkeep {
    pub(super) workshop: Arc<Workshop>,
    wake: Arc<Notify>,
    pub(super) stop: CancellationToken,
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").finish_non_exhaustive()
    }
}

impl Upkeep {
    /// Starts the worker.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(parts: UpkeepParts) -> std::io::Result<Upkeep> {
        let removed = parts.removed.into_iter().map(|removed| (removed.path.clone(), removed)).collect();
        let workshop = Arc::new(Workshop {
            catalog: parts.catalog,
            table: parts.table,
            store: parts.store,
            root: parts.root,
            indexes: parts.indexes,
            flusher: parts.flusher,
            limits: parts.limits,
            clock: parts.clock,
            metrics: parts.metrics,
            compactor: parts.compactor,
            compaction: parts.compaction,
            layout: parts.layout,
            own_directory: parts.own_directory,
            levels: parts.levels,
            tier_roots: parts.tier_roots,
            progress: Mutex::new(Progress::default()),
            set_aside: Mutex::new(HashMap::new()),
            staying: Mutex::new(HashMap::new()),
            ledger: parts.ledger,
            deleting: tokio::sync::Mutex::new(()),
            signing_key: parts.signing_key,
            audit_period: parts.audit_period,
            lease: parts.lease,
        });
        let upkeep = Upkeep {
            workshop: workshop.clone(),
            wake: Arc::new(Notify::new()),
            stop: CancellationToken::new(),
            thread: Arc::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("upkeep-io").build()?;
        let (wake, stop) = (upkeep.wake.clone(), upkeep.stop.clone());
        let thread = std::thread::Builder::new().name("upkeep".to_owned()).spawn(move || {
            give_way();
            runtime.block_on(async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = rounds_for_ever(&workshop, &wake, &removed) => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(5));
        })?;
        *upkeep.thread.lock() = Some(thread);
        Ok(upkeep)
    }

    /// Begins a round now.
    ///
    /// # Errors
    /// The process that does the upkeep, if it is another, as far as it is known.
    pub fn wake(&self) -> Result<(), Option<String>> {
        if !self.workshop.is_in_charge() {
            return Err(self.workshop.in_charge());
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Stops the worker. What it was doing is begun anew after the next start. Blocks until its thread has ended.
    pub fn stop(&self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the upkeep's thread panicked");
        }
    }

    /// What retention would take now.
    pub async fn retention_preview(&self) -> Result<Vec<PreviewEntry>, UpkeepError> {
        let workshop = &self.workshop;
        let now = workshop.clock.now();
        preview(&workshop.catalog, &workshop.indexes, &workshop.limits, workshop.audit_period, now).await
    }

    /// The table as it is now.
    pub async fn table_status(&self) -> TableStatus {
        let workshop = &self.workshop;
        let version = workshop.table.version().await;
        let partitions = workshop.catalog.partitions();
        let retired = workshop.catalog.retired();
        TableStatus {
            retired_files: retired.len() as u64,
            retired_bytes: retired.iter().map(|retired| retired.file.bytes).sum(),
            merges_due: Some(workshop.due().len() as u64),
            running: workshop.progress.lock().running.clone(),
            damaged: workshop.set_aside.lock().keys().cloned().collect(),
            in_charge: workshop.in_charge(),
            ..TableStatus::of(version, &partitions, &workshop.compaction.policy())
        }
    }
}

/// Rounds, begun anew when one panics.
async fn rounds_for_ever(workshop: &Workshop, wake: &Notify, removed: &HashMap<String, RemovedFile>) {
    while let Err(panic) = std::panic::AssertUnwindSafe(rounds(workshop, wake, removed)).catch_unwind().await {
        workshop.metrics.upkeep.failures.with_label_values(&["panic"]).inc();
        tracing::error!(panic = panic_text(&*panic), "the table's upkeep panicked; it goes on in a while");
        tokio::time::sleep(PANIC_PAUSE).await;
    }
}

/// One round after the other, for ever.
async fn rounds(workshop: &Workshop, wake: &Notify, removed: &HashMap<String, RemovedFile>) {
    let interval = workshop.compactor.compaction_interval.to_std().max(Duration::from_millis(10));
    for round in 0.. {
        while !workshop.is_in_charge() {
            tokio::time::sleep(IN_CHARGE_PAUSE).await;
        }
        if round % SWEEP_ROUNDS == 0 {
            workshop.note("sweep", workshop.sweep(removed).await.map(drop));
        }
        workshop.note("deletes", workshop.carry_out_deletes().await);
        workshop.note("retention", workshop.apply_retention().await);
        workshop.note("compaction", workshop.compact().await.map(drop));
        workshop.note("tiers", workshop.move_to_tiers().await.map(drop));
        workshop.note("vacuum", workshop.vacuum().await.map(drop));
        workshop.note("certificates", workshop.certify().await);
        workshop.progress.lock().round_ended = Some(workshop.clock.now());
        if let Some(seconds) = thread_cpu_seconds() {
            workshop.metrics.upkeep.cpu_seconds.set(seconds);
        }
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// Lets the scheduler prefer other threads. Elsewhere than on Linux a niceness is the whole process's: left alone.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate among the dependencies sets the niceness of one thread")]
fn give_way() {
    // SAFETY: two numbers go in and one comes out; 0 names the calling thread.
    let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) } != 0;
    if refused {
        tracing::debug!("the upkeep keeps its priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}

/// CPU time of this thread.
fn thread_cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanos / 1e9)
}
