//! How far everything was read, in Promtail's file, committed when the server has it.
//!
//! ```text
//! line read ─▶ Chunk (in the entry's receipt) ─▶ … sent, acknowledged, receipt dropped ─▶ Track: first chunks done
//!                                                                                        └─▶ Positions ─▶ file
//! ```
//!
//! ```yaml
//! positions:
//!   /var/log/app.log: "1234"                                    # what Promtail reads and writes
//!   cursor-millrace:/var/log/app.log: "2049.77.256.9f….1234"    # which file that was, so that rotation loses nothing
//! ```
//!
//! Promtail keeps keys that begin with `cursor-`; each of the two takes over from the other.
//!
//! Invariants: a position moves only past chunks that are done, in the order they were read; the file is replaced whole.
//! Errors: a file that cannot be read or is no such YAML stops the start, unless the configuration says otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::Value as Yaml;

use crate::types::labels::push_json_string;

/// Why there are no positions.
#[derive(Debug, thiserror::Error)]
pub enum PositionsError {
    #[error("cannot read the positions file {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the positions file {} is no YAML of positions: {words}; repair or remove it, or set positions.ignore_invalid_yaml", path.display())]
    Invalid { path: PathBuf, words: String },
    #[error("cannot write the positions file {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// All positions of an agent. Cheap to clone; clones see the same.
#[derive(Debug, Clone)]
pub struct Positions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    values: Mutex<Values>,
    /// Held while the file is written, so that an older state never replaces a newer one.
    writing: Mutex<()>,
    /// Set before what was not acknowledged is thrown away.
    is_frozen: AtomicBool,
    /// Nothing is ever written: a dry run.
    is_dry: bool,
}

#[derive(Debug, Default)]
struct Values {
    by_key: BTreeMap<String, String>,
    is_dirty: bool,
    claimed: Vec<String>,
}

impl Positions {
    /// Reads the file; without one, everything begins anew.
    pub fn open(path: &Path, ignore_invalid: bool, is_dry: bool) -> Result<Self, PositionsError> {
        let by_key = match fs::read_to_string(path) {
            Ok(text) => match parse(&text) {
                Ok(by_key) => by_key,
                Err(words) if ignore_invalid => {
                    tracing::warn!(path = %path.display(), words, "the positions file is ignored; all files are read from their beginning");
                    BTreeMap::new()
                }
                Err(words) => return Err(PositionsError::Invalid { path: path.to_owned(), words }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(PositionsError::Read { path: path.to_owned(), source }),
        };
        let values = Mutex::new(Values { by_key, ..Values::default() });
        Ok(Positions(Arc::new(Inner {
            path: path.to_owned(),
            values,
            writing: Mutex::new(()),
            is_frozen: AtomicBool::new(false),
            is_dry,
        })))
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.0.values.lock().by_key.get(key).cloned()
    }

    /// A key that no other source of this agent writes: `key`, or one with the job's name.
    pub fn claim(&self, key: &str, job: &str) -> String {
        let mut values = self.0.values.lock();
        let own = if values.claimed.iter().any(|claimed| claimed == key) {
            format!("cursor-{job}:{key}")
        } else {
            key.to_owned()
        };
        values.claimed.push(own.clone());
        own
    }

    /// Lets others have the key.
    pub fn release(&self, key: &str) {
        self.0.values.lock().claimed.retain(|claimed| claimed != key);
    }

    fn set(&self, pairs: Vec<(String, String)>) {
        let mut values = self.0.values.lock();
        for (key, value) in pairs {
            values.by_key.insert(key, value);
        }
        values.is_dirty = true;
    }

    /// Forgets keys, as when a file is gone.
    pub fn remove(&self, keys: &[&str]) {
        let mut values = self.0.values.lock();
        for key in keys {
            values.is_dirty |= values.by_key.remove(*key).is_some();
        }
    }

    /// From now on nothing that ends counts as done.
    pub fn freeze(&self) {
        self.0.is_frozen.store(true, Ordering::SeqCst);
    }

    /// Writes the file if anything changed.
    ///
    /// # Errors
    /// `Write`; the next call tries again.
    pub fn save(&self) -> Result<(), PositionsError> {
        if self.0.is_dry {
            return Ok(());
        }
        let _writing = self.0.writing.lock();
        let text = {
            let mut values = self.0.values.lock();
            if !values.is_dirty {
                return Ok(());
            }
            values.is_dirty = false;
            print(&values.by_key)
        };
        replace_file(&self.0.path, text.as_bytes()).map_err(|source| {
            self.0.values.lock().is_dirty = true;
            PositionsError::Write { path: self.0.path.clone(), source }
        })
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let tree = crate::pipeline::yaml::parse(text)?;
    let map = match tree.get("positions") {
        None | Some(Yaml::Null) => return Ok(BTreeMap::new()),
        Some(Yaml::Object(map)) => map,
        Some(_) => return Err("positions is no mapping".to_owned()),
    };
    let text = |value: &Yaml| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(map.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

fn print(by_key: &BTreeMap<String, String>) -> String {
    let mut out = String::from(if by_key.is_empty() { "positions: {}\n" } else { "positions:\n" });
    for (key, value) in by_key {
        out.push_str("  ");
        let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        if is_plain {
            out.push_str(key);
        } else {
            push_json_string(&mut out, key);
        }
        out.push_str(": ");
        push_json_string(&mut out, value);
        out.push('\n');
    }
    out
}

/// Replaces a file whole. One that is mounted by itself cannot be replaced, and is written in place.
fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    match fs::rename(&beside, path) {
        Ok(()) => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(directory)?.sync_all()
        }
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            fs::remove_file(&beside)?;
            let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path)?;
            file.write_all(bytes)?;
            file.sync_all()
        }
        Err(error) => Err(error),
    }
}

/// What is set once chunks are done. A source makes one for each thing it reads.
#[derive(Debug)]
pub struct Track {
    positions: Positions,
    state: Mutex<TrackState>,
    /// Turns the places that parts of the thing have reached into keys and values.
    write: WriteMarks,
}

/// See [`Track`].
type WriteMarks = fn(&str, &[Part]) -> Vec<(String, String)>;

#[derive(Debug)]
struct TrackState {
    key: String,
    parts: Vec<PartState>,
    next_part: u64,
}

/// A part of what is tracked: one file of those that had a path one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What the source knows the part by.
    pub name: String,
    /// Up to where it is done.
    pub place: String,
}

