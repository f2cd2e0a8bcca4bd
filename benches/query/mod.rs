//! What a line costs in each stage of a pipeline, and what a sample costs in a range aggregation.

use divan::counter::{BytesCount, ItemsCount};
use millrace::files::fields::LineLayout;
use millrace::files::write::encode;
use millrace::ingest::shard::rows_of;
use millrace::logql::ast::{Expr, RangeOp};
use millrace::query::matrix::Steps;
use millrace::query::panes::{RangeState, Windows};
use millrace::query::row::{Output, RowPipeline, RowState, StreamBase};
use millrace::streams::TenantStreams;
use millrace::types::batch::LogBatchBuilder;
use millrace::types::ids::{IngestSeq, TenantId};
use millrace::types::labels::Labels;

const NOW: i64 = 1_768_471_200_000_000_000;
const LINES: usize = 20_000;
const SAMPLES: usize = 1_000_000;

fn json_lines() -> Vec<String> {
    let line = |at: usize| {
        format!(
            r#"{{"level":"info","event":"http_request","message":"request completed","trace_id":"{:020x}","span_id":"{:016x}","method":"GET","path":"/api/v1/predict","status_code":{},"latency_ms":{}.5,"model_version":"v{}.1.0","user":"user{}@example.com","bytes":{}}}"#,
            at.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            at.wrapping_mul(0xD1B5_4A32_D192_ED03),
            [200, 200, 200, 404, 500][at % 5],
            at % 900,
            at % 4,
            at % 3_000,
            at % 65_536
        )
    };
    (0..LINES).map(line).collect()
}

fn logfmt_lines() -> Vec<String> {
    let line = |at: usize| {
        format!(
            r#"ts=2026-01-15T10:00:00Z level=info msg="request completed" trace={at:016x} method=GET path=/api/v1/predict status={} latency={}ms user=user{}"#,
            [200, 200, 200, 404, 500][at % 5],
            at % 900,
            at % 3_000
        )
    };
    (0..LINES).map(line).collect()
}

/// Runs each line through the pipeline of `text`, as a log query does.
fn through(bencher: divan::Bencher<'_, '_>, text: &str, lines: &[String]) {
    let Ok(Expr::Log(log)) = millrace::logql::parse(&format!(r#"{{app="a"}} {text}"#)) else { panic!("{text}") };
    let pipeline = RowPipeline::compile(&log.stages, Output::Log).expect("compiles");
    let base = StreamBase::new(Labels::from_pairs([("app", "a"), ("env", "prod")]));
    let mut state = RowState::new(NOW);
    let bytes: usize = lines.iter().map(String::len).sum();
    bencher.counter(ItemsCount::new(lines.len())).counter(BytesCount::new(bytes)).bench_local(|| {
        let mut kept = |line: &String| state.run(&pipeline, &base, &[], NOW, line).is_some();
        lines.iter().filter(|line| kept(line)).count()
    });
}

#[divan::bench(args = [
    r#"|= "no such word""#,
    r#"|~ "status_code\":5.*user1[0-9]+@""#,
    r#"|> "<_>status_code<_>""#,
    "| json",
    r#"| json status="status_code", user="user""#,
    r#"| json | status_code >= 500"#,
    r#"| regexp "latency_ms\":(?P<latency>[0-9.]+)""#,
    r#"| pattern "<_>\"user\":\"<user>\"<_>""#,
    r#"| json | line_format "{{.level}} {{.user}} {{.path}}""#,
    r#"| json | line_format "{{ if eq .status_code \"500\" }}{{ .user | upper | trunc 5 }}{{ else }}{{ printf \"%-10s\" .level }}{{ end }}""#,
    r#"| json | label_format who=user, took="{{ mulf .latency_ms 2.0 }}""#,
    "| json | drop trace_id, span_id",
])]
fn json_line(bencher: divan::Bencher<'_, '_>, text: &str) {
    through(bencher, text, &json_lines());
}

#[divan::bench(args = ["| logfmt", r#"| logfmt status="status", user="user""#, "| logfmt | latency > 500ms"])]
fn logfmt_line(bencher: divan::Bencher<'_, '_>, text: &str) {
    through(bencher, text, &logfmt_lines());
}

/// A million samples of 100 series over an hour, a step a minute.
#[divan::bench(args = [
    RangeOp::CountOverTime,
    RangeOp::Rate,
    RangeOp::SumOverTime,
    RangeOp::MaxOverTime,
    RangeOp::StddevOverTime,
    RangeOp::QuantileOverTime,
    RangeOp::RateCounter,
])]
fn range_aggregation(bencher: divan::Bencher<'_, '_>, op: RangeOp) {
    let minute = 60_000_000_000;
    let steps = Steps { start_ns: NOW, step_ns: minute, count: 61 };
    let windows = Windows { steps, range_ns: 5 * minute, offset_ns: 0 };
    let param = (op == RangeOp::QuantileOverTime).then_some(0.99);
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| {
        let mut state = RangeState::new(op, param, &windows, true);
        for at in 0..SAMPLES {
            state.add((at % 100) as u32, NOW + at as i64 * 3_600_000, (at % 900) as f64);
        }
        state.finish().len()
    });
}

/// Rows become a file.
#[divan::bench(args = ["fields", "whole"])]
fn encode_file(bencher: divan::Bencher<'_, '_>, layout: &str) {
    let layout = if layout == "fields" { LineLayout::Fields } else { LineLayout::Whole };
    let (streams, lines) = (TenantStreams::default(), json_lines());
    let mut builder = LogBatchBuilder::default();
    let stream = builder.stream(&Labels::from_pairs([("app", "a")]));
    for (at, line) in lines.iter().enumerate() {
        builder.push(stream, NOW + at as i64, Some("info"), line, []);
    }
    let rows = rows_of(&builder.finish().expect("rows"), &streams).expect("rows");
    let bytes: usize = lines.iter().map(String::len).sum();
    let tenant = TenantId::single();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let rows = std::slice::from_ref(&rows);
        encode(&tenant, &streams, rows, IngestSeq(1), layout, || "bench".to_owned()).expect("encoded").len()
    });
}
