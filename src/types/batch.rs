//! Rows as they arrive: one tenant's lines of one request, in columns, before they are durable.
//!
//! | column | type | |
//! |---|---|---|
//! | `ts_ns` | Int64 | nanoseconds since the Unix epoch |
//! | `labels` | Dictionary(UInt32, Utf8) | [`Labels::to_json`] of the stream, one value a stream |
//! | `level` | Utf8View, nullable | `detected_level` |
//! | `line` | Utf8View | |
//! | `metadata` | Map<Utf8, Utf8>, nullable | structured metadata without `detected_level`, null when there is none |
//!
//! Invariant: a [`LogBatch`] has this schema, whether it was built or read back from the log.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int64Array, MapArray, RecordBatch, StringArray, StringBuilder,
    StringViewBuilder, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::rows::{LEVEL, LINE, METADATA, TS_NS, metadata_entry_fields, metadata_type};

pub static LOG_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let labels = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new(TS_NS, DataType::Int64, false),
        Field::new("labels", labels, false),
        Field::new(LEVEL, DataType::Utf8View, true),
        Field::new(LINE, DataType::Utf8View, false),
        Field::new(METADATA, metadata_type(), true),
    ]))
});

/// One tenant's rows of one request.
#[derive(Debug, Clone)]
pub struct LogBatch(RecordBatch);

/// Why bytes are no batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("columns: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("the columns are not those of a log batch: {0}")]
    Schema(String),
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
}

impl LogBatch {
    /// # Errors
    /// `Schema` when the columns are not those of [`LOG_SCHEMA`].
    pub fn try_new(batch: RecordBatch) -> Result<Self, BatchError> {
        if batch.schema().fields() != LOG_SCHEMA.fields() {
            return Err(BatchError::Schema(format!("{:?}", batch.schema().fields())));
        }
        Ok(LogBatch(batch))
    }

    pub fn record_batch(&self) -> &RecordBatch {
        &self.0
    }

    pub fn rows(&self) -> usize {
        self.0.num_rows()
    }

    /// Arrow bytes, about.
    pub fn memory_bytes(&self) -> usize {
        self.0.get_array_memory_size()
    }

    /// Appends the payload of a log record: tenant, then an Arrow IPC stream of one batch.
    pub fn encode(&self, tenant: &TenantId, out: &mut Vec<u8>) -> Result<(), BatchError> {
        let name = tenant.as_str().as_bytes();
        out.push(u8::try_from(name.len()).map_err(|_| BatchError::Damaged("a tenant id has at most 150 bytes"))?);
        out.extend_from_slice(name);
        let mut writer = StreamWriter::try_new(out, &LOG_SCHEMA)?;
        writer.write(&self.0)?;
        writer.finish()?;
        Ok(())
    }

    /// Reads what [`LogBatch::encode`] wrote.
    pub fn decode(payload: &[u8]) -> Result<(TenantId, LogBatch), BatchError> {
        let (length, rest) = payload.split_first().ok_or(BatchError::Damaged("it is empty"))?;
        let (name, stream) =
            rest.split_at_checked(usize::from(*length)).ok_or(BatchError::Damaged("it ends in its tenant"))?;
        let tenant = std::str::from_utf8(name)
            .ok()
            .and_then(|name| TenantId::parse(name).ok())
            .ok_or(BatchError::Damaged("its tenant is no tenant id"))?;
        let mut reader = StreamReader::try_new(stream, None)?;
        let batch = reader.next().ok_or(BatchError::Damaged("it has no batch"))??;
        Ok((tenant, LogBatch::try_new(batch)?))
    }
}

/// A stream of the batch being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSlot(u32);

/// Builds a batch row by row without allocating for a row.
#[derive(Debug, Default)]
pub struct LogBatchBuilder {
    streams: Vec<String>,
    ts: Vec<i64>,
    keys: Vec<u32>,
    level: StringViewBuilder,
    line: StringViewBuilder,
    metadata_names: StringBuilder,
    metadata_values: StringBuilder,
    /// End of each row's metadata, in entries.
    metadata_ends: Vec<i32>,
    has_metadata: Vec<bool>,
    entries: i32,
}

