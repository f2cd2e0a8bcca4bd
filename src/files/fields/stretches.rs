//! Which rows of a row group can have an id: the group in stretches, and for each a filter of the ids that it has.
//!
//! ```text
//! row group       │ 8192 rows │ 8192 rows │ …
//! ids of a column │  filter   │  filter   │ …     binary fuse filters of 8 bits, between the row groups of the file
//!
//! bytes of a column's filters: for each stretch  entries:u32  [ seed:u64 segment:u32 segments:u32  entries × u8 ]
//! ```
//!
//! A filter says yes for one in 250 ids that its stretch does not have, and for every id that it has. It takes 10.5 bits
//! an id. Formatted and parsed here only.

use std::ops::{BitAnd, BitOr, Range};

use xorf::{BinaryFuse8, Descriptor, Filter as _};
use xxhash_rust::xxh3::xxh3_64;

/// Rows of a stretch: two pages of the file's narrow columns.
pub(in crate::files) const STRETCH_ROWS: usize = 8_192;
/// Stretches of a row group, at most.
const STRETCHES_MAX: usize = 64;
/// What stands for the number of entries of a filter that could not be made.
const NOT_MADE: u32 = u32::MAX;

/// A set of stretches of a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretches(u64);

/// Filters of one id column in one row group, a stretch each.
#[derive(Debug, Default)]
pub(in crate::files) struct IdFilters(Vec<Stretch>);

#[derive(Debug)]
enum Stretch {
    /// No row has an id.
    Empty,
    Filter(BinaryFuse8),
    /// Nothing is known.
    Any,
}

impl Stretches {
    pub const ALL: Stretches = Stretches(u64::MAX);
    pub const NONE: Stretches = Stretches(0);

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rows of a row group in the set, ascending; the last range may go beyond its last row.
    pub(in crate::files) fn rows(self) -> Vec<Range<usize>> {
        let mut rows: Vec<Range<usize>> = Vec::new();
        for at in (0..STRETCHES_MAX).filter(|at| self.0 >> at & 1 == 1) {
            let (start, end) = (at * STRETCH_ROWS, (at + 1) * STRETCH_ROWS);
            match rows.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => rows.push(start..end),
            }
        }
        rows
    }
}

impl BitAnd for Stretches {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Stretches(self.0 & other.0)
    }
}

impl BitOr for Stretches {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Stretches(self.0 | other.0)
    }
}

/// An id as filters have it.
#[inline]
pub(super) fn hash_of(id: &[u8]) -> u64 {
    xxh3_64(id)
}

impl IdFilters {
    /// Ends a stretch, whose ids have these hashes; they are taken.
    pub(super) fn end_stretch(&mut self, hashes: &mut Vec<u64>) {
        hashes.sort_unstable();
        hashes.dedup();
        self.0.push(match BinaryFuse8::try_from(&*hashes) {
            _ if hashes.is_empty() => Stretch::Empty,
            Ok(filter) => Stretch::Filter(filter),
            Err(_) => Stretch::Any,
        });
        hashes.clear();
    }

    /// The stretches that can have an id.
    pub(in crate::files) fn stretches_with(&self, id: &str) -> Stretches {
        let hash = hash_of(id.as_bytes());
        let may_have = |stretch: &Stretch| match stretch {
            Stretch::Empty => false,
            Stretch::Filter(filter) => filter.contains(&hash),
            Stretch::Any => true,
        };
        let bits = self.0.iter().enumerate().filter(|(_, stretch)| may_have(stretch)).map(|(at, _)| 1 << at);
        Stretches(bits.fold(0, |all, bit: u64| all | bit))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for stretch in &self.0 {
            match stretch {
                Stretch::Empty => bytes.extend(0_u32.to_le_bytes()),
                Stretch::Any => bytes.extend(NOT_MADE.to_le_bytes()),
                Stretch::Filter(BinaryFuse8 { descriptor, fingerprints }) => {
                    bytes.extend((fingerprints.len() as u32).to_le_bytes());
                    bytes.extend(descriptor.seed.to_le_bytes());
                    bytes.extend(descriptor.segment_length.to_le_bytes());
                    bytes.extend(descriptor.segment_count_length.to_le_bytes());
                    bytes.extend_from_slice(fingerprints);
                }
            }
        }
        bytes
    }

