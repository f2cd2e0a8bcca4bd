use std::fs::OpenOptions;
use std::io::Write;

use super::*;

struct Place {
    directory: tempfile::TempDir,
    positions: Positions,
    now_ns: i64,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let positions = Positions::open(&directory.path().join("positions.yaml"), false, false).expect("good");
        Place { directory, positions, now_ns: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
        // Times of files are coarse on some file systems; the next file is surely later.
        std::thread::sleep(std::time::Duration::from_millis(15));
    }

    fn tail(&self) -> Tail {
        let path = self.path("app.log");
        Tail::open(&path, path.to_string_lossy().into_owned(), &self.positions, self.now_ns).expect("opened")
    }

    fn key(&self) -> String {
        self.path("app.log").to_string_lossy().into_owned()
    }

    /// Everything there is to read now; each chunk is done at once unless it is `kept`.
    fn read(&self, tail: &mut Tail, kept: Option<&mut Vec<Chunk>>) -> Vec<String> {
        let (mut all, mut chunks) = (Vec::new(), Vec::new());
        let mut scratch = vec![0; 16];
        let mut quiet = 0;
        while quiet < 3 {
            let more = tail.poll(&mut scratch, self.now_ns, &mut |lines, chunk| {
                all.extend(lines);
                chunks.push(chunk);
            });
            quiet = if more.expect("readable") { 0 } else { quiet + 1 };
        }
        if let Some(kept) = kept {
            kept.append(&mut chunks);
        }
        all
    }
}

#[test]
fn lines_wait_for_their_end() {
    let place = Place::new();
    place.append("app.log", "one\ntwo\r\nthr");
    let mut tail = place.tail();
    assert_eq!(place.read(&mut tail, None), ["one", "two\r"]);
    assert_eq!(place.positions.get(&place.key()).as_deref(), Some("9"));
    place.append("app.log", "ee\na line that is longer than what is read at once\n\n");
    assert_eq!(place.read(&mut tail, None), ["three", "a line that is longer than what is read at once", ""]);
}

#[test]
fn renamed_files_are_read_to_their_end() {
    let mut place = Place::new();
    place.append("app.log", "1\n");
    let mut tail = place.tail();
    assert_eq!(place.read(&mut tail, None), ["1"]);
    place.append("app.log", "2\n");
    place.rename("app.log", "app.log.1");
    place.append("app.log.1", "3\n4 without an end");
    place.append("app.log", "5\n");
    assert_eq!(place.read(&mut tail, None), ["2", "3", "5"]);
    // The writer has not noticed yet.
    place.append("app.log.1", ", but now\nlate");
    assert_eq!(place.read(&mut tail, None), ["4 without an end, but now"]);
    place.now_ns = OLD_WATCH_NS;
    assert_eq!(place.read(&mut tail, None), ["late"]);
    place.append("app.log", "6\n");
    assert_eq!(place.read(&mut tail, None), ["6"]);
    assert_eq!(place.positions.get(&place.key()).as_deref(), Some("4"));
}

#[test]
fn two_rotations_between_looks_lose_nothing() {
    let place = Place::new();
    place.append("app.log", "1\n");
    let mut tail = place.tail();
    assert_eq!(place.read(&mut tail, None), ["1"]);
    place.append("app.log", "2\n");
    place.rename("app.log", "app.log.2");
    place.append("app.log", "3\n");
    place.rename("app.log", "app.log.1");
    place.append("app.log", "4\n");
    assert_eq!(place.read(&mut tail, None), ["2", "3", "4"]);
}

#[test]
fn cut_files_are_read_from_their_beginning() {
    let place = Place::new();
    place.append("app.log", "1 long line\n2\n");
    let mut tail = place.tail();
    assert_eq!(place.read(&mut tail, None), ["1 long line", "2"]);
    fs::write(place.path("app.log"), "3\n").expect("cut");
    assert_eq!(place.read(&mut tail, None), ["3"]);
    // Cut, and already longer than before.
    fs::write(place.path("app.log"), "4 which is longer than what was there\n").expect("cut");
    assert_eq!(place.read(&mut tail, None), ["4 which is longer than what was there"]);
    assert_eq!(place.positions.get(&place.key()).as_deref(), Some("38"));
}

