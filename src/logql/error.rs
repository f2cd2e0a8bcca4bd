//! Parse errors in Loki's words.

use std::fmt;

/// Why a text is no query. `Display` is the text that Loki answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub message: String,
    /// From 1; 0 when the place is not known.
    pub line: usize,
    /// In characters, from 1; 0 when the place is not known.
    pub column: usize,
}

impl ParseError {
    /// An error about the query as a whole.
    pub(super) fn about(message: impl Into<String>) -> Self {
        ParseError { message: message.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 && self.column == 0 {
            return write!(f, "parse error : {}", self.message);
        }
        write!(f, "parse error at line {}, col {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}
