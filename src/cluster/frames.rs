//! What a process tells of its rows, as bytes.
//!
//! ```text
//! frame   length:u32 kind:u8 body                 little endian; the length is that of kind and body
//! begin   the identity of the process's log
//! rows    source length:u16, source, position:i64, seq:u64, then a record of the log: tenant and Arrow IPC
//! ready   version:u64                             all rows there were are told, or in the table as of this version
//! alive   nothing came for a while
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::types::ids::IngestSeq;

/// A frame that claims more is no frame.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// One thing told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Begin { identity: String },
    Rows { source: String, position: i64, seq: IngestSeq, record: Bytes },
    Ready { version: u64 },
    Alive,
}

/// Bytes that are no frames.
#[derive(Debug, thiserror::Error)]
#[error("what a peer told cannot be read: {0}")]
pub(super) struct BadFrame(&'static str);

impl Frame {
    pub(super) fn encode(&self) -> Bytes {
        let mut body = BytesMut::new();
        match self {
            Frame::Begin { identity } => {
                body.put_u8(0);
                body.put_slice(identity.as_bytes());
            }
            Frame::Rows { source, position, seq, record } => {
                body.put_u8(1);
                body.put_u16_le(u16::try_from(source.len()).unwrap_or(u16::MAX));
                body.put_slice(&source.as_bytes()[..source.len().min(usize::from(u16::MAX))]);
                body.put_i64_le(*position);
                body.put_u64_le(seq.0);
                body.put_slice(record);
            }
            Frame::Ready { version } => {
                body.put_u8(2);
                body.put_u64_le(*version);
            }
            Frame::Alive => body.put_u8(3),
        }
        let mut frame = BytesMut::with_capacity(body.len() + 4);
        frame.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX));
        frame.unsplit(body);
        frame.freeze()
    }

    /// Takes a frame off the front of `bytes`; none while it is not whole.
    pub(super) fn decode(bytes: &mut BytesMut) -> Result<Option<Frame>, BadFrame> {
        let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > FRAME_BYTES_MAX {
            return Err(BadFrame("a frame of no length"));
        }
        if bytes.len() < 4 + length {
            bytes.reserve(4 + length - bytes.len());
            return Ok(None);
        }
        bytes.advance(4);
        let mut body = bytes.split_to(length).freeze();
        let short = |_| BadFrame("a frame ends early");
        let frame = match body.get_u8() {
            0 => Frame::Begin { identity: text(&body)? },
            1 => {
                let length = usize::from(body.try_get_u16_le().map_err(short)?);
                if body.len() < length {
                    return Err(BadFrame("a frame ends early"));
                }
                let source = text(&body.split_to(length))?;
                let position = body.try_get_i64_le().map_err(short)?;
                let seq = IngestSeq(body.try_get_u64_le().map_err(short)?);
                Frame::Rows { source, position, seq, record: body }
            }
            2 => Frame::Ready { version: body.try_get_u64_le().map_err(short)? },
            3 => Frame::Alive,
            _ => return Err(BadFrame("a frame of an unknown kind")),
        };
        Ok(Some(frame))
    }
}

fn text(bytes: &[u8]) -> Result<String, BadFrame> {
    String::from_utf8(bytes.to_vec()).map_err(|_| BadFrame("a name is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_come_back_in_any_pieces() {
        let frames = [
            Frame::Begin { identity: "millrace-wal-1".to_owned() },
            Frame::Rows {
                source: "kafka/topic/3".to_owned(),
                position: -7,
                seq: IngestSeq(1 << 60),
                record: Bytes::from_static(b"record"),
            },
            Frame::Alive,
            Frame::Ready { version: 42 },
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode()).collect();
        for piece in [1, 3, 7, bytes.len()] {
            let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
            for piece in bytes.chunks(piece) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = Frame::decode(&mut buffer).expect("good") {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::decode(&mut buffer) {}
        }
    }
}
