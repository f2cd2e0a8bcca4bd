//! Where the table lies: a directory of this machine, or a bucket.
//!
//! ```text
//! /var/lib/millrace/logs   file:///shared/logs ─▶ Durable(local files)  ─┐
//! s3://bucket/prefix   gs://…   az://…         ─▶ provider with retries ─┴▶ Measured ─▶ Cached ─▶ Sealed ─┬▶ Tiered
//!                                                                          the same for each colder tier ─┘
//! ```
//!
//! Credentials come from the environment, by the names each provider's own tools use, and from `options`; neither
//! is ever printed.
//! Errors: [`StoreError`], naming the location.

mod cached;
mod durable;
mod measured;
mod provider;
mod sealed;
mod tiered;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use cached::Cached;
pub use cached::{BlockCache, CacheLimits, CacheStats};
use durable::Durable;
pub use durable::remove_unfinished;
pub use measured::{Measured, OPERATIONS, OperationStats, StoreStats};
use sealed::Sealed;
pub use sealed::{RenewError, Sealing, renew};
use tiered::Tiered;
pub use tiered::{Tier, location_of_url, url_of_location};

/// Where the table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    Directory(PathBuf),
    Bucket(Bucket),
}

/// A place in an object store.
#[derive(Clone, PartialEq, Eq)]
pub struct Bucket {
    url: url::Url,
    /// By the names of `object_store`'s configuration, such as `aws_endpoint`.
    options: BTreeMap<String, String>,
    limits: RequestLimits,
}

/// How long requests to a bucket may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLimits {
    /// One request with its body.
    pub timeout: Duration,
    /// From its first try until a request is given up; pauses between tries grow.
    pub retry: Duration,
    /// PEM file of authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// A store, and where in it the table is.
#[derive(Debug, Clone)]
pub struct Opened {
    pub store: Arc<dyn ObjectStore>,
    /// What lies there: the same store, unless it is sealed.
    pub raw: Arc<dyn ObjectStore>,
    pub root: ObjectPath,
    pub stats: Arc<StoreStats>,
    /// Where files of the table can be, in both stores: the root, and the places of tiers.
    pub roots: Vec<ObjectPath>,
}

/// What was asked of the stores of tiers, by name.
pub type TierStats = Vec<(String, Arc<StoreStats>)>;

/// A colder place for files of a table.
#[derive(Debug, Clone)]
pub struct TierPlace {
    pub name: String,
    pub location: Location,
}

/// Everything that one server keeps.
#[derive(Debug, Clone)]
pub struct Place {
    pub data_dir: PathBuf,
    pub table: Opened,
    /// How the table and the log are encrypted, if they are.
    pub sealing: Option<Sealing>,
    /// Where the table's files are, when that is a directory of this machine.
    pub table_dir: Option<PathBuf>,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: {source}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("{location}: {source}")]
    Store { location: String, source: object_store::Error },
    #[error("{location}: {reason}")]
    Setting { location: String, reason: String },
    #[error("{url:?} is no URL: {source}")]
    Url { url: String, source: url::ParseError },
    #[error(
        "{location} ignores If-None-Match: two commits could overwrite each other; use a store that honours it (Amazon S3, MinIO, Ceph, R2, GCS and Azure do in their present versions)"
    )]
    NoConditionalPut { location: String },
}

impl Default for RequestLimits {
    fn default() -> Self {
        RequestLimits { timeout: Duration::from_secs(60), retry: Duration::from_secs(180), ca_file: None }
    }
}

impl Location {
    /// A URL, or a path when there is no scheme.
    pub fn parse(text: &str, options: &BTreeMap<String, String>, limits: &RequestLimits) -> Result<Self, StoreError> {
        if !text.contains("://") {
            return Ok(Location::Directory(PathBuf::from(text)));
        }
        let url = url::Url::parse(text).map_err(|source| StoreError::Url { url: without_credentials(text), source })?;
        match url.scheme() {
            "file" => Ok(Location::Directory(url.to_file_path().unwrap_or_else(|()| PathBuf::from(url.path())))),
            _ => Ok(Location::Bucket(Bucket { url, options: options.clone(), limits: limits.clone() })),
        }
    }

    /// The store, and where the table is in it. A directory that is not there is made. With `sealing`, what is put
    /// is encrypted.
    pub fn open(&self, sealing: Option<&Sealing>) -> Result<Opened, StoreError> {
        self.open_cached(sealing, None)
    }

    /// As [`Location::open`]; what is read of a bucket is kept in `cache`.
    pub fn open_cached(&self, sealing: Option<&Sealing>, cache: Option<&BlockCache>) -> Result<Opened, StoreError> {
        let (store, root) = match self {
            Location::Directory(path) => (local(path)?, ObjectPath::default()),
            Location::Bucket(bucket) => provider::open(bucket)?,
        };
        let measured = Measured::new(store);
        let stats = measured.stats();
        let raw: Arc<dyn ObjectStore> = Arc::new(measured);
        let mut store = raw.clone();
        if let Some(cache) = cache.filter(|_| self.is_bucket()) {
            // Renewed keys change headers under the same names: blocks of before are not taken for those of after.
            let space = format!("{self} {}", sealing.map_or("", |sealing| sealing.keys.newest_id()));
            store = Arc::new(Cached::new(store, cache.clone(), space));
        }
        if let Some(sealing) = sealing {
            store = Arc::new(Sealed::new(store, root.clone(), sealing.clone()));
        }
        Ok(Opened { store, raw, roots: vec![root.clone()], root, stats })
    }

