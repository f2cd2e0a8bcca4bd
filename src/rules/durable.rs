//! Files that are replaced whole: after a crash there is the old one or the new one.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Replaces `path`, and its directory if it is not there. Blocking.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::other("the path has no directory"))?;
    std::fs::create_dir_all(directory)?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let next = directory.join(format!(".{}", name.to_string_lossy()));
    let mut file = File::create(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&next, path)?;
    File::open(directory)?.sync_all()
}
