//! Whether a data file is whole.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::table::DataFile;
use super::{FileIndexes, FilesError, blocks};
use crate::types::bit_flip;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileDamage {
    #[error("it is missing")]
    Missing,
    #[error("it has {found} bytes, not {expected}")]
    Size { found: u64, expected: u64 },
    #[error("its checksum does not fit: bytes were changed after it was written")]
    Checksum,
    #[error("{0}")]
    Unreadable(String),
}

/// Looks at one file: its footer, where files have what `indexes` read of them, and with `content` every byte. Memory:
/// the file.
///
/// # Errors
/// When the store cannot be reached: that says nothing of the file.
pub async fn verify(
    store: &Arc<dyn ObjectStore>,
    root: &Path,
    indexes: Option<&FileIndexes>,
    file: &DataFile,
    content: bool,
) -> Result<Option<FileDamage>, FilesError> {
    let location = file.location(root);
    let found = match store.head(&location).await {
        Err(object_store::Error::NotFound { .. }) => return Ok(Some(FileDamage::Missing)),
        found => found?.size,
    };
    if found != file.bytes {
        return Ok(Some(FileDamage::Size { found, expected: file.bytes }));
    }
    if let Some(indexes) = indexes {
        match indexes.get(file).await {
            Ok(_) => {}
            Err(FilesError::Store(error)) => return Err(error.into()),
            Err(error) => return Ok(Some(FileDamage::Unreadable(error.to_string()))),
        }
    }
    if !content {
        return Ok(None);
    }
    let bytes = match store.get(&location).await {
        Ok(found) => found.bytes().await,
        Err(error) => Err(error),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        // A sealed object that does not open is damaged; a store that does not answer is not.
        Err(error @ object_store::Error::Generic { store: "sealed store", .. }) => {
            return Ok(Some(FileDamage::Unreadable(error.to_string())));
        }
        Err(error) => return Err(error.into()),
    };
    let file = file.clone();
    let checked = tokio::task::spawn_blocking(move || check_content(&file, bytes));
    Ok(checked.await.unwrap_or_else(|error| Some(FileDamage::Unreadable(error.to_string()))))
}

/// Writes a file as it was before one of its bits was flipped. Answers where that was, `None` when that is not what is
/// wrong with it.
///
/// `store` is the raw one, and not sealed. Memory: the file. CPU: about 10 ns a byte.
pub async fn correct(store: &Arc<dyn ObjectStore>, root: &Path, file: &DataFile) -> Result<Option<u64>, FilesError> {
    let location = file.location(root);
    let bytes = store.get(&location).await?.bytes().await?;
    let of_file = file.clone();
    let found = tokio::task::spawn_blocking(move || {
        let (at, mask) = bit_flip::find(bytes.len(), of_file.crc32?, crc32fast::hash(&bytes))?;
        let mut corrected = bytes.to_vec();
        corrected[at] ^= mask;
        let corrected = Bytes::from(corrected);
        // Of longer damage a checksum alone cannot tell: the sums of the blocks must fit too.
        check_content(&of_file, corrected.clone()).is_none().then_some((at as u64, corrected))
    });
    match found.await {
        Ok(Some((at, corrected))) if corrected.len() as u64 == file.bytes => {
            store.put(&location, corrected.into()).await?;
            Ok(Some(at))
        }
        _ => Ok(None),
    }
}

fn check_content(file: &DataFile, bytes: Bytes) -> Option<FileDamage> {
    if !file.has_checksum_of(&bytes) {
        return Some(FileDamage::Checksum);
    }
    match blocks::first_damaged(&bytes) {
        Ok(Some(None)) => return None,
        Ok(Some(Some(_))) => return Some(FileDamage::Checksum),
        Err(reason) => return Some(FileDamage::Unreadable(reason)),
        // A file of before there were sums.
        Ok(None) => {}
    }
    if file.checksum().is_some() {
        return None;
    }
    let unreadable = |error: String| Some(FileDamage::Unreadable(error));
    let reader = match ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|builder| builder.build()) {
        Ok(reader) => reader,
        Err(error) => return unreadable(error.to_string()),
    };
    let mut rows = 0;
    for batch in reader {
        match batch {
            Ok(batch) => rows += batch.num_rows() as u64,
            Err(error) => return unreadable(error.to_string()),
        }
    }
    if rows == file.rows { None } else { unreadable(format!("it has {rows} rows, not {}", file.rows)) }
}