#[derive(Debug)]
struct PartState {
    id: u64,
    part: Part,
    pending: VecDeque<(u64, String, bool)>,
    next_chunk: u64,
    is_closed: bool,
}

/// A part of a [`Track`], to count chunks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartId(u64);

/// Lines that were read together; dropped means done with.
#[derive(Debug)]
pub struct Chunk {
    track: Arc<Track>,
    part: PartId,
    number: u64,
}

impl Track {
    pub fn new(positions: &Positions, key: impl Into<String>, write: WriteMarks) -> Arc<Self> {
        Arc::new(Track {
            positions: positions.clone(),
            state: Mutex::new(TrackState { key: key.into(), parts: Vec::new(), next_part: 0 }),
            write,
        })
    }

    /// A track of one thing that has one value: a cursor.
    pub fn of_cursor(positions: &Positions, key: impl Into<String>) -> (Arc<Self>, PartId) {
        let track = Track::new(positions, key, |key, parts| {
            parts.iter().map(|part| (key.to_owned(), part.place.clone())).collect()
        });
        let part = track.begin("", "");
        (track, part)
    }

    /// A new part, the last of all, done up to `place`.
    pub fn begin(&self, name: &str, place: &str) -> PartId {
        let mut state = self.state.lock();
        let id = state.next_part;
        state.next_part += 1;
        let part = Part { name: name.to_owned(), place: place.to_owned() };
        state.parts.push(PartState { id, part, pending: VecDeque::new(), next_chunk: 0, is_closed: false });
        if !place.is_empty() {
            self.settle(&mut state);
        }
        PartId(id)
    }

    /// Another name for a part.
    pub fn rename(&self, part: PartId, name: &str) {
        if let Some(found) = self.state.lock().parts.iter_mut().find(|known| known.id == part.0) {
            name.clone_into(&mut found.part.name);
        }
    }

    /// Nothing more will be read of a part: it goes when its chunks are done.
    pub fn close(&self, part: PartId) {
        let mut state = self.state.lock();
        if let Some(found) = state.parts.iter_mut().find(|known| known.id == part.0) {
            found.is_closed = true;
        }
        self.settle(&mut state);
    }

    /// What is read now ends at `place`.
    pub fn chunk(self: &Arc<Self>, part: PartId, place: impl Into<String>) -> Chunk {
        let mut state = self.state.lock();
        let mut number = 0;
        if let Some(found) = state.parts.iter_mut().find(|known| known.id == part.0) {
            number = found.next_chunk;
            found.next_chunk += 1;
            found.pending.push_back((number, place.into(), false));
        }
        Chunk { track: self.clone(), part, number }
    }

