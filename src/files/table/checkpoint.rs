//! Checkpoints: the whole table as one Parquet file, one action a row (Delta's classic form).
//!
//! Actions go through the same JSON as commits, so what a checkpoint holds cannot differ from them.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::TableError;
use super::actions::{self, Action};
use super::checkpoint_rows;
use super::log::Replay;

/// Rows of a batch on its way in or out: about 4 MiB of JSON.
const BATCH_ROWS: usize = 8_192;

static CHECKPOINT_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let group = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(Fields::from(fields)), true);
    let format = group("format", vec![text("provider"), map("options")]);
    let columns = DataType::List(Arc::new(Field::new("element", DataType::Utf8, false)));
    Arc::new(Schema::new(vec![
        group("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        group(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                flag("dataChange"),
                text("stats"),
                map("tags"),
            ],
        ),
        group(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                flag("dataChange"),
                flag("extendedFileMetadata"),
                map("partitionValues"),
                long("size"),
            ],
        ),
        group(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                format,
                text("schemaString"),
                Field::new("partitionColumns", columns, true),
                map("configuration"),
                long("createdTime"),
            ],
        ),
        group("protocol", vec![int("minReaderVersion"), int("minWriterVersion")]),
    ]))
});

fn map(name: &str) -> Field {
    let pair = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    Field::new(name, DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair), false)), false), true)
}

/// The Parquet file and the number of actions in it. CPU-bound: call it off the async threads.
pub(super) fn encode(replay: Replay) -> Result<(Vec<u8>, u64), TableError> {
    let mut body = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut body, CHECKPOINT_SCHEMA.clone(), None).map_err(failed)?;
    let mut decoder =
        ReaderBuilder::new(CHECKPOINT_SCHEMA.clone()).with_batch_size(BATCH_ROWS).build_decoder().map_err(failed)?;
    let mut lines = Vec::new();
    let mut pending = 0;
    let mut size = 0;
    let mut push = |action: Option<Action>| {
        if let Some(action) = &action {
            action.push_line(&mut lines);
            pending += 1;
            size += 1;
        }
        if pending < BATCH_ROWS && action.is_some() {
            return Ok(());
        }
        decoder.decode(&lines).map_err(failed)?;
        if let Some(batch) = decoder.flush().map_err(failed)? {
            writer.write(&batch).map_err(failed)?;
        }
        lines.clear();
        pending = 0;
        Ok::<_, TableError>(())
    };
    push(Some(Action { protocol: replay.protocol, ..Action::default() }))?;
    push(Some(Action { meta_data: replay.meta_data, ..Action::default() }))?;
    for (app_id, txn) in replay.txns {
        push(Some(Action::txn(app_id, txn.version, None)))?;
    }
    for remove in replay.removed.into_values() {
        push(Some(Action { remove: Some(remove), ..Action::default() }))?;
    }
    for live in replay.files.into_values() {
        push(Some(Action::add(&live.file, live.modified_ms, false)))?;
    }
    push(None)?;
    writer.close().map_err(failed)?;
    Ok((body, size))
}

/// Gives every action of a checkpoint to `apply`.
pub(super) fn decode(body: Bytes, mut apply: impl FnMut(Action) -> Result<(), TableError>) -> Result<(), TableError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(body)
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(failed)?;
    let mut lines = Vec::new();
    for batch in reader {
        let mut batch = batch.map_err(failed)?;
        if let Some(rows) = checkpoint_rows::read(&batch) {
            let rows = rows.map_err(failed)?;
            rows.files.into_iter().try_for_each(&mut apply)?;
            batch = rows.rest;
        }
        if batch.num_rows() == 0 {
            continue;
        }
        lines.clear();
        let mut writer = LineDelimitedWriter::new(&mut lines);
        writer.write(&batch).map_err(failed)?;
        writer.finish().map_err(failed)?;
        drop(writer);
        for action in actions::decode(&lines).map_err(TableError::Checkpoint)? {
            apply(action)?;
        }
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> TableError {
    TableError::Checkpoint(error.to_string())
}
