//! Mends the log of commits where that costs nothing.
//!
//! ```text
//! one bit was flipped ─▶ flipped back        the newest commit is torn ─▶ moved aside: the table stands before it
//! ```

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::inspect::{LogObject, inspect, quarantine};
use super::log::{Log, version_name};
use super::{TableError, sum};

/// Writes a commit as it was before one of its bits was flipped. False when that is not what is wrong with it.
///
/// `store` is the raw one. The damaged commit is kept in `_quarantine`.
pub async fn correct_commit(store: &Arc<dyn ObjectStore>, root: &Path, version: u64) -> Result<bool, TableError> {
    let log = Log::new(store.clone(), root.clone());
    let place = log.path(&version_name(version));
    let body = store.get(&place).await?.bytes().await?;
    let Some(corrected) = sum::correct(&body) else { return Ok(false) };
    store.put(&log.path(&format!("_quarantine/{}", version_name(version))), body.into()).await?;
    store.put(&place, corrected.into()).await?;
    Ok(true)
}

/// Makes a log readable that no other process writes, if that costs nothing. Answers what was done; `None` when nothing
/// helps.
///
/// A newest commit that cannot be read is moved aside: the rows it named are in the write-ahead log or where they came
/// from, and a merge or a delete is done anew. `store` is the raw one.
pub async fn mend(store: &Arc<dyn ObjectStore>, root: &Path) -> Result<Option<Vec<String>>, TableError> {
    let Some(report) = inspect(store.clone(), root.clone()).await? else { return Ok(None) };
    let mut done = Vec::new();
    for damage in report.damage.iter().filter(|damage| damage.is_needed) {
        let LogObject::Commit(version) = damage.object else { return Ok(None) };
        if damage.is_missing() {
            return Ok(None);
        }
        if correct_commit(store, root, version).await? {
            done.push(format!("{}: {}; one bit of it was flipped back", damage.name, damage.reason));
        } else if Some(version) == report.newest {
            let kept = quarantine(store, root, &damage.name).await?;
            done.push(format!("{}: {}; moved to {kept}, the table stands before it", damage.name, damage.reason));
        } else {
            return Ok(None);
        }
    }
    Ok((!done.is_empty()).then_some(done))
}
