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
