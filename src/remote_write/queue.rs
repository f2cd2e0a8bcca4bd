//! What waits for one receiver: in memory to be sent, in a log to survive.
//!
//! ```text
//! DIR/*.wal      records after the position       DIR/POSITION   last record that needs no sending
//! ```
//!
//! Invariant: memory holds exactly the records after the position, in order; their bytes are bounded.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::derived::codec::{self, Batches};
use crate::seal::record::{RecordOpener, RecordSealer};
use crate::store::Sealing;
use crate::types::ids::{Lsn, TenantId};
use crate::types::sample::Sample;
use crate::types::time::UnixNanos;
use crate::wal::{DirectoryLock, FsyncPolicy, Wal, WalConfig, WalError, make_whole, open_record, replay};

/// Bytes of one segment of the log.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
const POSITION_FILE: &str = "POSITION";

/// Why a queue could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Wal(#[from] WalError),
    #[error("{0}")]
    Record(String),
}

/// A record that waits.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) lsn: Lsn,
    pub(super) batches: Arc<Batches>,
    samples: usize,
    bytes: usize,
}

impl Entry {
    fn new(lsn: Lsn, batches: Batches, bytes: usize) -> Self {
        let samples = batches.iter().map(|(_, samples)| samples.len()).sum();
        Entry { lsn, batches: Arc::new(batches), samples, bytes }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    bytes: usize,
    samples: usize,
    /// Samples that were pushed out.
    dropped: u64,
}

impl Waiting {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        self.samples += entry.samples;
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes;
        self.samples -= entry.samples;
        Some(entry)
    }

    /// The oldest go when there is too much; the newest stays.
    fn bound(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.entries.len() > 1 {
            if let Some(entry) = self.pop() {
                self.dropped += entry.samples as u64;
            }
        }
    }
}

pub(super) struct Queue {
    dir: PathBuf,
    wal: Wal<(Batches, usize)>,
    waiting: Arc<Mutex<Waiting>>,
    arrived: Arc<Notify>,
}

impl Queue {
    /// Opens the queue in `dir`, creating it, and replays what waits. Blocks.
    pub(super) fn open(
        dir: &Path,
        fsync: FsyncPolicy,
        sealing: Option<Sealing>,
        bytes_max: usize,
    ) -> Result<Self, QueueError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| QueueError::Io { path, source }
        };
        std::fs::create_dir_all(dir).map_err(failed(dir))?;
        let lock = DirectoryLock::take(dir)?;
        let position = read_position(&dir.join(POSITION_FILE)).map_err(failed(dir))?;
        let sealer = sealing.as_ref().map(|sealing| RecordSealer::new(&sealing.keys)).transpose();
        let sealer = sealer.map_err(|error| QueueError::Record(error.to_string()))?;
        let mut opener = sealing.map(|sealing| RecordOpener::new(sealing.keys, sealing.allow_plain));
        let mut waiting = Waiting::default();
        make_whole(dir, &dir.join("quarantine"), position)?;
        let end = replay(dir, |record| {
            if record.lsn > position && !record.payload.is_empty() {
                let payload = open_record(opener.as_mut(), &record)?;
                let batches = codec::decode(&payload).map_err(|error| QueueError::Record(error.to_string()))?;
                waiting.push(Entry::new(record.lsn, batches, payload.len()));
                waiting.bound(bytes_max);
            }
            Ok::<_, QueueError>(())
        })?;
        let (waiting, arrived) = (Arc::new(Mutex::new(waiting)), Arc::new(Notify::new()));
        let config = WalConfig { fsync, segment_bytes_max: SEGMENT_BYTES_MAX, ..WalConfig::default() };
        let (into, ring) = (waiting.clone(), arrived.clone());
        let wal = Wal::open_sealed(lock, dir, config, end, sealer, move |group: Vec<(Lsn, (Batches, usize))>| {
            let mut waiting = into.lock();
            for (lsn, (batches, bytes)) in group {
                waiting.push(Entry::new(lsn, batches, bytes));
            }
            waiting.bound(bytes_max);
            ring.notify_one();
        })?;
        Ok(Queue { dir: dir.to_owned(), wal, waiting, arrived })
    }

    /// Returns when the batches are durable.
    pub(super) async fn append(&self, batches: &[(TenantId, Vec<Sample>)]) -> Result<(), WalError> {
        let batches: Batches = batches.to_vec();
        let payload = codec::encode(&batches);
        let bytes = payload.len();
        self.wal.append(payload.into(), (batches, bytes)).await.map(|_| ())
    }

    /// Waits until something is there.
    pub(super) async fn wait(&self) {
        while self.waiting.lock().entries.is_empty() {
            self.arrived.notified().await;
        }
    }

    /// Whether so many samples wait.
    pub(super) fn has(&self, samples: usize) -> bool {
        self.waiting.lock().samples >= samples
    }

    /// The oldest records, with at least `samples` samples if there are so many. They stay until [`Queue::done`].
    pub(super) fn oldest(&self, samples: usize) -> Vec<Entry> {
        let waiting = self.waiting.lock();
        let mut taken = 0;
        let mut oldest = Vec::new();
        for entry in &waiting.entries {
            if taken >= samples {
                break;
            }
            taken += entry.samples;
            oldest.push(entry.clone());
        }
        oldest
    }

    /// Forgets records through `lsn`, here and on disk. Blocks.
    pub(super) fn done(&self, lsn: Lsn) -> Result<(), QueueError> {
        {
            let mut waiting = self.waiting.lock();
            while waiting.entries.front().is_some_and(|entry| entry.lsn <= lsn) {
                waiting.pop();
            }
        }
        let path = self.dir.join(POSITION_FILE);
        let next = path.with_extension("new");
        let written = std::fs::write(&next, lsn.to_string()).and_then(|()| std::fs::rename(&next, &path));
        written.map_err(|source| QueueError::Io { path, source })?;
        Ok(self.wal.truncate_through(lsn)?)
    }

    /// Bytes that wait, samples pushed out since the last call, and the time of the oldest sample.
    pub(super) fn state(&self) -> (usize, u64, Option<UnixNanos>) {
        let mut waiting = self.waiting.lock();
        let oldest = waiting.entries.front().and_then(|entry| {
            entry.batches.iter().flat_map(|(_, samples)| samples.iter().map(|sample| sample.time)).min()
        });
        (waiting.bytes, std::mem::take(&mut waiting.dropped), oldest)
    }

    /// Blocks.
    pub(super) fn close(&self) -> Result<(), WalError> {
        self.wal.close()
    }
}

