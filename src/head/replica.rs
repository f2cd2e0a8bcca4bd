//! Recent rows of another process, until its commits have them.
//!
//! ```text
//! the other's rows, each with its place in its source ─▶ Replica ─▶ parts ─▶ snapshot ─▶ query
//!                             a commit: source s is in the table up to p ─▶ rows of s up to p are gone here
//! ```
//!
//! Invariant: a row is here or in a file that the same catalog knows, in both never: whoever applies a commit takes the
//! rows out in the same moment.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::HeadPart;
use super::merge::{MERGED_ROWS_MAX, merge};
use crate::types::ids::{IngestSeq, TenantId};

/// Rows of one process, by tenant, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Replica {
    held: HashMap<TenantId, Vec<Held>>,
}

/// Rows of one source in its order.
#[derive(Debug, Clone)]
struct Held {
    source: Arc<str>,
    /// After so many rows the source had come so far; ascending in both.
    places: Vec<(usize, i64)>,
    part: Arc<HeadPart>,
}

impl Replica {
    /// Appends rows of `ROW_SCHEMA`, with which `source` comes to `position`.
    pub fn append(&mut self, tenant: &TenantId, source: &Arc<str>, position: i64, rows: RecordBatch, seq: IngestSeq) {
        if rows.num_rows() == 0 {
            return;
        }
        let held = self.held.entry(tenant.clone()).or_default();
        if let Some(last) = held.last_mut().filter(|last| last.takes(source, &rows, seq)) {
            let merged = merge(last.part.rows(), &rows);
            last.places.push((merged.num_rows(), position));
            last.part = Arc::new(HeadPart::new(merged, Some(source.clone()), seq));
            return;
        }
        let places = vec![(rows.num_rows(), position)];
        held.push(Held {
            source: source.clone(),
            places,
            part: Arc::new(HeadPart::new(rows, Some(source.clone()), seq)),
        });
    }

    /// Takes out the rows with which `source` came to `position`.
    pub fn drop_through(&mut self, source: &str, position: i64) {
        for held in self.held.values_mut() {
            held.retain_mut(|held| &*held.source != source || held.drop_through(position));
        }
        self.held.retain(|_, held| !held.is_empty());
    }

    /// Takes out all rows of a source: another process reads it now.
    pub fn drop_source(&mut self, source: &str) {
        self.drop_through(source, i64::MAX);
    }

    /// The parts of one tenant.
    pub fn parts(&self, tenant: &TenantId) -> impl Iterator<Item = &Arc<HeadPart>> {
        self.held.get(tenant).into_iter().flatten().map(|held| &held.part)
    }

    /// All rows, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        let parts = self.held.values().flatten().map(|held| &held.part);
        parts.fold((0, 0), |(rows, bytes), part| (rows + part.rows().num_rows(), bytes + part.bytes()))
    }

    /// Tenants that have rows here.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.held.keys()
    }
}

impl Held {
    /// Whether rows become part of these: many small pushes must not make many small parts.
    fn takes(&self, source: &str, rows: &RecordBatch, seq: IngestSeq) -> bool {
        let together = self.part.rows().num_rows() + rows.num_rows();
        &*self.source == source && self.part.seq() == seq && together <= MERGED_ROWS_MAX
    }

    /// False when nothing is left.
    fn drop_through(&mut self, position: i64) -> bool {
        let gone = self.places.partition_point(|(_, place)| *place <= position);
        let Some((first, _)) = gone.checked_sub(1).map(|last| self.places[last]) else { return true };
        self.places.drain(..gone);
        let rows = self.part.rows();
        if self.places.is_empty() {
            return false;
        }
        self.places.iter_mut().for_each(|(rows, _)| *rows -= first);
        let left = rows.slice(first, rows.num_rows() - first);
        self.part = Arc::new(HeadPart::new(left, Some(self.source.clone()), self.part.seq()));
        true
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::types::rows::ROW_SCHEMA;

    fn rows(times: &[i64]) -> RecordBatch {
        let mut columns: Vec<_> = ROW_SCHEMA
            .fields()
            .iter()
            .map(|field| arrow::array::new_null_array(field.data_type(), times.len()))
            .collect();
        columns[0] = Arc::new(Int64Array::from(times.to_vec()));
        columns[1] = Arc::new(arrow::array::UInt32Array::from(vec![0; times.len()]));
        columns[3] = Arc::new(arrow::array::StringViewArray::from(vec!["line"; times.len()]));
        RecordBatch::try_new(ROW_SCHEMA.clone(), columns).expect("of the schema")
    }

    fn times(replica: &Replica, tenant: &TenantId) -> Vec<i64> {
        let of_part = |part: &Arc<HeadPart>| part.rows().column(0).as_primitive::<Int64Type>().values().to_vec();
        replica.parts(tenant).flat_map(of_part).collect()
    }

    #[test]
    fn rows_go_with_the_commit_that_has_them() {
        let (log, kafka): (Arc<str>, Arc<str>) = ("log".into(), "kafka".into());
        let (a, b) = (TenantId::single(), TenantId::parse("b").expect("valid"));
        let mut replica = Replica::default();
        let seq = IngestSeq::default();
        replica.append(&a, &log, 3, rows(&[30, 31]), seq);
        replica.append(&a, &log, 5, rows(&[50]), seq);
        replica.append(&a, &kafka, 70, rows(&[700]), seq);
        replica.append(&a, &log, 9, rows(&[90]), seq);
        replica.append(&b, &log, 4, rows(&[40]), seq);
        replica.append(&b, &log, 6, rows(&[]), seq);
        assert_eq!(replica.size().0, 6);
        replica.drop_through("log", 2);
        assert_eq!(times(&replica, &a), [30, 31, 50, 700, 90]);
        replica.drop_through("log", 4);
        assert_eq!((times(&replica, &a), times(&replica, &b)), (vec![50, 700, 90], vec![]));
        replica.drop_through("kafka", 70);
        replica.drop_through("other", 1_000);
        assert_eq!(times(&replica, &a), [50, 90]);
        replica.drop_through("log", 9);
        assert_eq!(replica.size(), (0, 0));
        assert_eq!(replica.tenants().count(), 0);
    }
}
