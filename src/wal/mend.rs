//! Makes a damaged log whole: what can be read stays, what cannot is named and kept aside.
//!
//! ```text
//! segment: record record ✗✗✗✗ record …
//! mended:  record record empty empty record    an empty record keeps the place of one that is lost
//! ```

use std::path::{Path, PathBuf};

use super::WalError;
use super::codec;
use super::inspect::{Piece, SegmentReport, inspect, pieces};
use super::segment;
use crate::types::ids::Lsn;

/// Records that are replaced by empty ones at most: more are not a log with a hole but another log.
const LOST_MAX: u64 = 10_000_000;

/// What was wrong with a log, and is not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MendedLog {
    /// Damaged segments as they were, each with the place where it is kept; none for one that was gone.
    pub segments: Vec<(SegmentReport, Option<PathBuf>)>,
    /// Numbers of records that nobody has any more: they are in no segment and, being after `flushed`, in no file.
    pub lost: Vec<std::ops::Range<u64>>,
}

/// Makes a log whole before it is replayed: what can be read of damaged segments stays, and they are kept in
/// `quarantine`. Records up to `flushed` are in files already. `None` when nothing was wrong.
///
/// The caller holds the log's lock. A torn end is left to the replay. Memory: one segment.
pub fn mend_all(dir: &Path, quarantine: &Path, flushed: Lsn) -> Result<Option<MendedLog>, WalError> {
    let mut reports = inspect(dir, |_| {})?;
    let mut mended = MendedLog { segments: Vec::new(), lost: Vec::new() };
    match (reports.first().map(|first| first.first), reports.last_mut()) {
        (Some(first), _) if first > flushed.next() => mended.lost.push(flushed.next().0..first.0),
        (Some(_), Some(newest)) => {
            let end = newest.last.map_or(newest.first, Lsn::next);
            if end <= flushed {
                newest.lost.push(end.0..flushed.next().0);
                newest.is_torn = false;
            }
        }
        (None, _) if flushed.0 > 0 => {
            let path = segment::path_of(dir, flushed.next());
            write(&path, &segment::header(flushed.next()))?;
            let bytes = segment::HEADER_BYTES;
            let mut report = SegmentReport { bytes, ..SegmentReport::empty(path, flushed.next()) };
            report.lost.push(1..flushed.next().0);
            mended.segments.push((report, None));
        }
        _ => {}
    }
    for report in reports.into_iter().filter(|report| !report.is_intact() && !report.is_torn) {
        let kept = mend(&report, quarantine)?;
        let lost = report.lost.iter().map(|lost| lost.start.max(flushed.next().0)..lost.end);
        mended.lost.extend(lost.filter(|lost| !lost.is_empty()));
        mended.segments.push((report, Some(kept)));
    }
    Ok((!mended.segments.is_empty() || !mended.lost.is_empty()).then_some(mended))
}

/// As [`mend_all`], and says what was wrong. Answers how many records are lost.
pub fn make_whole(dir: &Path, quarantine: &Path, flushed: Lsn) -> Result<u64, WalError> {
    let Some(mended) = mend_all(dir, quarantine, flushed)? else { return Ok(0) };
    for (segment, kept) in &mended.segments {
        let path = segment.path.display().to_string();
        let corrected = segment.corrected.len();
        match kept {
            Some(kept) => tracing::error!(
                path,
                damaged_at = segment.damaged_at,
                corrected,
                kept = %kept.display(),
                "a segment of the write-ahead log was damaged; what can be read of it is served, and it is kept as it was"
            ),
            None => tracing::error!(
                path,
                "all segments of the write-ahead log are gone; a new one begins after what is in files"
            ),
        }
    }
    let lost = mended.lost.iter().map(|lost| lost.end - lost.start).sum();
    for records in &mended.lost {
        tracing::error!(first = records.start, last = records.end - 1, "records of the write-ahead log are lost");
    }
    Ok(lost)
}

