//! Repeats of rows that were flushed right before a restart: known again by reading the files they are in.
//!
//! The log drops what is in files, and a client that had no answer may send it once more to the process that comes
//! after this one. What the head knew, the next head shall know.

use std::time::Duration;

use futures::TryStreamExt;

use crate::catalog::Catalog;
use crate::files::read::read_all;
use crate::files::{DataFile, FileIndexes, FilesError};
use crate::head::row_hashes;
use crate::query::hiding::{kept, relevant};
use crate::streams::StreamRef;
use crate::types::ids::IngestSeq;

/// Rows that are read at most, newest files first: about two seconds of a start.
const ROWS_MAX: u64 = 4_000_000;
const BATCH_ROWS: usize = 8_192;

/// The files of the last flush. Where several processes write, those of the minutes before it too: one of them is ours.
pub(super) fn files_of_last_flush(files: &[DataFile], shared: bool) -> Vec<DataFile> {
    let window = if shared { Duration::from_mins(10).as_nanos() as u64 } else { 0 };
    let last = files.iter().map(|file| file.seq).max().unwrap_or_default();
    let since = IngestSeq(last.0.saturating_sub(window));
    let mut chosen: Vec<DataFile> = files.iter().filter(|file| file.seq >= since).cloned().collect();
    chosen.sort_by_key(|file| std::cmp::Reverse(file.seq));
    let mut rows = 0;
    chosen.retain(|file| {
        rows += file.rows;
        rows <= ROWS_MAX
    });
    chosen
}

/// Tells the head of the rows of `files`. A file that cannot be read is said in the log and left out.
pub(super) async fn remember(catalog: &Catalog, indexes: &FileIndexes, files: &[DataFile]) {
    for file in files {
        if let Err(error) = remember_file(catalog, indexes, file).await {
            tracing::warn!(%error, "rows of the last flush cannot be read; those that are sent again are stored again");
        }
    }
}

async fn remember_file(catalog: &Catalog, indexes: &FileIndexes, file: &DataFile) -> Result<(), FilesError> {
    let index = indexes.get(file).await?;
    let streams = catalog.streams().tenant(&file.tenant);
    let hides = relevant(&catalog.hides(&file.tenant), file.seq, file.ts_min, file.ts_max);
    let mut batches = read_all(file.path.clone(), indexes.reader(file), &index, BATCH_ROWS)?;
    while let Some(rows) = batches.try_next().await? {
        let hashes = row_hashes(&file.tenant, &rows, |stream| streams.get(StreamRef(stream)));
        match kept(&rows, &hides) {
            None => catalog.remember_flushed(&hashes),
            // What was deleted and comes again is new.
            Some(keep) => {
                let kept: Vec<_> = hashes.iter().zip(&keep).filter(|(_, keep)| *keep).map(|(hash, _)| *hash).collect();
                catalog.remember_flushed(&kept);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::TenantId;

    #[test]
    fn the_newest_files_are_chosen() {
        let tenant = TenantId::parse("t").expect("a tenant");
        let minute = Duration::from_mins(1).as_nanos() as u64;
        let file = |at: u64, rows: u64| DataFile {
            rows,
            ..DataFile::new(tenant.clone(), 0, format!("{at}-{rows}"), IngestSeq(at * minute))
        };
        let files = [file(1, 5), file(40, 7), file(40, 8), file(35, 9), file(39, ROWS_MAX)];
        let paths = |shared| files_of_last_flush(&files, shared).into_iter().map(|file| file.path).collect::<Vec<_>>();
        assert_eq!(paths(false), ["40-7", "40-8"]);
        assert_eq!(paths(true), ["40-7", "40-8"], "more rows than are read");
        assert_eq!(files_of_last_flush(&files[..4], true).len(), 3);
        assert!(files_of_last_flush(&[], false).is_empty());
    }
}
