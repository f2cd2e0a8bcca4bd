//! The erasure certificate: what was asked, which files held it, that they are gone, signed.
//!
//! ```text
//! {"certificate": {…}, "signature": {"algorithm": "ed25519", "public_key": …, "value": …}}
//!                  └── the signature is over these bytes, as they stand in the file
//! ```
//!
//! The key is PKCS#8, PEM: `openssl` and every library read it.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::request::{DeleteRequest, Rewrite};
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};

const ALGORITHM: &str = "ed25519";
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// What the certificate does not speak of.
const SCOPE: &str =
    "files of the table and the write-ahead log of this server; not backups, nor versions that the store keeps";

/// What is signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    pub format: u32,
    pub issuer: String,
    pub scope: String,
    pub request_id: String,
    pub tenant: String,
    /// The rows that were asked away: those of this query with times in `start..=end`, RFC 3339.
    pub query: String,
    pub start: String,
    pub end: String,
    pub requested_at: String,
    /// Rows that came in later were not touched.
    pub ingest_sequence_ceiling: u64,
    pub started_at: String,
    /// When no live file had such rows any more.
    pub processed_at: String,
    /// When no file on the store and no segment of the log had them.
    pub erased_at: String,
    pub rows_deleted: u64,
    pub line_bytes_deleted: u64,
    /// The files that held rows: what they were, what took their place. They are deleted from the store.
    pub files: Vec<Rewrite>,
    /// Files that could have held such rows by their bounds and were read.
    pub files_checked: u64,
    /// The write-ahead log and the last of its records that is gone.
    pub log: String,
    pub log_cut_through: u64,
}

/// A certificate with its signature.
#[derive(Debug, Serialize, Deserialize)]
pub struct Signed {
    pub certificate: Box<RawValue>,
    pub signature: Signature,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    pub algorithm: String,
    /// 32 bytes, base64.
    pub public_key: String,
    /// 64 bytes, base64.
    pub value: String,
}

/// A certificate whose signature is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    pub certificate: Certificate,
    /// Whose: compare it with the key you trust.
    pub public_key: String,
}

/// What certificates are signed with.
pub struct SigningKey(Ed25519KeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public_key()).finish()
    }
}

/// Why a key or a certificate is no good.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("signing key {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("signing key {}: not an Ed25519 key in PKCS#8 PEM; make one with `openssl genpkey -algorithm ed25519`", path.display())]
    Key { path: PathBuf },
    #[error("no certificate: {0}")]
    Form(#[from] serde_json::Error),
    #[error("the signature is {algorithm}; only {ALGORITHM} is known")]
    Algorithm { algorithm: String },
    #[error("the signature does not fit: the certificate was changed, or is not by this key")]
    Signature,
}

impl SigningKey {
    /// Reads the key at `path`, or makes one there.
    pub fn open_or_make(path: &Path) -> Result<SigningKey, CertificateError> {
        let io = |source| CertificateError::Io { path: path.to_owned(), source };
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_pem(&text).ok_or_else(|| CertificateError::Key { path: path.to_owned() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
                    .map_err(|_| io(std::io::Error::other("the system has no randomness")))?;
                let pem = format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(document.as_ref()));
                write_private(path, pem.as_bytes()).map_err(io)?;
                Self::from_pem(&pem).ok_or_else(|| CertificateError::Key { path: path.to_owned() })
            }
            Err(error) => Err(io(error)),
        }
    }

    fn from_pem(text: &str) -> Option<SigningKey> {
        let inside = text.split_once(PEM_BEGIN)?.1.split_once(PEM_END)?.0;
        let document = STANDARD.decode(inside.split_whitespace().collect::<String>()).ok()?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document).ok().map(SigningKey)
    }

    /// 32 bytes, base64.
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.0.public_key().as_ref())
    }

    /// The signed certificate as text.
    pub fn sign(&self, certificate: &Certificate) -> Result<String, CertificateError> {
        let certificate = serde_json::value::to_raw_value(certificate)?;
        let signature = self.signature_of(certificate.get().as_bytes());
        Ok(serde_json::to_string(&Signed { certificate, signature })?)
    }

    /// The signature over `bytes`.
    pub fn signature_of(&self, bytes: &[u8]) -> Signature {
        let value = STANDARD.encode(self.0.sign(bytes).as_ref());
        Signature { algorithm: ALGORITHM.to_owned(), public_key: self.public_key(), value }
    }
}

