//! Sealed records of a log: each under a key that is derived from the newest key and a salt of this start.
//!
//! ```text
//! record := "MRS1" id_bytes:u8 id salt[16] counter:u64 ciphertext tag[16]
//! key    := HKDF-SHA256(key of the id, salt, "millrace log records")     nonce := 0 0 0 0 counter
//! ```
//!
//! A record is bound to its number in the log: it does not open as another.

use std::collections::HashMap;

use ring::aead::{Aad, LessSafeKey, Nonce};
use ring::hkdf;
use zeroize::Zeroizing;

use super::SealError;
use super::envelope::key;
use super::keys::{KEY_BYTES, Keyring, KeyringError, random};

const MAGIC: [u8; 4] = *b"MRS1";
const SALT_BYTES: usize = 16;
const PURPOSE: &[&[u8]] = &[b"millrace log records"];

/// Seals records, one after the other.
#[derive(Debug)]
pub struct RecordSealer {
    key: LessSafeKey,
    /// Everything of a record before its counter.
    prefix: Vec<u8>,
    counter: u64,
}

/// Opens records of any start and key.
#[derive(Debug)]
pub struct RecordOpener {
    keys: std::sync::Arc<Keyring>,
    derived: HashMap<Vec<u8>, LessSafeKey>,
    /// Whether records that are not sealed are taken as they are.
    allow_plain: bool,
}

/// Whether a record is sealed.
pub fn is_sealed(record: &[u8]) -> bool {
    record.starts_with(&MAGIC)
}

/// Id of the key that a record is under; `None` for one that is not sealed.
pub fn key_id(record: &[u8]) -> Option<&str> {
    let rest = record.strip_prefix(&MAGIC)?;
    let (length, rest) = rest.split_first()?;
    std::str::from_utf8(rest.get(..usize::from(*length))?).ok()
}

impl RecordSealer {
    pub fn new(keys: &Keyring) -> Result<Self, KeyringError> {
        let salt: [u8; SALT_BYTES] = random()?;
        let id = keys.newest_id().as_bytes();
        let mut prefix = MAGIC.to_vec();
        prefix.push(u8::try_from(id.len()).expect("ids are checked when read"));
        prefix.extend_from_slice(id);
        prefix.extend_from_slice(&salt);
        Ok(RecordSealer { key: derive(keys.newest_secret(), &salt), prefix, counter: 0 })
    }

    /// Seals the record with number `number`.
    pub fn seal(&mut self, number: u64, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.prefix.len() + 8 + plain.len() + 16);
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(&self.counter.to_le_bytes());
        let start = out.len();
        out.extend_from_slice(plain);
        let aad = Aad::from(number.to_le_bytes());
        let tag = self.key.seal_in_place_separate_tag(nonce(self.counter), aad, &mut out[start..]);
        out.extend_from_slice(tag.expect("records are far below what AES-GCM takes").as_ref());
        self.counter += 1;
        out
    }
}

impl RecordOpener {
    pub fn new(keys: std::sync::Arc<Keyring>, allow_plain: bool) -> Self {
        RecordOpener { keys, derived: HashMap::new(), allow_plain }
    }

    /// Opens the record with number `number`.
    pub fn open(&mut self, number: u64, record: &[u8]) -> Result<Vec<u8>, SealError> {
        if !is_sealed(record) {
            return if self.allow_plain { Ok(record.to_vec()) } else { Err(SealError::Plain) };
        }
        let length = usize::from(*record.get(MAGIC.len()).ok_or(SealError::Header)?);
        let id_end = MAGIC.len() + 1 + length;
        let salt_end = id_end + SALT_BYTES;
        let prefix = record.get(..salt_end).ok_or(SealError::Header)?;
        let id = std::str::from_utf8(&prefix[MAGIC.len() + 1..id_end]).map_err(|_| SealError::Header)?;
        let counter: &[u8; 8] = record.get(salt_end..).and_then(<[u8]>::first_chunk).ok_or(SealError::Header)?;
        if !self.derived.contains_key(prefix) {
            let derived = derive(self.keys.secret(id)?, &prefix[id_end..]);
            self.derived.insert(prefix.to_vec(), derived);
        }
        let mut plain = record[salt_end + 8..].to_vec();
        let aad = Aad::from(number.to_le_bytes());
        let opened = self.derived[prefix].open_in_place(nonce(u64::from_le_bytes(*counter)), aad, &mut plain);
        let length = opened.map_err(|_| SealError::Wrong { id: id.to_owned() })?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

fn derive(secret: &[u8; KEY_BYTES], salt: &[u8]) -> LessSafeKey {
    struct KeyLength;
    impl hkdf::KeyType for KeyLength {
        fn len(&self) -> usize {
            KEY_BYTES
        }
    }
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let filled = extracted.expand(PURPOSE, KeyLength).and_then(|okm| okm.fill(derived.as_mut_slice()));
    filled.expect("HKDF gives up to 8160 bytes");
    key(&derived)
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::generate_line;
    use super::*;

    #[test]
    fn records_open_as_themselves_only() {
        let lines = [generate_line("a").expect("made"), generate_line("b").expect("made")];
        let old = Arc::new(Keyring::parse(&lines[0], "f").expect("good"));
        let both = Arc::new(Keyring::parse(&format!("{}{}", lines[0].as_str(), lines[1].as_str()), "f").expect("good"));
        let mut first = RecordSealer::new(&old).expect("made");
        let mut second = RecordSealer::new(&both).expect("made");
        let records = [first.seal(1, b"one"), first.seal(2, b""), second.seal(3, b"three")];
        let mut opener = RecordOpener::new(both, false);
        for (number, expected) in [(1, &b"one"[..]), (2, b""), (3, b"three")] {
            assert_eq!(opener.open(number, &records[number as usize - 1]).expect("opened"), expected);
        }
        assert!(matches!(opener.open(2, &records[0]), Err(SealError::Wrong { .. })));
        assert!(matches!(opener.open(4, b"plain"), Err(SealError::Plain)));
        let mut of_old = RecordOpener::new(old, true);
        assert!(matches!(of_old.open(3, &records[2]), Err(SealError::UnknownKey { .. })));
        assert_eq!(of_old.open(4, b"plain").expect("allowed"), b"plain");
        for cut in 0..records[0].len() {
            assert!(opener.open(1, &records[0][..cut]).is_err(), "cut at {cut}");
        }
    }
}