impl LogBatchBuilder {
    /// For lines of `line_bytes` in all.
    pub fn with_capacity(line_bytes: usize) -> Self {
        // Blocks this large keep the number of buffers of a batch small without wasting much on a small push.
        let block = u32::try_from(line_bytes.clamp(4 << 10, 2 << 20)).unwrap_or(2 << 20);
        LogBatchBuilder { line: StringViewBuilder::new().with_fixed_block_size(block), ..Self::default() }
    }

    /// The rows that follow with this slot are of this stream.
    pub fn stream(&mut self, labels: &Labels) -> StreamSlot {
        self.streams.push(labels.to_json());
        StreamSlot(self.streams.len() as u32 - 1)
    }

    /// Appends a row; `metadata` is without `detected_level`.
    pub fn push<'a>(
        &mut self,
        stream: StreamSlot,
        ts_ns: i64,
        level: Option<&str>,
        line: &str,
        metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        self.ts.push(ts_ns);
        self.keys.push(stream.0);
        self.level.append_option(level);
        self.line.append_value(line);
        let before = self.entries;
        for (name, value) in metadata {
            self.metadata_names.append_value(name);
            self.metadata_values.append_value(value);
            self.entries += 1;
        }
        self.metadata_ends.push(self.entries);
        self.has_metadata.push(self.entries > before);
    }

    pub fn rows(&self) -> usize {
        self.ts.len()
    }

    /// # Errors
    /// Never for rows pushed one by one; the columns are checked all the same.
    pub fn finish(mut self) -> Result<LogBatch, BatchError> {
        let labels = DictionaryArray::<UInt32Type>::try_new(
            UInt32Array::from(self.keys),
            Arc::new(StringArray::from_iter_values(&self.streams)),
        )?;
        let mut offsets = Vec::with_capacity(self.metadata_ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.metadata_ends);
        let entries = StructArray::try_new(
            metadata_entry_fields(),
            vec![Arc::new(self.metadata_names.finish()), Arc::new(self.metadata_values.finish())],
            None,
        )?;
        let DataType::Map(entry_field, _) = metadata_type() else {
            return Err(BatchError::Schema("metadata is a map".to_owned()));
        };
        let nulls = NullBuffer::from(self.has_metadata);
        let metadata = MapArray::try_new(
            entry_field,
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            entries,
            Some(nulls),
            false,
        )?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.ts)),
            Arc::new(labels),
            Arc::new(self.level.finish()),
            Arc::new(self.line.finish()),
            Arc::new(metadata),
        ];
        LogBatch::try_new(RecordBatch::try_new(LOG_SCHEMA.clone(), columns)?)
    }
}

/// Bytes of lines of a batch.
pub fn line_bytes(batch: &LogBatch) -> u64 {
    batch.record_batch().column(3).as_string_view().lengths().map(u64::from).sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    fn sample() -> LogBatch {
        let mut builder = LogBatchBuilder::default();
        let a = builder.stream(&Labels::from_pairs([("service", "a")]));
        let b = builder.stream(&Labels::from_pairs([("service", "b")]));
        builder.push(
            a,
            5,
            Some("info"),
            "a line that is longer than twelve bytes",
            [("trace_id", "t1"), ("user", "u")],
        );
        builder.push(b, -3, None, "", []);
        builder.push(a, 6, Some("error"), "z\u{0}日本", []);
        builder.finish().expect("sound")
    }

    #[test]
    fn a_batch_comes_back_from_its_payload() {
        let batch = sample();
        let mut payload = Vec::new();
        let tenant = TenantId::parse("team-a").expect("valid");
        batch.encode(&tenant, &mut payload).expect("encoded");
        let (who, read) = LogBatch::decode(&payload).expect("decoded");
        assert_eq!(who, tenant);
        assert_eq!(read.record_batch(), batch.record_batch());
        assert_eq!(line_bytes(&read), 39 + 8);
    }

    #[test]
    fn damaged_payloads_are_errors() {
        let mut payload = Vec::new();
        sample().encode(&TenantId::single(), &mut payload).expect("encoded");
        for cut in (0..payload.len()).step_by(7) {
            let _ = LogBatch::decode(&payload[..cut]);
        }
        assert!(LogBatch::decode(&[]).is_err());
        assert!(LogBatch::decode(&[9, b'a']).is_err());
    }

    #[test]
    fn rows_without_metadata_are_null() {
        let batch = sample();
        let metadata = batch.record_batch().column(4);
        assert_eq!((metadata.null_count(), metadata.is_null(0)), (2, false));
    }
}
