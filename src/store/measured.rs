//! Counts what is asked of a store: requests by operation and outcome, their time, bytes in and out.
//!
//! Retries of a provider are inside one request here; what fails here failed for good.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// What is counted apart.
pub const OPERATIONS: [&str; 5] = ["get", "put", "list", "delete", "copy"];
const GET: usize = 0;
const PUT: usize = 1;
const LIST: usize = 2;
const DELETE: usize = 3;
const COPY: usize = 4;

/// Counts of one operation since the start.
#[derive(Debug, Default)]
pub struct OperationStats {
    pub requests: AtomicU64,
    /// Those that failed, not counting answers that callers expect: not found, exists already.
    pub failures: AtomicU64,
    pub nanos: AtomicU64,
}

/// Counts of one store since the start.
#[derive(Debug, Default)]
pub struct StoreStats {
    /// In the order of [`OPERATIONS`].
    pub operations: [OperationStats; OPERATIONS.len()],
    pub read_bytes: AtomicU64,
    pub written_bytes: AtomicU64,
}

/// A store that is counted.
#[derive(Debug)]
pub struct Measured {
    inner: Arc<dyn ObjectStore>,
    stats: Arc<StoreStats>,
}

impl Measured {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Measured { inner, stats: Arc::default() }
    }

    pub fn stats(&self) -> Arc<StoreStats> {
        self.stats.clone()
    }

    fn count<T>(&self, operation: usize, started: Instant, result: &Result<T>) {
        let stats = &self.stats.operations[operation];
        stats.requests.fetch_add(1, Ordering::Relaxed);
        stats.nanos.fetch_add(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let is_expected = matches!(
            result,
            Ok(_) | Err(Error::NotFound { .. } | Error::AlreadyExists { .. } | Error::Precondition { .. })
        );
        if !is_expected {
            stats.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self, bytes: u64) {
        self.stats.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn written(&self, bytes: u64) {
        self.stats.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Measured {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (started, bytes) = (Instant::now(), payload.content_length() as u64);
        let result = self.inner.put_opts(location, payload, opts).await;
        self.count(PUT, started, &result);
        self.written(if result.is_ok() { bytes } else { 0 });
        result
    }

    /// Counted as one request; the bytes of its parts are not.
    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let started = Instant::now();
        let result = self.inner.put_multipart_opts(location, opts).await;
        self.count(PUT, started, &result);
        result
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (started, is_head) = (Instant::now(), options.head);
        let result = self.inner.get_opts(location, options).await;
        self.count(GET, started, &result);
        if let Ok(found) = &result {
            self.read(if is_head { 0 } else { found.range.end - found.range.start });
        }
        result
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let started = Instant::now();
        let result = self.inner.get_ranges(location, ranges).await;
        self.count(GET, started, &result);
        self.read(result.iter().flatten().map(|bytes| bytes.len() as u64).sum());
        result
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let stats = self.stats.clone();
        let deleted = self.inner.delete_stream(locations);
        deleted
            .inspect(move |result| {
                let stats = &stats.operations[DELETE];
                stats.requests.fetch_add(1, Ordering::Relaxed);
                if !matches!(result, Ok(_) | Err(Error::NotFound { .. })) {
                    stats.failures.fetch_add(1, Ordering::Relaxed);
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count(LIST, Instant::now(), &Ok(()));
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count(LIST, Instant::now(), &Ok(()));
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let started = Instant::now();
        let result = self.inner.list_with_delimiter(prefix).await;
        self.count(LIST, started, &result);
        result
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let started = Instant::now();
        let result = self.inner.copy_opts(from, to, options).await;
        self.count(COPY, started, &result);
        result
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let started = Instant::now();
        let result = self.inner.rename_opts(from, to, options).await;
        self.count(COPY, started, &result);
        result
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn requests_and_bytes_are_counted() {
        let store = Measured::new(Arc::new(InMemory::new()));
        let path = Path::from("a");
        store.put(&path, "12345".into()).await.expect("put");
        store.get(&path).await.expect("there");
        store.get_range(&path, 1..3).await.expect("there");
        store.head(&path).await.expect("there");
        assert!(store.get(&Path::from("none")).await.is_err());
        assert!(store.get_range(&path, 9..10).await.is_err());
        store.delete(&path).await.expect("deleted");
        let stats = store.stats();
        let count = |operation: usize| {
            let stats = &stats.operations[operation];
            (stats.requests.load(Ordering::Relaxed), stats.failures.load(Ordering::Relaxed))
        };
        assert_eq!((count(PUT), count(GET), count(DELETE)), ((1, 0), (5, 1), (1, 0)));
        assert_eq!((stats.written_bytes.load(Ordering::Relaxed), stats.read_bytes.load(Ordering::Relaxed)), (5, 7));
    }
}
