//! What a stream and an entry must be like, with Loki's reasons and texts. Pure.

use std::borrow::Cow;

use super::limits::Limits;
use super::service_name::SERVICE_NAME;
use crate::types::audit_stream::is_audit_stream;
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// Why something is not taken: the reason of Loki's metrics, and Loki's text.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    pub(super) text: String,
}

pub(super) fn check_labels(labels: &Labels, text: &str, tenant: &str, limits: &Limits) -> Option<Refusal> {
    let refusal = |reason, text| Some(Refusal { reason, text });
    if labels.is_empty() {
        return refusal("missing_labels", "error at least one label pair is required per stream".to_owned());
    }
    if is_audit_stream(labels) {
        return refusal("reserved_stream", format!("stream '{text}' is kept for the server's own audit records"));
    }
    let missing: Vec<&str> =
        limits.enforced_labels.iter().map(String::as_str).filter(|name| labels.get(name).is_none()).collect();
    if !missing.is_empty() {
        let missing = missing.join(",");
        return refusal(
            "missing_enforced_labels",
            format!("missing required labels '{missing}' for user '{tenant}' for stream '{text}' (policy: '')"),
        );
    }
    let counted = labels.len() - usize::from(labels.get(SERVICE_NAME).is_some());
    let most = limits.max_label_names_per_series;
    if counted > most {
        return refusal(
            "max_label_names_per_series",
            format!("entry for stream '{text}' has {counted} label names; limit {most}"),
        );
    }
    labels.iter().find_map(|(name, value)| {
        if name.len() > limits.max_label_name_length {
            return refusal("label_name_too_long", format!("stream '{text}' has label name too long: '{name}'"));
        }
        if value.len() > limits.max_label_value_length {
            return refusal("label_value_too_long", format!("stream '{text}' has label value too long: '{value}'"));
        }
        None
    })
}

pub(super) fn check_entry(
    ts_ns: i64,
    line: &str,
    metadata: &[(Cow<'_, str>, Cow<'_, str>)],
    metadata_bytes: usize,
    stream: &str,
    (oldest, newest): (UnixNanos, UnixNanos),
    limits: &Limits,
) -> Option<Refusal> {
    let refusal = |reason, text| Some(Refusal { reason, text });
    if ts_ns < oldest.0 {
        let (at, oldest) = (rfc3339(ts_ns), rfc3339(oldest.0));
        return refusal(
            "greater_than_max_sample_age",
            format!(
                "entry for stream '{stream}' has timestamp too old: {at}, oldest acceptable timestamp is: {oldest}"
            ),
        );
    }
    if ts_ns > newest.0 {
        let at = rfc3339(ts_ns);
        return refusal("too_far_in_future", format!("entry for stream '{stream}' has timestamp too new: {at}"));
    }
    let max_line = limits.max_line_size.0 as usize;
    if max_line > 0 && line.len() > max_line {
        let length = line.len();
        return refusal(
            "line_too_long",
            format!(
                "max entry size '{max_line}' bytes exceeded for stream '{stream}' while adding an entry with length '{length}' bytes"
            ),
        );
    }
    if metadata.is_empty() {
        return None;
    }
    if !limits.allow_structured_metadata {
        return refusal(
            "disallowed_structured_metadata",
            format!(
                "stream '{stream}' includes structured metadata, but this feature is disallowed. Please see `limits_config.allow_structured_metadata` or contact your Loki administrator to enable it"
            ),
        );
    }
    let max_bytes = limits.max_structured_metadata_size.0;
    if max_bytes > 0 && metadata_bytes as u64 > max_bytes {
        return refusal(
            "structured_metadata_too_large",
            format!(
                "stream '{stream}' has structured metadata too large: '{metadata_bytes}' bytes, limit: '{max_bytes}' bytes. Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it"
            ),
        );
    }
    let (count, most) = (metadata.len(), limits.max_structured_metadata_entries_count);
    if most > 0 && count > most {
        return refusal(
            "structured_metadata_too_many",
            format!(
                "stream '{stream}' has too many structured metadata labels: '{count}', limit: '{most}'. Please see `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it"
            ),
        );
    }
    None
}

/// Whole seconds in UTC, as Go prints them.
fn rfc3339(ts_ns: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(ts_ns).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A metadata name made of `[A-Za-z0-9_]`.
///
/// Source: OpenTelemetry's translation to Prometheus names: other characters become `_`, runs of `_` become
/// one, a leading digit gets `key_`, a name in double underscores stays reserved.
pub fn normalized_name(name: &str) -> String {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.contains("__")
        && !name.starts_with(|c: char| c.is_ascii_digit())
    {
        return name.to_owned();
    }
    let reserved = name.len() >= 4 && name.starts_with("__") && name.ends_with("__");
    let inner = if reserved { &name[2..name.len() - 2] } else { name };
    let mut out = String::with_capacity(inner.len());
    for c in inner.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    if reserved {
        return format!("__{out}__");
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert_str(0, "key_");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_names_are_normalised() {
        for (name, expected) in [
            ("trace_id", "trace_id"),
            ("trace-id.x", "trace_id_x"),
            ("1a", "key_1a"),
            ("a--b", "a_b"),
            ("__x__", "__x__"),
            ("żółć", "_"),
        ] {
            assert_eq!(normalized_name(name), expected, "{name}");
        }
    }
}
