//! Promtail's stages over lines like the exercise's: alone, and within a push.
//!
//! Lines a second on one core; what the agent does beside it, reading and sending, is `docs/performance.md`'s to tell.

use divan::counter::ItemsCount;
use millrace::ingest::gate::TenantGate;
use millrace::ingest::limits::Limits;
use millrace::pipeline::{Context, Entry, LabelSet, Origin, Pipeline, PipelineMetrics, Tools, yaml};
use millrace::receive::decode::{BodyLimits, decode_push};
use millrace::types::time::Clock;
use serde_json::Value;

use crate::{LINES, NOW, body, request};

/// What the issue names: json, timestamp, labels, replace.
const FOUR: &str = r"
- json: {expressions: {timestamp: time, level: level, message: message, trace_id: trace_id, user: user}}
- timestamp: {source: timestamp, format: RFC3339Nano}
- labels: {level: }
- replace: {expression: '(?P<email>[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,})', replace: '***REDACTED_EMAIL***'}";

fn exercise() -> Value {
    let text = include_str!("../../tests/configs/exercise-promtail.yaml");
    yaml::parse(text).expect("YAML")["scrape_configs"][0]["pipeline_stages"].clone()
}

fn entries() -> Vec<Entry> {
    let labels = LabelSet::from_pairs(Origin::Operator, [("service", "gateway"), ("job", "docker")]);
    let line = |at: usize| {
        let time = chrono::DateTime::from_timestamp_nanos(NOW.0 + at as i64).to_rfc3339();
        format!(
            r#"{{"time":"{time}","level":"info","logger":"app","event":"http_request","message":"request completed","trace_id":"{at:020x}","span_id":"{at:016x}","method":"GET","path":"/api/v1/predict","status_code":200,"latency_ms":{}.5,"user_id":"user{}@example.com"}}"#,
            at % 900,
            at % 3000
        )
    };
    (0..LINES).map(|at| Entry::new(labels.clone(), NOW.0, line(at))).collect()
}

fn run(bencher: divan::Bencher<'_, '_>, stages: &Value) {
    let metrics = PipelineMetrics::new(Clock::system());
    let read_file = |_: &str| Err(std::io::Error::other("no stage reads a file"));
    let mut tools = Tools::new("bench", &metrics, &read_file, 1);
    let mut pipeline = Pipeline::build(stages, &mut tools).expect("good");
    bencher.counter(ItemsCount::new(LINES)).with_inputs(entries).bench_local_values(|mut batch| {
        pipeline.run(&mut batch, &mut Context::new(NOW.0));
        batch
    });
}

#[divan::bench]
fn four_stages(bencher: divan::Bencher<'_, '_>) {
    run(bencher, &yaml::parse(FOUR).expect("YAML"));
}

#[divan::bench]
fn exercises_pipeline(bencher: divan::Bencher<'_, '_>) {
    run(bencher, &exercise());
}

fn push(bencher: divan::Bencher<'_, '_>, stages: Value) {
    let limits = Limits { ingestion_rate_mb: 0.0, pipeline_stages: stages, ..Limits::default() };
    let (body, gate) = (body(), TenantGate::alone(limits, NOW));
    bencher.counter(ItemsCount::new(LINES)).bench(|| decode_push(&request(&body), &gate, &BodyLimits::default()));
}

#[divan::bench]
fn push_without_stages(bencher: divan::Bencher<'_, '_>) {
    push(bencher, Value::Null);
}

#[divan::bench]
fn push_with_four_stages(bencher: divan::Bencher<'_, '_>) {
    push(bencher, yaml::parse(FOUR).expect("YAML"));
}
