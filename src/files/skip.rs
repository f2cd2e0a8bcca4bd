//! Which rows of a row group can have what a query looks for, from its file's footer and filters alone.

use std::sync::Arc;

use super::fields::{FieldIndex, MayHave, Stretches, Syntax};
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
    /// Of what lines the columns are, if it is in no other.
    pub syntax: Syntax,
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

/// The stretches of a row group that can have a wanted row.
pub async fn stretches_with(
    indexes: &FileIndexes,
    file: &DataFile,
    index: &FileIndex,
    row_group: usize,
    sought: &Sought,
) -> Result<Stretches, FilesError> {
    let mut wanted = Stretches::ALL;
    let Some(fields) = &index.fields else { return Ok(wanted) };
    for text in &sought.texts {
        match fields.may_have(row_group, text) {
            MayHave::Yes => {}
            MayHave::No => return Ok(Stretches::NONE),
            MayHave::IfInFilters(parts) => {
                for part in parts {
                    wanted = wanted & with_any(indexes, file, index, row_group, &part).await?;
                }
            }
        }
    }
    if sought.values.is_empty() || read::has_metadata(index, row_group) {
        return Ok(wanted);
    }
    let rows = index.parquet.metadata().row_group(row_group).num_rows() as u64;
    for value in &sought.values {
        // A logfmt parser finds pairs in JSON, a JSON parser nothing in logfmt.
        let decides = match value.syntax {
            Syntax::Json => fields.is_split(row_group),
            Syntax::Logfmt => fields.is_logfmt(row_group, rows),
        };
        if decides && let Some(asked) = columns_that_decide(fields, row_group, value) {
            wanted = wanted & with_any(indexes, file, index, row_group, &asked).await?;
        }
    }
    Ok(wanted)
}

/// Whether the lines of a row group have the values of fields as they are, and fields alone become labels behind a
/// parser.
pub fn values_are_texts(index: &FileIndex, row_group: usize) -> bool {
    let Some(fields) = &index.fields else { return false };
    fields.is_split(row_group) && !read::has_metadata(index, row_group) && !fields.has_escapes(row_group)
}

/// The columns whose filters to ask; none when another column may have the value and has no filter.
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

/// The stretches in which one of the columns can have its value.
async fn with_any(
    indexes: &FileIndexes,
    file: &DataFile,
    index: &FileIndex,
    row_group: usize,
    asked: &[(u32, String)],
) -> Result<Stretches, FilesError> {
    let mut found = Stretches::NONE;
    for (column, value) in asked {
        let of_column = index.fields.as_ref().and_then(|fields| fields.columns().get(*column as usize));
        if of_column.is_none_or(|of_column| !of_column.can_have(value)) {
            continue;
        }
        match indexes.id_filters(file, index, row_group, *column).await? {
            Some(filters) => found = found | filters.stretches_with(value),
            None => return Ok(Stretches::ALL),
        }
    }
    Ok(found)
}
