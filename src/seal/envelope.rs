//! Sealed objects: a header with the object's own key, then chunks that open one by one, so that ranges can be read.
//!
//! ```text
//! object := magic[8] chunk_bytes:u32 id_bytes:u8 id[32] nonce[12] wrapped[48] zero[23]   128 bytes, little endian
//!           (ciphertext[chunk_bytes] tag[16])*  ciphertext[0..=chunk_bytes] tag[16]
//! wrapped := AES-256-GCM(key of the id, nonce, data key; magic … id)
//! chunk i := AES-256-GCM(data key, nonce = 0 0 0 is_last i:u64, plain; name of the object)
//! ```
//!
//! The last chunk says that it is the last: an object that was cut short does not open to its end. Sizes of plain and
//! sealed objects follow from each other.

use std::ops::Range;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::SealError;
use super::keys::{ID_BYTES_MAX, KEY_BYTES, Keyring, KeyringError, random};

const MAGIC: [u8; 8] = *b"MRSEAL01";
/// Bytes before the first chunk.
pub const HEADER_BYTES: u64 = 128;
/// Plain bytes of a chunk: a range read costs at most two of them more than it asks for.
pub const CHUNK_BYTES: u64 = 64 * 1024;
const TAG_BYTES: u64 = 16;
const SEALED_CHUNK_BYTES: u64 = CHUNK_BYTES + TAG_BYTES;
/// Where the parts of the header are.
const ID_AT: usize = 12;
const NONCE_AT: usize = ID_AT + 1 + ID_BYTES_MAX;
const WRAPPED_AT: usize = NONCE_AT + 12;
const WRAPPED_BYTES: usize = KEY_BYTES + TAG_BYTES as usize;

/// The header of a sealed object.
pub type Header = [u8; HEADER_BYTES as usize];

/// An object's key, taken out of its header.
#[derive(Debug, Clone)]
pub struct DataKey(LessSafeKey);

