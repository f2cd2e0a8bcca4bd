//! Recent rows, queryable before they reach Parquet.
//!
//! ```text
//! WAL group ─▶ Head::append ─▶ parts (merged as they grow) ─▶ snapshot ─▶ query
//!                                     └─ seal ─▶ SealedHead ─▶ flush ─▶ files
//! ```
//!
//! Invariants: a part never changes once made, so a snapshot is a list of `Arc`s;
//! a row that repeats another (stream, time, line, metadata) of this head or of the one
//! before it is dropped, as Loki drops it. Rows of a source that knows its position (Kafka) are not compared: their
//! position tells repeats apart from equals.
//! Errors: none; the bound on its size is kept by whoever seals it.

mod merge;
mod part;
mod repeats;
mod replica;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use part::HeadPart;
use repeats::RowHashes;
pub use repeats::{RowHash, row_hashes};
pub use replica::Replica;

use arrow::array::RecordBatch;

use crate::types::ids::{IngestSeq, Lsn, TenantId};
use crate::types::time::UnixNanos;
use crate::types::txn::TxnStep;

/// Rows that no file has yet. One owner; readers get parts.
#[derive(Debug)]
pub struct Head {
    tenants: HashMap<TenantId, Vec<Arc<HeadPart>>>,
    seen: RowHashes,
    seen_before: RowHashes,
    bytes: usize,
    rows: usize,
    last_lsn: Lsn,
    /// How far each source has come in this head.
    steps: BTreeMap<Arc<str>, TxnStep>,
    /// When the first row of this head arrived, by the clock.
    opened_at: Option<UnixNanos>,
    /// Heads sealed before this one.
    number: u64,
    /// When the rows of this head came in.
    seq: IngestSeq,
}

/// A head that takes no more rows: what one flush writes.
#[derive(Debug)]
pub struct SealedHead {
    /// Which head of this process it was, from 0.
    pub number: u64,
    pub tenants: HashMap<TenantId, Vec<Arc<HeadPart>>>,
    pub rows: usize,
    pub bytes: usize,
    /// Every record up to here is in this head, in an earlier one, or in a file.
    pub last_lsn: Lsn,
    /// How far each source has come in this head.
    pub steps: Vec<TxnStep>,
    /// When the rows came in.
    pub seq: IngestSeq,
}

/// A source went on elsewhere than it ended: rows between would be lost or doubled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} goes on at {:?}, this head ends at {ended}", next.app_id, next.after)]
pub struct SourceGap {
    pub next: TxnStep,
    pub ended: i64,
}

/// How full the head is.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadStats {
    /// Arrow bytes, about.
    pub bytes: usize,
    pub rows: usize,
    /// Sources with something in it, rows or only a position.
    pub sources: usize,
    pub opened_at: Option<UnixNanos>,
}

