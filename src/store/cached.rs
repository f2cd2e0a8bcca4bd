//! A bounded cache of what was read of a remote store, in memory and on disk, block by block.
//!
//! ```text
//! ranges ─▶ blocks of 256 KiB ─▶ memory ─▶ disk ─▶ store: what is missing, neighbours in one request
//! ```
//!
//! Only data files are kept: they never change. What lies on disk is what lies in the store, encrypted if that is; each
//! block begins with its checksum, and one that does not fit is read anew. A cache that is gone costs time only.

use std::fmt;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Bytes of a block: about a page of lines; a small read brings its neighbours.
const BLOCK_BYTES: u64 = 256 * 1024;
/// Bytes of a block's checksum on disk.
const SUM_BYTES: usize = 8;
/// Sizes of objects kept, about 100 bytes each.
const SIZES_MAX: u64 = 65_536;

/// How much is kept, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheLimits {
    pub memory_bytes: u64,
    /// None: nothing on disk.
    pub directory: Option<PathBuf>,
    pub disk_bytes: u64,
}

/// What became of blocks that were asked for, since the start.
#[derive(Debug, Default)]
pub struct CacheStats {
    pub memory_hits: AtomicU64,
    pub disk_hits: AtomicU64,
    pub misses: AtomicU64,
}

/// The blocks of all remote stores of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlockCache {
    memory: moka::sync::Cache<u128, Bytes>,
    disk: Option<Arc<Disk>>,
    stats: Arc<CacheStats>,
}

/// Blocks as files: `directory/ab/<32 hexadecimal digits>`.
#[derive(Debug)]
struct Disk {
    directory: PathBuf,
    /// Bytes of each file; one that is evicted is deleted.
    known: moka::sync::Cache<u128, u32>,
}

impl BlockCache {
    /// Takes over what an earlier process left in the directory. Blocks for as long as listing it takes.
    ///
    /// # Errors
    /// When the directory cannot be made or listed.
    pub fn open(limits: &CacheLimits) -> std::io::Result<Self> {
        let memory = moka::sync::Cache::builder()
            .max_capacity(limits.memory_bytes)
            .weigher(|_, block: &Bytes| u32::try_from(block.len()).unwrap_or(u32::MAX))
            .build();
        let disk = match &limits.directory {
            Some(directory) => Some(Arc::new(Disk::open(directory, limits.disk_bytes)?)),
            None => None,
        };
        Ok(BlockCache { memory, disk, stats: Arc::default() })
    }

    /// Bytes in memory and on disk.
    pub fn sizes(&self) -> (u64, u64) {
        (self.memory.weighted_size(), self.disk.as_ref().map_or(0, |disk| disk.known.weighted_size()))
    }

    pub fn stats(&self) -> &CacheStats {
        &self.stats
    }

    async fn get(&self, key: u128) -> Option<Bytes> {
        if let Some(block) = self.memory.get(&key) {
            self.stats.memory_hits.fetch_add(1, Ordering::Relaxed);
            return Some(block);
        }
        let found = match &self.disk {
            Some(disk) => disk.get(key).await,
            None => None,
        };
        match &found {
            Some(block) => {
                self.stats.disk_hits.fetch_add(1, Ordering::Relaxed);
                self.memory.insert(key, block.clone());
            }
            None => {
                self.stats.misses.fetch_add(1, Ordering::Relaxed);
            }
        }
        found
    }

    async fn put(&self, key: u128, block: Bytes) {
        self.memory.insert(key, block.clone());
        if let Some(disk) = &self.disk {
            disk.put(key, block).await;
        }
    }
}

