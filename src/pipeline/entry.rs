//! One line on its way: what stages read and change.
//!
//! ```text
//! Entry = labels        what will name the stream; each remembers whether the operator set it or a stage
//!       + extracted     what stages took out of the line, by name: nothing, bool, number or text
//!       + ts_ns + line + metadata
//!       + receipt       whose end tells the source that the line needs no reading again
//! ```
//!
//! Texts are shared: promoting an extracted value to a label copies a pointer.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

/// A text that many entries share.
pub type Text = Arc<str>;

/// The label that sends an entry to a tenant of its own; never part of the stream.
pub const TENANT_LABEL: &str = "__tenant_id__";

/// A value taken out of a line, as Promtail knows them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// JSON's null, and what a path did not find.
    Nil,
    Bool(bool),
    Number(f64),
    Text(Text),
}

impl Value {
    pub fn text(text: impl Into<Text>) -> Value {
        Value::Text(text.into())
    }

    /// As Promtail's `getString`: numbers without exponent; nothing has no text.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Nil => None,
            Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            Value::Number(number) => Some(Cow::Owned(number_text(*number))),
            Value::Text(text) => Some(Cow::Borrowed(text)),
        }
    }

    /// [`Value::as_text`], shared.
    pub fn to_text(&self) -> Option<Text> {
        match self {
            Value::Text(text) => Some(text.clone()),
            other => other.as_text().map(|text| Text::from(&*text)),
        }
    }
}

/// Go's `FormatFloat(x, 'f', -1, 64)`.
fn number_text(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    number.to_string()
}

/// What was taken out of a line, in the order it was found. Few names: looking through them beats hashing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extracted(Vec<(Text, Value)>);

impl Extracted {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }

    pub fn set(&mut self, name: &Text, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == *name) {
            Some((_, place)) => *place = value,
            None => self.0.push((name.clone(), value)),
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| **known != *name);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Text, &mut Value)> {
        self.0.iter_mut().map(|(name, value)| (&*name, value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Who gave a label its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The operator: static labels, relabelling, discovery.
    Operator,
    /// The data: a stage, or a client that pushed it.
    Data,
}

#[derive(Debug, Clone)]
struct Label {
    name: Text,
    value: Text,
    origin: Origin,
}

/// The labels of an entry, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct LabelSet(Vec<Label>);

impl LabelSet {
    pub fn from_pairs<N: Into<Text>, V: Into<Text>>(origin: Origin, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut labels = LabelSet::default();
        for (name, value) in pairs {
            labels.set(name.into(), value.into(), origin);
        }
        labels
    }

    pub fn get(&self, name: &str) -> Option<&Text> {
        self.find(name).ok().map(|at| &self.0[at].value)
    }

    pub fn origin(&self, name: &str) -> Option<Origin> {
        self.find(name).ok().map(|at| self.0[at].origin)
    }

    pub fn set(&mut self, name: Text, value: Text, origin: Origin) {
        match self.find(&name) {
            Ok(at) => (self.0[at].value, self.0[at].origin) = (value, origin),
            Err(at) => self.0.insert(at, Label { name, value, origin }),
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Text> {
        self.find(name).ok().map(|at| self.0.remove(at).value)
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.0.retain(|label| keep(&label.name, &label.value));
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Text)> {
        self.0.iter().map(|label| (&label.name, &label.value))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Text, &mut Text, Origin)> {
        self.0.iter_mut().map(|label| (&label.name, &mut label.value, label.origin))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// 64 bits over names and values: two sets of one process do not share one in practice.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Xxh3::new();
        for label in &self.0 {
            hash.update(label.name.as_bytes());
            hash.update(&[0xff]);
            hash.update(label.value.as_bytes());
            hash.update(&[0xff]);
        }
        hash.digest()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|label| (*label.name).cmp(name))
    }
}

impl PartialEq for LabelSet {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.iter().eq(other.iter())
    }
}

impl Eq for LabelSet {}

impl Hash for LabelSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|pair| pair.hash(state));
    }
}

