//! Values of a column that were met a moment ago, so that what is known of them is not noted again.

/// Values remembered by column.
const SLOTS: usize = 256;
/// Bytes of a value that is remembered; longer ones are met anew each time.
const VALUE_BYTES_MAX: usize = 31;

/// A small cache of values: each has one place, and the last one to come has it.
#[derive(Debug)]
pub(super) struct Noted {
    /// The bytes, zeros, and the length last; of length 255 where there is none.
    values: Box<[[u8; VALUE_BYTES_MAX + 1]]>,
}

const NONE: [u8; VALUE_BYTES_MAX + 1] = [255; VALUE_BYTES_MAX + 1];

impl Default for Noted {
    fn default() -> Self {
        Noted { values: vec![NONE; SLOTS].into_boxed_slice() }
    }
}

impl Noted {
    /// Whether the value is not remembered; it is from now on, when it is short.
    #[inline]
    pub(super) fn is_new(&mut self, value: &[u8]) -> bool {
        if value.len() > VALUE_BYTES_MAX {
            return true;
        }
        let mut padded = [0; VALUE_BYTES_MAX + 1];
        padded[..value.len()].copy_from_slice(value);
        padded[VALUE_BYTES_MAX] = value.len() as u8;
        let place = &mut self.values[place_of(&padded)];
        let is_new = *place != padded;
        *place = padded;
        is_new
    }

    pub(super) fn clear(&mut self) {
        self.values.fill(NONE);
    }
}

#[inline]
fn place_of(padded: &[u8; VALUE_BYTES_MAX + 1]) -> usize {
    let (words, _) = padded.as_chunks::<8>();
    let mixed = words.iter().fold(0u64, |mixed, word| {
        (mixed.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    });
    (mixed >> 56) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_new_once() {
        let mut noted = Noted::default();
        assert!(noted.is_new(b"info") && !noted.is_new(b"info"));
        assert!(noted.is_new(b"") && !noted.is_new(b""));
        assert!(noted.is_new(b"a\0") && noted.is_new(b"a") && !noted.is_new(b"a"));
        let long = [b'x'; VALUE_BYTES_MAX + 1];
        assert!(noted.is_new(&long) && noted.is_new(&long));
        assert!(noted.is_new(&long[1..]) && !noted.is_new(&long[1..]));
        noted.clear();
        assert!(noted.is_new(b"info"));
    }
}
