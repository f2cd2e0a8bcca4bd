//! What the flow thread works on, in order: visible rows, marks of snapshots, and orders.
//!
//! ```text
//! Catalog (under its lock) ─ rows, marks ─┐
//! rules ─ orders ─────────────────────────┴▶ queue ─▶ flow thread
//!                                              └ over FEED_BYTES_MAX: pushes wait (Shard), Kafka is not polled
//! ```
//!
//! Invariant: rows before a mark are in the snapshot taken with it, rows after it are not.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::catalog::RowWatcher;
use crate::flow::runner::{GroupId, Order};
use crate::types::ids::TenantId;
use crate::types::time::UnixNanos;

/// Arrow bytes that may wait for the flow thread; more make pushes wait.
pub const FEED_BYTES_MAX: usize = 64 << 20;
/// Arrow bytes that the thread takes at once: it looks at the clock in between.
const TAKEN_BYTES_MAX: usize = 8 << 20;

/// One thing to do.
#[derive(Debug)]
pub enum Item {
    Rows {
        tenant: TenantId,
        rows: RecordBatch,
        source: Arc<str>,
        arrived: UnixNanos,
    },
    /// A snapshot for these groups was taken.
    Mark(Vec<GroupId>),
    /// What was read of a source is gone from the store.
    SourceDropped(Arc<str>),
    Order(Box<Order>),
}

/// The queue. Share it behind an `Arc`.
#[derive(Debug, Default)]
pub struct Feed {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// Tenants with rules: rows of others are not kept.
    tenants: RwLock<HashSet<TenantId>>,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    closed: bool,
}

impl Feed {
    /// Says whose rows are wanted from now on.
    pub fn want(&self, tenants: HashSet<TenantId>) {
        *self.tenants.write() = tenants;
    }

    pub fn order(&self, order: Order) {
        self.push(Item::Order(Box::new(order)), 0);
    }

    /// To be called under the catalog's lock, with the snapshot.
    pub fn mark(&self, groups: Vec<GroupId>) {
        self.push(Item::Mark(groups), 0);
    }

    /// What waits, at most for `wait`; `None` when the feed is closed and empty.
    pub fn take(&self, wait: Duration) -> Option<Vec<Item>> {
        let mut queue = self.queue.lock();
        if queue.items.is_empty() && !queue.closed {
            self.ready.wait_for(&mut queue, wait);
        }
        if queue.items.is_empty() && queue.closed {
            return None;
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < TAKEN_BYTES_MAX {
            let Some(item) = queue.items.pop_front() else { break };
            if let Item::Rows { rows, .. } = &item {
                bytes += rows.get_array_memory_size();
            }
            taken.push(item);
        }
        queue.bytes = queue.bytes.saturating_sub(bytes);
        Some(taken)
    }

    /// Nothing more comes; what waits is still taken.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.ready.notify_all();
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    fn push(&self, item: Item, bytes: usize) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        queue.items.push_back(item);
        queue.bytes += bytes;
        drop(queue);
        self.ready.notify_one();
    }
}

impl RowWatcher for Feed {
    fn rows_visible(&self, tenant: &TenantId, rows: &RecordBatch, source: &Arc<str>, now: UnixNanos) {
        if rows.num_rows() == 0 || !self.tenants.read().contains(tenant) {
            return;
        }
        let item = Item::Rows { tenant: tenant.clone(), rows: rows.clone(), source: source.clone(), arrived: now };
        self.push(item, rows.get_array_memory_size());
    }

    fn source_dropped(&self, source: &str) {
        self.push(Item::SourceDropped(source.into()), 0);
    }

    fn is_behind(&self) -> bool {
        self.bytes() > FEED_BYTES_MAX
    }
}
