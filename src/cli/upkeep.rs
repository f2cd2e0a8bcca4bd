//! `millrace table status`, `millrace retention preview`, `millrace delete …`: of a running server or of a directory.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::catalog::Catalog;
use crate::cli::place::PlaceArgs;
use crate::files::FileIndexes;
use crate::files::table::Table;
use crate::ingest::overrides::{LimitsOf, parse_overrides};
use crate::streams::Streams;
use crate::types::ids::Lsn;
use crate::types::time::{Clock, UnixNanos};
use crate::upkeep::TableStatus;
use crate::upkeep::deletes::verify;
use crate::upkeep::retention::{PreviewEntry, preview};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Shows partitions, files, and the merges that are due.
    Status {
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Lists what retention would take now, in files, rows and bytes. Takes nothing.
    Preview {
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Debug, Subcommand)]
pub enum DeleteCommand {
    /// Lists the delete requests of a tenant.
    List {
        #[command(flatten)]
        server: Server,
    },
    /// Prints the certificate of a delete that is done: what was removed, signed.
    Certificate {
        #[command(flatten)]
        server: Server,
        #[arg(value_name = "REQUEST")]
        id: String,
    },
    /// Checks the signature of a certificate, and says what it certifies.
    Verify {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The key it must be signed by, base64, as another certificate or the operator names it.
        #[arg(long, value_name = "KEY")]
        public_key: Option<String>,
    },
}

/// A running server, or where one keeps its data.
#[derive(Debug, Args)]
pub struct Of {
    /// A running server, such as http://127.0.0.1:3100; without, the directory is read.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Authorization: Bearer.
    #[arg(long, env = "MILLRACE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Machine-readable.
    #[arg(long)]
    json: bool,
}

/// A running server.
#[derive(Debug, Args)]
pub struct Server {
    #[arg(long, default_value = "http://127.0.0.1:3100", value_name = "URL")]
    url: String,
    /// X-Scope-OrgID.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Authorization: Bearer.
    #[arg(long, env = "MILLRACE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl TableCommand {
    pub fn run(&self) -> Result<(), AnyError> {
        let TableCommand::Status { of } = self;
        blocking(async {
            let status: TableStatus = match &of.url {
                Some(url) => serde_json::from_str(&get(url, "/api/v1/table/status", None, of.token.as_deref()).await?)?,
                None => status_of_place(&of.place).await?,
            };
            let mut out = std::io::stdout();
            if of.json {
                writeln!(out, "{}", serde_json::to_string(&status)?)?;
                return Ok(());
            }
            print_status(&status, &mut out)?;
            Ok(())
        })
    }
}

impl RetentionCommand {
    pub fn run(&self) -> Result<(), AnyError> {
        let RetentionCommand::Preview { of } = self;
        blocking(async {
            let entries: Vec<PreviewEntry> = match &of.url {
                Some(url) => {
                    serde_json::from_str(&get(url, "/api/v1/retention/preview", None, of.token.as_deref()).await?)?
                }
                None => preview_of_place(&of.place).await?,
            };
            let mut out = std::io::stdout();
            if of.json {
                writeln!(out, "{}", serde_json::to_string(&entries)?)?;
                return Ok(());
            }
            print_preview(&entries, &mut out)?;
            Ok(())
        })
    }
}

impl DeleteCommand {
    pub fn run(&self) -> Result<(), AnyError> {
        let mut out = std::io::stdout();
        match self {
            DeleteCommand::List { server } => {
                let text = blocking(server.get("/loki/api/v1/delete"))?;
                let requests: Vec<serde_json::Value> = serde_json::from_str(&text)?;
                for request in requests {
                    let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
                    writeln!(out, "{}  {:<14}  {}", text("request_id"), text("status"), text("query"))?;
                }
                Ok(())
            }
            DeleteCommand::Certificate { server, id } => {
                let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
                let path = format!("/loki/api/v1/delete/certificate?request_id={id}");
                writeln!(out, "{}", blocking(server.get(&path))?)?;
                Ok(())
            }
            DeleteCommand::Verify { file, public_key } => {
                let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
                let verified = verify(text.trim())?;
                if public_key.as_ref().is_some_and(|key| *key != verified.public_key) {
                    return Err(format!("the certificate is signed by another key: {}", verified.public_key).into());
                }
                let certificate = verified.certificate;
                writeln!(out, "signature good, by key {}", verified.public_key)?;
                writeln!(out, "tenant    {}", certificate.tenant)?;
                writeln!(out, "query     {}", certificate.query)?;
                writeln!(out, "times     {} to {}", certificate.start, certificate.end)?;
                writeln!(
                    out,
                    "rows      {} ({} bytes of lines)",
                    certificate.rows_deleted, certificate.line_bytes_deleted
                )?;
                writeln!(out, "files     {} written anew or dropped", certificate.files.len())?;
                writeln!(out, "requested {}, erased {}", certificate.requested_at, certificate.erased_at)?;
                Ok(())
            }
        }
    }
}