impl Disk {
    fn open(directory: &FilePath, bytes_max: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let evicted = directory.to_owned();
        let known = moka::sync::Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|_, bytes: &u32| *bytes)
            .eviction_listener(move |key: Arc<u128>, _, cause| {
                if cause != moka::notification::RemovalCause::Replaced {
                    let _ = std::fs::remove_file(file_of(&evicted, *key));
                }
            })
            .build();
        for shard in std::fs::read_dir(directory)?.flatten().filter(|entry| entry.path().is_dir()) {
            for entry in std::fs::read_dir(shard.path())?.flatten() {
                let name = entry.file_name();
                match name.to_str().and_then(|name| u128::from_str_radix(name, 16).ok()) {
                    Some(key) => {
                        let bytes = entry.metadata().map_or(0, |meta| meta.len());
                        known.insert(key, u32::try_from(bytes).unwrap_or(u32::MAX));
                    }
                    None => {
                        let _ = std::fs::remove_file(entry.path());
                    }
                }
            }
        }
        Ok(Disk { directory: directory.to_owned(), known })
    }

    async fn get(&self, key: u128) -> Option<Bytes> {
        self.known.get(&key)?;
        let content = tokio::fs::read(file_of(&self.directory, key)).await.unwrap_or_default();
        let sum = content.first_chunk::<SUM_BYTES>().copied().map(u64::from_le_bytes);
        if sum.is_none_or(|sum| sum != xxh3_64(&content[SUM_BYTES..])) {
            self.known.invalidate(&key);
            return None;
        }
        Some(Bytes::from(content).slice(SUM_BYTES..))
    }

    /// A disk that is full or broken only makes the cache smaller.
    async fn put(&self, key: u128, block: Bytes) {
        let path = file_of(&self.directory, key);
        let written = tokio::task::spawn_blocking(move || {
            let mut content = xxh3_64(&block).to_le_bytes().to_vec();
            content.extend_from_slice(&block);
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            let unfinished = path.with_extension("new");
            let kept = std::fs::write(&unfinished, &content).and_then(|()| std::fs::rename(&unfinished, &path));
            if kept.is_err() {
                // What was written of it takes room that is missing.
                let _ = std::fs::remove_file(&unfinished);
            }
            kept.map(|()| content.len())
        });
        match written.await {
            Ok(Ok(bytes)) => self.known.insert(key, u32::try_from(bytes).unwrap_or(u32::MAX)),
            Ok(Err(error)) => tracing::debug!(%error, "a block was not kept on disk"),
            Err(error) => tracing::debug!(%error, "a block was not kept on disk"),
        }
    }
}

fn file_of(directory: &FilePath, key: u128) -> PathBuf {
    let name = format!("{key:032x}");
    directory.join(&name[..2]).join(name)
}

/// A store whose data files are cached.
#[derive(Debug)]
pub(super) struct Cached {
    inner: Arc<dyn ObjectStore>,
    cache: BlockCache,
    /// Tells stores apart that share the cache, and what one holds before and after its keys were renewed.
    space: String,
    metas: moka::sync::Cache<Path, ObjectMeta>,
}

impl Cached {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, cache: BlockCache, space: String) -> Self {
        Cached { inner, cache, space, metas: moka::sync::Cache::new(SIZES_MAX) }
    }

    fn key(&self, location: &Path, block: u64) -> u128 {
        xxh3_128(format!("{}\0{location}\0{block}", self.space).as_bytes())
    }

    async fn meta(&self, location: &Path) -> Result<ObjectMeta> {
        if let Some(meta) = self.metas.get(location) {
            return Ok(meta);
        }
        let options = GetOptions { head: true, ..GetOptions::default() };
        let meta = self.inner.get_opts(location, options).await?.meta;
        self.metas.insert(location.clone(), meta.clone());
        Ok(meta)
    }

    /// Every block that is asked for, in order.
    async fn blocks(&self, location: &Path, wanted: &[u64], size: u64) -> Result<Vec<Bytes>> {
        let mut found: Vec<Option<Bytes>> = Vec::with_capacity(wanted.len());
        for block in wanted {
            found.push(self.cache.get(self.key(location, *block)).await);
        }
        let missing: Vec<u64> =
            wanted.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(block, _)| *block).collect();
        let runs = runs(&missing);
        let ranges: Vec<Range<u64>> =
            runs.iter().map(|run| run.start * BLOCK_BYTES..(run.end * BLOCK_BYTES).min(size)).collect();
        let read = if ranges.is_empty() { Vec::new() } else { self.inner.get_ranges(location, &ranges).await? };
        for (run, bytes) in runs.into_iter().zip(read) {
            for block in run.clone() {
                let start = ((block - run.start) * BLOCK_BYTES) as usize;
                let end = (start + BLOCK_BYTES as usize).min(bytes.len());
                // A copy: a slice would hold the whole run in memory.
                let part = Bytes::copy_from_slice(bytes.get(start..end).unwrap_or_default());
                self.cache.put(self.key(location, block), part.clone()).await;
                if let Ok(at) = wanted.binary_search(&block) {
                    found[at] = Some(part);
                }
            }
        }
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }
}

