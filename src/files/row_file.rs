//! The writer of one data file: sorted rows in, bytes out as they are ready.
//!
//! ```text
//! write(rows) ─▶ columns of the file ─▶ Parquet ─▶ take_bytes ─▶ …      finish ─▶ stream index, footer, last bytes
//! ```
//!
//! Memory: one row group, encoded, and what was not taken yet. CPU-bound.
//! Invariant: rows come in the order of the file (service, labels, time); the runs of the index follow from them.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::FilesError;
use super::patterns::{self, PatternWriter};
use super::stream_index::{FOOTER_KEY, StoredStreams};
use crate::streams::Stream;
use crate::types::rows::metadata_type;
use crate::types::time::UnixNanos;

/// Rows of a row group: the unit of parallel work in a scan, about 40 MB of lines at 300 bytes each.
pub const ROW_GROUP_ROWS_MAX: usize = 131_072;
/// Bytes of a data page before compression: small enough that a needle costs little, large enough to compress.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Rows of a data page: bounds how much time one page of a narrow column spans.
const PAGE_ROWS_MAX: usize = 8_192;

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

/// How hard lines are squeezed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Flush must keep up with ingest.
    Flush,
    /// Compaction may take longer: a zstd level.
    Zstd(i32),
}

/// Writes one file.
pub struct RowFileWriter {
    writer: ArrowWriter<Vec<u8>>,
    stored: StoredStreams,
    patterns: PatternWriter,
    /// Stream of the last row written.
    last: Option<u32>,
    crc: crc32fast::Hasher,
    bytes: u64,
    rows: u64,
    ts_min: UnixNanos,
    ts_max: UnixNanos,
}

/// What a finished file is.
#[derive(Debug)]
pub struct FinishedFile {
    /// Its last bytes: all that [`RowFileWriter::take_bytes`] did not give.
    pub tail: Vec<u8>,
    /// Bytes in all.
    pub bytes: u64,
    /// CRC-32 (IEEE) of all bytes.
    pub crc32: u32,
    pub rows: u64,
    pub ts_min: UnixNanos,
    pub ts_max: UnixNanos,
}

impl RowFileWriter {
    /// A writer whose buffer expects about `bytes_expected`.
    pub fn new(effort: Effort, bytes_expected: usize) -> Result<Self, FilesError> {
        let options = ArrowWriterOptions::new().with_properties(properties(effort)).with_skip_arrow_metadata(true);
        let buffer = Vec::with_capacity(bytes_expected);
        Ok(RowFileWriter {
            writer: ArrowWriter::try_new_with_options(buffer, FILE_SCHEMA.clone(), options)?,
            stored: StoredStreams::default(),
            patterns: PatternWriter::default(),
            last: None,
            crc: crc32fast::Hasher::new(),
            bytes: 0,
            rows: 0,
            ts_min: UnixNanos::MAX,
            ts_max: UnixNanos::MIN,
        })
    }

    /// Appends rows of `ROW_SCHEMA`; `known` are the tenant's streams by ref.
    pub fn write(&mut self, sorted: &RecordBatch, known: &[Arc<Stream>]) -> Result<(), FilesError> {
        if sorted.num_rows() == 0 {
            return Ok(());
        }
        let (stream_ids, labels) = self.add_runs(sorted, known)?;
        let columns: Vec<ArrayRef> = vec![
            sorted.column(0).clone(),
            stream_ids,
            labels,
            sorted.column(2).clone(),
            sorted.column(3).clone(),
            sorted.column(4).clone(),
        ];
        self.writer.write(&RecordBatch::try_new(FILE_SCHEMA.clone(), columns)?)?;
        self.rows += sorted.num_rows() as u64;
        Ok(())
    }

    /// Bytes that are ready, to be written before those that follow.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(self.writer.inner_mut());
        self.count(&bytes);
        bytes
    }

    /// Bytes that [`RowFileWriter::take_bytes`] would give.
    pub fn ready_bytes(&self) -> usize {
        self.writer.inner().len()
    }

    /// Memory held, about.
    pub fn memory_bytes(&self) -> usize {
        self.writer.memory_size() + self.writer.inner().len()
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<FinishedFile, FilesError> {
        self.writer.append_key_value_metadata(KeyValue::new(FOOTER_KEY.to_owned(), self.stored.encode()));
        let patterns = std::mem::take(&mut self.patterns).finish();
        self.writer.append_key_value_metadata(KeyValue::new(patterns::FOOTER_KEY.to_owned(), patterns.encode()));
        self.writer.finish()?;
        let tail = self.take_bytes();
        Ok(FinishedFile {
            tail,
            bytes: self.bytes,
            crc32: self.crc.finalize(),
            rows: self.rows,
            ts_min: self.ts_min,
            ts_max: self.ts_max,
        })
    }

    fn count(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Notes the runs of the rows; answers the columns `stream_id` and `labels`.
    fn add_runs(&mut self, sorted: &RecordBatch, known: &[Arc<Stream>]) -> Result<(ArrayRef, ArrayRef), FilesError> {
        let ts = sorted.column(0).as_primitive::<Int64Type>().values();
        let streams = sorted.column(1).as_primitive::<UInt32Type>().values();
        let lines = sorted.column(3).as_string_view();
        let mut ids: Vec<i64> = Vec::with_capacity(streams.len());
        let mut keys: Vec<u32> = Vec::with_capacity(streams.len());
        let mut labels: Vec<&str> = Vec::new();
        let mut start = 0;
        while start < streams.len() {
            let stream = streams[start];
            let length = streams[start..].iter().take_while(|other| **other == stream).count();
            let end = start + length;
            let of_stream = &known[stream as usize];
            let line_bytes = lines.views()[start..end].iter().map(|view| u64::from(*view as u32)).sum();
            if self.last != Some(stream) {
                self.stored.begin(&of_stream.json, ts[start]);
                self.last = Some(stream);
            }
            let service = of_stream.labels.get("service_name").unwrap_or("");
            self.patterns.add_rows(self.stored.labels.len() - 1, service, sorted, start..end);
            self.stored.extend(length as u32, ts[end - 1], line_bytes);
            self.ts_min = self.ts_min.min(UnixNanos(ts[start]));
            self.ts_max = self.ts_max.max(UnixNanos(ts[end - 1]));
            ids.resize(end, of_stream.id as i64);
            keys.resize(end, labels.len() as u32);
            labels.push(&of_stream.json);
            start = end;
        }
        let values = StringArray::from_iter_values(labels);
        let labels = DictionaryArray::<UInt32Type>::try_new(UInt32Array::from(keys), Arc::new(values))?;
        Ok((Arc::new(Int64Array::from(ids)), Arc::new(labels)))
    }
}

fn properties(effort: Effort) -> WriterProperties {
    let level = match effort {
        Effort::Flush => 1,
        Effort::Zstd(level) => level,
    };
    let level = ZstdLevel::try_new(level).unwrap_or_default();
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
        .build()
}