/// Loki's form: `{a="b", c="d"}`.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::from("{");
        for (at, (name, value)) in self.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            out.push_str(name);
            out.push('=');
            crate::types::labels::push_go_quoted(&mut out, value);
        }
        out.push('}');
        f.write_str(&out)
    }
}

/// Keeps a source waiting until the last clone is gone; sources put in what they want to see dropped.
#[derive(Clone, Default)]
pub struct Receipt {
    first: Option<Arc<dyn Any + Send + Sync>>,
    /// Of further lines that were joined to the first.
    more: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Receipt {
    pub fn of(held: Arc<dyn Any + Send + Sync>) -> Self {
        Receipt { first: Some(held), more: Vec::new() }
    }

    /// What is held of one kind, in the order it was joined.
    pub fn held<T: Any>(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.more).filter_map(|held| held.downcast_ref())
    }

    /// This and `other` end together.
    pub fn join(&mut self, other: Receipt) {
        for held in other.first.into_iter().chain(other.more) {
            let last = self.more.last().or(self.first.as_ref());
            match last {
                None => self.first = Some(held),
                Some(last) if Arc::ptr_eq(last, &held) => {}
                Some(_) => self.more.push(held),
            }
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({})", usize::from(self.first.is_some()) + self.more.len())
    }
}

/// One line on its way.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub labels: LabelSet,
    pub extracted: Extracted,
    /// Nanoseconds since the Unix epoch.
    pub ts_ns: i64,
    pub line: String,
    pub metadata: Vec<(Text, Text)>,
    pub receipt: Receipt,
}

impl Entry {
    pub fn new(labels: LabelSet, ts_ns: i64, line: impl Into<String>) -> Self {
        Entry { labels, ts_ns, line: line.into(), ..Entry::default() }
    }

    /// Labels become extracted values, as at the entry of every pipeline.
    pub(super) fn extract_labels(&mut self) {
        for (name, value) in self.labels.iter() {
            self.extracted.set(name, Value::Text(value.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_promtails_texts() {
        let check =
            |value: Value, expected: Option<&str>| assert_eq!(value.as_text().as_deref(), expected, "{value:?}");
        check(Value::Number(125.0), Some("125"));
        check(Value::Number(0.1), Some("0.1"));
        check(Value::Number(1e21), Some("1000000000000000000000"));
        check(Value::Number(f64::INFINITY), Some("+Inf"));
        check(Value::Bool(true), Some("true"));
        check(Value::text("a"), Some("a"));
        check(Value::Nil, None);
    }

    #[test]
    fn labels_are_sorted_and_equal_whoever_set_them() {
        let mut labels = LabelSet::from_pairs(Origin::Operator, [("b", "1"), ("a", "x\"")]);
        assert_eq!(labels.to_string(), r#"{a="x\"", b="1"}"#);
        let other = LabelSet::from_pairs(Origin::Data, [("a", "x\""), ("b", "1")]);
        assert_eq!((labels == other, labels.fingerprint() == other.fingerprint()), (true, true));
        labels.set("b".into(), "2".into(), Origin::Data);
        assert_eq!((labels.origin("a"), labels.origin("b")), (Some(Origin::Operator), Some(Origin::Data)));
        assert_ne!(labels.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_joined_receipt_ends_with_its_last_line() {
        let held: [Arc<dyn Any + Send + Sync>; 2] = [Arc::new(1), Arc::new(2)];
        let mut receipt = Receipt::of(held[0].clone());
        receipt.join(Receipt::of(held[0].clone()));
        receipt.join(Receipt::of(held[1].clone()));
        assert_eq!((Arc::strong_count(&held[0]), Arc::strong_count(&held[1])), (2, 2));
        drop(receipt);
        assert_eq!((Arc::strong_count(&held[0]), Arc::strong_count(&held[1])), (1, 1));
    }
}
