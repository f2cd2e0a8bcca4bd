//! Where commands that work on the kept data find it: the same file, flags and defaults as the server's.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{CliError, Serve};
use crate::config::Config;
use crate::store::{Location, Place, TierPlace};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Flags that say where the data is.
#[derive(Debug, Default, Clone, Args)]
pub struct PlaceArgs {
    /// The server's configuration, YAML.
    #[arg(long = "config", env = "MILLRACE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Replaces ${VAR} and ${VAR:-default} in the configuration.
    #[arg(long = "config.expand-env", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub expand_env: bool,
    /// Where everything is kept.
    #[arg(long = "data", env = "MILLRACE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl PlaceArgs {
    /// The server's settings.
    pub fn settings(&self) -> Result<Config, CliError> {
        let serve = Serve {
            config: self.config.clone(),
            expand_env: self.expand_env,
            data: self.data.clone(),
            ..Serve::default()
        };
        Ok(serve.settings()?.config)
    }

    /// The data directory and its table.
    pub fn open(&self, config: &Config) -> Result<Place, AnyError> {
        place_at(config, config.table_location()?, &config.tier_places()?)
    }

    /// The place of the derived metrics; none where there is no directory of them.
    pub fn open_metrics(&self, config: &Config) -> Result<Option<Place>, AnyError> {
        let location = config.millrace.metrics.location(&config.data_dir())?;
        if matches!(&location, Location::Directory(path) if !path.is_dir()) {
            return Ok(None);
        }
        place_at(config, location, &[]).map(Some)
    }
}

/// The data directory with a table at `location`, of which older files lie at `tiers`.
fn place_at(config: &Config, location: Location, tiers: &[TierPlace]) -> Result<Place, AnyError> {
    let sealing = config.sealing()?;
    let opened = location.open(sealing.as_ref())?;
    let (table, _) = opened.with_tiers(tiers, sealing.as_ref(), None)?;
    let table_dir = match location {
        Location::Directory(path) => Some(path),
        Location::Bucket(_) => None,
    };
    Ok(Place { data_dir: config.data_dir(), table, sealing, table_dir })
}
