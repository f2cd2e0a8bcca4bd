//! Keys of tables: there are none, which clients that draw diagrams ask.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// Columns of `CommandGetPrimaryKeys`.
pub(super) static PRIMARY: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
});

/// Columns of `CommandGetExportedKeys`, `CommandGetImportedKeys` and `CommandGetCrossReference`.
pub(super) static FOREIGN: LazyLock<SchemaRef> = LazyLock::new(|| {
    let of_side = |side: &str| {
        let text = |name: &str, nullable| Field::new(format!("{side}_{name}"), DataType::Utf8, nullable);
        [
            text("catalog_name", true),
            text("db_schema_name", true),
            text("table_name", false),
            text("column_name", false),
        ]
    };
    let mut fields = [of_side("pk"), of_side("fk")].concat();
    fields.extend([
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]);
    Arc::new(Schema::new(fields))
});
