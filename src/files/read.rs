//! Reads selected rows of a file as batches of the row schema, streams by ref.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use futures::stream::{BoxStream, StreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use super::FilesError;
use super::index::FileIndex;
use super::object_reader::ObjectReader;
use super::select::{Segment, Selected};
use crate::types::rows::{ROW_SCHEMA, RowProjection};

/// Places of the file's columns.
const TS_NS_ROOT: usize = 0;
const LEVEL_ROOT: usize = 3;
const LINE_ROOT: usize = 4;
const METADATA_ROOT: usize = 5;

/// Streams the rows of `selected` in file order, schema `projection.schema()`.
///
/// Cancellation: dropping the stream stops reading.
pub fn read(
    path: String,
    reader: ObjectReader,
    index: &FileIndex,
    selected: &Selected,
    projection: RowProjection,
    batch_rows: usize,
) -> Result<BoxStream<'static, Result<RecordBatch, FilesError>>, FilesError> {
    let metadata = index.parquet.metadata();
    let group_rows = metadata.row_group(selected.row_group).num_rows() as usize;
    let mut roots = vec![TS_NS_ROOT];
    roots.extend(projection.level.then_some(LEVEL_ROOT));
    roots.extend(projection.line.then_some(LINE_ROOT));
    roots.extend(projection.metadata.then_some(METADATA_ROOT));
    let mask = ProjectionMask::roots(metadata.file_metadata().schema_descr(), roots);
    let ranges = selected.segments.iter().map(|segment| segment.rows.clone());
    let at_fault = {
        let path = path.clone();
        move |source| FilesError::Parquet { path: path.clone(), source }
    };
    let batches = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, index.parquet.clone())
        .with_row_groups(vec![selected.row_group])
        .with_projection(mask)
        .with_row_selection(RowSelection::from_consecutive_ranges(ranges, group_rows))
        .with_batch_size(batch_rows)
        .build()
        .map_err(&at_fault)?;
    let mut streams = StreamColumn::new(selected.segments.clone());
    let schema = projection.schema();
    let rows = batches.map(move |batch| {
        let batch = batch.map_err(&at_fault)?;
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns.insert(1, streams.next(batch.num_rows()));
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    });
    Ok(rows.boxed())
}

/// Streams all rows of a file in their order, schema `ROW_SCHEMA`. Memory: one row group as stored, and a batch.
pub fn read_all(
    path: String,
    reader: ObjectReader,
    index: &FileIndex,
    batch_rows: usize,
) -> Result<BoxStream<'static, Result<RecordBatch, FilesError>>, FilesError> {
    let roots = [TS_NS_ROOT, LEVEL_ROOT, LINE_ROOT, METADATA_ROOT];
    let mask = ProjectionMask::roots(index.parquet.metadata().file_metadata().schema_descr(), roots);
    let at_fault = move |source| FilesError::Parquet { path: path.clone(), source };
    let batches = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, index.parquet.clone())
        .with_projection(mask)
        .with_batch_size(batch_rows)
        .build()
        .map_err(&at_fault)?;
    let segments = index.runs.iter().map(|run| Segment { rows: run.rows.clone(), stream: run.stream });
    let mut streams = StreamColumn::new(segments.collect());
    let rows = batches.map(move |batch| {
        let batch = batch.map_err(&at_fault)?;
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns.insert(1, streams.next(batch.num_rows()));
        Ok(RecordBatch::try_new(ROW_SCHEMA.clone(), columns)?)
    });
    Ok(rows.boxed())
}

/// The `stream` column, made from the segments as batches come in their order.
#[derive(Debug)]
struct StreamColumn {
    segments: Vec<Segment>,
    /// Segment that the next row belongs to, and how many of its rows were given.
    at: usize,
    given: usize,
}

impl StreamColumn {
    fn new(segments: Vec<Segment>) -> Self {
        StreamColumn { segments, at: 0, given: 0 }
    }

    fn next(&mut self, rows: usize) -> ArrayRef {
        let mut refs: Vec<u32> = Vec::with_capacity(rows);
        while refs.len() < rows {
            let Some(segment) = self.segments.get(self.at) else {
                break;
            };
            let take = (segment.rows.len() - self.given).min(rows - refs.len());
            refs.resize(refs.len() + take, segment.stream.0);
            self.given += take;
            if self.given == segment.rows.len() {
                self.at += 1;
                self.given = 0;
            }
        }
        Arc::new(UInt32Array::from(refs))
    }
}
