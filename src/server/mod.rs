//! Build, start, await the signal, stop: in this order.
//!
//! ```text
//! settings ─▶ Store::open (table, log, head, engine) ─▶ listen ─▶ ready ─▶ SIGTERM ─▶ no new requests ─▶ last ones end
//!          ─▶ last flush ─▶ log closed
//! ```

mod audit;
mod cluster;
mod derived;
mod doors;
mod last_flush;
mod listen;
mod object_storage;
pub mod read_only;
mod rules;
pub mod runtime_config;
mod stages;
pub mod store;
mod upkeep;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::api::tenant::Peer;
use crate::api::{AppState, Readiness, Shared, router};
use crate::config::{Config, Fsync};
use crate::ingest::flush::{FlushReport, Flusher};
use crate::ingest::flush_plan::{FlushLimits, FlushReason};
use crate::ingest::overrides::LimitsOf;
use crate::ingest::shard::Shard;
use crate::query::EngineLimits;
use crate::receive::door::{Door, PushRefused, PushSink};
#[cfg(feature = "kafka")]
use crate::receive::kafka::{self, KafkaSource};
use crate::store::BlockCache;
use crate::tasks::Tasks;
use crate::telemetry::logging::LogLevel;
use crate::telemetry::metrics::Metrics;
use crate::types::batch::LogBatch;
use crate::types::ids::TenantId;
use crate::types::time::Clock;
use crate::wal::{FsyncPolicy, WalConfig};

use doors::Doors;
use listen::{ListenSettings, Listening};
use runtime_config::RuntimeConfig;
use store::{Store, StoreSettings};

/// Bytes of log records that may wait for the writer.
const WAL_QUEUE_BYTES_MAX: usize = 64 << 20;

/// How long the last samples of stages may take.
const STAGES_STOP_WAIT: Duration = Duration::from_secs(5);

/// How long giving back the lease of the upkeep may take.
const LEASE_STOP_WAIT: Duration = Duration::from_secs(5);

