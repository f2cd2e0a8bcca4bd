//! Entries become the bytes of a push: one tenant, streams with their lines, protobuf within snappy.
//!
//! ```text
//! PushRequest { streams = 1: Stream { labels = 1, entries = 2: Entry { timestamp = 1, line = 2, structuredMetadata = 3 } } }
//! ```
//!
//! Lines are encoded as they come; a stream's bytes are put together at the end.

use bytes::Bytes;
use hashbrown::HashMap;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::pipeline::{Entry, LabelSet, Receipt, TENANT_LABEL};
use crate::types::labels::push_go_quoted;

/// A batch that is being filled.
#[derive(Debug, Default)]
pub(super) struct Building {
    by_stream: HashMap<u64, usize>,
    streams: Vec<Stream>,
    last: Option<(u64, usize)>,
    /// Of lines and metadata, as Promtail counts a batch's size.
    pub(super) bytes: usize,
    pub(super) entries: usize,
    receipt: Receipt,
}

#[derive(Debug)]
struct Stream {
    labels: String,
    /// Encoded entries, each with its key and length.
    entries: Vec<u8>,
}

/// A push that can be sent.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) tenant: String,
    pub(super) body: Bytes,
    pub(super) entries: usize,
    /// Of lines and metadata.
    pub(super) bytes: usize,
    pub(super) receipt: Receipt,
}

/// What an entry counts for.
pub(super) fn size_of(entry: &Entry) -> usize {
    entry.line.len() + entry.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

impl Building {
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether the entry's stream has lines here.
    pub(super) fn has_stream(&self, stream: u64) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// Adds an entry; `external` labels are those it has not itself, and `line` what is sent of it.
    pub(super) fn add(&mut self, stream: u64, entry: &Entry, line: &str, external: &[(String, String)]) {
        let at = match self.last {
            Some((known, at)) if known == stream => at,
            _ => *self.by_stream.entry(stream).or_insert_with(|| {
                self.streams.push(Stream { labels: labels_text(&entry.labels, external), entries: Vec::new() });
                self.streams.len() - 1
            }),
        };
        self.last = Some((stream, at));
        encode_entry(&mut self.streams[at].entries, entry, line);
        self.bytes += size_of(entry) - entry.line.len() + line.len();
        self.entries += 1;
        self.receipt.join(entry.receipt.clone());
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// When there are more than snappy takes: 4 GiB.
    pub(super) fn finish(self, tenant: &str) -> Result<Batch, snap::Error> {
        let mut message = Vec::with_capacity(self.bytes + self.entries * 24);
        for stream in &self.streams {
            let labels = stream.labels.as_bytes();
            let labels_bytes = key_len(1) + encoded_len_varint(labels.len() as u64) + labels.len();
            encode_key(1, WireType::LengthDelimited, &mut message);
            encode_varint((labels_bytes + stream.entries.len()) as u64, &mut message);
            push_bytes(&mut message, 1, labels);
            message.extend_from_slice(&stream.entries);
        }
        let body = snap::raw::Encoder::new().compress_vec(&message)?;
        Ok(Batch {
            tenant: tenant.to_owned(),
            body: body.into(),
            entries: self.entries,
            bytes: self.bytes,
            receipt: self.receipt,
        })
    }
}

fn push_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn bytes_len(bytes: usize) -> usize {
    1 + encoded_len_varint(bytes as u64) + bytes
}

fn encode_entry(out: &mut Vec<u8>, entry: &Entry, line: &str) {
    let seconds = entry.ts_ns.div_euclid(1_000_000_000) as u64;
    let nanos = entry.ts_ns.rem_euclid(1_000_000_000) as u64;
    let number_len = |number: u64| if number == 0 { 0 } else { 1 + encoded_len_varint(number) };
    let time_len = number_len(seconds) + number_len(nanos);
    let pair_len = |name: &str, value: &str| bytes_len(name.len()) + bytes_len(value.len());
    let metadata_len: usize = entry.metadata.iter().map(|(name, value)| bytes_len(pair_len(name, value))).sum();
    encode_key(2, WireType::LengthDelimited, out);
    encode_varint((bytes_len(time_len) + bytes_len(line.len()) + metadata_len) as u64, out);
    encode_key(1, WireType::LengthDelimited, out);
    encode_varint(time_len as u64, out);
    for (tag, number) in [(1, seconds), (2, nanos)] {
        if number != 0 {
            encode_key(tag, WireType::Varint, out);
            encode_varint(number, out);
        }
    }
    push_bytes(out, 2, line.as_bytes());
    for (name, value) in &entry.metadata {
        encode_key(3, WireType::LengthDelimited, out);
        encode_varint(pair_len(name, value) as u64, out);
        push_bytes(out, 1, name.as_bytes());
        push_bytes(out, 2, value.as_bytes());
    }
}

/// `{a="b", c="d"}`: the entry's labels over the client's, without the tenant.
fn labels_text(labels: &LabelSet, external: &[(String, String)]) -> String {
    let own = labels.iter().map(|(name, value)| (&**name, &**value));
    let added = external.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let added = added.filter(|(name, _)| labels.get(name).is_none());
    let mut all: Vec<(&str, &str)> = own.chain(added).filter(|(name, _)| *name != TENANT_LABEL).collect();
    all.sort_unstable();
    let mut text = String::from("{");
    for (at, (name, value)) in all.into_iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(name);
        text.push('=');
        push_go_quoted(&mut text, value);
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::gate::TenantGate;
    use crate::ingest::limits::Limits;
    use crate::pipeline::Origin;
    use crate::receive::decode::{BodyLimits, PushRequest, decode_push};
    use crate::types::time::UnixNanos;

    #[test]
    fn the_server_reads_what_is_written() {
        let mut building = Building::default();
        let labels = |value: &str| LabelSet::from_pairs(Origin::Operator, [("app", value), (TENANT_LABEL, "t")]);
        let external = [("app".to_owned(), "other".to_owned()), ("dc".to_owned(), "x\"y".to_owned())];
        for (app, ts_ns, line) in [
            ("a", 1_700_000_000_123_456_789, "one"),
            ("b", 1_700_000_001_000_000_000, "é"),
            ("a", 1_700_000_002_000_000_001, ""),
        ] {
            let mut entry = Entry::new(labels(app), ts_ns, line);
            entry.metadata = vec![("trace".into(), app.into())];
            building.add(entry.labels.fingerprint(), &entry, &entry.line, &external);
        }
        assert_eq!((building.streams(), building.entries, building.bytes), (2, 3, 3 + 2 + 18));
        let batch = building.finish("t").expect("small");
        let limits = Limits { discover_service_name: Vec::new(), discover_log_levels: false, ..Limits::default() };
        let request = PushRequest {
            content_type: Some("application/x-protobuf"),
            content_encoding: None,
            body: batch.body.clone(),
            legacy: false,
        };
        let gate = TenantGate::alone(limits, UnixNanos(1_700_000_002_000_000_000));
        let outcome = decode_push(&request, &gate, &BodyLimits::default());
        outcome.answer.expect("taken");
        let rows = outcome.batch.expect("three rows");
        let shown =
            arrow::util::pretty::pretty_format_batches(&[rows.record_batch().clone()]).expect("prints").to_string();
        for part in ["1700000000123456789", r#"{"app":"a","dc":"x\"y"}"#, "| one", "| é", "{trace: a}"] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        assert_eq!(rows.rows(), 3);
    }
}
