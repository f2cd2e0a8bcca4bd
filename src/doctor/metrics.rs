//! The table of derived metrics: its commit log as that of the logs, its files by size and checksum.

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};

use super::{DoctorError, Orders, Report, advice, table};
use crate::files::DataFile;
use crate::files::table::schema;
use crate::store::Place;

/// Files read at once.
const READS: usize = 4;

/// Looks at the table of metrics at `place`, if there is one; nothing is said of a table that is not there.
///
/// Commits and checkpoints are mended as those of the logs; files are not: rules make metrics anew
/// (`millrace rules backfill`).
pub async fn examine(place: &Place, orders: Orders) -> Result<Report, DoctorError> {
    let mut report = Report::default();
    let Some(snapshot) = table::examine(place, &schema::METRICS, orders, &mut report).await? else {
        report.looked_at.clear();
        return Ok(report.of("metrics"));
    };
    let live: Vec<&DataFile> = snapshot.files().collect();
    let (store, root) = (&place.table.store, &place.table.root);
    let checks = live.iter().map(|file| async move {
        let wrong = what_is_wrong(store.as_ref(), file, &file.location(root), orders.quick).await?;
        Ok::<_, DoctorError>(wrong.map(|wrong| (*file, wrong)))
    });
    let found = futures::stream::iter(checks.collect::<Vec<_>>()).buffered(READS);
    let damaged: Vec<(&DataFile, String)> = found.try_filter_map(|wrong| async { Ok(wrong) }).try_collect().await?;
    let content = if orders.quick { "sizes only" } else { "every byte read" };
    let samples: u64 = live.iter().map(|file| file.rows).sum();
    report.saw(format!("files: {} with {samples} samples, {content}", live.len()));
    for (file, wrong) in damaged {
        report.problem(
            format!("file {}: {wrong}; {} samples of tenant {}", file.path, file.rows, file.tenant),
            advice("restore the file from a backup under the same name, or compute its metrics anew: `millrace rules backfill`"),
        );
    }
    Ok(report.of("metrics"))
}

async fn what_is_wrong(
    store: &dyn ObjectStore,
    file: &DataFile,
    location: &object_store::path::Path,
    quick: bool,
) -> Result<Option<String>, DoctorError> {
    let bytes = match store.head(location).await {
        Ok(object) => object.size,
        Err(object_store::Error::NotFound { .. }) => return Ok(Some("it is missing".to_owned())),
        Err(error) => return Err(error.into()),
    };
    if bytes != file.bytes {
        return Ok(Some(format!("it has {bytes} bytes, not {}", file.bytes)));
    }
    let Some(crc32) = file.crc32.filter(|_| !quick) else { return Ok(None) };
    let content = store.get(location).await?.bytes().await?;
    let is_whole = crc32fast::hash(&content) == crc32;
    Ok((!is_whole).then(|| "its checksum does not fit: bytes were changed after it was written".to_owned()))
}
