//! Checksums of a file's blocks, kept in its footer: whatever is read of a file is checked against them.
//!
//! ```text
//! key_value_metadata["millrace.blocks"] = base64(data_bytes:u64 crc32:u32 crc32:u32 …)      little endian
//!
//! [block][block]…[rest] | indexes, footer |        crc32 of all blocks and of the end, combined = crc32 in the table's log
//! └─── data_bytes ────┘ └──── the end ────┘
//! ```
//!
//! The log vouches for the end of a file and for these sums, and they vouch for its data: a bit that flips anywhere is
//! noticed by the query that reads it. Formatted and parsed here only.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc32fast::Hasher;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Key of the footer entry.
pub(super) const FOOTER_KEY: &str = "millrace.blocks";
/// A small read costs at most two blocks more; the sums of 128 MB take 16 KB.
const BLOCK_BYTES: u64 = 32 << 10;

/// The sums of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockSums {
    /// Bytes that the sums are of: all before the indexes and the footer.
    data_bytes: u64,
    sums: Vec<u32>,
}

/// Sums up a file as it is written.
#[derive(Debug, Default)]
pub(super) struct BlockSummer {
    sums: BlockSums,
    open: Hasher,
    /// Bytes of the block that is open.
    filled: u64,
}

impl BlockSummer {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.sums.data_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = usize::try_from(BLOCK_BYTES - self.filled).unwrap_or(usize::MAX);
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            self.open.update(taken);
            self.filled += taken.len() as u64;
            bytes = rest;
            if self.filled == BLOCK_BYTES {
                self.end_block();
            }
        }
    }

    pub(super) fn finish(mut self) -> BlockSums {
        if self.filled > 0 {
            self.end_block();
        }
        self.sums
    }

    fn end_block(&mut self) {
        self.sums.sums.push(std::mem::take(&mut self.open).finalize());
        self.filled = 0;
    }
}

impl BlockSums {
    /// Where the data ends and the indexes begin.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.sums.len() * size_of::<u32>()
    }

    /// The range of whole blocks around `range`, as far as there are sums.
    pub(super) fn around(&self, range: &Range<u64>) -> Range<u64> {
        let start = range.start / BLOCK_BYTES * BLOCK_BYTES;
        let end = range.end.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES).min(self.data_bytes);
        start.min(range.start)..end.max(range.end)
    }

    /// Where the first block of `bytes` begins that is not as it was written. `start` is the place of `bytes` in the
    /// file, the beginning of a block; what lies beyond the data is not looked at.
    pub(super) fn first_damaged(&self, start: u64, bytes: &[u8]) -> Option<u64> {
        let data = usize::try_from(self.data_bytes.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len());
        let first = usize::try_from(start / BLOCK_BYTES).unwrap_or(usize::MAX);
        let sums = self.sums.get(first..).unwrap_or_default();
        let blocks = bytes[..data].chunks(BLOCK_BYTES as usize).zip(sums);
        let bad = blocks.enumerate().find(|(_, (block, sum))| crc32fast::hash(block) != **sum);
        bad.map(|(at, _)| start + at as u64 * BLOCK_BYTES)
    }

    /// The checksum of a file with these sums and this end.
    pub(super) fn whole(&self, end: &[u8]) -> u32 {
        let mut whole = Hasher::new();
        let mut left = self.data_bytes;
        for sum in &self.sums {
            let bytes = left.min(BLOCK_BYTES);
            whole.combine(&Hasher::new_with_initial_len(*sum, bytes));
            left -= bytes;
        }
        whole.update(end);
        whole.finalize()
    }

    pub(super) fn encode(&self) -> String {
        let mut bytes = self.data_bytes.to_le_bytes().to_vec();
        bytes.extend(self.sums.iter().flat_map(|sum| sum.to_le_bytes()));
        STANDARD.encode(bytes)
    }

    /// # Errors
    /// A text naming what is wrong.
    pub(super) fn decode(text: &str) -> Result<Self, String> {
        let bytes = Bytes::from(STANDARD.decode(text).map_err(|e| e.to_string())?);
        let (data_bytes, sums) = bytes.split_first_chunk::<8>().ok_or("its checksums are cut short")?;
        let data_bytes = u64::from_le_bytes(*data_bytes);
        let (sums, rest) = sums.as_chunks::<4>();
        if !rest.is_empty() || sums.len() as u64 != data_bytes.div_ceil(BLOCK_BYTES) {
            return Err("its checksums are not as many as its blocks".to_owned());
        }
        Ok(BlockSums { data_bytes, sums: sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect() })
    }
}

/// Looks through a whole file. `None` for one that has no sums; else where its first damaged block begins, if any.
///
/// # Errors
/// A text naming why its sums cannot be read.
pub(super) fn first_damaged(file: &Bytes) -> Result<Option<Option<u64>>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).map_err(|e| e.to_string())?;
    let entries = reader.metadata().file_metadata().key_value_metadata();
    let entry = entries.and_then(|entries| entries.iter().find(|entry| entry.key == FOOTER_KEY));
    let Some(text) = entry.and_then(|entry| entry.value.as_deref()) else { return Ok(None) };
    let sums = BlockSums::decode(text)?;
    Ok(Some(sums.first_damaged(0, file)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sums_of(data: &[u8], piece: usize) -> BlockSums {
        let mut summer = BlockSummer::default();
        data.chunks(piece).for_each(|piece| summer.update(piece));
        summer.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_flipped_bit_is_found_in_its_block(length in 1..200_000_usize, at: prop::sample::Index, bit in 0..8_u8, piece in 1_000..70_000_usize) {
            let mut data: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
            let sums = sums_of(&data, piece);
            prop_assert_eq!(sums.first_damaged(0, &data), None);
            prop_assert_eq!(BlockSums::decode(&sums.encode()), Ok(sums.clone()));
            let mut file = data.clone();
            file.extend_from_slice(b"footer");
            prop_assert_eq!(sums.whole(b"footer"), crc32fast::hash(&file));
            let at = at.index(length);
            data[at] ^= 1 << bit;
            let block = at as u64 / BLOCK_BYTES * BLOCK_BYTES;
            prop_assert_eq!(sums.first_damaged(0, &data), Some(block));
            let around = sums.around(&(at as u64..at as u64 + 1));
            let part = &data[around.start as usize..around.end as usize];
            prop_assert_eq!(sums.first_damaged(around.start, part), Some(block));
        }
    }

    #[test]
    fn ranges_grow_to_whole_blocks() {
        let sums = sums_of(&vec![1; 100_000], 4096);
        let check = |range: Range<u64>, expected: Range<u64>| assert_eq!(sums.around(&range), expected, "{range:?}");
        check(0..1, 0..32_768);
        check(32_767..32_769, 0..65_536);
        check(99_000..100_000, 98_304..100_000);
        check(99_000..120_000, 98_304..120_000);
        assert!(BlockSums::decode("AAAA").is_err());
    }
}
