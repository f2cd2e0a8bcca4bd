//! Answers of queries as JSON, written in pieces so that a large answer is never in memory twice.
//!
//! ```text
//! {"status":"success","data":{"resultType":…,"encodingFlags"?:…,"result":[ item, item, … ],"stats":{…}}}
//!  └──────────────────────── head ─────────────────────────────────────┘└─ steps ─┘└─────── tail ──────┘
//! ```
//!
//! Grafana's parser wants this order: `encodingFlags` before `result`, `stream` before `values`.
//! Lines are escaped as Loki does it (HTML characters too), labels without HTML.

use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::response::Response;

use crate::api::loki::json_answer;
use crate::query::matrix::{Series, Steps, format_sample};
use crate::query::{Entry, QueryAnswer, QueryStats};
use crate::types::labels::{Labels, push_json_string};
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};

/// Bytes of one piece: large enough for gzip and the socket, small beside an answer.
const PIECE_BYTES: usize = 64 * 1024;
/// An entry or label set on top of a full piece.
const PIECE_SLACK_BYTES: usize = 8 * 1024;

/// The answer to a query.
pub fn answer(answer: QueryAnswer, stats: &QueryStats, categorize: bool) -> Response {
    let mut pieces = Pieces::new(answer, stats, categorize);
    let first = pieces.next().unwrap_or_default();
    if pieces.phase == Phase::Done {
        return json_answer(first);
    }
    let all = std::iter::once(first).chain(pieces).map(Ok::<_, std::convert::Infallible>);
    json_answer(Body::from_stream(futures::stream::iter(all)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    /// Position in the result: an item and a value in it.
    Items {
        item: usize,
        value: usize,
    },
    Tail,
    Done,
}

/// A result written piece by piece.
struct Pieces {
    answer: QueryAnswer,
    categorize: bool,
    tail: String,
    phase: Phase,
}

impl Pieces {
    fn new(answer: QueryAnswer, stats: &QueryStats, categorize: bool) -> Self {
        Pieces { answer, categorize, tail: tail(stats), phase: Phase::Head }
    }

    /// Writes one small part and says what comes next.
    fn write_part(&self, out: &mut String) -> Phase {
        match self.phase {
            Phase::Head => {
                self.write_head(out);
                Phase::Items { item: 0, value: 0 }
            }
            Phase::Items { item, value } => match &self.answer {
                QueryAnswer::Streams(streams) => match streams.get(item) {
                    None => Phase::Tail,
                    Some(stream) => {
                        open(out, item, value, "{\"stream\":", &stream.labels, ",\"values\":[");
                        if let Some(entry) = stream.entries.get(value) {
                            push_entry(out, entry, self.categorize);
                        }
                        close(out, item, value, stream.entries.len())
                    }
                },
                QueryAnswer::Matrix { steps, series } => match series.get(item) {
                    None => Phase::Tail,
                    Some(one) => {
                        push_series(out, item, one, steps);
                        Phase::Items { item: item + 1, value: 0 }
                    }
                },
                QueryAnswer::Vector { time, samples } => match samples.get(item) {
                    None => Phase::Tail,
                    Some((labels, sample)) => {
                        open(out, item, 0, "{\"metric\":", labels, ",\"value\":");
                        push_point(out, time.0, *sample);
                        out.push('}');
                        Phase::Items { item: item + 1, value: 0 }
                    }
                },
                QueryAnswer::Scalar { time, value } => {
                    // Loki gives the time of a scalar in milliseconds where all others have seconds.
                    let _ = write!(out, "[{},\"{}\"]", time.0 / NANOS_PER_MILLI, format_sample(*value));
                    Phase::Tail
                }
            },
            Phase::Tail => {
                if !matches!(self.answer, QueryAnswer::Scalar { .. }) {
                    out.push(']');
                }
                out.push_str(&self.tail);
                Phase::Done
            }
            Phase::Done => Phase::Done,
        }
    }

    fn write_head(&self, out: &mut String) {
        let kind = match self.answer {
            QueryAnswer::Streams(_) => "streams",
            QueryAnswer::Matrix { .. } => "matrix",
            QueryAnswer::Vector { .. } => "vector",
            QueryAnswer::Scalar { .. } => "scalar",
        };
        out.push_str("{\"status\":\"success\",\"data\":{\"resultType\":\"");
        out.push_str(kind);
        out.push('"');
        if self.categorize {
            out.push_str(",\"encodingFlags\":[\"categorize-labels\"]");
        }
        out.push_str(",\"result\":");
        if !matches!(self.answer, QueryAnswer::Scalar { .. }) {
            out.push('[');
        }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.phase == Phase::Done {
            return None;
        }
        let mut out = String::with_capacity(PIECE_BYTES + PIECE_SLACK_BYTES);
        while self.phase != Phase::Done && out.len() < PIECE_BYTES {
            self.phase = self.write_part(&mut out);
        }
        Some(Bytes::from(out))
    }
}

/// Begins an item with its labels, or goes on in it.
fn open(out: &mut String, item: usize, value: usize, before: &str, labels: &Labels, after: &str) {
    if value > 0 {
        out.push(',');
        return;
    }
    if item > 0 {
        out.push(',');
    }
    out.push_str(before);
    push_labels(out, labels);
    out.push_str(after);
}

/// Ends an item after its last value.
fn close(out: &mut String, item: usize, value: usize, values: usize) -> Phase {
    if value + 1 < values {
        return Phase::Items { item, value: value + 1 };
    }
    out.push_str("]}");
    Phase::Items { item: item + 1, value: 0 }
}

pub(super) fn push_entry(out: &mut String, entry: &Entry, categorize: bool) {
    let _ = write!(out, "[\"{}\",", entry.ts.0);
    push_html_safe_json_string(out, &entry.line);
    if categorize {
        out.push_str(",{");
        if !entry.metadata.is_empty() {
            out.push_str("\"structuredMetadata\":");
            push_labels(out, &entry.metadata);
        }
        if !entry.parsed.is_empty() {
            out.push_str(if entry.metadata.is_empty() { "\"parsed\":" } else { ",\"parsed\":" });
            push_labels(out, &entry.parsed);
        }
        out.push('}');
    }
    out.push(']');
}

fn push_series(out: &mut String, item: usize, series: &Series, steps: &Steps) {
    open(out, item, 0, "{\"metric\":", &series.labels, ",\"values\":[");
    let mut is_first = true;
    for (at, value) in series.values.iter().enumerate() {
        if !series.present.get(at) {
            continue;
        }
        if !is_first {
            out.push(',');
        }
        is_first = false;
        push_point(out, steps.start_ns + at as i64 * steps.step_ns, *value);
    }
    out.push_str("]}");
}

pub(super) fn push_point(out: &mut String, time_ns: i64, value: f64) {
    out.push('[');
    push_seconds(out, UnixNanos(time_ns));
    out.push_str(",\"");
    out.push_str(&format_sample(value));
    out.push_str("\"]");
}

/// Seconds, with as many places as whole milliseconds need.
fn push_seconds(out: &mut String, time: UnixNanos) {
    let millis = time.0.div_euclid(NANOS_PER_MILLI);
    if millis < 0 {
        out.push('-');
    }
    let _ = write!(out, "{}", millis.unsigned_abs() / 1000);
    let fraction = millis.unsigned_abs() % 1000;
    if fraction > 0 {
        out.push_str(format!(".{fraction:03}").trim_end_matches('0'));
    }
}

pub(super) fn push_labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_json_string(out, name);
        out.push(':');
        push_json_string(out, value);
    }
    out.push('}');
}

