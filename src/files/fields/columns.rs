//! Which fields of the lines get a column of their own in a file.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::packed::Form;
use super::template::{PATH_SEPARATOR, parse};

/// Columns of fields a file has at most; lines with others stay whole.
const COLUMNS_MAX: usize = 128;
/// Lines that are looked at to choose.
const SAMPLE_LINES: usize = 8_192;
/// From this share of different values in the sample on, a column has no dictionary.
const UNIQUE_SHARE: f64 = 0.5;
/// From this share of values of one form in the sample on, they are packed.
const PACKED_SHARE: f64 = 0.5;
/// Shorter values are no ids worth a filter.
const ID_BYTES_MIN: usize = 8;

/// A column of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldColumn {
    /// Keys from the outermost object inwards, joined by a unit separator.
    pub path: String,
    /// Values differ from row to row: no dictionary.
    pub unique: bool,
    /// Values are ids: strings that differ, each long enough to be asked for. They have filters, and their text
    /// is no part of the trigrams.
    pub id: bool,
    /// Rows it was chosen for, about: what it weighs when files become one.
    pub rows: u64,
    /// Values of this form are in it, packed; all others are in the column of the same path without a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
}

impl FieldColumn {
    /// Keys from the outermost object inwards.
    pub fn keys(&self) -> Vec<&str> {
        self.path.split(PATH_SEPARATOR).collect()
    }

    /// The type of its values while they are written.
    pub(in crate::files) fn written_type(&self) -> DataType {
        self.form.as_ref().map_or(DataType::Utf8View, |form| DataType::FixedSizeBinary(form.width() as i32))
    }

    /// The same as they are read: in codes where values repeat.
    pub(in crate::files) fn read_type(&self) -> DataType {
        match self.unique {
            true => self.written_type(),
            false => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        }
    }

    /// Whether a value can be in the column, by its form.
    pub(in crate::files) fn can_have(&self, value: &str) -> bool {
        self.form.as_ref().is_none_or(|form| form.packed(value).is_some())
    }
}

/// The columns of a file, chosen before its first row is written.
#[derive(Debug, Clone, Default)]
pub struct FieldColumns {
    pub(super) columns: Vec<FieldColumn>,
}

#[derive(Debug, Default)]
struct Seen {
    rows: u64,
    bytes: usize,
    text: bool,
    values: HashSet<Box<str>>,
}

impl FieldColumns {
    /// Chosen by `lines`, of which a part is looked at.
    pub fn choose<'l>(lines: impl ExactSizeIterator<Item = &'l str>) -> Self {
        let total = lines.len();
        let step = total.div_ceil(SAMPLE_LINES).max(1);
        let mut seen: HashMap<String, Seen> = HashMap::new();
        for line in lines.step_by(step) {
            let Some(parsed) = parse(line) else { continue };
            for (path, range) in parsed.paths.into_iter().zip(parsed.values) {
                let (start, end) = (range.start as usize, range.end as usize);
                let of_path = seen.entry(path).or_default();
                of_path.rows += 1;
                of_path.bytes += end - start;
                // What has no quotes in JSON is no text.
                of_path.text = matches!(line.as_bytes()[start - 1], b'"' | b'=');
                of_path.values.insert(line[start..end].into());
            }
        }
        let columns = seen.into_iter().map(|(path, seen)| {
            let unique = seen.values.len() as f64 > UNIQUE_SHARE * seen.rows as f64 && seen.rows > 16;
            let id = unique && seen.text && seen.bytes as u64 >= ID_BYTES_MIN as u64 * seen.rows;
            let form = if id { most_common_form(&seen.values) } else { None };
            FieldColumn { path, unique, id, rows: seen.rows * step as u64, form }
        });
        Self::most_used(columns.collect())
    }

    /// Those of several files that become one.
    pub fn union<'c>(files: impl IntoIterator<Item = &'c [FieldColumn]>) -> Self {
        let mut all: HashMap<&str, FieldColumn> = HashMap::new();
        for column in files.into_iter().flatten() {
            let form = column.form.clone();
            match all.get_mut(column.path.as_str()) {
                // It comes behind the column without a form.
                Some(known) if form.is_some() => known.form = known.form.take().or(form),
                // The larger part decides what the values are like.
                Some(known) if known.rows >= column.rows => known.rows += column.rows,
                Some(known) => {
                    let (rows, form) = (known.rows + column.rows, known.form.take());
                    *known = FieldColumn { rows, form, ..column.clone() };
                }
                None => {
                    all.insert(&column.path, column.clone());
                }
            }
        }
        Self::most_used(all.into_values().collect())
    }

    /// Of columns one a path, those that are used most; values of a form get a second one.
    fn most_used(mut columns: Vec<FieldColumn>) -> Self {
        columns.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.path.cmp(&b.path)));
        columns.truncate(COLUMNS_MAX);
        columns.sort_by(|a, b| a.path.cmp(&b.path));
        let with_packed = columns.into_iter().flat_map(|column| {
            let packed = column.form.as_ref().filter(|_| column.id).map(|_| column.clone());
            [FieldColumn { form: None, ..column }].into_iter().chain(packed)
        });
        FieldColumns { columns: with_packed.collect() }
    }

    pub fn columns(&self) -> &[FieldColumn] {
        &self.columns
    }

    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }
}

