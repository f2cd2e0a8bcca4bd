//! Why a query has no answer, by what the caller can do about it.

use datafusion::error::DataFusionError;

use crate::files::FilesError;
use crate::logql::ParseError;
use crate::query::matrix::EvalError;
use crate::query::operators::rows::Refused;

#[derive(Debug, Clone, thiserror::Error)]
pub enum QueryError {
    /// The text or a limit is to blame: 400 with this text, as Loki words it.
    #[error("{0}")]
    BadInput(String),
    /// 504.
    #[error(
        "request timed out, decrease the duration of the request or add more label matchers (prefer exact match over regex match) to reduce the amount of data processed"
    )]
    Timeout,
    /// 429: too many queries or too much memory at once.
    #[error("{0}")]
    Overloaded(String),
    /// 500.
    #[error("{0}")]
    Internal(String),
}

impl From<ParseError> for QueryError {
    fn from(error: ParseError) -> Self {
        QueryError::BadInput(error.to_string())
    }
}

impl From<EvalError> for QueryError {
    fn from(error: EvalError) -> Self {
        QueryError::BadInput(error.to_string())
    }
}

impl From<FilesError> for QueryError {
    fn from(error: FilesError) -> Self {
        QueryError::Internal(error.to_string())
    }
}

impl From<DataFusionError> for QueryError {
    /// Finds the client's share in it: a refusal of ours, a text that does not parse or plan, memory that ran out.
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::External(inner) if inner.is::<Refused>() => QueryError::BadInput(inner.to_string()),
            DataFusionError::External(inner) if inner.is::<QueryError>() => match inner.downcast_ref() {
                Some(QueryError::BadInput(text)) => QueryError::BadInput(text.clone()),
                Some(QueryError::Overloaded(text)) => QueryError::Overloaded(text.clone()),
                Some(QueryError::Timeout) => QueryError::Timeout,
                _ => QueryError::Internal(inner.to_string()),
            },
            DataFusionError::External(inner) => QueryError::Internal(inner.to_string()),
            DataFusionError::ResourcesExhausted(text) => QueryError::Overloaded(format!(
                "the query needs more memory than queries may have: {text}; narrow the selector, the time range or the grouping"
            )),
            DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Execution(_)
            | DataFusionError::ArrowError(..)
            | DataFusionError::Diagnostic(..) => QueryError::BadInput(error.strip_backtrace()),
            _ => QueryError::Internal(error.strip_backtrace()),
        }
    }
}