impl HeadStats {
    /// Whether a flush has something to do.
    pub fn is_empty(&self) -> bool {
        self.rows == 0 && self.sources == 0
    }
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
            steps: BTreeMap::new(),
            opened_at: None,
            number: 0,
            seq: IngestSeq::default(),
        }
    }

    /// Appends a batch of `ROW_SCHEMA`; rows already here are dropped.
    ///
    /// `hashes` are [`row_hashes`] of the batch, one a row. Answers those that were new.
    pub fn append(
        &mut self,
        lsn: Lsn,
        tenant: &TenantId,
        rows: RecordBatch,
        hashes: &[RowHash],
        now: UnixNanos,
    ) -> RecordBatch {
        debug_assert_eq!(rows.num_rows(), hashes.len());
        self.last_lsn = self.last_lsn.max(lsn);
        let rows = repeats::without_repeats(rows, hashes, &mut self.seen, &self.seen_before);
        if rows.num_rows() > 0 {
            self.opened_at.get_or_insert(now);
            self.add_part(tenant, HeadPart::new(rows.clone(), None, self.seq));
        }
        rows
    }

    /// Appends batches of `ROW_SCHEMA` of a source, and how far it has come with them.
    ///
    /// # Errors
    /// `SourceGap` when the step does not begin where the source ended here: nothing is appended.
    pub fn append_source(
        &mut self,
        step: TxnStep,
        rows: Vec<(TenantId, RecordBatch)>,
        now: UnixNanos,
    ) -> Result<usize, SourceGap> {
        let together = match self.steps.get(&step.app_id) {
            None => step.clone(),
            Some(known) => known.then(&step).ok_or_else(|| SourceGap { next: step.clone(), ended: known.to })?,
        };
        let source = step.app_id;
        self.steps.insert(source.clone(), together);
        self.opened_at.get_or_insert(now);
        let mut kept = 0;
        for (tenant, rows) in rows.into_iter().filter(|(_, rows)| rows.num_rows() > 0) {
            kept += rows.num_rows();
            self.add_part(&tenant, HeadPart::new(rows, Some(source.clone()), self.seq));
        }
        Ok(kept)
    }

    /// Forgets a source: another process reads its records again.
    pub fn drop_source(&mut self, app_id: &str) {
        self.steps.remove(app_id);
        for parts in self.tenants.values_mut() {
            parts.retain(|part| part.source().is_none_or(|source| &**source != app_id));
        }
        (self.rows, self.bytes) = sums(&self.tenants);
    }

    fn add_part(&mut self, tenant: &TenantId, part: HeadPart) {
        self.bytes += part.bytes();
        self.rows += part.rows().num_rows();
        let parts = self.tenants.entry(tenant.clone()).or_default();
        parts.push(Arc::new(part));
        merge::merge_small_parts(parts);
    }

    /// Says when the rows came in that will come until the next seal.
    pub fn begin(&mut self, seq: IngestSeq) {
        self.seq = seq;
    }

    /// Remembers rows that a file has already, so that a late repeat of them is dropped.
    pub fn remember_flushed(&mut self, hashes: &[RowHash]) {
        self.seen_before.extend(hashes);
    }

    /// Takes rows with these hashes for new ones when they come again.
    pub fn forget(&mut self, hashes: &[RowHash]) {
        self.seen.remove(hashes);
        self.seen_before.remove(hashes);
    }

    /// The parts of one tenant, oldest first.
    pub fn parts(&self, tenant: &TenantId) -> Vec<Arc<HeadPart>> {
        self.tenants.get(tenant).cloned().unwrap_or_default()
    }

    /// Takes everything out; `None` when there is nothing.
    pub fn seal(&mut self) -> Option<SealedHead> {
        if self.stats().is_empty() {
            return None;
        }
        self.seen_before = std::mem::take(&mut self.seen);
        self.opened_at = None;
        self.number += 1;
        Some(SealedHead {
            number: self.number - 1,
            tenants: std::mem::take(&mut self.tenants),
            rows: std::mem::take(&mut self.rows),
            bytes: std::mem::take(&mut self.bytes),
            last_lsn: self.last_lsn,
            steps: std::mem::take(&mut self.steps).into_values().collect(),
            seq: self.seq,
        })
    }

    pub fn stats(&self) -> HeadStats {
        HeadStats { bytes: self.bytes, rows: self.rows, sources: self.steps.len(), opened_at: self.opened_at }
    }

    pub fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// How far each source has come in this head.
    pub fn positions(&self) -> HashMap<Arc<str>, i64> {
        self.steps.values().map(|step| (step.app_id.clone(), step.to)).collect()
    }

    /// Each tenant with the number of its parts' rows.
    pub fn rows_by_tenant(&self) -> impl Iterator<Item = (&TenantId, usize)> {
        self.tenants.iter().map(|(tenant, parts)| (tenant, parts.iter().map(|part| part.rows().num_rows()).sum()))
    }
}

impl SealedHead {
    /// The same head without a source.
    pub fn without_source(&self, app_id: &str) -> SealedHead {
        let mut tenants = self.tenants.clone();
        for parts in tenants.values_mut() {
            parts.retain(|part| part.source().is_none_or(|source| &**source != app_id));
        }
        tenants.retain(|_, parts| !parts.is_empty());
        let (rows, bytes) = sums(&tenants);
        let steps = self.steps.iter().filter(|step| &*step.app_id != app_id).cloned().collect();
        SealedHead { number: self.number, tenants, rows, bytes, last_lsn: self.last_lsn, steps, seq: self.seq }
    }
}

/// Rows and bytes of all parts.
fn sums(tenants: &HashMap<TenantId, Vec<Arc<HeadPart>>>) -> (usize, usize) {
    let parts = tenants.values().flatten();
    parts.fold((0, 0), |(rows, bytes), part| (rows + part.rows().num_rows(), bytes + part.bytes()))
}

#[cfg(test)]
mod tests;
