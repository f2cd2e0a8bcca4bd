//! Masks over a batch of rows, before anything of a query sees them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, MapArray, RecordBatch, StringBuilder, StringViewBuilder, StructArray, UInt32Array,
};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::access::Mask;
use crate::query::visible::ChosenPart;
use crate::types::rows::{LINE, METADATA, Metadata, Rows, STREAM, metadata_entry_fields, metadata_type};

/// Rows of one tenant as they may be shown, with streams by view ref.
pub(super) fn shown(batch: RecordBatch, part: &ChosenPart) -> Result<RecordBatch, ArrowError> {
    let batch = masked(batch, part.masks.as_deref())?;
    if part.offset == 0 {
        return Ok(batch);
    }
    let (schema, mut columns) = (batch.schema(), batch.columns().to_vec());
    let moved = Rows::of(&batch).stream.iter().map(|stream| stream + part.offset);
    columns[schema.index_of(STREAM)?] = Arc::new(UInt32Array::from_iter_values(moved));
    RecordBatch::try_new(schema, columns)
}

/// Rows of one tenant under these masks, by the tenant's own refs.
pub(super) fn masked(batch: RecordBatch, masks: Option<&[Option<Mask>]>) -> Result<RecordBatch, ArrowError> {
    let Some(masks) = masks else { return Ok(batch) };
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    let schema = batch.schema();
    let rows = Rows::of(&batch);
    let mut change = |name: &str, column: ArrayRef| {
        if let Ok(at) = schema.index_of(name) {
            columns[at] = column;
        }
    };
    let mask_of = |row: usize| masks.get(rows.stream[row] as usize).and_then(Option::as_ref);
    if !(0..rows.len()).any(|row| mask_of(row).is_some()) {
        return Ok(batch);
    }
    if let Some(lines) = rows.line {
        let mut masked = StringViewBuilder::with_capacity(rows.len());
        for row in 0..rows.len() {
            let line = lines.value(row);
            masked.append_value(mask_of(row).map_or(Cow::Borrowed(line), |mask| mask.line(line)));
        }
        change(LINE, Arc::new(masked.finish()));
    }
    if let Some(metadata) = rows.metadata.filter(|metadata| !metadata.is_all_null()) {
        let stored = batch.column_by_name(METADATA).and_then(|column| column.as_any().downcast_ref());
        let stored: &MapArray = stored.ok_or_else(|| ArrowError::SchemaError("metadata is not a map".to_owned()))?;
        change(METADATA, Arc::new(masked_metadata(stored, &metadata, mask_of)?));
    }
    RecordBatch::try_new(schema, columns)
}

fn masked_metadata<'m>(
    stored: &MapArray,
    metadata: &Metadata<'_>,
    mask_of: impl Fn(usize) -> Option<&'m Mask>,
) -> Result<MapArray, ArrowError> {
    let (mut keys, mut values) = (StringBuilder::new(), StringBuilder::new());
    let mut lengths = Vec::with_capacity(stored.len());
    let mut pairs = Vec::new();
    for row in 0..stored.len() {
        pairs.clear();
        metadata.append_row(row, &mut pairs);
        lengths.push(pairs.len());
        for (key, value) in &pairs {
            keys.append_value(key);
            values.append_value(mask_of(row).map_or(Cow::Borrowed(*value), |mask| mask.value(key, value)));
        }
    }
    let entries =
        StructArray::try_new(metadata_entry_fields(), vec![Arc::new(keys.finish()), Arc::new(values.finish())], None)?;
    let DataType::Map(entry, sorted) = metadata_type() else {
        return Err(ArrowError::SchemaError("metadata is not a map".to_owned()));
    };
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    MapArray::try_new(entry, offsets, entries, stored.nulls().cloned(), sorted)
}