/// HTTP connections at once; more are closed. A process rarely has more file descriptors.
const HTTP_CONNECTIONS_MAX: usize = 50_000;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the server until SIGTERM or Ctrl-C, then stops it in order.
pub async fn run(config: Config, log_level: LogLevel) -> Result<(), AnyError> {
    let clock = Clock::system();
    let metrics = Arc::new(Metrics::new());
    let listener = TcpListener::bind(config.listen_address()).await.map_err(|error| {
        format!("cannot listen on {}: {error}; choose another with --http-port", config.listen_address())
    })?;
    let doors = Doors::bind(&config).await?;
    let settings = store_settings(&config)?;
    let table = settings.table.to_string();
    let data_dir = settings.data_dir.clone();
    let cache = settings.cache.clone();
    let mut store = Store::open(settings, clock.clone(), report_flushes(metrics.clone())).await?;
    show_store_in_metrics(&metrics, &store);
    object_storage::show_in_metrics(&metrics, "table", store.table_stats.clone());
    let derived = derived::open(&config, &store.engine, &clock, &metrics).await?;
    store.tier_stats.iter().for_each(|(name, stats)| object_storage::show_in_metrics(&metrics, name, stats.clone()));
    object_storage::show_cache_in_metrics(&metrics, cache);
    let limits = LimitsOf::new(config.limits_config.clone());
    store.engine.use_limits(limits.clone());
    let overrides = watch_overrides(&config, &limits, &metrics)?;
    let face = derived.face();
    let rules = rules::start(&config, &store, &metrics, &clock, &face).await?;
    let (upkeep, lease) = upkeep::start(&config, &mut store, limits.clone(), metrics.clone(), clock.clone())?;
    let keeper = audit::start(&config, &store, &metrics, &clock)?;
    let ready = Readiness::default();
    let stopping = CancellationToken::new();
    let sink = Arc::new(Sink { shard: store.shard.clone(), flusher: store.flusher.clone() });
    let door = Door::new(sink, limits.clone(), config.door_settings(), metrics.clone(), clock.clone());
    let counting = Tasks::new();
    stages::start(&door.gates, face.store.clone(), &metrics, clock.clone(), &counting);
    let cluster_face = cluster::face(&config, &store)?;
    cluster::follow(&config, &store, cluster_face.as_ref(), &metrics, &counting)?;
    let state = AppState {
        cluster: cluster_face,
        derived: Some(face),
        engine: store.engine.clone(),
        access: Access::new(&config.access, clock.clone()).map_err(|problems| problems.join("; "))?,
        audit: keeper.audit.clone(),
        door: door.clone(),
        config: Arc::new(config.clone()),
        limits: limits.clone(),
        upkeep: Some(upkeep.clone()),
        metrics: metrics.clone(),
        clock: clock.clone(),
        ready: ready.clone(),
        log_level,
        rules: Some(rules.ruler.clone()),
        arrivals: store.shard.arrivals().clone(),
        stopping: stopping.clone(),
        started: clock.now(),
    };
    let shared = Shared::new(state);
    let app = router(shared.clone());
    doors.announce()?;
    let settings = ListenSettings {
        tls: doors.http_tls.clone(),
        connections_max: HTTP_CONNECTIONS_MAX,
        metrics: metrics.clone(),
        door: None,
    };
    announce(&listener, doors.http_tls.is_some(), &data_dir, &table, &store)?;
    warn_of_open_doors(&config);
    let listener = Listening::new(listener, settings)?;
    let doors = doors.open(&shared)?;
    #[cfg(feature = "kafka")]
    let kafka = start_kafka(&config, &store, door)?;
    ready.set(true);
    let stopped = stopping.clone().cancelled_owned();
    let app = app.into_make_service_with_connect_info::<Peer>();
    let serving = tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stopped).await });
    tokio::select! {
        signal = wait_for_signal() => signal?,
        () = stopping.cancelled() => {}
    }
    tracing::info!("stopping: no new requests; the last ones end, rows in memory become files");
    ready.set(false);
    stopping.cancel();
    if tokio::time::timeout(config.server.graceful_shutdown_timeout.to_std(), serving).await.is_err() {
        tracing::warn!("requests were still running after graceful_shutdown_timeout");
    }
    doors.close().await;
    #[cfg(feature = "kafka")]
    if let Some(kafka) = kafka {
        kafka.stop().await;
    }
    if let Some(overrides) = overrides {
        overrides.abort();
    }
    rules.stop().await;
    counting.shutdown(STAGES_STOP_WAIT).await;
    keeper.stop().await;
    derived.close().await;
    tokio::task::spawn_blocking(move || upkeep.stop()).await?;
    if !lease.shutdown(LEASE_STOP_WAIT).await.is_empty() {
        tracing::warn!("the lease of the upkeep was not given back in time; it ends by itself");
    }
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Says which doors others can reach who show nothing, or whose passwords others can read on the way.
fn warn_of_open_doors(config: &Config) {
    let (server, own) = (&config.server, &config.millrace);
    let http = config.listen_address().parse::<SocketAddr>().ok();
    let of_http = server.http_tls_config.is_on();
    let of_grpc = of_http || server.grpc_tls_config.is_on();
    let of_postgres = of_http || own.postgres.tls_config.is_on();
    let doors = [
        ("server.http_listen_address", "server.http_tls_config", http, of_http),
        ("millrace.postgres.listen", "millrace.postgres.tls_config", own.postgres.listen, of_postgres),
        ("millrace.flight.listen", "server.grpc_tls_config", own.flight.listen, of_grpc),
        ("millrace.otlp_grpc.listen", "server.grpc_tls_config", own.otlp_grpc.listen, of_grpc),
    ];
    for (setting, tls, address, is_encrypted) in doors {
        let Some(address) = address.filter(|address| !address.ip().is_loopback()) else { continue };
        if !config.access.is_on() {
            tracing::warn!(%address, setting, "whoever reaches this address may do everything; `access` says who may");
        } else if !is_encrypted {
            tracing::warn!(%address, setting, "passwords and tokens come here as they are; `{tls}` encrypts them");
        }
    }
}

