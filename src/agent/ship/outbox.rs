//! What waits to be sent to one client: a few batches in memory, the rest on disk, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::batch::Batch;
use super::spool::{Kept, Spool};
use crate::agent::metrics::AgentMetrics;

/// Batches in memory beside the one that is being sent; at 1 MiB of lines each, with little when packed.
const MEMORY_BATCHES_MAX: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    name: String,
    host: String,
    state: Mutex<State>,
    /// Rung when something came, and when nothing more will.
    pub(super) came: Notify,
    /// Rung when something went.
    room: Notify,
    drops_oldest: bool,
    metrics: AgentMetrics,
}

#[derive(Debug)]
struct State {
    memory: VecDeque<Batch>,
    spool: Option<Spool>,
    is_closed: bool,
    has_ended: bool,
}

/// The next batch, and where it is until it is sent.
#[derive(Debug)]
pub(super) enum Next {
    Memory(Batch),
    Disk(Kept),
}

impl Next {
    pub(super) fn batch(&self) -> &Batch {
        match self {
            Next::Memory(batch) => batch,
            Next::Disk(kept) => &kept.batch,
        }
    }
}

impl Outbox {
    pub(super) fn new(name: &str, host: &str, spool: Option<Spool>, drops_oldest: bool, metrics: AgentMetrics) -> Self {
        let state = State { memory: VecDeque::new(), spool, is_closed: false, has_ended: false };
        let outbox = Outbox {
            name: name.to_owned(),
            host: host.to_owned(),
            state: Mutex::new(state),
            came: Notify::new(),
            room: Notify::new(),
            drops_oldest,
            metrics,
        };
        outbox.show(&outbox.state.lock());
        outbox
    }

    pub(super) fn has_spool(&self) -> bool {
        self.state.lock().spool.is_some()
    }

