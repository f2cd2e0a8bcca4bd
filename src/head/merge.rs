//! Many small pushes must not make many small parts: neighbours of like size become one,
//! so that a row is copied a logarithmic number of times and a tenant has few parts.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;

use super::HeadPart;
use crate::types::rows::ROW_SCHEMA;

/// Parts are merged up to this many rows, what a scan takes at once: more would copy without making scans faster.
pub(super) const MERGED_ROWS_MAX: usize = 8_192;

/// Merges from the tail while the last part is at least half as long as the one before it.
pub(super) fn merge_small_parts(parts: &mut Vec<Arc<HeadPart>>) {
    while let [.., before, last] = parts.as_slice() {
        let (before_rows, last_rows) = (before.rows().num_rows(), last.rows().num_rows());
        let together = before.source() == last.source()
            && before.seq() == last.seq()
            && before_rows + last_rows <= MERGED_ROWS_MAX;
        if !together || last_rows * 2 < before_rows {
            return;
        }
        let merged = HeadPart::new(merge(before.rows(), last.rows()), last.source().cloned(), last.seq());
        parts.truncate(parts.len() - 2);
        parts.push(Arc::new(merged));
    }
}

pub(super) fn merge(first: &RecordBatch, second: &RecordBatch) -> RecordBatch {
    let both = concat_batches(&ROW_SCHEMA, [first, second]).expect("parts share a schema and are far below 2 GiB");
    // Without this the merged views would keep one small buffer alive for each push.
    let columns: Vec<ArrayRef> = both
        .columns()
        .iter()
        .map(|column| match column.as_string_view_opt() {
            Some(view) => Arc::new(view.gc()) as ArrayRef,
            None => column.clone(),
        })
        .collect();
    RecordBatch::try_new(both.schema(), columns).expect("compacting views changes neither types nor lengths")
}
