//! What a query must know of a file before it reads a row: its Parquet footer and its runs by stream.
//!
//! Indexes are loaded when first needed and kept in a cache that is bounded in bytes.

use std::ops::Range;
use std::sync::Arc;

use object_store::{ObjectStore, path::Path};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::PageIndexPolicy;

use super::FilesError;
use super::blocks::{self, BlockSums};
use super::fields::{self, FieldIndex, IdFilters};
use super::object_reader::ObjectReader;
use super::row_file::file_schema;
use super::stream_index::{FOOTER_KEY, StoredStreams};
use super::table::DataFile;
use crate::streams::{StreamRef, Streams};
use crate::types::time::UnixNanos;

/// Bytes of filters of ids kept.
const FILTER_CACHE_BYTES_MAX: u64 = 64 << 20;

/// The rows of one stream in one file: consecutive and in time order.
#[derive(Debug, Clone)]
pub struct Run {
    pub stream: StreamRef,
    /// Row numbers in the file.
    pub rows: Range<usize>,
    /// Bounds of event time, both inside.
    pub ts_min: UnixNanos,
    pub ts_max: UnixNanos,
    /// Bytes of lines.
    pub line_bytes: u64,
}

/// A file's footer, parsed.
#[derive(Debug)]
pub struct FileIndex {
    pub parquet: ArrowReaderMetadata,
    pub runs: Vec<Run>,
    /// The columns that lines were taken apart into; none in a file of whole lines.
    pub fields: Option<FieldIndex>,
    /// What the file's data is checked against; none in files of before there were any.
    pub sums: Option<Arc<BlockSums>>,
}

/// Loads and keeps indexes.
#[derive(Debug, Clone)]
pub struct FileIndexes {
    store: Arc<dyn ObjectStore>,
    root: Path,
    streams: Arc<Streams>,
    cache: moka::future::Cache<String, Arc<FileIndex>>,
    /// Filters of ids by path, row group and column.
    id_filters: moka::future::Cache<(String, usize, u32), Arc<IdFilters>>,
}

