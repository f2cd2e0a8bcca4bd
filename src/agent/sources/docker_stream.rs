//! The bytes of `GET /containers/{id}/logs`: frames of stdout and stderr, or plain text of a terminal; each line begins
//! with its time.

use crate::types::go_time::{self, RFC3339_NANO};

/// A line longer than this goes on in parts, as Docker itself cuts lines at 16 KB.
const LINE_BYTES_MAX: usize = 2 << 20;

/// A line of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// `stdout` or `stderr`.
    pub(super) stream: &'static str,
    /// Nanoseconds since the Unix epoch; `None` when the line has none.
    pub(super) ts_ns: Option<i64>,
    pub(super) text: String,
}

/// Makes lines of bytes as they come.
#[derive(Debug, Default)]
pub(super) struct Demux {
    is_terminal: bool,
    buffer: Vec<u8>,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Demux {
    /// `is_terminal`: the container has a TTY, and its bytes no frames.
    pub(super) fn new(is_terminal: bool) -> Self {
        Demux { is_terminal, ..Demux::default() }
    }

    /// Takes bytes; gives the lines that have ended.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.is_terminal {
            self.out.extend_from_slice(bytes);
            take_lines(&mut self.out, "stdout", &mut lines);
            return lines;
        }
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(header) = self.buffer.get(at..at + 8) {
            let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
            let is_err = header[0] == 2;
            let Some(payload) = self.buffer.get(at + 8..at + 8 + length) else { break };
            let (kept, stream) = if is_err { (&mut self.err, "stderr") } else { (&mut self.out, "stdout") };
            kept.extend_from_slice(payload);
            take_lines(kept, stream, &mut lines);
            at += 8 + length;
        }
        self.buffer.drain(..at);
        lines
    }
}

fn take_lines(kept: &mut Vec<u8>, stream: &'static str, lines: &mut Vec<Line>) {
    let mut at = 0;
    while let Some(end) = memchr::memchr(b'\n', &kept[at..]) {
        lines.push(line_of(&kept[at..at + end], stream));
        at += end + 1;
    }
    kept.drain(..at);
    if kept.len() > LINE_BYTES_MAX {
        lines.push(line_of(kept, stream));
        kept.clear();
    }
}

fn line_of(bytes: &[u8], stream: &'static str) -> Line {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\r');
    let timed = text.split_once(' ').and_then(|(time, rest)| {
        let time = go_time::parse(RFC3339_NANO, time).ok()?;
        Some((time.unix_nanos(), rest))
    });
    match timed {
        Some((ts_ns, rest)) => Line { stream, ts_ns: Some(ts_ns), text: rest.to_owned() },
        None => Line { stream, ts_ns: None, text: text.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![stream, 0, 0, 0];
        bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn frames_however_they_are_cut() {
        let mut bytes = frame(1, "1970-01-01T00:00:01.5Z one\n1970-01-01T00:00:02Z tw");
        bytes.extend(frame(2, "1970-01-01T00:00:03Z err\r\n"));
        bytes.extend(frame(1, "o\nno time\n"));
        for size in [1, 7, 1000] {
            let mut demux = Demux::new(false);
            let lines: Vec<Line> = bytes.chunks(size).flat_map(|part| demux.feed(part)).collect();
            let shown: Vec<_> = lines.iter().map(|line| (line.stream, line.ts_ns, line.text.as_str())).collect();
            assert_eq!(
                shown,
                [
                    ("stdout", Some(1_500_000_000), "one"),
                    ("stderr", Some(3_000_000_000), "err"),
                    ("stdout", Some(2_000_000_000), "two"),
                    ("stdout", None, "no time"),
                ]
            );
        }
        let lines = Demux::new(true).feed(b"1970-01-01T00:00:01Z tty\r\n");
        assert_eq!((lines[0].text.as_str(), lines[0].stream), ("tty", "stdout"));
    }
}