    /// # Errors
    /// A text naming what is wrong.
    pub(in crate::files) fn decode(mut bytes: &[u8]) -> Result<Self, String> {
        let mut stretches = Vec::new();
        while !bytes.is_empty() {
            let entries = number(&mut bytes)?;
            stretches.push(match entries {
                0 => Stretch::Empty,
                NOT_MADE => Stretch::Any,
                entries => Stretch::Filter(filter(&mut bytes, entries)?),
            });
        }
        if stretches.len() > STRETCHES_MAX {
            return Err(format!("filters of {} stretches, at most {STRETCHES_MAX}", stretches.len()));
        }
        Ok(IdFilters(stretches))
    }

    pub(in crate::files) fn memory_bytes(&self) -> usize {
        let entries = |stretch: &Stretch| match stretch {
            Stretch::Filter(filter) => filter.fingerprints.len(),
            Stretch::Empty | Stretch::Any => 0,
        };
        self.0.iter().map(|stretch| size_of::<Stretch>() + entries(stretch)).sum()
    }
}

/// Takes a number off the front.
fn number(bytes: &mut &[u8]) -> Result<u32, String> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or("a filter is cut short")?;
    *bytes = rest;
    Ok(u32::from_le_bytes(*number))
}

/// Takes a filter off the front, one that points at none but its own entries.
fn filter(bytes: &mut &[u8], entries: u32) -> Result<BinaryFuse8, String> {
    let (seed, rest) = bytes.split_first_chunk::<8>().ok_or("a filter is cut short")?;
    *bytes = rest;
    let (segment_length, segment_count_length) = (number(bytes)?, number(bytes)?);
    let fits = segment_length.is_power_of_two()
        && segment_count_length.is_multiple_of(segment_length)
        && u64::from(segment_count_length) + 2 * u64::from(segment_length) <= u64::from(entries);
    if !fits || segment_count_length == 0 {
        return Err("a filter whose segments are not its entries".to_owned());
    }
    let (fingerprints, rest) = bytes.split_at_checked(entries as usize).ok_or("a filter is cut short")?;
    *bytes = rest;
    let seed = u64::from_le_bytes(*seed);
    let descriptor = Descriptor { seed, segment_length, segment_length_mask: segment_length - 1, segment_count_length };
    Ok(BinaryFuse8 { descriptor, fingerprints: fingerprints.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filters(ids: &[Vec<String>]) -> IdFilters {
        let mut filters = IdFilters::default();
        for of_stretch in ids {
            filters.end_stretch(&mut of_stretch.iter().map(|id| hash_of(id.as_bytes())).collect());
        }
        filters
    }

    #[test]
    fn ids_are_found_where_they_are_and_seldom_elsewhere() {
        let ids: Vec<Vec<String>> = (0..16)
            .map(|stretch| (0..STRETCH_ROWS).map(|at| format!("{:020x}", stretch * 1_000_003 + at / 2)).collect())
            .collect();
        let filters = filters(&ids);
        let bytes = filters.encode();
        let filters = IdFilters::decode(&bytes).expect("as it was written");
        let mut others = 0;
        for (stretch, of_stretch) in ids.iter().enumerate() {
            for id in of_stretch.iter().step_by(100) {
                let found = filters.stretches_with(id);
                assert!(!(found & Stretches(1 << stretch)).is_empty(), "{id}");
                others += found.0.count_ones() - 1;
            }
        }
        // 16 × 82 ids asked of 15 stretches that do not have them.
        assert!(others < 200, "{others}");
        // Each id twice: 4096 of them.
        assert!(bytes.len() < 16 * 4_096 * 3 / 2, "{}", bytes.len());
    }

    #[test]
    fn rows_of_stretches() {
        assert_eq!(Stretches(0b1011).rows(), [0..16_384, 24_576..32_768]);
        assert!(Stretches::NONE.rows().is_empty());
        assert_eq!(Stretches::ALL.rows().len(), 1);
        let empty = filters(&[vec![], vec!["an id".to_owned()]]);
        assert!((empty.stretches_with("an id") & Stretches(1)).is_empty());
        assert_eq!(empty.stretches_with("an id"), Stretches(2));
    }

    proptest! {
        #[test]
        fn few_ids_and_many_come_back(ids in prop::collection::vec(prop::collection::vec("[a-f0-9]{8,12}", 0..40), 0..4)) {
            let read = IdFilters::decode(&filters(&ids).encode()).expect("as it was written");
            for (stretch, of_stretch) in ids.iter().enumerate() {
                for id in of_stretch {
                    prop_assert!(!(read.stretches_with(id) & Stretches(1 << stretch)).is_empty());
                }
            }
        }

        #[test]
        fn damage_is_an_error_or_a_filter(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
            let mut bytes = filters(&[(0..50).map(|at| format!("id {at}")).collect()]).encode();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Ok(filters) = IdFilters::decode(&bytes) {
                filters.stretches_with("id 1");
            }
        }
    }
}
