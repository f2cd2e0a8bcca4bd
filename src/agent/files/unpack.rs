//! A packed file, read once from its beginning to its end; its position is the number of lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use bzip2::read::MultiBzDecoder;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::tail::Lines;
use crate::agent::positions::{PartId, Positions, Track};

/// Lines that are read before others have their turn.
const LINES_A_TURN: usize = 1_000;
/// A line that is longer is cut into lines of this size: what a small file unpacks to is bounded.
const LINE_BYTES_MAX: u64 = 2 << 20;

/// See the module.
pub(super) struct Unpacked {
    reader: BufReader<Box<dyn Read + Send>>,
    track: Arc<Track>,
    part: PartId,
    /// Lines that were read in an earlier life.
    skip: u64,
    line: u64,
    is_done: bool,
}

impl Unpacked {
    pub(super) fn open(path: &Path, format: &str, key: String, positions: &Positions) -> io::Result<Self> {
        let file = File::open(path)?;
        let reader: Box<dyn Read + Send> = match format {
            "gz" => Box::new(MultiGzDecoder::new(file)),
            "z" => Box::new(ZlibDecoder::new(file)),
            "bz2" => Box::new(MultiBzDecoder::new(file)),
            other => return Err(io::Error::other(format!("the format {other} is not supported"))),
        };
        let skip = positions.get(&key).and_then(|text| text.parse().ok()).unwrap_or(0);
        let (track, part) = Track::of_cursor(positions, key);
        Ok(Unpacked { reader: BufReader::new(reader), track, part, skip, line: 0, is_done: false })
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Some lines; true when there may be more.
    pub(super) fn read(&mut self, out: Lines<'_>) -> io::Result<bool> {
        let mut lines = Vec::new();
        let mut line = Vec::new();
        let mut read = 0;
        while read < LINES_A_TURN && !self.is_done {
            line.clear();
            if self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                self.is_done = true;
                break;
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            read += 1;
            self.line += 1;
            if self.line > self.skip {
                lines.push(String::from_utf8_lossy(&line).into_owned());
            }
        }
        if !lines.is_empty() {
            out(lines, self.track.chunk(self.part, self.line.to_string()));
        }
        Ok(!self.is_done)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn all_formats() {
        let directory = tempfile::tempdir().expect("a directory");
        let text = b"one\ntwo\n";
        let packed = |format: &str| {
            let mut bytes = Vec::new();
            // Two files one after the other are one, of gz and bz2.
            for _ in 0..if format == "z" { 1 } else { 2 } {
                match format {
                    "gz" => {
                        flate2::read::GzEncoder::new(&text[..], flate2::Compression::fast()).read_to_end(&mut bytes)
                    }
                    "z" => {
                        flate2::read::ZlibEncoder::new(&text[..], flate2::Compression::fast()).read_to_end(&mut bytes)
                    }
                    _ => bzip2::read::BzEncoder::new(&text[..], bzip2::Compression::fast()).read_to_end(&mut bytes),
                }
                .expect("packed");
            }
            bytes
        };
        let positions = Positions::open(&directory.path().join("p.yaml"), false, false).expect("good");
        for (format, expected) in [("gz", 4), ("z", 2), ("bz2", 4)] {
            let path = directory.path().join(format);
            std::fs::write(&path, packed(format)).expect("written");
            let mut unpacked = Unpacked::open(&path, format, format.to_owned(), &positions).expect("opened");
            let mut lines = Vec::new();
            while unpacked.read(&mut |more, _| lines.extend(more)).expect("reads") {}
            assert_eq!((lines.len(), &*lines[1]), (expected, "two"), "{format}");
        }
        assert!(Unpacked::open(&directory.path().join("gz"), "xz", "k".to_owned(), &positions).is_err());
    }

    #[test]
    fn read_once_and_gone_on_with() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.gz");
        let mut packer = flate2::write::GzEncoder::new(File::create(&path).expect("made"), flate2::Compression::fast());
        let text: String = (0..2_500).map(|line| format!("line {line}\n")).collect();
        packer.write_all(text.as_bytes()).expect("written");
        packer.finish().expect("finished");
        let positions = Positions::open(&directory.path().join("p.yaml"), false, false).expect("good");
        let open = || Unpacked::open(&path, "gz", "k".to_owned(), &positions).expect("opened");
        let (mut lines, mut chunks) = (Vec::new(), Vec::new());
        let mut unpacked = open();
        while unpacked
            .read(&mut |more, chunk| {
                lines.extend(more);
                chunks.push(chunk);
            })
            .expect("reads")
        {}
        assert_eq!((lines.len(), lines[2_499].as_str(), unpacked.is_done()), (2_500, "line 2499", true));
        std::mem::forget(chunks);
        assert_eq!(positions.get("k"), None);
        let mut unpacked = open();
        let mut first = None;
        unpacked
            .read(&mut |more, chunk| {
                first = Some(more[0].clone());
                drop(chunk);
            })
            .expect("reads");
        assert_eq!((first.as_deref(), positions.get("k").as_deref()), (Some("line 0"), Some("1000")));
        let mut unpacked = open();
        let mut next = None;
        while unpacked
            .read(&mut |more, _| {
                next.get_or_insert(more[0].clone());
            })
            .expect("reads")
        {}
        assert_eq!(next.as_deref(), Some("line 1000"));
    }
}
