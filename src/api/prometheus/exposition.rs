//! `/metrics/derived`: the newest value of each series of a tenant, for a Prometheus that scrapes.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::prometheus::answer::{Refusal, sample_value};
use crate::api::prometheus::{derived, seen};
use crate::api::tenant::ReadingOne;
use crate::types::labels::Labels;
use crate::types::sample::METRIC_NAME;

/// `GET /metrics/derived`, in Prometheus' text format. Each sample has the time it is of, as with `/federate`.
pub async fn exposed(State(shared): State<Shared>, ReadingOne(scope, tenant): ReadingOne) -> Result<Response, Refusal> {
    let mut latest = derived(&shared)?.store.latest(&tenant);
    seen::retain(&scope, &tenant, &mut latest, |(labels, _)| labels);
    let text = exposition(&latest);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn exposition(latest: &[(Labels, (i64, f64))]) -> String {
    let mut sorted: Vec<_> =
        latest.iter().map(|(labels, point)| (labels.get(METRIC_NAME).unwrap_or(""), labels, point)).collect();
    sorted.sort_by(|a, b| a.0.cmp(b.0).then_with(|| a.1.cmp(b.1)));
    let mut out = String::new();
    let mut last_metric = None;
    for (metric, labels, (time, value)) in sorted {
        if !is_metric_name(metric) {
            continue;
        }
        if last_metric != Some(metric) {
            out.push_str(&format!("# TYPE {metric} gauge\n"));
            last_metric = Some(metric);
        }
        out.push_str(metric);
        let others = labels.iter().filter(|(name, _)| *name != METRIC_NAME && is_metric_name(name));
        let mut open = '{';
        for (name, value) in others {
            out.push(open);
            open = ',';
            out.push_str(name);
            out.push_str("=\"");
            push_escaped(&mut out, value);
            out.push('"');
        }
        if open == ',' {
            out.push('}');
        }
        out.push_str(&format!(" {} {time}\n", sample_value(*value)));
    }
    out
}

/// The text format knows no others.
fn is_metric_name(name: &str) -> bool {
    let is_good =
        |(at, c): (usize, char)| c.is_ascii_alphabetic() || c == '_' || c == ':' || (at > 0 && c.is_ascii_digit());
    !name.is_empty() && name.char_indices().all(is_good)
}

fn push_escaped(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_by_metric() {
        let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        let latest = [
            (labels(&[("__name__", "log:rate:1m"), ("service", "a\"b\n")]), (5, 0.5)),
            (labels(&[("__name__", "a")]), (7, f64::NAN)),
            (labels(&[("__name__", "log:rate:1m"), ("service", "c"), ("x", "y")]), (5, 1e21)),
            (labels(&[("__name__", "no name")]), (5, 1.0)),
        ];
        let expected = "# TYPE a gauge\na NaN 7\n# TYPE log:rate:1m gauge\nlog:rate:1m{service=\"a\\\"b\\n\"} 0.5 5\nlog:rate:1m{service=\"c\",x=\"y\"} 1e+21 5\n";
        assert_eq!(exposition(&latest), expected);
    }
}
