//! Turns arrived rows into frames: history first, then what comes.
//!
//! Entries that arrived while the history was read are in both; each is sent once.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::TailRequest;
use super::frame::Frame;
use super::held::{Dropped, Held};
use super::inbox::Inbox;
use crate::api::Shared;
use crate::ingest::arrivals::Listening;
use crate::query::tail::{TailEntry, TailProgram};
use crate::query::{QueryAnswer, QueryError};
use crate::types::time::UnixNanos;

/// Entries of one frame.
const FRAME_ENTRIES_MAX: usize = 100;
/// How long entries that are not due may wait unlooked at.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// A running feed; dropped means ended.
pub(super) struct Feed {
    task: AbortOnDropHandle<Result<(), QueryError>>,
    _listening: Listening,
}

impl Feed {
    /// Listens from now on and starts working on the query threads.
    pub(super) fn start(
        shared: &Shared,
        request: TailRequest,
        frames: mpsc::Sender<Frame>,
    ) -> Result<Self, QueryError> {
        let program = shared.state.engine.tail(&request.scope, &request.text, request.categorize)?;
        let inbox = Inbox::new(request.tenant.clone());
        let listening = shared.state.arrivals.listen(inbox.clone());
        let work = Work {
            shared: shared.clone(),
            program,
            inbox,
            held: Held::default(),
            frames,
            delay_ns: request.delay_ns,
            categorize: request.categorize,
        };
        let task = shared.state.engine.spawn(work.run(request));
        Ok(Feed { task, _listening: listening })
    }

    /// Waits for the end and says why.
    pub(super) async fn why_it_ended(self) -> String {
        match self.task.await {
            Ok(Ok(())) => "the tail ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(stopped) => format!("the tail stopped: {stopped}"),
        }
    }
}

struct Work {
    shared: Shared,
    program: TailProgram,
    inbox: Arc<Inbox>,
    held: Held,
    frames: mpsc::Sender<Frame>,
    delay_ns: i64,
    categorize: bool,
}

impl Work {
    async fn run(mut self, request: TailRequest) -> Result<(), QueryError> {
        let hasher = RandomState::new();
        let mut sent_before: HashSet<u64> = HashSet::new();
        if let Some(history) = request.history
            && let QueryAnswer::Streams(streams) = self.shared.state.engine.query(history).await?.0
        {
            for stream in streams {
                for entry in stream.entries {
                    let entry = TailEntry { labels: stream.labels.clone(), entry };
                    sent_before.insert(identity(&hasher, &entry));
                    self.held.push(entry);
                }
            }
        }
        self.work_off(|entry| !sent_before.contains(&identity(&hasher, entry))).await?;
        drop(sent_before);
        loop {
            self.send_due();
            self.wait().await;
            if self.frames.is_closed() {
                return Ok(());
            }
            self.work_off(|_| true).await?;
        }
    }

    /// Runs the pipeline over what waits.
    async fn work_off(&mut self, wanted: impl Fn(&TailEntry) -> bool) -> Result<(), QueryError> {
        let waiting = self.inbox.take();
        for batch in &waiting.batches {
            for entry in self.program.run(batch)?.into_iter().filter(|entry| wanted(entry)) {
                self.held.push(entry);
            }
            self.send_due();
            // A batch is work for milliseconds: others have their turn after it.
            tokio::task::yield_now().await;
        }
        for (ts, stream) in waiting.lost {
            if self.program.wants(stream) {
                self.held.drop_one(Dropped { ts, labels: self.program.labels(stream) });
            }
        }
        Ok(())
    }

    /// Hands on what is due, as far as the reader keeps up.
    fn send_due(&mut self) {
        let until = UnixNanos(self.shared.state.clock.now().0.saturating_sub(self.delay_ns));
        while let Ok(place) = self.frames.try_reserve() {
            let entries = self.held.take_until(until, FRAME_ENTRIES_MAX);
            if entries.is_empty() {
                return;
            }
            let (dropped, count) = self.held.take_dropped();
            self.shared.state.metrics.tail.dropped.inc_by(count);
            place.send(Frame::new(&entries, &dropped, self.categorize));
        }
    }

    /// Until rows come, or an entry may be due, or the reader may have caught up.
    async fn wait(&self) {
        let look_again = async {
            match self.held.oldest() {
                Some(_) => tokio::time::sleep(LOOK_PERIOD).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.inbox.filled.notified() => {}
            () = look_again => {}
            () = self.frames.closed() => {}
        }
    }
}

fn identity(hasher: &RandomState, entry: &TailEntry) -> u64 {
    hasher.hash_one((entry.entry.ts.0, &entry.entry.line, entry.labels.to_string(), entry.entry.metadata.to_string()))
}
