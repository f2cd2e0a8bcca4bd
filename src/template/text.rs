//! Texts of templates: bytes, as Go's strings are, lent where they can be.

use std::borrow::Borrow;
use std::ops::Range;
use std::rc::Rc;

/// Bytes that are UTF-8 unless a function cut a character apart.
#[derive(Clone)]
pub enum Text<'a> {
    /// Of the row, or of the template itself.
    Lent(&'a [u8]),
    /// Made by a function.
    Made(Rc<[u8]>),
}

impl<'a> Text<'a> {
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Lent(bytes) => bytes,
            Text::Made(bytes) => bytes,
        }
    }

    /// A part of the bytes; one out of range is empty.
    pub(super) fn slice(&self, range: Range<usize>) -> Text<'a> {
        match self {
            Text::Lent(bytes) => Text::Lent(bytes.get(range).unwrap_or_default()),
            Text::Made(bytes) if range == (0..bytes.len()) => self.clone(),
            Text::Made(bytes) => Text::Made(bytes.get(range).unwrap_or_default().into()),
        }
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text::Lent(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Text::Lent(bytes)
    }
}

impl From<Vec<u8>> for Text<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Text::Made(bytes.into())
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text::Made(text.into_bytes().into())
    }
}

// Texts are found in maps by their bytes.
impl Borrow<[u8]> for Text<'_> {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}
