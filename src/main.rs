//! The binary: flags, settings, logging, then the server until it ends.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use millrace::cli::agent::{PipelineArgs, PipelineCommand};
use millrace::cli::demo::Demo;
use millrace::cli::ready::Ready;
use millrace::cli::{Cli, Command, KafkaCommand, Serve, translate};
use millrace::telemetry::logging;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads for blocking work (files, the table's log, hashing). Tokio gives work to idle threads in turn, so none is idle
/// long enough to end, and each keeps memory of the allocator: the hundred that one look at the table's log can start
/// held over a gigabyte for good.
const BLOCKING_THREADS_MAX: usize = 24;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let outcome = match Cli::parse_from(translate(std::env::args_os())).command {
        Command::Serve(serve) => run(&serve),
        Command::Kafka { command: KafkaCommand::Check(serve) } => check_kafka(&serve),
        Command::Demo(demo) => run_demo(&demo),
        Command::Ready(ready) => ask_ready(&ready),
        Command::Query(query) => query.run(),
        Command::Sql(sql) => sql.run(),
        Command::Audit { command } => return command.run(),
        Command::Backup { command } => command.run(),
        Command::Doctor(doctor) => return doctor.run(),
        Command::Password(password) => return password.run(),
        Command::Keys { command } => command.run(),
        Command::Table { command } => command.run(),
        Command::Retention { command } => command.run(),
        Command::Delete { command } => command.run(),
        Command::Tiers { command } => command.run(),
        Command::Agent(agent) => agent.run().map_err(Into::into),
        Command::Pipeline(PipelineArgs { command: PipelineCommand::Test(test) }) => {
            test.run(std::io::stdin().lock(), std::io::stdout()).map_err(Into::into)
        }
        Command::Rules { command } => match command.run() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Defaults => std::io::stdout().write_all(millrace::config::DEFAULT_YAML.as_bytes()).map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not be set up; the operator must read this.
            let _ = writeln!(std::io::stderr(), "millrace: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The runtime of everything a server does but its queries, which have their own.
fn server_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().max_blocking_threads(BLOCKING_THREADS_MAX).enable_all().build()
}

fn run_demo(demo: &Demo) -> Result<(), AnyError> {
    let (config, data) = demo.settings()?;
    let log_level = logging::init(&config.server.log_level, &config.server.log_format)?;
    let runtime = server_runtime()?;
    runtime.block_on(millrace::demo::run(config, log_level, data))
}

fn ask_ready(ready: &Ready) -> Result<(), AnyError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ready.ask()).map_err(Into::into)
}

#[cfg(feature = "kafka")]
fn check_kafka(serve: &Serve) -> Result<(), AnyError> {
    use millrace::ingest::overrides::LimitsOf;
    use millrace::receive::kafka::check::check;

    let config = serve.settings()?.config;
    let limits = LimitsOf::new(config.limits_config);
    check(&config.kafka, &limits, &millrace::types::time::Clock::system(), &mut std::io::stdout()).map_err(Into::into)
}

#[cfg(not(feature = "kafka"))]
fn check_kafka(_: &Serve) -> Result<(), AnyError> {
    Err("this build has no Kafka (cargo feature kafka)".into())
}

fn run(serve: &Serve) -> Result<(), AnyError> {
    let loaded = serve.settings()?;
    millrace::failpoint::arm_from_environment()?;
    if serve.verify_config {
        return Ok(());
    }
    let server = &loaded.config.server;
    let log_level = logging::init(&server.log_level, &server.log_format)?;
    if loaded.auth_by_default {
        tracing::warn!("auth_enabled is not in the configuration: on, as in Loki; requests must name their tenant");
    }
    if !loaded.config.auth_enabled && !loaded.config.is_loopback() {
        tracing::warn!(
            address = loaded.config.listen_address(),
            "anyone who reaches this address reads and writes; set auth_enabled: true, or listen on 127.0.0.1 with server.http_listen_address"
        );
    }
    if !loaded.unused.is_empty() {
        tracing::warn!(keys = loaded.unused.join(", "), "settings of Loki that do nothing here");
    }
    let runtime = server_runtime()?;
    runtime.block_on(millrace::server::run(loaded.config, log_level))
}
