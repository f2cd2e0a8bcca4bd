//! Rows of a checkpoint as actions, column by column: a table of 100,000 files is read in a moment.
//!
//! Files and removed files, which are many, are read here where their columns are as Millrace and most engines write
//! them; the rest goes through JSON, as do columns of other types.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, MapArray, RecordBatch, StringArray, StructArray};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;

use super::actions::{Action, Add, Remove, known_name};

/// What one batch says.
pub(super) struct Rows {
    pub(super) files: Vec<Action>,
    /// Rows that are neither files nor removed files.
    pub(super) rest: RecordBatch,
}

/// `None` where columns have other types.
pub(super) fn read(batch: &RecordBatch) -> Option<Result<Rows, ArrowError>> {
    let adds = Files::of(batch.column_by_name("add")?.as_struct_opt()?)?;
    let removes = Files::of(batch.column_by_name("remove")?.as_struct_opt()?)?;
    let mut files = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        if adds.rows.is_valid(row) {
            files.push(Action { add: Some(adds.add(row)?), ..Action::default() });
        }
        if removes.rows.is_valid(row) {
            files.push(Action { remove: Some(removes.remove(row)?), ..Action::default() });
        }
    }
    let is_other = (0..batch.num_rows()).map(|row| Some(adds.rows.is_null(row) && removes.rows.is_null(row)));
    let rest = filter_record_batch(batch, &is_other.collect::<BooleanArray>());
    Some(rest.map(|rest| Rows { files, rest }))
}

/// The columns of `add` or `remove`; what only one of them has, or a writer left out, is `None`.
struct Files<'b> {
    rows: &'b StructArray,
    path: &'b StringArray,
    data_change: Option<&'b BooleanArray>,
    partition_values: Option<&'b MapArray>,
    size: Option<&'b Int64Array>,
    modification_time: Option<&'b Int64Array>,
    stats: Option<&'b StringArray>,
    tags: Option<&'b MapArray>,
    deletion_timestamp: Option<&'b Int64Array>,
    extended_file_metadata: Option<&'b BooleanArray>,
}

impl<'b> Files<'b> {
    /// `None` where a column has another type.
    fn of(rows: &'b StructArray) -> Option<Self> {
        fn column<'b, T: 'static>(rows: &'b StructArray, name: &str) -> Option<Option<&'b T>> {
            match rows.column_by_name(name) {
                None => Some(None),
                Some(column) => column.as_any().downcast_ref::<T>().map(Some),
            }
        }
        let is_text = |map: &MapArray| {
            map.keys().as_string_opt::<i32>().is_some() && map.values().as_string_opt::<i32>().is_some()
        };
        let map = |name: &str| match column::<MapArray>(rows, name)? {
            Some(map) if !is_text(map) => None,
            map => Some(map),
        };
        Some(Files {
            path: column(rows, "path")??,
            data_change: column(rows, "dataChange")?,
            partition_values: map("partitionValues")?,
            size: column(rows, "size")?,
            modification_time: column(rows, "modificationTime")?,
            stats: column(rows, "stats")?,
            tags: map("tags")?,
            deletion_timestamp: column(rows, "deletionTimestamp")?,
            extended_file_metadata: column(rows, "extendedFileMetadata")?,
            rows,
        })
    }

    /// `None` where something is missing that JSON says better.
    fn add(&self, row: usize) -> Option<Add> {
        Some(Add {
            path: text(Some(self.path), row)?,
            partition_values: pairs(self.partition_values, row)?,
            size: number(self.size, row)?,
            modification_time: number(self.modification_time, row)?,
            data_change: flag(self.data_change, row)?,
            stats: text(self.stats, row),
            tags: pairs(self.tags, row),
        })
    }

    fn remove(&self, row: usize) -> Option<Remove> {
        Some(Remove {
            path: text(Some(self.path), row)?,
            deletion_timestamp: number(self.deletion_timestamp, row),
            data_change: flag(self.data_change, row).unwrap_or_default(),
            extended_file_metadata: flag(self.extended_file_metadata, row),
            partition_values: pairs(self.partition_values, row),
            size: number(self.size, row),
        })
    }
}

fn text(column: Option<&StringArray>, row: usize) -> Option<String> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row).to_owned())
}

fn number(column: Option<&Int64Array>, row: usize) -> Option<i64> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

fn flag(column: Option<&BooleanArray>, row: usize) -> Option<bool> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

fn pairs(column: Option<&MapArray>, row: usize) -> Option<BTreeMap<Cow<'static, str>, Option<String>>> {
    let column = column.filter(|column| column.is_valid(row))?;
    let offsets = column.value_offsets();
    let (start, end) = (usize::try_from(offsets[row]).ok()?, usize::try_from(offsets[row + 1]).ok()?);
    let (keys, values) = (column.keys().as_string::<i32>(), column.values().as_string::<i32>());
    Some((start..end).map(|at| (known_name(keys.value(at)), text(Some(values), at))).collect())
}
