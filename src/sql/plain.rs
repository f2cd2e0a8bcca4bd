//! Columns for clients that know no maps, structures or unions: such columns as text.
//!
//! | column | text |
//! |---|---|
//! | map, structure, list of them | JSON |
//! | union, as `json_get` answers | the value as it is: a text without quotes, a number, JSON |
//! | none at all (`select null`) | an empty column of text |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringBuilder, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// How batches of one schema become plain. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Plain {
    schema: SchemaRef,
    /// By column: whether it becomes text.
    as_text: Arc<[bool]>,
}

impl Plain {
    /// What `is_known` to the client stays as it is.
    pub fn new(schema: &Schema, is_known: impl Fn(&FieldRef) -> bool) -> Self {
        let as_text: Arc<[bool]> = schema.fields().iter().map(|field| !is_known(field)).collect();
        let fields = schema.fields().iter().zip(as_text.iter()).map(|(field, as_text)| match as_text {
            true => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
            false => field.clone(),
        });
        Plain { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), as_text }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// # Errors
    /// For a type that has no text either.
    pub fn batch(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if !self.as_text.contains(&true) {
            return Ok(batch);
        }
        let schema = batch.schema();
        let columns = batch.columns().iter().zip(schema.fields()).zip(self.as_text.iter());
        let columns = columns.map(|((column, field), as_text)| match as_text {
            true => text(column, field),
            false => Ok(column.clone()),
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}

fn text(column: &ArrayRef, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Null => Ok(new_null_array(&DataType::Utf8, column.len())),
        DataType::Union(..) => union_text(column),
        data_type if data_type.is_nested() => json_text(column, field),
        _ => formatted(column),
    }
}

fn json_text(column: &ArrayRef, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default();
    let Ok(mut encoder) = make_encoder(field, column, &options) else { return formatted(column) };
    let mut texts = StringBuilder::new();
    let mut json = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        json.clear();
        encoder.encode(row, &mut json);
        texts.append_value(String::from_utf8_lossy(&json));
    }
    Ok(Arc::new(texts.finish()))
}

fn union_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let union = column.as_union();
    let options = FormatOptions::new();
    let mut texts = StringBuilder::new();
    for row in 0..union.len() {
        let value = union.value(row);
        match value.is_null(0) || *value.data_type() == DataType::Null {
            true => texts.append_null(),
            false => texts.append_value(ArrayFormatter::try_new(&value, &options)?.value(0).to_string()),
        }
    }
    Ok(Arc::new(texts.finish()))
}

fn formatted(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let mut texts = StringBuilder::new();
    for row in 0..column.len() {
        match column.is_null(row) {
            true => texts.append_null(),
            false => texts.append_value(formatter.value(row).to_string()),
        }
    }
    Ok(Arc::new(texts.finish()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, MapBuilder, StringArray, StructArray};

    use super::*;

    #[test]
    fn what_a_client_does_not_know_becomes_json() {
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("a");
        map.values().append_value("x\"y");
        map.append(true).expect("a map");
        map.append(false).expect("no map");
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let field = Arc::new(Field::new("n", DataType::Int64, false));
        let structure: ArrayRef = Arc::new(StructArray::from(vec![(field, numbers.clone())]));
        let map: ArrayRef = Arc::new(map.finish());
        let nothing = new_null_array(&DataType::Null, 2);
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("n", numbers, false),
            ("map", map, true),
            ("s", structure, false),
            ("nothing", nothing, true),
        ]);
        let batch = batch.expect("a batch");
        let plain = Plain::new(&batch.schema(), |field| field.data_type().is_primitive());
        let plain = plain.batch(batch).expect("plain");
        let text = |column: usize| plain.column(column).as_string::<i32>().iter().collect::<Vec<_>>();
        assert_eq!(text(1), [Some(r#"{"a":"x\"y"}"#), None]);
        assert_eq!(text(2), [Some(r#"{"n":1}"#), Some(r#"{"n":2}"#)]);
        assert_eq!(text(3), [None, None]);
        assert_eq!(plain.column(0).data_type(), &DataType::Int64);
        let untouched = RecordBatch::try_from_iter([("t", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]);
        let untouched = untouched.expect("a batch");
        let plain = Plain::new(&untouched.schema(), |_| true);
        assert_eq!(plain.batch(untouched.clone()).expect("plain"), untouched);
    }
}
