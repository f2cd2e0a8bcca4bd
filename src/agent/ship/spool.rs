//! Batches on disk while a server is away: one file a batch, first in, first out, at most so many bytes.
//!
//! ```text
//! <directory>/<number>.batch = magic "MRB1" | crc32 of the rest | u32 tenant bytes | u64 entries | u64 bytes | tenant | body
//! ```
//!
//! Invariants: a file that has its name is whole and synced; numbers rise. A file that is damaged all the same is set
//! aside as `<number>.damaged` and said.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::batch::Batch;
use crate::pipeline::Receipt;

const MAGIC: &[u8; 4] = b"MRB1";
const HEADER_BYTES: usize = 4 + 4 + 4 + 8 + 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    bytes_max: u64,
    /// Number and size of each file, oldest first.
    files: VecDeque<(u64, u64)>,
    bytes: u64,
    next: u64,
}

/// A batch that was read back; it stays on disk until [`Spool::remove`].
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) number: u64,
    pub(super) batch: Batch,
}

impl Spool {
    /// Opens a directory, made when it is not there, with what is in it.
    pub(super) fn open(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        let mut spool = Spool { directory: directory.to_owned(), bytes_max, files: VecDeque::new(), bytes: 0, next: 0 };
        // Made when it is needed: most agents never need it.
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(spool),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if let Some(number) = name.strip_suffix(".batch").and_then(|number| number.parse().ok()) {
                files.push((number, entry.metadata()?.len()));
            } else if name.ends_with(".new") {
                fs::remove_file(entry.path())?;
            }
        }
        files.sort_unstable();
        spool.next = files.last().map_or(0, |(number, _)| number + 1);
        spool.bytes = files.iter().map(|(_, size)| size).sum();
        spool.files = files.into();
        Ok(spool)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn batches(&self) -> usize {
        self.files.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a batch fits; a spool that is empty takes one of any size.
    pub(super) fn has_room(&self, batch: &Batch) -> bool {
        self.files.is_empty() || self.bytes + size_of(batch) <= self.bytes_max
    }

    /// Writes a batch and syncs it.
    pub(super) fn append(&mut self, batch: &Batch) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let mut rest = Vec::with_capacity(size_of(batch) as usize);
        rest.extend_from_slice(&(batch.tenant.len() as u32).to_le_bytes());
        rest.extend_from_slice(&(batch.entries as u64).to_le_bytes());
        rest.extend_from_slice(&(batch.bytes as u64).to_le_bytes());
        rest.extend_from_slice(batch.tenant.as_bytes());
        rest.extend_from_slice(&batch.body);
        let beside = self.directory.join(format!("{:020}.new", self.next));
        let mut file = fs::File::create(&beside)?;
        file.write_all(MAGIC)?;
        file.write_all(&crc32fast::hash(&rest).to_le_bytes())?;
        file.write_all(&rest)?;
        file.sync_all()?;
        fs::rename(&beside, self.path(self.next))?;
        fs::File::open(&self.directory)?.sync_all()?;
        self.files.push_back((self.next, size_of(batch)));
        self.bytes += size_of(batch);
        self.next += 1;
        Ok(())
    }

    /// The oldest batch that can be read.
    pub(super) fn oldest(&mut self) -> io::Result<Option<Kept>> {
        while let Some((number, _)) = self.files.front().copied() {
            let path = self.path(number);
            match decode(&fs::read(&path)?) {
                Some(batch) => return Ok(Some(Kept { number, batch })),
                None => {
                    tracing::error!(path = %path.display(), "a buffered batch is damaged; it is set aside and not sent");
                    fs::rename(&path, path.with_extension("damaged"))?;
                    self.forget(number);
                }
            }
        }
        Ok(None)
    }

    /// Removes a batch: it was sent, or given up.
    pub(super) fn remove(&mut self, number: u64) -> io::Result<()> {
        self.forget(number);
        match fs::remove_file(self.path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(at) = self.files.iter().position(|(known, _)| *known == number)
            && let Some((_, size)) = self.files.remove(at)
        {
            self.bytes -= size;
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:020}.batch"))
    }
}

fn size_of(batch: &Batch) -> u64 {
    (HEADER_BYTES + batch.tenant.len() + batch.body.len()) as u64
}

fn decode(file: &[u8]) -> Option<Batch> {
    let (magic, rest) = file.split_at_checked(4)?;
    let (crc, rest) = rest.split_at_checked(4)?;
    if magic != MAGIC || crc != crc32fast::hash(rest).to_le_bytes() {
        return None;
    }
    let (tenant_bytes, rest) = rest.split_at_checked(4)?;
    let (entries, rest) = rest.split_at_checked(8)?;
    let (bytes, rest) = rest.split_at_checked(8)?;
    let tenant_bytes = u32::from_le_bytes(tenant_bytes.try_into().ok()?) as usize;
    let (tenant, body) = rest.split_at_checked(tenant_bytes)?;
    Some(Batch {
        tenant: String::from_utf8(tenant.to_vec()).ok()?,
        body: Bytes::copy_from_slice(body),
        entries: usize::try_from(u64::from_le_bytes(entries.try_into().ok()?)).ok()?,
        bytes: usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()?,
        receipt: Receipt::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(body: &'static str) -> Batch {
        Batch { tenant: "t".to_owned(), body: Bytes::from(body), entries: 3, bytes: 30, receipt: Receipt::default() }
    }

    #[test]
    fn first_in_first_out_across_restarts() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("client");
        let mut spool = Spool::open(&path, 1000).expect("opened");
        spool.append(&batch("one")).expect("written");
        spool.append(&batch("two")).expect("written");
        fs::write(path.join("7.new"), "torn").expect("written");
        let mut spool = Spool::open(&path, 1000).expect("opened");
        assert_eq!((spool.batches(), spool.bytes()), (2, 64));
        let kept = spool.oldest().expect("read").expect("there");
        assert_eq!(
            (&*kept.batch.body, kept.batch.tenant.as_str(), kept.batch.entries, kept.batch.bytes),
            (&b"one"[..], "t", 3, 30)
        );
        spool.remove(kept.number).expect("removed");
        spool.append(&batch("three")).expect("written");
        let bodies: Vec<Bytes> = std::iter::from_fn(|| {
            let kept = spool.oldest().expect("read")?;
            spool.remove(kept.number).expect("removed");
            Some(kept.batch.body)
        })
        .collect();
        assert_eq!(bodies, ["two", "three"]);
        assert!(spool.is_empty() && spool.bytes() == 0);
    }

    #[test]
    fn it_is_bounded_and_damage_is_set_aside() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::open(directory.path(), 40).expect("opened");
        assert!(spool.has_room(&batch("a body that is longer than the whole spool may be")));
        spool.append(&batch("one")).expect("written");
        assert!(!spool.has_room(&batch("two")));
        fs::write(spool.path(0), "MRB1 nonsense").expect("damaged");
        assert!(spool.oldest().expect("read").is_none());
        assert!(directory.path().join(format!("{:020}.damaged", 0)).exists());
    }
}
