//! Samples as they are recorded: pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::flow::Samples;
use crate::rules::alerts::{Alert, AlertState};
use crate::types::labels::Labels;
use crate::types::sample::{METRIC_NAME, Sample};
use crate::types::time::{NANOS_PER_SECOND, UnixNanos};

/// The samples of a recording rule.
///
/// Source: Prometheus: the rule's labels win over those of the sample; equal label sets are an error.
///
/// # Errors
/// In Prometheus' words, also when there are more than `limit`; 0 means no limit.
pub fn recorded(
    metric: &str,
    rule_labels: &BTreeMap<String, String>,
    limit: usize,
    at: UnixNanos,
    samples: Samples,
) -> Result<Vec<Sample>, String> {
    if limit > 0 && samples.len() > limit {
        return Err(format!("exceeded limit of {limit} with {} series", samples.len()));
    }
    let recorded: Vec<Sample> = samples
        .into_iter()
        .map(|(labels, value)| Sample { labels: named(metric, rule_labels, &labels), time: at, value })
        .collect();
    let distinct: BTreeSet<&Labels> = recorded.iter().map(|sample| &sample.labels).collect();
    if distinct.len() < recorded.len() {
        return Err("vector contains metrics with the same labelset after applying rule labels".to_owned());
    }
    Ok(recorded)
}

/// The series that a sample of a rule is recorded in.
pub fn named(metric: &str, rule_labels: &BTreeMap<String, String>, labels: &Labels) -> Labels {
    let own = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let ours = rule_labels.iter().map(|(name, value)| (name.clone(), value.clone()));
    Labels::from_pairs(own.chain([(METRIC_NAME.to_owned(), metric.to_owned())]).chain(ours))
}

/// `ALERTS` and `ALERTS_FOR_STATE` of pending and firing alerts.
pub fn alert_samples<'a>(alerts: impl Iterator<Item = &'a Alert>, at: UnixNanos) -> Vec<Sample> {
    let mut samples = Vec::new();
    for alert in alerts.filter(|alert| alert.state != AlertState::Inactive) {
        let with = |metric: &str, state: Option<&str>| {
            let state = state.map(|state| ("alertstate", state));
            Labels::from_pairs(alert.labels.iter().chain([(METRIC_NAME, metric)]).chain(state))
        };
        samples.push(Sample { labels: with("ALERTS", Some(alert.state.as_str())), time: at, value: 1.0 });
        let active_s = (alert.active_at.0 / NANOS_PER_SECOND) as f64;
        samples.push(Sample { labels: with("ALERTS_FOR_STATE", None), time: at, value: active_s });
    }
    samples
}

/// Ends the series that are no longer there; `now` become the known ones.
pub fn ended(known: &mut BTreeSet<Labels>, now: BTreeSet<Labels>, at: UnixNanos) -> Vec<Sample> {
    let ended = known.difference(&now).map(|labels| Sample::stale(labels.clone(), at)).collect();
    *known = now;
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&'static str, &'static str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn the_rules_labels_win_and_equals_are_refused() {
        let rule_labels =
            BTreeMap::from([("source".to_owned(), "loki".to_owned()), ("gone".to_owned(), String::new())]);
        let at = UnixNanos(0);
        let samples = vec![(labels(&[("a", "1"), ("source", "x"), ("gone", "y")]), 1.0), (labels(&[("a", "2")]), 2.0)];
        let got = recorded("m:x", &rule_labels, 2, at, samples.clone()).expect("distinct");
        assert_eq!(got[0].labels.to_string(), r#"{__name__="m:x", a="1", source="loki"}"#);
        assert_eq!(recorded("m:x", &rule_labels, 1, at, samples), Err("exceeded limit of 1 with 2 series".to_owned()));
        let equal = vec![(labels(&[("source", "x")]), 1.0), (labels(&[("source", "y")]), 2.0)];
        assert!(recorded("m:x", &rule_labels, 0, at, equal).is_err());
    }

    #[test]
    fn series_that_go_are_ended_once() {
        let mut known = BTreeSet::from([labels(&[("a", "1")]), labels(&[("a", "2")])]);
        let gone = ended(&mut known, BTreeSet::from([labels(&[("a", "2")])]), UnixNanos(5));
        assert_eq!(gone.len(), 1);
        assert!(gone[0].is_stale() && gone[0].labels == labels(&[("a", "1")]));
        assert!(ended(&mut known, BTreeSet::from([labels(&[("a", "2")])]), UnixNanos(6)).is_empty());
    }
}
