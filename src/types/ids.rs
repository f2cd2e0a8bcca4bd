//! Identities: tenants, streams, log sequence numbers.

use std::fmt;
use std::sync::Arc;

/// Longest tenant id, in bytes (Loki's limit).
pub const TENANT_ID_BYTES_MAX: usize = 150;

/// Who owns a row. Letters, digits and `!-_.*'()`, not `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// Why a text is no tenant id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantIdError {
    #[error("no org id")]
    Empty,
    #[error("tenant ID is too long: max {TENANT_ID_BYTES_MAX} characters")]
    TooLong,
    #[error("tenant ID '{id}' contains unsupported character '{character}'")]
    Character { id: String, character: char },
    #[error("tenant ID is '.' or '..'")]
    Dots,
}

impl TenantId {
    /// The one tenant of a server with `auth_enabled: false`.
    pub fn single() -> Self {
        TenantId(Arc::from("fake"))
    }

    pub fn parse(text: &str) -> Result<Self, TenantIdError> {
        if text.is_empty() {
            return Err(TenantIdError::Empty);
        }
        if let Some(character) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "!-_.*'()".contains(*c))) {
            return Err(TenantIdError::Character { id: text.to_owned(), character });
        }
        if text.len() > TENANT_ID_BYTES_MAX {
            return Err(TenantIdError::TooLong);
        }
        if text == "." || text == ".." {
            return Err(TenantIdError::Dots);
        }
        Ok(TenantId(Arc::from(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Position of a record in the write-ahead log: 1 is the first, 0 is "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    pub fn next(self) -> Self {
        Lsn(self.0 + 1)
    }

    /// As the table keeps how far a log has come.
    pub fn position(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// When rows came in, as an order: rows of a head share one, and so do the files made of them. Nanoseconds of the
/// clock when the head took its first row, made strictly increasing within a process. 0 is "before everything".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct IngestSeq(pub u64);

impl fmt::Display for IngestSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_follow_lokis_rules() {
        for good in ["a", "team-1", "a_b.c*d'e(f)!", "..."] {
            assert!(TenantId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a|b", "żółć"] {
            assert!(TenantId::parse(bad).is_err(), "{bad}");
        }
        assert!(TenantId::parse(&"x".repeat(150)).is_ok());
        assert_eq!(TenantId::parse(&"x".repeat(151)), Err(TenantIdError::TooLong));
    }
}
