//! A store whose objects are sealed on their way in and opened on their way out.
//!
//! ```text
//! put ─▶ seal chunks ─▶ inner          get range ─▶ header (kept) ─▶ sealed range of inner ─▶ open chunks ─▶ range
//! ```
//!
//! Sizes are those of the plain content. Objects are bound to their names below the root; a copy is sealed anew.
//! Of a listing, sizes are computed without a look at the objects: those of plain ones, where they are allowed, are
//! a little too small.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, UploadPart,
};

use crate::seal::envelope::{self, DataKey, HEADER_BYTES, Header};
use crate::seal::{Keyring, SealError};

const STORE: &str = "sealed store";
/// Keys of objects kept, so that ranges need no look at the header: about 200 bytes each.
const KEYS_KEPT_MAX: u64 = 65_536;
/// Larger contents are sealed and opened off the async threads.
const INLINE_BYTES_MAX: usize = 256 * 1024;
/// Sealed bytes of one part of an upload: stores refuse parts under 5 MiB that are not the last.
const PART_BYTES: usize = 8 << 20;

/// How a store is sealed.
#[derive(Debug, Clone)]
pub struct Sealing {
    pub keys: Arc<Keyring>,
    /// Whether objects that are not sealed are read as they are.
    pub allow_plain: bool,
}

/// Seals what it passes on.
#[derive(Debug)]
pub(super) struct Sealed {
    inner: Arc<dyn ObjectStore>,
    /// Names are relative to it.
    root: Path,
    sealing: Sealing,
    objects: moka::sync::Cache<Path, Object>,
}

/// What a look at its header told of an object.
#[derive(Debug, Clone)]
struct Object {
    /// With the plain size.
    meta: ObjectMeta,
    /// None for a plain object.
    key: Option<DataKey>,
}

impl Sealed {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, root: Path, sealing: Sealing) -> Self {
        Sealed { inner, root, sealing, objects: moka::sync::Cache::new(KEYS_KEPT_MAX) }
    }

    /// The name that an object is bound to.
    fn name(&self, location: &Path) -> String {
        let below = location.prefix_match(&self.root);
        below.map_or_else(
            || location.to_string(),
            |parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"),
        )
    }

    async fn object(&self, location: &Path) -> Result<Object> {
        if let Some(known) = self.objects.get(location) {
            return Ok(known);
        }
        let options = GetOptions { range: Some(GetRange::Bounded(0..HEADER_BYTES)), ..GetOptions::default() };
        let found = self.inner.get_opts(location, options).await?;
        let meta = found.meta.clone();
        let start = found.bytes().await?;
        let object = match start.first_chunk::<{ HEADER_BYTES as usize }>() {
            Some(header) if envelope::is_sealed(header) => {
                let key = envelope::open_header(&self.sealing.keys, header).map_err(|e| failed(location, e))?;
                Object { meta: Self::plain_meta(meta), key: Some(key) }
            }
            _ if self.sealing.allow_plain => Object { meta, key: None },
            _ => return Err(failed(location, SealError::Plain)),
        };
        self.objects.insert(location.clone(), object.clone());
        Ok(object)
    }

    /// `None` when what was known of the object no longer opens it.
    async fn try_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>> {
        let Object { meta, key } = self.object(location).await?;
        let Some(key) = key else {
            return self.inner.get_ranges(location, ranges).await.map(Some);
        };
        let size = meta.size;
        if let Some(range) = ranges.iter().find(|range| range.end > size) {
            return Err(generic(format!("range {range:?} of {location} is outside its {size} bytes")));
        }
        let sealed_ranges: Vec<Range<u64>> = ranges.iter().map(|range| envelope::sealed_range(range, size)).collect();
        let sealed = match self.inner.get_ranges(location, &sealed_ranges).await {
            Ok(sealed) => sealed,
            Err(error @ Error::NotFound { .. }) => return Err(error),
            // It may be shorter now than it was.
            Err(_) if self.inner.head(location).await?.size != envelope::sealed_size(size) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (name, ranges) = (self.name(location), ranges.to_vec());
        let bytes: usize = sealed.iter().map(Bytes::len).sum();
        off_thread_if(bytes > INLINE_BYTES_MAX, move || {
            let opened = ranges.iter().zip(&sealed).map(|(range, sealed)| {
                if range.is_empty() { Some(Vec::new()) } else { key.open_range(&name, range, size, sealed) }
            });
            opened.map(|plain| plain.map(Bytes::from)).collect()
        })
        .await
    }

    async fn open_whole(&self, location: &Path, content: Bytes) -> Result<Bytes> {
        if !envelope::is_sealed(&content) {
            return if self.sealing.allow_plain { Ok(content) } else { Err(failed(location, SealError::Plain)) };
        }
        let (keys, name) = (self.sealing.keys.clone(), self.name(location));
        let opened = off_thread_if(content.len() > INLINE_BYTES_MAX, move || envelope::open(&keys, &name, &content));
        opened.await?.map(Bytes::from).map_err(|error| failed(location, error))
    }

    fn plain_meta(mut meta: ObjectMeta) -> ObjectMeta {
        meta.size = envelope::plain_size(meta.size);
        meta
    }
}

