//! The face over an empty store and a sink that remembers: status, headers and bodies as clients see them.

use std::io::Write;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use parking_lot::Mutex;
use tower::ServiceExt;

use super::*;
use crate::catalog::Catalog;
use crate::files::FileIndexes;
use crate::query::EngineLimits;
use crate::receive::door::{PushRefused, PushSink};
use crate::streams::Streams;
use crate::types::batch::LogBatch;
use crate::types::ids::{Lsn, TenantId};
use crate::types::time::UnixNanos;
use crate::types::units::{ByteSize, GoDuration};

const NOW: UnixNanos = UnixNanos(1_768_480_000_000_000_000);

/// Remembers tenants and row counts; refuses when told to.
#[derive(Default)]
struct Sink {
    pushed: Mutex<Vec<(String, usize)>>,
    refuse: Mutex<Option<PushRefused>>,
    flushes: Mutex<usize>,
}

#[async_trait]
impl PushSink for Sink {
    async fn push(&self, tenant: &TenantId, batch: LogBatch) -> Result<(), PushRefused> {
        if let Some(refused) = self.refuse.lock().clone() {
            return Err(refused);
        }
        self.pushed.lock().push((tenant.to_string(), batch.record_batch().num_rows()));
        Ok(())
    }

    async fn flush(&self) -> Result<(), String> {
        *self.flushes.lock() += 1;
        Ok(())
    }
}

struct Face {
    router: Router,
    sink: Arc<Sink>,
    state: AppState,
}

fn face(change: impl FnOnce(&mut Config)) -> Face {
    let mut config = Config::default();
    change(&mut config);
    let clock = Clock::manual(NOW);
    let streams = Arc::new(Streams::default());
    let store = Arc::new(object_store::memory::InMemory::new());
    let indexes = FileIndexes::new(store, object_store::path::Path::default(), streams.clone(), 1 << 20);
    let catalog = Arc::new(Catalog::new(streams, Vec::new(), Lsn(0)));
    let limits = EngineLimits {
        memory_bytes_max: 64 << 20,
        tenant_memory_bytes_max: 0,
        threads: 1,
        timeout: Duration::from_secs(5),

        results_bytes_max: 1 << 20,
        results_time_to_live: Duration::from_secs(60),
    };
    let threads = tokio::runtime::Handle::current();
    let engine = Engine::new(catalog, indexes, limits, clock.clone(), threads).expect("an engine");
    let sink = Arc::new(Sink::default());
    let (limits, metrics) = (LimitsOf::new(config.limits_config.clone()), Arc::new(Metrics::new()));
    let door = Door::new(sink.clone(), limits.clone(), config.door_settings(), metrics.clone(), clock.clone());
    let state = AppState {
        cluster: None,
        derived: None,
        engine,
        access: Access::new(&config.access, clock.clone()).expect("good settings"),
        audit: Audit::off(),
        upkeep: None,
        door,
        limits,
        config: Arc::new(config),
        metrics,
        clock,
        ready: Readiness::default(),
        rules: None,
        log_level: LogLevel::detached(),
        arrivals: Arrivals::default(),
        stopping: CancellationToken::new(),
        started: UnixNanos(0),
    };
    Face { router: router(Shared::new(state.clone())), sink, state }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

impl Face {
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            self.router.clone().oneshot(request.body(body.into()).expect("a request")).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 24).await.expect("a body");
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }
}

