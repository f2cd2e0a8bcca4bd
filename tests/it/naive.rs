//! What the engine answers equals what a reader of one line at a time answers: maps of labels, no plan, no batches.
//!
//! ```text
//! random lines ─┬─▶ half flushed to files, half in the head ─▶ engine (pushdown, hints, panes) ─▶ answer ─┐
//!               └─▶ naive: each line through each stage ────────────────────────────────────────▶ answer ─┴─ equal
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use millrace::ingest::flush_plan::FlushReason;
use millrace::ingest::gate::TenantGate;
use millrace::ingest::limits::Limits;
use millrace::logql::ast::{
    CompareOp, Expr, FormatSource, LabelFilter, LabelSelector, LineFilterOp, LineMatch, LogExpr, MatchOp, Matcher,
    MetricExpr, RangeAggregation, RangeOp, Stage,
};
use millrace::query::{Direction, QueryAnswer, QueryKind, QueryRequest};
use millrace::receive::decode::{BodyLimits, PushRequest, decode_push};
use millrace::server::store::{Store, StoreSettings};
use millrace::types::ids::TenantId;
use millrace::types::time::{Clock, UnixNanos};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

pub(crate) const START: i64 = 1_768_478_400_000_000_000;
pub(crate) const SECOND: i64 = 1_000_000_000;

type Labels = BTreeMap<String, String>;

/// A line as it was pushed.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) second: i64,
    pub(crate) app: usize,
    pub(crate) text: String,
}

/// A line after the pipeline.
#[derive(Debug, Clone)]
struct Seen {
    ts: i64,
    line: String,
    labels: Labels,
    value: f64,
}

fn field() -> impl Strategy<Value = (String, String)> {
    (prop::sample::select(vec!["level", "status", "user", "app", "ms"]), 0_u32..6).prop_map(|(name, at)| {
        let value = match name {
            "status" => format!("{}", 200 + at * 100),
            "ms" => format!("{}", at * 7),
            "level" => ["info", "warn", "error"][at as usize % 3].to_owned(),
            _ => format!("{name}-{at}"),
        };
        (name.to_owned(), value)
    })
}

/// Names once each: which of two equal ones wins is told elsewhere.
fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(field(), 1..4)
        .prop_map(|fields| fields.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (fields(), any::<bool>()).prop_map(|(fields, nested)| {
            let mut object = serde_json::Map::new();
            for (name, value) in fields {
                let value = value.parse::<i64>().map_or(serde_json::Value::String(value), Into::into);
                object.insert(name, value);
            }
            if nested {
                object.insert("http".to_owned(), serde_json::json!({"code": 7, "verb": "GET"}));
            }
            serde_json::Value::Object(object).to_string()
        }),
        2 => fields().prop_map(|fields| {
            fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        }),
    ]
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    prop::collection::vec((0_usize..3, text()), 20..80).prop_map(|lines| {
        let number = |at: usize| at as i64 * 3;
        lines.into_iter().enumerate().map(|(at, (app, text))| Line { second: number(at), app, text }).collect()
    })
}

pub(crate) fn name() -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(vec!["level", "status", "user", "app", "ms", "http_code", "app_extracted"])
}

