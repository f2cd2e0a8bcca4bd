//! What can be wrong with a template, in Go's words.

/// A template that does not parse, or failed while it was executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("template: {template}:{line}: {fault}")]
    Parse {
        /// Of the template that the text was given to, not of one defined in it.
        template: String,
        line: usize,
        fault: String,
    },
    #[error("template: {text}:{line}:{column}: executing {template} at <{place}>: {fault}")]
    Execute {
        /// The template that the text was given to.
        text: String,
        line: usize,
        /// Bytes of the line before the place.
        column: usize,
        /// The template being executed, quoted.
        template: String,
        /// What was being executed, as Go prints it.
        place: String,
        fault: String,
    },
    #[error("template: {template}: {fault}")]
    ExecuteStart { template: String, fault: String },
}

impl TemplateError {
    /// Whether the text is at fault rather than what it was executed on.
    pub fn is_parse(&self) -> bool {
        matches!(self, TemplateError::Parse { .. })
    }
}
