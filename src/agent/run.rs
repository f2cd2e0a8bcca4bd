//! Start, reload and stop, each in a stated order.
//!
//! ```text
//! start:  positions ─▶ clients ─▶ feeds ─▶ sources
//! stop:   sources ─▶ what stages hold back ─▶ batches ─▶ sent, or kept on disk ─▶ positions
//! reload: the new configuration is read and checked, then stop and start
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::config::{AgentConfig, ConfigError, ScrapeConfig};
use super::feed::{Feed, Inspect, Outlets, ReadLimit};
use super::files::FileJob;
use super::metrics::AgentMetrics;
use super::positions::{Positions, PositionsError};
use super::server::{Face, ServerError};
use super::ship::{Client, ShipError, Surroundings};
use super::show;
use super::sources::{self, SourceError};
use super::targets::Targets;
use crate::pipeline::rate::Bucket;
use crate::pipeline::{Pipeline, PipelineMetrics, StageError, Tools};
use crate::tasks::Tasks;
use crate::types::time::Clock;

/// How often acknowledged positions are written.
const POSITIONS_WAIT: Duration = Duration::from_millis(500);
/// How long sources and tasks may take to end.
const PATIENCE: Duration = Duration::from_secs(8);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("at least one client config must be provided: write clients: [{{url: http://loki:3100/loki/api/v1/push}}]")]
    NoClients,
    #[error("failed to make {job} pipeline: {source}")]
    Pipeline { job: String, source: StageError },
    #[error("relabel_configs of {job}: {words}")]
    Relabel { job: String, words: String },
    #[error(transparent)]
    Positions(#[from] PositionsError),
    #[error(transparent)]
    Ship(#[from] ShipError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// How it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mode {
    /// Prints what would be sent.
    pub dry_run: bool,
    /// Shows what each stage changes.
    pub inspect: bool,
    /// Reads lines from standard input until its end, and nothing else.
    pub stdin: bool,
}

/// Reads the configuration anew.
pub type Reread = Arc<dyn Fn() -> Result<AgentConfig, ConfigError> + Send + Sync>;

/// What lives longer than one configuration.
struct World {
    mode: Mode,
    metrics: AgentMetrics,
    targets: Targets,
    clock: Clock,
}

/// Builds every pipeline of a configuration and throws it away.
///
/// # Errors
/// The first that cannot be built. Answers notes about what does nothing, or something else than in Promtail.
pub fn check_syntax(config: &AgentConfig) -> Result<Vec<String>, AgentError> {
    let metrics = PipelineMetrics::new(Clock::system());
    let mut notes = Vec::new();
    for job in &config.scrape_configs {
        let (_, job_notes) = build_pipeline(job, &metrics)?;
        notes.extend(job_notes.into_iter().map(|note| format!("{}: {note}", job.job_name)));
    }
    Ok(notes)
}

fn build_pipeline(job: &ScrapeConfig, metrics: &PipelineMetrics) -> Result<(Pipeline, Vec<String>), AgentError> {
    let read_file = |path: &str| std::fs::read(path).map(Arc::<[u8]>::from);
    let seed = u64::from(std::process::id()) << 20 | 1;
    let mut tools = Tools::new(&job.job_name, metrics, &read_file, seed);
    let built = Pipeline::build(&job.pipeline_stages, &mut tools);
    let pipeline = built.map_err(|source| AgentError::Pipeline { job: job.job_name.clone(), source })?;
    Ok((pipeline, tools.notes))
}

/// Runs until a signal, or until standard input ends.
pub async fn run(config: AgentConfig, mode: Mode, reread: Reread) -> Result<(), AgentError> {
    let clock = Clock::system();
    let world = World { mode, metrics: AgentMetrics::new(clock.clone()), targets: Targets::default(), clock };
    let shown = Arc::new(Mutex::new(config.clone()));
    let (reload, mut reloads) = mpsc::channel(1);
    let face = Face {
        metrics: world.metrics.clone(),
        targets: world.targets.clone(),
        config: shown.clone(),
        reload: config.server.enable_runtime_reload.then_some(reload),
    };
    let face_stop = CancellationToken::new();
    let serving = if config.server.disable || mode.stdin {
        None
    } else {
        Some(face.serve(&config.server, face_stop.clone()).await?)
    };
    let mut running = Running::start(&config, &world).await?;
    if let Some((_, address)) = &serving {
        tracing::info!(address, "server listening on addresses");
    }
    let mut signals = Signals::new();
    loop {
        tokio::select! {
            () = signals.stop() => break,
            () = running.ended.cancelled() => break,
            Some(answer) = reloads.recv() => {
                let outcome = match reread().and_then(|config| prepared(&config).map(|()| config)) {
                    Ok(config) => {
                        tracing::info!("reloading the configuration");
                        running.stop().await;
                        world.targets.clear();
                        world.metrics.pipeline.custom.clear();
                        *shown.lock() = config.clone();
                        running = Running::start(&config, &world).await?;
                        Ok(())
                    }
                    Err(error) => Err(error.to_string()),
                };
                let _ = answer.send(outcome);
            }
        }
    }
    running.stop().await;
    face_stop.cancel();
    if let Some((serving, _)) = serving {
        let _ = serving.await;
    }
    Ok(())
}

/// What a reload must not fail at once the old configuration has been stopped.
fn prepared(config: &AgentConfig) -> Result<(), ConfigError> {
    check_syntax(config).map(drop).map_err(|error| ConfigError::one(error.to_string()))
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn new() -> Self {
        Signals { terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok() }
    }

    async fn stop(&mut self) {
        let terminated = async {
            match &mut self.terminate {
                Some(signal) => {
                    signal.recv().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = terminated => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
}

/// An agent with one configuration.
struct Running {
    stop_sources: CancellationToken,
    /// Rung when the only source has ended.
    ended: CancellationToken,
    threads: Vec<std::thread::JoinHandle<()>>,
    source_tasks: Tasks,
    feeds: Vec<Feed>,
    clients: Vec<Client>,
    client_tasks: Tasks,
    stop_clients: CancellationToken,
    positions: Positions,
}

impl Running {
    async fn start(config: &AgentConfig, world: &World) -> Result<Self, AgentError> {
        let World { mode, metrics, targets, clock } = world;
        let path = PathBuf::from(&config.positions.filename);
        let positions = Positions::open(&path, config.positions.ignore_invalid_yaml, mode.dry_run || mode.stdin)?;
        let client_tasks = Tasks::new();
        let stop_clients = CancellationToken::new();
        let (mut clients, mut intakes) = (Vec::new(), Vec::new());
        if mode.dry_run {
            let (intake, received) = mpsc::channel(16);
            client_tasks.spawn("printer", |_| async move { show::print_entries(received).await });
            intakes.push(intake);
        } else {
            let around = Surroundings {
                limits: config.limits_config.clone(),
                buffer: config.millrace.buffer.clone(),
                clients: config.all_clients().count(),
                metrics: metrics.clone(),
                clock: clock.clone(),
                stop: stop_clients.clone(),
            };
            for client in config.all_clients() {
                let (client, intake) = Client::start(client, &buffer_directory(config, &path), &around, &client_tasks)?;
                tracing::info!(client = client.name, "client started");
                clients.push(client);
                intakes.push(intake);
            }
        }
        if intakes.is_empty() {
            return Err(AgentError::NoClients);
        }
        let outlets = Outlets::new(intakes);
        let limits = &config.limits_config;
        let limit = limits.readline_rate_enabled.then(|| {
            let bucket = Mutex::new(Bucket::new(limits.readline_rate.max(f64::MIN_POSITIVE), limits.readline_burst));
            Arc::new(ReadLimit { bucket, drops: limits.readline_rate_drop })
        });
        let inspect: Option<Inspect> = mode.inspect.then(|| show::inspector());
        let mut running = Running {
            stop_sources: CancellationToken::new(),
            ended: CancellationToken::new(),
            threads: Vec::new(),
            source_tasks: Tasks::new(),
            feeds: Vec::new(),
            clients,
            client_tasks,
            stop_clients,
            positions: positions.clone(),
        };
        let feed_of = |job: &ScrapeConfig| -> Result<Feed, AgentError> {
            let (pipeline, notes) = build_pipeline(job, &metrics.pipeline)?;
            for note in notes {
                tracing::warn!(job = job.job_name, "{note}");
            }
            let (outlets, limit) = (outlets.clone(), limit.clone());
            Ok(Feed::new(
                &job.job_name,
                pipeline,
                outlets,
                limit,
                metrics.pipeline.clone(),
                clock.clone(),
                inspect.clone(),
            ))
        };
        running.save_positions(config);
        if mode.stdin || config.target_config.stdin {
            let stdin_job = ScrapeConfig { job_name: "stdin".to_owned(), ..ScrapeConfig::default() };
            let job = config.scrape_configs.first().unwrap_or(&stdin_job);
            if config.scrape_configs.len() > 1 {
                tracing::warn!(job = job.job_name, "too many scrape configs, skipping all but first.");
            }
            let feed = feed_of(job)?;
            running.feeds.push(feed.clone());
            let ended = running.ended.clone();
            let labels = sources::stdin::labels(job);
            running.threads.push(std::thread::spawn(move || {
                sources::stdin::read(std::io::stdin().lock(), &labels, &feed);
                ended.cancel();
            }));
            return Ok(running);
        }
        let sync_period = config.target_config.sync_period.to_std();
        let rest = config.global.file_watch_config.min_poll_frequency.to_std().min(Duration::from_secs(10));
        for job in &config.scrape_configs {
            let feed = feed_of(job)?;
            running.feeds.push(feed.clone());
            let (positions, metrics, targets) = (positions.clone(), metrics.clone(), targets.clone());
            let wrong = |words| AgentError::Relabel { job: job.job_name.clone(), words };
            let files = FileJob::new(
                job,
                feed.clone(),
                positions.clone(),
                metrics.clone(),
                targets.clone(),
                sync_period,
                Some(rest),
            );
            if let Some(files) = files.map_err(wrong)? {
                let stop = running.stop_sources.clone();
                running.threads.push(std::thread::spawn(move || files.run(&stop, false)));
            }
            let around =
                sources::Around { feed: feed.clone(), positions, metrics, targets, stop: running.stop_sources.clone() };
            sources::start(job, &around, &running.source_tasks).await?;
            running.tick(feed);
        }
        Ok(running)
    }

    /// Lets out what stages held back long enough, whether anything comes or not.
    fn tick(&self, feed: Feed) {
        let stop = self.stop_sources.clone();
        self.source_tasks.spawn("tick", |_| async move {
            while !stop.is_cancelled() {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(250)) => {}
                    () = stop.cancelled() => return,
                }
                if feed.next_due_ns().is_some_and(|due| due <= feed.clock().now().0) {
                    feed.push(Vec::new()).await;
                }
            }
        });
    }

    fn save_positions(&self, config: &AgentConfig) {
        let positions = self.positions.clone();
        let period = config.positions.sync_period.to_std().clamp(Duration::from_millis(10), POSITIONS_WAIT);
        self.client_tasks.spawn("positions", |stop| async move {
            while !stop.is_cancelled() {
                tokio::select! {
                    () = tokio::time::sleep(period) => {}
                    () = stop.cancelled() => {}
                }
                let saving = positions.clone();
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || saving.save()).await {
                    tracing::error!(%error, "positions are not written; lines would be sent again after a restart");
                }
            }
        });
    }

    async fn stop(self) {
        self.stop_sources.cancel();
        let left = self.source_tasks.shutdown(PATIENCE).await;
        let waiting = tokio::time::Instant::now();
        while self.threads.iter().any(|thread| !thread.is_finished()) && waiting.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for feed in &self.feeds {
            // A client that takes nothing must not hold up the end.
            let _ = tokio::time::timeout(Duration::from_secs(1), feed.finish()).await;
        }
        // The last senders into the clients go with the feeds.
        drop(self.feeds);
        self.stop_clients.cancel();
        let ended = tokio::time::timeout(PATIENCE, async {
            while !self.clients.iter().all(Client::has_ended) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let is_late = ended.await.is_err();
        self.positions.freeze();
        let mut left: Vec<&str> = left;
        left.extend(self.client_tasks.shutdown(PATIENCE).await);
        if is_late || !left.is_empty() {
            tracing::warn!(
                tasks = left.join(", "),
                "not everything ended in time; what was not acknowledged is read again"
            );
        }
        if let Err(error) = self.positions.save() {
            tracing::error!(%error, "positions are not written; lines would be sent again");
        }
    }
}

fn buffer_directory(config: &AgentConfig, positions: &Path) -> PathBuf {
    match config.millrace.buffer.directory.as_str() {
        "" => PathBuf::from(format!("{}.buffer", positions.display())),
        directory => PathBuf::from(directory),
    }
}