pub(crate) fn line_filter() -> impl Strategy<Value = String> + Clone {
    let word = || prop::sample::select(vec!["error", "status", "user-", "00", "GET", "{", "="]);
    prop_oneof![
        (prop::sample::select(vec!["|=", "!="]), word()).prop_map(|(op, word)| format!(r#"{op} "{word}""#)),
        (prop::sample::select(vec!["|~", "!~"]), word())
            .prop_map(|(op, word)| format!(r#"{op} "{}.?[0-9a-z]""#, word.replace('{', r"\\{"))),
        (word(), word()).prop_map(|(a, b)| format!(r#"|= "{a}" or "{b}""#)),
    ]
}

fn parser() -> impl Strategy<Value = String> + Clone {
    prop::sample::select(vec!["| json", "| logfmt", r#"| json code="http.code", who="user""#]).prop_map(str::to_owned)
}

/// Numbers are compared only where the values are numbers.
fn label_filter() -> impl Strategy<Value = String> + Clone {
    let op = || prop::sample::select(vec!["=", "!="]);
    let value = prop::sample::select(vec!["info", "error", "200", "500", "user-1", "app-1", ""]);
    let number = || prop::sample::select(vec!["status", "ms", "http_code"]);
    prop_oneof![
        (name(), op(), value).prop_map(|(name, op, value)| format!(r#"| {name} {op} "{value}""#)),
        (name(), prop::sample::select(vec!["=~", "!~"])).prop_map(|(name, op)| format!(r#"| {name} {op} ".*r.*|2.0""#)),
        (number(), prop::sample::select(vec![">", "<=", "==", "!="]), 0_u32..600)
            .prop_map(|(name, op, value)| format!("| {name} {op} {value}")),
        (number(), op(), name()).prop_map(|(a, op, b)| format!(r#"| {a} > 10 or {b} {op} "info""#)),
    ]
}

fn shaping() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        (name(), name()).prop_map(|(to, from)| format!("| label_format renamed_{to}={from}")),
        (name(), name()).prop_map(|(a, b)| format!("| label_format made=`{{{{.{a}}}}}/{{{{.{b}}}}}`")),
        (name(), name()).prop_map(|(a, b)| format!("| line_format `{{{{.{a}}}}} {{{{.{b}}}}}`")),
        (name(), name()).prop_map(|(a, b)| format!("| drop {a}, {b}")),
        (name(), name()).prop_map(|(a, b)| format!("| keep {a}, {b}, app")),
        line_filter(),
    ]
}

/// Parsers come before filters of labels: a filter before one refuses what is parsed later, a rule of Loki's own
/// that the row pipeline's tests hold.
pub(crate) fn stages() -> impl Strategy<Value = String> + Clone {
    let some = |stage: proptest::strategy::BoxedStrategy<String>, most: usize| prop::collection::vec(stage, 0..=most);
    let all = (
        some(line_filter().boxed(), 2),
        some(parser().boxed(), 2),
        some(label_filter().boxed(), 2),
        some(shaping().boxed(), 3),
    );
    all.prop_map(|(lines, parsers, filters, shapes)| [lines, parsers, filters, shapes].concat().join(" "))
}

fn query() -> impl Strategy<Value = String> {
    let selector =
        prop::sample::select(vec![r#"{app="app-0"}"#, r#"{app=~"app-[01]"}"#, r#"{app=~".+", app!="app-2"}"#]);
    let log = (selector, stages()).prop_map(|(selector, stages)| format!("{selector} {stages}"));
    let op = prop::sample::select(vec!["count_over_time", "rate", "bytes_over_time"]);
    let over = prop::sample::select(vec!["sum_over_time", "max_over_time", "first_over_time"]);
    prop_oneof![
        log.clone(),
        (op, log.clone(), 5_u32..90).prop_map(|(op, log, range)| format!(r#"{op}({log} | __error__="" [{range}s])"#)),
        (over, log, 5_u32..90).prop_map(|(op, log, range)| {
            format!(r#"{op}({log} | ms=~"[0-9]+" | unwrap ms | __error__="" [{range}s])"#)
        }),
    ]
}

fn holds(op: CompareOp, left: f64, right: f64) -> bool {
    match op {
        CompareOp::Equal => left == right,
        CompareOp::NotEqual => left != right,
        CompareOp::Greater => left > right,
        CompareOp::GreaterOrEqual => left >= right,
        CompareOp::Less => left < right,
        CompareOp::LessOrEqual => left <= right,
    }
}

fn matches(matcher: &Matcher, value: &str) -> bool {
    let regex = || regex::Regex::new(&format!("^(?s:{})$", matcher.value)).expect("a regex");
    match matcher.op {
        MatchOp::Equal => value == matcher.value,
        MatchOp::NotEqual => value != matcher.value,
        MatchOp::Regex => regex().is_match(value),
        MatchOp::NotRegex => !regex().is_match(value),
    }
}

/// One line on its way through a pipeline.
struct Walk {
    line: String,
    stream: Labels,
    labels: Labels,
}

impl Walk {
    fn get(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn extract(&mut self, name: &str, value: &str) {
        let name = if self.stream.contains_key(name) { format!("{name}_extracted") } else { name.to_owned() };
        self.labels.insert(name, value.to_owned());
    }

    fn fail(&mut self, error: &str) {
        self.labels.entry("__error__".to_owned()).or_insert_with(|| error.to_owned());
    }

    fn passes(&mut self, filter: &LabelFilter) -> bool {
        match filter {
            LabelFilter::Text(matcher) => matches(matcher, self.get(&matcher.name)),
            LabelFilter::Number { label, op, value } => match self.labels.get(label).map(|text| text.parse::<f64>()) {
                None => false,
                Some(Ok(number)) => holds(*op, number, *value),
                Some(Err(_)) => {
                    self.fail("LabelFilterErr");
                    true
                }
            },
            LabelFilter::And(left, right) => {
                let left = self.passes(left);
                self.passes(right) && left
            }
            LabelFilter::Or(left, right) => self.passes(left) || self.passes(right),
            other => panic!("{other:?} is not generated"),
        }
    }

    /// Whether the line goes on.
    fn step(&mut self, stage: &Stage) -> bool {
        match stage {
            Stage::LineFilter(filter) => {
                let has = |text: &str| self.line.contains(text);
                let any = filter.any_of.iter().any(|one| match (one, filter.op) {
                    (LineMatch::Text(text), LineFilterOp::Contains | LineFilterOp::NotContains) => has(text),
                    (LineMatch::Text(text), _) => regex::Regex::new(text).expect("a regex").is_match(&self.line),
                    (LineMatch::Ip(_), _) => panic!("no addresses are generated"),
                });
                any == matches!(filter.op, LineFilterOp::Contains | LineFilterOp::Regex)
            }
            Stage::Json { fields } => {
                match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.line) {
                    Ok(object) if fields.is_empty() => {
                        flatten("", &object).iter().for_each(|(n, v)| self.extract(n, v))
                    }
                    Ok(object) => {
                        for field in fields {
                            let mut found = Some(&serde_json::Value::Object(object.clone())).cloned();
                            for part in field.expression.split('.') {
                                found = found.and_then(|value| value.get(part).cloned());
                            }
                            self.extract(&field.label, &found.map(|value| plain(&value)).unwrap_or_default());
                        }
                    }
                    Err(_) => self.fail("JSONParserErr"),
                }
                true
            }
            Stage::Logfmt { .. } => {
                let pairs: Vec<(String, String)> = self
                    .line
                    .split(' ')
                    .filter_map(|pair| pair.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                pairs.iter().for_each(|(name, value)| self.extract(name, value));
                true
            }
            Stage::LabelFilter(filter) => self.passes(filter),
            Stage::LineFormat { template } => {
                self.line = self.fill(template);
                true
            }
            Stage::LabelFormat { formats } => {
                for format in formats {
                    match &format.source {
                        FormatSource::Rename(from) => {
                            if let Some(value) = self.labels.remove(from) {
                                self.labels.insert(format.label.clone(), value);
                            }
                        }
                        FormatSource::Template(template) => {
                            let value = self.fill(template);
                            self.labels.insert(format.label.clone(), value);
                        }
                    }
                }
                true
            }
            Stage::Drop { labels } => {
                self.labels.retain(|name, value| !labels.iter().any(|one| chooses(one, name, value)));
                true
            }
            Stage::Keep { labels } => {
                self.labels.retain(|name, value| {
                    name.starts_with("__error") || labels.iter().any(|one| chooses(one, name, value))
                });
                true
            }
            Stage::Unwrap { .. } => true,
            other => panic!("{other:?} is not generated"),
        }
    }

    /// `{{.a}}` filled in; that is all the templates that are generated.
    fn fill(&self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{.") {
            let (name, after) = after.split_once("}}").expect("closed");
            out.push_str(before);
            out.push_str(self.get(name));
            rest = after;
        }
        out + rest
    }
}

fn chooses(selector: &LabelSelector, label: &str, value: &str) -> bool {
    match selector {
        LabelSelector::Name(name) => name == label,
        LabelSelector::Matcher(matcher) => matcher.name == label && matches(matcher, value),
    }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn flatten(prefix: &str, object: &serde_json::Map<String, serde_json::Value>) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, value) in object {
        match value {
            serde_json::Value::Object(inner) => out.extend(flatten(&format!("{prefix}{name}_"), inner)),
            other => out.push((format!("{prefix}{name}"), plain(other))),
        }
    }
    out
}

/// Every line that passes, in order of time.
fn walk(log: &LogExpr, lines: &[Line]) -> Vec<Seen> {
    let mut out = Vec::new();
    for line in lines {
        let stream = Labels::from([("app".to_owned(), format!("app-{}", line.app))]);
        if !log.matchers.iter().all(|matcher| matches(matcher, stream.get(&matcher.name).map_or("", String::as_str))) {
            continue;
        }
        let mut at = Walk { line: line.text.clone(), labels: stream.clone(), stream };
        if log.stages.iter().all(|stage| at.step(stage)) {
            let value = at.get("ms").parse().unwrap_or(f64::NAN);
            if log.stages.iter().any(|stage| matches!(stage, Stage::Unwrap { .. })) {
                at.labels.remove("ms");
            }
            at.labels.remove("__error_details__");
            at.labels.retain(|_, value| !value.is_empty());
            out.push(Seen { ts: START + line.second * SECOND, line: at.line, labels: at.labels, value });
        }
    }
    out
}

/// `(series, step, value)`, sorted.
fn windows(range: &RangeAggregation, lines: &[Line], ends: &[i64]) -> Vec<(Labels, i64, f64)> {
    let seen = walk(&range.log, lines);
    let mut out = Vec::new();
    for end in ends {
        let mut series: BTreeMap<&Labels, Vec<&Seen>> = BTreeMap::new();
        for one in seen.iter().filter(|one| one.ts > end - range.range_ns && one.ts <= *end) {
            series.entry(&one.labels).or_default().push(one);
        }
        for (labels, all) in series {
            let values = all.iter().map(|one| one.value);
            let value = match range.op {
                RangeOp::CountOverTime => all.len() as f64,
                RangeOp::Rate => all.len() as f64 / (range.range_ns as f64 / 1e9),
                RangeOp::BytesOverTime => all.iter().map(|one| one.line.len()).sum::<usize>() as f64,
                RangeOp::SumOverTime => values.sum(),
                RangeOp::MaxOverTime => values.fold(f64::NEG_INFINITY, f64::max),
                RangeOp::FirstOverTime => all[0].value,
                other => panic!("{other:?} is not generated"),
            };
            out.push((labels.clone(), *end, value));
        }
    }
    out.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    out
}

/// As the server opens a store when it is told nothing.
pub(crate) fn settings(data_dir: std::path::PathBuf) -> StoreSettings {
    let mut config = millrace::config::Config::default();
    config.millrace.data_dir = Some(data_dir);
    millrace::server::store_settings(&config).expect("settings")
}

pub(crate) async fn push(store: &Store, lines: &[Line]) {
    let streams: Vec<_> = lines
        .iter()
        .map(|line| {
            let ts = (START + line.second * SECOND).to_string();
            serde_json::json!({"stream": {"app": format!("app-{}", line.app)}, "values": [[ts, line.text]]})
        })
        .collect();
    let body = serde_json::json!({"streams": streams}).to_string();
    let request = PushRequest {
        content_type: Some("application/json"),
        content_encoding: None,
        body: body.into(),
        legacy: false,
    };
    let limits = Limits { discover_service_name: Vec::new(), discover_log_levels: false, ..Limits::default() };
    let gate = TenantGate::alone(limits, UnixNanos(START));
    let outcome = decode_push(&request, &gate, &BodyLimits::default());
    store.shard.push(&TenantId::single(), outcome.batch.expect("rows")).await.expect("pushed");
}

fn plain_labels(labels: &millrace::types::labels::Labels) -> Labels {
    // An expression that found nothing leaves an empty label, which answers show or not by rules told elsewhere.
    let all = labels.iter().filter(|(name, value)| *name != "__error_details__" && !value.is_empty());
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn check(lines: &[Line], queries: &[String]) {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Clock::manual(UnixNanos(START + 600 * SECOND));
    let store = Store::open(settings(directory.path().join("data")), clock, Box::new(|_| {})).await.expect("opened");
    let (in_files, in_head) = lines.split_at(lines.len() / 2);
    push(&store, in_files).await;
    store.flusher.flush(FlushReason::Asked).await.expect("flushed");
    push(&store, in_head).await;
    for text in queries {
        let request = |kind: QueryKind| QueryRequest {
            scope: millrace::access::Scope::of_server(TenantId::single()),
            text: text.clone(),
            kind,
            limit: 10_000,
            direction: Direction::Forward,
            categorize: false,
            splitting: None,
            series_max: 0,
            timeout: Duration::from_secs(30),
        };
        let end = START + 250 * SECOND;
        let kind =
            QueryKind::Range { start: UnixNanos(START), end: UnixNanos(end), step_ns: 20 * SECOND, interval_ns: 0 };
        let (answer, _) = store.engine.query(request(kind)).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        match (millrace::logql::parse(text).expect("parses"), answer) {
            (Expr::Log(log), QueryAnswer::Streams(streams)) => {
                let mut got: Vec<(i64, String, Labels)> = Vec::new();
                for stream in streams {
                    let labels = plain_labels(&stream.labels);
                    got.extend(stream.entries.into_iter().map(|entry| (entry.ts.0, entry.line, labels.clone())));
                }
                got.sort();
                let want: Vec<_> = walk(&log, lines).into_iter().map(|one| (one.ts, one.line, one.labels)).collect();
                assert_eq!(got, want, "{text}");
            }
            (Expr::Metric(MetricExpr::Range(range)), QueryAnswer::Matrix { steps, series }) => {
                let mut got = Vec::new();
                for one in &series {
                    let labels = plain_labels(&one.labels);
                    let steps = (0..steps.count).filter_map(|at| one.get(at).map(|value| (steps.at(at), value)));
                    got.extend(steps.map(|(at, value)| (labels.clone(), at, value)));
                }
                got.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
                let ends: Vec<i64> = (0..).map(|at| START + at * 20 * SECOND).take_while(|at| *at <= end).collect();
                let want = windows(&range, lines, &ends);
                assert_eq!(got.len(), want.len(), "{text}: {got:?} instead of {want:?}");
                for (got, want) in got.iter().zip(&want) {
                    assert_eq!((&got.0, got.1), (&want.0, want.1), "{text}");
                    assert!((got.2 - want.2).abs() < 1e-9, "{text}: {got:?} instead of {want:?}");
                }
            }
            (expr, answer) => panic!("{text}: {expr:?} answered {answer:?}"),
        }
    }
    store.close().await;
}

#[test]
fn the_engine_agrees_with_a_reader_of_single_lines() {
    let cases = std::env::var("MILLRACE_NAIVE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 40, ..Config::default() });
    let result = runner.run(&(lines(), prop::collection::vec(query(), 30)), |(lines, queries)| {
        let _entered = runtime.enter();
        runtime.block_on(check(&lines, &queries));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
