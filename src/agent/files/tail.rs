//! One path, followed through rotation: nothing is lost, whatever files have its name one after the other.
//!
//! ```text
//! current ── renamed away ──▶ old: read to its end, then watched for a while for a writer that has not noticed
//!    │                          └─ files that had the name in between are found beside it, by their time
//!    ├─ cut short (copytruncate) ▶ from its beginning
//!    └─ removed ▶ read to its end
//! ```
//!
//! A line without its `\n` waits for it; when its file is done, it goes on as it is.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open_file::{Identity, Look, OpenFile};
use crate::agent::positions::{Chunk, Part, Positions, Track};

/// How long a file that lost its name is watched for late lines, nanoseconds.
const OLD_WATCH_NS: i64 = 10_000_000_000;
/// Files of one path that are open at once; older ones are done with when there are more.
const OLD_FILES_MAX: usize = 8;
const NOTE_PREFIX: &str = "cursor-millrace:";

/// A path that is followed.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    key: String,
    track: Arc<Track>,
    positions: Positions,
    current: Option<OpenFile>,
    old: Vec<OpenFile>,
    /// Inodes that were read to their end, the last ones.
    finished: Vec<(u64, u64)>,
    pub(super) is_gone: bool,
}

/// Lines of one file that were read together, and the chunk that they are.
pub(super) type Lines<'s> = &'s mut dyn FnMut(Vec<String>, Chunk);

impl Tail {
    /// Follows `path` from where `positions` say it was read to.
    pub(super) fn open(path: &Path, key: String, positions: &Positions, now_ns: i64) -> io::Result<Self> {
        let track = Track::new(positions, key.clone(), write_marks);
        let mut tail = Tail {
            path: path.to_owned(),
            key,
            track,
            positions: positions.clone(),
            current: None,
            old: Vec::new(),
            finished: Vec::new(),
            is_gone: false,
        };
        tail.resume(now_ns)?;
        Ok(tail)
    }

