//! Which single bit was flipped in bytes whose CRC-32 (IEEE) is known: what rots on a disk is often no more.
//!
//! CRC-32 is linear: the difference of two sums says which bit differs, if it is only one. The place is found by
//! sending each bit through the register as many steps as bytes follow it, from the last byte to the first.

/// The polynomial, bits reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

/// The byte of `length`, and the mask of the bit in it, whose flip makes a sum of `expected` one of `found`.
///
/// Of longer damage, one in 2^32 / (8 · `length`) looks like a single bit: check what comes of it otherwise too.
/// CPU: about 10 ns a byte.
pub fn find(length: usize, expected: u32, found: u32) -> Option<(usize, u8)> {
    let difference = expected ^ found;
    if difference == 0 {
        return None;
    }
    let mut of_bits: [u32; 8] = std::array::from_fn(|bit| TABLE[1 << bit]);
    for at in (0..length).rev() {
        if let Some(bit) = of_bits.iter().position(|sum| *sum == difference) {
            return Some((at, 1 << bit));
        }
        for sum in &mut of_bits {
            *sum = (*sum >> 8) ^ TABLE[(*sum & 0xff) as usize];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_flipped_bit_is_found_again(bytes in proptest::collection::vec(any::<u8>(), 1..3_000), at: prop::sample::Index, bit in 0..8_u8) {
            let expected = crc32fast::hash(&bytes);
            prop_assert_eq!(find(bytes.len(), expected, expected), None);
            let (mut flipped, at) = (bytes, at.index(usize::MAX));
            let at = at % flipped.len();
            flipped[at] ^= 1 << bit;
            prop_assert_eq!(find(flipped.len(), expected, crc32fast::hash(&flipped)), Some((at, 1 << bit)));
        }
    }
}
