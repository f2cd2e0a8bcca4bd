//! A text that every useful line has, when only the values of one column can have it: found in the bytes of the
//! values, all rows at once. The other rows are given a line without it.

use arrow::array::{Array, FixedSizeBinaryArray, StringViewArray};
use memchr::memmem::Finder;

use super::packed::Form;
use super::rebuild::Values;

/// Shorter values may lie in the views themselves, where they are not found.
const TEXT_BYTES_MIN: usize = 13;
/// Occurrences up to which rows are picked; with more, lines are made row by row.
const FOUND_MAX: usize = 4_096;

/// What is looked for, and where.
#[derive(Debug)]
pub(super) struct SoughtText {
    /// Place among the columns that are read.
    pub(super) column: usize,
    finder: Finder<'static>,
}

impl SoughtText {
    pub(super) fn new(text: &str, column: usize) -> Self {
        SoughtText { column, finder: Finder::new(text).into_owned() }
    }

    /// The rows whose value has the text, ascending; none when there are too many to pick, or where it is not known.
    pub(super) fn rows(&self, values: &Values<'_>) -> Option<Vec<usize>> {
        match values {
            Values::View(views) if self.finder.needle().len() >= TEXT_BYTES_MIN => self.in_views(views),
            Values::Packed(packed, form) => self.in_packed(packed, form),
            _ => None,
        }
    }

    fn in_packed(&self, packed: &FixedSizeBinaryArray, form: &Form) -> Option<Vec<usize>> {
        let text = self.finder.needle();
        let whole = std::str::from_utf8(text).ok().filter(|_| form.is_as_long_as(text));
        let rows = (0..packed.len()).filter(|row| packed.is_valid(*row));
        let found: Vec<usize> = match whole {
            Some(whole) => {
                let Some(wanted) = form.packed(whole) else { return Some(Vec::new()) };
                rows.filter(|row| packed.value(*row) == wanted).take(FOUND_MAX + 1).collect()
            }
            None => {
                let mut value = Vec::new();
                let has = |row: &usize| {
                    value.clear();
                    form.unpack(packed.value(*row), &mut value);
                    self.finder.find(&value).is_some()
                };
                rows.filter(has).take(FOUND_MAX + 1).collect()
            }
        };
        (found.len() <= FOUND_MAX).then_some(found)
    }

    fn in_views(&self, values: &StringViewArray) -> Option<Vec<usize>> {
        let mut found: Vec<(u32, u32)> = Vec::new();
        for (buffer, number) in values.data_buffers().iter().zip(0..) {
            for at in self.finder.find_iter(buffer) {
                if found.len() == FOUND_MAX {
                    return None;
                }
                found.push((number, u32::try_from(at).ok()?));
            }
        }
        if found.is_empty() {
            return Some(Vec::new());
        }
        let text_bytes = self.finder.needle().len() as u64;
        let has = |view: &u128| {
            let (length, place) = (*view as u32, ((*view >> 64) as u32, (*view >> 96) as u32));
            let next = found.partition_point(|found| *found < place);
            length as usize >= TEXT_BYTES_MIN
                && found.get(next).is_some_and(|(buffer, at)| {
                    *buffer == place.0 && u64::from(*at) + text_bytes <= u64::from(place.1) + u64::from(length)
                })
        };
        let rows = values.views().iter().enumerate().filter(|(row, view)| has(view) && values.is_valid(*row));
        Some(rows.map(|(row, _)| row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_in_packed_values() {
        let form = Form::of("req_6b0d549b").expect("digits");
        let values = ["req_6b0d549b", "req_00000000", "req_ff6b0d54"].map(|value| form.packed(value));
        let values = values.into_iter().chain([None]);
        let packed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 4).expect("of one width");
        let rows = |text: &str| SoughtText::new(text, 0).rows(&Values::Packed(&packed, &form));
        assert_eq!(rows("req_6b0d549b"), Some(vec![0]));
        assert_eq!(rows("6b0d54"), Some(vec![0, 2]));
        assert_eq!(rows("b0d"), Some(vec![0, 2]));
        assert_eq!(rows("q_0"), Some(vec![1]));
        assert_eq!(rows("rex_6b0d549b"), Some(vec![]));
    }

    #[test]
    fn rows_are_found_in_the_bytes_of_values() {
        let text = "0123456789abcdef";
        let values = StringViewArray::from_iter([
            Some("0123456789abcde"),
            Some(text),
            None,
            Some("short"),
            Some("fed 0123456789abcdef cba"),
            Some("f0123456789abcde"),
            Some("0123456789abcdeX"),
            Some(text),
        ]);
        let rows = |text: &str, values: &StringViewArray| SoughtText::new(text, 0).rows(&Values::View(values));
        assert_eq!(rows(text, &values), Some(vec![1, 4, 7]));
        assert_eq!(rows(text, &values.slice(2, 4)), Some(vec![2]));
        assert_eq!(rows("0123456789abcdefg", &values), Some(vec![]));
        assert_eq!(rows(text, &StringViewArray::from_iter_values(vec![text; FOUND_MAX + 1])), None);
        assert_eq!(rows("short", &values), None);
    }
}
