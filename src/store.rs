//! Where the table lies: a directory of this machine, or a bucket.
//!
//! ```text
//! /var/lib/millrace/logs   file:///shared/logs   s3://bucket/prefix   gs://…   az://…   ─▶ ObjectStore + root
//! ```
//!
//! Credentials come from the environment, by the names each provider's own tools use, and from `options`.
//! Errors: [`StoreError`], naming the location.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;

/// Where the table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    Directory(PathBuf),
    Url {
        url: url::Url,
        /// By the names of `object_store`'s configuration, such as `aws_endpoint`.
        options: BTreeMap<String, String>,
    },
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: {source}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("{location}: {source}")]
    Store { location: String, source: object_store::Error },
    #[error("{url:?} is no URL: {source}")]
    Url { url: String, source: url::ParseError },
}

impl Location {
    /// A URL, or a path when there is no scheme.
    pub fn parse(text: &str, options: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        if !text.contains("://") {
            return Ok(Location::Directory(PathBuf::from(text)));
        }
        let url = url::Url::parse(text).map_err(|source| StoreError::Url { url: text.to_owned(), source })?;
        match url.scheme() {
            "file" => Ok(Location::Directory(url.to_file_path().unwrap_or_else(|()| PathBuf::from(url.path())))),
            _ => Ok(Location::Url { url, options: options.clone() }),
        }
    }

    /// The store, and where the table is in it. A directory that is not there is made.
    pub fn open(&self) -> Result<(Arc<dyn ObjectStore>, ObjectPath), StoreError> {
        match self {
            Location::Directory(path) => Ok((local(path)?, ObjectPath::default())),
            Location::Url { url, options } => {
                let of_environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
                let known = of_environment.filter(|(name, _)| is_credential(name));
                let all = known.chain(options.iter().map(|(name, value)| (name.clone(), value.clone())));
                let failed = |source| StoreError::Store { location: url.to_string(), source };
                let (store, root) = object_store::parse_url_opts(url, all).map_err(failed)?;
                Ok((Arc::from(store), root))
            }
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::Directory(path) => path.display().fmt(f),
            Location::Url { url, .. } => url.fmt(f),
        }
    }
}

fn is_credential(name: &str) -> bool {
    ["aws_", "google_", "azure_"].iter().any(|provider| name.starts_with(provider))
}

fn local(path: &Path) -> Result<Arc<dyn ObjectStore>, StoreError> {
    std::fs::create_dir_all(path).map_err(|source| StoreError::Directory { path: path.to_owned(), source })?;
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|source| StoreError::Store { location: path.display().to_string(), source })?;
    Ok(Arc::new(store.with_automatic_cleanup(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read() {
        let check = |text: &str, expected: &str| {
            let location = Location::parse(text, &BTreeMap::new()).expect("readable");
            assert_eq!(format!("{location} {}", matches!(location, Location::Directory(_))), expected, "{text}");
        };
        check("/a/b", "/a/b true");
        check("relative", "relative true");
        check("file:///a/b", "/a/b true");
        check("s3://bucket/prefix", "s3://bucket/prefix false");
        assert!(Location::parse("s3://", &BTreeMap::new()).is_ok_and(|location| location.open().is_err()));
        assert!(Location::parse("nope://x", &BTreeMap::new()).is_ok_and(|location| location.open().is_err()));
    }
}
