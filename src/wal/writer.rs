//! The writer: one thread that owns the newest segment and commits waiting records in groups.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::codec;
use super::disk::{Disk, RealDisk, SegmentWrite};
use super::replay::LogEnd;
use super::segment;
use super::{FsyncPolicy, WalConfig, WalError};
use crate::seal::record::RecordSealer;
use crate::types::ids::Lsn;

/// Records committed together at most; the rest make the next group.
const GROUP_BYTES_MAX: usize = 16 << 20;
/// A permit of the queue stands for this many bytes.
const PERMIT_BYTES: usize = 1024;

/// What the log did since it was opened.
#[derive(Debug, Default)]
pub struct WalStats {
    pub records: AtomicU64,
    pub groups: AtomicU64,
    pub bytes: AtomicU64,
    pub failed_groups: AtomicU64,
    pub sync_nanos: AtomicU64,
    pub segments: AtomicU64,
}

/// An open log. `T` is what [`Wal::append`] hands to `on_durable` with each record.
pub struct Wal<T> {
    dir: PathBuf,
    commands: Mutex<Option<mpsc::Sender<Command<T>>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    queue: Arc<Semaphore>,
    config: WalConfig,
    stats: Arc<WalStats>,
    _lock: DirectoryLock,
}

type Answer = Result<Lsn, WalError>;

enum Command<T> {
    Append {
        payload: Bytes,
        item: T,
        done: oneshot::Sender<Answer>,
        _room: OwnedSemaphorePermit,
    },
    /// Starts a new segment unless the newest is empty, so that the older ones can go.
    Rotate {
        done: mpsc::SyncSender<Result<(), WalError>>,
    },
}

impl<T> std::fmt::Debug for Wal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wal").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Keeps other processes out of a log's directory while it lives: taken before the replay.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: std::fs::File,
}

