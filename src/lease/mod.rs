//! Leases: who does what one process alone shall do of those that share a table's store.
//!
//! ```text
//! ROOT/_leases/compaction/00000000000000000042.json     put if absent: the name is the lock, as in the table's log
//! ```
//!
//! The protocol and why it is safe: `protocol`. What is done under a lease still goes through the table's commits,
//! which refuse what another did meanwhile: a process that was stopped while it held a lease can do no harm when it
//! goes on.
//!
//! Works on every store that has put-if-absent. Costs, by the day with terms of 30 s: 12,000 puts, as many lists and
//! deletes of the holder; a list every 7.5 s of every other process.

mod protocol;
#[cfg(test)]
mod simulation;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use protocol::{Act, Protocol, Record};

/// Folder of all leases under the table's root.
const FOLDER: &str = "_leases";
/// Numbers behind the newest that are left lying: who is slow sees that there are newer ones.
const NUMBERS_KEPT: u64 = 4;
/// Bytes of a record at most; more is no record.
const RECORD_BYTES_MAX: u64 = 4 << 10;
/// Pause after the store failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A lease as this process sees it. Cheap to share.
#[derive(Debug)]
pub struct Lease {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    name: &'static str,
    started: Instant,
    protocol: Mutex<Protocol>,
}

/// Why it is not known who has a lease.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("{object} is no lease: {reason}")]
    Damaged { object: Path, reason: String },
}

impl Lease {
    /// The lease `name` of the table at `root`. `label` tells people which process this is.
    pub fn new(store: Arc<dyn ObjectStore>, root: &Path, name: &'static str, label: &str, term: Duration) -> Arc<Self> {
        let me = format!("{label} {}", uuid::Uuid::new_v4());
        let term = u64::try_from(term.as_millis()).unwrap_or(u64::MAX);
        let protocol = Mutex::new(Protocol::new(me, term));
        let folder = root.clone().join(FOLDER).join(name);
        Arc::new(Lease { store, folder, name, started: Instant::now(), protocol })
    }

    /// The number under which this process holds it now; every later holder has a greater one.
    pub fn held(&self) -> Option<u64> {
        self.protocol.lock().held(self.now())
    }

    /// Who has it, as far as this process knows.
    pub fn holder(&self) -> Option<String> {
        self.protocol.lock().holder(self.now()).map(str::to_owned)
    }

