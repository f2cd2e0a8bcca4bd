//! What happened, as doors tell it.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::types::ids::TenantId;
use crate::types::time::UnixNanos;

/// Bytes of a text that are kept; the number of all of them is kept beside it.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Bytes of shorter texts: names, errors, tags.
const SHORT_BYTES_MAX: usize = 512;

/// What kind of thing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A question in LogQL, SQL or PromQL.
    #[default]
    Query,
    /// Labels, series, volumes, patterns: what there is.
    Browse,
    /// Lines as they arrive.
    Tail,
    /// More was taken out than a screen holds.
    Export,
    /// Lines were asked away.
    Delete,
    /// A delete was taken back.
    DeleteCancel,
    /// Rules were changed.
    Rules,
    /// The server was looked at or changed.
    Admin,
    /// Somebody showed who they are, for the first time in a while.
    Login,
    /// Refused, for want of credentials or of a role.
    Denied,
    /// Records are missing here: there was no room for them.
    Lost,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Query => "query",
            Kind::Browse => "browse",
            Kind::Tail => "tail",
            Kind::Export => "export",
            Kind::Delete => "delete",
            Kind::DeleteCancel => "delete_cancel",
            Kind::Rules => "rules",
            Kind::Admin => "admin",
            Kind::Login => "login",
            Kind::Denied => "denied",
            Kind::Lost => "lost",
        }
    }

    /// The level of its lines.
    pub(super) fn level(self) -> &'static str {
        match self {
            Kind::Denied => "warn",
            Kind::Lost => "error",
            _ => "info",
        }
    }
}

/// Which of the two records of something that must not happen unrecorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is about to be done; durable before it is.
    Asked,
    /// It was done, or failed.
    Done,
}

/// What a question read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadAmount {
    /// Bytes of lines.
    pub bytes: u64,
    pub rows: u64,
}

/// One thing that was done. Never holds a password, a token or a key.
#[derive(Debug, Clone, Default)]
pub struct Event {
    pub kind: Kind,
    pub phase: Option<Phase>,
    /// Empty: nobody known.
    pub who: String,
    pub roles: Vec<String>,
    /// Acted on; none: the server itself.
    pub tenants: Vec<TenantId>,
    /// `http`, `postgres`, `flight`, `grpc`.
    pub door: &'static str,
    /// Of the door: method and route, or kind of statement.
    pub endpoint: String,
    /// `logql`, `sql`, `promql`, `yaml`; empty when there is no text.
    pub language: &'static str,
    pub text: String,
    /// Values of a statement's parameters, JSON.
    pub params: String,
    /// The times asked about.
    pub range: Option<(UnixNanos, UnixNanos)>,
    /// As HTTP's; 0 when the door has none.
    pub status: u16,
    pub error: String,
    pub read: Option<ReadAmount>,
    /// Rows, entries or series of the answer.
    pub rows: Option<u64>,
    pub took: Option<Duration>,
    pub source: Option<IpAddr>,
    /// What the client says of its query.
    pub tags: String,
    /// How many such things this record stands for, when more than one.
    pub count: u64,
}

/// An event in its place in a chain, as JSON has it. The hash follows.
#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    seq: u64,
    at: &'a str,
    event: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    who: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    tenant: String,
    door: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    endpoint: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    language: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
    /// Of the whole text, when it was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_bytes: Option<usize>,
    #[serde(skip_serializing_if = "str::is_empty")]
    params: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    status: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    #[serde(skip_serializing_if = "str::is_empty")]
    tags: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    count: u64,
    writer: &'a str,
    /// When the record before this one was written.
    prev_at: &'a str,
    prev: &'a str,
}

