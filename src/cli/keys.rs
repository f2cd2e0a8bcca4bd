//! `millrace keys generate | status | rotate`: the keys of encryption at rest.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Subcommand;
use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::cli::place::PlaceArgs;
use crate::seal::envelope::{HEADER_BYTES, is_sealed, key_id};
use crate::seal::{generate_line, record};
use crate::store::{Location, Opened, Place, Sealing, renew};
use crate::wal::{DirectoryLock, inspect};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Headers read at once.
const HEADER_READS: usize = 16;
/// What stands for a key in counts of what is not sealed.
const PLAIN: &str = "(not sealed)";

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Makes a new key, the newest from now on, and adds it to a key file.
    Generate {
        /// Made if it is not there, readable by its owner only.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Letters, digits, - and _; tells keys apart.
        #[arg(long, value_name = "ID")]
        id: String,
    },
    /// Counts what is sealed under which key.
    Status {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Puts everything that is kept under the newest key.
    Rotate {
        #[command(flatten)]
        place: PlaceArgs,
    },
}

impl KeysCommand {
    pub fn run(&self) -> Result<(), AnyError> {
        let mut out = std::io::stdout();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        match self {
            KeysCommand::Generate { file, id } => {
                let line = generate_line(id)?;
                let known = std::fs::read_to_string(file).unwrap_or_default();
                if known.lines().any(|line| line.split_whitespace().next() == Some(id)) {
                    return Err(format!("{} has a key {id} already", file.display()).into());
                }
                let mut keys = OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
                let gap = if known.is_empty() || known.ends_with('\n') { "" } else { "\n" };
                keys.write_all(gap.as_bytes())?;
                keys.write_all(line.as_bytes())?;
                keys.sync_all()?;
                writeln!(out, "key {id} added to {}; keep a copy of it apart from the data", file.display())?;
                Ok(())
            }
            KeysCommand::Status { place } => runtime.block_on(async {
                let (place, tables, sealing) = open(place)?;
                status(&place, &tables, &sealing, &mut out).await
            }),
            KeysCommand::Rotate { place } => runtime.block_on(async {
                let (place, tables, sealing) = open(place)?;
                rotate(&place, &tables, &sealing, &mut out).await
            }),
        }
    }
}

/// The place, the tables there (lines, and derived metrics where they are kept), and the keys.
fn open(place: &PlaceArgs) -> Result<(Place, Vec<Opened>, Sealing), AnyError> {
    let config = place.settings()?;
    let place = place.open(&config)?;
    let sealing = place.sealing.clone().ok_or("no keys are set; set millrace.encryption.key_file")?;
    let mut tables = vec![place.table.clone()];
    let metrics = config.millrace.metrics.location(&place.data_dir)?;
    if !matches!(&metrics, Location::Directory(path) if !path.exists()) {
        tables.push(metrics.open(Some(&sealing))?);
    }
    Ok((place, tables, sealing))
}

async fn status(place: &Place, tables: &[Opened], sealing: &Sealing, out: &mut impl Write) -> Result<(), AnyError> {
    let mut objects: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for table in tables {
        for (meta, id) in ids(table).await? {
            let counts = objects.entry(id).or_default();
            counts.0 += 1;
            counts.1 += meta.size;
        }
    }
    let mut records: BTreeMap<String, u64> = BTreeMap::new();
    let wal = place.data_dir.join("wal");
    if wal.exists() {
        inspect(&wal, |found| {
            let id = record::key_id(found.payload).unwrap_or(PLAIN).to_owned();
            *records.entry(id).or_default() += u64::from(!found.payload.is_empty());
        })?;
    }
    writeln!(out, "{:<34} {:>9} {:>12} {:>12}", "KEY", "OBJECTS", "SIZE", "LOG RECORDS")?;
    let mut all: Vec<String> = sealing.keys.ids().map(str::to_owned).collect();
    all.extend(objects.keys().chain(records.keys()).filter(|id| sealing.keys.ids().all(|known| known != *id)).cloned());
    all.dedup();
    for id in all {
        let (count, bytes) = objects.get(&id).copied().unwrap_or_default();
        let newest = if id == sealing.keys.newest_id() { "  newest" } else { "" };
        let records = records.get(&id).copied().unwrap_or_default();
        writeln!(out, "{id:<34} {count:>9} {:>12} {records:>12}{newest}", indicatif::BinaryBytes(bytes).to_string())?;
    }
    Ok(())
}