/// As Go's encoder does by default: `<`, `>`, `&` and the line separators of JavaScript are escaped.
pub(super) fn push_html_safe_json_string(out: &mut String, text: &str) {
    out.push('"');
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let (escape, length) = match byte {
            b'"' => ("\\\"", 1),
            b'\\' => ("\\\\", 1),
            b'\n' => ("\\n", 1),
            b'\r' => ("\\r", 1),
            b'\t' => ("\\t", 1),
            b'<' => ("\\u003c", 1),
            b'>' => ("\\u003e", 1),
            b'&' => ("\\u0026", 1),
            0xe2 if bytes[at..].starts_with("\u{2028}".as_bytes()) => ("\\u2028", 3),
            0xe2 if bytes[at..].starts_with("\u{2029}".as_bytes()) => ("\\u2029", 3),
            0..=0x1f => ("", 1),
            _ => continue,
        };
        out.push_str(&text[plain_from..at]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        plain_from = at + length;
    }
    out.push_str(&text[plain_from..]);
    out.push('"');
}

/// `stats` in Loki's shape; what has no counterpart here is 0.
pub(super) fn tail(stats: &QueryStats) -> String {
    let a_second = |amount: u64| if stats.exec_seconds > 0.0 { (amount as f64 / stats.exec_seconds) as u64 } else { 0 };
    let chunk = serde_json::json!({
        "headChunkBytes": 0, "headChunkLines": 0,
        "decompressedBytes": stats.bytes_processed, "decompressedLines": stats.lines_processed,
        "compressedBytes": 0, "totalDuplicates": 0, "postFilterLines": stats.entries_returned,
        "headChunkStructuredMetadataBytes": 0, "decompressedStructuredMetadataBytes": 0,
    });
    let store = |chunk: serde_json::Value, refs: u64, downloaded: u64| {
        serde_json::json!({
            "totalChunksRef": refs, "totalChunksDownloaded": downloaded, "chunksDownloadTime": 0,
            "queryReferencedStructuredMetadata": false, "queryUsedV2Engine": false, "chunk": chunk,
            "chunkRefsFetchTime": 0, "congestionControlLatency": 0, "pipelineWrapperFilteredLines": 0,
        })
    };
    let cache = serde_json::json!({
        "entriesFound": 0, "entriesRequested": 0, "entriesStored": 0, "bytesReceived": 0, "bytesSent": 0,
        "requests": 0, "downloadTime": 0, "queryLengthServed": 0,
    });
    let caches = [
        "chunk",
        "index",
        "result",
        "statsResult",
        "volumeResult",
        "seriesResult",
        "labelResult",
        "instantMetricResult",
    ];
    let no_chunk = chunk.as_object().into_iter().flatten().map(|(key, _)| (key.clone(), 0.into()));
    let no_chunk = serde_json::Value::Object(no_chunk.collect());
    let groups = stats.row_groups_read + stats.row_groups_skipped;
    let stats = serde_json::json!({
        "summary": {
            "bytesProcessedPerSecond": a_second(stats.bytes_processed),
            "linesProcessedPerSecond": a_second(stats.lines_processed),
            "totalBytesProcessed": stats.bytes_processed,
            "totalLinesProcessed": stats.lines_processed,
            "execTime": stats.exec_seconds,
            "queueTime": 0,
            "subqueries": 0,
            "totalEntriesReturned": stats.entries_returned,
            "splits": 0,
            "shards": 0,
            "totalPostFilterLines": stats.entries_returned,
            "totalStructuredMetadataBytesProcessed": 0,
        },
        "querier": { "store": store(chunk, groups, stats.row_groups_read), "querierExecTime": stats.exec_seconds },
        "ingester": {
            "totalReached": 1, "totalChunksMatched": 0, "totalBatches": 0, "totalLinesSent": 0,
            "store": store(no_chunk, 0, 0),
        },
        "cache": serde_json::Map::from_iter(caches.map(|name| (name.to_owned(), cache.clone()))),
        "index": {
            "totalChunks": groups, "postFilterChunks": stats.row_groups_read, "shardsDuration": 0, "usedBloomFilters": false,
            "totalStreams": 0, "chunkRefsLookupTime": 0, "bloomFilterTime": 0,
        },
    });
    format!(",\"stats\":{stats}}}}}")
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