impl DirectoryLock {
    /// # Errors
    /// `Locked` when another process has the directory.
    pub fn take(dir: &Path) -> Result<Self, WalError> {
        let path = dir.join("LOCK");
        let file = std::fs::File::create(&path).map_err(WalError::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(WalError::Locked { path: dir.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => Err(WalError::Io { path, source }),
        }
    }
}

impl<T: Send + 'static> Wal<T> {
    /// Opens the log in `dir` for appending after `end`, which [`super::replay()`] found.
    ///
    /// `on_durable` runs on the writer's thread with each group, in order, before its callers are answered.
    ///
    /// # Errors
    /// `Io` when the newest segment cannot be opened.
    pub fn open(
        lock: DirectoryLock,
        dir: &Path,
        config: WalConfig,
        end: LogEnd,
        on_durable: impl FnMut(Vec<(Lsn, T)>) + Send + 'static,
    ) -> Result<Self, WalError> {
        Self::open_sealed(lock, dir, config, end, None, on_durable)
    }

    /// As [`Wal::open`], with records sealed on their way to the disk.
    pub fn open_sealed(
        lock: DirectoryLock,
        dir: &Path,
        config: WalConfig,
        end: LogEnd,
        sealer: Option<RecordSealer>,
        on_durable: impl FnMut(Vec<(Lsn, T)>) + Send + 'static,
    ) -> Result<Self, WalError> {
        Self::open_on(Box::new(RealDisk), lock, dir, config, end, sealer, on_durable)
    }

    pub(super) fn open_on(
        disk: Box<dyn Disk>,
        lock: DirectoryLock,
        dir: &Path,
        config: WalConfig,
        end: LogEnd,
        sealer: Option<RecordSealer>,
        on_durable: impl FnMut(Vec<(Lsn, T)>) + Send + 'static,
    ) -> Result<Self, WalError> {
        let stats = Arc::new(WalStats::default());
        let mut writer = Writer {
            disk,
            dir: dir.to_owned(),
            config,
            next: end.last.next(),
            segment: None,
            buffer: Vec::new(),
            sealer,
            stats: stats.clone(),
            unsynced: false,
            synced_at: Instant::now(),
        };
        writer.open_newest()?;
        #[expect(clippy::disallowed_methods, reason = "what waits in it is bounded by the permits of `queue`")]
        let (commands, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("wal".to_owned())
            .spawn(move || writer.run(&waiting, on_durable))
            .map_err(WalError::io(dir))?;
        Ok(Wal {
            dir: dir.to_owned(),
            commands: Mutex::new(Some(commands)),
            thread: Mutex::new(Some(thread)),
            queue: Arc::new(Semaphore::new(config.queue_bytes_max / PERMIT_BYTES)),
            config,
            stats,
            _lock: lock,
        })
    }

    /// Makes `payload` durable and hands `item` on.
    ///
    /// Cancellation: a record that reached the queue is written even if the caller is gone.
    ///
    /// # Errors
    /// `Overloaded` when the queue has no room in time; `DiskFull` or `Write` when the group could not be
    /// written: then nothing of it remains, and a later append tries anew.
    pub async fn append(&self, payload: Bytes, item: T) -> Answer {
        if payload.len() > codec::PAYLOAD_BYTES_MAX {
            return Err(WalError::TooLarge { bytes: payload.len(), bytes_max: codec::PAYLOAD_BYTES_MAX });
        }
        let all = self.config.queue_bytes_max / PERMIT_BYTES;
        let permits = (payload.len() / PERMIT_BYTES + 1).min(all);
        let room = self.queue.clone().acquire_many_owned(u32::try_from(permits).unwrap_or(u32::MAX));
        let room = match tokio::time::timeout(self.config.queue_wait_max, room).await {
            Ok(Ok(room)) => room,
            Ok(Err(_)) => return Err(WalError::Closed),
            Err(_) => return Err(WalError::Overloaded { queue_bytes_max: self.config.queue_bytes_max }),
        };
        let (done, answer) = oneshot::channel();
        self.send(Command::Append { payload, item, done, _room: room })?;
        answer.await.map_err(|_| WalError::Closed)?
    }

    /// Removes segments whose records are all at or before `lsn`. Blocks for a moment.
    pub fn truncate_through(&self, lsn: Lsn) -> Result<(), WalError> {
        let (done, rotated) = mpsc::sync_channel(1);
        self.send(Command::Rotate { done })?;
        rotated.recv().map_err(|_| WalError::Closed)??;
        let segments = segment::list(&self.dir)?;
        for (old, next) in segments.iter().zip(segments.iter().skip(1)) {
            if next.first.0 <= lsn.0 + 1 {
                std::fs::remove_file(&old.path).map_err(WalError::io(&old.path))?;
                self.stats.segments.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// The first record that a segment may still hold.
    pub fn first_kept(&self) -> Result<Lsn, WalError> {
        Ok(segment::list(&self.dir)?.first().map_or(Lsn(u64::MAX), |segment| segment.first))
    }

    pub fn stats(&self) -> &WalStats {
        &self.stats
    }

    /// Bytes of records waiting, about.
    pub fn queue_bytes(&self) -> usize {
        (self.config.queue_bytes_max / PERMIT_BYTES - self.queue.available_permits()) * PERMIT_BYTES
    }

    /// Writes what waits and ends the thread; appends are refused from now on.
    pub fn close(&self) -> Result<(), WalError> {
        self.queue.close();
        drop(self.commands.lock().take());
        match self.thread.lock().take().map(std::thread::JoinHandle::join) {
            Some(Err(_)) => Err(WalError::Write("the writer's thread panicked".to_owned())),
            _ => Ok(()),
        }
    }

    fn send(&self, command: Command<T>) -> Result<(), WalError> {
        let commands = self.commands.lock();
        commands.as_ref().ok_or(WalError::Closed)?.send(command).map_err(|_| WalError::Closed)
    }
}

/// State of the writer's thread.
struct Writer {
    disk: Box<dyn Disk>,
    dir: PathBuf,
    config: WalConfig,
    next: Lsn,
    segment: Option<Open>,
    buffer: Vec<u8>,
    sealer: Option<RecordSealer>,
    stats: Arc<WalStats>,
    /// Of an interval policy: whether something waits for a sync, and when the last was.
    unsynced: bool,
    synced_at: Instant,
}

struct Open {
    file: Box<dyn SegmentWrite>,
    first: Lsn,
    /// Length up to which all is synced.
    bytes: u64,
}

struct Waiting<T> {
    lsn: Lsn,
    item: T,
    done: oneshot::Sender<Answer>,
    _room: OwnedSemaphorePermit,
}

impl Writer {
    fn open_newest(&mut self) -> Result<(), WalError> {
        let segments = segment::list(&self.dir)?;
        self.stats.segments.store(segments.len() as u64, Ordering::Relaxed);
        let Some(newest) = segments.last() else {
            return Ok(());
        };
        let (file, bytes) = self.disk.append(&newest.path).map_err(WalError::io(&newest.path))?;
        // Without an intact header replay cut it to nothing: it is made anew with the first group.
        if bytes >= segment::HEADER_BYTES {
            self.segment = Some(Open { file, first: newest.first, bytes });
        }
        Ok(())
    }

    fn run<T>(mut self, commands: &mpsc::Receiver<Command<T>>, mut on_durable: impl FnMut(Vec<(Lsn, T)>)) {
        let mut held: Option<Command<T>> = None;
        while let Some(command) = held.take().or_else(|| self.receive(commands)) {
            let mut group = Vec::new();
            self.buffer.clear();
            let mut next_command = Some(command);
            while let Some(command) = next_command.take() {
                match command {
                    Command::Append { payload, item, done, _room } => {
                        let lsn = Lsn(self.next.0 + group.len() as u64);
                        let sealed = self.sealer.as_mut().map(|sealer| sealer.seal(lsn.0, &payload));
                        codec::encode(lsn, sealed.as_deref().unwrap_or(&payload), &mut self.buffer);
                        group.push(Waiting { lsn, item, done, _room });
                        if self.buffer.len() < GROUP_BYTES_MAX {
                            next_command = commands.try_recv().ok();
                        }
                    }
                    Command::Rotate { done } if group.is_empty() => {
                        let _ = done.send(self.rotate());
                    }
                    rotate @ Command::Rotate { .. } => held = Some(rotate),
                }
            }
            self.commit(group, &mut on_durable);
        }
    }

    /// The next command. While it waits, what an interval policy left unsynced is synced in time.
    fn receive<T>(&mut self, commands: &mpsc::Receiver<Command<T>>) -> Option<Command<T>> {
        let FsyncPolicy::Interval(interval) = self.config.fsync else {
            return commands.recv().ok();
        };
        loop {
            match commands.recv_timeout(interval) {
                Ok(command) => return Some(command),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => self.sync_if_due(),
            }
        }
    }

    fn sync_if_due(&mut self) {
        let FsyncPolicy::Interval(interval) = self.config.fsync else {
            return;
        };
        if !self.unsynced || self.synced_at.elapsed() < interval {
            return;
        }
        let Some(open) = self.segment.as_mut() else {
            return;
        };
        if let Err(error) = sync(&mut *open.file, &self.stats) {
            tracing::error!(%error, "the write-ahead log could not be synced; records since the last sync may not survive power loss");
            self.segment = None;
        }
        self.unsynced = false;
        self.synced_at = Instant::now();
    }

    fn commit<T>(&mut self, group: Vec<Waiting<T>>, on_durable: &mut impl FnMut(Vec<(Lsn, T)>)) {
        let Some(last) = group.last().map(|waiting| waiting.lsn) else {
            return;
        };
        if let Err(error) = self.write_group() {
            self.stats.failed_groups.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, records = group.len(), "a group of the write-ahead log could not be written");
            for waiting in group {
                let _ = waiting.done.send(Err(failure(&error)));
            }
            return;
        }
        self.next = last.next();
        self.stats.groups.fetch_add(1, Ordering::Relaxed);
        self.stats.records.fetch_add(group.len() as u64, Ordering::Relaxed);
        self.stats.bytes.fetch_add(self.buffer.len() as u64, Ordering::Relaxed);
        let (mut items, mut callers) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for Waiting { lsn, item, done, _room } in group {
            items.push((lsn, item));
            callers.push((lsn, done, _room));
        }
        on_durable(items);
        for (lsn, done, _room) in callers {
            let _ = done.send(Ok(lsn));
        }
    }

    fn write_group(&mut self) -> std::io::Result<()> {
        if self.segment.as_ref().is_some_and(|open| open.bytes >= self.config.segment_bytes_max) {
            self.segment = None;
        }
        if self.segment.is_none() {
            self.segment = Some(self.new_segment()?);
        }
        let open = self.segment.as_mut().expect("made above");
        let written = open.file.write_all(&self.buffer);
        let synced = match self.config.fsync {
            FsyncPolicy::Always => written.and_then(|()| sync(&mut *open.file, &self.stats)),
            FsyncPolicy::Interval(_) | FsyncPolicy::Never => written,
        };
        match synced {
            Ok(()) => {
                open.bytes += self.buffer.len() as u64;
                self.unsynced = true;
                self.sync_if_due();
                Ok(())
            }
            Err(error) => {
                // What a failed write or sync left is unknown: cut it off and go on in a new segment,
                // which may take the place of this one if this one is empty.
                let _ = open.file.truncate(open.bytes);
                self.segment = None;
                Err(error)
            }
        }
    }

    fn new_segment(&mut self) -> std::io::Result<Open> {
        let path = segment::path_of(&self.dir, self.next);
        let is_new = !path.exists();
        let mut file = self.disk.create(&path)?;
        file.write_all(&segment::header(self.next))?;
        if is_new {
            self.stats.segments.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Open { file, first: self.next, bytes: segment::HEADER_BYTES })
    }

    fn rotate(&mut self) -> Result<(), WalError> {
        if self.segment.as_ref().is_some_and(|open| open.first == self.next) {
            return Ok(());
        }
        self.segment = None;
        let mut open = self.new_segment().map_err(|error| failure(&error))?;
        if self.config.fsync != FsyncPolicy::Never {
            sync(&mut *open.file, &self.stats).map_err(|error| failure(&error))?;
        }
        self.segment = Some(open);
        Ok(())
    }
}

fn sync(file: &mut dyn SegmentWrite, stats: &WalStats) -> std::io::Result<()> {
    let started = Instant::now();
    let synced = file.sync();
    stats.sync_nanos.fetch_add(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    synced
}

fn failure(error: &std::io::Error) -> WalError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => WalError::DiskFull,
        _ => WalError::Write(error.to_string()),
    }
}
