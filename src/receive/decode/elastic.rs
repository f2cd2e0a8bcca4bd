//! Elastic's bulk bodies: a line that says what to do, a line with the document, and so on; one answer for each.
//!
//! ```text
//! {"create":{"_index":"app"}}                     ─▶ label index
//! {"@timestamp":…,"message":…,"service":{…},…}    ─▶ time; line; labels service_name, host; all else metadata
//! ```
//!
//! A document without `message` is its own line. Nested fields are named by their path. Only appending is possible:
//! `update` and `delete` are answered 400, one by one.
//! Errors: 400 for a line that says nothing known; what is wrong with one document is told beside it only.

use std::borrow::Cow;

use bytes::Bytes;
use hashbrown::HashMap;

use super::json_reader::{JsonReader, JsonResult};
use super::{BodyLimits, PushError, PushOutcome, body, finish, outcome_of, text_of};
use crate::ingest::gate::TenantGate;
use crate::ingest::level::DETECTED_LEVEL;
use crate::ingest::validate::{Admission, Admitted, StreamHandle};
use crate::types::labels::Labels;
use crate::types::time::NANOS_PER_MILLI;

/// Fields that are labels: few values each. Everything else is metadata.
const LABEL_FIELDS: [(&str, &str); 2] = [("service.name", "service_name"), ("host.name", "host")];
const TIME_FIELD: &str = "@timestamp";
const LINE_FIELD: &str = "message";
const LEVEL_FIELD: &str = "log.level";
/// What whoever asks for anything else is told.
pub const ONLY_APPENDING: &str = "only [index] and [create] are possible: logs are never changed";

/// A request as it came.
#[derive(Debug, Clone)]
pub struct ElasticRequest<'a> {
    pub content_encoding: Option<&'a str>,
    pub body: Bytes,
    /// Of the path: for lines that name none.
    pub index: Option<String>,
    pub shape: ElasticShape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElasticShape {
    /// Lines that say what to do, each with its document.
    Bulk,
    /// One document, with the id that the path gives it.
    Document { id: Option<String> },
}

/// What came of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticItem {
    /// `create`, `index`, `update` or `delete`.
    pub action: String,
    pub index: String,
    pub id: String,
    /// The type and reason of a refusal.
    pub refusal: Option<(u16, &'static str, String)>,
}

/// Decodes and checks one request. The answer of the outcome is about the whole: single refusals are in the items.
pub fn decode_elastic(
    request: &ElasticRequest<'_>,
    gate: &TenantGate,
    limits: &BodyLimits,
) -> (PushOutcome, Vec<ElasticItem>) {
    let mut items = Vec::new();
    let outcome = match read(request, gate, limits, &mut items) {
        Err(error) => PushOutcome::refused(error),
        // No document was good enough to have a stream: the items say why.
        Ok(admitted) if admitted.streams == 0 => {
            PushOutcome { answer: Ok(()), ..PushOutcome::refused(PushError::bad("")) }
        }
        Ok(admitted) => PushOutcome { answer: Ok(()), ..outcome_of(Ok(admitted)) },
    };
    (outcome, items)
}