fn push_body(lines: usize) -> String {
    let values: Vec<String> = (0..lines).map(|at| format!("[\"{}\",\"line {at}\"]", NOW.0)).collect();
    format!("{{\"streams\":[{{\"stream\":{{\"a\":\"b\"}},\"values\":[{}]}}]}}", values.join(","))
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn what_the_multiplexer_says() {
    let face = face(|_| {});
    let lost = face.get("/loki/api/v1/nope").await;
    assert_eq!((lost.status, lost.body.as_str()), (404, "404 page not found\n"));
    assert_eq!(
        (lost.header("content-type"), lost.header("x-content-type-options")),
        ("text/plain; charset=utf-8", "nosniff")
    );
    let wrong = face.get("/loki/api/v1/push").await;
    assert_eq!((wrong.status, wrong.body.as_str(), wrong.header("allow")), (405, "", "POST"));
    assert_eq!(face.send("DELETE", "/loki/api/v1/query", &[], "").await.status, 405);
}

#[tokio::test]
async fn pages_of_operators() {
    let face = face(|config| config.server.http_listen_port = 3200);
    assert_eq!(face.get("/ready").await.status, 503);
    face.state.ready.set(true);
    let ready = face.get("/ready").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    for method in ["GET", "POST"] {
        assert_eq!(face.send(method, "/flush", &[], "").await.status, 204);
    }
    assert_eq!(*face.sink.flushes.lock(), 2);
    assert!(face.get("/config").await.body.contains("http_listen_port: 3200"));
    assert!(face.get("/config?mode=defaults").await.body.contains("http_listen_port: 3100"));
    assert_eq!(face.get("/config?mode=diff").await.body.trim(), "server:\n  http_listen_port: 3200");
    assert_eq!(face.get("/log_level").await.body, "{\"message\":\"Current log level is info\"}");
    assert_eq!(face.send("POST", "/log_level?log_level=debug", &[], "").await.status, 200);
    assert_eq!(face.send("POST", "/log_level?log_level=loud", &[], "").await.status, 400);
    assert!(face.get("/log_level").await.body.contains("debug"));
    assert!(face.get("/loki/api/v1/status/buildinfo").await.body.contains("+millrace."));
    assert!(face.get("/services").await.body.contains("ingester => Running"));
    let metrics = face.get("/metrics").await.body;
    let expected =
        "loki_request_duration_seconds_count{method=\"GET\",route=\"ready\",status_code=\"503\",ws=\"false\"} 1";
    assert!(metrics.contains(expected), "{metrics}");
}

#[tokio::test]
async fn tenants() {
    let open = face(|_| {});
    assert_eq!(
        open.send("POST", "/loki/api/v1/push", &[JSON, ("x-scope-orgid", "me")], push_body(1)).await.status,
        204
    );
    assert_eq!(*open.sink.pushed.lock(), [("fake".to_owned(), 1)]);
    let closed = face(|config| config.auth_enabled = true);
    let refused = closed.send("POST", "/loki/api/v1/push", &[JSON], push_body(1)).await;
    assert_eq!((refused.status, refused.body.as_str()), (401, "no org id\n"));
    assert_eq!(closed.get("/loki/api/v1/labels").await.status, 401);
    assert_eq!(closed.get("/ready").await.status, 503, "pages of operators need no tenant");
    assert_eq!(
        closed.send("POST", "/loki/api/v1/push", &[JSON, ("x-scope-orgid", "me")], push_body(2)).await.status,
        204
    );
    assert_eq!(*closed.sink.pushed.lock(), [("me".to_owned(), 2)]);
}

#[tokio::test]
async fn pushes() {
    let face = face(|config| {
        config.distributor.max_recv_msg_size = ByteSize(1000);
        config.server.http_server_read_timeout = GoDuration(50_000_000);
    });
    let good = face.send("POST", "/loki/api/v1/push", &[JSON], push_body(3)).await;
    assert_eq!((good.status, good.body.as_str()), (204, ""));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(push_body(200).as_bytes()).expect("in memory");
    let gzip = gzip.finish().expect("in memory");
    assert_eq!(face.send("POST", "/loki/api/v1/push", &[JSON, ("content-encoding", "gzip")], gzip).await.status, 204);
    assert_eq!(*face.sink.pushed.lock(), [("fake".to_owned(), 3), ("fake".to_owned(), 200)]);
    let metrics = face.get("/metrics").await.body;
    assert!(metrics.contains("loki_distributor_lines_received_total{tenant=\"fake\"} 203"), "{metrics}");

    let refusals = |answer: Answer| (answer.status, answer.body);
    let empty = face.send("POST", "/loki/api/v1/push", &[JSON], "{\"streams\": []}").await;
    assert_eq!(refusals(empty), (422, "error at least one valid stream is required for ingestion\n".to_owned()));
    let large = face.send("POST", "/loki/api/v1/push", &[JSON], push_body(200)).await;
    assert_eq!(large.status, 413);
    let pieces = futures::stream::iter(
        push_body(200)
            .into_bytes()
            .chunks(100)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
            .collect::<Vec<_>>(),
    );
    assert_eq!(face.send("POST", "/loki/api/v1/push", &[JSON], Body::from_stream(pieces)).await.status, 413);
    let stalled = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    assert_eq!(face.send("POST", "/loki/api/v1/push", &[JSON], stalled).await.status, 408);
    assert_eq!(face.state.metrics.push_inflight_bytes.get(), 0, "every body gave its bytes back");
}

#[tokio::test]
async fn a_refusing_sink() {
    let face = face(|_| {});
    *face.sink.refuse.lock() = Some(PushRefused { text: "the disk is full".to_owned() });
    let answer = face.send("POST", "/loki/api/v1/push", &[JSON], push_body(1)).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "the disk is full\n"));
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn bodies_in_flight_are_limited() {
    let face = face(|config| config.millrace.push.inflight_bytes_max = ByteSize(4096));
    let answer = face.send("POST", "/loki/api/v1/push", &[JSON], push_body(500)).await;
    assert_eq!(answer.status, 503);
    assert!(face.get("/metrics").await.body.contains("millrace_push_refused_total{reason=\"inflight_bytes\"} 1"));
}

