//! The few file operations the writer needs, so that tests can fill a disk or break a sync.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// Opens segments.
pub(super) trait Disk: Send {
    /// Creates or empties the file, and makes its name durable.
    fn create(&mut self, path: &Path) -> std::io::Result<Box<dyn SegmentWrite>>;
    /// Opens the file to write behind its end. Answers its length.
    fn append(&mut self, path: &Path) -> std::io::Result<(Box<dyn SegmentWrite>, u64)>;
}

/// One open segment.
pub(super) trait SegmentWrite: Send {
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    fn sync(&mut self) -> std::io::Result<()>;
    /// Cuts the file to `bytes` and writes on from there.
    fn truncate(&mut self, bytes: u64) -> std::io::Result<()>;
}

/// The file system.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create(&mut self, path: &Path) -> std::io::Result<Box<dyn SegmentWrite>> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(Box::new(file))
    }

    fn append(&mut self, path: &Path) -> std::io::Result<(Box<dyn SegmentWrite>, u64)> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        Ok((Box::new(file), bytes))
    }
}

impl SegmentWrite for File {
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> std::io::Result<()> {
        self.set_len(bytes)?;
        self.seek(SeekFrom::Start(bytes))?;
        Ok(())
    }
}
