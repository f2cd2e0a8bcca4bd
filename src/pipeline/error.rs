//! Why a pipeline is refused, in Promtail's words.

/// A pipeline that cannot be built. `Display` is what Promtail says after `failed to make … pipeline: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StageError(pub String);

impl StageError {
    pub fn new(words: impl Into<String>) -> Self {
        StageError(words.into())
    }

    /// `context: what went wrong`, as Go wraps errors.
    pub(super) fn within(self, context: &str) -> Self {
        StageError(format!("{context}: {}", self.0))
    }
}

impl From<String> for StageError {
    fn from(words: String) -> Self {
        StageError(words)
    }
}

impl From<&str> for StageError {
    fn from(words: &str) -> Self {
        StageError(words.to_owned())
    }
}
