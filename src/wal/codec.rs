//! The record grammar, pure.
//!
//! ```text
//! record := magic:u32 len:u32 crc:u32 lsn:u64 payload[len]        little endian
//! crc    := crc32(len, lsn, payload)
//! ```

use crate::types::bit_flip;
use crate::types::ids::Lsn;

pub(super) const MAGIC: [u8; 4] = *b"MRrc";
pub(super) const HEADER_BYTES: usize = 20;
/// A larger length is taken for damage: one push is far below.
pub(super) const PAYLOAD_BYTES_MAX: usize = 512 << 20;

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// They end before the record does.
    Short,
    /// They are something else.
    Wrong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) payload_bytes: usize,
    crc: u32,
    pub(super) lsn: Lsn,
}

/// Appends one record to `out`.
pub(super) fn encode(lsn: Lsn, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("append refuses what is over PAYLOAD_BYTES_MAX");
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(length, lsn, payload).to_le_bytes());
    out.extend_from_slice(&lsn.0.to_le_bytes());
    out.extend_from_slice(payload);
}

pub(super) fn decode_header(bytes: &[u8]) -> Result<Header, Damage> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Damage::Short)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let payload_bytes = word(4) as usize;
    if header[..4] != MAGIC || payload_bytes > PAYLOAD_BYTES_MAX {
        return Err(Damage::Wrong);
    }
    let lsn = Lsn(u64::from(word(12)) | u64::from(word(16)) << 32);
    Ok(Header { payload_bytes, crc: word(8), lsn })
}

/// Whether `payload` is the one the header was written for.
pub(super) fn check_payload(header: &Header, payload: &[u8]) -> Result<(), Damage> {
    if payload.len() < header.payload_bytes {
        return Err(Damage::Short);
    }
    let length = u32::try_from(payload.len()).map_err(|_| Damage::Wrong)?;
    if checksum(length, header.lsn, payload) == header.crc { Ok(()) } else { Err(Damage::Wrong) }
}

/// The record `lsn` that `bytes` were before one of their bits was flipped; `None` when more is wrong than that.
pub(super) fn correct(lsn: Lsn, bytes: &[u8]) -> Option<Vec<u8>> {
    let payload = bytes.get(HEADER_BYTES..)?;
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= PAYLOAD_BYTES_MAX)?;
    let mut record = bytes.to_vec();
    record[..4].copy_from_slice(&MAGIC);
    record[4..8].copy_from_slice(&length.to_le_bytes());
    record[12..20].copy_from_slice(&lsn.0.to_le_bytes());
    let flipped: u32 = record.iter().zip(bytes).take(HEADER_BYTES).map(|(own, other)| (own ^ other).count_ones()).sum();
    let stored = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let sum = checksum(length, lsn, payload);
    match (flipped, (sum ^ stored).count_ones()) {
        (1, 0) => {}
        (0, 1) => record[8..12].copy_from_slice(&sum.to_le_bytes()),
        (0, _) => {
            let (at, mask) = bit_flip::find(payload.len(), stored, sum)?;
            record[HEADER_BYTES + at] ^= mask;
        }
        _ => return None,
    }
    Some(record)
}

fn checksum(length: u32, lsn: Lsn, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length.to_le_bytes());
    crc.update(&lsn.0.to_le_bytes());
    crc.update(payload);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8]) -> Result<(Lsn, Vec<u8>), Damage> {
        let header = decode_header(bytes)?;
        let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + header.payload_bytes).ok_or(Damage::Short)?;
        check_payload(&header, payload)?;
        Ok((header.lsn, payload.to_vec()))
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(lsn: u64, payload: Vec<u8>) {
            let mut bytes = Vec::new();
            encode(Lsn(lsn), &payload, &mut bytes);
            prop_assert_eq!(decode(&bytes), Ok((Lsn(lsn), payload)));
        }

        #[test]
        fn a_flipped_bit_is_noticed(payload in proptest::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = Vec::new();
            encode(Lsn(7), &payload, &mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn a_flipped_bit_is_flipped_back(payload in proptest::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = Vec::new();
            encode(Lsn(7), &payload, &mut bytes);
            let mut flipped = bytes.clone();
            let at = at.index(bytes.len());
            flipped[at] ^= 1 << bit;
            prop_assert_eq!(correct(Lsn(7), &flipped), Some(bytes.clone()));
            flipped.push(0);
            prop_assert_eq!(correct(Lsn(7), &flipped), None);
        }

        #[test]
        fn a_cut_record_is_short(payload in proptest::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index) {
            let mut bytes = Vec::new();
            encode(Lsn(7), &payload, &mut bytes);
            bytes.truncate(at.index(bytes.len()));
            prop_assert_eq!(decode(&bytes), Err(Damage::Short));
        }

        #[test]
        fn noise_never_panics(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
