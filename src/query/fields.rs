//! Fields found in the newest lines of a query: for Grafana's field lists and filters.
//!
//! ```text
//! log query, newest first ─▶ by full label set ─▶ each entry: metadata, labels its query parsed, then its line as
//!                                                 JSON or else as logfmt ─▶ name → type, parsers, distinct values
//! ```
//!
//! Source: Loki's `detected_fields`: a field has the type of its last value; parsed labels that the query made do not
//! hide the same name of the line, those of the stream and the metadata do (`_extracted`).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::logql::ast::Stage;
use crate::query::row::{Category, Output, RowPipeline, RowState, StreamBase, label_name_of_path, units};
use crate::query::{Entry, QueryError, StreamEntries};
use crate::types::labels::Labels;

/// Nested objects that are looked into for the path of a field.
const PATH_DEPTH_MAX: usize = 32;
/// Distinct values of a field that are counted one by one.
const DISTINCT_VALUES_MAX: usize = 100_000;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    Int,
    Float,
    Boolean,
    Duration,
    Bytes,
    String,
}

impl FieldType {
    pub fn as_str(self) -> &'static str {
        match self {
            FieldType::Int => "int",
            FieldType::Float => "float",
            FieldType::Boolean => "boolean",
            FieldType::Duration => "duration",
            FieldType::Bytes => "bytes",
            FieldType::String => "string",
        }
    }

    fn of(value: &str) -> Self {
        const BOOLEANS: [&str; 12] = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
        if value.parse::<i64>().is_ok() {
            FieldType::Int
        } else if units::parse_float(value).is_ok() {
            FieldType::Float
        } else if BOOLEANS.contains(&value) {
            FieldType::Boolean
        } else if units::parse_duration(value).is_ok() {
            FieldType::Duration
        } else if units::parse_bytes(value).is_ok() {
            FieldType::Bytes
        } else {
            FieldType::String
        }
    }
}

/// One field of the lines looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectedField {
    pub name: String,
    pub kind: FieldType,
    /// Distinct values.
    pub cardinality: usize,
    /// `json`, `logfmt`; none for metadata.
    pub parsers: Vec<&'static str>,
    /// The keys that lead to it, when the last line it was in is JSON.
    pub json_path: Vec<String>,
}

/// The fields of these entries, sorted by name, at most `limit`.
pub fn detect(streams: &[StreamEntries], limit: usize) -> Result<Vec<DetectedField>, QueryError> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    each_entry(streams, |entry, line| {
        for (name, value) in entry.metadata.iter() {
            if let Some(found) = found_of(&mut found, name, limit) {
                found.add(value);
            }
        }
        for (name, values) in &line.fields {
            let Some(found) = found_of(&mut found, name, limit) else { continue };
            if let Some(parser) = line.parser.filter(|parser| !found.parsers.contains(parser)) {
                found.parsers.push(parser);
            }
            if line.parser == Some(JSON) {
                found.json_path = line.path_of(&entry.line, name);
            }
            values.iter().for_each(|value| found.add(value));
        }
    })?;
    let field = |(name, found): (String, Found)| DetectedField {
        name,
        kind: found.kind,
        cardinality: found.values.len(),
        parsers: found.parsers,
        json_path: found.json_path,
    };
    Ok(found.into_iter().map(field).collect())
}

/// The distinct values of one field, sorted; looking ends when there are `limit`.
pub fn values(streams: &[StreamEntries], name: &str, limit: usize) -> Result<Vec<String>, QueryError> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    each_entry(streams, |entry, line| {
        if found.len() >= limit {
            return;
        }
        if let Some(value) = entry.metadata.get(name) {
            found.insert(value.to_owned());
        }
        for value in line.fields.get(name).into_iter().flatten() {
            found.insert(as_filter_value(value));
        }
    })?;
    Ok(found.into_iter().collect())
}

/// Sizes are given as a query can name them.
fn as_filter_value(value: &str) -> String {
    const UNITS: &[&str] = &["b", "k", "m", "g", "t", "p", "e", "i"];
    let lower = value.to_lowercase();
    match units::parse_bytes(value) {
        Ok(bytes) if UNITS.iter().any(|unit| lower.ends_with(unit)) => crate::logql::human_bytes(bytes),
        _ => value.to_owned(),
    }
}

#[derive(Debug)]
struct Found {
    kind: FieldType,
    values: HashSet<Box<str>>,
    parsers: Vec<&'static str>,
    json_path: Vec<String>,
}

impl Found {
    fn add(&mut self, value: &str) {
        self.kind = FieldType::of(value);
        if self.values.len() < DISTINCT_VALUES_MAX && !self.values.contains(value) {
            self.values.insert(value.into());
        }
    }
}

fn found_of<'f>(found: &'f mut BTreeMap<String, Found>, name: &str, limit: usize) -> Option<&'f mut Found> {
    if !found.contains_key(name) {
        if found.len() >= limit {
            return None;
        }
        let new = Found { kind: FieldType::String, values: HashSet::new(), parsers: Vec::new(), json_path: Vec::new() };
        found.insert(name.to_owned(), new);
    }
    found.get_mut(name)
}

const JSON: &str = "json";
const LOGFMT: &str = "logfmt";

/// What a line was parsed into, with what its query had parsed already.
struct ParsedLine {
    parser: Option<&'static str>,
    fields: BTreeMap<String, BTreeSet<String>>,
}

impl ParsedLine {
    /// The keys that lead to the field `name` of a JSON line.
    fn path_of(&self, line: &str, name: &str) -> Vec<String> {
        let Ok(serde_json::Value::Object(object)) = serde_json::from_str::<serde_json::Value>(line) else {
            return Vec::new();
        };
        find_path(&object, name, &mut Vec::new()).unwrap_or_default()
    }
}

