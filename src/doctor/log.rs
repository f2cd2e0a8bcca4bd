//! The write-ahead log: segments, records, and whether it joins the table.

use std::path::Path;

use super::{DoctorError, Orders, Report, Then, advice, repaired};
use crate::files::table::TableSnapshot;
use crate::seal::SealError;
use crate::seal::record::{self, RecordOpener};
use crate::store::Place;
use crate::types::batch::LogBatch;
use crate::wal::{SegmentReport, inspect, mend};

/// Begins the names under which logs are known in tables.
const IDENTITY_PREFIX: &str = "millrace-wal-";

pub(super) fn examine(
    place: &Place,
    snapshot: Option<&TableSnapshot>,
    orders: Orders,
    is_locked: bool,
    report: &mut Report,
) -> Result<(), DoctorError> {
    let dir = place.data_dir.join("wal");
    if !dir.is_dir() {
        report.saw(format!("write-ahead log: there is none in {}", place.data_dir.display()));
        return Ok(());
    }
    let mut opener = place.sealing.as_ref().map(|s| RecordOpener::new(s.keys.clone(), s.allow_plain));
    let mut unreadable: Option<(u64, String)> = None;
    let mut unreadable_records = 0_u64;
    let segments = inspect(&dir, |found| {
        if let Err(reason) = check_record(opener.as_mut(), found.lsn.0, found.payload) {
            unreadable.get_or_insert((found.lsn.0, reason));
            unreadable_records += 1;
        }
    })?;
    report.saw(format!(
        "write-ahead log: {} segments, {} records, {} bytes",
        segments.len(),
        segments.iter().map(|segment| segment.records).sum::<u64>(),
        segments.iter().map(|segment| segment.bytes).sum::<u64>()
    ));
    let identity = identity(&dir, snapshot, !segments.is_empty(), orders, report)?;
    let flushed = identity.and_then(|id| snapshot?.recorded(&id)).and_then(|lsn| u64::try_from(lsn).ok()).unwrap_or(0);
    let quarantine = place.data_dir.join("quarantine");
    for segment in segments.iter().filter(|segment| !segment.is_intact()) {
        if segment.is_torn && !is_locked {
            continue;
        }
        examine_segment(segment, flushed, &quarantine, orders, report)?;
    }
    if let Some((lsn, reason)) = unreadable {
        report.problem(
            format!("{unreadable_records} records of the log cannot be read, the first is {lsn}: {reason}"),
            advice("give the right keys, or the program that wrote them"),
        );
    }
    let last = segments
        .iter()
        .filter_map(|segment| segment.last)
        .max()
        .map_or_else(|| segments.last().map_or(0, |segment| segment.first.0.saturating_sub(1)), |last| last.0);
    if flushed > last && !segments.is_empty() || flushed > 0 && segments.is_empty() {
        let what = format!(
            "the table has the records up to {flushed} of this log, but the log ends at {last}: segments were removed; a server begins a new one after them"
        );
        report.problem(what, begin_anew(&dir, &quarantine, orders)?);
    }
    if let Some(first) = segments.first().map(|segment| segment.first.0).filter(|first| *first > flushed + 1) {
        report.problem(
            format!("records {}..={} of the log are in no file and no segment: they are lost", flushed + 1, first - 1),
            advice("restore a backup beside it and look for them there"),
        );
    }
    Ok(())
}

fn check_record(opener: Option<&mut RecordOpener>, lsn: u64, payload: &[u8]) -> Result<(), String> {
    if payload.is_empty() {
        return Ok(());
    }
    let opened = match opener {
        Some(opener) => opener.open(lsn, payload).map_err(|error| error.to_string())?,
        None if record::is_sealed(payload) => return Err(SealError::NoKeys.to_string()),
        None => payload.to_vec(),
    };
    LogBatch::decode(&opened).map(|_| ()).map_err(|error| error.to_string())
}

