//! Files: which there are, what labels they have, and one thread a job that reads them in turn.
//!
//! ```text
//! static_configs, file_sd_configs ─▶ targets (labels, __path__) ─ relabel ─▶ globs ─▶ paths ─▶ Tail a path
//!                     (anew every target_config.sync_period)                        └─▶ Unpacked a path, read once
//! worker: Tail by Tail, at most READ_BYTES at a time ─▶ entries ─▶ Feed
//! ```

mod discover;
mod globs;
mod open_file;
mod tail;
mod unpack;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use self::discover::Discovery;
use self::tail::Tail;
use self::unpack::Unpacked;
use super::config::ScrapeConfig;
use super::feed::Feed;
use super::metrics::AgentMetrics;
use super::positions::{Chunk, Positions};
use super::targets::{Target, Targets};
use crate::pipeline::{Entry, LabelSet, Origin, Receipt, Text};

/// Read of one file before the next has its turn.
const READ_BYTES: usize = 256 << 10;
/// How long a job rests when no file had anything.
const REST: Duration = Duration::from_millis(100);

/// The files of a job.
pub struct FileJob {
    discovery: Discovery,
    feed: Feed,
    positions: Positions,
    metrics: AgentMetrics,
    targets: Targets,
    sync_period: Duration,
    rest: Duration,
    unpacks: Option<String>,
    readers: BTreeMap<PathBuf, Reader>,
    failed: BTreeMap<PathBuf, String>,
}

struct Reader {
    labels: LabelSet,
    path: String,
    key: String,
    kind: Kind,
}

enum Kind {
    Tail(Box<Tail>),
    Unpacked(Box<Unpacked>),
    /// A packed file that was read to its end.
    Done,
}

impl FileJob {
    /// `None` when the job reads no files.
    ///
    /// # Errors
    /// Rules that cannot be compiled.
    pub fn new(
        config: &ScrapeConfig,
        feed: Feed,
        positions: Positions,
        metrics: AgentMetrics,
        targets: Targets,
        sync_period: Duration,
        rest: Option<Duration>,
    ) -> Result<Option<Self>, String> {
        let Some(discovery) = Discovery::new(config)? else { return Ok(None) };
        let unpacks = config.decompression.as_ref().filter(|unpack| unpack.enabled).map(|unpack| unpack.format.clone());
        Ok(Some(FileJob {
            discovery,
            feed,
            positions,
            metrics,
            targets,
            sync_period,
            rest: rest.unwrap_or(REST),
            unpacks,
            readers: BTreeMap::new(),
            failed: BTreeMap::new(),
        }))
    }

    /// Reads until `stop` rings; with `once`, until everything there was has been read.
    pub fn run(mut self, stop: &CancellationToken, once: bool) {
        let mut scratch = vec![0; READ_BYTES];
        let mut synced: Option<Instant> = None;
        while !stop.is_cancelled() {
            if synced.is_none_or(|at| at.elapsed() >= self.sync_period) {
                self.sync();
                synced = Some(Instant::now());
            }
            let had_any = self.round(&mut scratch, stop);
            if had_any {
                continue;
            }
            if once {
                break;
            }
            if self.feed.next_due_ns().is_some_and(|due| due <= self.feed.clock().now().0) {
                self.feed.push_blocking(Vec::new());
            }
            std::thread::sleep(self.rest);
        }
        for reader in self.readers.values() {
            self.metrics.files_active.dec();
            self.positions.release(&reader.key);
        }
    }

    /// One turn of every file; true when any had something.
    fn round(&mut self, scratch: &mut [u8], stop: &CancellationToken) -> bool {
        let now_ns = self.feed.clock().now().0;
        let mut had_any = false;
        let mut gone = Vec::new();
        for (path, reader) in &mut self.readers {
            if stop.is_cancelled() {
                return true;
            }
            let mut batches: Vec<(Vec<String>, Chunk)> = Vec::new();
            let mut take = |lines: Vec<String>, chunk: Chunk| batches.push((lines, chunk));
            let more = match &mut reader.kind {
                Kind::Tail(tail) => tail.poll(scratch, now_ns, &mut take),
                Kind::Unpacked(unpacked) => unpacked.read(&mut take),
                Kind::Done => Ok(false),
            };
            match more {
                Ok(more) => had_any |= more,
                Err(error) => {
                    if self.failed.insert(path.clone(), error.to_string()).is_none() {
                        tracing::warn!(path = reader.path, %error, "a file cannot be read; it is tried again");
                    }
                }
            }
            if let Kind::Unpacked(unpacked) = &reader.kind
                && unpacked.is_done()
            {
                reader.kind = Kind::Done;
            }
            for (lines, chunk) in batches {
                self.metrics.read_lines.with_label_values(&[&reader.path]).inc_by(lines.len() as u64);
                let held: Arc<Chunk> = Arc::new(chunk);
                let entry = |line| Entry {
                    labels: reader.labels.clone(),
                    ts_ns: now_ns,
                    line,
                    receipt: Receipt::of(held.clone()),
                    ..Entry::default()
                };
                self.feed.push_blocking(lines.into_iter().map(entry).collect());
            }
            if let Kind::Tail(tail) = &reader.kind {
                let (read, there) = tail.sizes();
                self.metrics.read_bytes.with_label_values(&[&reader.path]).set(read as i64);
                self.metrics.file_bytes.with_label_values(&[&reader.path]).set(there as i64);
                if tail.is_gone && tail.is_settled() {
                    gone.push(path.clone());
                }
            }
        }
        for path in gone {
            self.remove(&path, true);
        }
        had_any
    }

