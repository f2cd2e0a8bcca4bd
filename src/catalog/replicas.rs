//! Recent rows of other processes that share the table: seen here until their commits are.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use super::Catalog;
use crate::head::{HeadPart, Replica};
use crate::types::ids::{IngestSeq, Lsn, TenantId};

/// All replicas, and how far the table has come.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    by_peer: HashMap<Arc<str>, Replica>,
    /// By source, of the commits that the catalog shows.
    committed: HashMap<Arc<str>, i64>,
}

/// Rows that are in no file yet, and whose they are.
#[derive(Debug, Clone)]
pub struct Unflushed {
    /// Rows of a tenant, the source that they come from, if it is one that may change hands, and how far it came with
    /// them; rows of the log come to `last_lsn` or before.
    pub parts: Vec<(TenantId, Arc<HeadPart>, Option<i64>)>,
    pub last_lsn: Lsn,
    /// How far each source has come.
    pub steps: HashMap<Arc<str>, i64>,
    /// See [`Catalog::sources_dropped`].
    pub sources_dropped: u64,
}

impl Replicas {
    pub(super) fn new(committed: HashMap<Arc<str>, i64>) -> Self {
        Replicas { by_peer: HashMap::new(), committed }
    }

    /// A commit of another process has the rows of these sources up to these positions.
    pub(super) fn committed(&mut self, txns: &[(Arc<str>, i64)]) {
        for (source, position) in txns {
            self.committed.insert(source.clone(), *position);
            self.by_peer.values_mut().for_each(|replica| replica.drop_through(source, *position));
        }
    }

    /// Rows of a source came here, or from `peer`: what others told of it they told before it changed hands.
    pub(super) fn source_moved(&mut self, source: &str, peer: Option<&str>) {
        let others = self.by_peer.iter_mut().filter(|(other, _)| Some(&***other) != peer);
        others.for_each(|(_, replica)| replica.drop_source(source));
    }

    /// Adds rows to the replica of a peer, if there is one; rows that a file has already are left out.
    fn append(&mut self, peer: &str, rows: ReplicaRows) {
        self.source_moved(&rows.source, Some(peer));
        let committed = self.committed.get(&rows.source).copied();
        if let Some(replica) = self.by_peer.get_mut(peer)
            && committed.is_none_or(|committed| rows.position > committed)
        {
            replica.append(&rows.tenant, &rows.source, rows.position, rows.rows, rows.seq);
        }
    }

    pub(super) fn parts(&self, tenant: &TenantId) -> impl Iterator<Item = &Arc<HeadPart>> {
        self.by_peer.values().flat_map(|replica| replica.parts(tenant))
    }
}

impl Catalog {
    /// All rows that are in no file, as they are at one moment.
    pub fn unflushed(&self) -> Unflushed {
        let inner = self.inner.lock();
        let mut unflushed = Unflushed {
            parts: Vec::new(),
            last_lsn: inner.head.last_lsn(),
            steps: inner.head.positions(),
            sources_dropped: inner.sources_dropped,
        };
        for sealed in &inner.flushing {
            let steps: HashMap<&str, i64> = sealed.steps.iter().map(|step| (&*step.app_id, step.to)).collect();
            for (tenant, parts) in &sealed.tenants {
                let of_source = |part: &Arc<HeadPart>| part.source().and_then(|source| steps.get(&**source).copied());
                unflushed.parts.extend(parts.iter().map(|part| (tenant.clone(), part.clone(), of_source(part))));
            }
            for step in &sealed.steps {
                unflushed.steps.entry(step.app_id.clone()).or_insert(step.to);
            }
        }
        let tenants: Vec<TenantId> = inner.head.rows_by_tenant().map(|(tenant, _)| tenant.clone()).collect();
        for tenant in tenants {
            for part in inner.head.parts(&tenant) {
                let of_source = part.source().and_then(|source| unflushed.steps.get(source).copied());
                unflushed.parts.push((tenant.clone(), part, of_source));
            }
        }
        unflushed
    }

    /// How often rows of a source were dropped: what was told of them before is not so any more.
    pub fn sources_dropped(&self) -> u64 {
        self.inner.lock().sources_dropped
    }

    /// Shows these rows as the recent ones of a peer, in place of those it had.
    pub fn replace_replica(&self, peer: &Arc<str>, rows: Vec<ReplicaRows>) {
        let mut inner = self.inner.lock();
        inner.replicas.by_peer.insert(peer.clone(), Replica::default());
        for rows in rows {
            inner.replicas.append(peer, rows);
        }
        // Rows that were known before are the same rows; others came, or went into files.
        inner.changes.everything_changed();
    }

    /// Shows more rows of a peer.
    pub fn extend_replica(&self, peer: &Arc<str>, rows: ReplicaRows) {
        let mut inner = self.inner.lock();
        inner.changes.rows_came(&rows.tenant, rows.rows.column(0).as_primitive::<Int64Type>().values());
        inner.replicas.append(peer, rows);
    }

    /// Rows and bytes of all replicas.
    pub fn replica_size(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        inner.replicas.by_peer.values().map(Replica::size).fold((0, 0), |(r, b), (rows, bytes)| (r + rows, b + bytes))
    }
}

/// Rows of a source of a peer.
#[derive(Debug, Clone)]
pub struct ReplicaRows {
    pub tenant: TenantId,
    pub source: Arc<str>,
    /// How far the source comes with them.
    pub position: i64,
    /// When they came in, by the peer.
    pub seq: IngestSeq,
    /// Schema `ROW_SCHEMA`.
    pub rows: RecordBatch,
}
