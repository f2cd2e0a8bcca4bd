//! Continuous operators: what a line costs on its way through one rule.

use std::sync::Arc;

use arrow::array::RecordBatch;
use divan::counter::ItemsCount;
use millrace::files::fields::Narrower;
use millrace::flow::{RuleOperator, Timing, compile};
use millrace::ingest::shard::rows_of;
use millrace::logql::ast::Expr;
use millrace::streams::TenantStreams;
use millrace::types::batch::LogBatchBuilder;
use millrace::types::labels::Labels;
use millrace::types::rows::Rows;
use millrace::types::time::UnixNanos;

const NOW: i64 = 1_768_471_200_000_000_000;
const LINES: usize = 20_000;
const STREAMS: usize = 60;
const TIMING: Timing =
    Timing { interval_ns: 60_000_000_000, query_offset_ns: 0, lateness_ns: 300_000_000_000, between: false };

fn batch(streams: &TenantStreams) -> RecordBatch {
    let mut builder = LogBatchBuilder::default();
    let of: Vec<_> = (0..STREAMS)
        .map(|at| {
            let labels = [("service", format!("s{}", at % 10)), ("pod", format!("p{at}")), ("env", "prod".to_owned())];
            builder.stream(&Labels::from_pairs(labels))
        })
        .collect();
    for at in 0..LINES {
        let level = if at % 20 == 0 { "error" } else { "info" };
        let line = format!(
            r#"{{"level":"{level}","event":"http_request","message":"request completed","trace_id":"{at:020x}","method":"GET","path":"/api/v1/predict","status_code":{},"latency_ms":{}.5}}"#,
            if at % 20 == 0 { 500 } else { 200 },
            at % 900
        );
        // Runs of a stream, as pushes bring them.
        builder.push(of[at / 100 % STREAMS], NOW + at as i64 * 1_000_000, Some(level), &line, []);
    }
    rows_of(&builder.finish().expect("rows"), streams).expect("rows")
}

fn operator(text: &str, streams: &Arc<TenantStreams>, between: bool) -> RuleOperator {
    let Ok(Expr::Metric(expr)) = millrace::logql::parse(text) else { panic!("{text} is a metric query") };
    compile(&Arc::new(expr), streams, Timing { between, ..TIMING }, UnixNanos(NOW)).expect("incremental")
}

fn through(bencher: divan::Bencher<'_, '_>, text: &str) {
    let streams = Arc::new(TenantStreams::default());
    let batch = batch(&streams);
    let mut operator = operator(text, &streams, false);
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| operator.on_batch(&batch, None).expect("rows are read"));
}

#[divan::bench]
fn count_by_stream_label(bencher: divan::Bencher<'_, '_>) {
    through(bencher, r#"sum by (service) (rate({env="prod"}[5m]))"#);
}

#[divan::bench]
fn filter_and_count_by_label(bencher: divan::Bencher<'_, '_>) {
    through(bencher, r#"sum by (service) (count_over_time({env="prod"} |= "error" [1m]))"#);
}

#[divan::bench]
fn json_filter_and_count_by_label(bencher: divan::Bencher<'_, '_>) {
    through(bencher, r#"sum by (service) (rate({env="prod"} | json | level="error" [1m]))"#);
}

#[divan::bench]
fn json_quantile(bencher: divan::Bencher<'_, '_>) {
    through(bencher, r#"quantile_over_time(0.99, {env="prod"} | json | unwrap latency_ms [5m]) by (service)"#);
}

/// Rules that read a few members of each line: from whole lines, or from lines narrowed once for all of them.
#[divan::bench(args = [false, true])]
fn six_json_rules(bencher: divan::Bencher<'_, '_>, is_narrowed: bool) {
    let streams = Arc::new(TenantStreams::default());
    let batch = batch(&streams);
    let mut operators: Vec<RuleOperator> = [
        r#"sum by (service) (rate({env="prod"} | json | level="error" [1m]))"#,
        r#"sum by (status_code) (count_over_time({env="prod"} | json [1m]))"#,
        r#"sum(count_over_time({env="prod"} | json | status_code >= 500 [5m]))"#,
        r#"avg_over_time({env="prod"} | json | unwrap latency_ms [5m]) by (service)"#,
        r#"max_over_time({env="prod"} | json latency="latency_ms" | unwrap latency [5m]) by (pod)"#,
        r#"sum by (path) (rate({env="prod"} | json | method="GET" [1m]))"#,
    ]
    .iter()
    .map(|text| operator(text, &streams, false))
    .collect();
    let members = operators.iter().flat_map(RuleOperator::leaves).filter_map(|leaf| leaf.members().cloned());
    let mut narrower = Narrower::new(members.collect());
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        let rows = Rows::of(&batch);
        let lines = rows.line.filter(|_| is_narrowed);
        let narrowed = lines.map(|lines| narrower.narrow(lines, rows.len(), |_| true).expect("lines"));
        let rows = Rows { narrowed: narrowed.as_ref(), ..rows };
        for operator in &mut operators {
            operator.on_rows(&rows, None).expect("rows are read");
        }
    });
}

#[divan::bench]
fn nothing_selected(bencher: divan::Bencher<'_, '_>) {
    through(bencher, r#"sum(rate({env="other"}[5m]))"#);
}

/// An alert over five minutes with a second between evaluations.
#[divan::bench]
fn evaluate_an_alert(bencher: divan::Bencher<'_, '_>) {
    let streams = Arc::new(TenantStreams::default());
    let batch = batch(&streams);
    let mut operator = operator(r#"sum by (service) (rate({env="prod"}[5m])) > 1"#, &streams, true);
    operator.on_batch(&batch, None).expect("rows are read");
    let at = UnixNanos(NOW + 20_000_000_000);
    bencher.bench_local(|| operator.evaluate(at).expect("a vector"));
}
