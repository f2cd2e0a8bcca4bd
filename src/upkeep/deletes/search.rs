//! Finding the rows of a hide in a file: by its index, then by reading.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use futures::TryStreamExt;

use crate::catalog::Hide;
use crate::files::read::{Wanted, read};
use crate::files::select::{Selected, select};
use crate::files::{DataFile, FileIndex, FileIndexes, FilesError};
use crate::query::hiding::widened;
use crate::streams::TenantStreams;
use crate::types::rows::RowProjection;

const BATCH_ROWS: usize = 8_192;

/// The rows that the index leaves to be read; empty when the file has none for sure.
pub(in crate::upkeep) fn candidates(
    file: &DataFile,
    index: &FileIndex,
    hide: &Hide,
    streams: &TenantStreams,
) -> Vec<Selected> {
    if !hide.may_touch(file.seq, file.ts_min, file.ts_max) {
        return Vec::new();
    }
    select(index, |stream| hide.predicate.chooses_stream(&streams.get(stream).labels), hide.range)
}

/// Whether the file has a row of the hide. Reads until it finds one.
pub(super) async fn has_any(
    file: &DataFile,
    index: &FileIndex,
    indexes: &FileIndexes,
    hide: &Arc<Hide>,
    streams: &TenantStreams,
) -> Result<bool, FilesError> {
    let selected = candidates(file, index, hide, streams);
    let whole = |selected: &Selected| hide.covers(selected.ts_min, selected.ts_max) && selected.rows() > 0;
    if selected.iter().any(whole) {
        return Ok(true);
    }
    let mut found = false;
    each(file, index, indexes, hide, selected, RowProjection::default(), &mut |_| {
        found = true;
        ControlFlow::Break(())
    })
    .await?;
    Ok(found)
}

/// Calls `each_batch` with the rows of the hide, all columns.
pub(in crate::upkeep) async fn rows_of(
    file: &DataFile,
    index: &FileIndex,
    indexes: &FileIndexes,
    hide: &Arc<Hide>,
    streams: &TenantStreams,
    each_batch: &mut (dyn FnMut(&RecordBatch) -> ControlFlow<()> + Send),
) -> Result<(), FilesError> {
    let selected = candidates(file, index, hide, streams);
    each(file, index, indexes, hide, selected, RowProjection::ALL, each_batch).await
}

async fn each(
    file: &DataFile,
    index: &FileIndex,
    indexes: &FileIndexes,
    hide: &Arc<Hide>,
    selected: Vec<Selected>,
    columns: RowProjection,
    each_batch: &mut (dyn FnMut(&RecordBatch) -> ControlFlow<()> + Send),
) -> Result<(), FilesError> {
    let columns = widened(columns, std::slice::from_ref(hide));
    let wanted = Wanted { columns, members: None, batch_rows: BATCH_ROWS };
    for selected in selected {
        let mut batches = read(file.path.clone(), indexes.reader(file), index, &selected, wanted)?;
        while let Some(batch) = batches.try_next().await? {
            let hidden = hide.hidden(&batch);
            if hidden.count_set_bits() == 0 {
                continue;
            }
            let rows = filter_record_batch(&batch, &BooleanArray::new(hidden, None))?;
            if each_batch(&rows).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
