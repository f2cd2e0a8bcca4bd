//! Rows that were deleted and are still in files: what hides them from every reader.
//!
//! ```text
//! delete asked for ─▶ Hide (tenant, times, ceiling, predicate) ─▶ in every snapshot ─▶ scan, index, SQL: hidden
//!                                                  └─ files rewritten ─▶ hide dropped
//! ```
//!
//! Invariant: a hide never touches rows that came in after its ceiling.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;

use crate::types::ids::{IngestSeq, TenantId};
use crate::types::labels::Labels;
use crate::types::rows::RowProjection;
use crate::types::time::{TimeRange, UnixNanos};

/// Chooses rows of streams. The query engine makes them from LogQL.
pub trait RowPredicate: fmt::Debug + Send + Sync {
    /// Whether rows of this stream can be chosen.
    fn chooses_stream(&self, labels: &Labels) -> bool;

    /// Columns that [`RowPredicate::choose`] reads beyond time and stream; none when whole streams are chosen.
    fn reads(&self) -> Option<RowProjection>;

    /// Which rows of a batch are chosen, their times not looked at. The batch has time, stream, and what
    /// [`RowPredicate::reads`] says. CPU-bound.
    fn choose(&self, rows: &RecordBatch) -> BooleanBuffer;
}

/// Rows that nobody sees.
#[derive(Debug, Clone)]
pub struct Hide {
    /// Of the request.
    pub id: Arc<str>,
    pub tenant: TenantId,
    pub range: TimeRange,
    /// Rows that came in later are not touched.
    pub ceiling: IngestSeq,
    pub predicate: Arc<dyn RowPredicate>,
}

impl Hide {
    /// Whether rows that came in at `seq` with times in `ts_min..=ts_max` may be hidden.
    pub fn may_touch(&self, seq: IngestSeq, ts_min: UnixNanos, ts_max: UnixNanos) -> bool {
        seq <= self.ceiling && self.range.overlaps_closed(ts_min, ts_max)
    }

    /// Which rows of a batch are hidden, if they came in at or before the ceiling.
    pub fn hidden(&self, rows: &RecordBatch) -> BooleanBuffer {
        let ts = rows.column(0).as_primitive::<Int64Type>().values();
        let in_time = BooleanBuffer::collect_bool(ts.len(), |row| self.range.contains(UnixNanos(ts[row])));
        match in_time.count_set_bits() {
            0 => in_time,
            _ => &in_time & &self.predicate.choose(rows),
        }
    }

    /// Whether all rows of a chosen stream with these bounds are hidden.
    pub fn covers(&self, ts_min: UnixNanos, ts_max: UnixNanos) -> bool {
        self.predicate.reads().is_none() && self.range.covers_closed(ts_min, ts_max)
    }
}
