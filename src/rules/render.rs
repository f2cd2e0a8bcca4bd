//! Labels and annotations of alerts, from their templates.
//!
//! `$sample` and `$grafanaURL` are ours: the newest lines behind an alert, and a link that shows them in Grafana.

use std::collections::BTreeMap;

use crate::query::matrix::format_sample;
use crate::rules::alerts::Rendered;
use crate::rules::read::{OWN_VARIABLES, parse_template, with_own_variables};
use crate::template::{Host, QuerySample, Template, alert_data};
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// What templates of one rule need of the outside.
pub trait AlertQueries {
    /// The vector that an expression is.
    fn query(&self, expression: &str) -> Result<Vec<QuerySample>, String>;
    /// The newest lines of the rule's selector that have these labels.
    fn sample_lines(&self, labels: &Labels) -> String;
}

/// The templates of one alerting rule.
#[derive(Debug)]
pub struct AlertTemplates {
    alert: String,
    labels: Vec<(String, Text)>,
    annotations: Vec<(String, Text)>,
}

#[derive(Debug)]
enum Text {
    Ready(Template),
    /// Reads one of our variables, whose value becomes part of its text.
    Own(String),
    /// Not a template any more: it was checked when it was read, so this does not happen.
    Bad(String),
}

/// What is the same for all alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertSurroundings {
    pub external_labels: BTreeMap<String, String>,
    pub external_url: String,
    /// Shows the rule's expression.
    pub link: String,
}

impl AlertTemplates {
    pub fn new(alert: &str, labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Self {
        let compile = |texts: &BTreeMap<String, String>| {
            texts.iter().map(|(name, text)| (name.clone(), Text::new(alert, text))).collect()
        };
        AlertTemplates { alert: alert.to_owned(), labels: compile(labels), annotations: compile(annotations) }
    }

    /// An alert for a sample of the rule's expression.
    ///
    /// Source: Prometheus: a template that fails gives the text of its error.
    pub fn render(
        &self,
        labels: &Labels,
        value: f64,
        at: UnixNanos,
        surroundings: &AlertSurroundings,
        queries: &dyn AlertQueries,
    ) -> Rendered {
        let host = TemplateHost { at, surroundings, queries };
        let expand = |text: &Text| self.expand(text, labels, value, &host);
        let own = labels.iter().filter(|(name, _)| *name != "__name__");
        let mut pairs: Vec<(String, String)> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        pairs.extend(self.labels.iter().map(|(name, text)| (name.clone(), expand(text))));
        pairs.push(("alertname".to_owned(), self.alert.clone()));
        let annotations = self.annotations.iter().map(|(name, text)| (name.clone(), expand(text)));
        Rendered { labels: Labels::from_pairs(pairs), annotations: Labels::from_pairs_with_empty(annotations), value }
    }

    fn expand(&self, text: &Text, labels: &Labels, value: f64, host: &TemplateHost<'_>) -> String {
        let own;
        let template = match text {
            Text::Ready(template) => template,
            Text::Bad(error) => return format!("<error expanding template: {error}>"),
            Text::Own(text) => {
                let lines =
                    if text.contains(OWN_VARIABLES[0]) { host.queries.sample_lines(labels) } else { String::new() };
                match parse_template(&self.alert, &with_own_variables(text, &lines, &host.surroundings.link)) {
                    Ok(template) => {
                        own = template;
                        &own
                    }
                    Err(error) => return format!("<error expanding template: {error}>"),
                }
            }
        };
        let external = host.surroundings.external_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let data = alert_data(labels.iter(), external, &host.surroundings.external_url, value);
        let mut out = String::new();
        match template.execute_value(data, host, &mut out) {
            Ok(()) => out,
            Err(error) => format!("<error expanding template: {error}>"),
        }
    }
}

impl Text {
    fn new(alert: &str, text: &str) -> Text {
        if OWN_VARIABLES.iter().any(|name| text.contains(name)) {
            return Text::Own(text.to_owned());
        }
        match parse_template(alert, text) {
            Ok(template) => Text::Ready(template),
            Err(error) => Text::Bad(error.to_string()),
        }
    }
}

struct TemplateHost<'a> {
    at: UnixNanos,
    surroundings: &'a AlertSurroundings,
    queries: &'a dyn AlertQueries,
}

