//! The load: read once, written as bodies of a format, or as records.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::AnyError;

/// How a push is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    /// With snappy around it.
    Protobuf,
}

impl Format {
    pub fn parse(text: &str) -> Result<Self, AnyError> {
        match text {
            "json" => Ok(Format::Json),
            "protobuf" => Ok(Format::Protobuf),
            other => Err(format!("--format: {other} is neither json nor protobuf").into()),
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Protobuf => "application/x-protobuf",
        }
    }
}

/// Pushes in memory.
pub struct Load {
    pushes: Vec<Vec<Stream>>,
    pub lines: u64,
    pub line_bytes: u64,
    /// From the first to the last line, nanoseconds, and a second.
    span_ns: i64,
}

struct Stream {
    labels: Vec<(String, String)>,
    entries: Vec<(i64, String)>,
}

impl Load {
    /// Reads `push-*.json` of a directory, in order.
    pub fn read(directory: &str) -> Result<Self, AnyError> {
        let mut paths: Vec<_> = std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("push-")));
        paths.sort();
        let pushes = paths
            .iter()
            .map(|path| read_push(&std::fs::read(path)?).ok_or_else(|| format!("{}: no push", path.display()).into()))
            .collect::<Result<Vec<_>, AnyError>>()?;
        let entries = || pushes.iter().flatten().flat_map(|stream| &stream.entries);
        let (first, last) = (entries().map(|entry| entry.0).min(), entries().map(|entry| entry.0).max());
        let span_ns = last.zip(first).map_or(0, |(last, first)| last - first) + 1_000_000_000;
        let (lines, line_bytes) = (entries().count() as u64, entries().map(|entry| entry.1.len() as u64).sum());
        if lines == 0 {
            return Err(format!("{directory}: no push-*.json with lines").into());
        }
        Ok(Load { pushes, lines, line_bytes, span_ns })
    }

    /// All pushes, later by so many times the load's span.
    pub fn bodies(&self, format: Format, pass: u64) -> Vec<Vec<u8>> {
        let shift = self.span_ns * pass as i64;
        let write = |push: &Vec<Stream>| match format {
            Format::Json => json(push, shift),
            Format::Protobuf => snap::raw::Encoder::new().compress_vec(&protobuf(push, shift)).expect("below 4 GB"),
        };
        self.pushes.iter().map(write).collect()
    }

    /// One record a line, its key the values of the labels; by kcat.
    pub fn produce(&self, brokers: &str, topic: &str) -> Result<(), AnyError> {
        let mut kcat = Command::new("kcat")
            .args(["-P", "-b", brokers, "-t", topic, "-K", "\t", "-X", "partitioner=murmur2_random", "-X", "linger.ms=50"])
            .stdin(Stdio::piped())
            .spawn()?;
        let mut into = std::io::BufWriter::with_capacity(1 << 20, kcat.stdin.take().ok_or("no pipe")?);
        for stream in self.pushes.iter().flatten() {
            let key: Vec<&str> = stream.labels.iter().map(|(_, value)| value.as_str()).collect();
            let key = key.join("/");
            for (_, line) in &stream.entries {
                writeln!(into, "{key}\t{line}")?;
            }
        }
        into.flush()?;
        drop(into);
        if !kcat.wait()?.success() {
            return Err("kcat failed".into());
        }
        println!("{} records, {:.1} MB", self.lines, self.line_bytes as f64 / 1e6);
        Ok(())
    }
}

fn read_push(bytes: &[u8]) -> Option<Vec<Stream>> {
    let body: Value = serde_json::from_slice(bytes).ok()?;
    let stream = |stream: &Value| {
        let labels = stream["stream"].as_object()?.iter();
        let mut labels: Vec<_> = labels.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect::<Option<_>>()?;
        labels.sort();
        let entry = |entry: &Value| Some((entry[0].as_str()?.parse().ok()?, entry[1].as_str()?.to_owned()));
        Some(Stream { labels, entries: stream["values"].as_array()?.iter().map(entry).collect::<Option<_>>()? })
    };
    body["streams"].as_array()?.iter().map(stream).collect()
}

fn json(push: &[Stream], shift_ns: i64) -> Vec<u8> {
    let stream = |stream: &Stream| {
        let labels: serde_json::Map<String, Value> =
            stream.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let values: Vec<Value> =
            stream.entries.iter().map(|(ts, line)| serde_json::json!([(ts + shift_ns).to_string(), line])).collect();
        serde_json::json!({"stream": labels, "values": values})
    };
    let streams: Vec<Value> = push.iter().map(stream).collect();
    serde_json::json!({ "streams": streams }).to_string().into_bytes()
}

/// `logproto.PushRequest`, by hand.
fn protobuf(push: &[Stream], shift_ns: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut body, mut entry, mut time) = (Vec::new(), Vec::new(), Vec::new());
    for stream in push {
        body.clear();
        let labels: Vec<String> = stream.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        field(&mut body, 1, format!("{{{}}}", labels.join(", ")).as_bytes());
        for (ts, line) in &stream.entries {
            let ts = ts + shift_ns;
            time.clear();
            time.push(1 << 3);
            varint(&mut time, (ts / 1_000_000_000) as u64);
            time.push(2 << 3);
            varint(&mut time, (ts % 1_000_000_000) as u64);
            entry.clear();
            field(&mut entry, 1, &time);
            field(&mut entry, 2, line.as_bytes());
            field(&mut body, 2, &entry);
        }
        field(&mut out, 1, &body);
    }
    out
}

fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