    /// The URL that files there are named by in the log, without a slash at its end.
    pub fn file_url(&self) -> String {
        match self {
            Location::Directory(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                format!("file://{}", path.display()).trim_end_matches('/').to_owned()
            }
            Location::Bucket(bucket) => {
                let mut url = bucket.url.clone();
                let _ = url.set_username("");
                let _ = url.set_password(None);
                url.as_str().trim_end_matches('/').to_owned()
            }
        }
    }

    /// Whether other processes of other machines may be at work here too.
    pub fn is_bucket(&self) -> bool {
        matches!(self, Location::Bucket(_))
    }
}

impl Opened {
    /// Joins colder places to the table's own. Answers the stats of each, by name.
    pub fn with_tiers(
        self,
        tiers: &[TierPlace],
        sealing: Option<&Sealing>,
        cache: Option<&BlockCache>,
    ) -> Result<(Opened, TierStats), StoreError> {
        if tiers.is_empty() {
            return Ok((self, Vec::new()));
        }
        let (mut seen, mut raw, mut stats, mut roots) = (Vec::new(), Vec::new(), Vec::new(), self.roots);
        for tier in tiers {
            let url = tier.location.file_url();
            let opened = tier.location.open_cached(sealing, cache)?;
            let setting = |reason| StoreError::Setting { location: tier.location.to_string(), reason };
            let place = location_of_url(&url).unwrap_or_else(|| Err(format!("{url} is no URL")));
            roots.push(place.map_err(setting)?);
            stats.push((tier.name.clone(), opened.stats));
            let at = |store| Tier { name: tier.name.clone(), url: url.clone(), store, root: opened.root.clone() };
            seen.push(at(opened.store));
            raw.push(at(opened.raw));
        }
        let failed = |reason| StoreError::Setting { location: "tiers".to_owned(), reason };
        let store: Arc<dyn ObjectStore> = Arc::new(Tiered::new(self.store, &seen).map_err(failed)?);
        let raw: Arc<dyn ObjectStore> = Arc::new(Tiered::new(self.raw, &raw).map_err(failed)?);
        Ok((Opened { store, raw, root: self.root, stats: self.stats, roots }, stats))
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::Directory(path) => path.display().fmt(f),
            Location::Bucket(bucket) => f.write_str(&without_credentials(bucket.url.as_str())),
        }
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.options.keys().collect();
        f.debug_struct("Bucket")
            .field("url", &without_credentials(self.url.as_str()))
            .field("options", &names)
            .field("limits", &self.limits)
            .finish()
    }
}

/// Makes sure that a store refuses to put what is there already: commits depend on it.
///
/// # Errors
/// `NoConditionalPut`, and `Store` when it cannot be reached.
pub async fn check_conditional_put(opened: &Opened, location: &Location) -> Result<(), StoreError> {
    let failed = |source| StoreError::Store { location: location.to_string(), source };
    let probe = opened.root.clone().join("_millrace").join(format!("probe-{}", uuid::Uuid::new_v4()));
    let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    opened.store.put_opts(&probe, "1".into(), create()).await.map_err(failed)?;
    let again = opened.store.put_opts(&probe, "2".into(), create()).await;
    let removed = opened.store.delete(&probe).await;
    match again {
        Err(object_store::Error::AlreadyExists { .. }) => removed.map_err(failed),
        Ok(_) => Err(StoreError::NoConditionalPut { location: location.to_string() }),
        Err(error) => Err(failed(error)),
    }
}

/// A URL, or what should have been one, without what comes before an `@`.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) if !["az", "abfs", "abfss", "adl"].contains(&scheme) => {
            format!("{scheme}://********@{}", &rest[at + 1..])
        }
        _ => text.to_owned(),
    }
}

fn local(path: &Path) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let failed = |source| StoreError::Directory { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    let path = path.canonicalize().map_err(failed)?;
    let store = LocalFileSystem::new_with_prefix(&path)
        .map_err(|source| StoreError::Store { location: path.display().to_string(), source })?;
    Ok(Arc::new(Durable::new(store.with_automatic_cleanup(true), path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, StoreError> {
        Location::parse(text, &BTreeMap::new(), &RequestLimits::default())
    }

    #[test]
    fn locations_are_read() {
        let check = |text: &str, expected: &str| {
            let location = parse(text).expect("readable");
            assert_eq!(format!("{location} {}", location.is_bucket()), expected, "{text}");
        };
        check("/a/b", "/a/b false");
        check("relative", "relative false");
        check("file:///a/b", "/a/b false");
        check("s3://bucket/prefix", "s3://bucket/prefix true");
        check("s3://key:secret@bucket/prefix", "s3://********@bucket/prefix true");
        check("az://container@account/prefix", "az://container@account/prefix true");
        assert!(parse("s3://").is_ok_and(|location| location.open(None).is_err()));
        assert!(parse("nope://x").is_ok_and(|location| location.open(None).is_err()));
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = BTreeMap::from([("aws_secret_access_key".to_owned(), "hush".to_owned())]);
        let location = Location::parse("s3://me:hush@bucket/x", &options, &RequestLimits::default()).expect("readable");
        let shown = format!("{location:?} {location}");
        assert!(!shown.contains("hush") && shown.contains("aws_secret_access_key"), "{shown}");
        let said = parse("s3://me:hush@[bad/x").expect_err("no URL").to_string();
        assert!(!said.contains("hush"), "{said}");
    }

    #[tokio::test]
    async fn conditional_puts_are_probed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let location = Location::Directory(directory.path().join("t"));
        let opened = location.open(None).expect("opens");
        check_conditional_put(&opened, &location).await.expect("local files have it");
        assert!(opened.store.list_with_delimiter(None).await.expect("lists").objects.is_empty());
    }
}
