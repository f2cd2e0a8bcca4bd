//! Recent rows, queryable before they reach Parquet.
//!
//! ```text
//! WAL group ─▶ Head::append ─▶ parts (merged as they grow) ─▶ snapshot ─▶ query
//!                                     └─ seal ─▶ SealedHead ─▶ flush ─▶ files
//! ```
//!
//! Invariants: a part never changes once made, so a snapshot is a list of `Arc`s;
//! a row that repeats another (stream, time, line, metadata) of this head or of the one
//! before it is dropped, as Loki drops it.
//! Errors: none; the bound on its size is kept by whoever seals it.

mod merge;
mod part;
mod repeats;

use std::collections::HashMap;
use std::sync::Arc;

pub use part::HeadPart;
use repeats::RowHashes;
pub use repeats::{RowHash, row_hashes};

use arrow::array::RecordBatch;

use crate::types::ids::{Lsn, TenantId};
use crate::types::time::UnixNanos;

/// Rows that no file has yet. One owner; readers get parts.
#[derive(Debug)]
pub struct Head {
    tenants: HashMap<TenantId, Vec<Arc<HeadPart>>>,
    seen: RowHashes,
    seen_before: RowHashes,
    bytes: usize,
    rows: usize,
    last_lsn: Lsn,
    /// When the first row of this head arrived, by the clock.
    opened_at: Option<UnixNanos>,
}

/// A head that takes no more rows: what one flush writes.
#[derive(Debug)]
pub struct SealedHead {
    pub tenants: HashMap<TenantId, Vec<Arc<HeadPart>>>,
    pub rows: usize,
    pub bytes: usize,
    /// Every record up to here is in this head, in an earlier one, or in a file.
    pub last_lsn: Lsn,
}

/// How full the head is.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadStats {
    /// Arrow bytes, about.
    pub bytes: usize,
    pub rows: usize,
    pub opened_at: Option<UnixNanos>,
}

impl Head {
    /// An empty head whose records come after `last_lsn`.
    pub fn new(last_lsn: Lsn) -> Self {
        Head {
            tenants: HashMap::new(),
            seen: RowHashes::default(),
            seen_before: RowHashes::default(),
            bytes: 0,
            rows: 0,
            last_lsn,
            opened_at: None,
        }
    }

    /// Appends a batch of `ROW_SCHEMA`; rows already here are dropped.
    ///
    /// `hashes` are [`row_hashes`] of the batch, one a row. Answers the rows kept.
    pub fn append(
        &mut self,
        lsn: Lsn,
        tenant: &TenantId,
        rows: RecordBatch,
        hashes: &[RowHash],
        now: UnixNanos,
    ) -> usize {
        debug_assert_eq!(rows.num_rows(), hashes.len());
        self.last_lsn = self.last_lsn.max(lsn);
        let rows = repeats::without_repeats(rows, hashes, &mut self.seen, &self.seen_before);
        let kept = rows.num_rows();
        if kept == 0 {
            return 0;
        }
        self.opened_at.get_or_insert(now);
        let part = Arc::new(HeadPart::new(rows));
        self.bytes += part.bytes();
        self.rows += kept;
        let parts = self.tenants.entry(tenant.clone()).or_default();
        parts.push(part);
        merge::merge_small_parts(parts);
        kept
    }

    /// Remembers rows that a file has already, so that a late repeat of them is dropped.
    pub fn remember_flushed(&mut self, hashes: &[RowHash]) {
        self.seen_before.extend(hashes);
    }

    /// The parts of one tenant, oldest first.
    pub fn parts(&self, tenant: &TenantId) -> Vec<Arc<HeadPart>> {
        self.tenants.get(tenant).cloned().unwrap_or_default()
    }

    /// Takes everything out; `None` when there is nothing.
    pub fn seal(&mut self) -> Option<SealedHead> {
        if self.rows == 0 {
            return None;
        }
        self.seen_before = std::mem::take(&mut self.seen);
        self.opened_at = None;
        Some(SealedHead {
            tenants: std::mem::take(&mut self.tenants),
            rows: std::mem::take(&mut self.rows),
            bytes: std::mem::take(&mut self.bytes),
            last_lsn: self.last_lsn,
        })
    }

    pub fn stats(&self) -> HeadStats {
        HeadStats { bytes: self.bytes, rows: self.rows, opened_at: self.opened_at }
    }

    pub fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// Each tenant with the number of its parts' rows.
    pub fn rows_by_tenant(&self) -> impl Iterator<Item = (&TenantId, usize)> {
        self.tenants.iter().map(|(tenant, parts)| (tenant, parts.iter().map(|part| part.rows().num_rows()).sum()))
    }
}

#[cfg(test)]
mod tests;
