//! Label names as small numbers: hashes, and sets of them.

/// A small Bloom filter over name hashes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NameSet([u64; 4]);

impl NameSet {
    #[inline]
    pub(super) fn insert(&mut self, hash: u32) {
        self.0[(hash >> 6 & 3) as usize] |= 1 << (hash & 63);
    }

    #[inline]
    pub(super) fn may_contain(&self, hash: u32) -> bool {
        self.0[(hash >> 6 & 3) as usize] >> (hash & 63) & 1 == 1
    }
}

/// A quick hash of a name; equality is always checked on the text.
#[inline]
pub(super) fn name_hash(name: &str) -> u32 {
    let bytes = name.as_bytes();
    let (first, last) = match bytes {
        [] => (0, 0),
        _ if bytes.len() < 4 => {
            let ends = u64::from(bytes[0]) | u64::from(bytes[bytes.len() - 1]) << 16;
            (ends | u64::from(bytes[bytes.len() / 2]) << 8, 0)
        }
        _ => {
            match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>())
            {
                (Some(first), Some(last), ..) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
                (.., Some(first), Some(last)) => {
                    (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
                }
                _ => (0, 0),
            }
        }
    };
    let mixed = (first ^ last.rotate_left(29) ^ (bytes.len() as u64) << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(32) as u32
}
