//! The commit log: commits, checkpoints, format.

use super::{DoctorError, Orders, Report, advice, repaired};
use crate::files::table::{
    LogDamage, LogObject, Table, TableError, TableSchema, TableSnapshot, correct_commit, inspect, quarantine,
};
use crate::store::Place;
use crate::types::time::Clock;

/// Answers the table as it can be read, if it can.
pub(super) async fn examine(
    place: &Place,
    schema: &TableSchema,
    orders: Orders,
    report: &mut Report,
) -> Result<Option<TableSnapshot>, DoctorError> {
    let (store, root) = (&place.table.store, &place.table.root);
    let Some(found) = inspect(store.clone(), root.clone()).await? else {
        report.saw("table: there is none yet");
        return Ok(None);
    };
    report.saw(format!(
        "table: {} commits and {} checkpoints, newest version {}",
        found.commits,
        found.checkpoints,
        found.newest.unwrap_or(0)
    ));
    let mut lost_checkpoint = false;
    for damage in &found.damage {
        let then = mend(place, damage, found.newest, orders).await?;
        lost_checkpoint |= matches!((&then, damage.object), (super::Then::Repaired(_), LogObject::Checkpoint(_)));
        let text = format!("{}: {}", damage.name, damage.reason);
        if damage.is_needed || matches!(damage.object, LogObject::Checkpoint(_)) {
            report.problem(text, then);
        } else {
            report.note(text, then);
        }
    }
    let snapshot = match TableSnapshot::read(store.clone(), root.clone()).await {
        Ok(snapshot) => snapshot,
        Err(error @ TableError::Store(_)) => return Err(error.into()),
        Err(error) => {
            report.problem(
                format!("the table cannot be read: {error}"),
                advice("restore it from a backup: `millrace backup restore`; its files are intact or listed below"),
            );
            return Ok(None);
        }
    };
    if lost_checkpoint {
        let (table, _) = Table::open_as(store.clone(), root.clone(), Clock::system(), schema).await?;
        let version = table.checkpoint().await?;
        report.saw(format!("table: a new checkpoint of version {version} was written"));
    }
    Ok(snapshot)
}

async fn mend(
    place: &Place,
    damage: &LogDamage,
    newest: Option<u64>,
    orders: Orders,
) -> Result<super::Then, DoctorError> {
    let is_missing = damage.is_missing();
    if let (LogObject::Commit(version), false, true) = (damage.object, is_missing, orders.repair)
        && correct_commit(&place.table.raw, &place.table.root, version).await?
    {
        return Ok(repaired("one bit of it was flipped: flipped back; the damaged one is in _quarantine"));
    }
    let can_go = match damage.object {
        LogObject::Checkpoint(_) => !damage.is_needed,
        LogObject::Commit(version) => !is_missing && (!damage.is_needed || Some(version) == newest),
    };
    Ok(match (can_go, orders.repair, damage.object) {
        (true, true, object) => {
            let to = quarantine(&place.table.raw, &place.table.root, &damage.name).await?;
            repaired(match object {
                LogObject::Checkpoint(_) => format!("moved to {to}; a new checkpoint is written"),
                LogObject::Commit(_) if damage.is_needed => format!(
                    "moved to {to}; the table stands at the version before it, and the write-ahead log still has its rows unless it is said below that it does not join"
                ),
                LogObject::Commit(_) => format!("moved to {to}; a checkpoint holds what it said"),
            })
        }
        (true, false, LogObject::Commit(_)) if damage.is_needed => advice(
            "it is the newest, as a power loss may leave it: --repair, or the next start, moves it away, and the write-ahead log has its rows",
        ),
        (true, false, _) => advice("nothing of it is needed; --repair moves it away"),
        (false, _, _) if damage.is_needed => advice(
            "the table cannot be read past it: --repair, if a single bit was flipped; else restore the file or the whole from a backup",
        ),
        (false, _, _) => advice("nothing of it is needed: a checkpoint holds what it said"),
    })
}
