//! The checksum of a commit, in the commit: what was torn or flipped is noticed, and a single bit is flipped back.
//!
//! ```text
//! {"commitInfo":{…,"millraceCrc32":"5a0c11de"}}      crc32 of the whole commit with 00000000 in this place
//! {"txn":…}
//! {"add":…}
//! ```
//!
//! Other engines pass over the field; a commit without it is taken as it is.

use std::ops::Range;

use crate::types::bit_flip;

/// What a commit is written with before its sum is known.
pub(super) const NONE_YET: &str = "00000000";
const KEY: &[u8] = b"\"millraceCrc32\":\"";

/// Puts the sum in its place.
pub(super) fn seal(mut body: Vec<u8>) -> Vec<u8> {
    let digits = format!("{:08x}", crc32fast::hash(&body));
    if let Some(place) = place(&body) {
        body[place].copy_from_slice(digits.as_bytes());
    }
    body
}

/// Whether a commit is as it was written, as far as it says.
pub(super) fn fits(body: &[u8]) -> bool {
    let Some(place) = place(body) else { return true };
    body[place.clone()] == *format!("{:08x}", actual(body, &place)).as_bytes()
}

/// The commit before one of its bits was flipped; `None` when more is wrong, or nothing.
pub(super) fn correct(body: &[u8]) -> Option<Vec<u8>> {
    let place = place(body)?;
    let sum = actual(body, &place);
    let mut corrected = body.to_vec();
    let digits = format!("{sum:08x}");
    let wrong = digits.bytes().zip(&body[place.clone()]).map(|(own, other)| (own ^ other).count_ones()).sum::<u32>();
    if wrong == 1 {
        corrected[place].copy_from_slice(digits.as_bytes());
        return Some(corrected);
    }
    let (at, mask) = bit_flip::find(body.len(), stored(body, &place)?, sum)?;
    corrected[at] ^= mask;
    fits(&corrected).then_some(corrected)
}

/// Where the digits are: in the first line.
fn place(body: &[u8]) -> Option<Range<usize>> {
    let line = &body[..memchr::memchr(b'\n', body).unwrap_or(body.len())];
    let start = memchr::memmem::find(line, KEY)? + KEY.len();
    (start + NONE_YET.len() <= line.len()).then_some(start..start + NONE_YET.len())
}

fn stored(body: &[u8], place: &Range<usize>) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(&body[place.clone()]).ok()?, 16).ok()
}

fn actual(body: &[u8], place: &Range<usize>) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&body[..place.start]);
    sum.update(NONE_YET.as_bytes());
    sum.update(&body[place.end..]);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit() -> Vec<u8> {
        let first = r#"{"commitInfo":{"operation":"WRITE","millraceCrc32":"00000000"}}"#;
        seal(format!("{first}\n{{\"txn\":{{\"appId\":\"a\",\"version\":7}}}}\n").into_bytes())
    }

    #[test]
    fn every_flipped_bit_is_noticed_or_harmless_and_flipped_back() {
        let whole = commit();
        assert!(fits(&whole) && correct(&whole).is_none());
        let key = place(&whole).expect("sealed").start - KEY.len()..place(&whole).expect("sealed").start;
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                if key.contains(&at) {
                    assert!(fits(&flipped), "nothing but the name of the sum is wrong");
                } else if flipped[at] != b'\n' || at > key.end {
                    assert!(!fits(&flipped), "byte {at} bit {bit}");
                    assert_eq!(correct(&flipped).as_ref(), Some(&whole), "byte {at} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn a_torn_commit_is_noticed_also_between_lines() {
        let whole = commit();
        let first_line = memchr::memchr(b'\n', &whole).expect("a line") + 1;
        for length in first_line..whole.len() {
            assert!(!fits(&whole[..length]) && correct(&whole[..length]).is_none(), "{length}");
        }
        assert!(fits(b"{}\n"), "other writers do not sum up");
    }
}
