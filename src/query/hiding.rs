//! Hidden rows left out of what a scan reads: the one place where readers meet deletes.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;

use crate::catalog::Hide;
use crate::types::ids::IngestSeq;
use crate::types::rows::RowProjection;
use crate::types::time::UnixNanos;

/// The hides that may touch rows that came in at `seq`, with these bounds.
pub fn relevant(hides: &[Arc<Hide>], seq: IngestSeq, ts_min: UnixNanos, ts_max: UnixNanos) -> Vec<Arc<Hide>> {
    hides.iter().filter(|hide| hide.may_touch(seq, ts_min, ts_max)).cloned().collect()
}

/// The columns that must be read so that the hides can decide.
pub fn widened(projection: RowProjection, hides: &[Arc<Hide>]) -> RowProjection {
    hides.iter().filter_map(|hide| hide.predicate.reads()).fold(projection, |all, reads| RowProjection {
        level: all.level || reads.level,
        line: all.line || reads.line,
        metadata: all.metadata || reads.metadata,
    })
}

/// Which rows stay; none when all do.
pub fn kept(rows: &RecordBatch, hides: &[Arc<Hide>]) -> Option<BooleanBuffer> {
    let hidden = hides.iter().map(|hide| hide.hidden(rows)).reduce(|all, one| &all | &one)?;
    (hidden.count_set_bits() > 0).then(|| !&hidden)
}

/// The rows that are not hidden, in the columns of `projection`. `rows` were read [`widened`].
pub fn without_hidden(
    rows: RecordBatch,
    hides: &[Arc<Hide>],
    projection: RowProjection,
) -> Result<RecordBatch, ArrowError> {
    if hides.is_empty() {
        return Ok(rows);
    }
    let rows = match kept(&rows, hides) {
        Some(keep) => filter_record_batch(&rows, &BooleanArray::new(keep, None))?,
        None => rows,
    };
    project(&rows, projection)
}

/// Rows in the columns of `projection`, of which they have all.
pub fn project(rows: &RecordBatch, projection: RowProjection) -> Result<RecordBatch, ArrowError> {
    let schema = projection.schema();
    let column = |name: &str| {
        let missing = || ArrowError::SchemaError(format!("rows were read without column {name}"));
        rows.column_by_name(name).cloned().ok_or_else(missing)
    };
    let columns = schema.fields().iter().map(|field| column(field.name())).collect::<Result<Vec<ArrayRef>, _>>()?;
    RecordBatch::try_new(schema, columns)
}
