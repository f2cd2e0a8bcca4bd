//! What of a request is taken: streams and entries go in one by one, good ones come out as a batch.
//!
//! ```text
//! stream(labels) ─▶ checks ─▶ entry(ts, line, metadata) ─▶ checks ─▶ LogBatchBuilder
//!                     └────────────── refusals, grouped as Loki groups them ─▶ 400
//! ```
//!
//! Valid entries of a request with bad ones are kept. Texts and their grouping are Loki's.

use std::borrow::Cow;

use crate::ingest::level::{self, DETECTED_LEVEL};
use crate::ingest::limits::Limits;
use crate::ingest::service_name::{SERVICE_NAME, with_service_name};
use crate::types::batch::{BatchError, LogBatch, LogBatchBuilder, StreamSlot};
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// Distinct texts an answer lists; more of them would only repeat themselves.
const DISTINCT_REFUSALS_MAX: usize = 10;

/// What was refused, by the reasons of Loki's `loki_discarded_*` metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discards(pub Vec<(&'static str, u64, u64)>);

impl Discards {
    fn add(&mut self, reason: &'static str, lines: u64, bytes: u64) {
        match self.0.iter_mut().find(|(known, ..)| *known == reason) {
            Some(sum) => {
                sum.1 += lines;
                sum.2 += bytes;
            }
            None => self.0.push((reason, lines, bytes)),
        }
    }
}

/// Takes one request apart.
#[derive(Debug)]
pub struct Admission<'a> {
    limits: &'a Limits,
    /// Oldest and newest acceptable times.
    oldest: UnixNanos,
    newest: UnixNanos,
    builder: LogBatchBuilder,
    stream: Option<OpenStream>,
    streams: usize,
    refusals: Vec<(String, usize)>,
    discards: Discards,
    lines: u64,
    bytes: u64,
    metadata: Vec<(String, String)>,
}

#[derive(Debug)]
struct OpenStream {
    labels: Labels,
    text: String,
    /// `None` until the first good entry.
    slot: Option<StreamSlot>,
    refused: Option<Refusal>,
    /// The level its labels decide.
    level: Option<String>,
    last: Option<(i64, String)>,
}

#[derive(Debug, Clone)]
struct Refusal {
    reason: &'static str,
    text: String,
}

/// What came of a request.
#[derive(Debug)]
pub struct Admitted {
    /// `None` when nothing is left to store.
    pub batch: Option<LogBatch>,
    /// The text of a 400, if anything was refused.
    pub refusal: Option<String>,
    pub discards: Discards,
    /// Streams of the request, empty ones included.
    pub streams: usize,
    /// Lines and bytes taken.
    pub lines: u64,
    pub bytes: u64,
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
            oldest,
            newest: now.saturating_add(limits.creation_grace_period.nanos()),
            builder: LogBatchBuilder::with_capacity(line_bytes),
            stream: None,
            streams: 0,
            refusals: Vec::new(),
            discards: Discards::default(),
            lines: 0,
            bytes: 0,
            metadata: Vec::new(),
        }
    }

    /// The entries that follow are of this stream.
    pub fn stream(&mut self, labels: Labels) {
        self.streams += 1;
        let labels = with_service_name(labels, &self.limits.discover_service_name);
        let text = labels.to_string();
        let refused = check_labels(&labels, &text, self.limits);
        let discover = self.limits.discover_log_levels && self.limits.allow_structured_metadata;
        let level = discover.then(|| level::from_labels(&labels, &self.limits.log_level_fields)).flatten();
        self.stream = Some(OpenStream { labels, text, slot: None, refused, level, last: None });
    }

    /// One entry of the stream begun last; `metadata` as it came.
    pub fn entry(&mut self, mut ts_ns: i64, line: &str, metadata: &[(Cow<'_, str>, Cow<'_, str>)]) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let metadata_bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        let size = (line.len() + metadata_bytes) as u64;
        if let Some(refusal) = &mut stream.refused {
            self.discards.add(refusal.reason, 1, size);
            if !refusal.text.is_empty() {
                note(&mut self.refusals, std::mem::take(&mut refusal.text));
            }
            return;
        }
        let max_line = self.limits.max_line_size.0 as usize;
        let line = if self.limits.max_line_size_truncate && max_line > 0 && line.len() > max_line {
            &line[..line.floor_char_boundary(max_line)]
        } else {
            line
        };
        let times = (self.oldest, self.newest);
        if let Some(refusal) = check_entry(ts_ns, line, metadata, metadata_bytes, &stream.text, times, self.limits) {
            self.discards.add(refusal.reason, 1, size);
            note(&mut self.refusals, refusal.text);
            return;
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
    }

    /// # Errors
    /// When the columns do not fit together: a defect.
    pub fn finish(self) -> Result<Admitted, BatchError> {
        let refusal = grouped(&self.refusals);
        let batch = if self.builder.rows() > 0 { Some(self.builder.finish()?) } else { None };
        Ok(Admitted {
            batch,
            refusal,
            discards: self.discards,
            streams: self.streams,
            lines: self.lines,
            bytes: self.bytes,
        })
    }
}

