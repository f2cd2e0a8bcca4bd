//! Expected and got, and the difference for people to read.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::query::matrix::format_sample;
use crate::types::labels::Labels;

/// Values are equal when they differ by less than this part of the larger.
const TOLERANCE: f64 = 1e-9;

/// A sample or an alert, as a line each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// What it is known by.
    pub(super) labels: Labels,
    pub(super) value: Option<f64>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Item {
    fn equals(&self, other: &Item) -> bool {
        let values = match (self.value, other.value) {
            (Some(a), Some(b)) => {
                a.to_bits() == b.to_bits()
                    || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
                    || (a.is_nan() && b.is_nan())
            }
            (a, b) => a.is_none() && b.is_none(),
        };
        self.labels == other.labels && values && self.annotations == other.annotations
    }

    fn show(&self, out: &mut String, mark: char) {
        let value = self.value.map(|value| format!(" {}", format_sample(value))).unwrap_or_default();
        let _ = writeln!(out, "      {mark} {}{value}", self.labels);
        for (name, text) in &self.annotations {
            let _ = writeln!(out, "      {mark}     {name}: {text:?}");
        }
    }
}

/// The lines that differ, `-` expected and `+` got; none when nothing does.
pub(super) fn difference(mut expected: Vec<Item>, mut got: Vec<Item>) -> Option<String> {
    expected.sort_by(|a, b| a.labels.cmp(&b.labels));
    got.sort_by(|a, b| a.labels.cmp(&b.labels));
    let missing: Vec<&Item> = expected.iter().filter(|item| !got.iter().any(|other| item.equals(other))).collect();
    let extra: Vec<&Item> = got.iter().filter(|item| !expected.iter().any(|other| item.equals(other))).collect();
    if missing.is_empty() && extra.is_empty() && expected.len() == got.len() {
        return None;
    }
    let mut out = String::new();
    // Those of the same labels beside each other.
    let mut extra = extra;
    for item in missing {
        item.show(&mut out, '-');
        if let Some(at) = extra.iter().position(|other| other.labels == item.labels) {
            extra.remove(at).show(&mut out, '+');
        }
    }
    extra.iter().for_each(|item| item.show(&mut out, '+'));
    if out.is_empty() {
        let _ = writeln!(out, "      {} expected, {} got, some of them twice", expected.len(), got.len());
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, value: f64) -> Item {
        Item { labels: Labels::from_pairs([("a", name)]), value: Some(value), annotations: BTreeMap::new() }
    }

    #[test]
    fn differences_are_readable() {
        assert_eq!(difference(vec![item("x", 0.1 + 0.2)], vec![item("x", 0.3)]), None);
        assert_eq!(difference(vec![item("x", f64::NAN)], vec![item("x", f64::NAN)]), None);
        let shown = difference(vec![item("x", 1.0), item("z", 1.0)], vec![item("y", 3.0), item("x", 2.0)]);
        let expected = "      - {a=\"x\"} 1\n      + {a=\"x\"} 2\n      - {a=\"z\"} 1\n      + {a=\"y\"} 3\n";
        assert_eq!(shown.as_deref(), Some(expected));
    }
}
