//! Where messages end in a stream of bytes (RFC 6587): counted octets, or a newline. Pure.
//!
//! ```text
//! 11 <13>message 5 <13>x          a digit first: so many bytes
//! <13>message\n<13>x\n            anything else: up to a newline (or NUL)
//! ```
//!
//! Invariant: no more than a message's limit and one read are kept; what is longer is cut, and its rest passed over.

use bytes::{Buf, Bytes, BytesMut};

/// Counts with more digits than this are no counts.
const COUNT_DIGITS_MAX: usize = 9;

/// The stream makes no sense from here on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FramingError {
    #[error("a message begins with digits that are no length")]
    Count,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    /// Whether it was longer than the limit.
    pub(super) cut: bool,
}

/// Takes a stream apart.
#[derive(Debug)]
pub(super) struct Framer {
    pub(super) buffer: BytesMut,
    bytes_max: usize,
    skip: Skip,
}

/// What is passed over before the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    Nothing,
    Bytes(usize),
    ToNewline,
}

impl Framer {
    pub(super) fn new(bytes_max: usize) -> Self {
        Framer { buffer: BytesMut::new(), bytes_max: bytes_max.max(1), skip: Skip::Nothing }
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// When nothing that follows can be understood.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FramingError> {
        loop {
            if !self.skipped() {
                return Ok(None);
            }
            match self.buffer.first() {
                None => return Ok(None),
                Some(b'1'..=b'9') => return self.counted(),
                // Blank lines, and the newline that some send behind counted messages.
                Some(b'\n' | b'\r' | b'\0' | b' ') => self.buffer.advance(1),
                Some(_) => return Ok(self.terminated()),
            }
        }
    }

    /// What is left at the end of the stream, if it is a message.
    pub(super) fn finish(mut self) -> Option<Frame> {
        let is_counted = self.buffer.first().is_some_and(u8::is_ascii_digit);
        if !self.skipped() || is_counted || self.buffer.is_empty() {
            return None;
        }
        let bytes = self.buffer.split().freeze();
        Some(Frame { bytes, cut: false })
    }

    /// Passes over what is to be skipped; false when more must come first.
    fn skipped(&mut self) -> bool {
        match self.skip {
            Skip::Nothing => true,
            Skip::Bytes(bytes) => {
                let here = bytes.min(self.buffer.len());
                self.buffer.advance(here);
                self.skip = if here < bytes { Skip::Bytes(bytes - here) } else { Skip::Nothing };
                self.skip == Skip::Nothing
            }
            Skip::ToNewline => match end_of_line(&self.buffer) {
                Some(end) => {
                    self.buffer.advance(end + 1);
                    self.skip = Skip::Nothing;
                    true
                }
                None => {
                    self.buffer.clear();
                    false
                }
            },
        }
    }

    fn counted(&mut self) -> Result<Option<Frame>, FramingError> {
        let digits = self.buffer.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > COUNT_DIGITS_MAX {
            return Err(FramingError::Count);
        }
        match self.buffer.get(digits) {
            None => return Ok(None),
            Some(b' ') => {}
            Some(_) => return Err(FramingError::Count),
        }
        let count = self.buffer[..digits].iter().fold(0, |count, digit| count * 10 + usize::from(digit - b'0'));
        let kept = count.min(self.bytes_max);
        if self.buffer.len() < digits + 1 + kept {
            return Ok(None);
        }
        self.buffer.advance(digits + 1);
        let bytes = self.buffer.split_to(kept).freeze();
        if count > kept {
            self.skip = Skip::Bytes(count - kept);
        }
        Ok(Some(Frame { bytes, cut: count > kept }))
    }

    fn terminated(&mut self) -> Option<Frame> {
        match end_of_line(&self.buffer) {
            Some(end) if end <= self.bytes_max => {
                let bytes = self.buffer.split_to(end).freeze();
                self.buffer.advance(1);
                Some(Frame { bytes, cut: false })
            }
            None if self.buffer.len() <= self.bytes_max => None,
            _ => {
                let bytes = self.buffer.split_to(self.bytes_max).freeze();
                self.skip = Skip::ToNewline;
                Some(Frame { bytes, cut: true })
            }
        }
    }
}

fn end_of_line(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'\n', b'\0', bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of a stream that comes in pieces of `piece` bytes; cut ones with `~`.
    fn frames(stream: &str, piece: usize) -> String {
        let mut framer = Framer::new(12);
        let mut out = Vec::new();
        let show =
            |frame: Frame| format!("{}{}", String::from_utf8_lossy(&frame.bytes), if frame.cut { "~" } else { "" });
        for piece in stream.as_bytes().chunks(piece) {
            framer.buffer.extend_from_slice(piece);
            loop {
                match framer.next() {
                    Ok(Some(frame)) => out.push(show(frame)),
                    Ok(None) => break,
                    Err(error) => {
                        out.push(format!("! {error}"));
                        return out.join("|");
                    }
                }
            }
        }
        out.extend(framer.finish().map(show));
        out.join("|")
    }

    #[test]
    fn messages_end_where_their_senders_say() {
        for piece in [1, 2, 7, 1000] {
            let check =
                |stream: &str, expected: &str| assert_eq!(frames(stream, piece), expected, "{stream:?} by {piece}");
            check("<13>a\n<13>b\r\n\n<13>c", "<13>a|<13>b\r|<13>c");
            check("5 <13>a6 <13>bc", "<13>a|<13>bc");
            check("7 <13>a\nb\n<13>c\n", "<13>a\nb|<13>c");
            check("<13>a\0<13>b\0", "<13>a|<13>b");
            check("<13>0123456789abc\n<13>x\n", "<13>01234567~|<13>x");
            check("20 <13>0123456789abcdef5 <13>x", "<13>01234567~|<13>x");
            check("12345678901 x", "! a message begins with digits that are no length");
            check("12x", "! a message begins with digits that are no length");
            check("9 <13>a", "");
            check("", "");
        }
    }
}