/// The task that keeps reading the overrides, if there is a file of them.
fn watch_overrides(
    config: &Config,
    limits: &LimitsOf,
    metrics: &Arc<Metrics>,
) -> Result<Option<tokio::task::JoinHandle<()>>, AnyError> {
    let Some((path, period)) = config.overrides_file() else { return Ok(None) };
    let watched = RuntimeConfig::open(path, limits.clone())?;
    Ok(Some(tokio::spawn(watched.watch(period.to_std(), metrics.clone()))))
}

/// The Kafka door, if topics are configured.
#[cfg(feature = "kafka")]
fn start_kafka(config: &Config, store: &Store, door: Door) -> Result<Option<KafkaSource>, AnyError> {
    if !config.kafka.is_on() {
        return Ok(None);
    }
    let target = kafka::Target { shard: store.shard.clone(), flusher: store.flusher.clone(), door };
    let names: Vec<&str> = config.kafka.topics.iter().map(|topic| topic.name()).collect();
    writeln!(
        std::io::stdout(),
        "kafka  {} as {}: {}",
        config.kafka.brokers.join(","),
        config.kafka.group,
        names.join(", ")
    )?;
    Ok(Some(kafka::start(&config.kafka, target)?))
}

/// How `config` says to open the store.
///
/// # Errors
/// Where the table's location or its keys cannot be read.
pub fn store_settings(config: &Config) -> Result<StoreSettings, AnyError> {
    let bytes = |size: crate::types::units::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    let own = &config.millrace;
    let fsync = match own.wal.fsync {
        Fsync::Always => FsyncPolicy::Always,
        Fsync::Interval => FsyncPolicy::Interval(own.wal.fsync_interval.to_std()),
        Fsync::Never => FsyncPolicy::Never,
    };
    let table = config.table_location()?;
    Ok(StoreSettings {
        data_dir: config.data_dir(),
        table,
        tiers: config.tier_places()?,
        cache: BlockCache::open(&config.cache_limits())
            .map_err(|error| format!("millrace.cache.directory: {error}"))?,
        sealing: config.sealing()?,
        follow_interval: config.table_is_shared().then(|| own.table.follow_interval.to_std()),
        layout: own.table.lines,
        flush: FlushLimits { bytes_max: bytes(own.flush.max_bytes), age_max_ns: own.flush.max_age.nanos() },
        wal: WalConfig {
            fsync,
            segment_bytes_max: own.wal.segment_bytes.0,
            queue_bytes_max: WAL_QUEUE_BYTES_MAX,
            queue_wait_max: Duration::from_secs(10),
        },
        engine: EngineLimits {
            memory_bytes_max: bytes(own.query.memory_bytes_max),
            tenant_memory_bytes_max: usize::try_from(config.tenant_query_memory()).unwrap_or(usize::MAX),
            threads: config.query_threads(),
            timeout: config.query_timeout(&config.limits_config).to_std(),
            results_bytes_max: config.query_range.results_cache.cache.embedded_cache.max_size_mb << 20,
            results_time_to_live: config.query_range.results_cache.cache.embedded_cache.ttl.to_std(),
        },
        index_cache_bytes: own.query.index_cache_bytes.0,
    })
}