fn find_path(
    object: &serde_json::Map<String, serde_json::Value>,
    name: &str,
    above: &mut Vec<String>,
) -> Option<Vec<String>> {
    for (key, value) in object {
        above.push(key.clone());
        let found = match value {
            serde_json::Value::Object(inner) if above.len() < PATH_DEPTH_MAX => find_path(inner, name, above),
            serde_json::Value::Object(_) | serde_json::Value::Array(_) | serde_json::Value::Null => None,
            _ => {
                let label = label_name_of_path(above);
                let is_it = name == label || name.strip_suffix("_extracted").is_some_and(|plain| plain == label);
                is_it.then(|| above.clone())
            }
        };
        above.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Visits entries as Loki orders them: by full label set, newest first.
fn each_entry(streams: &[StreamEntries], mut visit: impl FnMut(&Entry, &ParsedLine)) -> Result<(), QueryError> {
    let compiled = |stage: Stage| {
        RowPipeline::compile(&[stage], Output::Log).map_err(|error| QueryError::Internal(error.to_string()))
    };
    let json = compiled(Stage::Json { fields: Vec::new() })?;
    let logfmt = compiled(Stage::Logfmt { strict: false, keep_empty: false, fields: Vec::new() })?;
    let mut by_labels: BTreeMap<String, Vec<(&Labels, &Entry)>> = BTreeMap::new();
    for stream in streams {
        for entry in &stream.entries {
            let all = stream.labels.iter().chain(entry.metadata.iter()).chain(entry.parsed.iter());
            let labels = Labels::from_pairs_with_empty(all);
            by_labels.entry(labels.to_string()).or_default().push((&stream.labels, entry));
        }
    }
    let mut state = RowState::new(0);
    for (stream, entry) in by_labels.into_values().flatten() {
        let hidden = stream.iter().chain(entry.metadata.iter());
        let hidden = hidden.filter(|(name, _)| entry.parsed.get(name).is_none());
        let base = StreamBase::new(Labels::from_pairs(hidden));
        let line = parse(entry, &base, [(&json, JSON), (&logfmt, LOGFMT)], &mut state);
        visit(entry, &line);
    }
    Ok(())
}

fn parse(
    entry: &Entry,
    base: &StreamBase,
    parsers: [(&RowPipeline, &'static str); 2],
    state: &mut RowState,
) -> ParsedLine {
    let is_error = |name: &str| matches!(name, "__error__" | "__error_details__" | "__preserve_error__");
    let mut fields: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |name: &str, value: &str| {
        if !is_error(name) {
            fields.entry(name.to_owned()).or_default().insert(value.to_owned());
        }
    };
    entry.parsed.iter().for_each(|(name, value)| add(name, value));
    for (pipeline, parser) in parsers {
        let Some(row) = state.run(pipeline, base, &[], entry.ts.0, &entry.line) else { continue };
        if row.error().is_some() {
            continue;
        }
        row.for_each_label(|category, name, value| {
            if category == Category::Parsed {
                add(name, value);
            }
        });
        return ParsedLine { parser: Some(parser), fields };
    }
    ParsedLine { parser: None, fields }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::UnixNanos;

    fn entry(line: &str, parsed: &[(&str, &str)]) -> StreamEntries {
        let metadata = Labels::from_pairs([("detected_level", "info")]);
        let parsed = Labels::from_pairs(parsed.iter().copied());
        let entry = Entry { ts: UnixNanos(1), line: line.to_owned(), metadata, parsed };
        StreamEntries { labels: Labels::from_pairs([("service", "a")]), entries: vec![entry] }
    }

    fn check(streams: &[StreamEntries], expected: &str) {
        let fields = detect(streams, 100).expect("detected");
        let text = fields.iter().map(|field| {
            let path = field.json_path.join(".");
            format!("{}:{}:{}:{}:{path}", field.name, field.kind.as_str(), field.cardinality, field.parsers.join("+"))
        });
        assert_eq!(text.collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn types_parsers_and_paths() {
        check(
            &[entry(
                r#"{"n":1,"f":1.5,"b":true,"d":"5s","s":"10KB","t":"x y","o":{"k-1":"v"},"service":"other"}"#,
                &[],
            )],
            "b:boolean:1:json:b d:duration:1:json:d detected_level:string:1:: f:float:1:json:f n:int:1:json:n \
             o_k_1:string:1:json:o.k-1 s:bytes:1:json:s service_extracted:string:1:json:service t:string:1:json:t",
        );
        check(&[entry("a=1 b=x", &[])], "a:int:1:logfmt: b:string:1:logfmt: detected_level:string:1::");
        check(&[entry("no fields here", &[])], "detected_level:string:1::");
    }

    #[test]
    fn labels_that_the_query_parsed_count_too() {
        check(
            &[entry("plain", &[("p", "7"), ("__error__", "JSONParserErr")])],
            "detected_level:string:1:: p:int:1:logfmt:",
        );
        check(&[entry("p=8", &[("p", "7")])], "detected_level:string:1:: p:int:2:logfmt:");
    }

    #[test]
    fn values_are_as_a_filter_names_them() {
        let streams = [entry("size=2048B note=k", &[]), entry("size=1MiB", &[])];
        assert_eq!(values(&streams, "size", 10).expect("found"), ["1.0MB", "2.0kB"]);
        assert_eq!(values(&streams, "note", 10).expect("found"), ["k"]);
        assert_eq!(values(&streams, "size", 1).expect("found").len(), 1);
        assert_eq!(values(&streams, "detected_level", 10).expect("found"), ["info"]);
    }
}