impl<'a> Record<'a> {
    pub(super) fn of(event: &'a Event, place: Place<'a>) -> Self {
        let text = shortened(&event.text, TEXT_BYTES_MAX);
        let tenants: Vec<&str> = event.tenants.iter().map(TenantId::as_str).collect();
        Record {
            seq: place.seq,
            at: place.at,
            event: event.kind,
            phase: event.phase,
            who: shortened(&event.who, SHORT_BYTES_MAX),
            roles: &event.roles,
            tenant: shortened(&tenants.join("|"), TEXT_BYTES_MAX).to_owned(),
            door: event.door,
            endpoint: shortened(&event.endpoint, SHORT_BYTES_MAX),
            language: event.language,
            text,
            text_bytes: (text.len() < event.text.len()).then_some(event.text.len()),
            params: shortened(&event.params, TEXT_BYTES_MAX),
            start: event.range.map(|(start, _)| rfc3339(start.0)),
            end: event.range.map(|(_, end)| rfc3339(end.0)),
            status: event.status.into(),
            error: shortened(&event.error, SHORT_BYTES_MAX),
            bytes_read: event.read.map(|read| read.bytes),
            rows_read: event.read.map(|read| read.rows),
            rows: event.rows,
            duration_ms: event.took.map(|took| (took.as_secs_f64() * 1e6).round() / 1e3),
            source: event.source,
            tags: shortened(&event.tags, SHORT_BYTES_MAX),
            count: if event.count > 1 { event.count } else { 0 },
            writer: place.writer,
            prev_at: place.prev_at,
            prev: place.prev,
        }
    }
}

/// Where in a chain a record is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) seq: u64,
    pub(super) at: &'a str,
    pub(super) writer: &'a str,
    pub(super) prev_at: &'a str,
    pub(super) prev: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn shortened(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// `2026-01-15T10:00:00.000000007Z`.
pub(super) fn rfc3339(ns: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}

/// How repeats are told: events that are equal in all that is said here become one record with their number.
pub(super) fn merge_repeats<W>(events: Vec<(Event, W)>, mut merge: impl FnMut(&mut W, W)) -> Vec<(Event, W)> {
    let mut merged: Vec<(Event, W)> = Vec::with_capacity(events.len());
    for (event, waiting) in events {
        let same = |other: &Event| {
            other.kind == Kind::Denied
                && (other.status, other.source, other.door) == (event.status, event.source, event.door)
                && (&other.who, &other.endpoint, &other.text) == (&event.who, &event.endpoint, &event.text)
                && (&other.error, &other.tenants) == (&event.error, &event.tenants)
        };
        match merged.iter_mut().find(|(known, _)| event.kind == Kind::Denied && same(known)) {
            Some((known, waits)) => {
                known.count = known.count.max(1) + event.count.max(1);
                merge(waits, waiting);
            }
            None => merged.push((event, waiting)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_denials_are_one_record_with_their_number() {
        let denied = |text: &str| Event { kind: Kind::Denied, status: 401, text: text.to_owned(), ..Event::default() };
        let query = || Event { text: "a".to_owned(), ..Event::default() };
        let events = vec![(denied("a"), 1), (query(), 1), (denied("a"), 1), (denied("b"), 1), (query(), 1)];
        let merged = merge_repeats(events, |sum: &mut u64, one| *sum += one);
        let seen: Vec<_> = merged.iter().map(|(event, sum)| (event.text.as_str(), event.count, *sum)).collect();
        assert_eq!(seen, [("a", 2, 2), ("a", 0, 1), ("b", 0, 1), ("a", 0, 1)]);
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let event = Event { text: "é".repeat(TEXT_BYTES_MAX), who: "ana".to_owned(), ..Event::default() };
        let place = Place { seq: 1, at: "t", writer: "w", prev_at: "", prev: "p" };
        let record = serde_json::to_value(Record::of(&event, place)).expect("JSON");
        assert_eq!(record["text"].as_str().map(str::len), Some(TEXT_BYTES_MAX));
        assert_eq!(record["text_bytes"], 2 * TEXT_BYTES_MAX);
        assert_eq!((&record["who"], &record["event"]), (&"ana".into(), &"query".into()));
        assert!(record.get("status").is_none() && record.get("count").is_none());
    }
}
