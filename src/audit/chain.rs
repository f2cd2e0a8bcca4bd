//! A chain: records whose hashes hold on to each other.
//!
//! ```text
//! genesis ◀─prev─ {"seq":1,…,"prev":…,"hash":h1} ◀─prev─ {"seq":2,…,"prev":h1,"hash":h2} ◀─ …
//! hash = SHA-256 of the line without `,"hash":"…"`
//! ```
//!
//! The genesis hash names the writer and the tenant: records do not fit into another chain.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::event::{Event, Place, Record, rfc3339};
use crate::types::ids::TenantId;
use crate::types::time::UnixNanos;

const HASH_KEY: &str = ",\"hash\":\"";
const HASH_CHARS: usize = 64;

/// The end of a chain so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Of the last record; 0 before the first.
    pub seq: u64,
    /// Hexadecimal.
    pub hash: String,
    /// When it was written, nanoseconds since 1970; 0 before the first.
    pub at_ns: i64,
}

/// A line that is no record of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRecord {
    #[error("it is no record: {0}")]
    Form(String),
    #[error("its hash is not that of its text")]
    Hash,
}

/// What links a record, its hash found to be that of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub link: Link,
    pub prev: String,
    pub prev_at_ns: i64,
    pub writer: String,
}

#[derive(Deserialize)]
struct Linking {
    seq: u64,
    at: String,
    prev: String,
    prev_at: String,
    writer: String,
}

impl Link {
    /// Before the first record.
    pub fn genesis(writer: &str, tenant: &TenantId) -> Link {
        Link { seq: 0, hash: hash(&format!("millrace audit\n{writer}\n{tenant}")), at_ns: 0 }
    }

    /// Appends an event: its time and its line.
    pub(super) fn append(&mut self, writer: &str, event: &Event, at: UnixNanos) -> (UnixNanos, String) {
        // Times rise strictly, whatever the clock does: the order of rows is that of numbers.
        let at_ns = at.0.max(self.at_ns.saturating_add(1));
        let (at, prev_at) = (rfc3339(at_ns), rfc3339(self.at_ns));
        let place = Place { seq: self.seq + 1, at: &at, writer, prev_at: &prev_at, prev: &self.hash };
        let mut line = serde_json::to_string(&Record::of(event, place)).expect("records have string keys");
        let hash = hash(&line);
        line.truncate(line.len() - 1);
        line.push_str(HASH_KEY);
        line.push_str(&hash);
        line.push_str("\"}");
        *self = Link { seq: self.seq + 1, hash, at_ns };
        (UnixNanos(at_ns), line)
    }
}

/// Reads what links a line, and checks its hash.
///
/// # Errors
/// [`NoRecord`].
pub fn open(line: &str) -> Result<Opened, NoRecord> {
    let form = |text: &str| NoRecord::Form(text.to_owned());
    let tail = HASH_KEY.len() + HASH_CHARS + 2;
    let (body, tail) =
        line.len().checked_sub(tail).and_then(|at| line.split_at_checked(at)).ok_or_else(|| form("too short"))?;
    let given = tail.strip_prefix(HASH_KEY).and_then(|rest| rest.strip_suffix("\"}"));
    let given = given.ok_or_else(|| form("it does not end in its hash"))?;
    let body = format!("{body}}}");
    if hash(&body) != given {
        return Err(NoRecord::Hash);
    }
    let linking: Linking = serde_json::from_str(&body).map_err(|error| form(&error.to_string()))?;
    let link = Link { seq: linking.seq, hash: given.to_owned(), at_ns: nanos(&linking.at)? };
    Ok(Opened { link, prev: linking.prev, prev_at_ns: nanos(&linking.prev_at)?, writer: linking.writer })
}

fn nanos(text: &str) -> Result<i64, NoRecord> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok().and_then(|time| time.timestamp_nanos_opt());
    time.ok_or_else(|| NoRecord::Form(format!("{text:?} is no time")))
}

fn hash(text: &str) -> String {
    use std::fmt::Write;
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(HASH_CHARS), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_hold_on_to_each_other() {
        let tenant = TenantId::single();
        let genesis = Link::genesis("w", &tenant);
        assert_ne!(genesis, Link::genesis("w", &TenantId::parse("other").expect("valid")));
        let mut link = genesis.clone();
        let event = Event { text: r#"{a="b"} |= "}""#.to_owned(), ..Event::default() };
        let (first_at, first) = link.append("w", &event, UnixNanos(1_768_471_200_000_000_007));
        // A clock that goes back.
        let (second_at, second) = link.append("w", &event, UnixNanos(5));
        assert_eq!((first_at.0, second_at.0), (1_768_471_200_000_000_007, 1_768_471_200_000_000_008));
        let (one, two) = (open(&first).expect("a record"), open(&second).expect("a record"));
        assert_eq!((one.prev.as_str(), one.prev_at_ns, one.link.seq), (genesis.hash.as_str(), 0, 1));
        assert_eq!((&two.prev, two.prev_at_ns, &two.link), (&one.link.hash, first_at.0, &link));
        assert_eq!(two.writer, "w");
    }

    #[test]
    fn every_changed_byte_shows() {
        let (_, line) = Link::genesis("w", &TenantId::single()).append("w", &Event::default(), UnixNanos(9));
        for at in 0..line.len() {
            let mut bytes = line.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(open(&changed).is_err(), "{changed}");
        }
        for bad in ["", "}", "{}", &line[..line.len() - 1]] {
            assert!(open(bad).is_err(), "{bad}");
        }
    }
}
