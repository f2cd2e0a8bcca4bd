//! What of a request is taken: streams and entries go in one by one, good ones come out as a batch.
//!
//! ```text
//! stream(labels) ─▶ checks ─▶ entry(ts, line, metadata) ─▶ checks ─▶ LogBatchBuilder
//!                     └────────────── refusals, grouped as Loki groups them ─▶ 400
//! ```
//! Where the tenant has stages, streams and entries wait for `finish`, which runs them and then does the same.
//!
//! Valid entries of a request with bad ones are kept. Texts and their grouping are Loki's.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::ingest::checks::{Refusal, check_entry, check_labels};
use crate::ingest::level::{self, DETECTED_LEVEL};
use crate::ingest::limits::Limits;
use crate::ingest::rates::{CELL_BYTES, TooFast};
use crate::ingest::refusals::{Slowed, grouped, note, stream_limit};
use crate::ingest::service_name::with_service_name;
use crate::ingest::stages::Stages;
use crate::ingest::staging::Staging;
use crate::pipeline::StageError;
use crate::types::batch::{BatchError, LogBatch, LogBatchBuilder, StreamSlot};
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

pub use crate::ingest::checks::normalized_name;
pub use crate::ingest::refusals::{Discards, SlowDown};

/// Streams of one request that are told apart: a body of tiny streams may not become a hundred times its size.
pub(super) const STREAMS_MAX: usize = 100_000;
/// Bytes of lines and metadata of one request: attributes of a resource are repeated with each of its lines.
const REQUEST_BYTES_MAX: u64 = 512 << 20;
/// What lets streams and entries through by how many and how fast they are.
pub trait StreamGate {
    /// Whether a stream, by the hash of its labels, may have lines.
    fn admit_stream(&self, stream: u64) -> bool;
    /// Whether a stream may have so many bytes more, now.
    fn admit_bytes(&self, stream: u64, bytes: u64) -> Result<(), TooFast>;
    /// Whose streams they are.
    fn tenant(&self) -> &str;
}

/// Takes one request apart.
pub struct Admission<'a> {
    limits: &'a Limits,
    gate: Option<&'a dyn StreamGate>,
    /// Oldest and newest acceptable times.
    oldest: UnixNanos,
    newest: UnixNanos,
    builder: LogBatchBuilder,
    streams: Vec<OpenStream>,
    /// The stream of the entries that come.
    current: usize,
    /// Streams of the request, empty ones included.
    seen: usize,
    refusals: Vec<(String, usize)>,
    slow_down: Option<SlowDown>,
    discards: Discards,
    lines: u64,
    bytes: u64,
    metadata: Vec<(String, String)>,
    /// Of a tenant with stages: nothing is checked before they have run.
    staging: Option<Staging<'a>>,
    now: UnixNanos,
}

/// A stream of the request being taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamHandle(usize);

#[derive(Debug, Default)]
struct OpenStream {
    labels: Labels,
    text: String,
    /// Of `text`.
    hash: u64,
    /// `None` until the first good entry.
    slot: Option<StreamSlot>,
    refused: Option<Refusal>,
    /// Refused because the tenant has too many streams.
    too_many: bool,
    /// Whether entries came: a stream without any gives its place to the next.
    used: bool,
    slowed: Slowed,
    paid: Paid,
    /// The level its labels decide.
    level: Option<String>,
    last: Option<(i64, String)>,
}

/// What a stream took of its rate and did not use up yet: the gate is not asked for each line.
#[derive(Debug, Default)]
struct Paid {
    left: u64,
    used: u64,
}

impl Paid {
    /// Part of what a stream used already that is taken ahead: no more of its rate is lost at the end of a request.
    const AHEAD: u64 = 32;

    fn take(&mut self, gate: &dyn StreamGate, stream: u64, bytes: u64) -> Result<(), TooFast> {
        if bytes > self.left {
            // Whole cells, so that what a cell is rounded up by is not lost.
            let need = (bytes - self.left).next_multiple_of(CELL_BYTES);
            let ahead = self.used / Self::AHEAD / CELL_BYTES * CELL_BYTES;
            let taken = match gate.admit_bytes(stream, need + ahead) {
                Err(_) if ahead > 0 => gate.admit_bytes(stream, need).map(|()| need),
                taken => taken.map(|()| need + ahead),
            };
            self.left += taken?;
        }
        self.left -= bytes;
        self.used += bytes;
        Ok(())
    }
}

