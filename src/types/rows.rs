//! Rows as the head keeps them and as scans give them: columns of one tenant, streams by ref.
//!
//! | column | type | |
//! |---|---|---|
//! | `ts_ns` | Int64 | nanoseconds since the Unix epoch |
//! | `stream` | UInt32 | [`crate::streams::StreamRef`] of this process |
//! | `level` | Utf8View, nullable | `detected_level` |
//! | `line` | Utf8View | |
//! | `metadata` | Map<Utf8, Utf8>, nullable | structured metadata without `detected_level` |

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, MapArray, RecordBatch, StringArray, StringViewArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef, UInt32Type};

pub const TS_NS: &str = "ts_ns";
pub const STREAM: &str = "stream";
pub const LEVEL: &str = "level";
pub const LINE: &str = "line";
pub const METADATA: &str = "metadata";

/// Columns of [`ROW_SCHEMA`], in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowColumn {
    Ts,
    Stream,
    Level,
    Line,
    Metadata,
}

pub static ROW_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new(TS_NS, DataType::Int64, false),
        Field::new(STREAM, DataType::UInt32, false),
        Field::new(LEVEL, DataType::Utf8View, true),
        Field::new(LINE, DataType::Utf8View, false),
        Field::new(METADATA, metadata_type(), true),
    ]))
});

/// `Map<Utf8, Utf8>` with the field names that Parquet and Delta use.
pub fn metadata_type() -> DataType {
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(metadata_entry_fields()), false)), false)
}

/// `key` and `value` of a metadata entry.
pub fn metadata_entry_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)])
}

/// Which optional columns a reader wants; time and stream always come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RowProjection {
    pub level: bool,
    pub line: bool,
    pub metadata: bool,
}

impl RowProjection {
    pub const ALL: RowProjection = RowProjection { level: true, line: true, metadata: true };

    /// `ts_ns`, `stream`, then the wanted ones in the order of [`ROW_SCHEMA`].
    pub fn schema(&self) -> SchemaRef {
        if *self == Self::ALL {
            return ROW_SCHEMA.clone();
        }
        let wanted = [true, true, self.level, self.line, self.metadata];
        let fields: Vec<_> = ROW_SCHEMA
            .fields()
            .iter()
            .zip(wanted)
            .filter(|(_, wanted)| *wanted)
            .map(|(field, _)| field.clone())
            .collect();
        Arc::new(Schema::new(fields))
    }
}

/// A batch of rows with typed access to the columns it has.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    pub ts: &'a [i64],
    pub stream: &'a [u32],
    pub level: Option<&'a StringViewArray>,
    pub line: Option<Lines<'a>>,
    pub metadata: Option<Metadata<'a>>,
    /// For those who read members of JSON lines alone.
    pub narrowed: Option<&'a NarrowedLines>,
}

impl<'a> Rows<'a> {
    /// # Panics
    /// When the batch was not made with [`RowProjection::schema`]: scans check that when they are built.
    pub fn of(batch: &'a RecordBatch) -> Self {
        let column = |name: &str| batch.column_by_name(name);
        Rows {
            ts: column(TS_NS).expect("every scan has ts_ns").as_primitive::<Int64Type>().values(),
            stream: column(STREAM).expect("every scan has stream").as_primitive::<UInt32Type>().values(),
            level: column(LEVEL).map(|array| array.as_string_view()),
            line: column(LINE).map(Lines::of),
            metadata: column(METADATA).map(|array| Metadata::of(array.as_map())),
            narrowed: None,
        }
    }

    pub fn len(&self) -> usize {
        self.ts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }
}

/// JSON lines with some of their members alone, where there are any: the others are read as they are.
#[derive(Debug, Clone)]
pub struct NarrowedLines {
    lines: StringViewArray,
    is_narrowed: Vec<bool>,
}

impl NarrowedLines {
    /// Of as many rows as both have.
    pub fn new(lines: StringViewArray, is_narrowed: Vec<bool>) -> Self {
        NarrowedLines { lines, is_narrowed }
    }

    /// The line of a row, if it was narrowed.
    #[inline]
    pub fn value(&self, row: usize) -> Option<&str> {
        self.is_narrowed[row].then(|| self.lines.value(row))
    }
}

/// Lines of a batch, by row: one by one, or each distinct one once and rows by number.
#[derive(Debug, Clone, Copy)]
pub enum Lines<'a> {
    Each(&'a StringViewArray),
    Numbered { numbers: &'a [u32], lines: &'a StringViewArray },
}

impl<'a> Lines<'a> {
    /// # Panics
    /// When the array is neither a `StringViewArray` nor a dictionary of one by `UInt32`: scans give no others.
    pub fn of(array: &'a ArrayRef) -> Self {
        match array.as_dictionary_opt::<UInt32Type>() {
            Some(coded) => Lines::Numbered { numbers: coded.keys().values(), lines: coded.values().as_string_view() },
            None => Lines::Each(array.as_string_view()),
        }
    }

    #[inline]
    pub fn value(&self, row: usize) -> &'a str {
        match self {
            Lines::Each(lines) => lines.value(row),
            Lines::Numbered { numbers, lines } => lines.value(numbers[row] as usize),
        }
    }

    /// Length in bytes, without a look at the text.
    #[inline]
    pub fn bytes(&self, row: usize) -> u32 {
        match self {
            Lines::Each(lines) => lines.views()[row] as u32,
            Lines::Numbered { numbers, lines } => lines.views()[numbers[row] as usize] as u32,
        }
    }
}

/// Structured metadata of a batch, by row.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    map: &'a MapArray,
    keys: &'a StringArray,
    values: &'a StringArray,
}

impl<'a> Metadata<'a> {
    pub fn of(map: &'a MapArray) -> Self {
        Metadata { map, keys: map.keys().as_string(), values: map.values().as_string() }
    }

    /// Whether no row has any.
    pub fn is_all_null(&self) -> bool {
        self.map.null_count() == self.map.len() || self.map.keys().is_empty()
    }

    /// Appends row `row`'s pairs to `out`, sorted by name as stored.
    pub fn append_row(&self, row: usize, out: &mut Vec<(&'a str, &'a str)>) {
        if self.map.is_null(row) {
            return;
        }
        let offsets = self.map.value_offsets();
        for at in offsets[row] as usize..offsets[row + 1] as usize {
            out.push((self.keys.value(at), self.values.value(at)));
        }
    }
}

/// A batch of all row columns.
///
/// # Errors
/// When lengths or types do not fit [`ROW_SCHEMA`].
pub fn row_batch(
    ts: Int64Array,
    stream: UInt32Array,
    level: StringViewArray,
    line: StringViewArray,
    metadata: MapArray,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns: Vec<ArrayRef> =
        vec![Arc::new(ts), Arc::new(stream), Arc::new(level), Arc::new(line), Arc::new(metadata)];
    RecordBatch::try_new(ROW_SCHEMA.clone(), columns)
}
