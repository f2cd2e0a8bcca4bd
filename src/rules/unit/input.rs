//! Inputs of tests, written out: series as samples, streams as a push.

use serde_json::{Value, json};

use super::file::{InputSeries, InputStream};
use crate::types::labels::Labels;
use crate::types::sample::{METRIC_NAME, Sample};
use crate::types::time::UnixNanos;
use crate::types::units::GoDuration;

/// Samples or lines of one input.
const INPUTS_MAX: usize = 10_000_000;

/// The labels of `name{a="b"}`.
pub(super) fn series_labels(text: &str) -> Result<Labels, String> {
    if text.trim().is_empty() || text.trim() == "{}" {
        return Ok(Labels::default());
    }
    let parsed = promql_parser::parser::parse(text).map_err(|error| format!("{text:?} is no series: {error}"))?;
    let promql_parser::parser::Expr::VectorSelector(selector) = parsed else {
        return Err(format!("{text:?} is no series"));
    };
    let name = selector.name.iter().map(|name| (METRIC_NAME.to_owned(), name.clone()));
    let labels = selector.matchers.matchers.iter().map(|matcher| (matcher.name.clone(), matcher.value.clone()));
    Ok(Labels::from_pairs(name.chain(labels)))
}

/// The samples of a series, from time 0 on.
pub(super) fn samples(input: &InputSeries, interval: GoDuration) -> Result<Vec<Sample>, String> {
    let labels = series_labels(&input.series)?;
    let values = values(&input.values).map_err(|error| format!("series {:?}: {error}", input.series))?;
    let at = |number: usize| UnixNanos(interval.0.saturating_mul(number as i64));
    let sample = |(number, value): (usize, Point)| match value {
        Point::Missing => None,
        Point::Stale => Some(Sample::stale(labels.clone(), at(number))),
        Point::Value(value) => Some(Sample { labels: labels.clone(), time: at(number), value }),
    };
    Ok(values.into_iter().enumerate().filter_map(sample).collect())
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Point {
    Missing,
    Stale,
    Value(f64),
}

/// Source: promtool: `a`, `axn`, `a+bxn`, `a-bxn` (n more than the first), `_`, `_xn`, `stale`.
fn values(text: &str) -> Result<Vec<Point>, String> {
    let mut points = Vec::new();
    for word in text.split_whitespace() {
        let wrong = || format!("{word:?} is no value; write 1, 1x3, 1+2x10, 10-1x5, _, _x4 or stale");
        let (start, times) = match word.rsplit_once('x') {
            Some((start, times)) => (start, Some(times.parse::<usize>().map_err(|_| wrong())?)),
            None => (word, None),
        };
        if points.len() + times.unwrap_or(0) > INPUTS_MAX {
            return Err(format!("more than {INPUTS_MAX} values"));
        }
        match (start, times) {
            ("_", times) => points.extend(std::iter::repeat_n(Point::Missing, times.unwrap_or(1))),
            ("stale", None) => points.push(Point::Stale),
            (start, None) => points.push(Point::Value(start.parse().map_err(|_| wrong())?)),
            (start, Some(times)) => {
                // A sign that is not first and not of an exponent divides start and step.
                let divided = start
                    .char_indices()
                    .skip(1)
                    .find(|(at, c)| matches!(c, '+' | '-') && !start[..*at].ends_with(['e', 'E']));
                let (first, step) = match divided {
                    Some((at, _)) => (&start[..at], start[at..].parse::<f64>().map_err(|_| wrong())?),
                    None => (start, 0.0),
                };
                let first: f64 = first.parse().map_err(|_| wrong())?;
                points.extend((0..=times).map(|n| Point::Value(first + step * n as f64)));
            }
        }
    }
    Ok(points)
}

/// The body of a push with all streams, times from 0 on.
pub(super) fn push_body(streams: &[InputStream]) -> Result<Value, String> {
    let mut all = Vec::new();
    for stream in streams {
        let labels = series_labels(&stream.stream)?;
        let mut values: Vec<(i64, Value)> = Vec::new();
        for entry in &stream.entries {
            let wrong = || {
                let line = &entry.line;
                format!("stream {}: line {line:?}: give `at`, or `from`, `to` and `every`", stream.stream)
            };
            let times: Vec<i64> = match (entry.at, entry.to, entry.every) {
                (Some(at), None, None) if entry.from.is_none() => vec![at.0],
                (None, Some(to), Some(every)) if every.0 > 0 => {
                    let from = entry.from.unwrap_or_default().0;
                    let count = (to.0.saturating_sub(from)).max(0) / every.0;
                    if usize::try_from(count).unwrap_or(usize::MAX) > INPUTS_MAX {
                        return Err(format!("stream {}: more than {INPUTS_MAX} lines", stream.stream));
                    }
                    (0..).map(|n| from + n * every.0).take_while(|at| *at < to.0).collect()
                }
                _ => return Err(wrong()),
            };
            for (number, at) in times.into_iter().enumerate() {
                let line = entry.line.replace("$n", &number.to_string());
                values.push((at, json!([at.to_string(), line, entry.metadata])));
            }
        }
        values.sort_by_key(|(at, _)| *at);
        let labels: serde_json::Map<String, Value> =
            labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let values: Vec<Value> = values.into_iter().map(|(_, value)| value).collect();
        all.push(json!({"stream": labels, "values": values}));
    }
    Ok(json!({"streams": all}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_promtools() {
        let check = |text: &str, expected: Option<&str>| {
            let shown = values(text).ok().map(|points| {
                let shown = points.iter().map(|point| match point {
                    Point::Missing => "_".to_owned(),
                    Point::Stale => "stale".to_owned(),
                    Point::Value(value) => value.to_string(),
                });
                shown.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(shown.as_deref(), expected, "{text}");
        };
        check("1 2.5 -3", Some("1 2.5 -3"));
        check("1x2", Some("1 1 1"));
        check("1+2x3", Some("1 3 5 7"));
        check("-2-4x2", Some("-2 -6 -10"));
        check("1e3+1x1", Some("1000 1001"));
        check("_ 1 _x2 stale", Some("_ 1 _ _ stale"));
        check("", Some(""));
        check("1xx", None);
        check("one", None);
    }

    #[test]
    fn lines_are_written_out() {
        let streams: Vec<InputStream> = serde_saphyr::from_str(
            "- stream: '{a=\"b\"}'\n  entries:\n  - {from: 1s, to: 3s, every: 1s, line: 'n $n'}\n  - {at: 2s, line: x, metadata: {t: '1'}}\n",
        )
        .expect("good");
        let body = push_body(&streams).expect("good");
        assert_eq!(
            body.to_string(),
            r#"{"streams":[{"stream":{"a":"b"},"values":[["1000000000","n 0",{}],["2000000000","n 1",{}],["2000000000","x",{"t":"1"}]]}]}"#
        );
        let bad: Vec<InputStream> =
            serde_saphyr::from_str("- {stream: '{a=\"b\"}', entries: [{line: x}]}").expect("YAML");
        assert!(push_body(&bad).is_err());
    }
}
