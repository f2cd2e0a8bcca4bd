//! The keys themselves, from a file or a program: one a line, the newest last.
//!
//! ```text
//! # id, then 32 random bytes in base64
//! 2026-01 3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
//! ```

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key: AES-256.
pub const KEY_BYTES: usize = 32;
/// Bytes of a key's id: it has a fixed place in headers.
pub(super) const ID_BYTES_MAX: usize = 32;

/// All keys; new data is sealed under the newest.
pub struct Keyring {
    /// Never empty; the newest is last.
    keys: Vec<Key>,
}

struct Key {
    id: String,
    secret: [u8; KEY_BYTES],
}

impl Drop for Key {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("keys of {from}: {source}")]
    Read { from: String, source: std::io::Error },
    #[error("keys of {from}: line {line}: {reason}")]
    Line { from: String, line: usize, reason: &'static str },
    #[error("keys of {from}: there is none; `millrace keys generate` makes one")]
    Empty { from: String },
    #[error("keys of {from}: the program failed: {reason}")]
    Program { from: String, reason: String },
    #[error("no random numbers: {0}")]
    Random(ring::error::Unspecified),
}

impl Keyring {
    pub fn read(path: &Path) -> Result<Self, KeyringError> {
        let from = path.display().to_string();
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        Self::parse(&text.map_err(|source| KeyringError::Read { from: from.clone(), source })?, &from)
    }

    /// Takes the keys from what a program says on its standard output.
    pub fn from_program(command: &[String]) -> Result<Self, KeyringError> {
        let from = command.first().cloned().unwrap_or_default();
        let ended = std::process::Command::new(&from).args(command.get(1..).unwrap_or_default()).output();
        let ended = ended.map_err(|source| KeyringError::Read { from: from.clone(), source })?;
        if !ended.status.success() {
            let reason = format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr).trim());
            return Err(KeyringError::Program { from, reason });
        }
        let text = Zeroizing::new(ended.stdout);
        let text = std::str::from_utf8(&text).map_err(|_| KeyringError::Line {
            from: from.clone(),
            line: 1,
            reason: "not UTF-8",
        })?;
        Self::parse(text, &from)
    }

    /// `from` is what messages call the source.
    pub fn parse(text: &str, from: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<Key> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let bad = |reason| KeyringError::Line { from: from.to_owned(), line: at + 1, reason };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, secret) = line.split_once(char::is_whitespace).ok_or_else(|| bad("an id, a space, a key"))?;
            if !is_good_id(id) {
                return Err(bad("an id has 1 to 32 letters, digits, - or _"));
            }
            if keys.iter().any(|key| key.id == id) {
                return Err(bad("the id is there twice"));
            }
            let secret =
                STANDARD.decode(secret.trim()).map(Zeroizing::new).map_err(|_| bad("the key is not base64"))?;
            let secret = secret.as_slice().try_into().map_err(|_| bad("the key has not 32 bytes"))?;
            keys.push(Key { id: id.to_owned(), secret });
        }
        if keys.is_empty() { Err(KeyringError::Empty { from: from.to_owned() }) } else { Ok(Keyring { keys }) }
    }

    /// Id of the key that new data is sealed under.
    pub fn newest_id(&self) -> &str {
        &self.newest().id
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    pub(super) fn newest_secret(&self) -> &[u8; KEY_BYTES] {
        &self.newest().secret
    }

    pub(super) fn secret(&self, id: &str) -> Result<&[u8; KEY_BYTES], super::SealError> {
        let found = self.keys.iter().find(|key| key.id == id);
        let unknown =
            || super::SealError::UnknownKey { id: id.to_owned(), known: self.ids().collect::<Vec<_>>().join(", ") };
        found.map(|key| &key.secret).ok_or_else(unknown)
    }

    fn newest(&self) -> &Key {
        self.keys.last().expect("a keyring is never empty")
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

/// A new line of a key file.
pub fn generate_line(id: &str) -> Result<Zeroizing<String>, KeyringError> {
    if !is_good_id(id) {
        let reason = "an id has 1 to 32 letters, digits, - or _";
        return Err(KeyringError::Line { from: "a new key".to_owned(), line: 1, reason });
    }
    let secret = Zeroizing::new(random::<KEY_BYTES>()?);
    Ok(Zeroizing::new(format!("{id} {}\n", STANDARD.encode(secret.as_slice()))))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], KeyringError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(KeyringError::Random)?;
    Ok(bytes)
}

fn is_good_id(id: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_their_faults_named() {
        let good = "# mine\n\na 3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
        let check = |text: &str, expected: Result<&str, &str>| match (Keyring::parse(text, "f"), expected) {
            (Ok(keys), Ok(newest)) => assert_eq!(keys.newest_id(), newest, "{text}"),
            (Err(error), Err(said)) => assert!(error.to_string().contains(said), "{text}: {error}"),
            (found, expected) => panic!("{text}: {found:?} instead of {expected:?}"),
        };
        check(good, Ok("a"));
        check(&format!("{good}{}", generate_line("b").expect("made").as_str()), Ok("b"));
        check("", Err("there is none"));
        check("a", Err("line 1"));
        check("a AAAA", Err("32 bytes"));
        check("a ?", Err("base64"));
        check(&format!("{good}{good}"), Err("line 6: the id is there twice"));
        check("bad/id 3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Err("letters"));
    }

    #[test]
    fn keys_are_not_shown() {
        let line = generate_line("k").expect("made");
        let secret = line.split(' ').nth(1).expect("a secret").trim().to_owned();
        let keys = Keyring::parse(&line, "f").expect("good");
        assert_eq!(format!("{keys:?}"), r#"["k"]"#);
        let error = Keyring::parse(&format!("k {secret}x"), "f").expect_err("bad base64").to_string();
        assert!(!error.contains(&secret), "{error}");
    }

    #[test]
    fn a_program_may_give_them() {
        let command = |text: &str| ["sh", "-c", text].map(str::to_owned);
        let keys = Keyring::from_program(&command("echo a 3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
        assert_eq!(keys.expect("good").newest_id(), "a");
        let failed = Keyring::from_program(&command("echo no vault >&2; exit 3")).expect_err("failed").to_string();
        assert!(failed.contains("no vault"), "{failed}");
    }
}
