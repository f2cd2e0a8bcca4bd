//! One delete request: what was asked, and how far it has come.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::Hide;
use crate::query::QueryError;
use crate::query::removal::LogPredicate;
use crate::streams::Streams;
use crate::types::ids::{IngestSeq, TenantId, TenantIdError};
use crate::types::time::{NANOS_PER_MILLI, TimeRange, UnixNanos};

/// The format of a request in the ledger.
pub(super) const FORMAT: u32 = 1;

/// A request and its progress, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRequest {
    pub format: u32,
    pub id: String,
    pub tenant: String,
    pub query: String,
    /// Event times, milliseconds since the epoch, both inside.
    pub start_ms: i64,
    pub end_ms: i64,
    pub created_ms: i64,
    /// The ingest sequence after which rows are not touched.
    pub ceiling: u64,
    /// The last record of the write-ahead log that may hold such rows.
    pub log: LogMark,
    pub stage: Stage,
    /// Files that may have such rows: when the work began, and still.
    pub files_found: u64,
    pub files_left: u64,
    /// Files, by path, that were read and have no such rows, or have none any more.
    pub checked: BTreeSet<String>,
    /// Files that were written anew.
    pub rewrites: Vec<Rewrite>,
    /// Files that are being exchanged: whether it happened the table says.
    pub pending: Vec<Rewrite>,
    pub started_ms: Option<i64>,
    pub processed_ms: Option<i64>,
    pub erased_ms: Option<i64>,
}

/// A place in one write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMark {
    /// The log's identity.
    pub log: String,
    pub lsn: u64,
}

/// In the order of a request's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Received,
    Working,
    /// No live file has such rows.
    Processed,
    /// No file on the store and no segment of the log has them; there is a certificate.
    Erased,
}

/// A file written anew without some rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    pub before: Facts,
    /// None when no row was left.
    pub after: Vec<Facts>,
    /// Rows of this request that the file had.
    pub rows_deleted: u64,
    /// Bytes of their lines.
    pub line_bytes_deleted: u64,
    pub at_ms: i64,
}

/// What a file was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Relative to the table.
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
    /// Of its bytes, hex.
    pub sha256: String,
}

impl DeleteRequest {
    pub fn tenant(&self) -> Result<TenantId, TenantIdError> {
        TenantId::parse(&self.tenant)
    }

    /// The event times it is about.
    pub fn range(&self) -> TimeRange {
        let nanos = |ms: i64| UnixNanos(ms.saturating_mul(NANOS_PER_MILLI));
        TimeRange::new(nanos(self.start_ms), nanos(self.end_ms).saturating_add(1))
    }

    pub fn ceiling(&self) -> IngestSeq {
        IngestSeq(self.ceiling)
    }

    /// What hides its rows.
    ///
    /// # Errors
    /// When the query does not compile, which it did when it was taken.
    pub fn hide(&self, streams: &Streams) -> Result<Hide, QueryError> {
        let tenant = self.tenant().map_err(|error| QueryError::BadInput(error.to_string()))?;
        let predicate = LogPredicate::parse(&self.query, streams.tenant(&tenant))?.sparing_audit();
        let (range, ceiling) = (self.range(), self.ceiling());
        Ok(Hide { id: self.id.as_str().into(), tenant, range, ceiling, predicate: Arc::new(predicate) })
    }

    /// Whether its rows are still hidden by filtering.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Received | Stage::Working)
    }

    /// Loki's word for how far it is.
    pub fn status(&self) -> String {
        let done = self.files_found.saturating_sub(self.files_left);
        match self.stage {
            Stage::Processed | Stage::Erased => "processed".to_owned(),
            Stage::Working if done > 0 => format!("{}% Complete", (done * 100 / self.files_found).min(99)),
            Stage::Received | Stage::Working => "received".to_owned(),
        }
    }

    pub fn rows_deleted(&self) -> u64 {
        self.rewrites.iter().map(|rewrite| rewrite.rows_deleted).sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::upkeep::deletes) fn request(id: &str) -> DeleteRequest {
        DeleteRequest {
            format: FORMAT,
            id: id.to_owned(),
            tenant: "fake".to_owned(),
            query: r#"{app="a"} |= "x""#.to_owned(),
            start_ms: 1_000,
            end_ms: 2_000,
            created_ms: 3_000,
            ceiling: 7,
            log: LogMark { log: "millrace-wal-1".to_owned(), lsn: 9 },
            stage: Stage::Received,
            files_found: 0,
            files_left: 0,
            checked: BTreeSet::new(),
            rewrites: Vec::new(),
            pending: Vec::new(),
            started_ms: None,
            processed_ms: None,
            erased_ms: None,
        }
    }

    #[test]
    fn statuses_are_lokis() {
        let check = |stage, found, left, expected: &str| {
            let request = DeleteRequest { stage, files_found: found, files_left: left, ..request("a") };
            assert_eq!(request.status(), expected);
        };
        check(Stage::Received, 0, 0, "received");
        check(Stage::Working, 3, 3, "received");
        check(Stage::Working, 3, 1, "66% Complete");
        check(Stage::Working, 3, 0, "99% Complete");
        check(Stage::Processed, 3, 0, "processed");
        check(Stage::Erased, 0, 0, "processed");
    }

    #[test]
    fn both_bounds_are_inside() {
        let range = request("a").range();
        assert!(range.contains(UnixNanos(1_000_000_000)) && range.contains(UnixNanos(2_000_000_000)));
        assert!(!range.contains(UnixNanos(2_000_000_001)) && !range.contains(UnixNanos(999_999_999)));
    }
}
