//! `service_name`: added to a stream that has none.

use crate::types::labels::Labels;

/// The label's name.
pub const SERVICE_NAME: &str = "service_name";
/// Its value when no other label tells.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// Labels that name a service when `discover_service_name` is not set, best first.
pub const DEFAULT_SERVICE_LABELS: &[&str] = &[
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// The labels with `service_name`, unless they have it or `candidates` is empty (discovery off).
pub fn with_service_name(labels: Labels, candidates: &[String]) -> Labels {
    if candidates.is_empty() || labels.get(SERVICE_NAME).is_some() {
        return labels;
    }
    let name = candidates.iter().find_map(|candidate| labels.get(candidate)).unwrap_or(UNKNOWN_SERVICE).to_owned();
    let pairs = labels.iter().chain(std::iter::once((SERVICE_NAME, name.as_str())));
    Labels::from_pairs(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_label_names_the_service() {
        let candidates: Vec<String> = DEFAULT_SERVICE_LABELS.iter().map(|label| (*label).to_owned()).collect();
        let check = |labels: &[(&str, &str)], expected: &str| {
            let named = with_service_name(Labels::from_pairs(labels.iter().copied()), &candidates);
            assert_eq!(named.get(SERVICE_NAME), Some(expected), "{labels:?}");
        };
        check(&[("job", "j"), ("app", "a")], "a");
        check(&[("job", "j")], "j");
        check(&[("x", "y")], UNKNOWN_SERVICE);
        check(&[("service_name", "given"), ("service", "s")], "given");
        let off = with_service_name(Labels::from_pairs([("service", "s")]), &[]);
        assert_eq!(off.get(SERVICE_NAME), None);
    }
}