impl Host for TemplateHost<'_> {
    fn now_ns(&self) -> i64 {
        self.at.0
    }

    fn external_url(&self) -> &str {
        &self.surroundings.external_url
    }

    fn query(&self, expression: &str) -> Result<Vec<QuerySample>, String> {
        self.queries.query(expression)
    }
}

/// Templates that ask nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoQueries;

impl AlertQueries for NoQueries {
    fn query(&self, _: &str) -> Result<Vec<QuerySample>, String> {
        Err("queries are not available here".to_owned())
    }

    fn sample_lines(&self, _: &Labels) -> String {
        String::new()
    }
}

/// Source: Loki's link to Grafana's Explore: the query as JSON, percent-encoded.
pub fn grafana_link(external_url: &str, datasource_uid: &str, expression: &str) -> String {
    let query = serde_json::json!({
        "expr": expression,
        "queryType": "range",
        "datasource": {"type": "loki", "uid": datasource_uid},
    });
    let escaped: String = url::form_urlencoded::byte_serialize(query.to_string().as_bytes()).collect();
    format!("{}/explore?left={{\"queries\":[{escaped}]}}", external_url.trim_end_matches('/'))
}

/// `2024-01-02T03:04:05.678Z`
pub fn rfc3339(at: UnixNanos) -> String {
    chrono::DateTime::from_timestamp_nanos(at.0).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// A value as the API and alerts show it: Go's `'e'` form.
pub fn format_value(value: f64) -> String {
    if !value.is_finite() {
        return format_sample(value);
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines;

    impl AlertQueries for Lines {
        fn query(&self, expression: &str) -> Result<Vec<QuerySample>, String> {
            Ok(vec![QuerySample { labels: vec![("q".to_owned(), expression.to_owned())], value: 7.0 }])
        }

        fn sample_lines(&self, labels: &Labels) -> String {
            format!("first \"quoted\" of {labels}\nsecond {{{{ no template }}}}")
        }
    }

    #[test]
    fn labels_and_annotations_come_from_templates() {
        let texts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let templates = AlertTemplates::new(
            "High",
            &texts(&[("severity", "{{ if gt $value 2.0 }}page{{ else }}mail{{ end }}"), ("gone", "")]),
            &texts(&[
                ("summary", "{{ $labels.service }} at {{ $value | humanize }} in {{ $externalLabels.region }}"),
                ("asked", "{{ with query \"up\" }}{{ . | first | value }}{{ end }}"),
                ("lines", "{{ $sample }}"),
                ("link", "{{ $grafanaURL }}"),
            ]),
        );
        let surroundings = AlertSurroundings {
            external_labels: texts(&[("region", "eu")]),
            external_url: String::new(),
            link: "http://g/explore".to_owned(),
        };
        let labels = Labels::from_pairs([("service", "gw"), ("__name__", "m"), ("gone", "x")]);
        let rendered = templates.render(&labels, 3.0, UnixNanos(0), &surroundings, &Lines);
        assert_eq!(rendered.labels.to_string(), r#"{alertname="High", service="gw", severity="page"}"#);
        let annotation = |name: &str| rendered.annotations.get(name).unwrap_or_default().to_owned();
        assert_eq!(annotation("summary"), "gw at 3 in eu");
        assert_eq!(annotation("asked"), "7");
        assert_eq!(annotation("link"), "http://g/explore");
        assert!(annotation("lines").ends_with("second {{ no template }}"), "{}", annotation("lines"));
        assert!(annotation("lines").starts_with("first \"quoted\" of {"), "{}", annotation("lines"));
    }

    #[test]
    fn values_are_shown_as_go_shows_them() {
        for (value, expected) in [
            (1.0, "1e+00"),
            (0.1, "1e-01"),
            (1234.5, "1.2345e+03"),
            (0.0, "0e+00"),
            (1e100, "1e+100"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(format_value(value), expected);
        }
    }

    #[test]
    fn the_link_holds_the_query() {
        let link = grafana_link("http://grafana/", "uid", "sum(rate({a=\"b\"}[5m])) > 1");
        assert!(link.starts_with("http://grafana/explore?left={\"queries\":[%7B%22expr%22%3A%22sum%28"), "{link}");
    }
}