    /// Looks for files anew.
    fn sync(&mut self) {
        let found = self.discovery.find();
        self.metrics.targets_active.add(found.paths.len() as i64 - self.readers.len() as i64);
        let gone: Vec<PathBuf> = self.readers.keys().filter(|path| !found.paths.contains_key(*path)).cloned().collect();
        for path in gone {
            // A file that is only gone for a moment, or read to its end first, is left to its tail.
            let leaves = match self.readers.get(&path).map(|reader| &reader.kind) {
                Some(Kind::Tail(tail)) => tail.is_gone && tail.is_settled(),
                _ => true,
            };
            if leaves {
                self.remove(&path, !path.exists());
            }
        }
        let before = self.readers.len();
        for (path, labels) in &found.paths {
            if !self.readers.contains_key(path) {
                self.add(path, labels);
            }
        }
        // Known before it is read: killed and renamed in the next moment, it is found again.
        if self.readers.len() > before
            && let Err(error) = self.positions.save()
        {
            tracing::error!(%error, "positions are not written; lines would be sent again after a restart");
        }
        let files = self.readers.values().map(|reader| Target {
            job: self.feed.job().to_owned(),
            kind: "File",
            name: reader.path.clone(),
            labels: reader.labels.to_string(),
            is_ready: true,
            details: match &reader.kind {
                Kind::Tail(tail) => format!("read {} of {} bytes", tail.sizes().0, tail.sizes().1),
                Kind::Unpacked(_) => "being unpacked".to_owned(),
                Kind::Done => "read to its end".to_owned(),
            },
        });
        let mut all: Vec<Target> = files.collect();
        all.extend(found.dropped);
        self.targets.replace(self.feed.job(), "File", all);
    }

    fn add(&mut self, path: &Path, labels: &BTreeMap<String, String>) {
        let text = path.to_string_lossy().into_owned();
        let now_ns = self.feed.clock().now().0;
        let is_another_name = std::fs::metadata(path).is_ok_and(|metadata| {
            use std::os::unix::fs::MetadataExt;
            let inode = (metadata.dev(), metadata.ino());
            self.readers.values().any(|reader| matches!(&reader.kind, Kind::Tail(tail) if tail.has_inode(inode)))
        });
        // `app.log.1` of a glob `*.log*`, which is read under the name it had.
        if is_another_name && self.positions.get(&text).is_none() {
            return;
        }
        let key = self.positions.claim(&text, self.feed.job());
        let opened = match &self.unpacks {
            None => Tail::open(path, key.clone(), &self.positions, now_ns).map(|tail| Kind::Tail(Box::new(tail))),
            Some(format) => Unpacked::open(path, format, key.clone(), &self.positions)
                .map(|unpacked| Kind::Unpacked(Box::new(unpacked))),
        };
        match opened {
            Ok(kind) => {
                tracing::info!(path = text, job = self.feed.job(), "tailing");
                self.failed.remove(path);
                let mut set = LabelSet::from_pairs(
                    Origin::Operator,
                    labels.iter().map(|(name, value)| (Text::from(name.as_str()), Text::from(value.as_str()))),
                );
                set.set("filename".into(), text.as_str().into(), Origin::Operator);
                self.metrics.files_active.inc();
                self.readers.insert(path.to_owned(), Reader { labels: set, path: text, key, kind });
            }
            Err(error) => {
                self.positions.release(&key);
                self.metrics.targets_failed.with_label_values(&["open"]).inc();
                if self.failed.insert(path.to_owned(), error.to_string()).is_none() {
                    tracing::warn!(path = text, %error, "a file cannot be opened; it is tried again");
                }
            }
        }
    }

    fn remove(&mut self, path: &Path, forget: bool) {
        let Some(reader) = self.readers.remove(path) else { return };
        tracing::info!(path = reader.path, "the file is gone");
        if let (Kind::Tail(tail), true) = (&reader.kind, forget) {
            tail.forget();
        }
        self.positions.release(&reader.key);
        self.metrics.files_active.dec();
        let label = [reader.path.as_str()];
        let _ = self.metrics.read_bytes.remove_label_values(&label);
        let _ = self.metrics.read_lines.remove_label_values(&label);
        let _ = self.metrics.file_bytes.remove_label_values(&label);
    }
}
