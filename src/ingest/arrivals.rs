//! What has just become visible, told to whoever listens: live tails, continuous rules.
//!
//! ```text
//! durable group ─▶ Catalog::append ─▶ rows kept ─▶ Arrivals::publish ─▶ listener │ listener │ …
//! Kafka batch  ──▶ Catalog::append_source ────────▲
//! ```
//!
//! Invariants: rows are told after they are visible, once, without the repeats that the head dropped; those of the
//! log in the order of their numbers. Rows replayed at a start are not told: a listener that must not miss them
//! reads them from the catalog. A listener runs on the writer's thread: it hands on and returns.
//! Cancellation: a listener is gone when its [`Listening`] is dropped.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parking_lot::RwLock;

use crate::types::ids::{Lsn, TenantId};
use crate::types::txn::TxnStep;

/// Rows of one tenant that became visible together.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub tenant: TenantId,
    /// Schema `ROW_SCHEMA`; at least one row.
    pub rows: RecordBatch,
    pub from: Origin,
}

/// Where rows came from, and how far that is now visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This record of the write-ahead log.
    Log(Lsn),
    /// A source that keeps its rows itself.
    Source(TxnStep),
}

/// Someone who wants to hear of rows.
pub trait Listener: Send + Sync {
    /// Called on the writer's thread: it must not block, and takes a moment only.
    fn rows_arrived(&self, arrived: &[Arrived]);
}

/// The list of listeners. Cheap to clone.
#[derive(Clone, Default)]
pub struct Arrivals {
    listeners: Arc<RwLock<Listeners>>,
}

#[derive(Default)]
struct Listeners {
    next: u64,
    listening: Vec<(u64, Arc<dyn Listener>)>,
}

/// A place in the list; dropped means gone.
#[must_use = "dropping it ends the listening"]
pub struct Listening {
    number: u64,
    list: Arc<RwLock<Listeners>>,
}

impl Arrivals {
    /// Tells `listener` of all rows from now on.
    pub fn listen(&self, listener: Arc<dyn Listener>) -> Listening {
        let mut list = self.listeners.write();
        let number = list.next;
        list.next += 1;
        list.listening.push((number, listener));
        Listening { number, list: self.listeners.clone() }
    }

    /// Whether telling is worth the trouble.
    pub fn has_listeners(&self) -> bool {
        !self.listeners.read().listening.is_empty()
    }

    /// Tells all listeners; called by the writer after the rows are visible.
    pub fn publish(&self, arrived: &[Arrived]) {
        if arrived.is_empty() {
            return;
        }
        let listening: Vec<_> = self.listeners.read().listening.iter().map(|(_, listener)| listener.clone()).collect();
        for listener in listening {
            listener.rows_arrived(arrived);
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.list.write().listening.retain(|(number, _)| *number != self.number);
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").field("listeners", &self.listeners.read().listening.len()).finish()
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("number", &self.number).finish()
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::types::rows::ROW_SCHEMA;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Origin>>);

    impl Listener for Heard {
        fn rows_arrived(&self, arrived: &[Arrived]) {
            self.0.lock().extend(arrived.iter().map(|one| one.from.clone()));
        }
    }

    #[test]
    fn listeners_hear_until_they_go() {
        let arrivals = Arrivals::default();
        let heard = Arc::new(Heard::default());
        let arrived = |lsn| Arrived {
            tenant: TenantId::single(),
            rows: RecordBatch::new_empty(ROW_SCHEMA.clone()),
            from: Origin::Log(Lsn(lsn)),
        };
        arrivals.publish(&[arrived(1)]);
        let listening = arrivals.listen(heard.clone());
        arrivals.publish(&[arrived(2), arrived(3)]);
        assert!(arrivals.has_listeners());
        drop(listening);
        arrivals.publish(&[arrived(4)]);
        assert!(!arrivals.has_listeners());
        assert_eq!(*heard.0.lock(), [Origin::Log(Lsn(2)), Origin::Log(Lsn(3))]);
    }
}