fn read_position(path: &Path) -> std::io::Result<Lsn> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Lsn(text.trim().parse().unwrap_or(0))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lsn(0)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::labels::Labels;

    fn batch(at: i64) -> Batches {
        let labels = Labels::from_pairs([("__name__", "m")]);
        vec![(TenantId::single(), vec![Sample { labels, time: UnixNanos(at), value: at as f64 }])]
    }

    fn times(queue: &Queue) -> Vec<i64> {
        queue
            .oldest(usize::MAX)
            .iter()
            .flat_map(|entry| entry.batches[0].1.iter().map(|sample| sample.time.0))
            .collect()
    }

    #[tokio::test]
    async fn what_is_not_done_waits_again_after_a_crash() {
        let directory = tempfile::tempdir().expect("a directory");
        {
            let queue = Queue::open(directory.path(), FsyncPolicy::Never, None, 1 << 20).expect("opens");
            for at in 0..5 {
                queue.append(&batch(at)).await.expect("durable");
            }
            let sent = queue.oldest(2);
            queue.done(sent[1].lsn).expect("done");
            assert_eq!(times(&queue), [2, 3, 4]);
        }
        let queue = Queue::open(directory.path(), FsyncPolicy::Never, None, 1 << 20).expect("opens");
        assert_eq!(times(&queue), [2, 3, 4]);
        queue.done(Lsn(5)).expect("done");
        queue.append(&batch(9)).await.expect("durable");
        drop(queue);
        let queue = Queue::open(directory.path(), FsyncPolicy::Never, None, 1 << 20).expect("opens");
        assert_eq!(times(&queue), [9]);
    }

    #[tokio::test]
    async fn a_full_queue_loses_the_oldest_and_says_so() {
        let directory = tempfile::tempdir().expect("a directory");
        let queue = Queue::open(directory.path(), FsyncPolicy::Never, None, 150).expect("opens");
        for at in 0..10 {
            queue.append(&batch(at)).await.expect("durable");
        }
        let (bytes, dropped, oldest) = queue.state();
        let left = times(&queue);
        assert!(bytes <= 150 && !left.is_empty(), "{bytes} bytes, {left:?}");
        assert_eq!(left.last(), Some(&9));
        assert_eq!(dropped as usize + left.len(), 10);
        assert_eq!(oldest, Some(UnixNanos(left[0])));
        assert_eq!(queue.state().1, 0);
    }
}
