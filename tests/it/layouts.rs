//! Lines in columns of their fields answer what whole lines answer, whatever is read of them.
//!
//! ```text
//! random JSON ─┬─▶ files, lines: fields ─▶ answer ─┐
//!              └─▶ files, lines: whole  ─▶ answer ─┴─ equal
//! ```

use std::time::Duration;

use millrace::files::fields::LineLayout;
use millrace::ingest::flush_plan::FlushReason;
use millrace::query::{Direction, QueryAnswer, QueryKind, QueryRequest};
use millrace::server::store::{Store, StoreSettings};
use millrace::types::ids::TenantId;
use millrace::types::time::{Clock, UnixNanos};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::naive::{Line, SECOND, START, line_filter, name, push, settings, stages};

/// Pairs, some of them wrong, escaped or twice.
fn logfmt() -> impl Strategy<Value = String> {
    let value = || {
        prop_oneof![
            5 => prop::sample::select(vec!["info", "error", "user-1", "app-1", "12", "1.50", "", r#""a longer text, with: {signs}""#, r#""""#, r#""info""#]).prop_map(str::to_owned),
            2 => (0_u32..700).prop_map(|number| number.to_string()),
            1 => prop::sample::select(vec![r#""a \"b\"""#, r#""\x""#, "a=b", r#"a"b"#, r#""cut"#, "żó"]).prop_map(str::to_owned),
        ]
    };
    let key = prop::sample::select(vec!["level", "status", "ms", "http_code", "http.code", "app", "user"]);
    let id = (0_u64..1 << 40).prop_map(|id| format!("trace={id:016x}"));
    let pairs = prop::collection::vec((key, value()).prop_map(|(key, value)| format!("{key}={value}")), 1..4);
    let end = prop::sample::select(vec!["", "", "", " ", " flag", " =x", "  ms=7"]);
    (id, pairs, end).prop_map(|(id, pairs, end)| format!("{id} {}{end}", pairs.join(" ")))
}

/// Members whose values are of any sort, so that lines of one kind differ in it.
fn json() -> impl Strategy<Value = String> {
    let value = || {
        prop_oneof![
            4 => prop::sample::select(vec![r#""info""#, r#""error""#, r#""user-1""#, r#""app-1""#, r#""a longer text, with: {signs}""#]).prop_map(str::to_owned),
            3 => (0_u32..700).prop_map(|number| number.to_string()),
            1 => prop::sample::select(vec![r#"["error",2]"#, "[]", "null", "true", "1.50", r#""""#, r#""a \"b\"""#]).prop_map(str::to_owned),
            1 => prop::sample::select(vec![r#"{"code":7,"verb":"GET"}"#, r#"{"code":"x"}"#, "{}"]).prop_map(str::to_owned),
        ]
    };
    let id = (0_u64..1 << 40).prop_map(|id| format!(r#""trace":"{id:016x}""#));
    (id, value(), value(), value(), 0_u32..4).prop_map(|(id, a, b, c, shape)| match shape {
        0 => format!(r#"{{{id},"level":{a},"status":{b},"ms":{c}}}"#),
        1 => format!(r#"{{{id},"level":{a},"ms":{b},"http":{c}}}"#),
        2 => format!(r#" {{"user": {a}, "app": {b}, "ms": {c} }}"#),
        _ => format!(r#"{{{id},"level":{a},"ms":12}}"#),
    })
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    // Files of JSON alone, of logfmt alone, and of both.
    let texts =
        prop::sample::select(vec![(9, 1), (1, 9), (9_999, 1), (1, 9_999)]).prop_flat_map(|(of_json, of_logfmt)| {
            let text = prop_oneof![of_json => json(), of_logfmt => logfmt()];
            prop::collection::vec((0_usize..3, text), 20..120)
        });
    texts.prop_map(|lines| {
        let line = |(at, (app, text)): (usize, (usize, String))| Line { second: at as i64 * 2, app, text };
        lines.into_iter().enumerate().map(line).collect()
    })
}

fn query() -> impl Strategy<Value = String> {
    let filter = prop_oneof![
        line_filter(),
        prop::sample::select(vec![
            r#"|= "a longer text""#,
            r#"|= ", with: {""#,
            r#"|= "\"level\":\"error\"""#,
            r#"!= "GET" or "error""#,
            r#"|~ "level.*[0-9]+.*ms""#,
            r#"|= "0000""#,
            r#"|= "[""#,
            r#"|= ": ""#,
            r#"|= "level=error""#,
            r#"|= "info status""#,
            r#"|= "ms=1""#,
            r#"|= "user-1""#,
            r#"|~ "(?i)ERROR""#,
        ])
        .prop_map(str::to_owned),
    ];
    let log = (prop::collection::vec(filter, 0..3), stages())
        .prop_map(|(filters, stages)| format!(r#"{{app=~".+"}} {} {stages}"#, filters.join(" ")));
    let op = prop::sample::select(vec!["count_over_time", "rate", "bytes_over_time", "bytes_rate"]);
    let over = prop::sample::select(vec!["sum_over_time", "max_over_time", "first_over_time", "stddev_over_time"]);
    let by = (name(), name()).prop_map(|(a, b)| format!("by ({a}, {b})"));
    prop_oneof![
        log.clone(),
        (by.clone(), op, log.clone(), 5_u32..90)
            .prop_map(|(by, op, log, range)| format!(r#"sum {by} ({op}({log} | __error__="" [{range}s]))"#)),
        (by.clone(), over, log.clone(), 5_u32..90)
            .prop_map(|(by, over, log, range)| format!(r#"{over}({log} | unwrap ms | __error__="" [{range}s]) {by}"#)),
        (by, log, 5_u32..90).prop_map(|(by, log, range)| {
            format!(r#"quantile_over_time(0.75, {log} | unwrap ms | __error__="" [{range}s]) {by}"#)
        }),
    ]
}

async fn open(directory: &std::path::Path, layout: LineLayout, lines: &[Line]) -> Store {
    let clock = Clock::manual(UnixNanos(START + 600 * SECOND));
    let settings = StoreSettings { layout, ..settings(directory.join(format!("{layout:?}"))) };
    let store = Store::open(settings, clock, Box::new(|_| {})).await.expect("opened");
    push(&store, lines).await;
    store.flusher.flush(FlushReason::Asked).await.expect("flushed");
    store
}

async fn answer(store: &Store, text: &str, limit: u32) -> Vec<String> {
    let end = UnixNanos(START + 300 * SECOND);
    let request = QueryRequest {
        scope: millrace::access::Scope::of_server(TenantId::single()),
        text: text.to_owned(),
        kind: QueryKind::Range { start: UnixNanos(START), end, step_ns: 20 * SECOND, interval_ns: 0 },
        limit: limit as _,
        direction: Direction::Backward,
        categorize: false,
        splitting: None,
        series_max: 0,
        timeout: Duration::from_secs(30),
    };
    let answer = match store.engine.query(request).await {
        Ok((answer, _)) => answer,
        Err(error) => return vec![format!("error: {error}")],
    };
    let mut all = Vec::new();
    match answer {
        QueryAnswer::Streams(streams) => {
            for stream in streams {
                all.extend(
                    stream.entries.iter().map(|entry| format!("{} {} {}", entry.ts.0, stream.labels, entry.line)),
                );
            }
        }
        QueryAnswer::Matrix { steps, series } => {
            for one in series {
                let points = (0..steps.count).filter_map(|at| one.get(at).map(|value| format!("{at}:{value:.6}")));
                all.push(format!("{} {}", one.labels, points.collect::<Vec<_>>().join(" ")));
            }
        }
        other => panic!("{text} answered {other:?}"),
    }
    all.sort();
    all
}

/// `app` is a label already, so the field is `app_extracted`: found by a name that no column has.
#[test]
fn a_field_with_the_name_of_a_label_is_found() {
    let line = |at: i64| Line { second: at, app: 1, text: format!(r#"{{"app":"value-{at:08}","n":{at}}}"#) };
    let lines: Vec<Line> = (0..40).map(line).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path(), LineLayout::Fields, &lines).await;
        let found = answer(&store, r#"{app=~".+"} | json | app_extracted="value-00000007""#, 10).await;
        assert!(found.len() == 1 && found[0].contains(r#""app":"value-00000007""#), "{found:?}");
        assert_eq!(answer(&store, r#"{app=~".+"} | json | app="value-00000007""#, 10).await, Vec::<String>::new());
        store.close().await;
    });
}

/// Filters say in which stretches of a row group an id can be; the rest of the group is not read.
#[test]
fn an_id_is_found_wherever_it_lies_in_a_row_group() {
    const LINES: i64 = 40_000;
    let id_of = |at: i64| format!("{:016x}", (at / 4) as u64 * 0x9E37_79B9_7F4A);
    let line = |at: i64| Line {
        second: at / 200,
        app: (at % 2) as usize,
        text: format!(r#"{{"trace":"{}","n":{at}}}"#, id_of(at)),
    };
    let lines: Vec<Line> = (0..LINES).map(line).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path(), LineLayout::Fields, &lines).await;
        // Of each stream half of the lines: a stretch of 8,192 rows ends at every 16,384th line.
        let borders = (1..3).flat_map(|stretch| [stretch * 16_384 - 1, stretch * 16_384, stretch * 16_384 + 4]);
        for at in (0..LINES).step_by(2_999).chain(borders).chain([LINES - 1]) {
            let id = id_of(at);
            for filter in
                [format!(r#"|= "{id}""#), format!(r#"|= `"trace":"{id}"`"#), format!(r#"| json | trace="{id}""#)]
            {
                let found = answer(&store, &format!(r#"{{app=~".+"}} {filter}"#), 100).await;
                assert_eq!(found.len(), 4, "{at} {filter}: {found:?}");
                let counted =
                    answer(&store, &format!(r#"sum(count_over_time({{app="app-1"}} {filter} [300s]))"#), 100).await;
                assert!(counted.len() == 1 && counted[0].contains(":2.000000"), "{at} {filter}: {counted:?}");
            }
        }
        let none = answer(&store, r#"{app=~".+"} |= "ffffffffffffffff""#, 100).await;
        assert_eq!(none, Vec::<String>::new());
        store.close().await;
    });
}

#[test]
fn columns_of_fields_answer_what_whole_lines_answer() {
    let cases = std::env::var("MILLRACE_LAYOUT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 40, ..Config::default() });
    let result = runner.run(&(lines(), prop::collection::vec(query(), 40)), |(lines, queries)| {
        let _entered = runtime.enter();
        runtime.block_on(async {
            let directory = tempfile::tempdir().expect("a directory");
            let fields = open(directory.path(), LineLayout::Fields, &lines).await;
            let whole = open(directory.path(), LineLayout::Whole, &lines).await;
            for query in &queries {
                for limit in [5, 10_000] {
                    let (got, want) = (answer(&fields, query, limit).await, answer(&whole, query, limit).await);
                    assert_eq!(got, want, "{query}");
                }
            }
            fields.close().await;
            whole.close().await;
        });
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
