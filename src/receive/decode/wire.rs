//! Protobuf read in place: a message is a slice, its fields are called out one by one, nothing is built.
//!
//! A body of many empty messages costs no more memory than its bytes; messages built from it would cost fifty times.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::PushError;

/// A field's value, in place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Number(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

fn malformed(error: &prost::DecodeError) -> PushError {
    PushError::bad(format!("proto: {error}"))
}

/// Calls `each` with every field of a message, in order.
pub(super) fn fields<'a>(
    mut body: &'a [u8],
    mut each: impl FnMut(u32, Value<'a>) -> Result<(), PushError>,
) -> Result<(), PushError> {
    while !body.is_empty() {
        let (tag, wire) = decode_key(&mut body).map_err(|e| malformed(&e))?;
        let value = match wire {
            WireType::Varint => Value::Number(decode_varint(&mut body).map_err(|e| malformed(&e))?),
            WireType::SixtyFourBit => Value::Fixed64(u64::from_le_bytes(take(&mut body)?)),
            WireType::ThirtyTwoBit => Value::Fixed32(u32::from_le_bytes(take(&mut body)?)),
            WireType::LengthDelimited => {
                let length = decode_varint(&mut body).map_err(|e| malformed(&e))?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let (value, rest) = body.split_at_checked(length).ok_or_else(|| PushError::bad("unexpected EOF"))?;
                body = rest;
                Value::Bytes(value)
            }
            other => {
                skip_field(other, tag, &mut body, DecodeContext::default()).map_err(|e| malformed(&e))?;
                continue;
            }
        };
        each(tag, value)?;
    }
    Ok(())
}

fn take<const BYTES: usize>(body: &mut &[u8]) -> Result<[u8; BYTES], PushError> {
    let (value, rest) = body.split_first_chunk().ok_or_else(|| PushError::bad("unexpected EOF"))?;
    *body = rest;
    Ok(*value)
}
