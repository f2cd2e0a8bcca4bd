//! Label sets as operators change them.

use crate::types::labels::Labels;
use crate::types::sample::METRIC_NAME;

/// All but the metric's name.
pub(super) fn without_name(labels: &Labels) -> Labels {
    if labels.get(METRIC_NAME).is_none() {
        return labels.clone();
    }
    Labels::from_pairs(labels.iter().filter(|(name, _)| *name != METRIC_NAME))
}

/// Only `names`.
pub(super) fn only(labels: &Labels, names: &[String]) -> Labels {
    Labels::from_pairs(labels.iter().filter(|(name, _)| names.iter().any(|kept| kept == name)))
}

/// All but `names` and the metric's name.
pub(super) fn all_but(labels: &Labels, names: &[String]) -> Labels {
    let stays = |name: &str| name != METRIC_NAME && !names.iter().any(|dropped| dropped == name);
    Labels::from_pairs(labels.iter().filter(|(name, _)| stays(name)))
}

/// With `name` set; without it when `value` is empty.
pub(super) fn with(labels: &Labels, name: &str, value: &str) -> Labels {
    Labels::from_pairs(labels.iter().filter(|(known, _)| *known != name).chain([(name, value)]))
}

/// Any text but the empty one names a label.
pub(super) fn is_label_name(name: &str) -> bool {
    !name.is_empty()
}