fn examine_segment(
    segment: &SegmentReport,
    flushed: u64,
    quarantine: &Path,
    orders: Orders,
    report: &mut Report,
) -> Result<(), DoctorError> {
    let name = segment.path.display();
    if segment.is_torn {
        let at = segment.damaged_at.unwrap_or(segment.bytes);
        let what = format!(
            "{name}: the {} bytes after byte {at} are no record: what a crash leaves, never acknowledged",
            segment.bytes - at
        );
        let then = if orders.repair {
            let cut = std::fs::OpenOptions::new().write(true).open(&segment.path);
            let cut = cut.and_then(|file| file.set_len(at).and_then(|()| file.sync_all()));
            cut.map_err(|source| DoctorError::Io { path: segment.path.clone(), source })?;
            repaired("cut off")
        } else {
            advice("nothing: the next start cuts them off")
        };
        report.note(what, then);
        return Ok(());
    }
    let at = segment.damaged_at.map_or(String::new(), |at| format!(" at byte {at}"));
    let lost: Vec<String> = segment.lost.iter().map(|lost| format!("{}..={}", lost.start, lost.end - 1)).collect();
    let lost_rows = segment.lost.iter().any(|lost| lost.end > flushed + 1);
    let corrected: Vec<String> = segment.corrected.iter().map(|lsn| lsn.0.to_string()).collect();
    let corrected = match corrected.is_empty() {
        true => String::new(),
        false => {
            format!("; one bit was flipped in each of the records {}, which can be flipped back", corrected.join(", "))
        }
    };
    let what = match lost.is_empty() {
        true => format!("{name} is damaged{at}; no record is lost{corrected}"),
        false => format!(
            "{name} is damaged{at}: records {} are lost{}{corrected}",
            lost.join(", "),
            if lost_rows { "" } else { ", but all of them are in files already" }
        ),
    };
    let then = if orders.repair {
        let kept = mend(segment, quarantine)?;
        repaired(format!("written anew with the intact records; the damaged one is {}", kept.display()))
    } else {
        advice(
            "restore the segment from a backup; or --repair, and each start, keeps the intact records and goes on without the others",
        )
    };
    report.problem(what, then);
    Ok(())
}

/// The name of the log, found again in the table if its file is gone.
fn identity(
    dir: &Path,
    snapshot: Option<&TableSnapshot>,
    has_segments: bool,
    orders: Orders,
    report: &mut Report,
) -> Result<Option<String>, DoctorError> {
    let path = dir.join("IDENTITY");
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(Some(text.trim().to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(DoctorError::Io { path, source }),
    }
    if !has_segments {
        return Ok(None);
    }
    let known: Vec<&String> = snapshot.into_iter().flat_map(TableSnapshot::applications).map(|(id, _)| id).collect();
    let known: Vec<&&String> = known.iter().filter(|id| id.starts_with(IDENTITY_PREFIX)).collect();
    let what = format!(
        "{} is missing: without the log's name, rows that are in files already would be taken for new ones",
        path.display()
    );
    let [only] = known.as_slice() else {
        let choices = known.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
        report.problem(what, advice(format!("restore it from a backup; the table knows these logs: {choices}")));
        return Ok(None);
    };
    if !orders.repair {
        report.problem(what, advice(format!("the table knows one log, {only}: --repair writes its name there")));
        return Ok(Some((**only).clone()));
    }
    std::fs::write(&path, only.as_bytes()).map_err(|source| DoctorError::Io { path, source })?;
    report.problem(what, repaired(format!("written anew: {only}, the one log that the table knows")));
    Ok(Some((**only).clone()))
}

/// Everything that is left of the log is in files: a new one may begin.
fn begin_anew(dir: &Path, quarantine: &Path, orders: Orders) -> Result<Then, DoctorError> {
    if !orders.repair {
        return Ok(advice("all that is left of the log is in files: --repair moves it away, and a new log begins"));
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DoctorError::Io { path, source }
    };
    std::fs::create_dir_all(quarantine).map_err(failed(quarantine))?;
    for (_, path) in crate::wal::segments(dir)? {
        std::fs::rename(&path, quarantine.join(path.file_name().unwrap_or_default())).map_err(failed(&path))?;
    }
    let identity = dir.join("IDENTITY");
    std::fs::rename(&identity, quarantine.join("IDENTITY")).map_err(failed(&identity))?;
    Ok(repaired(format!("moved to {}; a new log begins with the next start", quarantine.display())))
}