#[test]
fn removed_files_end_and_come_back() {
    let mut place = Place::new();
    place.append("app.log", "1\n2");
    let mut tail = place.tail();
    assert_eq!(place.read(&mut tail, None), ["1"]);
    fs::remove_file(place.path("app.log")).expect("removed");
    assert!(place.read(&mut tail, None).is_empty());
    place.append("app.log", "3\n");
    assert_eq!(place.read(&mut tail, None), ["3"]);
    place.now_ns = OLD_WATCH_NS;
    assert_eq!(place.read(&mut tail, None), ["2"]);
    fs::remove_file(place.path("app.log")).expect("removed");
    place.read(&mut tail, None);
    place.now_ns *= 2;
    place.read(&mut tail, None);
    assert!(tail.is_gone);
}

/// Killed at any moment: what was not acknowledged is read again, what was is not.
#[test]
fn a_restart_goes_on_where_acknowledgements_ended() {
    let place = Place::new();
    place.append("app.log", "1\n2\n");
    let mut tail = place.tail();
    assert_eq!(place.read(&mut tail, None), ["1", "2"]);
    place.append("app.log", "3\n");
    let mut unacknowledged = Vec::new();
    assert_eq!(place.read(&mut tail, Some(&mut unacknowledged)), ["3"]);
    std::mem::forget((tail, unacknowledged));
    let mut tail = place.tail();
    assert_eq!(place.read(&mut tail, None), ["3"]);
}

#[test]
fn a_restart_finds_files_that_were_rotated_meanwhile() {
    let place = Place::new();
    place.append("app.log", "1\n");
    let mut tail = place.tail();
    assert_eq!(place.read(&mut tail, None), ["1"]);
    place.append("app.log", "2\n");
    drop(tail);
    place.rename("app.log", "app.log.2");
    place.append("app.log", "3\n");
    place.rename("app.log", "app.log.1");
    place.append("app.log", "4\n");
    place.append("app-other.log", "no\n");
    place.append("app.log.3.gz", "no\n");
    let mut tail = place.tail();
    assert_eq!(place.read(&mut tail, None), ["2", "3", "4"]);
}

#[test]
fn old_files_that_were_not_done_are_gone_on_with() {
    let place = Place::new();
    place.append("app.log", "1\n");
    let mut tail = place.tail();
    let mut unacknowledged = Vec::new();
    assert_eq!(place.read(&mut tail, Some(&mut unacknowledged)), ["1"]);
    place.rename("app.log", "app.log.1");
    place.append("app.log", "2\n");
    assert_eq!(place.read(&mut tail, None), ["2"]);
    std::mem::forget((tail, unacknowledged));
    let mut tail = place.tail();
    assert_eq!(place.read(&mut tail, None), ["1"]);
}

#[test]
fn promtails_positions_are_taken_over() {
    let place = Place::new();
    place.append("app.log", "1\n2\n");
    fs::write(place.path("positions.yaml"), format!("positions:\n  {}: \"2\"\n", place.key())).expect("written");
    let positions = Positions::open(&place.path("positions.yaml"), false, false).expect("good");
    let mut tail = Tail::open(&place.path("app.log"), place.key(), &positions, 0).expect("opened");
    assert_eq!(place.read(&mut tail, None), ["2"]);
    // Beyond the file's end: it was cut meanwhile.
    fs::write(place.path("positions.yaml"), format!("positions:\n  {}: \"99\"\n", place.key())).expect("written");
    let positions = Positions::open(&place.path("positions.yaml"), false, false).expect("good");
    let mut tail = Tail::open(&place.path("app.log"), place.key(), &positions, 0).expect("opened");
    assert_eq!(place.read(&mut tail, None), ["1", "2"]);
}

#[test]
fn rotated_names() {
    for (other, is_rotated) in [
        ("app.log.1", true),
        ("app.log-20250101", true),
        ("app-20250101.log", true),
        ("app-errors.log", false),
        ("app.log", false),
        ("app.log.txt", false),
        ("apps.log", false),
    ] {
        assert_eq!(is_rotated_name(other, "app.log", "app"), is_rotated, "{other}");
    }
}