/// What came of a request.
#[derive(Debug)]
pub struct Admitted {
    /// `None` when nothing is left to store.
    pub batch: Option<LogBatch>,
    /// The text of a 400, if anything was refused.
    pub refusal: Option<String>,
    pub slow_down: Option<SlowDown>,
    pub discards: Discards,
    /// Streams of the request, empty ones included.
    pub streams: usize,
    /// Lines and bytes taken.
    pub lines: u64,
    pub bytes: u64,
    /// Entries, by their number, that were refused after stages had run, and why: the others were told at once.
    pub refused_late: Vec<(usize, &'static str)>,
}

/// Why nothing of a request can be stored.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// A defect.
    #[error("columns of a batch do not fit together: {0}")]
    Columns(#[from] BatchError),
    #[error("pipeline_stages: {0}")]
    Stages(#[from] StageError),
}

impl<'a> Admission<'a> {
    /// `line_bytes` is a guess at the size of all lines.
    pub fn new(limits: &'a Limits, now: UnixNanos, line_bytes: usize) -> Self {
        let oldest = if limits.reject_old_samples {
            now.saturating_sub(limits.reject_old_samples_max_age.nanos())
        } else {
            UnixNanos::MIN
        };
        Admission {
            limits,
            gate: None,
            oldest,
            newest: now.saturating_add(limits.creation_grace_period.nanos()),
            builder: LogBatchBuilder::with_capacity(line_bytes),
            streams: Vec::new(),
            current: 0,
            seen: 0,
            refusals: Vec::new(),
            slow_down: None,
            discards: Discards::default(),
            lines: 0,
            bytes: 0,
            metadata: Vec::new(),
            staging: None,
            now,
        }
    }

    /// Asks `gate` about each stream and entry, too.
    pub fn gated(mut self, gate: &'a dyn StreamGate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Entries go through `stages` first.
    pub fn staged(mut self, stages: &'a [Arc<Stages>]) -> Self {
        self.staging = Staging::new(stages);
        self
    }

    /// The entries that follow are of this stream. Its handle is good once an entry came.
    pub fn stream(&mut self, labels: Labels) -> StreamHandle {
        if let Some(staging) = &mut self.staging {
            self.seen += 1;
            return StreamHandle(staging.stream(&labels, true));
        }
        self.stream_as_it_is(with_service_name(labels, &self.limits.discover_service_name))
    }

    /// As [`Admission::stream`], for labels that need no `service_name`.
    pub fn stream_as_it_is(&mut self, labels: Labels) -> StreamHandle {
        self.seen += 1;
        if let Some(staging) = &mut self.staging {
            return StreamHandle(staging.stream(&labels, false));
        }
        if self.streams.last().is_some_and(|last| !last.used) {
            self.streams.pop();
        }
        if self.streams.len() < STREAMS_MAX {
            let stream = self.open(labels);
            self.streams.push(stream);
        } else if self.streams.len() == STREAMS_MAX {
            self.streams.push(one_too_many());
        }
        self.current = self.streams.len() - 1;
        StreamHandle(self.current)
    }

    fn open(&self, labels: Labels) -> OpenStream {
        let text = labels.to_string();
        let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
        let tenant = self.gate.map_or("", |gate| gate.tenant());
        let refused = check_labels(&labels, &text, tenant, self.limits);
        let discover = self.limits.discover_log_levels && self.limits.allow_structured_metadata;
        let level = discover.then(|| level::from_labels(&labels, &self.limits.log_level_fields)).flatten();
        OpenStream { labels, text, hash, refused, level, ..OpenStream::default() }
    }

    /// The entries that follow are of a stream begun before.
    pub fn select(&mut self, stream: StreamHandle) {
        match &mut self.staging {
            Some(staging) => staging.select(stream.0),
            None => self.current = stream.0,
        }
    }

    /// One entry of the current stream; `metadata` as it came.
    ///
    /// # Errors
    /// The reason, as in Loki's metrics, when it is not taken.
    pub fn entry(
        &mut self,
        ts_ns: i64,
        line: &str,
        metadata: &[(Cow<'_, str>, Cow<'_, str>)],
    ) -> Result<(), &'static str> {
        let Some(staging) = &mut self.staging else { return self.admit(ts_ns, line, metadata) };
        staging.add(ts_ns, line, metadata).inspect_err(|reason| {
            let of_metadata: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
            self.discards.add(reason, 1, (line.len() + of_metadata) as u64);
            note(&mut self.refusals, format!("the request is too large for the tenant's stages: {reason}"));
        })
    }

    fn admit(
        &mut self,
        mut ts_ns: i64,
        line: &str,
        metadata: &[(Cow<'_, str>, Cow<'_, str>)],
    ) -> Result<(), &'static str> {
        let Some(stream) = self.streams.get_mut(self.current) else {
            return Err("missing_labels");
        };
        if !stream.used {
            stream.used = true;
            if stream.refused.is_none() && self.gate.is_some_and(|gate| !gate.admit_stream(stream.hash)) {
                stream.too_many = true;
                stream.refused = Some(stream_limit(&stream.text, self.gate.map_or("", |gate| gate.tenant())));
            }
        }
        let max_line = self.limits.max_line_size.0 as usize;
        let line = if self.limits.max_line_size_truncate && max_line > 0 && line.len() > max_line {
            &line[..line.floor_char_boundary(max_line)]
        } else {
            line
        };
        let metadata_bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        let size = (line.len() + metadata_bytes) as u64;
        if let Some(refusal) = &mut stream.refused {
            self.discards.add(refusal.reason, 1, size);
            if stream.too_many {
                let text = || SlowDown { text: refusal.text.clone(), retry_after: None };
                self.slow_down.get_or_insert_with(text);
                return Err(refusal.reason);
            }
            if !refusal.text.is_empty() {
                note(&mut self.refusals, std::mem::take(&mut refusal.text));
            }
            return Err(refusal.reason);
        }
        let times = (self.oldest, self.newest);
        if let Some(refusal) = check_entry(ts_ns, line, metadata, metadata_bytes, &stream.text, times, self.limits) {
            self.discards.add(refusal.reason, 1, size);
            note(&mut self.refusals, refusal.text);
            return Err(refusal.reason);
        }
        if self.bytes + size > REQUEST_BYTES_MAX {
            const REASON: &str = "request_body_too_large";
            self.discards.add(REASON, 1, size);
            let text =
                format!("request body too large: with repeated attributes it has more than {REQUEST_BYTES_MAX} bytes");
            note(&mut self.refusals, text);
            return Err(REASON);
        }
        stream.slowed.of += 1;
        if let Some(Err(too_fast)) = self.gate.map(|gate| stream.paid.take(gate, stream.hash, size)) {
            const REASON: &str = "per_stream_rate_limit";
            self.discards.add(REASON, 1, size);
            stream.slowed.add(ts_ns, &stream.text, size, too_fast);
            return Err(REASON);
        }
        if self.limits.increment_duplicate_timestamp {
            if let Some((last_ts, last_line)) = &stream.last
                && *last_ts >= ts_ns
                && ts_ns + 1_000_000 > *last_ts
                && last_line != line
            {
                ts_ns = last_ts + 1;
            }
            stream.last = Some((ts_ns, line.to_owned()));
        }
        let slot = *stream.slot.get_or_insert_with(|| self.builder.stream(&stream.labels));
        self.metadata.clear();
        for (name, value) in metadata {
            self.metadata.push((normalized_name(name), value.to_string()));
        }
        self.metadata.sort_by(|a, b| a.0.cmp(&b.0));
        self.metadata.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                std::mem::swap(later, first);
            }
            same
        });
        self.metadata.retain(|(_, value)| !value.is_empty());
        let given = self.metadata.iter().position(|(name, _)| name == DETECTED_LEVEL);
        let given = given.map(|at| self.metadata.remove(at).1);
        let pairs: Vec<(&str, &str)> = self.metadata.iter().map(|(name, value)| (&**name, &**value)).collect();
        let level = match (&given, &stream.level) {
            (Some(given), _) => Some(level::normalized(given)),
            (None, Some(level)) => Some(level.as_str()),
            (None, None) if self.limits.discover_log_levels && self.limits.allow_structured_metadata => {
                Some(level::of_row(line, &pairs, &self.limits.log_level_fields))
            }
            (None, None) => None,
        };
        self.builder.push(slot, ts_ns, level, line, pairs.iter().copied());
        self.lines += 1;
        self.bytes += size;
        Ok(())
    }

    /// Lets through what left the stages.
    fn run_stages(&mut self) -> Result<Vec<(usize, &'static str)>, StageError> {
        let Some(staging) = self.staging.take() else { return Ok(Vec::new()) };
        let (mut refused, mut streams, seen) = (Vec::new(), HashMap::new(), self.seen);
        for staged in staging.run(self.now)? {
            let key = (staged.entry.labels.fingerprint(), staged.discovers_service);
            let stream = *streams.entry(key).or_insert_with(|| match staged.discovers_service {
                true => self.stream(staged.labels()),
                false => self.stream_as_it_is(staged.labels()),
            });
            self.select(stream);
            if let Err(reason) = self.admit(staged.entry.ts_ns, &staged.entry.line, &staged.metadata()) {
                refused.extend(staged.numbers().map(|number| (number, reason)));
            }
        }
        self.seen = seen;
        Ok(refused)
    }

    /// # Errors
    /// When nothing can be stored: see [`AdmitError`].
    pub fn finish(mut self) -> Result<Admitted, AdmitError> {
        let refused_late = self.run_stages()?;
        let refusal = grouped(&self.refusals);
        let tenant = self.gate.map_or("", |gate| gate.tenant());
        let slowed = self.streams.iter().find_map(|stream| {
            let text = stream.slowed.text(&stream.text, tenant)?;
            Some(SlowDown { text, retry_after: stream.slowed.retry_after })
        });
        let batch = if self.builder.rows() > 0 { Some(self.builder.finish()?) } else { None };
        Ok(Admitted {
            batch,
            refusal,
            slow_down: self.slow_down.or(slowed),
            discards: self.discards,
            streams: self.seen,
            lines: self.lines,
            bytes: self.bytes,
            refused_late,
        })
    }
}

