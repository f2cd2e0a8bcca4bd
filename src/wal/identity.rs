//! Who a log is: its name among the applications of a table.

use std::path::Path;

/// The name under which the position of the log in `dir` is kept in a table; made when there is none.
///
/// It lives with the log, so that a log that was thrown away does not take its successor's records for flushed ones.
pub fn identity(dir: &Path, prefix: &str) -> std::io::Result<String> {
    let path = dir.join("IDENTITY");
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => new_identity(&path, prefix),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => new_identity(&path, prefix),
        Err(error) => Err(error),
    }
}

fn new_identity(path: &Path, prefix: &str) -> std::io::Result<String> {
    let identity = format!("{prefix}-{}", uuid::Uuid::new_v4());
    let next = path.with_extension("new");
    std::fs::write(&next, &identity)?;
    std::fs::File::open(&next)?.sync_all()?;
    std::fs::rename(&next, path)?;
    Ok(identity)
}
