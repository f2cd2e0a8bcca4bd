//! What a process tells: the rows that no file has, then each row that comes.
//!
//! Invariants: rows that become visible after the listening began and before the rows there were are looked at come
//! once; whoever takes too long is cut off and begins anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, DictionaryArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::UInt32Type;
use bytes::Bytes;
use futures::{Stream, stream};
use tokio::sync::mpsc;

use super::frames::Frame;
use crate::catalog::Unflushed;
use crate::files::table::Table;
use crate::ingest::arrivals::{Arrived, Listener, Listening, Origin as From};
use crate::ingest::shard::Shard;
use crate::streams::{StreamRef, TenantStreams};
use crate::types::batch::{BatchError, LogBatch};
use crate::types::ids::{IngestSeq, TenantId};

/// Batches that may wait for one who listens.
const WAITING_MAX: usize = 65_536;
/// Their Arrow bytes.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// How often a silent process says that it lives.
const ALIVE_PERIOD: Duration = Duration::from_secs(1);

/// Tells the rows of this process. Cheap to clone.
#[derive(Clone)]
pub struct Origin {
    shard: Arc<Shard>,
    table: Arc<Table>,
    identity: Arc<str>,
}

/// Hears of rows and keeps them until they are told.
struct Ear {
    waiting: mpsc::Sender<(Arrived, IngestSeq)>,
    /// Arrow bytes that wait.
    bytes: Arc<AtomicUsize>,
    shard: Arc<Shard>,
}

impl Listener for Ear {
    fn rows_arrived(&self, arrived: &[Arrived]) {
        let seq = self.shard.catalog().newest_seq();
        for one in arrived {
            let bytes = one.rows.get_array_memory_size();
            let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if waiting > WAITING_BYTES_MAX || self.waiting.try_send((one.clone(), seq)).is_err() {
                // Too slow: whoever tells notices that nothing more can be believed.
                self.bytes.store(usize::MAX / 2, Ordering::Relaxed);
                return;
            }
        }
    }
}

impl Origin {
    pub fn new(shard: Arc<Shard>, table: Arc<Table>, identity: &str) -> Self {
        Origin { shard, table, identity: identity.into() }
    }

    /// Frames, for as long as they are read.
    pub fn rows(&self) -> impl Stream<Item = Result<Bytes, BatchError>> + Send + use<> {
        let (origin, (send, arriving)) = (self.clone(), mpsc::channel(WAITING_MAX));
        let bytes = Arc::new(AtomicUsize::new(0));
        let ear = Ear { waiting: send, bytes: bytes.clone(), shard: origin.shard.clone() };
        let listening = origin.shard.arrivals().listen(Arc::new(ear));
        let telling = Telling { origin, arriving, waiting_bytes: bytes, _listening: listening, stage: Stage::Begin };
        stream::unfold(telling, |mut telling| async move { telling.next().await.map(|frame| (frame, telling)) })
    }
}

/// Where the telling is.
struct Telling {
    origin: Origin,
    arriving: mpsc::Receiver<(Arrived, IngestSeq)>,
    waiting_bytes: Arc<AtomicUsize>,
    _listening: Listening,
    stage: Stage,
}

enum Stage {
    Begin,
    /// Rows there were, the last ones first.
    Told(Unflushed),
    Ready(Unflushed),
    Over,
}

impl Telling {
    async fn next(&mut self) -> Option<Result<Bytes, BatchError>> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Over => return None,
                Stage::Begin => {
                    self.stage = Stage::Told(self.origin.shard.catalog().unflushed());
                    return Some(Ok(Frame::Begin { identity: self.origin.identity.to_string() }.encode()));
                }
                Stage::Told(mut unflushed) => match unflushed.parts.pop() {
                    Some((tenant, part, position)) => {
                        let (source, position) = match (part.source(), position) {
                            (Some(source), Some(position)) => (source.clone(), position),
                            _ => (self.origin.identity.clone(), unflushed.last_lsn.position()),
                        };
                        self.stage = Stage::Told(unflushed);
                        return Some(self.rows_frame(&tenant, part.rows(), &source, position, part.seq()));
                    }
                    None => {
                        // All rows that were in no part before are in the table as of now.
                        let version = self.origin.table.version().await;
                        self.stage = Stage::Ready(unflushed);
                        return Some(Ok(Frame::Ready { version }.encode()));
                    }
                },
                Stage::Ready(unflushed) => {
                    let arrived = tokio::time::timeout(ALIVE_PERIOD, self.arriving.recv()).await;
                    if self.origin.shard.catalog().sources_dropped() != unflushed.sources_dropped {
                        // Rows that were told are another process's now.
                        return None;
                    }
                    if self.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX {
                        tracing::warn!("a peer takes rows too slowly; it begins anew");
                        return None;
                    }
                    let Ok(arrived) = arrived else {
                        self.stage = Stage::Ready(unflushed);
                        return Some(Ok(Frame::Alive.encode()));
                    };
                    let (arrived, seq) = arrived?;
                    self.waiting_bytes.fetch_sub(arrived.rows.get_array_memory_size(), Ordering::Relaxed);
                    let (source, position, told) = match &arrived.from {
                        From::Log(lsn) => (&self.origin.identity, lsn.position(), Some(unflushed.last_lsn.position())),
                        From::Source(step) => (&step.app_id, step.to, unflushed.steps.get(&step.app_id).copied()),
                    };
                    self.stage = Stage::Ready(unflushed);
                    if told.is_none_or(|told| position > told) {
                        return Some(self.rows_frame(&arrived.tenant, &arrived.rows, source, position, seq));
                    }
                }
            }
        }
    }

    fn rows_frame(
        &self,
        tenant: &TenantId,
        rows: &RecordBatch,
        source: &str,
        position: i64,
        seq: IngestSeq,
    ) -> Result<Bytes, BatchError> {
        let streams = self.origin.shard.catalog().streams().tenant(tenant);
        let mut record = Vec::new();
        with_labels(rows, &streams)?.encode(tenant, &mut record)?;
        Ok(Frame::Rows { source: source.to_owned(), position, seq, record: record.into() }.encode())
    }
}

/// Rows with the labels of their streams in place of their numbers in this process.
fn with_labels(rows: &RecordBatch, streams: &TenantStreams) -> Result<LogBatch, BatchError> {
    let refs = rows.column(1).as_primitive::<UInt32Type>().values();
    let mut known: Vec<u32> = refs.to_vec();
    known.sort_unstable();
    known.dedup();
    let keys: UInt32Array = refs.iter().map(|stream| known.partition_point(|other| other < stream) as u32).collect();
    let labels = StringArray::from_iter_values(known.iter().map(|stream| streams.get(StreamRef(*stream)).json.clone()));
    let labels = DictionaryArray::<UInt32Type>::try_new(keys, Arc::new(labels))?;
    let mut columns = rows.columns().to_vec();
    columns[1] = Arc::new(labels);
    LogBatch::try_new(RecordBatch::try_new(crate::types::batch::LOG_SCHEMA.clone(), columns)?)
}