/// Whether bytes begin a sealed object.
pub fn is_sealed(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// Id of the key that a header's data key is wrapped under.
pub fn key_id(header: &Header) -> Result<&str, SealError> {
    let length = usize::from(header[ID_AT]);
    let is_known = is_sealed(header) && header[8..12] == u32_bytes(CHUNK_BYTES) && length <= ID_BYTES_MAX;
    if !is_known {
        return Err(SealError::Header);
    }
    std::str::from_utf8(&header[ID_AT + 1..ID_AT + 1 + length]).map_err(|_| SealError::Header)
}

/// Bytes of a sealed object whose plain size is `plain`.
pub fn sealed_size(plain: u64) -> u64 {
    HEADER_BYTES + plain + chunks_of(plain) * TAG_BYTES
}

/// Plain size of a sealed object; 0 for what is too short to be one.
pub fn plain_size(sealed: u64) -> u64 {
    let body = sealed.saturating_sub(HEADER_BYTES);
    body.saturating_sub(body.div_ceil(SEALED_CHUNK_BYTES) * TAG_BYTES)
}

/// The sealed bytes that hold `plain`, which is not empty and inside an object of `size` plain bytes.
pub fn sealed_range(plain: &Range<u64>, size: u64) -> Range<u64> {
    let first = plain.start / CHUNK_BYTES;
    let last = plain.end.saturating_sub(1).max(plain.start) / CHUNK_BYTES;
    let start = HEADER_BYTES + first * SEALED_CHUNK_BYTES;
    let end = HEADER_BYTES + (last + 1) * SEALED_CHUNK_BYTES;
    start..end.min(sealed_size(size))
}

/// Makes the key of a new object and its header.
pub fn new_object(keys: &Keyring) -> Result<(DataKey, Header), KeyringError> {
    let secret = Zeroizing::new(random::<KEY_BYTES>()?);
    Ok((DataKey(key(&secret)), wrap(keys, &secret)?))
}

/// Takes the key out of a header.
pub fn open_header(keys: &Keyring, header: &Header) -> Result<DataKey, SealError> {
    Ok(DataKey(key(&*unwrap(keys, header)?)))
}

/// The same data key under the newest key: the body stays as it is.
pub fn rewrap(keys: &Keyring, header: &Header) -> Result<Result<Header, KeyringError>, SealError> {
    let secret = unwrap(keys, header)?;
    Ok(wrap(keys, &secret))
}

/// Seals the whole content of an object named `name`.
pub fn seal(keys: &Keyring, name: &str, plain: &[u8]) -> Result<Vec<u8>, KeyringError> {
    let (key, header) = new_object(keys)?;
    let mut out = Vec::with_capacity(usize::try_from(sealed_size(plain.len() as u64)).unwrap_or(0));
    out.extend_from_slice(&header);
    let count = chunks_of(plain.len() as u64);
    for index in 0..count {
        key.seal_chunk(name, index, index + 1 == count, chunk(plain, index), &mut out);
    }
    Ok(out)
}

/// Opens a whole object.
pub fn open(keys: &Keyring, name: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let header: &Header = sealed.first_chunk().ok_or(SealError::Header)?;
    let key = open_header(keys, header)?;
    let size = plain_size(sealed.len() as u64);
    key.open_range(name, &(0..size), size, &sealed[header.len()..])
        .ok_or_else(|| SealError::Wrong { id: key_id(header).unwrap_or_default().to_owned() })
}

impl DataKey {
    /// Appends one sealed chunk.
    pub fn seal_chunk(&self, name: &str, index: u64, is_last: bool, plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(plain);
        let sealed = self.0.seal_in_place_separate_tag(nonce(index, is_last), Aad::from(name), &mut out[start..]);
        out.extend_from_slice(sealed.expect("a chunk is far below what AES-GCM takes").as_ref());
    }

    /// Opens `range` from the sealed bytes that [`sealed_range`] named; `None` when they are not what was sealed.
    pub fn open_range(&self, name: &str, range: &Range<u64>, size: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let first = range.start / CHUNK_BYTES;
        let last_index = chunks_of(size) - 1;
        let mut plain = Vec::with_capacity(sealed.len());
        let mut expected_end = 0;
        for (at, chunk) in sealed.chunks(SEALED_CHUNK_BYTES as usize).enumerate() {
            let index = first + at as u64;
            let start = plain.len();
            plain.extend_from_slice(chunk);
            let nonce = nonce(index, index == last_index);
            let opened = self.0.open_in_place(nonce, Aad::from(name), &mut plain[start..]).ok()?.len();
            plain.truncate(start + opened);
            expected_end = (index * CHUNK_BYTES) + opened as u64;
        }
        let skip = usize::try_from(range.start - first * CHUNK_BYTES).ok()?;
        let length = usize::try_from(range.end - range.start).ok()?;
        if expected_end < range.end || plain.len() < skip + length {
            return None;
        }
        plain.truncate(skip + length);
        plain.drain(..skip);
        Some(plain)
    }
}

fn chunks_of(plain: u64) -> u64 {
    plain.div_ceil(CHUNK_BYTES).max(1)
}

fn chunk(plain: &[u8], index: u64) -> &[u8] {
    let start = (index * CHUNK_BYTES) as usize;
    &plain[start..plain.len().min(start + CHUNK_BYTES as usize)]
}

fn nonce(index: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3] = u8::from(is_last);
    bytes[4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

pub(super) fn key(secret: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).expect("AES-256 takes any 32 bytes"))
}

fn u32_bytes(value: u64) -> [u8; 4] {
    u32::try_from(value).expect("a chunk is small").to_le_bytes()
}

fn wrap(keys: &Keyring, secret: &[u8; KEY_BYTES]) -> Result<Header, KeyringError> {
    let mut header: Header = [0; HEADER_BYTES as usize];
    let id = keys.newest_id().as_bytes();
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&u32_bytes(CHUNK_BYTES));
    header[ID_AT] = u8::try_from(id.len()).expect("ids are checked when read");
    header[ID_AT + 1..ID_AT + 1 + id.len()].copy_from_slice(id);
    let nonce: [u8; 12] = random()?;
    header[NONCE_AT..WRAPPED_AT].copy_from_slice(&nonce);
    let mut wrapped = Zeroizing::new(secret.to_vec());
    let aad = Aad::from(header[..NONCE_AT].to_vec());
    let tag = key(keys.newest_secret())
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut wrapped)
        .expect("a key is far below what AES-GCM takes");
    header[WRAPPED_AT..WRAPPED_AT + KEY_BYTES].copy_from_slice(&wrapped);
    header[WRAPPED_AT + KEY_BYTES..WRAPPED_AT + WRAPPED_BYTES].copy_from_slice(tag.as_ref());
    Ok(header)
}

