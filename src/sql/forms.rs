//! Rows as bytes, batch by batch: JSON, lines of JSON, CSV, Arrow, Parquet.
//!
//! | `Accept` | `format` | form |
//! |---|---|---|
//! | `application/json` (default) | `json` | an array of objects |
//! | `application/x-ndjson`, `application/jsonl` | `ndjson` | an object a line |
//! | `text/csv` | `csv` | with a header line |
//! | `application/vnd.apache.arrow.stream` | `arrow` | Arrow IPC stream |
//! | `application/vnd.apache.parquet` | `parquet` | Parquet, row groups as they fill |
//!
//! Invariant: a writer holds one batch, for Parquet one row group, never the result.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, LineDelimited, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

/// Rows of a Parquet row group: what a writer holds before it lets bytes go.
const ROW_GROUP_ROWS_MAX: usize = 65_536;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Lines,
    Csv,
    Arrow,
    Parquet,
}

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}

impl Form {
    /// The form of a name, as `format` gives it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Form::Json),
            "ndjson" | "jsonl" | "lines" => Some(Form::Lines),
            "csv" => Some(Form::Csv),
            "arrow" => Some(Form::Arrow),
            "parquet" => Some(Form::Parquet),
            _ => None,
        }
    }

    /// The first form that an `Accept` header names; JSON when it names none.
    pub fn accepted(accept: &str) -> Self {
        let mut forms = accept.split(',').filter_map(|range| match range.split(';').next().unwrap_or("").trim() {
            "application/json" => Some(Form::Json),
            "application/x-ndjson" | "application/jsonl" => Some(Form::Lines),
            "text/csv" => Some(Form::Csv),
            "application/vnd.apache.arrow.stream" => Some(Form::Arrow),
            "application/vnd.apache.parquet" => Some(Form::Parquet),
            _ => None,
        });
        forms.next().unwrap_or(Form::Json)
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json; charset=UTF-8",
            Form::Lines => "application/x-ndjson; charset=UTF-8",
            Form::Csv => "text/csv; charset=utf-8",
            Form::Arrow => "application/vnd.apache.arrow.stream",
            Form::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Rows into bytes: a start, batches, an end.
pub enum RowWriter {
    Json(arrow::json::Writer<Vec<u8>, JsonArray>),
    Lines(arrow::json::Writer<Vec<u8>, LineDelimited>),
    Csv { schema: SchemaRef, written: Vec<u8> },
    Arrow(StreamWriter<Vec<u8>>),
    Parquet { writer: Box<ArrowWriter<Shared>>, written: Shared },
}

/// Bytes that a writer has let go and nobody took yet.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl RowWriter {
    /// # Errors
    /// When the form cannot hold a column.
    pub fn new(form: Form, schema: &SchemaRef) -> Result<Self, FormError> {
        let json = || WriterBuilder::new().with_explicit_nulls(true);
        Ok(match form {
            Form::Json => RowWriter::Json(json().build(Vec::new())),
            Form::Lines => RowWriter::Lines(json().build(Vec::new())),
            Form::Csv => {
                let flat = flattened(&RecordBatch::new_empty(schema.clone()))?;
                RowWriter::Csv { written: csv(&flat, true)?, schema: flat.schema() }
            }
            Form::Arrow => RowWriter::Arrow(StreamWriter::try_new(Vec::new(), schema)?),
            Form::Parquet => {
                let written = Shared::default();
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
                    .build();
                let writer = ArrowWriter::try_new(written.clone(), schema.clone(), Some(properties))?;
                RowWriter::Parquet { writer: Box::new(writer), written }
            }
        })
    }

    /// # Errors
    /// When the form cannot hold a value.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), FormError> {
        match self {
            RowWriter::Json(writer) => writer.write(batch)?,
            RowWriter::Lines(writer) => writer.write(batch)?,
            RowWriter::Csv { schema, written } => {
                let flat = flattened(batch)?.with_schema(schema.clone())?;
                written.extend(csv(&flat, false)?);
            }
            RowWriter::Arrow(writer) => writer.write(batch)?,
            RowWriter::Parquet { writer, .. } => writer.write(batch)?,
        }
        Ok(())
    }

    /// What was written since the last time.
    pub fn take(&mut self) -> Bytes {
        let buffer = match self {
            RowWriter::Json(writer) => writer.get_mut(),
            RowWriter::Lines(writer) => writer.get_mut(),
            RowWriter::Arrow(writer) => writer.get_mut(),
            RowWriter::Csv { written, .. } => written,
            RowWriter::Parquet { written, .. } => return Bytes::from(std::mem::take(&mut *written.0.lock())),
        };
        Bytes::from(std::mem::take(buffer))
    }

    /// Ends the form; what nobody took yet comes with it.
    ///
    /// # Errors
    /// As [`RowWriter::write`].
    pub fn finish(self) -> Result<Bytes, FormError> {
        let rest = match self {
            RowWriter::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            RowWriter::Lines(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            RowWriter::Csv { written, .. } => written,
            RowWriter::Arrow(writer) => writer.into_inner()?,
            RowWriter::Parquet { writer, written } => {
                writer.close()?;
                std::mem::take(&mut *written.0.lock())
            }
        };
        Ok(Bytes::from(rest))
    }
}

fn csv(batch: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    let mut writer = arrow::csv::WriterBuilder::new().with_header(header).build(Vec::new());
    writer.write(batch)?;
    Ok(writer.into_inner())
}

/// The batch with its nested columns as text, which CSV has no form for.
fn flattened(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::new();
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() {
            fields.push(field.clone());
            columns.push(column.clone());
            continue;
        }
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let texts = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
        columns.push(Arc::new(texts.collect::<StringArray>()));
        fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn batch(from: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 50_000));
        RecordBatch::try_from_iter([("n", column)]).expect("a batch")
    }

    #[test]
    fn forms_are_chosen_by_header_or_name() {
        let check = |accept: &str, expected| assert_eq!(Form::accepted(accept), expected, "{accept}");
        check("", Form::Json);
        check("text/html, text/csv;q=0.9", Form::Csv);
        check("*/*", Form::Json);
        check("application/vnd.apache.parquet", Form::Parquet);
        assert_eq!((Form::named("ndjson"), Form::named("xml")), (Some(Form::Lines), None));
    }

    #[test]
    fn parquet_lets_go_of_row_groups_as_they_fill() {
        let mut writer = RowWriter::new(Form::Parquet, &batch(0).schema()).expect("a writer");
        let mut bytes = Vec::new();
        let mut pieces = 0;
        for at in 0..4 {
            writer.write(&batch(at * 50_000)).expect("written");
            let piece = writer.take();
            pieces += usize::from(piece.len() > 1000);
            bytes.extend_from_slice(&piece);
        }
        bytes.extend_from_slice(&writer.finish().expect("ended"));
        assert!(pieces >= 2, "{pieces} pieces before the end");
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).expect("Parquet");
        assert_eq!(reader.metadata().file_metadata().num_rows(), 200_000);
    }
}
