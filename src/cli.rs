//! The command line, ours and as Loki's users type it.
//!
//! ```text
//! millrace serve --config FILE --data DIR          millrace -config.file=FILE -config.expand-env=true
//! ```
//!
//! Go takes one dash and two for the same, so one dash before a name becomes two; without a command, it is `serve`.

pub mod agent;
pub mod audit;
pub mod backup;
pub mod demo;
pub mod doctor;
pub mod keys;
pub mod password;
pub mod place;
pub mod query;
pub mod ready;
pub mod rules;
pub mod source;
pub mod sql;
pub mod tiers;
pub mod upkeep;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::load::{Environment, load};
use crate::config::{Config, Loaded};

/// A log store that speaks Loki, SQL and streaming rules over open Parquet files.
#[derive(Debug, Parser)]
#[command(name = "millrace", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the server.
    Serve(Serve),
    /// Starts a server with an hour of made-up traffic, and says where to look.
    Demo(demo::Demo),
    /// Asks a server whether it is ready; for health checks.
    Ready(ready::Ready),
    /// Reads log files, containers and listeners and ships them; takes Promtail's configuration and flags.
    Agent(Box<agent::Agent>),
    /// Looks into pipeline stages.
    Pipeline(agent::PipelineArgs),
    /// Prints every setting with its default, unit and trade-off.
    Defaults,
    /// LogQL from the terminal, in colour: of a server, or of the data itself.
    Query(Box<query::Query>),
    /// SQL from the terminal: a shell, statements, files; of a server, or of the data itself.
    Sql(Box<sql::Sql>),
    /// Whether the audit trail is whole.
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// Copies of all that is kept, taken while the server runs.
    Backup {
        #[command(subcommand)]
        command: backup::BackupCommand,
    },
    /// Looks at everything that is kept, says what is wrong, and mends what can be mended.
    Doctor(doctor::Doctor),
    /// Reads a password from standard input and writes what `access.accounts` needs of it.
    Password(password::PasswordArgs),
    /// The keys of encryption at rest.
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// What the table holds and what is done to it.
    Table {
        #[command(subcommand)]
        command: upkeep::TableCommand,
    },
    /// What retention takes.
    Retention {
        #[command(subcommand)]
        command: upkeep::RetentionCommand,
    },
    /// Deletes and their certificates.
    Delete {
        #[command(subcommand)]
        command: upkeep::DeleteCommand,
    },
    /// Recording rules and alerts: checks, tests, differences, history.
    Rules {
        #[command(subcommand)]
        command: rules::RulesCommand,
    },
    /// Where files lie, and where they move as they age.
    Tiers {
        #[command(subcommand)]
        command: tiers::TiersCommand,
    },
    /// Looks at Kafka as the server would.
    Kafka {
        #[command(subcommand)]
        command: KafkaCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum KafkaCommand {
    /// Connects, lists the partitions, and shows what the first records of each topic would become.
    Check(Serve),
}

#[derive(Debug, Default, Args)]
pub struct Serve {
    /// A Loki or Millrace configuration, YAML.
    #[arg(long = "config", alias = "config.file", env = "MILLRACE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Replaces ${VAR} and ${VAR:-default} in the configuration.
    #[arg(long = "config.expand-env", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub expand_env: bool,
    /// Where everything is kept.
    #[arg(long = "data", env = "MILLRACE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// 0: any free port.
    #[arg(long = "http-port", alias = "server.http-listen-port", env = "MILLRACE_HTTP_PORT", value_name = "PORT")]
    pub http_port: Option<u16>,
    #[arg(
        long = "http-address",
        alias = "server.http-listen-address",
        env = "MILLRACE_HTTP_ADDRESS",
        value_name = "ADDRESS"
    )]
    pub http_address: Option<String>,
    /// trace, debug, info, warn or error.
    #[arg(long = "log-level", alias = "log.level", env = "MILLRACE_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Checks the configuration and ends.
    #[arg(long = "verify-config")]
    pub verify_config: bool,
    /// Loki's choice of modules; only all of them are here.
    #[arg(long = "target", value_parser = ["all"], hide = true)]
    pub target: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Config { path: PathBuf, source: crate::config::ConfigError },
    #[error("no free port: {0}")]
    Port(std::io::Error),
    #[error(transparent)]
    Flags(#[from] crate::config::ConfigError),
}

/// Somebody who reads no more is no error.
fn tolerate_closed_pipe(
    outcome: Result<(), Box<dyn std::error::Error + Send + Sync>>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let is_closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    match outcome {
        Err(error) if error.downcast_ref().is_some_and(is_closed) => Ok(()),
        other => other,
    }
}

