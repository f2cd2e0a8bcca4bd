//! The recorded answers of a real Loki 3, asked of this binary: rows in the head, in files, half and half.
//!
//! Status codes, entries, labels and metadata are compared exactly, values within 1e-6, error texts too
//! unless the case is listed. `EXPECTED_TO_DIFFER` may only shrink: an entry that agrees fails the test.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Reply, Server, repository};

/// Cases that cannot agree yet, each with the construct it waits for.
const EXPECTED_TO_DIFFER: &[(&str, &str)] = &[];

/// Where the rows are when the questions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Head,
    Files,
    HalfAndHalf,
}

/// How answers are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Whole,
    /// Cut at every quarter of an hour; each case is asked twice, the second time from what was kept.
    SplitAndKept,
}

#[test]
fn agrees_with_loki_from_the_head() {
    check_corpus(Place::Head, How::Whole);
}

#[test]
fn agrees_with_loki_from_files() {
    check_corpus(Place::Files, How::Whole);
}

#[test]
fn agrees_with_loki_half_and_half() {
    check_corpus(Place::HalfAndHalf, How::Whole);
}

#[test]
fn agrees_with_loki_split_and_from_the_results_cache() {
    check_corpus(Place::HalfAndHalf, How::SplitAndKept);
}

/// Asks every case of the corpus. Answers how many there are, and which answers are not as recorded.
pub(crate) fn disagreements(server: &Server, how: How) -> (usize, Vec<String>) {
    let mut unexpected = Vec::new();
    let mut asked = 0;
    for case in corpus() {
        asked += 1;
        let id = case["id"].as_str().expect("every case has an id").to_owned();
        let once = difference(&case, &ask(server, &case));
        let again = (how == How::SplitAndKept).then(|| difference(&case, &ask(server, &case))).flatten();
        let difference = once.or(again.map(|why| format!("the second time: {why}")));
        let expected = EXPECTED_TO_DIFFER.iter().find(|(listed, _)| *listed == id);
        match (difference, expected) {
            (Some(why), None) => unexpected.push(format!("{id}: {} — {why}", query_of(&case))),
            (None, Some((_, waits_for))) => {
                unexpected.push(format!("{id} agrees now: take it off the list ({waits_for})"))
            }
            _ => {}
        }
    }
    (asked, unexpected)
}

fn check_corpus(place: Place, how: How) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = directory.path().join("config.yaml");
    let recorded_under = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let interval = if how == How::SplitAndKept { "15m" } else { "0" };
    let split =
        recorded_under.replace("split_queries_by_interval: 0", &format!("split_queries_by_interval: {interval}"));
    std::fs::write(&config, split).expect("written");
    let server = Server::start(&data, Some(&config), &[]);
    push_dataset(&server, place);
    let (asked, unexpected) = disagreements(&server, how);
    assert!(asked > 300, "only {asked} cases were read");
    assert!(unexpected.is_empty(), "{place:?}: {} of {asked}:\n{}", unexpected.len(), unexpected.join("\n"));
    if how == How::SplitAndKept {
        let hits = server.metric("millrace_results_cache_requests{outcome=\"hit\"}");
        assert!(hits > 1000.0, "only {hits} splits came from the cache");
    }
}

pub(crate) fn push_dataset(server: &Server, place: Place) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(repository("tests/golden/dataset"))
        .expect("the dataset is in the repository")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let half = files.len() / 2;
    for (at, file) in files.iter().enumerate() {
        let body = std::fs::read(file).expect("readable");
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
        let answer = server.post("/loki/api/v1/push", &headers, &body);
        assert_eq!(answer.status, 204, "{}", answer.text());
        if place == Place::HalfAndHalf && at + 1 == half {
            server.flush();
        }
    }
    if place == Place::Files {
        server.flush();
    }
}