    /// Whether everything read was acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.track.pending() == 0
    }

    /// Forgets where it was: the file is gone for good.
    pub(super) fn forget(&self) {
        self.positions.remove(&[&self.key, &format!("{NOTE_PREFIX}{}", self.key)]);
    }

    /// Whether one of its open files is this inode: it is not another file then, only another name.
    pub(super) fn has_inode(&self, inode: (u64, u64)) -> bool {
        let open = self.current.iter().chain(&self.old).map(|file| (file.identity.device, file.identity.inode));
        self.finished.iter().copied().chain(open).any(|known| known == inode)
    }

    /// Bytes taken and bytes there, of the current file.
    pub(super) fn sizes(&self) -> (u64, u64) {
        self.current.as_ref().map_or((0, 0), |file| (file.taken_to(), file.len().unwrap_or(0)))
    }

    fn resume(&mut self, now_ns: i64) -> io::Result<()> {
        let offset: Option<u64> = self.positions.get(&self.key).and_then(|text| text.parse().ok());
        let note = self.positions.get(&format!("{NOTE_PREFIX}{}", self.key)).unwrap_or_default();
        let mut noted: Vec<(Identity, u64)> = note.split(' ').filter_map(Identity::parse).collect();
        // Promtail moved on since: its word counts.
        if noted.last().map(|(_, noted)| *noted) != offset {
            noted.clear();
        }
        let (file, identity) = OpenFile::open(&self.path)?;
        let mut resumed: Vec<(std::fs::File, Identity, u64)> = Vec::new();
        let mut offset_here = None;
        for (known, known_offset) in &noted {
            if known.is_of(&file)? {
                offset_here = Some(*known_offset);
            } else if let Some((file, path)) = self.find_beside(known) {
                tracing::info!(path = %path.display(), offset = known_offset, "a file that lost its name is read to its end");
                resumed.push((file, *known, *known_offset));
            } else if !known.is_inode_of(&file.metadata()?) {
                tracing::warn!(path = %self.path.display(), "a file that was not read to its end is gone; its end is lost");
            }
        }
        if let Some((_, last, _)) = resumed.last()
            && offset_here.is_none()
        {
            let last = *last;
            for (file, between) in self.files_between(&last, &identity) {
                resumed.push((file, between, 0));
            }
        }
        for (file, known, offset) in resumed {
            let part = self.track.begin(&known.note(), &offset.to_string());
            self.old.push(OpenFile::new(file, known, part, offset, now_ns));
        }
        let length = file.metadata()?.len();
        let start = match (offset_here, noted.is_empty(), offset) {
            (Some(offset), ..) => offset,
            // Only Promtail's word: it is believed as far as it can be true.
            (None, true, Some(offset)) if offset <= length => offset,
            _ => 0,
        };
        let part = self.track.begin(&identity.note(), &start.to_string());
        self.current = Some(OpenFile::new(file, identity, part, start, now_ns));
        Ok(())
    }

    /// Reads at most `scratch`; true when there may be more.
    pub(super) fn poll(&mut self, scratch: &mut [u8], now_ns: i64, out: Lines<'_>) -> io::Result<bool> {
        if !self.old.is_empty() && self.poll_old(scratch, now_ns, out)? {
            return Ok(true);
        }
        let Some(current) = &mut self.current else { return self.reopen(now_ns) };
        let mut lines = Vec::new();
        let look = current.read(scratch, now_ns, &mut |line| lines.push(text_of(line)))?;
        match look {
            Look::Read => {
                self.track.rename(current.part, &current.identity.note());
                if !lines.is_empty() {
                    out(lines, self.track.chunk(current.part, current.taken_to().to_string()));
                }
                Ok(true)
            }
            Look::Truncated => {
                tracing::info!(path = %self.path.display(), "the file was cut short; it is read from its beginning");
                if let Some(rest) = current.take_partial() {
                    out(vec![text_of(&rest)], self.track.chunk(current.part, current.read_to.to_string()));
                }
                let before = current.part;
                let part = self.track.begin(&current.identity.note(), "0");
                current.start_again(part)?;
                self.track.close(before);
                Ok(true)
            }
            Look::AtEnd => self.look_for_rotation(now_ns),
        }
    }

    /// Reads files that lost their name, oldest first.
    fn poll_old(&mut self, scratch: &mut [u8], now_ns: i64, out: Lines<'_>) -> io::Result<bool> {
        while self.old.len() > OLD_FILES_MAX {
            self.finish_old(0, out);
        }
        let mut at = 0;
        while at < self.old.len() {
            let file = &mut self.old[at];
            let mut lines = Vec::new();
            let look = file.read(scratch, now_ns, &mut |line| lines.push(text_of(line)))?;
            if !lines.is_empty() {
                out(lines, self.track.chunk(file.part, file.taken_to().to_string()));
            }
            match look {
                Look::Read => return Ok(true),
                Look::AtEnd if now_ns - file.grown_ns < OLD_WATCH_NS => at += 1,
                Look::AtEnd | Look::Truncated => self.finish_old(at, out),
            }
        }
        Ok(false)
    }

    fn finish_old(&mut self, at: usize, out: Lines<'_>) {
        let mut file = self.old.remove(at);
        if let Some(rest) = file.take_partial() {
            out(vec![text_of(&rest)], self.track.chunk(file.part, file.read_to.to_string()));
        }
        self.track.close(file.part);
        self.finish(&file.identity);
    }

    fn finish(&mut self, identity: &Identity) {
        self.finished.push((identity.device, identity.inode));
        if self.finished.len() > 2 * OLD_FILES_MAX {
            self.finished.remove(0);
        }
    }

    fn look_for_rotation(&mut self, now_ns: i64) -> io::Result<bool> {
        let Some(current) = &self.current else { return Ok(false) };
        match fs::metadata(&self.path) {
            Ok(metadata) if current.identity.is_inode_of(&metadata) => Ok(false),
            Ok(_) => self.rotate(now_ns),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(mut file) = self.current.take() {
                    file.grown_ns = now_ns;
                    self.old.push(file);
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The name belongs to another file now.
    fn rotate(&mut self, now_ns: i64) -> io::Result<bool> {
        let (file, identity) = match OpenFile::open(&self.path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let last = self.current.as_ref().or(self.old.last()).map(|file| file.identity);
        let mut next = last.map_or_else(Vec::new, |last| self.files_between(&last, &identity));
        next.push((file, identity));
        tracing::info!(path = %self.path.display(), files = next.len(), "the path has another file; the one before is read to its end");
        for (file, identity) in next {
            if let Some(mut before) = self.current.take() {
                before.grown_ns = now_ns;
                self.old.push(before);
            }
            let part = self.track.begin(&identity.note(), "0");
            self.current = Some(OpenFile::new(file, identity, part, 0, now_ns));
        }
        Ok(true)
    }

    /// A removed file whose name has come back is read; one that has not is gone.
    fn reopen(&mut self, now_ns: i64) -> io::Result<bool> {
        if self.path.exists() {
            return self.rotate(now_ns);
        }
        self.is_gone = self.old.is_empty();
        Ok(false)
    }

    /// The file of this identity under another name in the same directory.
    fn find_beside(&self, wanted: &Identity) -> Option<(std::fs::File, PathBuf)> {
        let entries = fs::read_dir(self.path.parent()?).ok()?;
        for entry in entries.flatten() {
            let path = entry.path();
            let is_inode = entry.metadata().is_ok_and(|metadata| wanted.is_inode_of(&metadata));
            if is_inode
                && let Ok(file) = fs::File::open(&path)
                && wanted.is_of(&file).unwrap_or(false)
            {
                return Some((file, path));
            }
        }
        None
    }

    /// Files that had the name after `last` and before `current`: their names begin with it, they were written to
    /// after `last` was, and they are not known.
    fn files_between(&self, last: &Identity, current: &Identity) -> Vec<(std::fs::File, Identity)> {
        let (Some(directory), Some(name)) = (self.path.parent(), self.path.file_name().and_then(|name| name.to_str()))
        else {
            return Vec::new();
        };
        let stem = name.strip_suffix(".log").unwrap_or(name);
        let mut candidates = Vec::new();
        let mut last_written = None;
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let other = entry.file_name().to_string_lossy().into_owned();
            if last.is_inode_of(&metadata) {
                last_written = Some((metadata.mtime(), metadata.mtime_nsec()));
            }
            let is_packed = [".gz", ".bz2", ".xz", ".zst", ".z"].iter().any(|end| other.ends_with(end));
            let is_known = last.is_inode_of(&metadata)
                || current.is_inode_of(&metadata)
                || self.has_inode((metadata.dev(), metadata.ino()));
            if metadata.is_file()
                && other.starts_with(stem)
                && !is_packed
                && !is_known
                && is_rotated_name(&other, name, stem)
            {
                candidates.push(((metadata.mtime(), metadata.mtime_nsec()), entry.path()));
            }
        }
        // Without the last file there is no telling what came after it.
        let Some(last_written) = last_written else { return Vec::new() };
        candidates.retain(|(written, _)| *written > last_written);
        candidates.sort();
        candidates.into_iter().filter_map(|(_, path)| OpenFile::open(&path).ok()).collect()
    }
}

/// `app.log.1`, `app.log-20250101`, `app-20250101.log` of `app.log`; not `app-errors.log`.
fn is_rotated_name(other: &str, name: &str, stem: &str) -> bool {
    let middle = match other.strip_prefix(name) {
        Some(rest) => rest,
        None => other.strip_prefix(stem).unwrap_or("x").strip_suffix(".log").unwrap_or("x"),
    };
    !middle.is_empty() && middle.bytes().all(|byte| byte.is_ascii_digit() || b".-_:T".contains(&byte))
}

fn text_of(line: &[u8]) -> String {
    match std::str::from_utf8(line) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(line).into_owned(),
    }
}

/// Promtail's key has the newest file's place; ours has all files that are not done.
fn write_marks(key: &str, parts: &[Part]) -> Vec<(String, String)> {
    let Some(newest) = parts.last() else { return Vec::new() };
    let notes: Vec<String> = parts.iter().map(|part| format!("{}.{}", part.name, part.place)).collect();
    vec![(key.to_owned(), newest.place.clone()), (format!("{NOTE_PREFIX}{key}"), notes.join(" "))]
}

#[cfg(test)]
mod tests;
