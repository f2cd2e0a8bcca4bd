//! The ends of a writer's chains, signed and kept apart from the rows: without them, a chain that was cut short would
//! look like a whole one.
//!
//! One object a writer, `_millrace/audit/<writer>.json` beside the table:
//!
//! ```text
//! {"heads": {"format":1, "writer":…, "at":…, "chains": {tenant: {seq, hash, at_ns}}}, "signature": {…}}
//! ```
//!
//! What a signature does not show is that an older object, and older rows, were put in place of the newest ones: the log
//! of the server and `millrace_audit_records` say the same ends to those who keep them elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::chain::Link;
use crate::upkeep::deletes::{CertificateError, Signature, SigningKey};

const FORMAT: u32 = 1;
const DIRECTORY: &str = "_millrace";

/// Ends of the chains of one writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    pub format: u32,
    pub writer: String,
    /// When they were written, RFC 3339.
    pub at: String,
    /// By tenant.
    pub chains: BTreeMap<String, Link>,
}

/// Heads whose signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeads {
    pub heads: Heads,
    /// Whose: compare it with the key you trust.
    pub public_key: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    heads: Box<RawValue>,
    signature: Signature,
}

/// Why heads cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    #[error("the heads of the audit trail: {0}")]
    Store(#[from] object_store::Error),
    #[error("{path}: {source}")]
    Signature { path: String, source: CertificateError },
    #[error("{path} has format {format}; this program knows up to {FORMAT}: start a newer millrace")]
    Newer { path: String, format: u32 },
}

impl Heads {
    pub fn new(writer: &str, at: String, chains: BTreeMap<String, Link>) -> Self {
        Heads { format: FORMAT, writer: writer.to_owned(), at, chains }
    }
}

/// Writes a writer's heads.
pub async fn put(store: &Arc<dyn ObjectStore>, root: &Path, heads: &Heads, key: &SigningKey) -> Result<(), HeadsError> {
    let body = sign(heads, key).map_err(|source| HeadsError::Signature { path: heads.writer.clone(), source })?;
    store.put(&place(root, &heads.writer), body.into()).await?;
    Ok(())
}

/// The heads of one writer, if it wrote any.
pub async fn get(store: &Arc<dyn ObjectStore>, root: &Path, writer: &str) -> Result<Option<SignedHeads>, HeadsError> {
    let path = place(root, writer);
    match store.get(&path).await {
        Ok(found) => Ok(Some(read(path.as_ref(), &found.bytes().await?)?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Puts aside heads that are not good, so that they can be looked at.
pub async fn set_aside(store: &Arc<dyn ObjectStore>, root: &Path, writer: &str, at_ns: i64) -> Result<(), HeadsError> {
    let (from, to) = (place(root, writer), directory(root).join(format!("{writer}.refused-{at_ns}")));
    Ok(store.rename(&from, &to).await?)
}

/// The heads of all writers; of each object that is not good, the reason.
pub async fn all(store: &Arc<dyn ObjectStore>, root: &Path) -> Result<(Vec<SignedHeads>, Vec<HeadsError>), HeadsError> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let mut objects = store.list(Some(&directory(root)));
    while let Some(object) = objects.try_next().await? {
        if object.location.extension() != Some("json") {
            continue;
        }
        let body = store.get(&object.location).await?.bytes().await?;
        match read(object.location.as_ref(), &body) {
            Ok(heads) => good.push(heads),
            Err(error) => bad.push(error),
        }
    }
    Ok((good, bad))
}

fn sign(heads: &Heads, key: &SigningKey) -> Result<Vec<u8>, CertificateError> {
    let heads = serde_json::value::to_raw_value(heads)?;
    let signature = key.signature_of(heads.get().as_bytes());
    Ok(serde_json::to_vec(&Stored { heads, signature })?)
}

fn read(path: &str, body: &[u8]) -> Result<SignedHeads, HeadsError> {
    let bad = |source: CertificateError| HeadsError::Signature { path: path.to_owned(), source };
    let stored: Stored = serde_json::from_slice(body).map_err(|error| bad(error.into()))?;
    stored.signature.check(stored.heads.get().as_bytes()).map_err(bad)?;
    let heads: Heads = serde_json::from_str(stored.heads.get()).map_err(|error| bad(error.into()))?;
    if heads.format > FORMAT {
        return Err(HeadsError::Newer { path: path.to_owned(), format: heads.format });
    }
    Ok(SignedHeads { heads, public_key: stored.signature.public_key })
}

fn place(root: &Path, writer: &str) -> Path {
    directory(root).join(format!("{writer}.json"))
}

fn directory(root: &Path) -> Path {
    root.clone().join(DIRECTORY).join("audit")
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn heads_come_back_and_forged_ones_do_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = SigningKey::open_or_make(&directory.path().join("audit.pem")).expect("made");
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = Path::from("logs");
        let link = Link { seq: 7, hash: "ab".to_owned(), at_ns: 5 };
        let heads = Heads::new("w1", "2026-01-15T10:00:00Z".to_owned(), [("fake".to_owned(), link)].into());
        assert!(get(&store, &root, "w1").await.expect("read").is_none());
        put(&store, &root, &heads, &key).await.expect("written");
        let signed = SignedHeads { heads, public_key: key.public_key() };
        assert_eq!(get(&store, &root, "w1").await.expect("read"), Some(signed.clone()));
        let body = store.get(&place(&root, "w1")).await.expect("there").bytes().await.expect("read");
        let forged = String::from_utf8_lossy(&body).replace("\"seq\":7", "\"seq\":6");
        store.put(&place(&root, "w2"), forged.into_bytes().into()).await.expect("written");
        assert!(matches!(get(&store, &root, "w2").await, Err(HeadsError::Signature { .. })));
        let (good, bad) = all(&store, &root).await.expect("listed");
        assert_eq!((good, bad.len()), (vec![signed], 1));
        set_aside(&store, &root, "w2", 9).await.expect("moved");
        assert_eq!(all(&store, &root).await.expect("listed").1.len(), 0);
    }
}
