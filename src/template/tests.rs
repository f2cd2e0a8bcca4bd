//! Templates against the answers of Go: tables made with Loki's, Prometheus's and Sprig's own code.

mod alerts;
mod errors;
mod fields;
mod functions;
mod language;
mod limits;
mod printf;
mod promtail;

use super::*;

const LABELS: [(&str, &str); 14] = [
    ("bar", "Hello, Wörld! "),
    ("csv", "a,b,,c"),
    ("date", "2023-07-14T10:20:30.123456789+02:00"),
    ("empty", ""),
    ("flt", "3.75"),
    ("foo", "blip"),
    ("html", "<a href='x'>\"&\"</a>"),
    ("json", r#"{"a":{"b":[1,2.5,"x",null,true]},"list":[3,1,2],"n":null,"big":1e21,"int":1000000}"#),
    ("multi", "one\ntwo"),
    ("neg", "-7"),
    ("num", "42"),
    ("ts", "1650000000"),
    ("tsms", "1650000000123"),
    ("uni", "żółw ǆ ß 日本"),
];

/// The row that all tables are about.
struct Row;

impl Host for Row {
    fn now_ns(&self) -> i64 {
        self.timestamp_ns()
    }

    fn line(&self) -> &str {
        "the line"
    }

    fn timestamp_ns(&self) -> i64 {
        1_700_000_000_123_456_789
    }

    fn external_url(&self) -> &str {
        "http://prom.example:9090/prefix"
    }

    fn path_prefix(&self) -> &str {
        "/prefix"
    }

    fn query(&self, expression: &str) -> Result<Vec<QuerySample>, String> {
        let sample = |labels: &[(&str, &str)], value: f64| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            QuerySample { labels: labels.collect(), value }
        };
        match expression {
            "none" => Ok(Vec::new()),
            "bad" => Err("no such query".to_owned()),
            _ => Ok(vec![
                sample(&[("instance", "b:80"), ("job", "x"), ("__value__", "sv")], 21.5),
                sample(&[("instance", "a"), ("job", "y")], 1e6),
            ]),
        }
    }
}

impl Scope for Row {
    fn field(&self, name: &str) -> Option<&str> {
        LABELS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn for_each_field(&self, visit: &mut dyn FnMut(&str, &str)) {
        LABELS.iter().for_each(|(name, value)| visit(name, value));
    }
}

fn answer(
    template: Result<Template, TemplateError>,
    run: impl FnOnce(&Template, &mut String) -> Result<(), TemplateError>,
) -> String {
    let mut out = String::new();
    match template.and_then(|template| run(&template, &mut out)) {
        Ok(()) => out,
        Err(error) => format!("error: {error}"),
    }
}

/// As `line_format` executes it.
fn check_loki(template: &str, expected: &str) {
    let parsed = Template::parse("line", template, loki_functions());
    assert_eq!(answer(parsed, |template, out| template.execute(&Row, out)), expected, "{template}");
}

/// As Promtail's `template` stage executes it.
fn check_promtail(template: &str, expected: &str) {
    let parsed = Template::parse_with("pipeline_template", template, promtail_functions(), MissingKey::NoValue);
    let run = |template: &Template, out: &mut String| {
        let root = Value::map(LABELS.iter().map(|(name, value)| (Text::from(*name), Value::text(*value))));
        template.execute_value(root, &Row, out)
    };
    assert_eq!(answer(parsed, run), expected, "{template}");
}

/// As Prometheus expands it in an annotation.
fn check_alert(template: &str, expected: &str) {
    let parsed = Template::parse("__alert_x", &format!("{ALERT_DEFINITIONS}{template}"), alert_functions());
    let run = |template: &Template, out: &mut String| {
        let root = alert_data(LABELS, [("cluster", "c1")], Row.external_url(), 1234.5);
        template.execute_value(root, &Row, out)
    };
    assert_eq!(answer(parsed, run), expected, "{template}");
}
