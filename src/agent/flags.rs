//! Promtail's flags, as its users type them, over the configuration file.
//!
//! `-config.file=x`, `--config.file x` and `-stdin`: the command line turns one dash into two.

use std::path::PathBuf;

use clap::Args;

use super::config::{AgentConfig, BackoffConfig, ClientConfig, ConfigError, Environment, load};
use super::run::Mode;
use crate::types::units::GoDuration;

/// See the module. Of a flag that is not given, the file's value counts.
#[derive(Debug, Clone, Default, Args)]
pub struct AgentFlags {
    /// A Promtail configuration, YAML.
    #[arg(long = "config", alias = "config.file", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Replaces ${VAR} and ${VAR:-default} in the configuration.
    #[arg(long = "config.expand-env", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub expand_env: bool,
    /// Prints what would be sent, and sends nothing.
    #[arg(long = "dry-run", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub dry_run: bool,
    /// Shows what each pipeline stage changes, on standard error.
    #[arg(long = "inspect", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub inspect: bool,
    /// Reads lines from standard input, through the first job's stages.
    #[arg(long = "stdin", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub stdin: bool,
    /// Checks the configuration and ends.
    #[arg(long = "check-syntax", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub check_syntax: bool,
    /// Prints the whole configuration to standard error.
    #[arg(long = "print-config-stderr", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub print_config: bool,
    #[arg(long = "server.http-listen-port", alias = "http-port", value_name = "PORT")]
    pub http_port: Option<u16>,
    #[arg(long = "server.http-listen-address", alias = "http-address", value_name = "ADDRESS")]
    pub http_address: Option<String>,
    #[arg(long = "server.disable", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub server_disable: Option<bool>,
    #[arg(long = "server.enable-runtime-reload", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_reload: Option<bool>,
    /// trace, debug, info, warn or error.
    #[arg(long = "log.level", alias = "log-level", value_name = "LEVEL")]
    pub log_level: Option<String>,
    #[arg(long = "log.format", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Where to push; a client beside those of the file.
    #[arg(long = "client.url", value_name = "URL")]
    pub client_url: Option<String>,
    #[arg(long = "client.tenant-id", value_name = "TENANT")]
    pub client_tenant: Option<String>,
    #[arg(long = "client.batch-wait", value_name = "DURATION")]
    pub client_batch_wait: Option<String>,
    #[arg(long = "client.batch-size-bytes", value_name = "BYTES")]
    pub client_batch_size: Option<usize>,
    #[arg(long = "client.timeout", value_name = "DURATION")]
    pub client_timeout: Option<String>,
    #[arg(long = "client.min-backoff", value_name = "DURATION")]
    pub client_min_backoff: Option<String>,
    #[arg(long = "client.max-backoff", value_name = "DURATION")]
    pub client_max_backoff: Option<String>,
    #[arg(long = "client.max-retries", value_name = "TRIES")]
    pub client_max_retries: Option<u32>,
    /// `name=value,name=value`
    #[arg(long = "client.external-labels", value_name = "LABELS")]
    pub client_external_labels: Option<String>,
    #[arg(long = "positions.file", value_name = "FILE")]
    pub positions_file: Option<String>,
    #[arg(long = "positions.sync-period", value_name = "DURATION")]
    pub positions_sync: Option<String>,
    #[arg(long = "positions.ignore-invalid-yaml", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub positions_ignore: Option<bool>,
    #[arg(long = "target.sync-period", value_name = "DURATION")]
    pub target_sync: Option<String>,
}

/// A configuration with its flags, and what is worth saying about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub config: AgentConfig,
    pub notes: Vec<String>,
}

impl AgentFlags {
    pub fn mode(&self) -> Mode {
        Mode { dry_run: self.dry_run, inspect: self.inspect, stdin: self.stdin }
    }

    /// Reads the file and puts the flags over it.
    ///
    /// # Errors
    /// A file that cannot be read, and everything wrong in it or in the flags.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let (mut config, notes) = match &self.config {
            None => (AgentConfig::default(), Vec::new()),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConfigError::one(format!("cannot read {}: {error}", path.display())))?;
                let lookup = |name: &str| std::env::var(name).ok();
                let environment: Option<Environment<'_>> = if self.expand_env { Some(&lookup) } else { None };
                let loaded = load(&text, environment).map_err(|mut error| {
                    error.problems.iter_mut().for_each(|words| *words = format!("{}: {words}", path.display()));
                    error
                })?;
                (loaded.config, loaded.notes)
            }
        };
        self.apply(&mut config)?;
        Ok(Settings { config, notes })
    }

    fn apply(&self, config: &mut AgentConfig) -> Result<(), ConfigError> {
        let server = &mut config.server;
        set(&mut server.http_listen_port, self.http_port);
        set(&mut server.http_listen_address, self.http_address.clone());
        set(&mut server.disable, self.server_disable);
        set(&mut server.enable_runtime_reload, self.enable_reload);
        set(&mut server.log_level, self.log_level.clone());
        set(&mut server.log_format, self.log_format.clone());
        set(&mut config.positions.filename, self.positions_file.clone());
        set(&mut config.positions.sync_period, duration("positions.sync-period", &self.positions_sync)?);
        set(&mut config.positions.ignore_invalid_yaml, self.positions_ignore);
        set(&mut config.target_config.sync_period, duration("target.sync-period", &self.target_sync)?);
        if let Some(url) = &self.client_url {
            config.clients.push(self.client(url)?);
        }
        Ok(())
    }

    fn client(&self, url: &str) -> Result<ClientConfig, ConfigError> {
        let mut backoff = BackoffConfig::default();
        set(&mut backoff.min_period, duration("client.min-backoff", &self.client_min_backoff)?);
        set(&mut backoff.max_period, duration("client.max-backoff", &self.client_max_backoff)?);
        set(&mut backoff.max_retries, self.client_max_retries);
        let mut client = ClientConfig { url: url.to_owned(), backoff_config: backoff, ..ClientConfig::default() };
        set(&mut client.tenant_id, self.client_tenant.clone());
        set(&mut client.batchwait, duration("client.batch-wait", &self.client_batch_wait)?);
        set(&mut client.batchsize, self.client_batch_size);
        set(&mut client.timeout, duration("client.timeout", &self.client_timeout)?);
        for pair in self.client_external_labels.iter().flat_map(|labels| labels.split(',')) {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                ConfigError::one(format!("-client.external-labels: {pair:?} is no label; write name=value,name=value"))
            })?;
            client.external_labels.insert(name.to_owned(), value.to_owned());
        }
        Ok(client)
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn duration(flag: &str, text: &Option<String>) -> Result<Option<GoDuration>, ConfigError> {
    let parsed = text.as_ref().map(|text| text.parse::<GoDuration>()).transpose();
    parsed.map_err(|error| ConfigError::one(format!("-{flag}: {error}")))
}
