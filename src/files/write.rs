//! Writes the rows of one tenant as Parquet files: sorted, cut by UTC day, each with its stream index.
//!
//! Shape: input batches of `ROW_SCHEMA`; output columns `ts_ns`, `stream_id`, `labels` (JSON), `level`,
//! `line`, `metadata`, which every Parquet reader understands.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::FilesError;
use super::patterns::{self, StoredPatterns};
use super::stream_index::{FOOTER_KEY, StoredStreams};
use super::table::DataFile;
use crate::streams::{Stream, StreamRef, TenantStreams};
use crate::types::ids::TenantId;
use crate::types::rows::{ROW_SCHEMA, metadata_type};
use crate::types::time::UnixNanos;

/// Rows of a row group: the unit of parallel work in a scan, about 40 MB of lines at 300 bytes each.
pub const ROW_GROUP_ROWS_MAX: usize = 131_072;
/// Bytes of a data page before compression: small enough that a needle costs little, large enough to compress.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Rows of a data page: bounds how much time one page of a narrow column spans.
const PAGE_ROWS_MAX: usize = 8_192;
/// Fast: flush must keep up with ingest; compaction may spend more.
const FLUSH_ZSTD_LEVEL: i32 = 1;

/// Columns of a data file.
pub static FILE_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("ts_ns", DataType::Int64, false),
        Field::new("stream_id", DataType::Int64, false),
        Field::new("labels", DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8)), false),
        Field::new("level", DataType::Utf8View, true),
        Field::new("line", DataType::Utf8View, false),
        Field::new("metadata", metadata_type(), true),
    ]))
});

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
        files.push(encode_day(tenant, day, &new_name(), &sorted, &known)?);
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
fn rank_streams(known: &[Arc<Stream>], used: &[u32]) -> HashMap<u32, u32> {
    let mut distinct: Vec<u32> = used.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.sort_by(|a, b| sort_key(&known[*a as usize]).cmp(&sort_key(&known[*b as usize])));
    distinct.into_iter().zip(0..).collect()
}

fn sort_key(stream: &Stream) -> (&str, &str) {
    (stream.labels.get("service_name").unwrap_or(""), &stream.json)
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
    tenant: &TenantId,
    day: i32,
    name: &str,
    sorted: &RecordBatch,
    known: &[Arc<Stream>],
) -> Result<EncodedFile, FilesError> {
    let ts = sorted.column(0).as_primitive::<Int64Type>();
    let (stored, runs) = stream_runs(sorted, known);
    let mut buffer = Vec::with_capacity(sorted.get_array_memory_size() / 8);
    let patterns = patterns::mine(sorted, &runs, known);
    let properties = properties(&stored, &patterns);
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(&mut buffer, FILE_SCHEMA.clone(), options)?;
    let (stream_ids, labels) = stream_columns(sorted.num_rows(), &runs, known)?;
    let columns: Vec<ArrayRef> = vec![
        sorted.column(0).clone(),
        stream_ids,
        labels,
        sorted.column(2).clone(),
        sorted.column(3).clone(),
        sorted.column(4).clone(),
    ];
    writer.write(&RecordBatch::try_new(FILE_SCHEMA.clone(), columns)?)?;
    writer.close()?;
    let file = DataFile {
        path: DataFile::path_with_checksum(tenant, day, name, &buffer),
        tenant: tenant.clone(),
        day,
        bytes: buffer.len() as u64,
        rows: sorted.num_rows() as u64,
        ts_min: UnixNanos(ts.values().iter().copied().min().unwrap_or_default()),
        ts_max: UnixNanos(ts.values().iter().copied().max().unwrap_or_default()),
    };
    Ok(EncodedFile { file, bytes: buffer.into() })
}

/// The runs of the sorted rows: what the footer stores, and (stream, rows) of each.
fn stream_runs(sorted: &RecordBatch, known: &[Arc<Stream>]) -> (StoredStreams, Vec<(StreamRef, Range<usize>)>) {
    let ts = sorted.column(0).as_primitive::<Int64Type>().values();
    let streams = sorted.column(1).as_primitive::<UInt32Type>().values();
    let lines = sorted.column(3).as_string_view();
    let mut stored = StoredStreams::default();
    let mut runs = Vec::new();
    let mut start = 0;
    while start < streams.len() {
        let stream = streams[start];
        let length = streams[start..].iter().take_while(|other| **other == stream).count();
        let rows = start..start + length;
        stored.labels.push(known[stream as usize].json.to_string());
        stored.rows.push(length as u32);
        stored.ts_min.push(ts[rows.start]);
        stored.ts_max.push(ts[rows.end - 1]);
        stored.line_bytes.push(lines.views()[rows.clone()].iter().map(|view| u64::from(*view as u32)).sum());
        runs.push((StreamRef(stream), rows));
        start += length;
    }
    (stored, runs)
}

/// The `stream_id` and `labels` columns.
fn stream_columns(
    rows: usize,
    runs: &[(StreamRef, Range<usize>)],
    known: &[Arc<Stream>],
) -> Result<(ArrayRef, ArrayRef), FilesError> {
    let mut ids: Vec<i64> = Vec::with_capacity(rows);
    let mut keys: Vec<u32> = Vec::with_capacity(rows);
    for (key, (stream, range)) in runs.iter().enumerate() {
        ids.resize(range.end, known[stream.0 as usize].id as i64);
        keys.resize(range.end, key as u32);
    }
    let values = StringArray::from_iter_values(runs.iter().map(|(stream, _)| &*known[stream.0 as usize].json));
    let labels = DictionaryArray::<UInt32Type>::try_new(UInt32Array::from(keys), Arc::new(values))?;
    Ok((Arc::new(Int64Array::from(ids)), Arc::new(labels)))
}

fn properties(stored: &StoredStreams, patterns: &StoredPatterns) -> WriterProperties {
    let level = ZstdLevel::try_new(FLUSH_ZSTD_LEVEL).expect("1 is a zstd level");
    let ts = ColumnPath::from("ts_ns");
    let line = ColumnPath::from("line");
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("millrace version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_statistics_enabled(ts.clone(), EnabledStatistics::Page)
        .set_column_dictionary_enabled(ts.clone(), false)
        .set_column_encoding(ts, Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(line.clone(), false)
        .set_column_statistics_enabled(line, EnabledStatistics::None)
        .set_key_value_metadata(Some(vec![
            KeyValue::new(FOOTER_KEY.to_owned(), stored.encode()),
            KeyValue::new(patterns::FOOTER_KEY.to_owned(), patterns.encode()),
        ]))
        .build()
}
