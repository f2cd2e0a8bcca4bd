//! Label sets: sorted, unique names; printed as Loki prints them, stored as JSON.

use std::fmt;
use std::sync::Arc;

/// One name and value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    pub name: Box<str>,
    pub value: Box<str>,
}

/// A label set, sorted by name, each name once. Cheap to clone.
///
/// `Display` is Loki's form: `{a="b", c="d"}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Labels(Arc::from([]))
    }
}

impl Labels {
    /// Sorts; of equal names the last wins; labels with an empty value are left out.
    pub fn from_pairs<N: Into<Box<str>>, V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut unique = sorted_unique(pairs);
        unique.retain(|label| !label.value.is_empty());
        Labels(unique.into())
    }

    /// As [`Labels::from_pairs`], but labels with an empty value stay: parsers make such labels.
    pub fn from_pairs_with_empty<N: Into<Box<str>>, V: Into<Box<str>>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Labels(sorted_unique(pairs).into())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.binary_search_by(|label| (*label.name).cmp(name)).ok().map(|at| &*self.0[at].value)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|label| (&*label.name, &*label.value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `{"a":"b"}`, names in order: how a stream's labels are stored.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(2 + self.0.iter().map(|l| l.name.len() + l.value.len() + 6).sum::<usize>());
        out.push('{');
        for (at, (name, value)) in self.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            push_json_string(&mut out, name);
            out.push(':');
            push_json_string(&mut out, value);
        }
        out.push('}');
        out
    }

    /// Reads what [`Labels::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let map: std::collections::BTreeMap<String, String> = serde_json::from_str(text)?;
        Ok(Self::from_pairs_with_empty(map))
    }
}

fn sorted_unique<N: Into<Box<str>>, V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Vec<Label> {
    let mut labels: Vec<Label> =
        pairs.into_iter().map(|(name, value)| Label { name: name.into(), value: value.into() }).collect();
    labels.sort_by(|a, b| a.name.cmp(&b.name));
    let mut unique: Vec<Label> = Vec::with_capacity(labels.len());
    for label in labels {
        match unique.last_mut() {
            Some(last) if last.name == label.name => *last = label,
            _ => unique.push(label),
        }
    }
    unique
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[plain_from..at]);
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        plain_from = at + 1;
    }
    out.push_str(&text[plain_from..]);
    out.push('"');
}

/// Appends `text` as Go's `strconv.Quote` writes it.
pub fn push_go_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if (0x80..0xa0).contains(&(c as u32))
                || matches!(c, '\u{ad}' | '\u{a0}' | '\u{feff}' | '\u{fffe}' | '\u{2028}' | '\u{2029}') =>
            {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::from("{");
        for (at, (name, value)) in self.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            out.push_str(name);
            out.push('=');
            push_go_quoted(&mut out, value);
        }
        out.push('}');
        f.write_str(&out)
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_sorted_and_quoted() {
        let labels = Labels::from_pairs([("z", "1"), ("a", "say \"hi\"\n"), ("gone", "")]);
        assert_eq!(labels.to_string(), r#"{a="say \"hi\"\n", z="1"}"#);
        assert_eq!(labels.get("z"), Some("1"));
        assert_eq!(labels.get("gone"), None);
    }

    #[test]
    fn json_comes_back() {
        let labels = Labels::from_pairs([("a", "\u{1}\"\\\n日本"), ("b", "c")]);
        assert_eq!(Labels::from_json(&labels.to_json()).expect("own output"), labels);
    }
}