fn read(
    request: &ElasticRequest<'_>,
    gate: &TenantGate,
    limits: &BodyLimits,
    items: &mut Vec<ElasticItem>,
) -> Result<Admitted, PushError> {
    let body = body::inflate(&request.body, request.content_encoding, limits)?;
    let text = text_of(&body);
    let admission = gate.admission(text.len());
    let mut rows = Rows { gate, admission, streams: HashMap::new(), entered: Vec::new() };
    let default_index = request.index.as_deref();
    if let ElasticShape::Document { id } = &request.shape {
        let id = id.clone().unwrap_or_else(|| rows.id(0));
        let index = default_index.unwrap_or_default().to_owned();
        let refusal = rows.document(0, &index, None, &text).err();
        items.push(ElasticItem { action: "index".to_owned(), index, id, refusal });
        return rows.finish(items);
    }
    let mut lines = text.split('\n').enumerate().filter(|(_, line)| !line.trim().is_empty());
    while let Some((at, line)) = lines.next() {
        let malformed = |what: &str| PushError::bad(format!("Malformed action/metadata line [{}], {what}", at + 1));
        let action = action(line).map_err(|error| malformed(&format!("expected {}", error.expected)))?;
        let index = action.index.as_deref().or(default_index).filter(|index| !index.is_empty());
        let index = index.ok_or_else(|| malformed("index is missing"))?.to_owned();
        let refusal = match &*action.name {
            "create" | "index" => {
                let Some((_, document)) = lines.next() else {
                    return Err(malformed("the document after it is missing"));
                };
                rows.document(items.len(), &index, action.id.as_deref(), document).err()
            }
            "delete" => Some(only_appending()),
            "update" => {
                lines.next();
                Some(only_appending())
            }
            other => return Err(malformed(&format!("unknown action [{other}]"))),
        };
        let id = action.id.map_or_else(|| rows.id(items.len()), Cow::into_owned);
        items.push(ElasticItem { action: action.name.into_owned(), index, id, refusal });
    }
    if items.is_empty() {
        return Err(PushError::bad("request body is required"));
    }
    rows.finish(items)
}

struct Action<'a> {
    name: Cow<'a, str>,
    index: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
}

fn action(line: &str) -> JsonResult<Action<'_>> {
    let mut action = Action { name: Cow::Borrowed(""), index: None, id: None };
    let mut reader = JsonReader::new(line);
    reader.object(|reader, name| {
        action.name = name;
        reader.object(|reader, key| {
            let place = match &*key {
                "_index" => &mut action.index,
                "_id" => &mut action.id,
                _ => return reader.skip().map(|_| ()),
            };
            if !reader.take_null() {
                *place = Some(reader.string()?);
            }
            Ok(())
        })
    })?;
    if reader.peek().is_some() {
        return reader.fail("END_OBJECT");
    }
    Ok(action)
}

type Refusal = (u16, &'static str, String);

fn only_appending() -> Refusal {
    (400, "illegal_argument_exception", ONLY_APPENDING.to_owned())
}

struct Rows<'g> {
    gate: &'g TenantGate,
    admission: Admission<'g>,
    streams: HashMap<Vec<(&'static str, String)>, StreamHandle>,
    /// The items of the entries so far.
    entered: Vec<usize>,
}

fn refusal(reason: &'static str) -> Refusal {
    match reason {
        "per_stream_rate_limit" | "stream_limit" => (429, "es_rejected_execution_exception", reason.to_owned()),
        reason => (400, "illegal_argument_exception", reason.to_owned()),
    }
}

impl Rows<'_> {
    /// An id for a document that came without: clients want one, nothing is found by it.
    fn id(&self, at: usize) -> String {
        format!("{:x}-{at:x}", self.gate.now().0)
    }

    fn finish(self, items: &mut [ElasticItem]) -> Result<Admitted, PushError> {
        let admitted = finish(self.admission)?;
        for (number, reason) in &admitted.refused_late {
            let item = self.entered.get(*number).and_then(|at| items.get_mut(*at));
            if let Some(item) = item {
                item.refusal = Some(refusal(reason));
            }
        }
        Ok(admitted)
    }

    fn document(&mut self, at: usize, index: &str, id: Option<&str>, text: &str) -> Result<(), Refusal> {
        let unreadable = |what: String| (400, "document_parsing_exception", what);
        let mut reader = JsonReader::new(text);
        let mut fields = Fields::default();
        // The nesting is bounded by `skip` before anything goes down into it.
        let read = reader.clone().skip().and_then(|_| fields.read("", &mut reader));
        read.and_then(|()| if reader.peek().is_some() { reader.fail("one document") } else { Ok(()) }).map_err(
            |error| unreadable(format!("failed to parse: expected {} at byte {}", error.expected, error.at)),
        )?;
        let ts_ns = match &fields.time {
            None => self.gate.now().0,
            Some(time) => time_ns(time)
                .ok_or_else(|| unreadable(format!("failed to parse field [@timestamp]: [{time}] is no date")))?,
        };
        let mut labels = vec![("index", index.to_owned())];
        labels.append(&mut fields.labels);
        match self.streams.get(&labels) {
            Some(stream) => self.admission.select(*stream),
            None => {
                let pairs = labels.iter().map(|(name, value)| (*name, value.as_str()));
                let stream = self.admission.stream(Labels::from_pairs(pairs));
                self.streams.insert(labels, stream);
            }
        }
        if let Some(id) = id {
            fields.metadata.push(("_id".into(), id.into()));
        }
        let (line, metadata) = match &fields.line {
            Some(line) => (&**line, &*fields.metadata),
            None => (text.trim(), &[] as &[_]),
        };
        self.admission.entry(ts_ns, line, metadata).map_err(refusal)?;
        self.entered.push(at);
        Ok(())
    }
}

