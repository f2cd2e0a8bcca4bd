//! Data files: there and whole; and objects that no version of the table names.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use object_store::{ObjectMeta, ObjectStore};

use super::{DoctorError, Orders, Report, advice, repaired};
use crate::files::table::{OPERATION_DELETE, Table, TableSnapshot, quarantine};
use crate::files::verify::{FileDamage, correct, verify};
use crate::files::{DataFile, FileIndexes};
use crate::store::Place;
use crate::streams::Streams;
use crate::types::time::{Clock, NANOS_PER_MILLI, UnixNanos};

/// Files read at once.
const READS: usize = 4;
/// Footers are looked at once: next to nothing is kept.
const INDEX_BYTES: u64 = 1 << 20;
/// An object that no version names may belong to a flush under way; after this long it does not.
const ORPHAN_AGE_MS: i64 = 3_600_000;

pub(super) async fn examine(
    place: &Place,
    snapshot: &TableSnapshot,
    orders: Orders,
    report: &mut Report,
    bar: &ProgressBar,
) -> Result<(), DoctorError> {
    let live: Vec<&DataFile> = snapshot.files().collect();
    let (store, root) = (place.table.store.clone(), place.table.root.clone());
    let indexes = FileIndexes::new(store, root, Arc::new(Streams::default()), INDEX_BYTES);
    let mut damaged = damaged(place, &live, Some(&indexes), orders, bar).await?;
    if orders.repair && place.sealing.is_none() {
        damaged = correct_bits(place, damaged, report).await?;
    }
    let content = if orders.quick { "footers only" } else { "every byte read" };
    report.saw(format!(
        "files: {} with {} rows, {content}",
        live.len(),
        live.iter().map(|file| file.rows).sum::<u64>()
    ));
    if !damaged.is_empty() {
        report_damage(place, damaged, orders, report).await?;
    }
    orphans(place, snapshot, &live, orders, report).await
}

/// The files that are not as they were written; `indexes` read the footers of files that have them.
pub(super) async fn damaged<'a>(
    place: &Place,
    live: &[&'a DataFile],
    indexes: Option<&FileIndexes>,
    orders: Orders,
    bar: &ProgressBar,
) -> Result<Vec<(&'a DataFile, FileDamage)>, DoctorError> {
    let (store, root) = (&place.table.store, &place.table.root);
    bar.set_length(live.iter().map(|file| file.bytes).sum());
    let checks = live.iter().map(|file| {
        let file = *file;
        async move {
            let damage = verify(store, root, indexes, file, !orders.quick).await?;
            bar.inc(file.bytes);
            Ok::<_, DoctorError>(damage.map(|damage| (file, damage)))
        }
    });
    let found = futures::stream::iter(checks.collect::<Vec<_>>()).buffered(READS);
    found.try_filter_map(|damage| async { Ok(damage) }).try_collect().await
}

/// Flips bits back in files where one was flipped. Answers the files that are damaged otherwise.
async fn correct_bits<'a>(
    place: &Place,
    damaged: Vec<(&'a DataFile, FileDamage)>,
    report: &mut Report,
) -> Result<Vec<(&'a DataFile, FileDamage)>, DoctorError> {
    let mut left = Vec::new();
    for (file, damage) in damaged {
        let may_be = matches!(damage, FileDamage::Checksum | FileDamage::Unreadable(_));
        let corrected = if may_be { correct(&place.table.raw, &place.table.root, file).await? } else { None };
        match corrected {
            Some(at) => report.problem(
                format!("file {}: {damage}", file.path),
                repaired(format!("one bit of byte {at} was flipped: flipped back")),
            ),
            None => left.push((file, damage)),
        }
    }
    Ok(left)
}

async fn report_damage(
    place: &Place,
    damaged: Vec<(&DataFile, FileDamage)>,
    orders: Orders,
    report: &mut Report,
) -> Result<(), DoctorError> {
    let (store, root) = (&place.table.store, &place.table.root);
    let mut dropped = None;
    if orders.drop_lost {
        let (table, _) = Table::open(store.clone(), root.clone(), Clock::system()).await?;
        let files: Vec<DataFile> = damaged.iter().map(|(file, _)| (*file).clone()).collect();
        dropped = Some(table.commit(&[], &files, &[], OPERATION_DELETE).await?);
    }
    for (file, damage) in damaged {
        let what = format!(
            "file {}: {damage}; {} rows of tenant {}, {} to {}",
            file.path,
            file.rows,
            file.tenant,
            time(file.ts_min),
            time(file.ts_max)
        );
        let then = match dropped {
            None => advice(
                "--repair, if a single bit was flipped; else restore the file from a backup under the same name; or --drop-lost takes it out of the table and gives its rows up",
            ),
            Some(version) if damage == FileDamage::Missing => {
                repaired(format!("taken out of the table by version {version}"))
            }
            Some(version) => {
                let to = quarantine(&place.table.raw, root, &file.path).await?;
                repaired(format!("taken out of the table by version {version} and moved to {to}"))
            }
        };
        report.problem(what, then);
    }
    Ok(())
}

/// Data files that are neither live nor removed a while ago.
async fn orphans(
    place: &Place,
    snapshot: &TableSnapshot,
    live: &[&DataFile],
    orders: Orders,
    report: &mut Report,
) -> Result<(), DoctorError> {
    let root = &place.table.root;
    let known: HashSet<&str> =
        live.iter().map(|file| file.path.as_str()).chain(snapshot.removed().map(String::as_str)).collect();
    let old = Clock::system().now().0 / NANOS_PER_MILLI - ORPHAN_AGE_MS;
    let metas: Vec<ObjectMeta> = place.table.raw.list(Some(root)).try_collect().await?;
    for meta in metas {
        let Some(parts) = meta.location.prefix_match(root) else { continue };
        let path = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
        let is_data = path.starts_with("tenant=") && path.ends_with(".parquet");
        if !is_data || known.contains(path.as_str()) || meta.last_modified.timestamp_millis() > old {
            continue;
        }
        let what = format!("{path}: no version of the table names it ({} bytes)", meta.size);
        let then = if orders.repair {
            repaired(format!("moved to {}", quarantine(&place.table.raw, root, &path).await?))
        } else {
            advice("a flush or a merge that did not end left it; --repair moves it away")
        };
        report.note(what, then);
    }
    Ok(())
}

fn time(at: UnixNanos) -> String {
    chrono::DateTime::from_timestamp_nanos(at.0).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