/// Says on standard output where the server listens and what it keeps where.
fn announce(
    listener: &TcpListener,
    is_encrypted: bool,
    data_dir: &std::path::Path,
    table: &str,
    store: &Store,
) -> Result<(), AnyError> {
    let found = store.found;
    let mut out = std::io::stdout();
    writeln!(out, "millrace {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "table  {table}")?;
    writeln!(out, "log    {}", data_dir.join("wal").display())?;
    writeln!(
        out,
        "found  {} rows in {} files, {} rows in the log ({} records replayed)",
        found.file_rows, found.files, found.replayed_rows, found.replayed_records
    )?;
    if found.lost_records > 0 {
        writeln!(out, "LOST   {} records of the log are damaged; the rest is served", found.lost_records)?;
    }
    let scheme = if is_encrypted { "https" } else { "http" };
    writeln!(out, "listen {scheme}://{}", listener.local_addr()?)?;
    out.flush()?;
    Ok(())
}

async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

fn report_flushes(metrics: Arc<Metrics>) -> Box<dyn Fn(&FlushReport) + Send + Sync> {
    Box::new(move |report| {
        tracing::info!(
            reason = report.reason.as_str(),
            rows = report.rows,
            files = report.files,
            head_bytes = report.head_bytes,
            file_bytes = report.file_bytes,
            seconds = report.seconds,
            "flushed"
        );
        metrics.flushes.with_label_values(&[report.reason.as_str()]).inc();
        metrics.flush_seconds.observe(report.seconds);
        metrics.flushed_rows.inc_by(report.rows as u64);
        metrics.chunks_flushed.with_label_values(&[report.reason.as_str()]).inc_by(report.files as u64);
    })
}

/// Gauges are read when they are asked for.
fn show_store_in_metrics(metrics: &Metrics, store: &Store) {
    let (shard, indexes, engine) = (store.shard.clone(), store.indexes(), store.engine.clone());
    metrics.wal.lost_records.set(gauge(store.found.lost_records));
    metrics.on_gather(move |metrics| {
        show_log_in_metrics(metrics, &shard);
        let catalog = shard.catalog();
        let head = catalog.head_stats();
        metrics.head_bytes.set(head.bytes as i64);
        metrics.head_rows.set(head.rows as i64);
        let files = catalog.file_totals();
        metrics.table_files.set(files.files as i64);
        metrics.table_rows.set(files.rows as i64);
        metrics.table_bytes.set(files.bytes as i64);
        let mut all = 0;
        for (tenant, streams) in catalog.head_streams() {
            metrics.memory_streams.with_label_values(&[tenant.as_str()]).set(streams as i64);
            all += streams;
        }
        metrics.streams.set(all as i64);
        let (bytes, entries) = indexes.cache_stats();
        metrics.index_cache_bytes.set(bytes as f64);
        metrics.index_cache_entries.set(entries as f64);
        metrics.query_memory_bytes.set(gauge(engine.memory().used() as u64));
        metrics.queries_joined.set(engine.joined() as f64);
        let results = engine.results_stats();
        metrics.results_cache_bytes.set(results.bytes as f64);
        metrics.results_cache_entries.set(results.entries as f64);
        for (outcome, count) in [("hit", results.hits), ("miss", results.misses), ("stale", results.stale)] {
            metrics.results_cache_requests.with_label_values(&[outcome]).set(count as f64);
        }
        let chosen = catalog.streams().choices().stats();
        metrics.selector_cache_bytes.set(chosen.bytes as f64);
        for (outcome, count) in [("hit", chosen.hits), ("miss", chosen.misses)] {
            metrics.selector_cache_requests.with_label_values(&[outcome]).set(count as f64);
        }
    });
}

fn show_log_in_metrics(metrics: &Metrics, shard: &Shard) {
    let (stats, wal) = (shard.wal().stats(), &metrics.wal);
    let read = |number: &AtomicU64| gauge(number.load(Ordering::Relaxed));
    wal.records.set(read(&stats.records));
    wal.groups.set(read(&stats.groups));
    wal.failed_groups.set(read(&stats.failed_groups));
    wal.bytes.set(read(&stats.bytes));
    wal.sync_seconds.set(stats.sync_nanos.load(Ordering::Relaxed) as f64 / 1e9);
    wal.segments.set(read(&stats.segments));
    wal.queue_bytes.set(gauge(shard.wal().queue_bytes() as u64));
}

fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The write path as the API sees it.
struct Sink {
    shard: Arc<Shard>,
    flusher: Arc<Flusher>,
}

#[async_trait]
impl PushSink for Sink {
    async fn push(&self, tenant: &TenantId, batch: LogBatch) -> Result<(), PushRefused> {
        self.shard.push(tenant, batch).await.map_err(|error| PushRefused { text: error.to_string() })
    }

    async fn flush(&self) -> Result<(), String> {
        self.flusher.flush(FlushReason::Asked).await.map_err(|error| error.to_string())
    }
}
