//! Streams, interned: each distinct label set of a tenant has one small number while the process lives.
//!
//! ```text
//! labels JSON ──intern──▶ StreamRef(u32) ──get──▶ Stream { id, labels, json }
//! ```
//!
//! Invariant: a `StreamRef` never changes its meaning; refs of one tenant are dense from 0.
//! Two label sets never share a ref, whatever their hashes do.

mod choices;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::types::audit_stream::is_audit_stream;
use crate::types::ids::TenantId;
use crate::types::labels::Labels;

pub use choices::{Choices, ChoicesStats};

/// A stream of one tenant within this process; not stable across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamRef(pub u32);

/// What is known of a stream.
#[derive(Debug)]
pub struct Stream {
    /// Hash of `json`: the `stream_id` column of files, the same in every process.
    pub id: u64,
    pub labels: Labels,
    /// [`Labels::to_json`]: the `labels` column of files.
    pub json: Arc<str>,
}

/// All streams of one tenant that this process has met.
#[derive(Debug, Default)]
pub struct TenantStreams {
    inner: RwLock<Interned>,
    /// Where choices are kept, and the tenant's number there; none for lists of one query.
    choices: Option<(Choices, usize)>,
}

#[derive(Debug, Default)]
struct Interned {
    by_json: HashMap<Arc<str>, StreamRef>,
    list: Vec<Arc<Stream>>,
    /// Those of audit records: one a process that wrote some.
    audit: Vec<StreamRef>,
}

/// Why a text is no stream.
#[derive(Debug, thiserror::Error)]
#[error("stored stream labels are not a JSON object of strings: {text}")]
pub struct BadStreamJson {
    pub text: String,
    #[source]
    pub source: serde_json::Error,
}

impl Stream {
    /// What its lines come from: lines of one service are alike.
    pub fn service(&self) -> &str {
        self.labels.get("service_name").unwrap_or("")
    }

    /// A stream with these labels.
    pub fn new(labels: Labels) -> Self {
        let json: Arc<str> = labels.to_json().into();
        Stream { id: xxhash_rust::xxh3::xxh3_64(json.as_bytes()), labels, json }
    }
}

impl TenantStreams {
    /// A list that is only read, by place; streams in it may be equal.
    pub fn detached(list: Vec<Arc<Stream>>) -> Self {
        TenantStreams { inner: RwLock::new(Interned { list, ..Interned::default() }), choices: None }
    }

    /// The ref of the stream with these labels, new if need be.
    pub fn intern(&self, json: &str) -> Result<StreamRef, BadStreamJson> {
        if let Some(known) = self.inner.read().by_json.get(json) {
            return Ok(*known);
        }
        let labels = Labels::from_json(json).map_err(|source| BadStreamJson { text: json.to_owned(), source })?;
        let mut inner = self.inner.write();
        if let Some(known) = inner.by_json.get(json) {
            return Ok(*known);
        }
        let stream_ref = StreamRef(u32::try_from(inner.list.len()).expect("fewer than 2^32 streams fit in memory"));
        let json: Arc<str> = Arc::from(json);
        if is_audit_stream(&labels) {
            inner.audit.push(stream_ref);
        }
        inner.list.push(Arc::new(Stream {
            id: xxhash_rust::xxh3::xxh3_64(json.as_bytes()),
            labels,
            json: json.clone(),
        }));
        inner.by_json.insert(json, stream_ref);
        Ok(stream_ref)
    }

    /// The stream behind a ref of this tenant.
    pub fn get(&self, stream: StreamRef) -> Arc<Stream> {
        self.inner.read().list[stream.0 as usize].clone()
    }