/// Writes a damaged segment anew: intact records as they were, empty ones in place of those that are lost. The
/// damaged one is moved to `quarantine`. The log must not be open.
pub fn mend(report: &SegmentReport, quarantine: &Path) -> Result<PathBuf, WalError> {
    let lost = report.lost.iter().map(|lost| lost.end - lost.start).sum::<u64>();
    if lost > LOST_MAX {
        return Err(WalError::Gap {
            path: report.path.clone(),
            expected: report.first.0,
            found: report.first.0 + lost,
        });
    }
    let content = std::fs::read(&report.path).map_err(WalError::io(&report.path))?;
    let mut mended = segment::header(report.first).to_vec();
    let end = report.lost.last().map(|lost| Lsn(lost.end)).filter(|end| report.last.is_none_or(|last| *end > last));
    let mut expected = report.first;
    let fill =
        |from: Lsn, to: Lsn, out: &mut Vec<u8>| (from.0..to.0).for_each(|lost| codec::encode(Lsn(lost), &[], out));
    for piece in pieces(report.first, report.next, &content) {
        if let Piece::Record { lsn, bytes } = piece {
            fill(expected, lsn, &mut mended);
            mended.extend_from_slice(&bytes);
            expected = lsn.next();
        }
    }
    if let Some(end) = end {
        fill(expected, end, &mut mended);
    }
    let kept = move_aside(&report.path, quarantine)?;
    write(&report.path, &mended)?;
    Ok(kept)
}

fn move_aside(path: &Path, quarantine: &Path) -> Result<PathBuf, WalError> {
    std::fs::create_dir_all(quarantine).map_err(WalError::io(quarantine))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names = std::iter::once(name.clone()).chain((1_u32..).map(|number| format!("{name}.{number}")));
    let mut places = names.map(|name| quarantine.join(name));
    let kept = places.find(|place| !place.exists()).unwrap_or_else(|| quarantine.join(&name));
    std::fs::copy(path, &kept).map_err(WalError::io(&kept))?;
    Ok(kept)
}

