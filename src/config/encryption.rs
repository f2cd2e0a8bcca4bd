//! Settings of encryption at rest.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::seal::{Keyring, KeyringError};
use crate::store::Sealing;

/// Where keys come from. None: nothing is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncryptionConfig {
    /// One key a line, the newest last; see docs/encryption.md.
    pub key_file: Option<PathBuf>,
    /// A program, with its arguments, that writes such a file to its standard output.
    pub key_command: Vec<String>,
    /// Whether what is not sealed is read as it is.
    pub allow_plain: bool,
}

impl Config {
    /// How the kept data is encrypted, if it is.
    ///
    /// # Errors
    /// When keys are named and cannot be had.
    pub fn sealing(&self) -> Result<Option<Sealing>, KeyringError> {
        let own = &self.millrace.encryption;
        let keys = match (&own.key_file, own.key_command.is_empty()) {
            (Some(path), _) => Keyring::read(path)?,
            (None, false) => Keyring::from_program(&own.key_command)?,
            (None, true) => return Ok(None),
        };
        Ok(Some(Sealing { keys: Arc::new(keys), allow_plain: own.allow_plain }))
    }
}
