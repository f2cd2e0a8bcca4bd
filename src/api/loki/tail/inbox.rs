//! Rows that wait for a tail's pipeline: filled by the writer, which never waits.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ingest::arrivals::{Arrived, Listener};
use crate::streams::StreamRef;
use crate::types::ids::TenantId;
use crate::types::rows::Rows;
use crate::types::time::UnixNanos;

/// Bytes of rows that wait, for one tail: several pushes of the usual size.
const INBOX_BYTES_MAX: usize = 16 << 20;
/// Lost rows that are remembered to be told.
const LOST_ROWS_MAX: usize = 1000;
/// Time, stream, views and offsets of a row, about.
const ROW_OVERHEAD_BYTES: usize = 48;

/// The waiting rows of one tail.
#[derive(Debug)]
pub(super) struct Inbox {
    tenant: TenantId,
    waiting: Mutex<Waiting>,
    pub(super) filled: Notify,
}

/// What there is to work on.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) batches: VecDeque<RecordBatch>,
    bytes: usize,
    /// Rows that found no room.
    pub(super) lost: Vec<(UnixNanos, StreamRef)>,
}

impl Inbox {
    pub(super) fn new(tenant: TenantId) -> Arc<Self> {
        Arc::new(Inbox { tenant, waiting: Mutex::default(), filled: Notify::new() })
    }

    /// Takes all that waits.
    pub(super) fn take(&self) -> Waiting {
        std::mem::take(&mut *self.waiting.lock())
    }
}

impl Listener for Inbox {
    fn rows_arrived(&self, arrived: &[Arrived]) {
        let mut waiting = self.waiting.lock();
        for arrived in arrived.iter().filter(|arrived| arrived.tenant == self.tenant) {
            let lines: usize = arrived.rows.column(3).as_string_view().lengths().map(|length| length as usize).sum();
            let bytes = lines + arrived.rows.num_rows() * ROW_OVERHEAD_BYTES;
            if waiting.bytes > 0 && waiting.bytes + bytes > INBOX_BYTES_MAX {
                let rows = Rows::of(&arrived.rows);
                let room = LOST_ROWS_MAX.saturating_sub(waiting.lost.len());
                let lost = rows.ts.iter().zip(rows.stream).take(room);
                waiting.lost.extend(lost.map(|(ts, stream)| (UnixNanos(*ts), StreamRef(*stream))));
            } else {
                waiting.bytes += bytes;
                waiting.batches.push_back(arrived.rows.clone());
            }
        }
        drop(waiting);
        self.filled.notify_one();
    }
}
