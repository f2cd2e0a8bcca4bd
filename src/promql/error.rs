//! Why a query has no answer, by Prometheus' kinds.

use crate::types::sample::SampleError;

/// What went wrong; the texts are Prometheus' where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromqlError {
    /// The text is to blame: `bad_data`.
    #[error("{0}")]
    BadQuery(String),
    /// The data does not suit the query: `execution`.
    #[error("{0}")]
    Execution(String),
    /// More samples than a query may hold: `execution`.
    #[error("query processing would load too many samples into memory in query execution (limit: {samples_max})")]
    TooManySamples { samples_max: usize },
    /// `timeout`.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// The caller went away: `canceled`.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The samples could not be read: `internal`.
    #[error("expanding series: {0}")]
    Storage(String),
}

impl From<PromqlError> for SampleError {
    fn from(error: PromqlError) -> Self {
        match error {
            PromqlError::BadQuery(text) | PromqlError::Execution(text) => SampleError::BadQuery(text),
            other => SampleError::Failed(other.to_string()),
        }
    }
}