/// Neighbours together.
fn runs(blocks: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(run) if run.end == *block => run.end += 1,
            _ => runs.push(*block..*block + 1),
        }
    }
    runs
}

fn is_kept(location: &Path) -> bool {
    location.filename().is_some_and(|name| name.ends_with(".parquet")) && location.as_ref().contains("tenant=")
}

impl fmt::Display for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cached {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Cached {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.metas.invalidate(location);
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.metas.invalidate(location);
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let range = match &options.range {
            Some(GetRange::Bounded(range)) if is_kept(location) && !options.head => range.clone(),
            _ => return self.inner.get_opts(location, options).await,
        };
        let meta = self.meta(location).await?;
        let range = range.start..range.end.min(meta.size);
        let bytes = self.get_ranges(location, std::slice::from_ref(&range)).await?.remove(0);
        let payload = GetResultPayload::Stream(Box::pin(futures::stream::iter([Ok(bytes)])));
        Ok(GetResult { payload, meta, range, attributes: object_store::Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if !is_kept(location) {
            return self.inner.get_ranges(location, ranges).await;
        }
        let size = self.meta(location).await?.size;
        let outside = ranges.iter().find(|range| range.end > size || range.start > range.end);
        if let Some(range) = outside {
            let text = format!("range {range:?} of {location} is outside its {size} bytes");
            return Err(Error::Generic { store: "cache", source: text.into() });
        }
        let mut wanted: Vec<u64> = ranges
            .iter()
            .filter(|range| !range.is_empty())
            .flat_map(|range| range.start / BLOCK_BYTES..=(range.end - 1) / BLOCK_BYTES)
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let blocks = self.blocks(location, &wanted, size).await?;
        Ok(ranges.iter().map(|range| cut(range, &wanted, &blocks)).collect())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// The bytes of a range, from the blocks that cover it.
fn cut(range: &Range<u64>, wanted: &[u64], blocks: &[Bytes]) -> Bytes {
    if range.is_empty() {
        return Bytes::new();
    }
    let (first, last) = (range.start / BLOCK_BYTES, (range.end - 1) / BLOCK_BYTES);
    let part = |block: u64| {
        let bytes = wanted.binary_search(&block).ok().and_then(|at| blocks.get(at)).cloned().unwrap_or_default();
        let start = range.start.saturating_sub(block * BLOCK_BYTES) as usize;
        let end = ((range.end - block * BLOCK_BYTES).min(BLOCK_BYTES) as usize).min(bytes.len());
        bytes.slice(start.min(end)..end)
    };
    if first == last {
        return part(first);
    }
    let mut out = Vec::with_capacity((range.end - range.start) as usize);
    (first..=last).for_each(|block| out.extend_from_slice(&part(block)));
    out.into()
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::super::Measured;
    use super::*;

    const SIZE: usize = 3 * BLOCK_BYTES as usize + 1234;

    fn content() -> Vec<u8> {
        (0..SIZE).map(|at| (at * 31 % 253) as u8).collect()
    }

    async fn remote() -> (Arc<Measured>, Path) {
        let store = Arc::new(Measured::new(Arc::new(InMemory::new())));
        let path = Path::from("r/tenant=a/date=2026-01-15/part-1.parquet");
        store.put(&path, content().into()).await.expect("put");
        (store, path)
    }

    fn requests(store: &Measured) -> u64 {
        store.stats().operations[0].requests.load(Ordering::Relaxed)
    }

    fn cached(store: &Arc<Measured>, limits: &CacheLimits) -> Cached {
        Cached::new(store.clone(), BlockCache::open(limits).expect("opens"), "x".to_owned())
    }

    #[tokio::test]
    async fn every_range_is_right_and_the_second_time_costs_nothing() {
        let (store, path) = remote().await;
        let here = cached(&store, &CacheLimits { memory_bytes: 64 << 20, ..CacheLimits::default() });
        let block = BLOCK_BYTES;
        let ranges = [0..1, block - 1..block + 1, 10..10, 5..3 * block, 3 * block..SIZE as u64, 0..SIZE as u64];
        for _ in 0..2 {
            let read = here.get_ranges(&path, &ranges).await.expect("read");
            for (range, read) in ranges.iter().zip(read) {
                assert!(read == content()[range.start as usize..range.end as usize], "{range:?}");
            }
        }
        assert_eq!(requests(&store), 2, "one look at the size, one read of all blocks at once");
        assert_eq!(here.get_range(&path, 7..9).await.expect("read"), content()[7..9]);
        assert!(here.get_range(&path, 7..SIZE as u64 + 1).await.is_ok_and(|read| read.len() == SIZE - 7));
        assert!(here.get_ranges(&path, std::slice::from_ref(&(SIZE as u64..SIZE as u64 + 1))).await.is_err());
        assert_eq!(requests(&store), 2);
    }

    #[tokio::test]
    async fn the_disk_outlives_the_process_and_damage_is_noticed() {
        let (store, path) = remote().await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let limits =
            CacheLimits { memory_bytes: 0, directory: Some(directory.path().to_owned()), disk_bytes: 64 << 20 };
        let whole = 0..SIZE as u64;
        cached(&store, &limits).get_range(&path, whole.clone()).await.expect("read");
        let before = requests(&store);
        let again = cached(&store, &limits);
        assert_eq!(again.get_range(&path, whole.clone()).await.expect("read"), content());
        assert_eq!(requests(&store), before + 1, "the size alone");
        for shard in std::fs::read_dir(directory.path()).expect("listed").flatten() {
            for file in std::fs::read_dir(shard.path()).expect("listed").flatten() {
                let mut bytes = std::fs::read(file.path()).expect("read");
                bytes[100] ^= 1;
                std::fs::write(file.path(), bytes).expect("written");
            }
        }
        let damaged = cached(&store, &limits);
        assert_eq!(damaged.get_range(&path, whole).await.expect("read"), content());
    }

    #[tokio::test]
    async fn the_disk_stays_within_its_bound() {
        let (store, path) = remote().await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let disk_bytes = 2 * BLOCK_BYTES + 1000;
        let limits = CacheLimits { memory_bytes: 0, directory: Some(directory.path().to_owned()), disk_bytes };
        let here = cached(&store, &limits);
        for _ in 0..5 {
            here.get_range(&path, 0..SIZE as u64).await.expect("read");
        }
        here.cache.disk.as_ref().expect("a disk").known.run_pending_tasks();
        let on_disk: u64 = std::fs::read_dir(directory.path())
            .expect("listed")
            .flatten()
            .flat_map(|shard| std::fs::read_dir(shard.path()).expect("listed").flatten().collect::<Vec<_>>())
            .map(|file| file.metadata().expect("there").len())
            .sum();
        assert!(on_disk <= disk_bytes, "{on_disk} bytes");
        assert!(here.cache.sizes().1 <= disk_bytes);
    }

    #[tokio::test]
    async fn other_objects_pass_through() {
        let (store, _) = remote().await;
        let here = cached(&store, &CacheLimits { memory_bytes: 1 << 20, ..CacheLimits::default() });
        let commit = Path::from("r/_delta_log/00000000000000000001.json");
        for text in ["one", "two"] {
            here.put(&commit, text.into()).await.expect("put");
            assert_eq!(here.get_range(&commit, 0..3).await.expect("read"), text);
        }
    }
}
