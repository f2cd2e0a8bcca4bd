//! One immutable run of recent rows of one tenant, with the bounds that let a query skip it.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, UInt32Type};

use crate::streams::StreamRef;
use crate::types::ids::IngestSeq;
use crate::types::time::UnixNanos;

/// Rows of one tenant in arrival order.
#[derive(Debug)]
pub struct HeadPart {
    rows: RecordBatch,
    /// Bounds of `ts_ns`, both inside.
    ts_min: UnixNanos,
    ts_max: UnixNanos,
    /// Distinct streams, ascending.
    streams: Vec<StreamRef>,
    bytes: usize,
    /// The source that all rows come from, if it is one that may change hands.
    source: Option<Arc<str>>,
    /// When these rows came in.
    seq: IngestSeq,
}

impl HeadPart {
    /// # Panics
    /// On an empty batch: there are no bounds of nothing.
    pub(super) fn new(rows: RecordBatch, source: Option<Arc<str>>, seq: IngestSeq) -> Self {
        let ts = rows.column(0).as_primitive::<Int64Type>().values();
        let ts_min = UnixNanos(*ts.iter().min().expect("a part has rows"));
        let ts_max = UnixNanos(*ts.iter().max().expect("a part has rows"));
        let mut streams: Vec<StreamRef> = Vec::new();
        for stream in rows.column(1).as_primitive::<UInt32Type>().values() {
            if streams.last() != Some(&StreamRef(*stream)) {
                streams.push(StreamRef(*stream));
            }
        }
        streams.sort_unstable();
        streams.dedup();
        let bytes = own_bytes(&rows);
        HeadPart { rows, ts_min, ts_max, streams, bytes, source, seq }
    }

    /// The rows, schema `ROW_SCHEMA`.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// First and last event time, both inside.
    pub fn bounds(&self) -> (UnixNanos, UnixNanos) {
        (self.ts_min, self.ts_max)
    }

    /// Distinct streams, ascending.
    pub fn streams(&self) -> &[StreamRef] {
        &self.streams
    }

    /// The `app_id` of the source of all rows; none for rows of the log.
    pub fn source(&self) -> Option<&Arc<str>> {
        self.source.as_ref()
    }

    /// When these rows came in: that of their head.
    pub fn seq(&self) -> IngestSeq {
        self.seq
    }

    /// Memory these rows take, about: what they refer to, not what their buffers share with others.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn own_bytes(rows: &RecordBatch) -> usize {
    let line_bytes: usize = rows.column(3).as_string_view().lengths().map(|length| length as usize).sum();
    let metadata = rows.column(4).as_map();
    let pairs =
        metadata.keys().as_string::<i32>().value_data().len() + metadata.values().as_string::<i32>().value_data().len();
    // time, stream, two views and a map offset a row
    line_bytes + pairs + rows.num_rows() * (8 + 4 + 16 + 16 + 4)
}
