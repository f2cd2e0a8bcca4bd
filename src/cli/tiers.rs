//! `millrace tiers status`: what lies where, and what is due to move.

use std::io::Write;
use std::sync::Arc;

use clap::Subcommand;

use crate::cli::place::PlaceArgs;
use crate::files::table::TableSnapshot;
use crate::files::tier_plan::{Level, level_of, may_move, target};
use crate::files::{DataFile, FileIndexes};
use crate::streams::Streams;
use crate::types::time::{Clock, UnixNanos};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Footers are looked at once: next to nothing is kept.
const INDEX_BYTES: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub enum TiersCommand {
    /// Shows files, rows and bytes of each tier, and what is due to move there.
    Status {
        #[command(flatten)]
        place: PlaceArgs,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// What lies at one tier.
#[derive(Debug, Default, Clone, serde::Serialize)]
struct Sums {
    tier: String,
    place: String,
    files: u64,
    rows: u64,
    bytes: u64,
    /// Nanoseconds since the epoch; 0 without files.
    newest_ns: i64,
    /// Files that move here in the next round.
    due_files: u64,
}

/// Tells the labels of a file's streams.
struct Footers {
    indexes: FileIndexes,
    streams: Arc<Streams>,
}

impl TiersCommand {
    pub fn run(&self) -> Result<(), AnyError> {
        let TiersCommand::Status { place, json } = self;
        let config = place.settings()?;
        let levels = config.tier_levels()?;
        let own = config.table_location()?.to_string();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let sums = runtime.block_on(async {
            let place = place.open(&config)?;
            let (store, root) = (place.table.store.clone(), place.table.root.clone());
            let snapshot = TableSnapshot::read(store.clone(), root.clone()).await?.ok_or("there is no table yet")?;
            let streams = Arc::new(Streams::default());
            let footers = Footers { indexes: FileIndexes::new(store, root, streams.clone(), INDEX_BYTES), streams };
            sum(&snapshot, &footers, &levels, own, Clock::system().now()).await
        })?;
        show(&sums, *json, &mut std::io::stdout())
    }
}

async fn sum(
    snapshot: &TableSnapshot,
    footers: &Footers,
    levels: &[Level],
    own: String,
    now: UnixNanos,
) -> Result<Vec<Sums>, AnyError> {
    let mut sums = vec![Sums { tier: "hot".to_owned(), place: own, ..Sums::default() }];
    sums.extend(levels.iter().map(|level| Sums {
        tier: level.name.clone(),
        place: level.url.clone(),
        ..Sums::default()
    }));
    for file in snapshot.files() {
        let at = &mut sums[level_of(file, levels).map_or(0, |at| at + 1)];
        at.files += 1;
        at.rows += file.rows;
        at.bytes += file.bytes;
        at.newest_ns = at.newest_ns.max(file.ts_max.0);
        if let Some(level) = due(file, footers, levels, now).await? {
            sums[level + 1].due_files += 1;
        }
    }
    Ok(sums)
}

async fn due(file: &DataFile, footers: &Footers, levels: &[Level], now: UnixNanos) -> Result<Option<usize>, AnyError> {
    if !may_move(file, levels, now) {
        return Ok(None);
    }
    let (index, known) = (footers.indexes.get(file).await?, footers.streams.tenant(&file.tenant));
    let streams: Vec<_> = index.runs.iter().map(|run| known.get(run.stream)).collect();
    Ok(target(file, levels, streams.iter().map(|stream| &stream.labels), now))
}

fn show(sums: &[Sums], json: bool, out: &mut impl Write) -> Result<(), AnyError> {
    if !json {
        writeln!(
            out,
            "{:<10} {:>7} {:>12} {:>11} {:>5}  {:<20}  PLACE",
            "TIER", "FILES", "ROWS", "SIZE", "DUE", "NEWEST ROW"
        )?;
    }
    for sum in sums {
        if json {
            writeln!(out, "{}", serde_json::to_string(sum)?)?;
            continue;
        }
        let newest = match sum.files {
            0 => "-".to_owned(),
            _ => chrono::DateTime::from_timestamp_nanos(sum.newest_ns).format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        let size = indicatif::BinaryBytes(sum.bytes).to_string();
        let (tier, files, rows, due, place) = (&sum.tier, sum.files, sum.rows, sum.due_files, &sum.place);
        writeln!(out, "{tier:<10} {files:>7} {rows:>12} {size:>11} {due:>5}  {newest:<20}  {place}")?;
    }
    Ok(())
}
