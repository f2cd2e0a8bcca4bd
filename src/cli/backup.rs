//! `millrace backup create | list | restore | verify | prune`.

use std::collections::BTreeMap;
use std::io::Write;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::backup::{Manifest, Repository, create, restore};
use crate::cli::place::PlaceArgs;
use crate::config::Config;
use crate::store::{Location, RequestLimits};
use crate::types::time::Clock;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Takes a backup while the server runs; what did not change since the last one is not copied again.
    Create {
        #[command(flatten)]
        repository: RepositoryArgs,
        #[command(flatten)]
        place: PlaceArgs,
        /// Removes all but the newest backups afterwards.
        #[arg(long, value_name = "BACKUPS")]
        keep: Option<usize>,
    },
    /// Shows the backups of a repository.
    List {
        #[command(flatten)]
        repository: RepositoryArgs,
        #[command(flatten)]
        place: PlaceArgs,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Reads all that a backup needs and compares it.
    Verify {
        #[command(flatten)]
        repository: RepositoryArgs,
        #[command(flatten)]
        place: PlaceArgs,
        /// The newest, if none is named; `all` for all.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
    /// Makes the data directory and the table anew, in an empty place.
    Restore {
        #[command(flatten)]
        repository: RepositoryArgs,
        #[command(flatten)]
        place: PlaceArgs,
        /// The newest, if none is named.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
    /// Removes all but the newest backups, and what only they needed.
    Prune {
        #[command(flatten)]
        repository: RepositoryArgs,
        #[command(flatten)]
        place: PlaceArgs,
        #[arg(long, value_name = "BACKUPS")]
        keep: usize,
    },
}

/// Where backups are kept.
#[derive(Debug, Clone, Args)]
pub struct RepositoryArgs {
    /// A directory, or s3://, gs://, az://; `millrace.backup.url` if it is left out.
    #[arg(value_name = "REPOSITORY")]
    to: Option<String>,
    /// A setting of the bucket, such as aws_endpoint=https://…; credentials are better in the environment.
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
}

impl RepositoryArgs {
    fn open(&self, config: &Config) -> Result<Repository, AnyError> {
        let own = &config.millrace.backup;
        let (to, mut options) = match (&self.to, &own.url) {
            (Some(to), _) => (to.as_str(), BTreeMap::new()),
            (None, Some(url)) => (url.as_str(), own.options.clone()),
            (None, None) => {
                return Err("say where backups are kept: a directory or a URL, or millrace.backup.url".into());
            }
        };
        for option in &self.options {
            let (name, value) = option.split_once('=').ok_or_else(|| format!("--option {option}: NAME=VALUE"))?;
            options.insert(name.to_owned(), value.to_owned());
        }
        let location = Location::parse(to, &options, &RequestLimits::default())?;
        Ok(Repository::new(location.open(None)?, location.to_string()))
    }
}

impl BackupCommand {
    /// Does it; says on standard output what was done.
    pub fn run(&self) -> Result<(), AnyError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.run_async(&mut std::io::stdout()))
    }

    async fn run_async(&self, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
        match self {
            BackupCommand::Create { repository, place, keep } => {
                let config = place.settings()?;
                let repository = repository.open(&config)?;
                let bar = progress();
                let created = create(&place.open(&config)?, &repository, &Clock::system(), &bar).await?;
                bar.finish_and_clear();
                let manifest = &created.manifest;
                writeln!(
                    out,
                    "backup {}: table version {}, {} files of {}, {} of them new ({})",
                    manifest.id,
                    manifest.version,
                    manifest.entries.len(),
                    size(manifest.bytes()),
                    created.new_files,
                    size(manifest.added_bytes),
                )?;
                if let Some(keep) = keep {
                    prune(&repository, *keep, out).await?;
                }
            }
            BackupCommand::List { repository, place, json } => {
                let manifests = repository.open(&place.settings()?)?.list().await?;
                list(&manifests, *json, out)?;
            }
            BackupCommand::Verify { repository, place, id } => {
                let repository = repository.open(&place.settings()?)?;
                let manifests = match id.as_deref() {
                    Some("all") => repository.list().await?,
                    id => vec![repository.find(id).await?],
                };
                verify(&repository, &manifests, out).await?;
            }
            BackupCommand::Restore { repository, place, id } => {
                let config = place.settings()?;
                let repository = repository.open(&config)?;
                let manifest = repository.find(id.as_deref()).await?;
                let target = place.open(&config)?;
                let bar = progress();
                restore(&repository, &manifest, &target, &bar).await?;
                bar.finish_and_clear();
                writeln!(
                    out,
                    "restored backup {} to {}: {} rows in files, table version {}; start the server there",
                    manifest.id,
                    target.data_dir.display(),
                    manifest.rows,
                    manifest.version
                )?;
            }
            BackupCommand::Prune { repository, place, keep } => {
                prune(&repository.open(&place.settings()?)?, *keep, out).await?;
            }
        }
        Ok(())
    }
}

async fn prune(repository: &Repository, keep: usize, out: &mut impl Write) -> Result<(), AnyError> {
    if keep == 0 {
        return Err("--keep 0 would remove every backup; delete the repository if you mean it".into());
    }
    let (gone, freed) = repository.prune(keep).await?;
    for id in &gone {
        writeln!(out, "removed backup {id}")?;
    }
    if freed > 0 {
        writeln!(out, "{} given back", size(freed))?;
    }
    Ok(())
}

async fn verify(repository: &Repository, manifests: &[Manifest], out: &mut impl Write) -> Result<(), AnyError> {
    let mut damaged = 0;
    for manifest in manifests {
        let bar = progress();
        let damage = repository.verify(manifest, &bar).await?;
        bar.finish_and_clear();
        match damage.is_empty() {
            true => writeln!(
                out,
                "backup {}: good, {} files of {}",
                manifest.id,
                manifest.entries.len(),
                size(manifest.bytes())
            )?,
            false => damaged += 1,
        }
        for damage in damage {
            writeln!(out, "backup {}: {}: {}", manifest.id, damage.path, damage.reason)?;
        }
    }
    if damaged > 0 {
        return Err(format!("{damaged} of {} backups are damaged", manifests.len()).into());
    }
    Ok(())
}

fn list(manifests: &[Manifest], json: bool, out: &mut impl Write) -> Result<(), AnyError> {
    if !json {
        writeln!(
            out,
            "{:<18} {:>9} {:>12} {:>7} {:>10} {:>10}",
            "BACKUP", "VERSION", "ROWS", "FILES", "SIZE", "ADDED"
        )?;
    }
    for manifest in manifests {
        let (files, bytes) = (manifest.entries.len(), manifest.bytes());
        if json {
            let line = serde_json::json!({"id": manifest.id, "version": manifest.version, "rows": manifest.rows, "files": files, "bytes": bytes, "added_bytes": manifest.added_bytes});
            writeln!(out, "{line}")?;
        } else {
            let (id, version, rows) = (manifest.id.to_string(), manifest.version, manifest.rows);
            let (bytes, added) = (size(bytes), size(manifest.added_bytes));
            writeln!(out, "{id:<18} {version:>9} {rows:>12} {files:>7} {bytes:>10} {added:>10}")?;
        }
    }
    Ok(())
}

/// On standard error, if that is a terminal.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg} [{bar:40}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
    );
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
