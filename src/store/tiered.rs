//! One store over several places: the table's own, and colder ones that its files move to.
//!
//! ```text
//! path of a file in the log                      location                                   goes to
//! tenant=a/date=…/part-1.parquet                 <root>/tenant=a/…                          the table's own store
//! s3://cold/logs/tenant=a/date=…/part-1.parquet  .tiers/s3/cold/logs/tenant=a/date=…        the tier at s3://cold/logs
//! ```
//!
//! The log names a file that moved by its full URL, as Delta has it, so other engines find it too. Readers above know
//! nothing of tiers: a location says where it is.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

const STORE: &str = "tiers";
/// Locations below it are in tiers. No data of a table's own store begins so.
const TIERS: &str = ".tiers/";
/// Objects deleted at once, where they are deleted one by one.
const DELETES: usize = 16;

/// A colder place.
#[derive(Debug, Clone)]
pub struct Tier {
    pub name: String,
    /// Files there are named by it, `/`, and their path: `s3://cold/logs`.
    pub url: String,
    pub store: Arc<dyn ObjectStore>,
    pub root: Path,
}

/// Where the file that the log names by a full URL is in a store with tiers; `None` for a path below the root.
///
/// # Errors
/// A text, when it is neither.
pub fn location_of_url(path: &str) -> Option<std::result::Result<Path, String>> {
    let (scheme, rest) = path.split_once("://")?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let rest = rest.trim_start_matches('/');
    let is_good = is_scheme && !rest.is_empty() && rest.split('/').all(|part| !part.is_empty());
    let parsed = Path::parse(format!("{TIERS}{scheme}/{rest}")).ok().filter(|_| is_good);
    Some(parsed.ok_or_else(|| format!("{path} is no URL of a file")))
}

/// The full URL of a location in a tier; `None` for others.
pub fn url_of_location(location: &str) -> Option<String> {
    let (scheme, rest) = location.strip_prefix(TIERS)?.split_once('/')?;
    Some(format!("{scheme}://{}{rest}", if scheme == "file" { "/" } else { "" }))
}

/// The table's own store, and the tiers.
#[derive(Debug)]
pub(super) struct Tiered {
    own: Arc<dyn ObjectStore>,
    routes: Arc<[Route]>,
}

#[derive(Debug)]
struct Route {
    /// `.tiers/s3/cold/logs`
    prefix: Path,
    store: Arc<dyn ObjectStore>,
    root: Path,
}

impl Tiered {
    pub(super) fn new(own: Arc<dyn ObjectStore>, tiers: &[Tier]) -> std::result::Result<Self, String> {
        let routes = tiers.iter().map(|tier| {
            let prefix = location_of_url(&tier.url).ok_or_else(|| format!("{} is no URL", tier.url))??;
            Ok(Route { prefix, store: tier.store.clone(), root: tier.root.clone() })
        });
        Ok(Tiered { own, routes: routes.collect::<std::result::Result<Vec<_>, String>>()?.into() })
    }

    fn route(&self, location: &Path) -> Result<(&Arc<dyn ObjectStore>, Path)> {
        match find(&self.routes, location)? {
            None => Ok((&self.own, location.clone())),
            Some((route, place)) => Ok((&route.store, place)),
        }
    }
}

/// The tier of a location, and where it is there; `None` for the table's own store.
fn find<'a>(routes: &'a [Route], location: &Path) -> Result<Option<(&'a Route, Path)>> {
    if !location.as_ref().starts_with(TIERS) {
        return Ok(None);
    }
    for route in routes {
        if let Some(parts) = location.prefix_match(&route.prefix) {
            let inside: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            return place(&route.root, &inside.join("/")).map(|place| Some((route, place)));
        }
    }
    let named = url_of_location(location.as_ref()).unwrap_or_default();
    let text = format!("{named} is in a tier that is not among millrace.tiers.levels; add it there");
    Err(Error::NotFound { path: location.to_string(), source: text.into() })
}

fn place(root: &Path, inside: &str) -> Result<Path> {
    let full = match (root.as_ref(), inside) {
        ("", inside) => inside.to_owned(),
        (root, "") => root.to_owned(),
        (root, inside) => format!("{root}/{inside}"),
    };
    Path::parse(full).map_err(Error::from)
}

/// A listed object of a tier, as a location here.
fn outward(prefix: &Path, root: &Path, mut meta: ObjectMeta) -> Result<ObjectMeta> {
    let inside: Option<Vec<String>> =
        meta.location.prefix_match(root).map(|parts| parts.map(|part| part.as_ref().to_owned()).collect());
    meta.location = place(prefix, &inside.unwrap_or_default().join("/"))?;
    Ok(meta)
}

impl fmt::Display for Tiered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {} tiers", self.own, self.routes.len())
    }
}