/// A document taken apart.
#[derive(Default)]
struct Fields<'a> {
    time: Option<Cow<'a, str>>,
    line: Option<Cow<'a, str>>,
    labels: Vec<(&'static str, String)>,
    metadata: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Fields<'a> {
    fn read(&mut self, path: &str, reader: &mut JsonReader<'a>) -> JsonResult<()> {
        reader.object(|reader, key| {
            let name = if path.is_empty() { key } else { Cow::Owned(format!("{path}.{key}")) };
            let value = match reader.peek() {
                Some(b'{') => return self.read(&name, reader),
                Some(b'"') => reader.string()?,
                _ => Cow::Borrowed(reader.skip()?),
            };
            match LABEL_FIELDS.iter().find(|(field, _)| *field == name) {
                _ if value == "null" || value.is_empty() => {}
                Some((_, label)) => {
                    self.labels.retain(|(known, _)| known != label);
                    self.labels.push((label, value.into_owned()));
                    self.labels.sort_unstable();
                }
                None if name == TIME_FIELD => self.time = Some(value),
                None if name == LINE_FIELD => self.line = Some(value),
                None => {
                    if name == LEVEL_FIELD {
                        self.metadata.push((DETECTED_LEVEL.into(), value.clone()));
                    }
                    self.metadata.push((name, value));
                }
            }
            Ok(())
        })
    }
}

