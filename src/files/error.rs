//! What can go wrong with files.

use super::table::TableError;

/// Facts about a failed read or write of history.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    #[error("parquet file {path}: {source}")]
    Parquet { path: String, source: parquet::errors::ParquetError },
    #[error("parquet encoding: {0}")]
    Encode(#[from] parquet::errors::ParquetError),
    #[error("columns: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("file {path} has no stream index in its footer; it was not written by millrace")]
    NoStreamIndex { path: String },
    #[error("file {path} has a damaged stream index: {reason}")]
    BadStreamIndex { path: String, reason: String },
    #[error("file {path} has a damaged index of fields: {reason}")]
    BadFieldIndex { path: String, reason: String },
    #[error("a row names line template {number}, which the file does not have")]
    NoTemplate { number: i32 },
    #[error("table: {0}")]
    Table(#[from] TableError),
}

impl FilesError {
    /// Whether the store could not be read or written: that says nothing of the file.
    pub fn is_of_store(&self) -> bool {
        match self {
            FilesError::Store(_) => true,
            FilesError::Parquet { source: parquet::errors::ParquetError::External(source), .. } => {
                let store = source.downcast_ref::<object_store::Error>();
                // What is not there, or does not open, is the file's own damage.
                store.is_some_and(|error| {
                    !matches!(
                        error,
                        object_store::Error::NotFound { .. }
                            | object_store::Error::Generic { store: "sealed store", .. }
                    )
                })
            }
            _ => false,
        }
    }
}
