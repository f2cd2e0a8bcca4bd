//! What retention would take now, before it does: by tenant and rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::rules::{Fate, Rules};
use crate::catalog::Catalog;
use crate::files::read::{Wanted, read};
use crate::files::select::select;
use crate::files::{DataFile, FileIndex, FileIndexes};
use crate::ingest::overrides::LimitsOf;
use crate::types::rows::RowProjection;
use crate::types::time::{TimeRange, UnixNanos};
use crate::types::units::GoDuration;
use crate::upkeep::UpkeepError;

const BATCH_ROWS: usize = 8_192;

/// What one rule of one tenant would take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewEntry {
    pub tenant: String,
    pub rule: String,
    pub period: String,
    /// Files of which all rows are past their period: dropped unread. A file counts for each rule that has rows in it.
    pub files_dropped: u64,
    /// Files that would be written anew.
    pub files_rewritten: u64,
    pub rows: u64,
    /// Bytes of their lines.
    pub line_bytes: u64,
    /// Time of the oldest, nanoseconds since the epoch.
    pub oldest_ns: i64,
}

/// Reads what has to be read to say exactly what retention would take at `now`. CPU-bound where single lines count.
pub async fn preview(
    catalog: &Arc<Catalog>,
    indexes: &FileIndexes,
    limits: &LimitsOf,
    audit_period: GoDuration,
    now: UnixNanos,
) -> Result<Vec<PreviewEntry>, UpkeepError> {
    let mut entries: BTreeMap<(String, usize), PreviewEntry> = BTreeMap::new();
    for partition in catalog.partitions() {
        let of_tenant = limits.of(&partition.tenant);
        let rules = Rules::compile(&of_tenant, audit_period, catalog.streams().tenant(&partition.tenant));
        let rules = rules.map_err(|error| UpkeepError::Query(error.to_string()))?;
        let Some(cutoff) = rules.newest_cutoff(now) else { continue };
        for file in partition.files.iter().filter(|file| file.ts_min < cutoff) {
            let index = indexes.get(file).await?;
            let found = of_file(file, &index, indexes, &rules, now).await?;
            let rows: u64 = found.values().map(|found| found.rows).sum();
            for (rule, found) in found {
                let entry = entries.entry((partition.tenant.to_string(), rule)).or_insert_with(|| PreviewEntry {
                    tenant: partition.tenant.to_string(),
                    rule: rules.rules()[rule].text.clone(),
                    period: GoDuration(rules.rules()[rule].period_ns.unwrap_or(0)).to_string(),
                    oldest_ns: i64::MAX,
                    ..PreviewEntry::default()
                });
                entry.files_dropped += u64::from(rows == file.rows);
                entry.files_rewritten += u64::from(rows != file.rows);
                entry.rows += found.rows;
                entry.line_bytes += found.line_bytes;
                entry.oldest_ns = entry.oldest_ns.min(found.oldest_ns);
            }
        }
    }
    Ok(entries.into_values().collect())
}

/// Rows past their period, by rule.
async fn of_file(
    file: &DataFile,
    index: &FileIndex,
    indexes: &FileIndexes,
    rules: &Rules,
    now: UnixNanos,
) -> Result<BTreeMap<usize, PreviewEntry>, UpkeepError> {
    let mut found: BTreeMap<usize, PreviewEntry> = BTreeMap::new();
    let mut add = |rule: usize, rows: u64, line_bytes: u64, oldest_ns: i64| {
        let entry =
            found.entry(rule).or_insert_with(|| PreviewEntry { oldest_ns: i64::MAX, ..PreviewEntry::default() });
        entry.rows += rows;
        entry.line_bytes += line_bytes;
        entry.oldest_ns = entry.oldest_ns.min(oldest_ns);
    };
    let mut to_read = std::collections::HashSet::new();
    for run in &index.runs {
        match (rules.fate(run, now), rules.rule_of(run)) {
            (Fate::Kept, _) => {}
            (Fate::Expired, Some(rule)) => add(rule, run.rows.len() as u64, run.line_bytes, run.ts_min.0),
            _ => {
                to_read.insert(run.stream);
            }
        }
    }
    for selected in select(index, |stream| to_read.contains(&stream), TimeRange::ALL) {
        let reader = indexes.reader(file);
        let wanted = Wanted { columns: RowProjection::ALL, members: None, batch_rows: BATCH_ROWS };
        let mut batches = read(file.path.clone(), reader, index, &selected, wanted)?;
        while let Some(batch) = batches.try_next().await? {
            let lines = batch.column(3).as_string_view().views();
            let ts = crate::types::rows::Rows::of(&batch).ts;
            for (row, rule) in rules.expired(&batch, now).into_iter().enumerate() {
                if let Some(rule) = rule {
                    add(rule, 1, u64::from(lines[row] as u32), ts[row]);
                }
            }
        }
    }
    Ok(found)
}