    /// Whether nothing more will be sent.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().has_ended
    }

    /// Takes a batch, to disk when memory is full; waits when that is full too, or gives up the oldest.
    pub(super) async fn push(self: &Arc<Self>, batch: Batch) {
        let mut batch = batch;
        loop {
            let room = self.room.notified();
            match self.try_push(batch).await {
                None => return,
                Some(back) => batch = back,
            }
            room.await;
        }
    }

    /// The batch comes back when there is no room.
    async fn try_push(self: &Arc<Self>, batch: Batch) -> Option<Batch> {
        {
            let mut state = self.state.lock();
            let spools = state.spool.as_ref().is_some_and(|spool| !spool.is_empty());
            if !spools && state.memory.len() < MEMORY_BATCHES_MAX {
                state.memory.push_back(batch);
                self.came.notify_one();
                return None;
            }
            if state.spool.is_none() {
                return Some(batch);
            }
        }
        let outbox = self.clone();
        let written = tokio::task::spawn_blocking(move || outbox.to_disk(batch)).await;
        // Without an answer the runtime is going down; the batch was not acknowledged and will be read again.
        written.unwrap_or_default()
    }

    fn to_disk(&self, batch: Batch) -> Option<Batch> {
        let mut state = self.state.lock();
        let Some(spool) = &mut state.spool else { return Some(batch) };
        while self.drops_oldest && !spool.has_room(&batch) {
            match spool.oldest() {
                Ok(Some(kept)) => {
                    self.count_dropped(&kept.batch, "buffer_full");
                    if let Err(error) = spool.remove(kept.number) {
                        tracing::error!(client = self.name, %error, "a batch cannot be removed from the buffer");
                        return Some(batch);
                    }
                }
                _ => break,
            }
        }
        if !spool.has_room(&batch) {
            return Some(batch);
        }
        let back = match spool.append(&batch) {
            Ok(()) => None,
            Err(error) => {
                tracing::error!(client = self.name, %error, "the buffer on disk cannot be written; reading waits for the server");
                Some(batch)
            }
        };
        self.show(&state);
        drop(state);
        self.came.notify_one();
        back
    }

    /// The oldest batch, if there is one now.
    pub(super) fn take(&self) -> Option<Next> {
        let mut state = self.state.lock();
        let next = match state.memory.pop_front() {
            Some(batch) => Some(Next::Memory(batch)),
            None => match state.spool.as_mut().map(Spool::oldest) {
                Some(Ok(kept)) => kept.map(Next::Disk),
                Some(Err(error)) => {
                    tracing::error!(client = self.name, %error, "the buffer on disk cannot be read");
                    None
                }
                None => None,
            },
        };
        if next.is_some() {
            self.room.notify_waiters();
        }
        next
    }

    /// What was taken is done with: sent, or given up.
    pub(super) fn done(&self, next: Next) {
        let mut state = self.state.lock();
        if let (Next::Disk(kept), Some(spool)) = (&next, &mut state.spool)
            && let Err(error) = spool.remove(kept.number)
        {
            tracing::error!(client = self.name, %error, "a batch that was sent cannot be removed from the buffer");
        }
        self.show(&state);
        drop(state);
        self.room.notify_waiters();
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.came.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Puts what is in memory, and what could not be sent, to disk; answers how many batches found no place there.
    pub(super) fn keep(&self, unsent: Option<Next>) -> usize {
        let mut state = self.state.lock();
        let State { memory, spool, .. } = &mut *state;
        let mut left: Vec<Batch> = Vec::new();
        if let Some(Next::Memory(batch)) = unsent {
            left.push(batch);
        }
        left.extend(memory.drain(..));
        let mut lost = 0;
        for batch in left {
            let is_kept = spool.as_mut().is_some_and(|spool| spool.has_room(&batch) && spool.append(&batch).is_ok());
            if !is_kept {
                lost += 1;
                // Its lines were not acknowledged: whoever can be asked again must be.
                std::mem::forget(batch.receipt);
            }
        }
        state.has_ended = true;
        self.show(&state);
        lost
    }

    pub(super) fn count_dropped(&self, batch: &Batch, reason: &str) {
        let labels = [self.host.as_str(), batch.tenant.as_str(), reason];
        self.metrics.dropped_entries.with_label_values(&labels).inc_by(batch.entries as u64);
        self.metrics.dropped_bytes.with_label_values(&labels).inc_by(batch.bytes as u64);
    }

    fn show(&self, state: &State) {
        let (bytes, batches) = state.spool.as_ref().map_or((0, 0), |spool| (spool.bytes(), spool.batches()));
        let label = [self.name.as_str()];
        self.metrics.buffer_bytes.with_label_values(&label).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.metrics.buffer_batches.with_label_values(&label).set(i64::try_from(batches).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Receipt;
    use crate::types::time::Clock;

    fn batch(body: &str) -> Batch {
        Batch {
            tenant: String::new(),
            body: body.to_owned().into(),
            entries: 1,
            bytes: 10,
            receipt: Receipt::default(),
        }
    }

    fn outbox(directory: &std::path::Path, bytes_max: u64, drops_oldest: bool) -> Arc<Outbox> {
        let spool = (bytes_max > 0).then(|| Spool::open(directory, bytes_max).expect("opened"));
        Arc::new(Outbox::new("c", "h", spool, drops_oldest, AgentMetrics::new(Clock::system())))
    }

    fn bodies(outbox: &Outbox) -> Vec<String> {
        std::iter::from_fn(|| {
            let next = outbox.take()?;
            let body = String::from_utf8(next.batch().body.to_vec()).expect("text");
            outbox.done(next);
            Some(body)
        })
        .collect()
    }

    #[tokio::test]
    async fn memory_then_disk_in_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let outbox = outbox(directory.path(), 1 << 20, false);
        for number in 0..7 {
            outbox.push(batch(&number.to_string())).await;
        }
        assert_eq!(outbox.metrics.buffer_batches.with_label_values(&["c"]).get(), 3);
        assert_eq!(bodies(&outbox), ["0", "1", "2", "3", "4", "5", "6"]);
    }

    #[tokio::test]
    async fn a_full_buffer_waits_or_gives_up_the_oldest() {
        let directory = tempfile::tempdir().expect("a directory");
        let dropping = outbox(directory.path(), 60, true);
        for number in 0..8 {
            dropping.push(batch(&number.to_string())).await;
        }
        assert_eq!(dropping.metrics.dropped_entries.with_label_values(&["h", "", "buffer_full"]).get(), 2);
        assert_eq!(bodies(&dropping), ["0", "1", "2", "3", "6", "7"]);

        let waiting = outbox(directory.path(), 0, false);
        for number in 0..4 {
            waiting.push(batch(&number.to_string())).await;
        }
        let pushing = tokio::spawn({
            let waiting = waiting.clone();
            async move { waiting.push(batch("4")).await }
        });
        tokio::task::yield_now().await;
        assert!(!pushing.is_finished());
        let first = waiting.take().expect("there");
        waiting.done(first);
        pushing.await.expect("ends");
        assert_eq!(bodies(&waiting), ["1", "2", "3", "4"]);
    }

    #[tokio::test]
    async fn what_is_left_at_the_end_is_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = outbox(directory.path(), 1 << 20, false);
        first.push(batch("0")).await;
        first.push(batch("1")).await;
        let unsent = first.take();
        assert_eq!(first.keep(unsent), 0);
        assert_eq!(bodies(&outbox(directory.path(), 1 << 20, false)), ["0", "1"]);
    }
}
