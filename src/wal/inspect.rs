//! Looks at a log without changing it, and mends what can be mended.
//!
//! ```text
//! segment: record record ✗✗✗✗ record …      ✗ = Gap: bytes that are no record
//!                        └─ intact records follow: damage; none do: the trace of a crash, or the end is lost
//! mended:  record record empty empty record    an empty record keeps the place of one that is lost
//! ```

use std::path::{Path, PathBuf};

use super::WalError;
use super::codec;
use super::replay::Record;
use super::segment::{self, SegmentFile};
use crate::types::ids::Lsn;

/// Records that are replaced by empty ones at most: more are not a log with a hole but another log.
const LOST_MAX: u64 = 10_000_000;

/// One segment as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    pub path: PathBuf,
    /// The first record it may hold, by its name.
    pub first: Lsn,
    /// The last intact record, if it has one.
    pub last: Option<Lsn>,
    /// Intact records.
    pub records: u64,
    pub bytes: u64,
    /// Where bytes that are no record begin, if there are any.
    pub damaged_at: Option<u64>,
    /// Numbers of records that ought to be here or before the next segment, and are not.
    pub lost: Vec<std::ops::Range<u64>>,
    /// Whether only the tail of the newest segment is bad: what a crash leaves, never acknowledged.
    pub is_torn: bool,
}

impl SegmentReport {
    pub fn is_intact(&self) -> bool {
        self.damaged_at.is_none() && self.lost.is_empty()
    }
}

/// What a segment is made of.
enum Piece {
    /// Its bytes, header included.
    Record { lsn: Lsn, bytes: std::ops::Range<usize> },
    /// Bytes that are no record.
    Gap { at: usize },
}

/// Reads all segments, and gives every intact record to `each`. Memory: one segment.
pub fn inspect(dir: &Path, mut each: impl FnMut(Record<'_>)) -> Result<Vec<SegmentReport>, WalError> {
    let segments = segment::list(dir)?;
    let mut reports = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        let content = std::fs::read(&segment.path).map_err(WalError::io(&segment.path))?;
        let next = segments.get(at + 1).map(|next| next.first);
        reports.push(look_at(segment, next, &content, &mut each));
    }
    Ok(reports)
}

fn look_at(
    segment: &SegmentFile,
    next: Option<Lsn>,
    content: &[u8],
    each: &mut impl FnMut(Record<'_>),
) -> SegmentReport {
    let mut report = SegmentReport {
        path: segment.path.clone(),
        first: segment.first,
        last: None,
        records: 0,
        bytes: content.len() as u64,
        damaged_at: None,
        lost: Vec::new(),
        is_torn: false,
    };
    let mut expected = segment.first;
    for piece in pieces(segment.first, next, content) {
        match piece {
            Piece::Gap { at } => {
                report.damaged_at.get_or_insert(at as u64);
            }
            Piece::Record { lsn, bytes } => {
                if lsn > expected {
                    report.lost.push(expected.0..lsn.0);
                }
                each(Record { lsn, payload: &content[bytes.start + codec::HEADER_BYTES..bytes.end] });
                report.records += 1;
                report.last = Some(lsn);
                expected = lsn.next();
            }
        }
    }
    match next {
        // The trace of a group that was given up: the next segment has its numbers.
        Some(next) if next == expected => report.damaged_at = report.damaged_at.filter(|_| !report.lost.is_empty()),
        Some(next) if next > expected => report.lost.push(expected.0..next.0),
        Some(_) => {}
        None => report.is_torn = report.damaged_at.is_some() && report.lost.is_empty(),
    }
    report
}

/// Records in order, and what lies between them.
fn pieces(first: Lsn, next: Option<Lsn>, content: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let header_bytes = segment::HEADER_BYTES as usize;
    let mut at = header_bytes;
    if content.get(..header_bytes) != Some(&segment::header(first)[..]) {
        pieces.push(Piece::Gap { at: 0 });
    }
    let mut expected = first;
    while at < content.len() {
        let is_next = |lsn: Lsn| lsn >= expected && next.is_none_or(|next| lsn < next);
        match record_at(content, at).filter(|(lsn, _)| is_next(*lsn)) {
            Some((lsn, end)) => {
                pieces.push(Piece::Record { lsn, bytes: at..end });
                expected = lsn.next();
                at = end;
            }
            None => {
                pieces.push(Piece::Gap { at });
                let rest = content.get(at + 1..).unwrap_or_default();
                let mut starts = memchr::memmem::find_iter(rest, &codec::MAGIC).map(|found| at + 1 + found);
                match starts.find(|start| record_at(content, *start).is_some_and(|(lsn, _)| is_next(lsn))) {
                    Some(start) => at = start,
                    None => break,
                }
            }
        }
    }
    pieces
}

fn record_at(content: &[u8], at: usize) -> Option<(Lsn, usize)> {
    let header = codec::decode_header(content.get(at..)?).ok()?;
    let start = at + codec::HEADER_BYTES;
    let end = start.checked_add(header.payload_bytes)?;
    codec::check_payload(&header, content.get(start..end)?).ok()?;
    Some((header.lsn, end))
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
    for piece in pieces(report.first, end, &content) {
        if let Piece::Record { lsn, bytes } = piece {
            fill(expected, lsn, &mut mended);
            mended.extend_from_slice(&content[bytes]);
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
    let kept = quarantine.join(path.file_name().unwrap_or_default());
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
    fn a_flipped_bit_costs_the_record_it_is_in() {
        for (first, lsn) in [(1, 1), (1, 5), (1, 9), (10, 10), (10, 15)] {
            let dir = log(&[1..10, 10..20]);
            damage(dir.path(), first, |content| content[offset(first, lsn) + codec::HEADER_BYTES] ^= 4);
            let reports = inspect(dir.path(), |_| {}).expect("read");
            let lost: Vec<u64> = reports.iter().flat_map(|report| report.lost.clone()).flatten().collect();
            assert_eq!(lost, [lsn], "record {lsn}");
            assert_eq!(mended(dir.path()), expected(1..20, &[lsn]));
        }
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
