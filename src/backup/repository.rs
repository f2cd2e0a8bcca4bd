//! The place that backups are kept in: a directory or a bucket.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use super::manifest::{BackupId, Entry, Manifest};
use super::{BackupError, repository_failed};
use crate::store::Opened;

const MARKER: &str = "millrace-backup.json";
const FORMAT: u32 = 1;
/// Blobs read at once while verifying.
const VERIFY_READS: usize = 4;

/// An open repository.
#[derive(Debug)]
pub struct Repository {
    at: Opened,
    name: String,
}

/// Says that a directory is a repository, and whose.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    /// Identity of the write-ahead log that it belongs to.
    origin: String,
}

/// Something that a backup names and that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub path: String,
    pub reason: String,
}

impl Repository {
    /// `name` is what messages call it.
    pub fn new(at: Opened, name: String) -> Self {
        Repository { at, name }
    }

    /// Makes the place a repository of `origin`, or checks that it is one.
    pub(super) async fn claim(&self, origin: &str) -> Result<(), BackupError> {
        let marker = Marker { format: FORMAT, origin: origin.to_owned() };
        match self.marker().await? {
            Some(found) if found.origin != origin => {
                Err(BackupError::OtherOrigin { theirs: found.origin, ours: origin.to_owned() })
            }
            Some(_) => Ok(()),
            None if self.has_anything().await? => {
                Err(self.no_repository("it is not empty and has no millrace-backup.json"))
            }
            None => {
                let body = serde_json::to_vec(&marker).expect("strings and integers always serialise");
                self.at.store.put(&self.path(MARKER), body.into()).await.map_err(repository_failed)?;
                Ok(())
            }
        }
    }

    async fn marker(&self) -> Result<Option<Marker>, BackupError> {
        let Some(body) = self.get(MARKER).await? else {
            return Ok(None);
        };
        let marker: Marker = serde_json::from_slice(&body).map_err(|error| self.no_repository(error.to_string()))?;
        if marker.format > FORMAT {
            return Err(self.no_repository(format!("it has format {}, this program knows {FORMAT}", marker.format)));
        }
        Ok(Some(marker))
    }

    async fn has_anything(&self) -> Result<bool, BackupError> {
        let mut listing = self.at.store.list(Some(&self.at.root));
        Ok(listing.try_next().await.map_err(repository_failed)?.is_some())
    }

    /// All backups, oldest first.
    pub async fn list(&self) -> Result<Vec<Manifest>, BackupError> {
        if self.marker().await?.is_none() {
            return Err(self.no_repository("it has no millrace-backup.json; `millrace backup create` makes one"));
        }
        let prefix = self.path("manifests");
        let metas: Vec<ObjectMeta> =
            self.at.store.list(Some(&prefix)).try_collect().await.map_err(repository_failed)?;
        let mut manifests = Vec::new();
        for meta in metas {
            let name = meta.location.filename().and_then(|name| name.strip_suffix(".json"));
            if let Some(id) = name.and_then(BackupId::parse) {
                manifests.push(self.manifest(&id).await?);
            }
        }
        manifests.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(manifests)
    }

    /// The backup `id`, or the newest.
    pub async fn find(&self, id: Option<&str>) -> Result<Manifest, BackupError> {
        let Some(text) = id else {
            return self.list().await?.pop().ok_or(BackupError::Empty);
        };
        let no_such = || BackupError::NoSuchBackup { id: text.to_owned() };
        self.manifest(&BackupId::parse(text).ok_or_else(no_such)?).await
    }

    async fn manifest(&self, id: &BackupId) -> Result<Manifest, BackupError> {
        let name = manifest_name(id);
        let body = self.get(&name).await?.ok_or_else(|| BackupError::NoSuchBackup { id: id.to_string() })?;
        let damaged = |reason| BackupError::Damaged { id: id.to_string(), path: name.clone(), reason };
        Manifest::decode(&body).map_err(damaged)
    }