fn unwrap(keys: &Keyring, header: &Header) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealError> {
    let id = key_id(header)?;
    let wrong = || SealError::Wrong { id: id.to_owned() };
    let nonce: [u8; 12] = header[NONCE_AT..WRAPPED_AT].try_into().map_err(|_| SealError::Header)?;
    let mut wrapped = Zeroizing::new(header[WRAPPED_AT..WRAPPED_AT + WRAPPED_BYTES].to_vec());
    let opened = key(keys.secret(id)?)
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(&header[..NONCE_AT]), &mut wrapped)
        .map_err(|_| wrong())?;
    let secret: [u8; KEY_BYTES] = (&*opened).try_into().map_err(|_| wrong())?;
    Ok(Zeroizing::new(secret))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::generate_line;
    use super::*;

    fn keyring(ids: &[&str]) -> Keyring {
        let text: String = ids.iter().map(|id| generate_line(id).expect("made").to_string()).collect();
        Keyring::parse(&text, "the test").expect("good")
    }

    fn plain(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at * 7 % 251) as u8).collect()
    }

    #[test]
    fn sizes_follow_from_each_other() {
        for size in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 10_000_001] {
            assert_eq!(plain_size(sealed_size(size)), size);
            let keys = keyring(&["a"]);
            let sealed = seal(&keys, "x", &plain(size as usize)).expect("sealed");
            assert_eq!(sealed.len() as u64, sealed_size(size));
            assert_eq!(open(&keys, "x", &sealed).expect("opened"), plain(size as usize));
        }
        assert_eq!(plain_size(5), 0);
    }

    #[test]
    fn wrong_keys_names_and_bytes_are_refused() {
        let keys = keyring(&["a"]);
        let sealed = seal(&keys, "x", &plain(200_000)).expect("sealed");
        assert!(!sealed.windows(16).any(|window| window == &plain(16)[..]), "plain text inside");
        assert!(matches!(open(&keyring(&["b"]), "x", &sealed), Err(SealError::UnknownKey { .. })));
        assert!(matches!(open(&keyring(&["a"]), "x", &sealed), Err(SealError::Wrong { .. })));
        assert!(matches!(open(&keys, "y", &sealed), Err(SealError::Wrong { .. })));
        assert!(matches!(open(&keys, "x", b"plain"), Err(SealError::Header)));
        // Cut at a chunk's end: the last one left does not say that it is the last.
        let cut = &sealed[..(HEADER_BYTES + 2 * SEALED_CHUNK_BYTES) as usize];
        assert!(matches!(open(&keys, "x", cut), Err(SealError::Wrong { .. })));
    }

    #[test]
    fn a_new_key_wraps_the_same_body() {
        let line = generate_line("a").expect("made");
        let old = Keyring::parse(&line, "f").expect("good");
        let both = Keyring::parse(&format!("{}{}", line.as_str(), generate_line("b").expect("made").as_str()), "f")
            .expect("good");
        let mut sealed = seal(&old, "x", &plain(100)).expect("sealed");
        let header: Header = *sealed.first_chunk().expect("long enough");
        let again = rewrap(&both, &header).expect("opened").expect("wrapped");
        assert_eq!((key_id(&header), key_id(&again)), (Ok("a"), Ok("b")));
        sealed[..HEADER_BYTES as usize].copy_from_slice(&again);
        assert_eq!(open(&both, "x", &sealed).expect("opened"), plain(100));
        assert!(matches!(open(&old, "x", &sealed), Err(SealError::UnknownKey { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_range_opens(size in 0_u64..300_000, a: prop::sample::Index, b: prop::sample::Index) {
            let keys = keyring(&["a"]);
            let content = plain(size as usize);
            let sealed = seal(&keys, "x", &content).expect("sealed");
            let (a, b) = (a.index(size as usize + 1) as u64, b.index(size as usize + 1) as u64);
            let range = a.min(b)..a.max(b);
            prop_assume!(!range.is_empty());
            let key = open_header(&keys, sealed.first_chunk().expect("long enough")).expect("opened");
            let part = sealed_range(&range, size);
            let opened = key.open_range("x", &range, size, &sealed[part.start as usize..part.end as usize]);
            prop_assert_eq!(opened.as_deref(), Some(&content[range.start as usize..range.end as usize]));
        }

        #[test]
        fn a_flipped_bit_is_noticed(size in 0_usize..200_000, at: prop::sample::Index, bit in 0..8_u8) {
            let keys = keyring(&["a"]);
            let mut sealed = seal(&keys, "x", &plain(size)).expect("sealed");
            let at = at.index(sealed.len());
            prop_assume!(!(WRAPPED_AT + WRAPPED_BYTES..HEADER_BYTES as usize).contains(&at));
            sealed[at] ^= 1 << bit;
            prop_assert!(open(&keys, "x", &sealed).is_err());
        }
    }
}