    /// Chunks that are not done.
    pub fn pending(&self) -> usize {
        self.state.lock().parts.iter().map(|part| part.pending.len()).sum()
    }

    fn done(&self, part: PartId, number: u64) {
        if self.positions.0.is_frozen.load(Ordering::SeqCst) || std::thread::panicking() {
            return;
        }
        let mut state = self.state.lock();
        let Some(found) = state.parts.iter_mut().find(|known| known.id == part.0) else { return };
        if let Some((_, _, is_done)) = found.pending.iter_mut().find(|(known, ..)| *known == number) {
            *is_done = true;
        }
        let mut moved = false;
        while let Some((_, place, _)) = found.pending.pop_front_if(|(_, _, is_done)| *is_done) {
            found.part.place = place;
            moved = true;
        }
        if moved {
            self.settle(&mut state);
        }
    }

    /// Lets parts go that are done, and writes down the others.
    fn settle(&self, state: &mut TrackState) {
        let last = state.parts.last().map(|part| part.id);
        state.parts.retain(|part| Some(part.id) == last || !part.is_closed || !part.pending.is_empty());
        let parts: Vec<Part> = state.parts.iter().map(|part| part.part.clone()).collect();
        self.positions.set((self.write)(&state.key, &parts));
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.track.done(self.part, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path) -> Positions {
        Positions::open(&directory.join("positions.yaml"), false, false).expect("good")
    }

    #[test]
    fn promtails_format_comes_and_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("positions.yaml");
        fs::write(&path, "positions:\n  /var/log/a.log: \"12\"\n  cursor-job: s=1;i=2\n  \"/var/log/b c.log\": 7\n")
            .expect("written");
        let positions = open(directory.path());
        assert_eq!(positions.get("/var/log/a.log").as_deref(), Some("12"));
        assert_eq!(positions.get("/var/log/b c.log").as_deref(), Some("7"));
        positions.set(vec![("/var/log/a.log".to_owned(), "13".to_owned())]);
        positions.save().expect("saved");
        assert_eq!(
            fs::read_to_string(&path).expect("read"),
            "positions:\n  /var/log/a.log: \"13\"\n  \"/var/log/b c.log\": \"7\"\n  cursor-job: \"s=1;i=2\"\n"
        );
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn files_that_are_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("positions.yaml");
        for bad in ["positions: [", "positions: 7"] {
            fs::write(&path, bad).expect("written");
            assert!(matches!(Positions::open(&path, false, false), Err(PositionsError::Invalid { .. })));
            assert!(Positions::open(&path, true, false).is_ok());
        }
        fs::write(&path, "").expect("written");
        assert!(Positions::open(&path, false, false).is_ok());
    }

    #[test]
    fn positions_move_past_what_is_done_in_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let positions = open(directory.path());
        let (track, part) = Track::of_cursor(&positions, "k");
        let [a, b, c] = ["1", "2", "3"].map(|place| track.chunk(part, place));
        drop(b);
        assert_eq!((positions.get("k"), track.pending()), (None, 3));
        drop(a);
        assert_eq!(positions.get("k").as_deref(), Some("2"));
        positions.freeze();
        drop(c);
        assert_eq!(positions.get("k").as_deref(), Some("2"));
    }

    #[test]
    fn parts_that_are_closed_go_when_they_are_done() {
        let directory = tempfile::tempdir().expect("a directory");
        let positions = open(directory.path());
        let track = Track::new(&positions, "k", |key, parts| {
            let all: Vec<String> = parts.iter().map(|part| format!("{}@{}", part.name, part.place)).collect();
            vec![(key.to_owned(), all.join(" "))]
        });
        let old = track.begin("old", "0");
        let chunk = track.chunk(old, "9");
        let new = track.begin("new", "0");
        track.close(old);
        assert_eq!(positions.get("k").as_deref(), Some("old@0 new@0"));
        drop(track.chunk(new, "4"));
        assert_eq!(positions.get("k").as_deref(), Some("old@0 new@4"));
        drop(chunk);
        assert_eq!(positions.get("k").as_deref(), Some("new@4"));
    }

    #[test]
    fn keys_are_claimed_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let positions = open(directory.path());
        assert_eq!(positions.claim("/a", "x"), "/a");
        assert_eq!(positions.claim("/a", "y"), "cursor-y:/a");
        positions.release("/a");
        assert_eq!(positions.claim("/a", "z"), "/a");
    }
}
