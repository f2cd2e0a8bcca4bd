//! Which rows of a file are whose: kept in its footer, and in a cache once read.
//!
//! ```text
//! millrace.series = base64(zstd(JSON [[labels, rows, min_ms, max_ms], …]))      in the order of the rows
//! ```

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moka::future::Cache;
use object_store::{ObjectStore, path::Path};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;

use crate::files::FilesError;
use crate::files::object_reader::ObjectReader;
use crate::files::table::DataFile;
use crate::types::labels::Labels;

pub(super) const FOOTER_KEY: &str = "millrace.series";
const ZSTD_LEVEL: i32 = 3;
/// Bytes that a footer may unpack to: a million series of 250 bytes.
const FOOTER_BYTES_MAX: usize = 256 << 20;

/// The rows of one series in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileSeries {
    pub(super) labels: Labels,
    pub(super) rows: Range<usize>,
    pub(super) min_ms: i64,
    pub(super) max_ms: i64,
}

/// What a footer says.
#[derive(Debug)]
pub(super) struct SeriesIndex {
    pub(super) parquet: ArrowReaderMetadata,
    pub(super) series: Vec<FileSeries>,
}

pub(super) fn encode_footer(series: &[FileSeries]) -> String {
    let entry = |one: &FileSeries| serde_json::json!([one.labels.to_json(), one.rows.len(), one.min_ms, one.max_ms]);
    let json = serde_json::Value::from_iter(series.iter().map(entry)).to_string();
    let packed = zstd::bulk::compress(json.as_bytes(), ZSTD_LEVEL).expect("memory is the only thing that can lack");
    STANDARD.encode(packed)
}

pub(super) fn decode_footer(text: &str) -> Result<Vec<FileSeries>, String> {
    let packed = STANDARD.decode(text).map_err(|error| error.to_string())?;
    let json = zstd::bulk::decompress(&packed, FOOTER_BYTES_MAX).map_err(|error| error.to_string())?;
    let entries: Vec<(String, usize, i64, i64)> = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    let mut from = 0;
    let read = |(labels, rows, min_ms, max_ms): (String, usize, i64, i64)| {
        let labels = Labels::from_json(&labels).map_err(|error| error.to_string())?;
        let range = from..from + rows;
        from = range.end;
        Ok(FileSeries { labels, rows: range, min_ms, max_ms })
    };
    entries.into_iter().map(read).collect()
}

/// Footers read before, by path.
#[derive(Debug, Clone)]
pub(super) struct SeriesIndexes {
    store: Arc<dyn ObjectStore>,
    root: Path,
    cache: Cache<String, Arc<SeriesIndex>>,
}

impl SeriesIndexes {
    pub(super) fn new(store: Arc<dyn ObjectStore>, root: Path, bytes_max: u64) -> Self {
        let weigh = |path: &String, index: &Arc<SeriesIndex>| {
            let series: usize = index.series.iter().map(|one| one.labels.to_json().len() * 2 + 100).sum();
            let bytes = path.len() + index.parquet.metadata().memory_size() + series;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        SeriesIndexes { store, root, cache: Cache::builder().max_capacity(bytes_max).weigher(weigh).build() }
    }

    pub(super) fn reader(&self, file: &DataFile) -> ObjectReader {
        ObjectReader::new(self.store.clone(), file.location(&self.root), file.bytes)
    }

    pub(super) async fn of(&self, file: &DataFile) -> Result<Arc<SeriesIndex>, FilesError> {
        if let Some(known) = self.cache.get(&file.path).await {
            return Ok(known);
        }
        let mut reader = self.reader(file);
        let at_fault = |source| FilesError::Parquet { path: file.path.clone(), source };
        let metadata = reader.get_metadata(None).await.map_err(at_fault)?;
        let footer = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let footer = footer.filter(|pair| pair.key == FOOTER_KEY).find_map(|pair| pair.value.as_deref());
        let footer = footer.ok_or_else(|| FilesError::NoStreamIndex { path: file.path.clone() })?;
        let damaged = |reason: String| FilesError::BadStreamIndex { path: file.path.clone(), reason };
        let series = decode_footer(footer).map_err(damaged)?;
        let rows = series.last().map_or(0, |last| last.rows.end);
        if i64::try_from(rows) != Ok(metadata.file_metadata().num_rows()) {
            return Err(damaged(format!("its series have {rows} rows in all, not those of the file")));
        }
        let parquet = ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new()).map_err(at_fault)?;
        let index = Arc::new(SeriesIndex { parquet, series });
        self.cache.insert(file.path.clone(), index.clone()).await;
        Ok(index)
    }

    /// Bytes of the cache.
    pub(super) fn bytes(&self) -> u64 {
        self.cache.weighted_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footers_are_read_back() {
        let series = |job: &str, rows: Range<usize>| FileSeries {
            labels: Labels::from_pairs([("__name__", "m"), ("job", job)]),
            rows,
            min_ms: -5,
            max_ms: 7,
        };
        let all = vec![series("a", 0..3), series("b\"", 3..4)];
        assert_eq!(decode_footer(&encode_footer(&all)), Ok(all));
        assert!(decode_footer("no base64!").is_err());
        assert!(decode_footer("AAAA").is_err());
    }
}