#[tokio::test]
async fn nothing_stored_nothing_found() {
    let face = face(|_| {});
    assert_eq!(face.get("/loki/api/v1/labels").await.body, "{\"status\":\"success\"}");
    assert_eq!(face.get("/loki/api/v1/label/app/values").await.body, "{\"status\":\"success\"}");
    assert_eq!(face.get("/loki/api/v1/label/__stream_shard__/values").await.body, "{\"status\":\"success\"}");
    assert_eq!(face.get("/loki/api/v1/series").await.body, "{\"status\":\"success\",\"data\":[]}");
    assert_eq!(face.get("/loki/api/v1/series?match[]=%7B%20%7D").await.body, "{\"status\":\"success\",\"data\":[]}");
    assert_eq!(face.get("/loki/api/v1/series?match[]=%7Ba!%3D%22b%22%7D").await.status, 200);
    let two = face.get("/loki/api/v1/series?match[]=%7B%7D&match=%7Ba%3D%22b%22%7D").await;
    assert_eq!((two.status, two.body.as_str()), (400, "0 matchers in group: {}"));
    let wrong = face.get("/loki/api/v1/labels?start=abc").await;
    assert_eq!(
        (wrong.status, wrong.body.as_str()),
        (400, "could not parse 'start' parameter: strconv.ParseInt: parsing \"abc\": invalid syntax")
    );
}

