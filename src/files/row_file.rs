//! The writer of one data file: sorted rows in, bytes out as they are ready.
//!
//! ```text
//! write(rows) ─▶ columns of the file ─▶ Parquet ─▶ take_bytes ─▶ …      finish ─▶ indexes, checksums, footer, last bytes
//! ```
//!
//! | column | |
//! |---|---|
//! | `ts_ns`, `stream_id`, `labels`, `level`, `metadata` | |
//! | `line` | null where the line is in the columns that follow |
//! | `template`, `$.level`, `$.status`, … | lines that are JSON, taken apart ([`super::fields`]) |
//!
//! Behind each row group are the filters of its ids ([`super::fields`]), which other readers pass over.
//! A file of which no line is JSON ends with `metadata` and has no null line.
//!
//! Memory: one row group, encoded, and what was not taken yet. CPU-bound.
//! Invariant: rows come in the order of the file (service, labels, time); the runs of the index follow from them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::FilesError;
use super::blocks::{self, BlockSummer};
use super::fields::{self, FieldColumn, FieldColumns, GroupFacts, Splitter, parquet_names};
use super::patterns::{self, PatternWriter, StoredPatterns};
use super::stream_index::{FOOTER_KEY, StoredStreams};
use crate::streams::Stream;
use crate::types::rows::metadata_type;
use crate::types::time::UnixNanos;

/// Rows of a row group: the unit of parallel work in a scan, about 40 MB of lines at 300 bytes each.
pub const ROW_GROUP_ROWS_MAX: usize = 131_072;
/// Bytes of a data page before compression: small enough that a needle costs little, large enough to compress.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Rows of a data page: bounds how much time one page of a narrow column spans.
const PAGE_ROWS_MAX: usize = 4_096;

/// Rows taken apart and encoded at once: bounds what is held beside the row group.
const WRITE_ROWS_MAX: usize = 8_192;
/// Bytes of a column's dictionary; a column that outgrows it goes on without.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;

/// Columns of a data file with these fields.
pub(super) fn file_schema(fields: &[FieldColumn]) -> SchemaRef {
    let coded = |key: DataType| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
    let mut columns = vec![
        Field::new("ts_ns", DataType::Int64, false),
        Field::new("stream_id", DataType::Int64, false),
        Field::new("labels", coded(DataType::UInt32), false),
        Field::new("level", coded(DataType::Int32), true),
        Field::new("line", DataType::Utf8View, !fields.is_empty()),
        Field::new("metadata", metadata_type(), true),
    ];
    if !fields.is_empty() {
        columns.push(Field::new("template", DataType::Int32, true));
    }
    columns.extend(
        parquet_names(fields).into_iter().zip(fields).map(|(name, field)| Field::new(name, field.read_type(), true)),
    );
    Arc::new(Schema::new(columns))
}

/// The same as it is written: values are views of the lines they come from.
fn written_schema(fields: &[FieldColumn]) -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(key, _) if **key == DataType::Int32 => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View))
        }
        _ => field.clone(),
    };
    Arc::new(Schema::new(file_schema(fields).fields().iter().map(plain).collect::<Vec<_>>()))
}

/// How hard lines are squeezed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// A flush must keep up with ingest, and what grows is soon written anew.
    Quick,
    /// What rests may take longer: a zstd level.
    Squeeze(i32),
}

/// Writes one file.
pub struct RowFileWriter {
    writer: ArrowWriter<Vec<u8>>,
    schema: SchemaRef,
    splitter: Splitter,
    /// Facts of the row groups that are finished.
    groups: Vec<GroupFacts>,
    /// Rows of the row group being written.
    group_rows: usize,
    stored: StoredStreams,
    /// None where they are known without looking at lines.
    patterns: Option<PatternWriter>,
    squeezed: bool,
    /// Stream of each run.
    streams: Vec<u32>,
    crc: crc32fast::Hasher,
    blocks: BlockSummer,
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
    /// Whether its lines are squeezed as hard as they will be.
    pub squeezed: bool,
}

impl RowFileWriter {
    /// A writer whose buffer expects about `bytes_expected`, with columns for these fields of the lines.
    pub fn new(effort: Effort, fields: FieldColumns, bytes_expected: usize) -> Result<Self, FilesError> {
        let properties = properties(effort, fields.columns());
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let buffer = Vec::with_capacity(bytes_expected);
        let schema = written_schema(fields.columns());
        Ok(RowFileWriter {
            writer: ArrowWriter::try_new_with_options(buffer, schema.clone(), options)?,
            schema,
            splitter: Splitter::new(fields),
            groups: Vec::new(),
            group_rows: 0,
            stored: StoredStreams::default(),
            patterns: Some(PatternWriter::default()),
            squeezed: matches!(effort, Effort::Squeeze(_)),
            streams: Vec::new(),
            crc: crc32fast::Hasher::new(),
            blocks: BlockSummer::default(),
            bytes: 0,
            rows: 0,
            ts_min: UnixNanos::MAX,
            ts_max: UnixNanos::MIN,
        })
    }

