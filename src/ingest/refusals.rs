//! What a client is told of entries that were not taken, in Loki's words and grouped as Loki groups them.

use std::time::Duration;

use crate::ingest::checks::Refusal;
use crate::ingest::rates::TooFast;
use crate::types::go_time::{GoTime, Zone};
use crate::types::units::ByteSize;

/// Distinct texts an answer lists; more of them would only repeat themselves.
const DISTINCT_REFUSALS_MAX: usize = 10;

/// What was refused, by the reasons of Loki's `loki_discarded_*` metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discards(pub Vec<(&'static str, u64, u64)>);

impl Discards {
    pub fn add(&mut self, reason: &'static str, lines: u64, bytes: u64) {
        match self.0.iter_mut().find(|(known, ..)| *known == reason) {
            Some(sum) => {
                sum.1 += lines;
                sum.2 += bytes;
            }
            None => self.0.push((reason, lines, bytes)),
        }
    }
}

/// Entries of a stream that came too fast.
#[derive(Debug, Default)]
pub(super) struct Slowed {
    pub(super) entries: usize,
    pub(super) of: usize,
    /// The first of them, as Loki names them.
    pub(super) texts: Vec<String>,
    pub(super) retry_after: Option<Duration>,
}

/// Streams were too many or too fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowDown {
    /// The text of a 429.
    pub text: String,
    /// When the same may work; none when nobody knows.
    pub retry_after: Option<Duration>,
}

impl Slowed {
    pub(super) fn add(&mut self, ts_ns: i64, stream: &str, bytes: u64, too_fast: TooFast) {
        self.entries += 1;
        self.retry_after = self.retry_after.max(too_fast.retry_after);
        if self.texts.len() < DISTINCT_REFUSALS_MAX {
            let at = GoTime::from_unix_nanos(ts_ns, Zone::Utc).go_string();
            let (limit, bytes) = (ByteSize(too_fast.limit), ByteSize(bytes));
            self.texts.push(format!(
                "entry with timestamp {at} ignored, reason: 'Per stream rate limit exceeded (limit: {limit}/sec) while attempting to ingest for stream '{stream}' totaling {bytes}, consider splitting a stream via additional labels or contact your Loki administrator to see if the limit can be increased',\n"
            ));
        }
    }

    pub(super) fn text(&self, stream: &str, tenant: &str) -> Option<String> {
        (self.entries > 0).then(|| {
            let (ignored, of) = (self.entries, self.of);
            format!("{}user '{tenant}', total ignored: {ignored} out of {of} for stream: {stream}", self.texts.concat())
        })
    }
}

pub(super) fn stream_limit(text: &str, tenant: &str) -> Refusal {
    let text = format!(
        "maximum active stream limit exceeded when trying to create stream {text}, reduce the number of active streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, user: '{tenant}'"
    );
    Refusal { reason: "stream_limit", text }
}

pub(super) fn note(refusals: &mut Vec<(String, usize)>, text: String) {
    if let Some((_, times)) = refusals.iter_mut().find(|(known, _)| *known == text) {
        *times += 1;
    } else if refusals.len() < DISTINCT_REFUSALS_MAX {
        refusals.push((text, 1));
    }
}

pub(super) fn grouped(refusals: &[(String, usize)]) -> Option<String> {
    let count = |times: &usize| refusals.len() > 1 || *times > 1;
    let texts = refusals.iter().map(
        |(text, times)| {
            if count(times) { format!("{times} errors like: {text}") } else { text.clone() }
        },
    );
    let all: Vec<String> = texts.collect();
    (!all.is_empty()).then(|| all.join("; "))
}
