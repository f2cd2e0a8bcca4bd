//! Reads a log back, one record at a time, and cuts off a torn tail.
//!
//! A record that does not check out ends its segment. In the last segment that is a write that a crash cut
//! short: the file is cut there, unless intact records follow, which is damage. In an earlier segment it is the
//! trace of a write that failed and was given up: the next segment must then start with the very next record.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read};
use std::path::Path;

use super::WalError;
use super::codec::{self, Damage};
use super::segment::{self, SegmentFile};
use crate::seal::SealError;
use crate::seal::record::{self, RecordOpener};
use crate::types::ids::Lsn;

/// One replayed record.
#[derive(Debug)]
pub struct Record<'a> {
    pub lsn: Lsn,
    pub payload: &'a [u8],
}

/// The payload of a record as it was appended. Without an `opener`, sealed records are an error.
pub fn open_record<'a>(
    opener: Option<&mut RecordOpener>,
    record: &Record<'a>,
) -> Result<std::borrow::Cow<'a, [u8]>, WalError> {
    let sealed = |source| WalError::Sealed { lsn: record.lsn.0, source };
    match opener {
        Some(opener) => opener.open(record.lsn.0, record.payload).map(std::borrow::Cow::Owned).map_err(sealed),
        None if record::is_sealed(record.payload) => Err(sealed(SealError::NoKeys)),
        None => Ok(std::borrow::Cow::Borrowed(record.payload)),
    }
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    /// The last record there is; `Lsn(0)` when there never was one.
    pub last: Lsn,
    pub records: u64,
    /// Bytes cut off the last segment.
    pub torn_bytes: u64,
}

/// Calls `each` with every record, in order. Memory: one record at a time.
///
/// # Errors
/// `Corrupt` and `Gap` for damage that is no torn tail; what `each` answers ends the replay.
pub fn replay<E: From<WalError>>(dir: &Path, mut each: impl FnMut(Record<'_>) -> Result<(), E>) -> Result<LogEnd, E> {
    let segments = segment::list(dir)?;
    let mut end = LogEnd { last: Lsn(0), records: 0, torn_bytes: 0 };
    for (at, segment) in segments.iter().enumerate() {
        let expected = if at == 0 { segment.first } else { end.last.next() };
        if segment.first != expected {
            return Err(
                WalError::Gap { path: segment.path.clone(), expected: expected.0, found: segment.first.0 }.into()
            );
        }
        end.last = Lsn(segment.first.0.saturating_sub(1));
        let until = segments.get(at + 1).map(|next| next.first);
        let good_bytes = read_segment(segment, until, &mut end, &mut each)?;
        if at + 1 == segments.len() {
            end.torn_bytes = cut_tail(segment, good_bytes)?;
        }
    }
    Ok(end)
}

/// Reads records until one does not check out; answers the bytes of those that did.
fn read_segment<E: From<WalError>>(
    segment: &SegmentFile,
    until: Option<Lsn>,
    end: &mut LogEnd,
    each: &mut impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<u64, E> {
    let file = File::open(&segment.path).map_err(WalError::io(&segment.path))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; segment::HEADER_BYTES as usize];
    if !fill(&mut reader, &mut header).map_err(WalError::io(&segment.path))? || header != segment::header(segment.first)
    {
        return Ok(0);
    }
    let mut good_bytes = segment::HEADER_BYTES;
    let mut payload = Vec::new();
    loop {
        let mut header = [0; codec::HEADER_BYTES];
        if !fill(&mut reader, &mut header).map_err(WalError::io(&segment.path))? {
            return Ok(good_bytes);
        }
        let Ok(header) = codec::decode_header(&header) else {
            return Ok(good_bytes);
        };
        payload.clear();
        let wanted = header.payload_bytes as u64;
        let got = (&mut reader).take(wanted).read_to_end(&mut payload).map_err(WalError::io(&segment.path))?;
        if codec::check_payload(&header, &payload).is_err() || header.lsn != end.last.next() {
            return Ok(good_bytes);
        }
        if until.is_some_and(|next| header.lsn >= next) {
            // A group that was given up, in a file that could not be cut: the next segment has its numbers.
            return Ok(good_bytes);
        }
        each(Record { lsn: header.lsn, payload: &payload })?;
        end.last = header.lsn;
        end.records += 1;
        good_bytes += (codec::HEADER_BYTES + got) as u64;
    }
}

/// Fills `buffer`; false at a clean or early end.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Cuts what follows `good_bytes` off the last segment, if it is the trace of a crash.
fn cut_tail(segment: &SegmentFile, good_bytes: u64) -> Result<u64, WalError> {
    let bytes = std::fs::metadata(&segment.path).map_err(WalError::io(&segment.path))?.len();
    if bytes == good_bytes {
        return Ok(0);
    }
    let content = std::fs::read(&segment.path).map_err(WalError::io(&segment.path))?;
    let tail = &content[usize::try_from(good_bytes).unwrap_or(usize::MAX).min(content.len())..];
    if has_intact_record(tail) {
        return Err(WalError::Corrupt { path: segment.path.clone(), offset: good_bytes });
    }
    tracing::warn!(segment = %segment.path.display(), offset = good_bytes, bytes = tail.len(), "cut a torn tail off the write-ahead log; it was never acknowledged");
    let file = OpenOptions::new().write(true).open(&segment.path).map_err(WalError::io(&segment.path))?;
    file.set_len(good_bytes).and_then(|()| file.sync_all()).map_err(WalError::io(&segment.path))?;
    Ok(bytes - good_bytes)
}

fn has_intact_record(tail: &[u8]) -> bool {
    memchr::memmem::find_iter(tail, &codec::MAGIC).skip_while(|at| *at == 0).any(|at| {
        let record = &tail[at..];
        let Ok(header) = codec::decode_header(record) else {
            return false;
        };
        let payload = record.get(codec::HEADER_BYTES..codec::HEADER_BYTES + header.payload_bytes).ok_or(Damage::Short);
        payload.and_then(|payload| codec::check_payload(&header, payload)).is_ok()
    })
}