/// Elastic's `strict_date_optional_time||epoch_millis`; UTC where no zone is named.
fn time_ns(text: &str) -> Option<i64> {
    if let Ok(millis) = text.parse::<i64>() {
        return millis.checked_mul(NANOS_PER_MILLI);
    }
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return time.timestamp_nanos_opt();
    }
    if let Ok(time) = chrono::DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z") {
        return time.timestamp_nanos_opt();
    }
    let time = text.parse::<chrono::NaiveDateTime>().ok();
    let time = time.or_else(|| text.parse::<chrono::NaiveDate>().ok()?.and_hms_opt(0, 0, 0));
    time?.and_utc().timestamp_nanos_opt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::limits::Limits;
    use crate::receive::decode::tests::rows;
    use crate::receive::fuzz;
    use crate::types::time::UnixNanos;

    const NOW: UnixNanos = UnixNanos(1_768_471_200_000_000_000);

    fn bulk(body: &[u8]) -> (PushOutcome, Vec<ElasticItem>) {
        let body = Bytes::copy_from_slice(body);
        let request = ElasticRequest { content_encoding: None, body, index: None, shape: ElasticShape::Bulk };
        decode_elastic(&request, &TenantGate::alone(Limits::default(), NOW), &BodyLimits::default())
    }

    #[test]
    fn documents_become_rows_and_bad_ones_are_told_beside_good_ones() {
        let body = r#"{"create":{"_index":"app","_id":"x"}}
{"@timestamp":"2026-01-15T10:00:00.000000005Z","message":"hi","service":{"name":"shop"},"host.name":"h","log":{"level":"warn"},"n":[1,2],"no":null}
{"index":{"_index":"app"}}
{"@timestamp":1768471200001,"code":7}
{"delete":{"_index":"app","_id":"x"}}
{"update":{"_index":"app","_id":"x"}}
{"doc":{}}
{"create":{"_index":"app"}}
{"@timestamp":"yesterday","message":"m"}
{"create":{"_index":"app"}}
{"message":
{"create":{"_index":"app"}}
{"@timestamp":"2001-01-01","message":"old"}
"#;
        let (outcome, items) = bulk(body.as_bytes());
        assert_eq!(outcome.answer, Ok(()));
        assert_eq!(
            rows(&outcome),
            [
                r#"5 {"host":"h","index":"app","service_name":"shop"} warn "hi" [_id=x,log_level=warn,n=[1,2]]"#,
                r#"1000000 {"index":"app","service_name":"unknown_service"} unknown "{\"@timestamp\":1768471200001,\"code\":7}" []"#,
            ]
        );
        let told: Vec<_> = items.iter().map(|item| item.refusal.as_ref().map_or(201, |refusal| refusal.0)).collect();
        assert_eq!(told, [201, 201, 400, 400, 400, 400, 400]);
        assert_eq!((items[0].action.as_str(), items[0].id.as_str()), ("create", "x"));
        assert_eq!(items[6].refusal.as_ref().map(|refusal| refusal.2.as_str()), Some("greater_than_max_sample_age"));
    }

    #[test]
    fn what_is_no_bulk_is_refused_as_a_whole() {
        let check = |body: &str, expected: &str| {
            let answer = bulk(body.as_bytes()).0.answer.expect_err(body);
            assert_eq!((answer.status, answer.text.contains(expected)), (400, true), "{answer}");
        };
        check("", "request body is required");
        check("nope\n{}\n", "Malformed action/metadata line [1]");
        check("{\"create\":{}}\n{}\n", "index is missing");
        check("{\"eat\":{\"_index\":\"a\"}}\n{}\n", "unknown action [eat]");
        check("{\"create\":{\"_index\":\"a\"}}\n", "the document after it is missing");
    }

    #[test]
    fn scripted_updates_are_refused_and_what_follows_is_taken() {
        let body = r#"{"update":{"_index":"app","_id":"1"}}
{"script":{"source":"ctx._source.n += 1","lang":"painless"},"upsert":{"n":1}}
{"create":{"_index":"app"}}
{"message":"kept"}
"#;
        let (outcome, items) = bulk(body.as_bytes());
        let refusal = items[0].refusal.as_ref().expect("refused");
        assert_eq!((refusal.0, refusal.1), (400, "illegal_argument_exception"));
        assert!(refusal.2.contains("logs are never changed"), "{}", refusal.2);
        assert_eq!((items.len(), &items[1].refusal, outcome.lines), (2, &None, 1));
    }

    #[test]
    fn bodies_that_were_sound_are_survived() {
        let bulk_body = r#"{"create":{"_index":"app","_id":"x"}}
{"@timestamp":"2026-01-15T10:00:00Z","message":"hi \u00e9","service":{"name":"shop"},"log.level":"warn","n":[1,{"a":null}]}
{"update":{"_id":"x"}}
{"script":{}}
{"index":{}}
{"@timestamp":1768471200001,"code":7}
"#;
        let document = r#"{"@timestamp":"2026-01-15","host":{"name":"h"},"x":1.5e3}"#;
        let gate = TenantGate::alone(Limits::default(), NOW);
        for (sound, shape) in [(bulk_body, ElasticShape::Bulk), (document, ElasticShape::Document { id: None })] {
            fuzz::survives(&[sound.as_bytes().to_vec()], |body| {
                let body = Bytes::copy_from_slice(body);
                let index = Some("i".to_owned());
                let request = ElasticRequest { content_encoding: None, body, index, shape: shape.clone() };
                let (outcome, items) = decode_elastic(&request, &gate, &BodyLimits::default());
                fuzz::check(&outcome);
                let taken = items.iter().filter(|item| item.refusal.is_none()).count() as u64;
                assert!(outcome.answer.is_err() || taken == outcome.lines, "{taken} told, {} taken", outcome.lines);
            });
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(document in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[\[\]{}":,a-z0-9\\ ]{0,80}"#) {
            bulk(&document);
            for document in [document, text.into_bytes()] {
                let mut body = b"{\"index\":{\"_index\":\"a\"}}\n".to_vec();
                body.extend(document);
                bulk(&body);
            }
        }
    }
}
