//! Loki's push JSON: `{"streams":[{"stream":{…},"values":[["ns","line",{metadata}?]]}]}`, and the older
//! `{"streams":[{"labels":"{…}","entries":[{"ts":"RFC3339","line":"…"}]}]}`.
//!
//! Accepted as Loki accepts it: keys in any order, unknown keys, `null` lists, a value without a line,
//! a label value that is no string. A time that is no string of digits, a line or metadata that is no string: 400.

use std::borrow::Cow;

use super::json_reader::{JsonError, JsonReader, JsonResult};
use super::label_text::{labels_of_map, parse_labels};
use super::{PushError, text_of};
use crate::ingest::validate::Admission;
use crate::types::labels::Labels;

/// Either not JSON, or JSON whose labels are no labels.
enum Trouble {
    Json(JsonError),
    Push(PushError),
}

impl From<JsonError> for Trouble {
    fn from(error: JsonError) -> Self {
        Trouble::Json(error)
    }
}

/// Decodes a body of the current shape.
pub(super) fn decode(body: &[u8], admission: &mut Admission<'_>) -> Result<(), PushError> {
    let text = text_of(body);
    let mut scratch = Scratch::default();
    streams(&text, |reader| stream(reader, admission, &mut scratch))
}

/// Decodes a body of the older shape.
pub(super) fn decode_legacy(body: &[u8], admission: &mut Admission<'_>) -> Result<(), PushError> {
    let text = text_of(body);
    streams(&text, |reader| legacy_stream(reader, admission))
}

/// Buffers reused from entry to entry.
#[derive(Default)]
struct Scratch {
    time: String,
    line: String,
}

fn streams<'a>(
    text: &'a str,
    mut each: impl FnMut(&mut JsonReader<'a>) -> Result<(), Trouble>,
) -> Result<(), PushError> {
    let mut reader = JsonReader::new(text);
    if reader.peek().is_none() {
        return Err(PushError::bad("EOF"));
    }
    // A closure of the reader answers JSON errors only; other trouble is carried out beside it.
    let mut trouble = None;
    let read = reader.object(|reader, key| {
        if key != "streams" {
            return reader.skip().map(|_| ());
        }
        if reader.take_null() {
            return Ok(());
        }
        reader.array(|reader| match each(reader) {
            Ok(()) => Ok(()),
            Err(Trouble::Json(error)) => Err(error),
            Err(Trouble::Push(error)) => {
                trouble = Some(error);
                reader.fail("labels")
            }
        })
    });
    match (trouble, read) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(malformed(text, &error)),
        (None, Ok(())) => Ok(()),
    }
}

fn malformed(text: &str, error: &JsonError) -> PushError {
    let near = |from: usize, to: usize| {
        let from = text.floor_char_boundary(from.min(text.len()));
        &text[from..text.floor_char_boundary(to.min(text.len())).max(from)]
    };
    let (expected, at) = (error.expected, error.at);
    let around = near(at.saturating_sub(10), at + 10);
    PushError::bad(format!("loghttp.PushRequest: expect {expected}, error found in byte {at} of ...|{around}|..."))
}

fn stream<'a>(
    reader: &mut JsonReader<'a>,
    admission: &mut Admission<'_>,
    scratch: &mut Scratch,
) -> Result<(), Trouble> {
    let mut labels: Option<Labels> = None;
    let mut values_first: Option<&'a str> = None;
    let mut trouble = None;
    let read = reader.object(|reader, key| match &*key {
        "stream" => match read_labels(reader)? {
            Ok(found) => {
                labels = Some(found.clone());
                admission.stream(found);
                Ok(())
            }
            Err(error) => {
                trouble = Some(error);
                reader.fail("labels")
            }
        },
        "values" if labels.is_some() => values(reader, admission, scratch),
        "values" => {
            values_first = Some(reader.skip()?);
            Ok(())
        }
        _ => reader.skip().map(|_| ()),
    });
    if let Some(error) = trouble {
        return Err(Trouble::Push(error));
    }
    read?;
    if labels.is_none() {
        admission.stream(Labels::default());
    }
    if let Some(text) = values_first {
        values(&mut JsonReader::new(text), admission, scratch)?;
    }
    Ok(())
}

fn read_labels(reader: &mut JsonReader<'_>) -> JsonResult<Result<Labels, PushError>> {
    if reader.take_null() {
        return Ok(Ok(Labels::default()));
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    reader.object(|reader, name| {
        let value = match reader.peek() {
            Some(b'"') => reader.string()?.into_owned(),
            _ => reader.skip()?.to_owned(),
        };
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name.into_owned(), value));
        Ok(())
    })?;
    Ok(labels_of_map(pairs).map_err(|error| PushError::bad(error.to_string())))
}

fn values(reader: &mut JsonReader<'_>, admission: &mut Admission<'_>, scratch: &mut Scratch) -> JsonResult<()> {
    if reader.take_null() {
        return Ok(());
    }
    reader.array(|reader| entry(reader, admission, scratch))
}

fn entry(reader: &mut JsonReader<'_>, admission: &mut Admission<'_>, scratch: &mut Scratch) -> JsonResult<()> {
    reader.expect(b'[', "an entry")?;
    let Ok(ts_ns) = reader.string_into(&mut scratch.time)?.parse::<i64>() else {
        return reader.fail("a time in nanoseconds, as a string");
    };
    let mut line: &str = "";
    let mut metadata: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for place in 0.. {
        match reader.peek() {
            Some(b']') => break,
            Some(b',') => reader.expect(b',', ",")?,
            _ => return reader.fail(", or ]"),
        }
        match place {
            0 => line = reader.string_into(&mut scratch.line)?,
            1 => reader.object(|reader, name| {
                metadata.push((name, reader.string()?));
                Ok(())
            })?,
            _ => {
                reader.skip()?;
            }
        }
    }
    reader.expect(b']', "]")?;
    let _ = admission.entry(ts_ns, line, &metadata);
    Ok(())
}

fn legacy_stream<'a>(reader: &mut JsonReader<'a>, admission: &mut Admission<'_>) -> Result<(), Trouble> {
    let mut labels: Cow<'a, str> = Cow::Borrowed("{}");
    let mut entries: Option<&'a str> = None;
    reader.object(|reader, key| {
        match &*key {
            "labels" => labels = reader.string()?,
            "entries" => entries = Some(reader.skip()?),
            _ => {
                reader.skip()?;
            }
        }
        Ok(())
    })?;
    let labels = parse_labels(&labels).map_err(|error| Trouble::Push(PushError::bad(error.to_string())))?;
    admission.stream(labels);
    let Some(entries) = entries.filter(|text| *text != "null") else {
        return Ok(());
    };
    JsonReader::new(entries).array(|reader| {
        let mut ts_ns: Option<i64> = None;
        let mut line: Cow<'_, str> = Cow::Borrowed("");
        reader.object(|reader, key| {
            match &*key {
                "ts" | "timestamp" => {
                    let text = reader.string()?;
                    let time = chrono::DateTime::parse_from_rfc3339(&text).ok();
                    ts_ns = time.and_then(|time| time.timestamp_nanos_opt());
                }
                "line" => line = reader.string()?,
                _ => {
                    reader.skip()?;
                }
            }
            Ok(())
        })?;
        match ts_ns {
            Some(ts_ns) => {
                let _ = admission.entry(ts_ns, &line, &[]);
            }
            None => return reader.fail("a time as RFC 3339"),
        }
        Ok(())
    })?;
    Ok(())
}
