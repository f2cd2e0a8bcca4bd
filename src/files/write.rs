//! Writes the rows of one tenant as Parquet files: sorted, cut by UTC day, each with its stream index.
//!
//! Shape: input batches of `ROW_SCHEMA`; output columns as `row_file` has them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int64Type, UInt32Type};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::FilesError;
use super::fields::{FieldColumns, LineLayout};
use super::row_file::{Effort, RowFileWriter};
use super::table::DataFile;
use crate::streams::{Stream, TenantStreams};
use crate::types::ids::{IngestSeq, TenantId};
use crate::types::rows::ROW_SCHEMA;
use crate::types::time::UnixNanos;

/// A file in memory, ready to be put.
#[derive(Debug)]
pub struct EncodedFile {
    pub file: DataFile,
    pub bytes: bytes::Bytes,
}

/// Sorts `parts`, cuts them by day and encodes each day. CPU-bound: call it off the async threads.
pub fn encode(
    tenant: &TenantId,
    streams: &TenantStreams,
    parts: &[RecordBatch],
    seq: IngestSeq,
    layout: LineLayout,
    new_name: impl Fn() -> String,
) -> Result<Vec<EncodedFile>, FilesError> {
    let rows = concat_batches(&ROW_SCHEMA, parts)?;
    let known = streams.all();
    let ranks = rank_streams(&known, rows.column(1).as_primitive::<UInt32Type>().values());
    let order = sorted_order(&rows, &ranks);
    let mut files = Vec::new();
    for day_rows in cut_by_day(rows.column(0).as_primitive::<Int64Type>().values(), &order) {
        let day = UnixNanos(rows.column(0).as_primitive::<Int64Type>().value(order[day_rows.start] as usize)).day();
        let indices = UInt32Array::from(order[day_rows].to_vec());
        let sorted = take_record_batch(&rows, &indices)?;
        let file = DataFile::new(tenant.clone(), day, String::new(), seq);
        files.push(encode_day(file, &new_name(), &sorted, &known, layout)?);
    }
    Ok(files)
}

/// Puts an encoded file where its path says. The file counts only once a commit names it.
pub async fn put(store: &dyn ObjectStore, root: &Path, encoded: EncodedFile) -> Result<DataFile, FilesError> {
    let location = encoded.file.location(root);
    store.put(&location, encoded.bytes.into()).await?;
    Ok(encoded.file)
}

/// Place of each stream in the file's order, by ref: by service name, then by labels.
pub(super) fn rank_streams(known: &[Arc<Stream>], used: &[u32]) -> HashMap<u32, u32> {
    let mut distinct: Vec<u32> = used.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.sort_by(|a, b| sort_key(&known[*a as usize]).cmp(&sort_key(&known[*b as usize])));
    distinct.into_iter().zip(0..).collect()
}

fn sort_key(stream: &Stream) -> (&str, &str) {
    (stream.service(), &stream.json)
}

/// Row numbers sorted by (day, rank, ts, arrival).
fn sorted_order(rows: &RecordBatch, ranks: &HashMap<u32, u32>) -> Vec<u32> {
    let ts = rows.column(0).as_primitive::<Int64Type>().values();
    let streams = rows.column(1).as_primitive::<UInt32Type>().values();
    let mut last: Option<(u32, u32)> = None;
    let mut keys: Vec<(i32, u32, i64, u32)> = Vec::with_capacity(ts.len());
    for (row, (ts, stream)) in ts.iter().zip(streams).enumerate() {
        let rank = match last {
            Some((known, rank)) if known == *stream => rank,
            _ => {
                let rank = ranks[stream];
                last = Some((*stream, rank));
                rank
            }
        };
        keys.push((UnixNanos(*ts).day(), rank, *ts, row as u32));
    }
    keys.sort_unstable();
    keys.into_iter().map(|(_, _, _, row)| row).collect()
}

/// Ranges of `order` whose rows share a UTC day.
fn cut_by_day(ts: &[i64], order: &[u32]) -> Vec<Range<usize>> {
    let day_at = |at: usize| UnixNanos(ts[order[at] as usize]).day();
    let mut cuts = Vec::new();
    let mut start = 0;
    while start < order.len() {
        let day = day_at(start);
        let length = order[start..].partition_point(|row| UnixNanos(ts[*row as usize]).day() <= day);
        cuts.push(start..start + length);
        start += length;
    }
    cuts
}

fn encode_day(
    mut file: DataFile,
    name: &str,
    sorted: &RecordBatch,
    known: &[Arc<Stream>],
    layout: LineLayout,
) -> Result<EncodedFile, FilesError> {
    let lines = sorted.column(3).as_string_view();
    let fields = match layout {
        LineLayout::Fields => FieldColumns::choose((0..lines.len()).map(|row| lines.value(row))),
        LineLayout::Whole => FieldColumns::default(),
    };
    let mut writer = RowFileWriter::new(Effort::Quick, fields, sorted.get_array_memory_size() / 8)?;
    writer.write(sorted, known)?;
    let finished = writer.finish()?;
    file.describe(&finished);
    file.path = DataFile::path_with_checksum(&file.tenant, file.day, name, &finished.tail);
    Ok(EncodedFile { file, bytes: finished.tail.into() })
}