impl Server {
    async fn get(&self, path: &str) -> Result<String, AnyError> {
        get(&self.url, path, self.tenant.as_deref(), self.token.as_deref()).await
    }
}

async fn get(url: &str, path: &str, tenant: Option<&str>, token: Option<&str>) -> Result<String, AnyError> {
    let mut request = reqwest::Client::new().get(format!("{}{path}", url.trim_end_matches('/')));
    if let Some(tenant) = tenant {
        request = request.header("X-Scope-OrgID", tenant);
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let body = answer.text().await?;
    if status.is_success() { Ok(body) } else { Err(format!("{url} answers {status}: {}", body.trim()).into()) }
}

fn blocking<T>(work: impl Future<Output = Result<T, AnyError>>) -> Result<T, AnyError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn status_of_place(place: &PlaceArgs) -> Result<TableStatus, AnyError> {
    let config = place.settings()?;
    let opened = place.open(&config)?;
    let Some(state) = Table::read(opened.table.store.clone(), opened.table.root.clone()).await? else {
        return Err(format!("there is no table in {}", config.data_dir().display()).into());
    };
    let version = state.version;
    let catalog = Catalog::new(Arc::new(Streams::default()), state.files, Lsn(0));
    Ok(TableStatus::of(version, &catalog.partitions(), &config.millrace.compaction.policy()))
}

async fn preview_of_place(place: &PlaceArgs) -> Result<Vec<PreviewEntry>, AnyError> {
    let config = place.settings()?;
    let opened = place.open(&config)?;
    let Some(state) = Table::read(opened.table.store.clone(), opened.table.root.clone()).await? else {
        return Ok(Vec::new());
    };
    let limits = LimitsOf::new(config.limits_config.clone());
    if let Some((path, _)) = config.overrides_file() {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        limits.replace(parse_overrides(&text, &config.limits_config)?);
    }
    let streams = Arc::new(Streams::default());
    let cache_bytes = config.millrace.query.index_cache_bytes.0;
    let indexes = FileIndexes::new(opened.table.store.clone(), opened.table.root.clone(), streams.clone(), cache_bytes);
    let catalog = Arc::new(Catalog::new(streams, state.files, Lsn(0)));
    Ok(preview(&catalog, &indexes, &limits, config.millrace.audit.retention, Clock::system().now()).await?)
}

fn print_status(status: &TableStatus, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "version {}: {} rows in {} files, {}",
        status.version,
        status.rows,
        status.files,
        size(status.bytes)
    )?;
    writeln!(out, "{:<20} {:<10} {:>7} {:>7} {:>12} {:>10}", "tenant", "date", "files", "small", "rows", "size")?;
    for partition in &status.partitions {
        writeln!(
            out,
            "{:<20} {:<10} {:>7} {:>7} {:>12} {:>10}",
            partition.tenant,
            partition.date,
            partition.files,
            partition.small_files,
            partition.rows,
            size(partition.bytes)
        )?;
    }
    if let Some(in_charge) = &status.in_charge {
        writeln!(out, "upkeep by {in_charge}")?;
    }
    if let Some(due) = status.merges_due {
        writeln!(out, "merges due: {due}")?;
    }
    if let Some(running) = &status.running {
        writeln!(
            out,
            "merging {} files ({}) of {} {}",
            running.files,
            size(running.bytes),
            running.tenant,
            running.date
        )?;
    }
    if status.retired_files > 0 {
        writeln!(out, "{} files ({}) wait for the vacuum", status.retired_files, size(status.retired_bytes))?;
    }
    for path in &status.damaged {
        writeln!(out, "cannot be read: {path}")?;
    }
    Ok(())
}

fn print_preview(entries: &[PreviewEntry], out: &mut impl Write) -> std::io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "retention would take nothing now");
    }
    for entry in entries {
        let oldest = chrono::DateTime::from_timestamp_nanos(UnixNanos(entry.oldest_ns).0);
        writeln!(out, "{} {} after {}", entry.tenant, entry.rule, entry.period)?;
        writeln!(
            out,
            "  {} rows, {} of lines, oldest {}; {} files dropped, {} written anew",
            entry.rows,
            size(entry.line_bytes),
            oldest.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            entry.files_dropped,
            entry.files_rewritten
        )?;
    }
    Ok(())
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KB", bytes as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GB", bytes as f64 / 1_073_741_824.0),
    }
}