    /// All streams known now, by ref.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        self.inner.read().list.clone()
    }

    /// Whether a selector chooses each of the streams that are known now, by ref. `selector` is its text, which decides
    /// what `matches` answers.
    pub fn chosen(&self, selector: &str, matches: impl Fn(&Labels) -> bool) -> Arc<[bool]> {
        let ask = |from: usize| {
            let later = self.inner.read().list[from..].to_vec();
            later.iter().map(|stream| matches(&stream.labels)).collect::<Vec<bool>>()
        };
        match &self.choices {
            Some((choices, tenant)) => choices.of(*tenant, selector, self.len(), ask),
            None => ask(0).into(),
        }
    }

    /// How many are known now, and which of them are of audit records.
    pub fn len_and_audit(&self) -> (usize, Vec<StreamRef>) {
        let inner = self.inner.read();
        (inner.list.len(), inner.audit.clone())
    }

    pub fn len(&self) -> usize {
        self.inner.read().list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The streams of every tenant.
#[derive(Debug, Default)]
pub struct Streams {
    tenants: RwLock<HashMap<TenantId, Arc<TenantStreams>>>,
    choices: Choices,
}

impl Streams {
    pub fn tenant(&self, tenant: &TenantId) -> Arc<TenantStreams> {
        if let Some(streams) = self.tenants.read().get(tenant) {
            return streams.clone();
        }
        let mut tenants = self.tenants.write();
        // None ever leaves: the number is this tenant's alone.
        let number = tenants.len();
        let new = || {
            let choices = Some((self.choices.clone(), number));
            Arc::new(TenantStreams { choices, ..TenantStreams::default() })
        };
        tenants.entry(tenant.clone()).or_insert_with(new).clone()
    }

    /// What selectors chose.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_keeps_its_ref_and_tenants_do_not_share() {
        let streams = Streams::default();
        let a = streams.tenant(&TenantId::parse("a").expect("valid"));
        let b = streams.tenant(&TenantId::parse("b").expect("valid"));
        assert_eq!(a.intern(r#"{"x":"1"}"#).expect("valid"), StreamRef(0));
        assert_eq!(a.intern(r#"{"x":"2"}"#).expect("valid"), StreamRef(1));
        assert_eq!(a.intern(r#"{"x":"1"}"#).expect("valid"), StreamRef(0));
        assert!(b.is_empty());
        assert_eq!(a.get(StreamRef(1)).labels.get("x"), Some("2"));
        assert!(a.intern("[]").is_err());
    }

    #[test]
    fn a_selector_is_asked_of_each_stream_once() {
        let streams = Streams::default();
        let (a, b) = ("a", "b");
        let [a, b] = [a, b].map(|tenant| streams.tenant(&TenantId::parse(tenant).expect("valid")));
        for x in ["1", "2"] {
            a.intern(&format!(r#"{{"x":"{x}"}}"#)).expect("valid");
        }
        b.intern(r#"{"x":"1"}"#).expect("valid");
        let asked = std::cell::RefCell::new(Vec::new());
        let choose = |streams: &TenantStreams, selector: &str, value: &str| {
            let chosen = streams.chosen(selector, |labels| {
                asked.borrow_mut().push(labels.get("x").unwrap_or("").to_owned());
                labels.get("x") == Some(value)
            });
            (chosen.to_vec(), asked.take())
        };
        let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(choose(&a, r#"{x="1"}"#, "1"), (vec![true, false], text(&["1", "2"])));
        assert_eq!(choose(&a, r#"{x="1"}"#, "1"), (vec![true, false], text(&[])));
        assert_eq!(choose(&a, r#"{x="2"}"#, "2"), (vec![false, true], text(&["1", "2"])), "another selector");
        assert_eq!(choose(&b, r#"{x="1"}"#, "1"), (vec![true], text(&["1"])), "another tenant");
        a.intern(r#"{"x":"1","y":"z"}"#).expect("valid");
        assert_eq!(choose(&a, r#"{x="1"}"#, "1"), (vec![true, false, true], text(&["1"])), "the new one alone");
        let ChoicesStats { hits, misses, .. } = streams.choices().stats();
        assert_eq!((hits, misses), (1, 4));
    }
}