fn note(refusals: &mut Vec<(String, usize)>, text: String) {
    if let Some((_, times)) = refusals.iter_mut().find(|(known, _)| *known == text) {
        *times += 1;
    } else if refusals.len() < DISTINCT_REFUSALS_MAX {
        refusals.push((text, 1));
    }
}

fn grouped(refusals: &[(String, usize)]) -> Option<String> {
    let count = |times: &usize| refusals.len() > 1 || *times > 1;
    let texts = refusals.iter().map(
        |(text, times)| {
            if count(times) { format!("{times} errors like: {text}") } else { text.clone() }
        },
    );
    let all: Vec<String> = texts.collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn check_labels(labels: &Labels, text: &str, limits: &Limits) -> Option<Refusal> {
    let refusal = |reason, text| Some(Refusal { reason, text });
    if labels.is_empty() {
        return refusal("missing_labels", "error at least one label pair is required per stream".to_owned());
    }
    let counted = labels.len() - usize::from(labels.get(SERVICE_NAME).is_some());
    let most = limits.max_label_names_per_series;
    if counted > most {
        return refusal(
            "max_label_names_per_series",
            format!("entry for stream '{text}' has {counted} label names; limit {most}"),
        );
    }
    labels.iter().find_map(|(name, value)| {
        if name.len() > limits.max_label_name_length {
            return refusal("label_name_too_long", format!("stream '{text}' has label name too long: '{name}'"));
        }
        if value.len() > limits.max_label_value_length {
            return refusal("label_value_too_long", format!("stream '{text}' has label value too long: '{value}'"));
        }
        None
    })
}

fn check_entry(
    ts_ns: i64,
    line: &str,
    metadata: &[(Cow<'_, str>, Cow<'_, str>)],
    metadata_bytes: usize,
    stream: &str,
    (oldest, newest): (UnixNanos, UnixNanos),
    limits: &Limits,
) -> Option<Refusal> {
    let refusal = |reason, text| Some(Refusal { reason, text });
    if ts_ns < oldest.0 {
        let (at, oldest) = (rfc3339(ts_ns), rfc3339(oldest.0));
        return refusal(
            "greater_than_max_sample_age",
            format!(
                "entry for stream '{stream}' has timestamp too old: {at}, oldest acceptable timestamp is: {oldest}"
            ),
        );
    }
    if ts_ns > newest.0 {
        let at = rfc3339(ts_ns);
        return refusal("too_far_in_future", format!("entry for stream '{stream}' has timestamp too new: {at}"));
    }
    let max_line = limits.max_line_size.0 as usize;
    if max_line > 0 && line.len() > max_line {
        let length = line.len();
        return refusal(
            "line_too_long",
            format!(
                "max entry size '{max_line}' bytes exceeded for stream '{stream}' while adding an entry with length '{length}' bytes"
            ),
        );
    }
    if metadata.is_empty() {
        return None;
    }
    if !limits.allow_structured_metadata {
        return refusal(
            "disallowed_structured_metadata",
            format!(
                "stream '{stream}' includes structured metadata, but this feature is disallowed. Please see `limits_config.allow_structured_metadata` or contact your Loki administrator to enable it"
            ),
        );
    }
    let max_bytes = limits.max_structured_metadata_size.0;
    if max_bytes > 0 && metadata_bytes as u64 > max_bytes {
        return refusal(
            "structured_metadata_too_large",
            format!(
                "stream '{stream}' has structured metadata too large: '{metadata_bytes}' bytes, limit: '{max_bytes}' bytes. Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it"
            ),
        );
    }
    let (count, most) = (metadata.len(), limits.max_structured_metadata_entries_count);
    if most > 0 && count > most {
        return refusal(
            "structured_metadata_too_many",
            format!(
                "stream '{stream}' has too many structured metadata labels: '{count}', limit: '{most}'. Please see `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it"
            ),
        );
    }
    None
}

/// Whole seconds in UTC, as Go prints them.
fn rfc3339(ts_ns: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(ts_ns).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A metadata name made of `[A-Za-z0-9_]`.
///
/// Source: OpenTelemetry's translation to Prometheus names: other characters become `_`, runs of `_` become
/// one, a leading digit gets `key_`, a name in double underscores stays reserved.
fn normalized_name(name: &str) -> String {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.contains("__")
        && !name.starts_with(|c: char| c.is_ascii_digit())
    {
        return name.to_owned();
    }
    let reserved = name.len() > 4 && name.starts_with("__") && name.ends_with("__");
    let inner = if reserved { &name[2..name.len() - 2] } else { name };
    let mut out = String::with_capacity(inner.len());
    for c in inner.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    if reserved {
        return format!("__{out}__");
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert_str(0, "key_");
    }
    out
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
            admission.entry(NOW.0 - age_s * 1_000_000_000, line, &[]);
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

    #[test]
    fn metadata_names_are_normalised() {
        for (name, expected) in [
            ("trace_id", "trace_id"),
            ("trace-id.x", "trace_id_x"),
            ("1a", "key_1a"),
            ("a--b", "a_b"),
            ("__x__", "__x__"),
            ("żółć", "_"),
        ] {
            assert_eq!(normalized_name(name), expected, "{name}");
        }
    }
}