    /// Takes it whenever it is free, and renews it, until `stop`; then gives it back.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut was_held = false;
        while !stop.is_cancelled() {
            let step = async {
                match self.step().await {
                    Ok(None) => {}
                    Ok(Some(rest)) => tokio::time::sleep(rest).await,
                    Err(error) => {
                        tracing::warn!(%error, lease = self.name, "who has a lease is not known; trying again");
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
            };
            tokio::select! {
                () = step => {}
                () = stop.cancelled() => break,
            }
            let is_held = self.held().is_some();
            if is_held != was_held {
                let holder = self.holder();
                tracing::info!(lease = self.name, is_held, ?holder, "a lease changed hands");
            }
            was_held = is_held;
        }
        let given_back = self.protocol.lock().give_back(self.now());
        if let Some((number, record)) = given_back
            && let Err(error) = self.put(number, &record).await
        {
            tracing::debug!(%error, lease = self.name, "a lease was not given back; it ends by itself");
        }
    }

    /// Does what is next; answers how long to rest.
    async fn step(&self) -> Result<Option<Duration>, LeaseError> {
        let act = self.protocol.lock().act(self.now());
        match act {
            Act::RestUntil(until) => return Ok(Some(Duration::from_millis(until.saturating_sub(self.now()).max(1)))),
            Act::Look => {
                let newest = self.newest().await?;
                self.protocol.lock().looked(self.now(), newest);
            }
            Act::Put(number) => {
                let record = self.protocol.lock().asks(number, self.now());
                // Whose it is tells the look that follows, also after a failure.
                match self.put(number, &record).await {
                    Ok(()) => self.forget(number).await,
                    Err(object_store::Error::AlreadyExists { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(None)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn path(&self, number: u64) -> Path {
        self.folder.clone().join(format!("{number:020}.json"))
    }

    async fn put(&self, number: u64, record: &Record) -> Result<(), object_store::Error> {
        let body = serde_json::to_vec(record).expect("texts and numbers always serialise");
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.store.put_opts(&self.path(number), body.into(), options).await.map(drop)
    }

    /// The newest number there is, and what it says.
    async fn newest(&self) -> Result<Option<(u64, Record)>, LeaseError> {
        let objects: Vec<_> = self.store.list(Some(&self.folder)).try_collect().await?;
        let number_of =
            |object: &object_store::ObjectMeta| object.location.filename()?.strip_suffix(".json")?.parse::<u64>().ok();
        let newest = objects.iter().filter_map(|object| Some((number_of(object)?, object))).max_by_key(|(n, _)| *n);
        let Some((number, object)) = newest else { return Ok(None) };
        let damaged = |reason: String| LeaseError::Damaged { object: object.location.clone(), reason };
        if object.size > RECORD_BYTES_MAX {
            return Err(damaged(format!("it has {} bytes", object.size)));
        }
        let body = self.store.get(&object.location).await?.bytes().await?;
        let record = serde_json::from_slice(&body).map_err(|error| damaged(error.to_string()))?;
        Ok(Some((number, record)))
    }

    /// Removes a number that nobody needs any more.
    async fn forget(&self, newest: u64) {
        let Some(old) = newest.checked_sub(NUMBERS_KEPT).filter(|old| *old > 0) else { return };
        match self.store.delete(&self.path(old)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => tracing::debug!(%error, lease = self.name, "an old number of a lease is left lying"),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn until(mut holds: impl FnMut() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("in time");
    }

    #[tokio::test]
    async fn it_goes_from_hand_to_hand() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = Path::from("table");
        let lease = |label| Lease::new(store.clone(), &root, "compaction", label, Duration::from_millis(400));
        let (a, b) = (lease("a"), lease("b"));
        let (stop_a, stop_b) = (CancellationToken::new(), CancellationToken::new());
        let of_a = tokio::spawn(a.clone().keep(stop_a.clone()));
        until(|| a.held().is_some()).await;
        let first = a.held();
        let of_b = tokio::spawn(b.clone().keep(stop_b.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(a.held() > first && b.held().is_none(), "renewed, and not taken");
        assert!(b.holder().is_some_and(|holder| holder.starts_with("a ")));
        // Given back, it is had at once by the next; lost, after its term.
        stop_a.cancel();
        of_a.await.expect("it ends");
        until(|| b.held().is_some()).await;
        assert!(a.held().is_none());
        let number = b.held();
        of_b.abort();
        let c = lease("c");
        let stop_c = CancellationToken::new();
        let of_c = tokio::spawn(c.clone().keep(stop_c.clone()));
        until(|| c.held().is_some()).await;
        assert!(c.held() > number && b.held().is_none());
        stop_c.cancel();
        of_c.await.expect("it ends");
        let left: Vec<_> = store.list(None).try_collect().await.expect("listed");
        assert!(left.len() <= NUMBERS_KEPT as usize + 2, "{left:?}");
    }

    #[tokio::test]
    async fn what_is_no_lease_is_told() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let lease = Lease::new(store.clone(), &Path::from("table"), "rules", "a", Duration::from_secs(1));
        store.put(&lease.path(7), "nonsense".into()).await.expect("put");
        let error = lease.step().await.expect_err("it cannot be read");
        assert!(
            error.to_string().starts_with("table/_leases/rules/00000000000000000007.json is no lease: "),
            "{error}"
        );
        assert_eq!(lease.held(), None);
    }
}