/// Data keys are wrapped anew, contents stay; what is plain is sealed. Readers may go on meanwhile, unless something
/// is plain: what they know of it would be wrong.
async fn rotate(place: &Place, tables: &[Opened], sealing: &Sealing, out: &mut impl Write) -> Result<(), AnyError> {
    let newest = sealing.keys.newest_id();
    let mut todo: Vec<(&Opened, ObjectMeta)> = Vec::new();
    let mut is_plain = false;
    for table in tables {
        for (meta, id) in ids(table).await?.into_iter().filter(|(_, id)| id != newest) {
            is_plain |= id == PLAIN;
            todo.push((table, meta));
        }
    }
    let _lock = if is_plain && place.data_dir.join("wal").exists() {
        Some(
            DirectoryLock::take(&place.data_dir.join("wal"))
                .map_err(|error| format!("what is not sealed yet is sealed only while no server runs: {error}"))?,
        )
    } else {
        None
    };
    let bar = ProgressBar::new(todo.len() as u64);
    for (table, meta) in &todo {
        let content = match table.raw.get(&meta.location).await {
            Err(object_store::Error::NotFound { .. }) => continue,
            found => found?.bytes().await?,
        };
        let (keys, name) = (sealing.keys.clone(), name(&table.roots, &meta.location));
        let renewed = tokio::task::spawn_blocking(move || renew(&keys, &name, &content)).await?;
        if let Some(content) = renewed.map_err(|error| format!("{}: {error}", meta.location))? {
            table.raw.put(&meta.location, content.into()).await?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    writeln!(out, "{} objects are under key {newest} now", todo.len())?;
    writeln!(
        out,
        "log records of older keys go with the next two flushes (POST /flush); `millrace keys status` tells when none is left"
    )?;
    Ok(())
}

/// The name that an object is bound to: below the root that it lies under, the longest.
fn name(roots: &[Path], location: &Path) -> String {
    let below = roots.iter().filter_map(|root| {
        let parts = location.prefix_match(root)?.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>();
        Some(parts.join("/"))
    });
    below.min_by_key(String::len).unwrap_or_else(|| location.to_string())
}

/// Every object of the table, with the key that it is under.
async fn ids(table: &Opened) -> Result<Vec<(ObjectMeta, String)>, AnyError> {
    let mut metas: Vec<ObjectMeta> = Vec::new();
    for root in &table.roots {
        metas.extend(table.raw.list(Some(root)).try_collect::<Vec<_>>().await?);
    }
    let store = &table.raw;
    let read = metas.into_iter().map(|meta| async move {
        let range = Some(GetRange::Bounded(0..HEADER_BYTES.min(meta.size)));
        let start = match meta.size {
            0 => bytes::Bytes::new(),
            _ => match store.get_opts(&meta.location, GetOptions { range, ..GetOptions::default() }).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                found => found?.bytes().await?,
            },
        };
        let id = match start.first_chunk() {
            Some(header) if is_sealed(header) => key_id(header).map_err(|e| format!("{}: {e}", meta.location))?,
            _ => PLAIN,
        };
        let id = id.to_owned();
        Ok::<_, AnyError>(Some((meta, id)))
    });
    let found = futures::stream::iter(read.collect::<Vec<_>>()).buffered(HEADER_READS);
    found.try_filter_map(|found| async { Ok(found) }).try_collect().await
}