impl Signature {
    /// Whether it is over `bytes`, by the key that it names.
    ///
    /// # Errors
    /// `Algorithm`, `Signature`.
    pub fn check(&self, bytes: &[u8]) -> Result<(), CertificateError> {
        if self.algorithm != ALGORITHM {
            return Err(CertificateError::Algorithm { algorithm: self.algorithm.clone() });
        }
        let decoded = |text: &str| STANDARD.decode(text).map_err(|_| CertificateError::Signature);
        let (key, value) = (decoded(&self.public_key)?, decoded(&self.value)?);
        UnparsedPublicKey::new(&ED25519, key).verify(bytes, &value).map_err(|_| CertificateError::Signature)
    }
}

impl Certificate {
    /// Of a request that is erased at `erased_ms`.
    pub(super) fn of(request: &DeleteRequest, erased_ms: i64) -> Certificate {
        Certificate {
            format: 1,
            issuer: concat!("millrace ", env!("CARGO_PKG_VERSION")).to_owned(),
            scope: SCOPE.to_owned(),
            request_id: request.id.clone(),
            tenant: request.tenant.clone(),
            query: request.query.clone(),
            start: rfc3339(request.start_ms),
            end: rfc3339(request.end_ms),
            requested_at: rfc3339(request.created_ms),
            ingest_sequence_ceiling: request.ceiling,
            started_at: rfc3339(request.started_ms.unwrap_or(erased_ms)),
            processed_at: rfc3339(request.processed_ms.unwrap_or(erased_ms)),
            erased_at: rfc3339(erased_ms),
            rows_deleted: request.rows_deleted(),
            line_bytes_deleted: request.rewrites.iter().map(|rewrite| rewrite.line_bytes_deleted).sum(),
            files: request.rewrites.clone(),
            files_checked: request.checked.len() as u64,
            log: request.log.log.clone(),
            log_cut_through: request.log.lsn,
        }
    }
}

/// Reads a signed certificate and checks its signature.
pub fn verify(text: &str) -> Result<Verified, CertificateError> {
    let signed: Signed = serde_json::from_str(text)?;
    signed.signature.check(signed.certificate.get().as_bytes())?;
    let certificate = serde_json::from_str(signed.certificate.get())?;
    Ok(Verified { certificate, public_key: signed.signature.public_key })
}

/// Writes a file that only its owner reads.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// `2026-01-15T10:00:00.000Z`.
fn rfc3339(ms: i64) -> String {
    let at = UnixNanos(ms.saturating_mul(NANOS_PER_MILLI));
    let time = chrono::DateTime::from_timestamp_nanos(at.0);
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::request;
    use super::*;

    #[test]
    fn a_signed_certificate_is_good_until_a_byte_changes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys/erasure.pem");
        let key = SigningKey::open_or_make(&path).expect("made");
        assert_eq!(SigningKey::open_or_make(&path).expect("read").public_key(), key.public_key());
        let certificate = Certificate::of(&request("abc"), 5_000);
        let text = key.sign(&certificate).expect("signed");
        let verified = verify(&text).expect("good");
        assert_eq!(verified, Verified { certificate, public_key: key.public_key() });
        assert_eq!(verified.certificate.start, "1970-01-01T00:00:01.000Z");
        let forged = text.replace("\"rows_deleted\":0", "\"rows_deleted\":9");
        assert_ne!(forged, text);
        assert!(matches!(verify(&forged), Err(CertificateError::Signature)));
        assert!(matches!(verify("{}"), Err(CertificateError::Form(_))));
        assert!(matches!(verify(&text.replace("ed25519", "rot13")), Err(CertificateError::Algorithm { .. })));
        std::fs::write(&path, "nonsense").expect("written");
        assert!(matches!(SigningKey::open_or_make(&path), Err(CertificateError::Key { .. })));
    }
}