/// Stands for all streams beyond [`STREAMS_MAX`].
fn one_too_many() -> OpenStream {
    let text = format!("a request may have at most {STREAMS_MAX} streams");
    OpenStream { refused: Some(Refusal { reason: "stream_limit", text }), used: true, ..OpenStream::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

    fn admit(entries: &[(i64, &str)]) -> Admitted {
        let limits = Limits::default();
        let mut admission = Admission::new(&limits, NOW, 0);
        admission.stream(Labels::from_pairs([("a", "b")]));
        for (age_s, line) in entries {
            let _ = admission.entry(NOW.0 - age_s * 1_000_000_000, line, &[]);
        }
        admission.finish().expect("sound columns")
    }

    #[test]
    fn good_entries_stay_and_bad_ones_are_grouped() {
        let old = 8 * 86_400;
        let admitted = admit(&[(0, "x"), (old, "y"), (old, "z"), (-3600, "future")]);
        assert_eq!(admitted.batch.expect("one good row").rows(), 1);
        let refusal = admitted.refusal.expect("three bad rows");
        assert!(refusal.starts_with("2 errors like: entry for stream '{a=\"b\", service_name=\"unknown_service\"}' has timestamp too old: 2027-01-07T08:00:00Z"), "{refusal}");
        assert!(refusal.contains("; 1 errors like: entry for stream"), "{refusal}");
        assert_eq!(admitted.discards.0, [("greater_than_max_sample_age", 2, 2), ("too_far_in_future", 1, 6)]);
    }

    #[test]
    fn one_refusal_stands_alone() {
        let refusal = admit(&[(-3600, "future")]).refusal.expect("refused");
        assert!(refusal.starts_with("entry for stream"), "{refusal}");
    }
}
