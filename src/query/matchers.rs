//! Stream selectors over the streams of a tenant: which of them a query asks for.

use std::sync::Arc;

use crate::logql::ast::Matcher;
use crate::logql::selector::LabelSelector;
use crate::query::QueryError;
use crate::streams::StreamRef;
use crate::types::labels::Labels;

/// All matchers of one selector.
#[derive(Debug, Clone)]
pub struct Selector(LabelSelector);

/// A set of streams, by ref.
#[derive(Debug, Clone, Default)]
pub struct StreamSet(Arc<[bool]>);

impl Selector {
    /// # Errors
    /// `BadInput` for a regex that does not compile.
    pub fn compile(matchers: &[Matcher]) -> Result<Self, QueryError> {
        LabelSelector::compile(matchers).map(Selector).map_err(QueryError::BadInput)
    }

    /// Its canonical text.
    pub fn text(&self) -> &str {
        self.0.text()
    }

    /// A missing label counts as the empty string.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.matches(labels)
    }
}

impl StreamSet {
    /// From one flag a stream, by ref.
    pub fn from_flags(flags: Arc<[bool]>) -> Self {
        StreamSet(flags)
    }

    pub fn contains(&self, stream: StreamRef) -> bool {
        self.0.get(stream.0 as usize).copied().unwrap_or(false)
    }

    /// Streams in it.
    pub fn len(&self) -> usize {
        self.0.iter().filter(|chosen| **chosen).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Membership by ref, for filters over whole columns.
    pub fn as_flags(&self) -> &[bool] {
        &self.0
    }
}
