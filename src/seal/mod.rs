//! Encryption at rest: AES-256-GCM, under keys that a file or a program gives.
//!
//! ```text
//! key file: k1 …, k2 …  ─▶ Keyring ─┬▶ envelope: an object = header (data key, wrapped under k2) + sealed chunks
//!            newest last            └▶ record:   a log record under a key derived from k2 and a salt of this start
//! ```
//!
//! Invariants: a nonce is used once with a key: every object has a data key of its own, every start of the log a salt
//! of its own; what is opened was sealed under the same name (of the object, of the record), or it is refused.
//! Errors: [`SealError`]; its texts name keys by id and never show them.

pub mod envelope;
mod keys;
pub mod record;

pub use keys::{KEY_BYTES, Keyring, KeyringError, generate_line};

/// Why something sealed could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error(
        "sealed with key {id}, which is not among the keys given ({known}); add it to millrace.encryption.key_file"
    )]
    UnknownKey { id: String, known: String },
    #[error("key {id} does not open it: another key has that id now, or it was changed after it was sealed")]
    Wrong { id: String },
    #[error("it is sealed, and no keys were given; set millrace.encryption.key_file")]
    NoKeys,
    #[error(
        "it is not sealed, though keys were given; `millrace keys rotate` seals what is there, millrace.encryption.allow_plain reads it meanwhile"
    )]
    Plain,
    #[error("its header is damaged")]
    Header,
}