fn corpus() -> Vec<Value> {
    let file = std::fs::File::open(repository("tests/golden/dev.jsonl.gz")).expect("the corpus is in the repository");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("gzip of UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("one case a line")).collect()
}

fn ask(server: &Server, case: &Value) -> Reply {
    let params: Vec<(String, String)> = match &case["params"] {
        Value::Array(pairs) => pairs.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        other => panic!("params are {other}"),
    };
    let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let headers: Vec<(String, String)> = case["headers"]
        .as_object()
        .map(|headers| headers.iter().map(|(name, value)| (name.clone(), text(value))).collect())
        .unwrap_or_default();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    server.get_with(&text(&case["path"]), &params, &headers)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn query_of(case: &Value) -> String {
    match &case["params"] {
        Value::Object(map) => map.get("query").map(text).unwrap_or_default(),
        other => format!("{} {other}", text(&case["path"])),
    }
}

/// What differs from the recorded answer, if anything.
fn difference(case: &Value, got: &Reply) -> Option<String> {
    let status = case["status"].as_u64().expect("recorded") as u16;
    if got.status != status {
        return Some(format!("status {} instead of {status}: {}", got.status, clip(&got.text())));
    }
    let want = &case["body"];
    if status >= 400 {
        let (want, got) = (without_series(&text(want)), without_series(&got.text()));
        let same =
            want.trim() == got.trim() || serde_json::from_str::<Value>(&got).is_ok_and(|got| got == case["body"]);
        return (!same).then(|| format!("text {:?} instead of {:?}", clip(&got), clip(&want)));
    }
    let Ok(got) = serde_json::from_slice::<Value>(&got.body) else {
        return Some(format!("not JSON: {}", clip(&got.text())));
    };
    if want["data"].get("resultType").is_some() {
        return result_difference(&want["data"], &got["data"], &query_of(case));
    }
    let (want, got) = (unordered(want), unordered(&got));
    (want != got).then(|| format!("{} instead of {}", clip(&got.to_string()), clip(&want.to_string())))
}

/// Which of several series with an error Loki names depends on the order of a Go map.
fn without_series(text: &str) -> String {
    match text.split_once("' for series: '") {
        Some((kind, rest)) if kind.starts_with("pipeline error") => {
            format!("{kind} for some series{}", rest.split_once("}'.").map_or("", |(_, help)| help))
        }
        _ => text.to_owned(),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(400).collect()
}

/// Arrays whose order carries no meaning, sorted.
fn unordered(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(unordered).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().map(|(name, value)| (name.clone(), unordered(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        other => other.clone(),
    }
}

fn result_difference(want: &Value, got: &Value, query: &str) -> Option<String> {
    if want.get("encodingFlags") != got.get("encodingFlags") {
        return Some("encodingFlags differ".to_owned());
    }
    if want["resultType"] != got["resultType"] {
        return Some(format!("resultType {} instead of {}", got["resultType"], want["resultType"]));
    }
    match want["resultType"].as_str() {
        Some("scalar") => (!same_point(&want["result"], &got["result"])).then(|| format!("{}", got["result"])),
        Some("streams") => streams_difference(&want["result"], &got["result"]),
        kind => series_difference(&want["result"], &got["result"], kind == Some("vector") && query.contains("sort")),
    }
}

fn streams_difference(want: &Value, got: &Value) -> Option<String> {
    let entries = |result: &Value| {
        let mut streams: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for stream in result.as_array().into_iter().flatten() {
            let values = stream["values"].as_array().into_iter().flatten().map(|entry| unordered(entry).to_string());
            streams.entry(unordered(&stream["stream"]).to_string()).or_default().extend(values);
        }
        streams.values_mut().for_each(|values| values.sort());
        streams
    };
    first_difference(&entries(want), &entries(got))
}

fn series_difference(want: &Value, got: &Value, ordered: bool) -> Option<String> {
    let list = |result: &Value| -> Vec<(String, Value)> {
        let series = result.as_array().into_iter().flatten();
        let points = |one: &Value| one.get("values").or(one.get("value")).cloned().unwrap_or_default();
        series.map(|one| (unordered(&one["metric"]).to_string(), points(one))).collect()
    };
    let (want, got) = (list(want), list(got));
    if ordered && want.iter().zip(&got).any(|(want, got)| !same_points(&want.1, &got.1)) {
        return Some("order differs".to_owned());
    }
    let got: BTreeMap<_, _> = got.into_iter().collect();
    let want: BTreeMap<_, _> = want.into_iter().collect();
    if let Some(extra) = got.keys().find(|key| !want.contains_key(*key)) {
        return Some(format!("extra series {extra}"));
    }
    want.iter().find_map(|(key, points)| match got.get(key) {
        None => Some(format!("missing series {key}")),
        Some(other) if same_points(points, other) => None,
        Some(other) => Some(format!("{key}: {} instead of {}", clip(&other.to_string()), clip(&points.to_string()))),
    })
}

fn first_difference(want: &BTreeMap<String, Vec<String>>, got: &BTreeMap<String, Vec<String>>) -> Option<String> {
    if let Some(extra) = got.keys().find(|key| !want.contains_key(*key)) {
        return Some(format!("extra stream {extra}"));
    }
    want.iter().find_map(|(key, entries)| match got.get(key) {
        None => Some(format!("missing stream {key}")),
        Some(other) if other == entries => None,
        Some(other) => {
            let missing = entries.iter().find(|entry| !other.contains(entry));
            let extra = other.iter().find(|entry| !entries.contains(entry));
            Some(format!(
                "{key}: {} entries instead of {}, missing {missing:?}, extra {extra:?}",
                other.len(),
                entries.len()
            ))
        }
    })
}

fn same_points(want: &Value, got: &Value) -> bool {
    let is_one = |points: &Value| points.get(1).is_some_and(Value::is_string);
    if is_one(want) || is_one(got) {
        return same_point(want, got);
    }
    let (want, got) = (want.as_array(), got.as_array());
    let (Some(want), Some(got)) = (want, got) else {
        return false;
    };
    want.len() == got.len() && want.iter().zip(got).all(|(want, got)| same_point(want, got))
}

fn same_point(want: &Value, got: &Value) -> bool {
    let number = |value: &Value| text(value).replace("Inf", "inf").parse::<f64>().ok();
    let close = |a: f64, b: f64| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9_f64.max(1e-6 * a.abs().max(b.abs()))
    };
    match (number(&want[0]), number(&got[0]), number(&want[1]), number(&got[1])) {
        (Some(want_time), Some(got_time), Some(want), Some(got)) => want_time == got_time && close(want, got),
        _ => false,
    }
}