fn write(path: &Path, content: &[u8]) -> Result<(), WalError> {
    let next = path.with_extension("mended");
    let written = std::fs::write(&next, content).and_then(|()| std::fs::File::open(&next)?.sync_all());
    written.and_then(|()| std::fs::rename(&next, path)).map_err(WalError::io(path))?;
    let parent = path.parent().unwrap_or(path);
    std::fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(WalError::io(parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::replay;

    /// Segments of records, each named `record <number>`.
    fn log(segments: &[std::ops::Range<u64>]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for records in segments {
            let mut content = segment::header(Lsn(records.start)).to_vec();
            records.clone().for_each(|lsn| codec::encode(Lsn(lsn), format!("record {lsn}").as_bytes(), &mut content));
            std::fs::write(segment::path_of(dir.path(), Lsn(records.start)), content).expect("written");
        }
        dir
    }

    fn damage(dir: &Path, segment: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let path = segment::path_of(dir, Lsn(segment));
        let mut content = std::fs::read(&path).expect("there");
        change(&mut content);
        std::fs::write(&path, content).expect("written");
    }

    /// Where a record begins in a segment that starts with `first`.
    fn offset(first: u64, lsn: u64) -> usize {
        let mut content = segment::header(Lsn(first)).to_vec();
        (first..lsn).for_each(|lsn| codec::encode(Lsn(lsn), format!("record {lsn}").as_bytes(), &mut content));
        content.len()
    }

    /// Mends all that is damaged; answers the records that a replay then gives.
    fn mended(dir: &Path) -> Vec<(u64, String)> {
        for report in inspect(dir, |_| {}).expect("read").iter().filter(|report| !report.is_intact() && !report.is_torn)
        {
            mend(report, &dir.join("quarantine")).expect("mended");
        }
        mended_records(dir)
    }

    fn mended_records(dir: &Path) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        replay(dir, |record| {
            found.push((record.lsn.0, String::from_utf8_lossy(record.payload).into_owned()));
            Ok::<_, WalError>(())
        })
        .expect("replays");
        found
    }

    fn expected(all: std::ops::Range<u64>, lost: &[u64]) -> Vec<(u64, String)> {
        all.map(|lsn| (lsn, if lost.contains(&lsn) { String::new() } else { format!("record {lsn}") })).collect()
    }

    #[test]
    fn what_is_intact_is_left_alone() {
        let dir = log(&[1..10, 10..20]);
        let reports = inspect(dir.path(), |_| {}).expect("read");
        assert!(reports.iter().all(SegmentReport::is_intact), "{reports:?}");
        assert_eq!(reports.iter().map(|report| report.records).sum::<u64>(), 19);
        assert_eq!(mended(dir.path()), expected(1..20, &[]));
    }

    #[test]
    fn two_flipped_bits_cost_the_record_they_are_in() {
        for (first, lsn) in [(1, 1), (1, 5), (1, 9), (10, 10), (10, 15)] {
            let dir = log(&[1..10, 10..20]);
            damage(dir.path(), first, |content| content[offset(first, lsn) + codec::HEADER_BYTES] ^= 5);
            let reports = inspect(dir.path(), |_| {}).expect("read");
            let lost: Vec<u64> = reports.iter().flat_map(|report| report.lost.clone()).flatten().collect();
            assert_eq!(lost, [lsn], "record {lsn}");
            assert_eq!(mended(dir.path()), expected(1..20, &[lsn]));
        }
    }

    #[test]
    fn a_flipped_bit_costs_nothing_wherever_it_is() {
        let whole = log(&[1..4, 4..7]);
        let segments =
            [1, 4].map(|first| (first, std::fs::read(segment::path_of(whole.path(), Lsn(first))).expect("there")));
        for (first, content) in &segments {
            for at in 0..content.len() {
                let dir = log(&[1..4, 4..7]);
                damage(dir.path(), *first, |content| content[at] ^= 1 << (at % 8));
                let quarantine = dir.path().join("quarantine");
                let mended = mend_all(dir.path(), &quarantine, Lsn(0)).expect("mended").expect("something was wrong");
                assert_eq!((mended.lost, mended.segments.len()), (vec![], 1), "byte {at} of segment {first}");
                assert_eq!(
                    mend_all(dir.path(), &quarantine, Lsn(0)).expect("read"),
                    None,
                    "byte {at} of segment {first}"
                );
                assert_eq!(mended_records(dir.path()), expected(1..7, &[]), "byte {at} of segment {first}");
            }
        }
    }

    #[test]
    fn a_log_joins_the_table_again_whatever_it_lacks() {
        let check = |segments: &[(u64, u64)], flushed: u64, lost: &[(u64, u64)], last: u64| {
            let dir = log(&segments.iter().map(|(first, end)| *first..*end).collect::<Vec<_>>());
            let mended = mend_all(dir.path(), &dir.path().join("quarantine"), Lsn(flushed)).expect("mended");
            let found = mended.map_or(Vec::new(), |mended| mended.lost);
            let found: Vec<_> = found.into_iter().map(|lost| (lost.start, lost.end)).collect();
            assert_eq!(found, lost, "{segments:?} {flushed}");
            let end = replay(dir.path(), |_| Ok::<_, WalError>(())).expect("replays");
            assert_eq!(end.last, Lsn(last), "{segments:?} {flushed}");
        };
        check(&[(1, 10), (10, 20)], 15, &[], 19);
        check(&[(1, 10), (10, 20)], 19, &[], 19);
        check(&[(1, 10), (10, 20)], 25, &[], 25);
        check(&[], 25, &[], 25);
        check(&[], 0, &[], 0);
        check(&[(30, 40)], 25, &[(26, 30)], 39);
        check(&[(1, 10), (15, 20)], 12, &[(13, 15)], 19);
        check(&[(1, 10), (15, 20)], 14, &[], 19);
    }

    #[test]
    fn a_bad_header_and_a_lost_end_are_mended() {
        let dir = log(&[1..10, 10..20]);
        damage(dir.path(), 1, |content| content[3] ^= 1);
        damage(dir.path(), 1, |content| content.truncate(offset(1, 8) + 3));
        let reports = inspect(dir.path(), |_| {}).expect("read");
        let lost: Vec<u64> = reports[0].lost.iter().cloned().flatten().collect();
        assert_eq!((reports[0].damaged_at, lost), (Some(0), vec![8, 9]));
        assert_eq!(mended(dir.path()), expected(1..20, &[8, 9]));
    }

    #[test]
    fn a_torn_tail_is_no_loss_and_a_missing_segment_is_bridged() {
        let dir = log(&[1..10, 10..20, 20..30]);
        damage(dir.path(), 20, |content| content.extend_from_slice(&[0x4d; 21]));
        let reports = inspect(dir.path(), |_| {}).expect("read");
        assert!(reports[2].is_torn && reports[2].lost.is_empty());
        std::fs::remove_file(segment::path_of(dir.path(), Lsn(10))).expect("removed");
        let reports = inspect(dir.path(), |_| {}).expect("read");
        let lost: Vec<u64> = reports[0].lost.iter().cloned().flatten().collect();
        assert_eq!(lost, (10..20).collect::<Vec<_>>(), "told with the segment before it");
        assert_eq!(mended(dir.path()), expected(1..30, &(10..20).collect::<Vec<_>>()));
    }
}