    pub(super) async fn put_manifest(&self, manifest: &Manifest) -> Result<(), BackupError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let path = self.path(&manifest_name(&manifest.id));
        self.at.store.put_opts(&path, manifest.encode().into(), options).await.map_err(repository_failed)?;
        Ok(())
    }

    /// Keeps `content`; answers its hash, and the bytes that were not there yet.
    pub(super) async fn put_blob(&self, content: Bytes) -> Result<(String, u64), BackupError> {
        let bytes = content.len() as u64;
        let hashed = content.clone();
        let hash = tokio::task::spawn_blocking(move || sha256(&hashed)).await?;
        let path = self.path(&blob_name(&hash));
        match self.at.store.head(&path).await {
            Ok(meta) if meta.size == bytes => return Ok((hash, 0)),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(repository_failed(error)),
        }
        self.at.store.put(&path, content.into()).await.map_err(repository_failed)?;
        Ok((hash, bytes))
    }

    /// The content of an entry, checked.
    pub(super) async fn blob(&self, id: &BackupId, entry: &Entry) -> Result<Bytes, BackupError> {
        let damaged = |reason: String| BackupError::Damaged { id: id.to_string(), path: entry.path.clone(), reason };
        let name = blob_name(&entry.sha256);
        let content = self.get(&name).await?.ok_or_else(|| damaged(format!("{name} is missing")))?;
        let hashed = content.clone();
        let hash = tokio::task::spawn_blocking(move || sha256(&hashed)).await?;
        if hash != entry.sha256 {
            return Err(damaged(format!("{name} has another hash: {hash}")));
        }
        Ok(content)
    }

    /// Reads all that a backup names. Answers what is damaged.
    pub async fn verify(&self, manifest: &Manifest, bar: &ProgressBar) -> Result<Vec<Damage>, BackupError> {
        bar.set_length(manifest.bytes());
        let checks = manifest.entries.iter().map(|entry| async move {
            let found = self.blob(&manifest.id, entry).await;
            bar.inc(entry.bytes);
            match found {
                Ok(_) => Ok(None),
                Err(BackupError::Damaged { path, reason, .. }) => Ok(Some(Damage { path, reason })),
                Err(error) => Err(error),
            }
        });
        let found = futures::stream::iter(checks.collect::<Vec<_>>()).buffered(VERIFY_READS);
        found.try_filter_map(|damage| async { Ok(damage) }).try_collect().await
    }

    /// Hashes of entries that earlier backups have, by path, size and time of writing.
    pub(super) fn known(manifests: &[Manifest]) -> HashMap<(String, u64, i64), String> {
        let entries = manifests.iter().flat_map(|manifest| &manifest.entries).filter(|entry| entry.modified_ms != 0);
        entries.map(|entry| ((entry.path.clone(), entry.bytes, entry.modified_ms), entry.sha256.clone())).collect()
    }

    /// Hashes of the blobs that are there, with their sizes.
    pub(super) async fn blobs(&self) -> Result<HashMap<String, u64>, BackupError> {
        let prefix = self.path("blobs");
        let metas = self.at.store.list(Some(&prefix));
        let named = metas.try_filter_map(|meta| async move {
            Ok(meta.location.filename().map(|name| (name.to_owned(), meta.size)))
        });
        named.try_collect().await.map_err(repository_failed)
    }

    /// Removes all backups but the newest `keep`, and what none of the rest names. Answers the removed backups and
    /// the bytes given back.
    pub async fn prune(&self, keep: usize) -> Result<(Vec<BackupId>, u64), BackupError> {
        let mut kept = self.list().await?;
        let gone: Vec<Manifest> = kept.drain(..kept.len().saturating_sub(keep)).collect();
        let ids: Vec<BackupId> = gone.into_iter().map(|manifest| manifest.id).collect();
        // Manifests first: a backup that is half there is worse than blobs that no one names.
        self.delete(ids.iter().map(|id| self.path(&manifest_name(id))).collect()).await?;
        let needed: HashSet<&String> = kept.iter().flat_map(|m| m.entries.iter().map(|entry| &entry.sha256)).collect();
        let mut unnamed: BTreeMap<String, u64> = BTreeMap::new();
        for (hash, bytes) in self.blobs().await? {
            if !needed.contains(&hash) {
                unnamed.insert(hash, bytes);
            }
        }
        self.delete(unnamed.keys().map(|hash| self.path(&blob_name(hash))).collect()).await?;
        Ok((ids, unnamed.values().sum()))
    }

    async fn delete(&self, paths: Vec<Path>) -> Result<(), BackupError> {
        let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut deleted = self.at.store.delete_stream(paths);
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(repository_failed(error)),
            }
        }
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, BackupError> {
        match self.at.store.get(&self.path(name)).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(repository_failed)?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(repository_failed(error)),
        }
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.at.root.clone(), |path, part| path.join(part))
    }

    fn no_repository(&self, reason: impl Into<String>) -> BackupError {
        BackupError::NoRepository { what: self.name.clone(), reason: reason.into() }
    }
}

fn manifest_name(id: &BackupId) -> String {
    format!("manifests/{id}.json")
}

fn blob_name(hash: &str) -> String {
    format!("blobs/{}/{hash}", hash.get(..2).unwrap_or(""))
}

fn sha256(content: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