fn failed(location: &Path, error: SealError) -> Error {
    Error::Generic { store: STORE, source: format!("{location}: {error}").into() }
}

fn generic(text: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: STORE, source: text.into() }
}

async fn off_thread_if<T: Send + 'static>(large: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if !large {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(generic)
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sealed {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Sealed {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (keys, name) = (self.sealing.keys.clone(), self.name(location));
        let seal = move || envelope::seal(&keys, &name, &Bytes::from(payload));
        let sealed = off_thread_if(true, seal).await?.map_err(generic)?;
        self.objects.invalidate(location);
        self.inner.put_opts(location, sealed.into(), opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (key, header) = envelope::new_object(&self.sealing.keys).map_err(generic)?;
        self.objects.invalidate(location);
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(SealedUpload {
            inner,
            key,
            name: self.name(location),
            index: 0,
            plain: Vec::new(),
            sealed: header.to_vec(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_whole = options.range.is_none() && !options.head;
        if is_whole {
            let found = self.inner.get_opts(location, options).await?;
            let (mut meta, attributes) = (found.meta.clone(), found.attributes.clone());
            let plain = self.open_whole(location, found.bytes().await?).await?;
            meta.size = plain.len() as u64;
            let range = 0..meta.size;
            let payload = GetResultPayload::Stream(futures::stream::iter([Ok(plain)]).boxed());
            return Ok(GetResult { payload, meta, range, attributes });
        }
        let Some(range) = options.range.clone() else {
            let head = self.inner.get_opts(location, options).await?;
            let mut meta = Self::plain_meta(head.meta.clone());
            if self.sealing.allow_plain {
                meta.size = self.object(location).await?.meta.size;
            }
            let attributes = head.attributes.clone();
            let (range, payload) = (0..meta.size, GetResultPayload::Stream(futures::stream::empty().boxed()));
            return Ok(GetResult { payload, meta, range, attributes });
        };
        let meta = self.object(location).await?.meta;
        options.check_preconditions(&meta)?;
        let range = match range {
            GetRange::Bounded(range) => range.start..range.end.min(meta.size),
            GetRange::Offset(start) => start..meta.size,
            GetRange::Suffix(bytes) => meta.size.saturating_sub(bytes)..meta.size,
        };
        if range.start > range.end {
            return Err(generic(format!("range {range:?} of {location} is outside its {} bytes", meta.size)));
        }
        let plain = self.get_ranges(location, std::slice::from_ref(&range)).await?.remove(0);
        let payload = GetResultPayload::Stream(futures::stream::iter([Ok(plain)]).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(opened) = self.try_ranges(location, ranges).await? {
            return Ok(opened);
        }
        // The object may have been replaced since its header was read.
        self.objects.invalidate(location);
        let opened = self.try_ranges(location, ranges).await?;
        opened.ok_or_else(|| failed(location, SealError::Wrong { id: "of its header".to_owned() }))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let objects = self.objects.clone();
        let forgotten = locations.inspect(move |location| {
            if let Ok(location) = location {
                objects.invalidate(location);
            }
        });
        self.inner.delete_stream(forgotten.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix).map(|meta| meta.map(Self::plain_meta)).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset).map(|meta| meta.map(Self::plain_meta)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects = listed.objects.into_iter().map(Self::plain_meta).collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let plain = self.get(from).await?.bytes().await?;
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        self.put_opts(to, plain.into(), PutOptions { mode, ..PutOptions::default() }).await?;
        Ok(())
    }
}

/// An upload in parts: the newest plain bytes wait, because the last chunk must say that it is the last.
#[derive(Debug)]
struct SealedUpload {
    inner: Box<dyn MultipartUpload>,
    key: DataKey,
    name: String,
    /// Of the next chunk.
    index: u64,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

impl SealedUpload {
    fn seal(&mut self, is_last: bool) {
        let chunk = envelope::CHUNK_BYTES as usize;
        let mut done = 0;
        while self.plain.len() - done > chunk {
            self.key.seal_chunk(&self.name, self.index, false, &self.plain[done..done + chunk], &mut self.sealed);
            self.index += 1;
            done += chunk;
        }
        self.plain.drain(..done);
        if is_last {
            self.key.seal_chunk(&self.name, self.index, true, &self.plain, &mut self.sealed);
            self.plain.clear();
        }
    }
}

#[async_trait]
impl MultipartUpload for SealedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        for chunk in &data {
            self.plain.extend_from_slice(chunk);
        }
        self.seal(false);
        if self.sealed.len() < PART_BYTES {
            return Box::pin(async { Ok(()) });
        }
        self.inner.put_part(std::mem::take(&mut self.sealed).into())
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.seal(true);
        self.inner.put_part(std::mem::take(&mut self.sealed).into()).await?;
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

/// Wraps every object's data key under the newest key, and seals what is plain. Answers `true` when `content` is to
/// be put in place of the object.
pub fn renew(keys: &Keyring, name: &str, content: &[u8]) -> std::result::Result<Option<Vec<u8>>, RenewError> {
    let Some(header) = content.first_chunk::<{ HEADER_BYTES as usize }>().filter(|header| envelope::is_sealed(*header))
    else {
        return Ok(Some(envelope::seal(keys, name, content)?));
    };
    if envelope::key_id(header)? == keys.newest_id() {
        return Ok(None);
    }
    let header: Header = envelope::rewrap(keys, header)??;
    let mut renewed = content.to_vec();
    renewed[..header.len()].copy_from_slice(&header);
    Ok(Some(renewed))
}

/// Why an object could not be renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Keys(#[from] crate::seal::KeyringError),
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::memory::InMemory;

    use super::*;
    use crate::seal::generate_line;

    fn sealing(allow_plain: bool) -> Sealing {
        let line = generate_line("k").expect("made");
        Sealing { keys: Arc::new(Keyring::parse(&line, "the test").expect("good")), allow_plain }
    }

    fn content(bytes: usize) -> Vec<u8> {
        b"the quick brown fox ".iter().copied().cycle().take(bytes).collect()
    }

    #[tokio::test]
    async fn plain_for_those_who_ask_and_sealed_below() {
        let inner = Arc::new(InMemory::new());
        let store = Sealed::new(inner.clone(), Path::from("t"), sealing(false));
        let path = Path::from("t/a");
        for size in [0, 1, 70_000, 400_000] {
            store.put(&path, content(size).into()).await.expect("put");
            let below = inner.get(&path).await.expect("there").bytes().await.expect("read");
            assert!(!String::from_utf8_lossy(&below).contains("brown"), "plain text below");
            assert_eq!(store.get(&path).await.expect("there").bytes().await.expect("read"), content(size));
            assert_eq!(store.head(&path).await.expect("there").size, size as u64);
            let listed: Vec<ObjectMeta> = store.list(None).try_collect().await.expect("lists");
            assert_eq!(listed[0].size, size as u64);
        }
        let ranges = [0..1, 65_530..65_540, 399_999..400_000, 0..400_000];
        let read = store.get_ranges(&path, &ranges).await.expect("read");
        for (range, read) in ranges.iter().zip(read) {
            assert_eq!(read, content(400_000)[range.start as usize..range.end as usize], "{range:?}");
        }
        assert!(store.get_range(&path, 399_999..400_001).await.map_or(true, |read| read.len() == 1));
        let options = GetOptions { range: Some(GetRange::Suffix(10)), ..GetOptions::default() };
        let suffix = store.get_opts(&path, options).await.expect("there").bytes().await.expect("read");
        assert_eq!(suffix, content(400_000)[399_990..]);
    }

    #[tokio::test]
    async fn replaced_objects_are_read_anew_and_copies_bound_to_their_names() {
        let inner = Arc::new(InMemory::new());
        let sealing = sealing(false);
        let here = Sealed::new(inner.clone(), Path::default(), sealing.clone());
        let elsewhere = Sealed::new(inner.clone(), Path::default(), sealing);
        let (a, b) = (Path::from("a"), Path::from("b"));
        here.put(&a, "first".into()).await.expect("put");
        assert_eq!(here.get_range(&a, 0..5).await.expect("read"), "first");
        elsewhere.put(&a, "other".into()).await.expect("put");
        assert_eq!(here.get_range(&a, 0..5).await.expect("read"), "other");
        here.copy(&a, &b).await.expect("copied");
        assert_eq!(here.get(&b).await.expect("there").bytes().await.expect("read"), "other");
        inner.copy(&a, &Path::from("c")).await.expect("copied");
        assert!(here.get(&Path::from("c")).await.is_err(), "opened under another name");
        assert!(here.get_range(&Path::from("c"), 0..5).await.is_err(), "opened under another name");
    }

    #[tokio::test]
    async fn plain_objects_only_where_they_are_allowed() {
        let inner = Arc::new(InMemory::new());
        let path = Path::from("old");
        inner.put(&path, "plain".into()).await.expect("put");
        let strict = Sealed::new(inner.clone(), Path::default(), sealing(false));
        let said = strict.get(&path).await.expect_err("refused").to_string();
        assert!(said.contains("millrace keys rotate"), "{said}");
        assert!(strict.get_range(&path, 0..2).await.is_err());
        let lenient = Sealed::new(inner, Path::default(), sealing(true));
        assert_eq!(lenient.get(&path).await.expect("there").bytes().await.expect("read"), "plain");
        assert_eq!(lenient.get_range(&path, 0..2).await.expect("read"), "pl");
        assert_eq!(lenient.head(&path).await.expect("there").size, 5);
    }

    #[tokio::test]
    async fn uploads_in_parts_are_sealed() {
        let inner = Arc::new(InMemory::new());
        let store = Sealed::new(inner, Path::default(), sealing(false));
        let path = Path::from("big");
        for (parts, bytes) in [(0, 0), (1, 10), (3, 5 << 20), (2, 65_536)] {
            let mut upload = store.put_multipart(&path).await.expect("begun");
            for _ in 0..parts {
                upload.put_part(content(bytes).into()).await.expect("put");
            }
            upload.complete().await.expect("complete");
            let expected: Vec<u8> = (0..parts).flat_map(|_| content(bytes)).collect();
            let read = store.get(&path).await.expect("there").bytes().await.expect("read");
            assert_eq!(read.len(), expected.len());
            assert!(read == expected, "{parts} parts of {bytes}");
        }
    }

    #[test]
    fn renewing_wraps_anew_and_seals_what_is_plain() {
        let lines = [generate_line("a").expect("made"), generate_line("b").expect("made")];
        let old = Keyring::parse(&lines[0], "f").expect("good");
        let both = Keyring::parse(&format!("{}{}", lines[0].as_str(), lines[1].as_str()), "f").expect("good");
        let sealed = envelope::seal(&old, "x", b"hello").expect("sealed");
        let renewed = renew(&both, "x", &sealed).expect("renewed").expect("changed");
        assert_eq!(envelope::open(&both, "x", &renewed).expect("opened"), b"hello");
        assert_eq!(renew(&both, "x", &renewed).expect("read"), None);
        let from_plain = renew(&both, "y", b"plain").expect("renewed").expect("changed");
        assert_eq!(envelope::open(&both, "y", &from_plain).expect("opened"), b"plain");
    }
}
