//! One message of a tail, as Loki writes it.
//!
//! ```text
//! {"streams":[{"stream":{…},"values":[["ns","line"]]}],"dropped_entries"?:[{"timestamp":"ns","labels":{…}}],"encodingFlags"?:[…]}
//! ```

use std::fmt::Write as _;

use super::held::Dropped;
use crate::api::loki::encode::{push_entry, push_labels};
use crate::query::tail::TailEntry;

/// A message ready to be sent.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) text: String,
    pub(super) entries: usize,
    pub(super) line_bytes: usize,
}

impl Frame {
    /// Neighbours with the same labels share a stream, so that the order of time is kept.
    pub(super) fn new(entries: &[TailEntry], dropped: &[Dropped], categorize: bool) -> Self {
        let line_bytes: usize = entries.iter().map(|entry| entry.entry.line.len()).sum();
        let mut text = String::with_capacity(line_bytes * 5 / 4 + 256);
        text.push_str("{\"streams\":[");
        for (at, of_stream) in entries.chunk_by(|a, b| a.labels == b.labels).enumerate() {
            text.push_str(if at == 0 { "{\"stream\":" } else { ",{\"stream\":" });
            push_labels(&mut text, &of_stream[0].labels);
            text.push_str(",\"values\":[");
            for (at, entry) in of_stream.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                push_entry(&mut text, &entry.entry, categorize);
            }
            text.push_str("]}");
        }
        text.push(']');
        for (at, dropped) in dropped.iter().enumerate() {
            text.push_str(if at == 0 { ",\"dropped_entries\":[" } else { "," });
            let _ = write!(text, "{{\"timestamp\":\"{}\",\"labels\":", dropped.ts.0);
            push_labels(&mut text, &dropped.labels);
            text.push('}');
        }
        if !dropped.is_empty() {
            text.push(']');
        }
        text.push_str(if categorize { ",\"encodingFlags\":[\"categorize-labels\"]}" } else { "}" });
        Frame { text, entries: entries.len(), line_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Entry;
    use crate::types::labels::Labels;
    use crate::types::time::UnixNanos;

    fn entry(service: &str, ts: i64, metadata: &[(&str, &str)]) -> TailEntry {
        let entry = Entry {
            ts: UnixNanos(ts),
            line: "<x>".to_owned(),
            metadata: Labels::from_pairs(metadata.iter().copied()),
            parsed: Labels::from_pairs::<&str, &str>([]),
        };
        TailEntry { labels: Labels::from_pairs([("service", service)]), entry }
    }

    #[test]
    fn frames_are_lokis() {
        let check = |entries: &[TailEntry], dropped: &[Dropped], categorize, expected| {
            assert_eq!(Frame::new(entries, dropped, categorize).text, expected);
        };
        check(
            &[entry("a", 1, &[]), entry("a", 2, &[]), entry("b", 3, &[])],
            &[],
            false,
            r#"{"streams":[{"stream":{"service":"a"},"values":[["1","\u003cx\u003e"],["2","\u003cx\u003e"]]},{"stream":{"service":"b"},"values":[["3","\u003cx\u003e"]]}]}"#,
        );
        let dropped = Dropped { ts: UnixNanos(7), labels: Labels::from_pairs([("service", "a")]) };
        check(
            &[entry("a", 1, &[("level", "info")])],
            &[dropped],
            true,
            r#"{"streams":[{"stream":{"service":"a"},"values":[["1","\u003cx\u003e",{"structuredMetadata":{"level":"info"}}]]}],"dropped_entries":[{"timestamp":"7","labels":{"service":"a"}}],"encodingFlags":["categorize-labels"]}"#,
        );
    }
}