#[tokio::test]
async fn queries() {
    let face = face(|_| {});
    let check = async |path: &str, status: u16, body: &str| {
        let answer = face.get(path).await;
        let without_stats = answer.body.split(",\"stats\":").next().unwrap_or("");
        assert_eq!((answer.status, without_stats), (status, body), "{path}");
    };
    check("/loki/api/v1/query?query=vector(1)%2Bvector(1)&time=4000000000&direction=backward", 200,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[4000000000,\"2\"]}]").await;
    check(
        "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D",
        200,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"streams\",\"result\":[]",
    )
    .await;
    check(
        "/loki/api/v1/query?query=%7Ba%3D%22b%22%7D",
        400,
        "log queries are not supported as an instant query type, please change your query to a range query type",
    )
    .await;
    check(
        "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&limit=6000",
        400,
        "max entries limit per query exceeded, limit > max_entries_limit_per_query (6000 > 5000)",
    )
    .await;
    check(
        "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&start=1&end=1768480000",
        400,
        "the query time range exceeds the limit (query length: 491244h26m39s, limit: 30d1h)",
    )
    .await;
    check("/loki/api/v1/query_range", 400, "parse error : syntax error: unexpected $end").await;
    check(
        "/loki/api/v1/index/stats?query=%7Ba%3D%22b%22%7D",
        200,
        "{\"streams\":0,\"chunks\":0,\"bytes\":0,\"entries\":0}",
    )
    .await;
    check(
        "/loki/api/v1/format_query?query=%7Ba%3D%22b%22%7D%7Cjson",
        200,
        "{\"status\":\"success\",\"data\":\"{a=\\\"b\\\"} | json\"}",
    )
    .await;
    let flags = [
        ("x-loki-response-encoding-flags", "categorize-labels"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let flagged = face.send("POST", "/loki/api/v1/query_range", &flags, "query=%7Ba%3D%22b%22%7D").await;
    assert!(flagged.body.contains("\"encodingFlags\":[\"categorize-labels\"],\"result\":[]"), "{}", flagged.body);
    let plan = face.get("/loki/api/v1/query_range?explain=true&query=%7Ba%3D%22b%22%7D").await;
    assert_eq!((plan.status, plan.header("content-type")), (200, "text/plain; charset=utf-8"));
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    struct Bomb;
    #[async_trait]
    impl PushSink for Bomb {
        async fn push(&self, _: &TenantId, _: LogBatch) -> Result<(), PushRefused> {
            panic!("boom")
        }
        async fn flush(&self) -> Result<(), String> {
            panic!("boom")
        }
    }
    let mut face = face(|_| {});
    face.state.door.sink = Arc::new(Bomb);
    face.router = router(Shared::new(face.state.clone()));
    assert_eq!(face.get("/flush").await.status, 500);
    let metrics = face.get("/metrics").await.body;
    assert!(metrics.contains("loki_panic_total 1"), "{metrics}");
    assert!(metrics.contains("route=\"flush\",status_code=\"500\""), "{metrics}");
}

#[tokio::test]
async fn large_answers_are_compressed_when_asked() {
    let face = face(|_| {});
    let gzip = [("accept-encoding", "gzip")];
    assert_eq!(face.send("GET", "/metrics", &gzip, "").await.header("content-encoding"), "gzip");
    assert_eq!(face.send("GET", "/services", &gzip, "").await.header("content-encoding"), "");
    assert_eq!(face.get("/metrics").await.header("content-encoding"), "");
}

#[tokio::test]
async fn sql_in_four_forms() {
    let face = face(|_| {});
    let ask = async |accept: &'static str| {
        face.send(
            "POST",
            "/api/v1/sql",
            &[("accept", accept)],
            "select 1 as a, 'x' as b union all select 2, null order by a",
        )
        .await
    };
    let json = ask("application/json").await;
    assert_eq!((json.status, json.body.as_str()), (200, "[{\"a\":1,\"b\":\"x\"},{\"a\":2,\"b\":null}]"));
    assert_eq!(ask("application/x-ndjson").await.body, "{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":null}\n");
    let csv = ask("text/csv;q=0.9").await;
    assert_eq!((csv.body.as_str(), csv.header("content-type")), ("a,b\n1,x\n2,\n", "text/csv; charset=utf-8"));
    assert_eq!(
        ask("application/vnd.apache.arrow.stream").await.header("content-type"),
        "application/vnd.apache.arrow.stream"
    );
    let nested = face
        .send("POST", "/api/v1/sql?query=select%20%5B1,2%5D%20as%20l%20where%20false", &[("accept", "text/csv")], "")
        .await;
    assert_eq!((nested.status, nested.body.as_str()), (200, "l\n"));
    let wrong = face.get("/api/v1/sql?sql=selec").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.header("content-type").starts_with("text/plain"));
    assert_eq!(face.get("/api/v1/sql").await.status, 400);
    assert_eq!(face.send("POST", "/api/v1/sql", &[], "drop table logs").await.status, 400);
}
