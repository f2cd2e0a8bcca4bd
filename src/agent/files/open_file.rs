//! One open file of a path: which file it is, how far it was read, and the beginning of a line without its end.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use xxhash_rust::xxh64::xxh64;

use crate::agent::positions::PartId;

/// First bytes by which a file is told from another that got its inode; few, because they are read again and again.
const HEAD_BYTES_MAX: usize = 256;
/// A longer line goes on in parts of this size; Loki takes 256 KB by default.
const LINE_BYTES_MAX: usize = 2 << 20;

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// How many first bytes `head` is over.
    pub(super) head_bytes: usize,
    pub(super) head: u64,
}

impl Identity {
    /// As kept in the positions file: with the offset, `device.inode.head_bytes.head.offset`.
    pub(super) fn note(&self) -> String {
        format!("{}.{}.{}.{:x}", self.device, self.inode, self.head_bytes, self.head)
    }

    /// Reads `note.offset`.
    pub(super) fn parse(text: &str) -> Option<(Identity, u64)> {
        let parts: Vec<&str> = text.split('.').collect();
        let [device, inode, head_bytes, head, offset] = parts.as_slice() else { return None };
        let identity = Identity {
            device: device.parse().ok()?,
            inode: inode.parse().ok()?,
            head_bytes: head_bytes.parse().ok().filter(|bytes| *bytes <= HEAD_BYTES_MAX)?,
            head: u64::from_str_radix(head, 16).ok()?,
        };
        Some((identity, offset.parse().ok()?))
    }

    pub(super) fn is_inode_of(&self, metadata: &Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino())
    }

    /// Whether an open file is this one: the inode, and what it begins with.
    pub(super) fn is_of(&self, file: &File) -> io::Result<bool> {
        Ok(self.is_inode_of(&file.metadata()?) && head_of(file, self.head_bytes)? == Some(self.head))
    }
}

/// The hash of the first bytes; `None` when there are not so many.
fn head_of(file: &File, bytes: usize) -> io::Result<Option<u64>> {
    let mut head = [0; HEAD_BYTES_MAX];
    let mut read = 0;
    while read < bytes {
        match file.read_at(&mut head[read..bytes], read as u64)? {
            0 => return Ok(None),
            more => read += more,
        }
    }
    Ok(Some(xxh64(&head[..bytes], 0)))
}

/// A file that is read.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    pub(super) identity: Identity,
    pub(super) part: PartId,
    /// Bytes before this were taken out of the file.
    pub(super) read_to: u64,
    /// Of a line whose end has not been read.
    partial: Vec<u8>,
    /// When it last had anything new, nanoseconds.
    pub(super) grown_ns: i64,
    was_at_end: bool,
}

/// What a look at a file found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Lines, perhaps with more behind them.
    Read,
    AtEnd,
    /// Shorter than what was read, or begun anew.
    Truncated,
}

impl OpenFile {
    /// Opens a file to read on from `offset`.
    pub(super) fn open(path: &Path) -> io::Result<(File, Identity)> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::other("it is a directory"));
        }
        let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(HEAD_BYTES_MAX);
        // It may shrink meanwhile; then it is known by nothing but its inode.
        let (head_bytes, head) = match head_of(&file, bytes)? {
            Some(head) => (bytes, head),
            None => (0, xxh64(&[], 0)),
        };
        Ok((file, Identity { device: metadata.dev(), inode: metadata.ino(), head_bytes, head }))
    }

    pub(super) fn new(file: File, identity: Identity, part: PartId, offset: u64, now_ns: i64) -> Self {
        OpenFile { file, identity, part, read_to: offset, partial: Vec::new(), grown_ns: now_ns, was_at_end: false }
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Up to where whole lines were taken.
    pub(super) fn taken_to(&self) -> u64 {
        self.read_to - self.partial.len() as u64
    }

    /// Reads at most `scratch` and gives whole lines, without their `\n`, to `take`.
    pub(super) fn read(&mut self, scratch: &mut [u8], now_ns: i64, take: &mut dyn FnMut(&[u8])) -> io::Result<Look> {
        let length = self.len()?;
        if length < self.read_to {
            return Ok(Look::Truncated);
        }
        if length == self.read_to {
            self.was_at_end = true;
            return Ok(Look::AtEnd);
        }
        // A file that was copied and cut short may have grown beyond where we are.
        if self.was_at_end && head_of(&self.file, self.identity.head_bytes)? != Some(self.identity.head) {
            return Ok(Look::Truncated);
        }
        self.was_at_end = false;
        let read = self.file.read_at(scratch, self.read_to)?;
        if read == 0 {
            return Ok(Look::AtEnd);
        }
        self.read_to += read as u64;
        self.grown_ns = now_ns;
        let mut rest = &scratch[..read];
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..at], &rest[at + 1..]);
            if self.partial.is_empty() {
                take(line);
            } else {
                self.partial.extend_from_slice(line);
                take(&self.partial);
                self.partial.clear();
            }
            rest = after;
        }
        self.partial.extend_from_slice(rest);
        if self.partial.len() >= LINE_BYTES_MAX {
            take(&self.partial);
            self.partial.clear();
        }
        self.grow_head()?;
        Ok(Look::Read)
    }

    /// A file that was short when it was opened is known by more bytes when it has them.
    fn grow_head(&mut self) -> io::Result<()> {
        let bytes = usize::try_from(self.read_to).unwrap_or(usize::MAX).min(HEAD_BYTES_MAX);
        if bytes > self.identity.head_bytes
            && let Some(head) = head_of(&self.file, bytes)?
        {
            (self.identity.head_bytes, self.identity.head) = (bytes, head);
        }
        Ok(())
    }

    /// What is left of a line that will have no end.
    pub(super) fn take_partial(&mut self) -> Option<Vec<u8>> {
        (!self.partial.is_empty()).then(|| std::mem::take(&mut self.partial))
    }

    /// Reads from the beginning.
    pub(super) fn start_again(&mut self, part: PartId) -> io::Result<()> {
        (self.read_to, self.part, self.was_at_end) = (0, part, false);
        self.partial.clear();
        self.identity.head_bytes = 0;
        self.identity.head = xxh64(&[], 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back() {
        let identity = Identity { device: 1, inode: 22, head_bytes: 256, head: 0xabc };
        let note = format!("{}.77", identity.note());
        assert_eq!((note.as_str(), Identity::parse(&note)), ("1.22.256.abc.77", Some((identity, 77))));
        for bad in ["", "1.2.3.4", "1.2.300.4.5", "a.2.3.4.5", "1.2.3.x.5"] {
            assert_eq!(Identity::parse(bad), None, "{bad}");
        }
    }
}