/// Go's spelling into ours.
pub fn translate(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut out: Vec<OsString> = Vec::new();
    for (at, argument) in arguments.into_iter().enumerate() {
        let text = argument.to_str().unwrap_or("");
        let is_long_with_one_dash = text.len() > 2 && text.starts_with('-') && text.as_bytes()[1].is_ascii_alphabetic();
        let is_flag_of_all = ["help", "--help", "-h", "--version", "-V", "-version"].contains(&text);
        let names_command =
            is_flag_of_all || Cli::command().get_subcommands().any(|command| command.get_name() == text);
        if at == 1 && is_promtail(&out) {
            out.push("agent".into());
        } else if at == 1 && !names_command {
            out.push("serve".into());
        }
        out.push(if is_long_with_one_dash { format!("-{text}").into() } else { argument });
    }
    if out.len() == 1 {
        out.push(if is_promtail(&out) { "agent".into() } else { "serve".into() });
    }
    out
}

/// A link called `promtail` to this program is the agent.
fn is_promtail(arguments: &[OsString]) -> bool {
    arguments
        .first()
        .is_some_and(|program| std::path::Path::new(program).file_stem().is_some_and(|name| name == "promtail"))
}

impl Serve {
    /// The file's settings with those of the command line over them.
    pub fn settings(&self) -> Result<Loaded, CliError> {
        let mut loaded = match &self.config {
            Some(path) => self.read(path.clone())?,
            None => Loaded { config: alone(), unused: Vec::new(), auth_by_default: false },
        };
        let config = &mut loaded.config;
        if let Some(data) = &self.data {
            config.millrace.data_dir = Some(data.clone());
        }
        if let Some(port) = self.http_port {
            config.server.http_listen_port = port;
        }
        if let Some(address) = &self.http_address {
            config.server.http_listen_address.clone_from(address);
        }
        if let Some(level) = &self.log_level {
            config.server.log_level.clone_from(level);
        }
        crate::config::load::check_all(config)?;
        Ok(loaded)
    }

    fn read(&self, path: PathBuf) -> Result<Loaded, CliError> {
        let text = std::fs::read_to_string(&path).map_err(|source| CliError::Read { path: path.clone(), source })?;
        let environment = |name: &str| std::env::var(name).ok();
        let environment: Option<Environment<'_>> = if self.expand_env { Some(&environment) } else { None };
        load(&text, environment).map_err(|source| CliError::Config { path, source })
    }
}

/// Without a file: for this machine alone, because no one has to say who they are.
fn alone() -> Config {
    let mut config = Config::default();
    config.server.http_listen_address = "127.0.0.1".to_owned();
    // One user on one machine: the limits that keep tenants apart would only be in the way.
    config.limits_config.ingestion_rate_mb = 0.0;
    config.limits_config.ingestion_burst_size_mb = 0.0;
    config.limits_config.max_global_streams_per_user = 0;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Serve, clap::Error> {
        let arguments = std::iter::once("millrace").chain(arguments.iter().copied()).map(OsString::from);
        match Cli::try_parse_from(translate(arguments))?.command {
            Command::Serve(serve) => Ok(serve),
            other => panic!("not serve: {other:?}"),
        }
    }

    #[test]
    fn lokis_flags_and_ours() {
        let check = |arguments: &[&str], config: Option<&str>, expand: bool, port: Option<u16>| {
            let serve = parsed(arguments).expect("good flags");
            assert_eq!(serve.config, config.map(PathBuf::from), "{arguments:?}");
            assert_eq!((serve.expand_env, serve.http_port), (expand, port), "{arguments:?}");
        };
        check(&[], None, false, None);
        check(&["serve", "--config", "a.yaml"], Some("a.yaml"), false, None);
        check(&["-config.file=/etc/loki/loki-config.yaml"], Some("/etc/loki/loki-config.yaml"), false, None);
        check(&["-config.file", "a", "-config.expand-env=true", "-target=all"], Some("a"), true, None);
        check(&["--config.file=a", "-config.expand-env", "-server.http-listen-port=3200"], Some("a"), true, Some(3200));
        check(&["serve", "--http-port", "0", "--data", "/tmp/x"], None, false, Some(0));
    }

    #[test]
    fn what_is_nobodys_flag_is_refused() {
        for bad in [&["--nope"][..], &["serve", "-target=querier"], &["serve", "--http-port", "x"]] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn flags_win_over_defaults_and_are_checked() {
        let serve = Serve { http_port: Some(1), log_level: Some("debug".to_owned()), ..Serve::default() };
        let config = serve.settings().expect("good").config;
        assert_eq!((config.server.http_listen_port, config.server.log_level.as_str()), (1, "debug"));
        let serve = Serve { log_level: Some("loud".to_owned()), ..Serve::default() };
        assert!(serve.settings().is_err());
    }
}
