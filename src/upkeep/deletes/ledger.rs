//! The ledger: every delete request, in memory and as one object each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

use super::request::{DeleteRequest, FORMAT};
use crate::failpoint;
use crate::types::ids::TenantId;

/// Where what Millrace keeps beside the table is; other engines pass over names with `_`.
const DIRECTORY: &str = "_millrace";
/// Requests known at once.
pub(super) const REQUESTS_MAX: usize = 100_000;

/// Every request, by tenant and id. Share it behind an `Arc`.
#[derive(Debug)]
pub struct Ledger {
    store: Arc<dyn ObjectStore>,
    root: Path,
    requests: Mutex<BTreeMap<(String, String), DeleteRequest>>,
}

/// What other processes did to the ledger.
#[derive(Debug, Default)]
pub struct Changes {
    pub new: Vec<DeleteRequest>,
    /// Taken back.
    pub gone: Vec<DeleteRequest>,
    /// Carried out: no file has their rows any more.
    pub closed: Vec<DeleteRequest>,
}

/// Why the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the ledger of deletes: {0}")]
    Store(#[from] object_store::Error),
    #[error("{path} is damaged: {reason}; restore it from a backup, or remove it to forget the request")]
    Damaged { path: String, reason: String },
    #[error("{path} has format {format}; this program knows up to {FORMAT}: start a newer millrace")]
    Newer { path: String, format: u32 },
}

impl Ledger {
    /// Reads every request of the table at `root`.
    pub async fn load(store: Arc<dyn ObjectStore>, root: Path) -> Result<Ledger, LedgerError> {
        let ledger = Ledger { store, root, requests: Mutex::default() };
        ledger.reload().await?;
        Ok(ledger)
    }