/// The form of most of the values, where there is one.
fn most_common_form(values: &HashSet<Box<str>>) -> Option<Form> {
    let mut forms: HashMap<Form, usize> = HashMap::new();
    for form in values.iter().filter_map(|value| Form::of(value)) {
        *forms.entry(form).or_default() += 1;
    }
    let (form, count) = forms.into_iter().max_by(|(a, n), (b, m)| n.cmp(m).then_with(|| b.cmp(a)))?;
    (count as f64 >= PACKED_SHARE * values.len() as f64).then_some(form)
}

/// Names of the columns in the Parquet file, in the manner of JSONPath, each once.
pub(in crate::files) fn parquet_names(columns: &[FieldColumn]) -> Vec<String> {
    let mut names = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let packed = if column.form.is_some() { "#hex" } else { "" };
        let name = format!("$.{}{packed}", column.path.replace(PATH_SEPARATOR, "."));
        names.push(if names.contains(&name) { format!("{name}#{at}") } else { name });
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(lines: &[String]) -> Vec<FieldColumn> {
        FieldColumns::choose(lines.iter().map(String::as_str)).columns
    }

    #[test]
    fn ids_and_words_are_told_apart() {
        let lines: Vec<String> = (0..1_000)
            .map(|at| format!(r#"{{"trace":"{at:016x}","level":"info","n":{at},"user":{{"id":"u{}"}}}}"#, at % 7))
            .collect();
        let chosen = columns(&lines);
        let flags: Vec<_> = chosen.iter().map(|c| (&*c.path, c.unique, c.id, c.rows)).collect();
        assert_eq!(
            flags,
            [
                ("level", false, false, 1_000),
                ("n", true, false, 1_000),
                ("trace", true, true, 1_000),
                ("trace", true, true, 1_000),
                ("user\u{1f}id", false, false, 1_000)
            ]
        );
        assert_eq!(parquet_names(&chosen), ["$.level", "$.n", "$.trace", "$.trace#hex", "$.user.id"]);
        assert!(columns(&["text".to_owned()]).is_empty());
        assert_eq!(FieldColumns::union([&chosen[..], &chosen[..]]).columns.len(), chosen.len());
    }

    #[test]
    fn the_most_used_columns_win() {
        let many: Vec<String> = (0..200)
            .flat_map(|at| vec![format!(r#"{{"k{at:03}":1,"all":1}}"#); if at < 100 { 2 } else { 1 }])
            .collect();
        let chosen = columns(&many);
        assert_eq!(chosen.len(), COLUMNS_MAX);
        assert!(chosen.iter().any(|c| c.path == "all") && chosen.iter().any(|c| c.path == "k099"));
        let union = FieldColumns::union([&chosen[..], &chosen[..2]]);
        assert_eq!(union.columns.len(), COLUMNS_MAX);
        assert_eq!(union.columns[0].rows, 2 * chosen[0].rows);
    }
}
