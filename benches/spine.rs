//! The hot path piece by piece: decode a push, log it, scan it back.
//!
//! `cargo bench --bench spine`; figures and their ratios are in `docs/performance.md`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use divan::counter::BytesCount;
use millrace::ingest::gate::TenantGate;
use millrace::ingest::limits::Limits;
use millrace::receive::decode::{BodyLimits, PushRequest, decode_push};
use millrace::types::ids::{Lsn, TenantId};
use millrace::types::time::UnixNanos;
use millrace::wal::{DirectoryLock, LogEnd, Wal, WalConfig};

const NOW: UnixNanos = UnixNanos(1_768_471_200_000_000_000);
const LINES: usize = 3_000;

mod flow;
mod query;
mod stages;

fn main() {
    divan::main();
}

fn body() -> bytes::Bytes {
    let values: Vec<_> = (0..LINES)
        .map(|at| {
            let line = format!(r#"{{"level":"info","event":"http_request","message":"request completed","trace_id":"{at:020x}","method":"GET","path":"/api/v1/predict","status_code":200,"latency_ms":{}.5,"user":"user{}@example.com"}}"#, at % 900, at % 3000);
            serde_json::json!([(NOW.0 + at as i64).to_string(), line])
        })
        .collect();
    serde_json::json!({"streams": [{"stream": {"service": "gateway", "pod": "a"}, "values": values}]})
        .to_string()
        .into()
}

fn request(body: &bytes::Bytes) -> PushRequest<'static> {
    PushRequest { content_type: Some("application/json"), content_encoding: None, body: body.clone(), legacy: false }
}

#[divan::bench]
fn decode_json(bencher: divan::Bencher<'_, '_>) {
    let (body, gate) = (body(), TenantGate::alone(Limits { ingestion_rate_mb: 0.0, ..Limits::default() }, NOW));
    bencher.counter(BytesCount::new(body.len())).bench(|| decode_push(&request(&body), &gate, &BodyLimits::default()));
}

#[divan::bench]
fn encode_log_record(bencher: divan::Bencher<'_, '_>) {
    let body = body();
    let outcome = decode_push(&request(&body), &TenantGate::alone(Limits::default(), NOW), &BodyLimits::default());
    let (batch, tenant) = (outcome.batch.expect("rows"), TenantId::single());
    bencher.counter(BytesCount::new(outcome.bytes)).bench(|| {
        let mut payload = Vec::new();
        batch.encode(&tenant, &mut payload).expect("encoded");
        payload
    });
}

#[divan::bench]
fn wal_append_megabyte(bencher: divan::Bencher<'_, '_>) {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let end = LogEnd { last: Lsn(0), records: 0, torn_bytes: 0 };
    let lock = DirectoryLock::take(directory.path()).expect("free");
    let wal = Wal::open(lock, directory.path(), WalConfig::default(), end, |_: Vec<(Lsn, ())>| {}).expect("opened");
    let payload = bytes::Bytes::from(vec![7_u8; 1 << 20]);
    bencher.counter(BytesCount::new(payload.len())).bench_local(|| runtime.block_on(wal.append(payload.clone(), ())));
}