#[async_trait]
impl ObjectStore for Tiered {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (store, place) = self.route(location)?;
        store.put_opts(&place, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (store, place) = self.route(location)?;
        store.put_multipart_opts(&place, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (store, place) = self.route(location)?;
        let mut found = store.get_opts(&place, options).await?;
        found.meta.location = location.clone();
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (store, place) = self.route(location)?;
        store.get_ranges(&place, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (own, routes) = (self.own.clone(), self.routes.clone());
        let deleted = locations.map(move |location| {
            let (own, routes) = (own.clone(), routes.clone());
            async move {
                let location = location?;
                match find(&routes, &location)? {
                    None => own.delete(&location).await?,
                    Some((route, place)) => route.store.delete(&place).await?,
                }
                Ok(location)
            }
        });
        deleted.buffered(DELETES).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match prefix.map(|prefix| find(&self.routes, prefix)) {
            None | Some(Ok(None)) => self.own.list(prefix),
            Some(Err(error)) => futures::stream::iter([Err(error)]).boxed(),
            Some(Ok(Some((route, place)))) => {
                let (prefix, root) = (route.prefix.clone(), route.root.clone());
                route.store.list(Some(&place)).map(move |meta| outward(&prefix, &root, meta?)).boxed()
            }
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match prefix.map(|prefix| find(&self.routes, prefix)) {
            None | Some(Ok(None)) => self.own.list_with_offset(prefix, offset),
            _ => {
                let offset = offset.clone();
                let after = move |meta: &Result<ObjectMeta>| meta.as_ref().map_or(true, |meta| meta.location > offset);
                self.list(prefix).filter(move |meta| futures::future::ready(after(meta))).boxed()
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match prefix.map(|prefix| find(&self.routes, prefix)).transpose()?.flatten() {
            None => self.own.list_with_delimiter(prefix).await,
            Some(_) => Err(Error::NotImplemented {
                operation: "listing one level of a tier".to_owned(),
                implementer: STORE.to_owned(),
            }),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let ((source, from_place), (target, to_place)) = (self.route(from)?, self.route(to)?);
        if Arc::ptr_eq(source, target) {
            return source.copy_opts(&from_place, &to_place, options).await;
        }
        let content = source.get(&from_place).await?.bytes().await?;
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        target.put_opts(&to_place, content.into(), PutOptions { mode, ..PutOptions::default() }).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn urls_are_places_and_paths_are_not() {
        let check = |path: &str, expected: Option<Option<&str>>| {
            let found = location_of_url(path).map(|place| place.ok().map(|place| place.to_string()));
            assert_eq!(found, expected.map(|place| place.map(str::to_owned)), "{path}");
        };
        check("tenant=a/date=2026-01-15/part-1.parquet", None);
        check("s3://cold/logs/tenant=a%2Ab/x.parquet", Some(Some(".tiers/s3/cold/logs/tenant=a%2Ab/x.parquet")));
        check("file:///mnt/cold/x", Some(Some(".tiers/file/mnt/cold/x")));
        for url in ["s3://cold/logs/x", "file:///mnt/cold/x"] {
            let location = location_of_url(url).expect("a URL").expect("good");
            assert_eq!(url_of_location(location.as_ref()).as_deref(), Some(url));
        }
        for bad in ["s3://", "s3://a//b", "s3://a/../b", "://a", "s 3://a"] {
            check(bad, Some(None));
        }
    }

    #[tokio::test]
    async fn each_location_goes_to_its_store() {
        let (own, cold) = (Arc::new(InMemory::new()), Arc::new(InMemory::new()));
        let tier = Tier {
            name: "cold".to_owned(),
            url: "s3://cold/logs".to_owned(),
            store: cold.clone(),
            root: Path::from("logs"),
        };
        let store = Tiered::new(own.clone(), &[tier]).expect("a URL");
        let here = Path::from("root/tenant=a/1");
        let there = location_of_url("s3://cold/logs/tenant=a/1").expect("a URL").expect("good");
        store.put(&here, "1".into()).await.expect("put");
        store.copy(&here, &there).await.expect("copied");
        assert_eq!(cold.get(&Path::from("logs/tenant=a/1")).await.expect("there").bytes().await.expect("read"), "1");
        assert_eq!(store.get_range(&there, 0..1).await.expect("read"), "1");
        assert_eq!(store.head(&there).await.expect("there").location, there);
        let prefix = location_of_url("s3://cold/logs").expect("a URL").expect("good");
        let listed: Vec<ObjectMeta> = store.list(Some(&prefix)).try_collect().await.expect("lists");
        assert_eq!(listed.iter().map(|meta| &meta.location).collect::<Vec<_>>(), [&there]);
        let listed: Vec<ObjectMeta> = store.list(Some(&Path::from("root"))).try_collect().await.expect("lists");
        assert_eq!(listed.len(), 1, "the own store alone");
        store.delete(&there).await.expect("deleted");
        assert!(cold.list(None).try_collect::<Vec<_>>().await.expect("lists").is_empty());
        let strange = location_of_url("s3://other/x").expect("a URL").expect("good");
        let said = store.get(&strange).await.expect_err("no such tier").to_string();
        assert!(said.contains("s3://other/x is in a tier that is not among"), "{said}");
    }
}
