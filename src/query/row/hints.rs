//! What parsers need not extract.
//!
//! A metric query with a grouping needs only the labels it names; a filter on a parsed label can refuse a row while
//! it is still being parsed. Both are visible in answers (labels missing, rows refused early), so both follow Loki's
//! rules exactly:
//!
//! ```text
//! log query                   required = ∅          filters: every single-label filter
//! metric, no group / without  required = ∅          filters: the same
//! metric, by (a, …)           required = a, …       filters: none
//! metric, by ()               required = labels of stages; none → nothing is extracted
//! ```
//!
//! Invariant: `filters` and `filter_names` are walked by the same index although a filter that always holds has no
//! name: Loki pairs them that way.

use super::builder::{Context, EXTRACTED_SUFFIX, LabelState, Name, Text};
use super::label_filter::LabelFilterStep;

#[derive(Debug, Default)]
pub(super) struct Hints {
    pub(super) no_labels: bool,
    pub(super) required: Vec<Name>,
    pub(super) preserve_error: bool,
    filters: Vec<LabelFilterStep>,
    filter_names: Vec<Name>,
    /// Bit n: a key of n bytes can be a required label once it is cleaned.
    key_lengths: u64,
}

/// What the stages and the aggregation say about the labels they use.
pub(super) struct HintInput<'a> {
    pub(super) stage_labels: Vec<String>,
    pub(super) groups: &'a [String],
    pub(super) without: bool,
    pub(super) no_labels: bool,
    /// The label unwrapped, or empty.
    pub(super) metric_label: &'a str,
    /// The label filter stages, in order.
    pub(super) filters: Vec<&'a LabelFilterStep>,
}

impl Hints {
    pub(super) fn new(input: &HintInput<'_>) -> Self {
        let mut required: Vec<Name> = Vec::new();
        let mentioned = input.stage_labels.iter().chain(input.groups).map(String::as_str).chain([input.metric_label]);
        for label in mentioned {
            for name in [Some(label), label.strip_suffix(EXTRACTED_SUFFIX)].into_iter().flatten() {
                if !name.is_empty() && !required.iter().any(|known| &*known.text == name) {
                    required.push(Name::new(name));
                }
            }
        }
        let (mut filters, mut filter_names) = (Vec::new(), Vec::new());
        for filter in &input.filters {
            if filter.is_compound() {
                continue;
            }
            filters.push((*filter).clone());
            filter_names.extend(filter.single_label().map(Name::new));
        }
        let preserve_error = required.iter().any(|name| &*name.text == "__error__");
        let hints = if input.no_labels {
            if required.is_empty() {
                return Hints { no_labels: true, ..Hints::default() };
            }
            Hints { required, preserve_error, filters, filter_names, ..Hints::default() }
        } else if input.without || input.groups.is_empty() {
            Hints { filters, filter_names, ..Hints::default() }
        } else {
            Hints { required, preserve_error, ..Hints::default() }
        };
        hints.with_key_lengths()
    }

    fn with_key_lengths(mut self) -> Self {
        for name in &self.required {
            let bytes = name.text.as_bytes();
            let digit_after_underscore = bytes.len() > 1 && bytes[0] == b'_' && bytes[1].is_ascii_digit();
            for length in [Some(bytes.len()), digit_after_underscore.then(|| bytes.len() - 1)].into_iter().flatten() {
                self.key_lengths |= 1 << length.min(63);
            }
        }
        self
    }

    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        !self.required.is_empty()
    }

    /// Whether a plain ASCII key of this length can be a required label.
    #[inline]
    pub(super) fn key_length_fits(&self, length: usize) -> bool {
        self.required.is_empty() || self.key_lengths >> length.min(63) & 1 == 1
    }

    #[inline]
    pub(super) fn should_extract(&self, name: &str) -> bool {
        self.required.is_empty() || self.required.iter().any(|required| &*required.text == name)
    }

    pub(super) fn should_extract_prefix(&self, prefix: &str) -> bool {
        self.required.is_empty() || self.required.iter().any(|required| required.text.starts_with(prefix))
    }

    pub(super) fn required_index(&self, name: &str, hash: u32) -> Option<usize> {
        self.required.iter().position(|required| required.hash == hash && &*required.text == name)
    }

    /// Whether the filter on the label just parsed, if there is one, holds.
    #[inline]
    pub(super) fn should_continue(&self, cx: &Context<'_>, labels: &mut LabelState, name: Text, hash: u32) -> bool {
        if self.filter_names.is_empty() {
            return true;
        }
        let text = labels.text(cx, name);
        match self.filter_names.iter().position(|known| known.hash == hash && &*known.text == text) {
            Some(at) => self.filters[at].holds(cx, labels),
            None => true,
        }
    }
}
