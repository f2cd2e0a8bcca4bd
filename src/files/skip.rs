//! Whether a row group can have what a query looks for, from its file's footer and Bloom filters alone.

use std::sync::Arc;

use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::bloom_filter::Sbbf;

use super::fields::{FieldIndex, MayHave};
use super::index::{FileIndex, FileIndexes};
use super::table::DataFile;
use super::{FilesError, read};

/// What every wanted row has.
#[derive(Debug, Clone, Default)]
pub struct Sought {
    /// Parts of the line.
    pub texts: Vec<String>,
    /// Values of fields. Only rows without metadata are skipped by them.
    pub values: Vec<SoughtValue>,
}

/// Tells by its keys, outermost first, whether a column can give a value.
pub type IsColumn = Arc<dyn Fn(&[&str]) -> bool + Send + Sync>;

/// A row is wanted only if one of the columns has the value.
#[derive(Clone)]
pub struct SoughtValue {
    pub is_column: IsColumn,
    pub value: String,
}

impl std::fmt::Debug for SoughtValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoughtValue").field("value", &self.value).finish_non_exhaustive()
    }
}

impl Sought {
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.values.is_empty()
    }
}

/// Whether a row group can have a wanted row.
pub async fn may_have(
    indexes: &FileIndexes,
    file: &DataFile,
    index: &FileIndex,
    row_group: usize,
    sought: &Sought,
) -> Result<bool, FilesError> {
    let Some(fields) = &index.fields else { return Ok(true) };
    for text in &sought.texts {
        match fields.may_have(row_group, text) {
            MayHave::Yes => {}
            MayHave::No => return Ok(false),
            MayHave::IfInBloom(parts) => {
                for part in parts {
                    if !in_any_bloom(indexes, file, index, row_group, &part).await? {
                        return Ok(false);
                    }
                }
            }
        }
    }
    if sought.values.is_empty() || !fields.is_split(row_group) || read::has_metadata(index, row_group) {
        return Ok(true);
    }
    for wanted in &sought.values {
        if let Some(asked) = columns_that_decide(fields, row_group, wanted)
            && !in_any_bloom(indexes, file, index, row_group, &asked).await?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the lines of a row group have the values of fields as they are, and fields alone become labels behind a JSON
/// parser.
pub fn values_are_texts(index: &FileIndex, row_group: usize) -> bool {
    let Some(fields) = &index.fields else { return false };
    fields.is_split(row_group) && !read::has_metadata(index, row_group) && !fields.has_escapes(row_group)
}

/// The Bloom filters to ask; none when another column may have the value and has no filter.
fn columns_that_decide(fields: &FieldIndex, row_group: usize, wanted: &SoughtValue) -> Option<Vec<(u32, String)>> {
    let mut asked = Vec::new();
    for (at, column) in fields.columns().iter().enumerate() {
        if !(wanted.is_column)(&column.keys()) {
            continue;
        }
        if fields.value_may_be(row_group, at, &wanted.value)? {
            asked.push((at as u32, wanted.value.clone()));
        }
    }
    Some(asked)
}

async fn in_any_bloom(
    indexes: &FileIndexes,
    file: &DataFile,
    index: &FileIndex,
    row_group: usize,
    asked: &[(u32, String)],
) -> Result<bool, FilesError> {
    for (column, value) in asked {
        let of_column = index.fields.as_ref().and_then(|fields| fields.columns().get(*column as usize));
        let Some(key) = of_column.and_then(|column| column.bloom_key(value)) else { continue };
        match indexes.bloom(file, index, row_group, read::field_root(*column)).await? {
            Some(bloom) if !bloom.check(&key) => {}
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// Reads the Bloom filter of the column that is root number `root`.
pub(super) async fn load_bloom(
    indexes: &FileIndexes,
    file: &DataFile,
    index: &FileIndex,
    row_group: usize,
    root: usize,
) -> Result<Option<Sbbf>, FilesError> {
    let schema = index.parquet.metadata().file_metadata().schema_descr();
    let Some(leaf) = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root) else {
        return Ok(None);
    };
    let reader = indexes.reader(file).checked(index.sums.clone());
    let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, index.parquet.clone());
    let found = builder.get_row_group_column_bloom_filter(row_group, leaf).await;
    found.map_err(|source| FilesError::Parquet { path: file.path.clone(), source })
}
