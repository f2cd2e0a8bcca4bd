//! Local files that survive power loss: an object is on disk before its name is.
//!
//! ```text
//! put ─▶ name#<n> ─▶ write, fsync ─▶ link (create) or rename (overwrite) ─▶ fsync of the directories
//! ```
//!
//! `object_store`'s own local files are written without a sync: after a power loss a commit could name a file that
//! is empty, while the log that held its rows is gone. Names with `#` and digits at the end are left out of its
//! listings, so what a crash leaves is never read.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::failpoint;

const STORE: &str = "local files";

/// Local files below a directory, synced.
#[derive(Debug)]
pub(super) struct Durable {
    inner: LocalFileSystem,
    root: Arc<FilePath>,
    /// Makes names of unfinished files differ, with the process id.
    next: AtomicU64,
}

impl Durable {
    /// `root` is the directory that `inner` has as its prefix.
    pub(super) fn new(inner: LocalFileSystem, root: PathBuf) -> Self {
        Durable { inner, root: root.into(), next: AtomicU64::new(0) }
    }

    fn staged_name(&self, target: &FilePath) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut name = target.as_os_str().to_owned();
        name.push(format!("#{}{number:06}", std::process::id()));
        PathBuf::from(name)
    }
}

/// Writes `payload` beside `target`, then gives it its name.
fn put(
    root: &FilePath,
    staged: &FilePath,
    target: &FilePath,
    payload: &PutPayload,
    create: bool,
) -> std::io::Result<()> {
    failpoint::io("store.put")?;
    let parent = target.parent().unwrap_or(root);
    let made = make_directories(root, parent)?;
    let written = (|| {
        let mut file = File::create(staged)?;
        for chunk in payload {
            file.write_all(chunk)?;
        }
        file.sync_all()?;
        if create { std::fs::hard_link(staged, target) } else { std::fs::rename(staged, target) }
    })();
    if create || written.is_err() {
        let _ = std::fs::remove_file(staged);
    }
    written?;
    failpoint::hit("store.named");
    sync_directories(root, parent, made)
}

/// Makes `directory` and what is missing above it, up to `root`. Answers how many were made.
fn make_directories(root: &FilePath, directory: &FilePath) -> std::io::Result<usize> {
    let missing = directory.ancestors().take_while(|at| at.starts_with(root) && !at.exists()).count();
    std::fs::create_dir_all(directory)?;
    Ok(missing)
}

/// Makes the names in `directory`, and those of the `made` directories above and with it, durable.
fn sync_directories(root: &FilePath, directory: &FilePath, made: usize) -> std::io::Result<()> {
    for at in directory.ancestors().take(made + 1).take_while(|at| at.starts_with(root)) {
        File::open(at)?.sync_all()?;
    }
    Ok(())
}

/// Deletes what puts and uploads of processes that are gone left behind below `directory`. Answers how many.
///
/// Only while no other process writes there, and none of this one's uploads in parts.
pub fn remove_unfinished(directory: &FilePath) -> std::io::Result<usize> {
    let own = std::process::id().to_string();
    let mut removed = 0;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.rsplit_once('#').map_or("", |(_, number)| number);
        if path.is_dir() {
            removed += remove_unfinished(&path)?;
        } else if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with(&own) {
            std::fs::remove_file(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn failed(path: &FilePath) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: source.into() },
        std::io::ErrorKind::NotFound => Error::NotFound { path, source: source.into() },
        _ => Error::Generic { store: STORE, source: format!("{path}: {source}").into() },
    }
}

async fn off_thread(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Generic { store: STORE, source: error.into() })?
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.inner.put_opts(location, payload, opts).await,
        };
        let target = self.inner.path_to_filesystem(location)?;
        let (root, staged) = (self.root.clone(), self.staged_name(&target));
        off_thread(move || put(&root, &staged, &target, &payload, create).map_err(failed(&target))).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let target = self.inner.path_to_filesystem(location)?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(DurableUpload { inner, target, root: self.root.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(location, ranges).await
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

/// An upload in parts that is synced when it is complete.
#[derive(Debug)]
struct DurableUpload {
    inner: Box<dyn MultipartUpload>,
    target: PathBuf,
    root: Arc<FilePath>,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match failpoint::io("store.part") {
            Ok(()) => self.inner.put_part(data),
            Err(source) => {
                let error = failed(&self.target)(source);
                Box::pin(async move { Err(error) })
            }
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let (target, root) = (self.target.clone(), self.root.clone());
        off_thread(move || {
            let parent = target.parent().unwrap_or(&root);
            let depth = parent.ancestors().take_while(|at| at.starts_with(&root)).count();
            let synced = File::open(&target).and_then(|file| file.sync_all());
            synced.and_then(|()| sync_directories(&root, parent, depth)).map_err(failed(&target))
        })
        .await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    fn store(directory: &FilePath) -> Durable {
        let inner = LocalFileSystem::new_with_prefix(directory).expect("opens");
        Durable::new(inner, directory.to_owned())
    }

    #[tokio::test]
    async fn created_once_overwritten_often_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = store(directory.path());
        let path = Path::from("a/b/c");
        let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&path, "1".into(), create()).await.expect("created");
        let again = store.put_opts(&path, "2".into(), create()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        let read = || async { store.get(&path).await.expect("there").bytes().await.expect("read") };
        assert_eq!(read().await, "1");
        store.put(&path, "3".into()).await.expect("overwritten");
        assert_eq!(read().await, "3");
        let files: Vec<_> = std::fs::read_dir(directory.path().join("a/b")).expect("a directory").collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert!(store.put(&Path::from("a/b/c/d"), "4".into()).await.is_err(), "below a file");
    }

    #[tokio::test]
    async fn what_a_crash_leaves_is_not_listed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = store(directory.path());
        let staged = store.staged_name(&directory.path().join("a"));
        std::fs::write(&staged, "half").expect("written");
        store.put(&Path::from("b"), "whole".into()).await.expect("put");
        let listed: Vec<ObjectMeta> = store.list(None).try_collect().await.expect("lists");
        assert_eq!(listed.iter().map(|meta| meta.location.as_ref()).collect::<Vec<_>>(), ["b"]);
        let left = directory.path().join("b#1");
        std::fs::write(&left, "of another process").expect("written");
        assert_eq!(remove_unfinished(directory.path()).expect("swept"), 1);
        assert!(staged.exists() && !left.exists(), "what this process writes stays");
    }

    #[tokio::test]
    async fn parts_become_one_object() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = store(directory.path());
        let path = Path::from("x/y");
        let mut upload = store.put_multipart(&path).await.expect("begun");
        upload.put_part("12".into()).await.expect("put");
        upload.put_part("3".into()).await.expect("put");
        upload.complete().await.expect("complete");
        assert_eq!(store.get(&path).await.expect("there").bytes().await.expect("read"), "123");
    }
}