impl FileIndexes {
    /// `cache_bytes_max` bounds the parsed footers kept.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, streams: Arc<Streams>, cache_bytes_max: u64) -> Self {
        let cache = moka::future::Cache::builder()
            .max_capacity(cache_bytes_max)
            .weigher(|_, index: &Arc<FileIndex>| u32::try_from(index.memory_bytes()).unwrap_or(u32::MAX))
            .build();
        let id_filters = moka::future::Cache::builder()
            .max_capacity(FILTER_CACHE_BYTES_MAX)
            .weigher(|_, filters: &Arc<IdFilters>| u32::try_from(filters.memory_bytes()).unwrap_or(u32::MAX))
            .build();
        FileIndexes { store, root, streams, cache, id_filters }
    }

    /// The index of `file`, from the cache or from its footer.
    pub async fn get(&self, file: &DataFile) -> Result<Arc<FileIndex>, FilesError> {
        if let Some(index) = self.cache.get(&file.path).await {
            return Ok(index);
        }
        let index = Arc::new(self.load(file).await?);
        self.cache.insert(file.path.clone(), index.clone()).await;
        Ok(index)
    }

    /// The filters of a column's ids in a row group, from the cache or from the file; none where it has none.
    pub(super) async fn id_filters(
        &self,
        file: &DataFile,
        index: &FileIndex,
        row_group: usize,
        column: u32,
    ) -> Result<Option<Arc<IdFilters>>, FilesError> {
        let place = index.fields.as_ref().and_then(|fields| fields.filters(row_group, column));
        let Some(place) = place else { return Ok(None) };
        let key = (file.path.clone(), row_group, column);
        if let Some(known) = self.id_filters.get(&key).await {
            return Ok(Some(known));
        }
        let unreadable = |source| FilesError::Parquet { path: file.path.clone(), source };
        let bytes = self.reader(file).checked(index.sums.clone()).get_bytes(place).await.map_err(unreadable)?;
        let damaged = |reason| FilesError::BadFieldIndex { path: file.path.clone(), reason };
        let filters = Arc::new(IdFilters::decode(&bytes).map_err(damaged)?);
        self.id_filters.insert(key, filters.clone()).await;
        Ok(Some(filters))
    }

    /// A reader of the file's bytes.
    pub fn reader(&self, file: &DataFile) -> ObjectReader {
        ObjectReader::new(self.store.clone(), file.location(&self.root), file.bytes)
    }

    /// Bytes and entries of the cache, for metrics.
    pub fn cache_stats(&self) -> (u64, u64) {
        (self.cache.weighted_size(), self.cache.entry_count())
    }

    async fn load(&self, file: &DataFile) -> Result<FileIndex, FilesError> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let unreadable = |source| FilesError::Parquet { path: file.path.clone(), source };
        let mut reader = self.reader(file).with_end().await.map_err(unreadable)?;
        let loaded = ArrowReaderMetadata::load_async(&mut reader, options).await.map_err(unreadable)?;
        let metadata = loaded.metadata().clone();
        let entry = |key: &str| {
            let entries = metadata.file_metadata().key_value_metadata()?;
            entries.iter().find(|entry| entry.key == key)?.value.as_deref()
        };
        let damaged = |reason: String| FilesError::BadStreamIndex { path: file.path.clone(), reason };
        let sums = entry(blocks::FOOTER_KEY).map(BlockSums::decode).transpose().map_err(damaged)?;
        if let Some((sums, crc32)) = sums.as_ref().zip(file.crc32) {
            let end = reader.get_bytes(sums.data_bytes().min(file.bytes)..file.bytes).await.map_err(unreadable)?;
            if sums.whole(&end) != crc32 {
                return Err(damaged("its checksum does not fit the table's".to_owned()));
            }
        }
        let text = entry(FOOTER_KEY).ok_or_else(|| FilesError::NoStreamIndex { path: file.path.clone() })?;
        let fields = entry(fields::FOOTER_KEY).map(|text| FieldIndex::decode(text, &metadata)).transpose();
        let fields = fields.map_err(|reason| FilesError::BadFieldIndex { path: file.path.clone(), reason })?;
        let schema = file_schema(fields.as_ref().map_or(&[], |fields| fields.columns()));
        let options = ArrowReaderOptions::new().with_schema(schema);
        let parquet = ArrowReaderMetadata::try_new(metadata.clone(), options).map_err(unreadable)?;
        let stored = StoredStreams::decode(text).map_err(damaged)?;
        let streams = self.streams.tenant(&file.tenant);
        let mut runs = Vec::with_capacity(stored.labels.len());
        let mut start = 0;
        for (at, labels) in stored.labels.iter().enumerate() {
            let rows = start..start + stored.rows[at] as usize;
            start = rows.end;
            runs.push(Run {
                stream: streams.intern(labels).map_err(|e| damaged(e.to_string()))?,
                rows,
                ts_min: UnixNanos(stored.ts_min[at]),
                ts_max: UnixNanos(stored.ts_max[at]),
                line_bytes: stored.line_bytes[at],
            });
        }
        if start as i64 != parquet.metadata().file_metadata().num_rows() {
            return Err(damaged(format!("its runs have {start} rows in all, not those of the file")));
        }
        Ok(FileIndex { parquet, runs, fields, sums: sums.map(Arc::new) })
    }
}

impl FileIndex {
    fn memory_bytes(&self) -> usize {
        let fields = self.fields.as_ref().map_or(0, FieldIndex::memory_bytes);
        let sums = self.sums.as_ref().map_or(0, |sums| sums.memory_bytes());
        self.parquet.metadata().memory_size() + self.runs.len() * size_of::<Run>() + fields + sums
    }
}
