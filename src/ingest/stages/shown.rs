//! What stages counted: on `/metrics` for operators, and as samples of derived metrics for tenants.
//!
//! | | labels besides the entry's |
//! |---|---|
//! | `/metrics` | `tenant`; of a topic's stages `kafka_topic` |
//! | derived metrics | of a topic's stages `kafka_topic` |

use prometheus::core::Collector;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::Stages;
use crate::types::labels::Labels;
use crate::types::sample::{METRIC_NAME, Sample};
use crate::types::time::UnixNanos;

const TENANT: &str = "tenant";
const KAFKA_TOPIC: &str = "kafka_topic";

impl Stages {
    /// Everything that was counted, for `/metrics`.
    pub fn families(&self) -> Vec<MetricFamily> {
        let mut families = self.metrics.custom.families();
        families.extend(self.metrics.dropped_lines.collect());
        families.extend(self.metrics.dropped_by_label.collect());
        families.retain(|family| !family.get_metric().is_empty());
        for metric in families.iter_mut().flat_map(MetricFamily::mut_metric) {
            let mut more = vec![(TENANT, self.tenant.as_str())];
            more.extend(self.topic.as_deref().map(|topic| (KAFKA_TOPIC, topic)));
            add_labels(metric, &more);
        }
        families
    }

    /// The values of `metrics` stages.
    pub fn samples(&self, time: UnixNanos) -> Vec<Sample> {
        let mut samples = Vec::new();
        for mut family in self.metrics.custom.families() {
            let (name, kind) = (family.name().to_owned(), family.get_field_type());
            for metric in family.mut_metric() {
                add_labels(
                    metric,
                    &self.topic.as_deref().map(|topic| (KAFKA_TOPIC, topic)).into_iter().collect::<Vec<_>>(),
                );
                push_samples(&name, kind, metric, time, &mut samples);
            }
        }
        samples
    }
}

/// Labels of the entry win nothing over those that say whose it is.
fn add_labels(metric: &mut Metric, more: &[(&str, &str)]) {
    let mut pairs: Vec<LabelPair> = metric.take_label();
    pairs.retain(|pair| !more.iter().any(|(name, _)| pair.name() == *name));
    for (name, value) in more {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pairs.push(pair);
    }
    pairs.sort_by(|a, b| a.name().cmp(b.name()));
    metric.set_label(pairs);
}

fn push_samples(name: &str, kind: MetricType, metric: &Metric, time: UnixNanos, out: &mut Vec<Sample>) {
    let mut push = |suffix: &str, bound: Option<f64>, value: f64| {
        let own = metric.get_label().iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned()));
        let bound = bound.map(|bound| {
            let text = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            ("le".to_owned(), text)
        });
        let named = [(METRIC_NAME.to_owned(), format!("{name}{suffix}"))];
        out.push(Sample { labels: Labels::from_pairs(own.chain(bound).chain(named)), time, value });
    };
    match kind {
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            for bucket in histogram.get_bucket() {
                push("_bucket", Some(bucket.upper_bound()), bucket.cumulative_count() as f64);
            }
            push("_bucket", Some(f64::INFINITY), histogram.get_sample_count() as f64);
            push("_sum", None, histogram.get_sample_sum());
            push("_count", None, histogram.get_sample_count() as f64);
        }
        MetricType::GAUGE => push("", None, metric.get_gauge().get_value()),
        _ => push("", None, metric.get_counter().get_value()),
    }
}

/// Families of several tenants as one list: one family a name, which is what the text format allows. Of families of one
/// name and several types the first stays.
pub fn merged(families: impl IntoIterator<Item = MetricFamily>) -> Vec<MetricFamily> {
    let mut merged = std::collections::BTreeMap::<String, MetricFamily>::new();
    for mut family in families {
        match merged.get_mut(family.name()) {
            Some(known) if known.get_field_type() == family.get_field_type() => {
                known.mut_metric().extend(family.take_metric());
            }
            Some(_) => {}
            None => {
                merged.insert(family.name().to_owned(), family);
            }
        }
    }
    merged.into_values().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Yaml;

    use super::*;
    use crate::ingest::stages::StagesOf;
    use crate::pipeline::{Entry, LabelSet, Origin, yaml};
    use crate::types::ids::TenantId;
    use crate::types::time::Clock;

    fn config() -> Yaml {
        let text = "
- json: {expressions: {level: , took: }}
- metrics:
    lines_total: {type: Counter, source: level, config: {action: inc}}
    took: {type: Histogram, config: {buckets: [1, 2]}}
- drop: {source: level, value: debug}";
        yaml::parse(text).expect("YAML")
    }

    #[test]
    fn a_tenants_metrics_are_its_own() {
        let of = StagesOf::new(Some("t".to_owned()), Clock::manual(UnixNanos(0)));
        for (tenant, lines) in [("a", 2), ("b", 1)] {
            let stages = of.of(&TenantId::parse(tenant).expect("valid"), &config()).expect("there");
            let line = r#"{"level":"debug","took":1.5}"#;
            let labels = LabelSet::from_pairs(Origin::Data, [("service", "s"), ("tenant", "another")]);
            let mut entries = vec![Entry::new(labels, 0, line); lines];
            stages.run(&mut entries, UnixNanos(0)).expect("sound");
            assert!(entries.is_empty());
        }
        let mut all = of.all();
        all.sort_by(|a, b| a.tenant().cmp(b.tenant()));
        let families = merged(all.iter().flat_map(|stages| stages.families()));
        let mut text = Vec::new();
        prometheus::Encoder::encode(&prometheus::TextEncoder::new(), &families, &mut text).expect("encodes");
        let text = String::from_utf8(text).expect("a text");
        let expected = [
            "promtail_custom_lines_total{kafka_topic=\"t\",service=\"s\",tenant=\"a\"} 2",
            "promtail_custom_lines_total{kafka_topic=\"t\",service=\"s\",tenant=\"b\"} 1",
            "promtail_custom_took_bucket{kafka_topic=\"t\",service=\"s\",tenant=\"a\",le=\"2\"} 2",
            "logentry_dropped_lines_total{kafka_topic=\"t\",reason=\"drop_stage\",tenant=\"b\"} 1",
        ];
        for line in expected {
            assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line} in\n{text}");
        }
        assert_eq!(text.matches("# TYPE promtail_custom_lines_total counter").count(), 1);
        let samples = all[0].samples(UnixNanos(1_000_000));
        let shown: Vec<String> = samples.iter().map(|sample| format!("{} {}", sample.labels, sample.value)).collect();
        let series = |name: &str, le: &str| {
            format!(r#"{{__name__="promtail_custom_{name}", kafka_topic="t"{le}, service="s", tenant="another"}}"#)
        };
        assert_eq!(
            shown,
            [
                format!("{} 2", series("lines_total", "")),
                format!("{} 0", series("took_bucket", r#", le="1""#)),
                format!("{} 2", series("took_bucket", r#", le="2""#)),
                format!("{} 2", series("took_bucket", r#", le="+Inf""#)),
                format!("{} 3", series("took_sum", "")),
                format!("{} 2", series("took_count", "")),
            ]
        );
    }
}
