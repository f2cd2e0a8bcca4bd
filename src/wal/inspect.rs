//! Looks at a log without changing it.
//!
//! ```text
//! segment: record record ✗✗✗✗ record …      ✗ = Gap: bytes that are no record
//!                        └─ intact records follow: damage; none do: the trace of a crash, or the end is lost
//! ```
//!
//! A record in which one bit was flipped is found by its checksum and read as it was.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::WalError;
use super::codec;
use super::replay::Record;
use super::segment::{self, SegmentFile};
use crate::types::ids::Lsn;

/// One segment as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    pub path: PathBuf,
    /// The first record it may hold, by its name.
    pub first: Lsn,
    /// The first record of the segment that follows, if one does.
    pub next: Option<Lsn>,
    /// The last intact record, if it has one.
    pub last: Option<Lsn>,
    /// Intact records.
    pub records: u64,
    pub bytes: u64,
    /// Records in which one bit was flipped: they are read as they were written.
    pub corrected: Vec<Lsn>,
    /// Where bytes that are no record begin, if there are any.
    pub damaged_at: Option<u64>,
    /// Numbers of records that ought to be here or before the next segment, and are not.
    pub lost: Vec<std::ops::Range<u64>>,
    /// Whether only the tail of the newest segment is bad: what a crash leaves, never acknowledged.
    pub is_torn: bool,
}

impl SegmentReport {
    pub(super) fn empty(path: PathBuf, first: Lsn) -> Self {
        SegmentReport {
            path,
            first,
            next: None,
            last: None,
            records: 0,
            bytes: 0,
            corrected: Vec::new(),
            damaged_at: None,
            lost: Vec::new(),
            is_torn: false,
        }
    }

    pub fn is_intact(&self) -> bool {
        self.damaged_at.is_none() && self.lost.is_empty() && self.corrected.is_empty()
    }
}

/// What a segment is made of.
pub(super) enum Piece<'a> {
    /// Its bytes, header included; owned when a bit had to be flipped back.
    Record { lsn: Lsn, bytes: Cow<'a, [u8]> },
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
    let bytes = content.len() as u64;
    let mut report = SegmentReport { next, bytes, ..SegmentReport::empty(segment.path.clone(), segment.first) };
    let mut expected = segment.first;
    let (mut gaps, mut ends_in_gap) = (0, false);
    for piece in pieces(segment.first, next, content) {
        ends_in_gap = matches!(piece, Piece::Gap { .. });
        match piece {
            Piece::Gap { at } => {
                gaps += 1;
                report.damaged_at.get_or_insert(at as u64);
            }
            Piece::Record { lsn, bytes } => {
                if lsn > expected {
                    report.lost.push(expected.0..lsn.0);
                }
                if matches!(bytes, Cow::Owned(_)) {
                    report.corrected.push(lsn);
                }
                each(Record { lsn, payload: &bytes[codec::HEADER_BYTES..] });
                report.records += 1;
                report.last = Some(lsn);
                expected = lsn.next();
            }
        }
    }
    let is_only_the_end = gaps == 1 && ends_in_gap && report.lost.is_empty() && report.corrected.is_empty();
    match next {
        // The trace of a group that was given up: the next segment has its numbers.
        Some(next) if next == expected => report.damaged_at = report.damaged_at.filter(|_| !is_only_the_end),
        Some(next) if next > expected => report.lost.push(expected.0..next.0),
        Some(_) => {}
        None => report.is_torn = is_only_the_end,
    }
    report
}

/// Records in order, and what lies between them.
pub(super) fn pieces(first: Lsn, next: Option<Lsn>, content: &[u8]) -> Vec<Piece<'_>> {
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
                pieces.push(Piece::Record { lsn, bytes: Cow::Borrowed(&content[at..end]) });
                expected = lsn.next();
                at = end;
            }
            None => {
                let rest = content.get(at + 1..).unwrap_or_default();
                let mut starts = memchr::memmem::find_iter(rest, &codec::MAGIC).map(|found| at + 1 + found);
                let start = starts.find(|start| record_at(content, *start).is_some_and(|(lsn, _)| is_next(lsn)));
                let end = start.unwrap_or(content.len());
                match codec::correct(expected, &content[at..end]).filter(|_| next.is_none_or(|next| expected < next)) {
                    Some(record) => {
                        pieces.push(Piece::Record { lsn: expected, bytes: Cow::Owned(record) });
                        expected = expected.next();
                    }
                    None => pieces.push(Piece::Gap { at }),
                }
                at = end;
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
