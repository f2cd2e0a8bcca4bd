//! A text that every useful line has, when only the values of one column can have it: found in the bytes of the
//! values, all rows at once. The other rows are given a line without it.

use arrow::array::{Array, StringViewArray};
use memchr::memmem::Finder;

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
    /// None for a text that is too short.
    pub(super) fn new(text: &str, column: usize) -> Option<Self> {
        (text.len() >= TEXT_BYTES_MIN).then(|| SoughtText { column, finder: Finder::new(text).into_owned() })
    }

    /// The rows whose value has the text, ascending; none when there are too many to pick.
    pub(super) fn rows(&self, values: &StringViewArray) -> Option<Vec<usize>> {
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
        let sought = SoughtText::new(text, 0).expect("long enough");
        assert_eq!(sought.rows(&values), Some(vec![1, 4, 7]));
        assert_eq!(sought.rows(&values.slice(2, 4)), Some(vec![2]));
        assert_eq!(SoughtText::new("0123456789abcdefg", 0).expect("long").rows(&values), Some(vec![]));
        let many = StringViewArray::from_iter_values(vec![text; FOUND_MAX + 1]);
        assert_eq!(sought.rows(&many), None);
        assert!(SoughtText::new("short", 0).is_none());
    }
}
