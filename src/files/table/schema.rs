//! Columns of the tables, as Delta's log names them.
//!
//! Every table is partitioned by `tenant` and UTC `date`, and has times in `ts_ns`, by which other engines skip files.

/// What a table is created with.
#[derive(Debug, Clone, Copy)]
pub struct TableSchema {
    pub name: &'static str,
    /// Those in the files.
    pub columns: &'static [Column],
}

#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnKind,
    pub nullable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    Text,
    Long,
    Double,
    /// Of texts to texts.
    Map,
}

const fn column(name: &'static str, kind: ColumnKind, nullable: bool) -> Column {
    Column { name, kind, nullable }
}

/// Rows of logs.
pub static LOGS: TableSchema = TableSchema {
    name: "logs",
    columns: &[
        column("ts_ns", ColumnKind::Long, false),
        column("stream_id", ColumnKind::Long, false),
        column("labels", ColumnKind::Text, false),
        column("level", ColumnKind::Text, true),
        // Null where the line is in columns of its fields, which are no part of the table's schema.
        column("line", ColumnKind::Text, true),
        column("metadata", ColumnKind::Map, true),
    ],
};

/// Samples of derived metrics.
pub static METRICS: TableSchema = TableSchema {
    name: "metrics",
    columns: &[
        column("ts_ns", ColumnKind::Long, false),
        column("metric", ColumnKind::Text, false),
        column("labels", ColumnKind::Text, false),
        column("value", ColumnKind::Double, false),
    ],
};

impl TableSchema {
    /// In Delta's JSON, the partition columns first.
    pub(super) fn to_json(self) -> String {
        let field = |name: &str, kind: serde_json::Value, nullable: bool| serde_json::json!({"name": name, "type": kind, "nullable": nullable, "metadata": {}});
        let partitions = [field("tenant", "string".into(), false), field("date", "date".into(), false)];
        let columns = self.columns.iter().map(|column| field(column.name, column.kind.to_json(), column.nullable));
        let fields: Vec<_> = partitions.into_iter().chain(columns).collect();
        serde_json::json!({"type": "struct", "fields": fields}).to_string()
    }
}

impl ColumnKind {
    fn to_json(self) -> serde_json::Value {
        match self {
            ColumnKind::Text => "string".into(),
            ColumnKind::Long => "long".into(),
            ColumnKind::Double => "double".into(),
            ColumnKind::Map => {
                serde_json::json!({"type": "map", "keyType": "string", "valueType": "string", "valueContainsNull": true})
            }
        }
    }
}