    /// Appends rows of `ROW_SCHEMA`; `known` are the tenant's streams by ref.
    pub fn write(&mut self, sorted: &RecordBatch, known: &[Arc<Stream>]) -> Result<(), FilesError> {
        let mut start = 0;
        while start < sorted.num_rows() {
            let rows = (ROW_GROUP_ROWS_MAX - self.group_rows).min(WRITE_ROWS_MAX).min(sorted.num_rows() - start);
            self.write_slice(&sorted.slice(start, rows), known)?;
            start += rows;
        }
        Ok(())
    }

    /// Rows of one row group.
    fn write_slice(&mut self, sorted: &RecordBatch, known: &[Arc<Stream>]) -> Result<(), FilesError> {
        let (stream_ids, labels) = self.add_runs(sorted, known)?;
        let mut columns: Vec<ArrayRef> = vec![sorted.column(0).clone(), stream_ids, labels, sorted.column(2).clone()];
        if self.splitter.columns().is_empty() {
            columns.extend([sorted.column(3).clone(), sorted.column(4).clone()]);
        } else {
            let split = self.splitter.split(sorted.column(3).as_string_view())?;
            columns.extend([split.line, sorted.column(4).clone(), split.template]);
            columns.extend(split.fields);
        }
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.rows += sorted.num_rows() as u64;
        self.group_rows += sorted.num_rows();
        if self.group_rows == ROW_GROUP_ROWS_MAX {
            self.end_group()?;
        }
        Ok(())
    }

    /// Ends the row group, and writes the filters of its ids behind it.
    fn end_group(&mut self) -> Result<(), FilesError> {
        self.writer.flush()?;
        let (mut facts, filters) = self.splitter.take_facts();
        for of_column in filters {
            let start = self.writer.bytes_written() as u64;
            self.writer.write_all(&of_column).map_err(ParquetError::from)?;
            facts.filters.push(start..start + of_column.len() as u64);
        }
        self.groups.push(facts);
        self.group_rows = 0;
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

    /// Leaves the lines' patterns to [`RowFileWriter::finish_with`].
    pub(super) fn without_patterns(self) -> Self {
        RowFileWriter { patterns: None, ..self }
    }

    /// Stream of each run so far.
    pub(super) fn streams(&self) -> &[u32] {
        &self.streams
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<FinishedFile, FilesError> {
        let patterns = self.patterns.take().map(PatternWriter::finish).unwrap_or_default();
        self.finish_with(&patterns)
    }

    /// Ends the file, whose lines have these patterns.
    pub(super) fn finish_with(mut self, patterns: &StoredPatterns) -> Result<FinishedFile, FilesError> {
        if self.group_rows > 0 {
            self.end_group()?;
        }
        if !self.splitter.columns().is_empty() {
            let text = fields::encode(&self.splitter, std::mem::take(&mut self.groups));
            self.writer.append_key_value_metadata(KeyValue::new(fields::FOOTER_KEY.to_owned(), text));
        }
        self.writer.append_key_value_metadata(KeyValue::new(FOOTER_KEY.to_owned(), self.stored.encode()));
        self.writer.append_key_value_metadata(KeyValue::new(patterns::FOOTER_KEY.to_owned(), patterns.encode()));
        self.writer.flush()?;
        let mut tail = self.take_bytes();
        let sums = std::mem::take(&mut self.blocks).finish();
        self.writer.append_key_value_metadata(KeyValue::new(blocks::FOOTER_KEY.to_owned(), sums.encode()));
        self.writer.finish()?;
        let end = std::mem::take(self.writer.inner_mut());
        self.crc.update(&end);
        self.bytes += end.len() as u64;
        tail.extend_from_slice(&end);
        Ok(FinishedFile {
            tail,
            bytes: self.bytes,
            crc32: self.crc.finalize(),
            rows: self.rows,
            ts_min: self.ts_min,
            ts_max: self.ts_max,
            squeezed: self.squeezed,
        })
    }

    fn count(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        self.blocks.update(bytes);
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
            if self.streams.last() != Some(&stream) {
                self.stored.begin(&of_stream.json, ts[start]);
                self.streams.push(stream);
            }
            if let Some(patterns) = &mut self.patterns {
                patterns.add_rows(self.streams.len() - 1, of_stream.service(), sorted, start..end);
            }
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

fn properties(effort: Effort, fields: &[FieldColumn]) -> WriterProperties {
    let level = match effort {
        Effort::Quick => 1,
        Effort::Squeeze(level) => level,
    };
    let level = ZstdLevel::try_new(level).unwrap_or_default();
    let ts = ColumnPath::from("ts_ns");
    let line = ColumnPath::from("line");
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("millrace version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_statistics_enabled(ts.clone(), EnabledStatistics::Page)
        .set_column_dictionary_enabled(ts.clone(), false)
        .set_column_encoding(ts, Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(line.clone(), false)
        .set_column_statistics_enabled(line, EnabledStatistics::None);
    for (field, name) in fields.iter().zip(parquet_names(fields)) {
        // A path of one part: names have dots.
        let path = ColumnPath::new(vec![name]);
        if field.unique {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
            properties = match field.form {
                Some(_) => properties
                    .set_column_encoding(path.clone(), Encoding::PLAIN)
                    .set_column_compression(path, Compression::UNCOMPRESSED),
                None => properties.set_column_encoding(path, Encoding::DELTA_LENGTH_BYTE_ARRAY),
            };
        }
    }
    properties.build()
}