    /// Reads it again: other processes may have written. What this process wrote meanwhile, or knows better, stays.
    pub async fn reload(&self) -> Result<Changes, LedgerError> {
        let before: BTreeSet<_> = self.requests.lock().keys().cloned().collect();
        let mut found = BTreeMap::new();
        let mut objects = self.store.list(Some(&self.place(&["deletes"])));
        while let Some(object) = objects.try_next().await? {
            if object.location.extension() != Some("json") {
                continue;
            }
            let body = match self.store.get(&object.location).await {
                Ok(object) => object.bytes().await?,
                // Taken back since it was listed.
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let request = decode(object.location.as_ref(), &body)?;
            found.insert(key(&request.tenant, &request.id), request);
        }
        let mut changes = Changes::default();
        let mut known = self.requests.lock();
        for key in before.iter().filter(|key| !found.contains_key(*key)) {
            changes.gone.extend(known.remove(key));
        }
        for (key, request) in found {
            match known.get(&key) {
                None if before.contains(&key) => {}
                None => {
                    changes.new.push(request.clone());
                    known.insert(key, request);
                }
                Some(ours) if ours.stage >= request.stage => {}
                Some(ours) => {
                    if ours.is_open() && !request.is_open() {
                        changes.closed.push(request.clone());
                    }
                    known.insert(key, request);
                }
            }
        }
        Ok(changes)
    }

    /// Makes a request, or its progress, durable.
    pub async fn put(&self, request: &DeleteRequest) -> Result<(), LedgerError> {
        let body = serde_json::to_vec_pretty(request).expect("requests have string keys");
        failpoint::hit("ledger.put");
        self.store.put(&self.place_of(request), body.into()).await?;
        failpoint::hit("ledger.written");
        self.requests.lock().insert(key(&request.tenant, &request.id), request.clone());
        Ok(())
    }

    /// Forgets a request.
    pub async fn remove(&self, request: &DeleteRequest) -> Result<(), LedgerError> {
        match self.store.delete(&self.place_of(request)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.requests.lock().remove(&key(&request.tenant, &request.id));
        Ok(())
    }

    pub fn get(&self, tenant: &TenantId, id: &str) -> Option<DeleteRequest> {
        self.requests.lock().get(&key(tenant.as_str(), id)).cloned()
    }

    /// The requests of all tenants, oldest first.
    pub fn all(&self) -> Vec<DeleteRequest> {
        sorted(self.requests.lock().values().cloned().collect())
    }

    /// The requests of one tenant, oldest first.
    pub fn of_tenant(&self, tenant: &TenantId) -> Vec<DeleteRequest> {
        let requests = self.requests.lock();
        sorted(requests.values().filter(|request| request.tenant == tenant.as_str()).cloned().collect())
    }

    pub fn len(&self) -> usize {
        self.requests.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes a signed certificate durable.
    pub(super) async fn put_certificate(&self, request: &DeleteRequest, text: String) -> Result<(), LedgerError> {
        self.store.put(&self.certificate_of(request), text.into()).await?;
        Ok(())
    }

    /// The signed certificate of a request, as it was written.
    pub(super) async fn certificate(&self, request: &DeleteRequest) -> Result<Option<String>, LedgerError> {
        match self.store.get(&self.certificate_of(request)).await {
            Ok(found) => Ok(Some(String::from_utf8_lossy(&found.bytes().await?).into_owned())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn place_of(&self, request: &DeleteRequest) -> Path {
        self.place(&["deletes", &request.tenant, &format!("{}.json", request.id)])
    }

    fn certificate_of(&self, request: &DeleteRequest) -> Path {
        self.place(&["certificates", &request.tenant, &format!("{}.json", request.id)])
    }

    fn place(&self, parts: &[&str]) -> Path {
        let inside = std::iter::once(DIRECTORY).chain(parts.iter().copied());
        inside.fold(self.root.clone(), |path, part| path.join(part))
    }
}

fn key(tenant: &str, id: &str) -> (String, String) {
    (tenant.to_owned(), id.to_owned())
}

fn sorted(mut requests: Vec<DeleteRequest>) -> Vec<DeleteRequest> {
    requests.sort_by(|a, b| (a.created_ms, a.ceiling, &a.id).cmp(&(b.created_ms, b.ceiling, &b.id)));
    requests
}

fn decode(path: &str, body: &[u8]) -> Result<DeleteRequest, LedgerError> {
    let damaged = |reason: String| LedgerError::Damaged { path: path.to_owned(), reason };
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let format: Format = serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))?;
    if format.format > FORMAT {
        return Err(LedgerError::Newer { path: path.to_owned(), format: format.format });
    }
    let request: DeleteRequest = serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))?;
    request.tenant().map_err(|error| damaged(error.to_string()))?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::super::request::Stage;
    use super::super::request::tests::request;
    use super::*;

    #[tokio::test]
    async fn requests_survive_and_are_found_by_others() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let one = Ledger::load(store.clone(), Path::from("logs")).await.expect("empty");
        let two = Ledger::load(store.clone(), Path::from("logs")).await.expect("empty");
        let tenant = TenantId::single();
        one.put(&request("a")).await.expect("written");
        one.put(&DeleteRequest { stage: Stage::Working, created_ms: 1, ..request("b") }).await.expect("written");
        let changes = two.reload().await.expect("read");
        assert_eq!((changes.new.len(), changes.gone.len(), changes.closed.len()), (2, 0, 0));
        assert_eq!(two.of_tenant(&tenant).iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(two.get(&tenant, "a"), Some(request("a")));
        one.remove(&request("a")).await.expect("removed");
        one.put(&DeleteRequest { stage: Stage::Processed, created_ms: 1, ..request("b") }).await.expect("written");
        let changes = two.reload().await.expect("read");
        assert_eq!((changes.new.len(), changes.gone[0].id.as_str(), changes.closed[0].id.as_str()), (0, "a", "b"));
        assert_eq!(two.len(), 1);
    }

    #[test]
    fn damage_and_newer_formats_are_named() {
        let check = |body: &str, expected: &str| {
            let error = decode("x.json", body.as_bytes()).expect_err("bad").to_string();
            assert!(error.contains("x.json") && error.contains(expected), "{error}");
        };
        check("{", "damaged");
        check(r#"{"format": 1}"#, "missing field");
        check(r#"{"format": 9, "tables": {}}"#, "start a newer millrace");
    }
}
