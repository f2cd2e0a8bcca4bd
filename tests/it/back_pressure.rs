//! A store that stands still, and tenants that ask too much: what comes is bounded, refused clearly, and goes on by
//! itself; nothing acknowledged is lost, nothing is there twice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::broker::Broker;
use crate::harness::{Reply, Server, repository};
use crate::kafka::{check_distinct, count as count_records, lines, wait_for};
use crate::s3::{ACCESS_KEY, Asked, Fault, Proxy, S3, SECRET_KEY};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
/// How long a put of the standing store takes; the head is full long before.
const STANDSTILL: Duration = Duration::from_secs(15);
/// How long it may take until it goes on, on a busy machine in a debug build.
const RECOVERY_WAIT: Duration = Duration::from_secs(90);
/// What the process may need beyond the bounds of its queues: allocator, decoders, connections, a debug build.
const SLACK_BYTES: usize = 96 << 20;

fn config(directory: &Path, endpoint: &str, flush: &str, more: &str) -> PathBuf {
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let own = format!(
        "distributor:\n  max_recv_msg_size: 2MB\nmillrace:\n  table:\n    url: s3://logs/a/table\n    options: {{aws_endpoint: '{endpoint}', aws_access_key_id: {ACCESS_KEY}, aws_secret_access_key: {SECRET_KEY}}}\n    request_timeout: 60s\n    retry_timeout: 60s\n  push:\n    inflight_bytes_max: 8MB\n    tenant_inflight_bytes_max: 8MB\n  flush:\n    max_age: 1s\n    max_bytes: {flush}\n{more}"
    );
    let path = directory.join("config.yaml");
    std::fs::write(&path, format!("{golden}\n{own}")).expect("written");
    path
}

/// From now on files are written slowly; reading goes on.
fn stand_still(proxy: &Proxy) {
    let is_file = |asked: &Asked<'_>| asked.method == "PUT" && !asked.is_conditional;
    proxy.faults(move |asked| if is_file(asked) { Fault::Slow(STANDSTILL) } else { Fault::None });
}

const PUSHERS: usize = 12;
const PUSHES: usize = 10;
const LINES_A_PUSH: usize = 1_000;

/// About 300 KB.
fn body(pusher: usize, push: usize) -> Vec<u8> {
    let values: Vec<_> = (0..LINES_A_PUSH)
        .map(|line| {
            let at = (pusher * PUSHES + push) * LINES_A_PUSH + line;
            json!([
                (START_S as usize * 1_000_000_000 + at * 1_000).to_string(),
                format!("line {at} {}", "x".repeat(240))
            ])
        })
        .collect();
    json!({"streams": [{"stream": {"service": "slow", "pusher": pusher.to_string()}, "values": values}]})
        .to_string()
        .into_bytes()
}

/// Pushes as a patient client does, again and again; answers how often it was refused.
fn push_patiently(server: &Server, headers: &[(&str, &str)], body: &[u8]) -> usize {
    let started = Instant::now();
    for refused in 0.. {
        let (answer, said) = server.post_full("/loki/api/v1/push", headers, body);
        if answer.status == 204 {
            return refused;
        }
        assert!([429, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
        let wait = said.get("Retry-After").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        assert!(wait.is_some_and(|seconds| seconds >= 1), "{} without Retry-After: {said:?}", answer.status);
        assert!(started.elapsed() < RECOVERY_WAIT, "it does not recover: {}", answer.text());
        std::thread::sleep(Duration::from_millis(200));
    }
    unreachable!("the loop has no end")
}

#[test]
fn a_store_that_stands_still_is_waited_for_with_bounded_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    let config = config(directory.path(), &proxy.endpoint, "1MB", "");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    let json_type = [("Content-Type", "application/json")];
    push_patiently(&server, &json_type, &body(PUSHERS, 0));
    server.flush();
    stand_still(&proxy);
    let before = server.rss_bytes();
    let (refused, most, most_head) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                most.fetch_max(server.rss_bytes(), Ordering::SeqCst);
                most_head.fetch_max(server.metric("millrace_head_bytes ") as usize, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|pusher| {
                let (server, refused) = (&server, &refused);
                scope.spawn(move || {
                    for push in 0..PUSHES {
                        refused.fetch_add(push_patiently(server, &json_type, &body(pusher, push)), Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let started = Instant::now();
        while refused.load(Ordering::SeqCst) == 0 && server.metric("millrace_push_inflight_bytes ") < 1.0 {
            assert!(started.elapsed() < RECOVERY_WAIT, "nobody waits");
            std::thread::sleep(Duration::from_millis(20));
        }
        // What is there can be asked for meanwhile.
        assert!(count(&server) >= LINES_A_PUSH);
        std::thread::sleep(STANDSTILL);
        done.store(true, Ordering::SeqCst);
        watching.join().expect("watched");
        proxy.faults(|_| Fault::None);
        for pusher in pushers {
            pusher.join().expect("it pushed everything");
        }
    });
    let all = (PUSHERS * PUSHES + 1) * LINES_A_PUSH;
    assert_eq!(count(&server), all, "every line once");
    assert!(refused.load(Ordering::SeqCst) > 0, "nothing was refused: the store did not stand still");
    // Three heads, and what was in flight when there was room.
    let head_most = (3 << 20) + (8 << 20);
    let (most, most_head) = (most.load(Ordering::SeqCst), most_head.load(Ordering::SeqCst));
    assert!(most_head < head_most, "{most_head} bytes in heads");
    assert!(most < before + head_most + SLACK_BYTES, "{before} bytes before, {most} at most");
    server.flush();
    server.kill();
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    assert_eq!(count(&server), all, "every line once after a restart");
}

fn count(server: &Server) -> usize {
    server.number(r#"sum(count_over_time({service="slow"}[1h]))"#, START_S + 1800) as usize
}

#[test]
fn kafka_waits_for_a_store_that_stands_still_and_keeps_its_partitions() {
    let Some(broker) = Broker::start() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    // A member that does not poll for ten seconds would lose its partitions.
    let kafka = format!(
        "kafka:\n  brokers: [\"{}\"]\n  session_timeout: 10s\n  fetch_bytes_max: 1MB\n  properties: {{max.poll.interval.ms: \"10000\"}}\n  topics:\n    - {{topic: numbers, format: json, labels: {{fields: {{service: \"\", part: \"\"}}}}, timestamp: {{field: ts}}}}\n",
        broker.address
    );
    let config = config(directory.path(), &proxy.endpoint, "256KB", &kafka);
    broker.produce("numbers", &lines(0, 100), &[]);
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    wait_for(&server, 100);
    server.flush();
    stand_still(&proxy);
    const RECORDS: usize = 150_000;
    broker.produce("numbers", &lines(100, RECORDS), &[]);
    let started = Instant::now();
    while server.metric("millrace_kafka_paused ") < 0.5 {
        assert!(started.elapsed() < RECOVERY_WAIT, "it does not pause");
        std::thread::sleep(Duration::from_millis(20));
    }
    let rebalances = rebalances(&server);
    let consumed = || server.metric("millrace_kafka_records_total{topic=\"numbers\"}") as usize;
    std::thread::sleep(Duration::from_secs(2));
    let (at_pause, before) = (consumed(), server.rss_bytes());
    let lag: f64 = (0..3).map(|at| lag_of(&server, at)).sum();
    assert!(lag > 0.0, "no lag is told while {at_pause} of {RECORDS} are read");
    assert!(at_pause < RECORDS / 2, "{at_pause} records were read before it paused");
    assert!(count_records(&server) >= 100);
    std::thread::sleep(Duration::from_secs(10));
    assert!(consumed() <= at_pause + 20_000, "it goes on reading while it is paused");
    assert!(server.rss_bytes() < before + SLACK_BYTES, "memory grows while it waits");
    proxy.faults(|_| Fault::None);
    wait_for(&server, RECORDS);
    check_distinct(&server, RECORDS);
    assert_eq!(self::rebalances(&server), rebalances, "it lost its partitions while it waited");
    assert!(server.metric("millrace_kafka_paused ") < 0.5);
}

/// Records of a partition that wait.
fn lag_of(server: &Server, partition: usize) -> f64 {
    let text = server.get("/metrics", &[]).text();
    let series = format!("millrace_kafka_lag_records{{partition=\"{partition}\",topic=\"numbers\"}}");
    text.lines().find_map(|line| line.strip_prefix(&series)?.trim().parse().ok()).unwrap_or(0.0)
}

/// How often partitions came and went, by kind.
fn rebalances(server: &Server) -> Vec<String> {
    let text = server.get("/metrics", &[]).text();
    text.lines().filter(|line| line.starts_with("millrace_kafka_rebalances_total{")).map(str::to_owned).collect()
}

fn push_as(server: &Server, tenant: &str, number: usize, lines: usize) -> (Reply, ureq::http::HeaderMap) {
    let values: Vec<_> = (0..lines)
        .map(|line| {
            let at = number * lines + line;
            json!([
                (START_S as usize * 1_000_000_000 + at * 1_000).to_string(),
                format!("line {at} {}", "y".repeat(80))
            ])
        })
        .collect();
    let body = json!({"streams": [{"stream": {"service": tenant}, "values": values}]}).to_string();
    server.post_full(
        "/loki/api/v1/push",
        &[("Content-Type", "application/json"), ("X-Scope-OrgID", tenant)],
        body.as_bytes(),
    )
}

#[test]
fn a_tenant_over_its_rate_or_slow_to_send_holds_up_no_other() {
    const CALM_PUSHES: usize = 40;
    const SLOW_UPLOADS: usize = 12;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let overrides = directory.path().join("overrides.yaml");
    let limits = "overrides:\n  greedy: {ingestion_rate_mb: 0.2, ingestion_burst_size_mb: 0.2}\n";
    std::fs::write(&overrides, limits).expect("written");
    let path = directory.path().join("config.yaml");
    let text = format!(
        "auth_enabled: true\nserver: {{http_listen_address: 127.0.0.1}}\nlimits_config: {{reject_old_samples: false}}\nruntime_config: {{file: {}}}\ndistributor: {{max_recv_msg_size: 2MB}}\nmillrace: {{push: {{inflight_bytes_max: 16MB, tenant_inflight_bytes_max: 8MB}}}}\n",
        overrides.display()
    );
    std::fs::write(&path, text).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&path), &[]);
    // Uploads that announce a megabyte and send a byte now and then: no more than the tenant's share is held.
    let uploads: Vec<TcpStream> = (0..SLOW_UPLOADS).map(|_| begin_upload(&server, "slow", 1 << 20)).collect();
    let started = Instant::now();
    while server.metric("millrace_push_inflight_bytes ") < (7 << 20) as f64 {
        assert!(started.elapsed() < RECOVERY_WAIT, "the uploads do not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (refused, headers) = push_as(&server, "slow", 0, 10_000);
    assert!(refused.status == 503 && refused.text().contains("of 'slow' in flight"), "{}", refused.text());
    assert!(headers.contains_key("Retry-After"), "{headers:?}");
    let (stop, limited) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for greedy in 0..3 {
            let (server, stop, limited) = (&server, &stop, &limited);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let (answer, headers) = push_as(server, "greedy", greedy * 1_000_000 + number, 500);
                    assert!([204, 429].contains(&answer.status), "{} {}", answer.status, answer.text());
                    if answer.status == 429 {
                        assert!(answer.text().contains("ingestion rate limit exceeded for user greedy"));
                        let wait =
                            headers.get("Retry-After").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
                        assert!(wait.is_some_and(|seconds| seconds >= 1), "{headers:?}");
                        limited.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for number in 0..CALM_PUSHES {
            let started = Instant::now();
            let (answer, _) = push_as(&server, "calm", number, 100);
            assert_eq!(answer.status, 204, "{}", answer.text());
            assert!(started.elapsed() < Duration::from_secs(5), "a calm tenant waited {:?}", started.elapsed());
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(limited.load(Ordering::SeqCst) > 0, "nothing was over its rate");
    drop(uploads);
    // Both are served again by themselves.
    for tenant in ["slow", "greedy"] {
        let started = Instant::now();
        while push_as(&server, tenant, 9_000_000, 100).0.status != 204 {
            assert!(started.elapsed() < RECOVERY_WAIT, "{tenant} is not served again");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let query = [("query", r#"sum(count_over_time({service="calm"}[1h]))"#), ("time", "1768473000")];
    let answer = server.get_with("/loki/api/v1/query", &query, &[("X-Scope-OrgID", "calm")]).json();
    assert_eq!(answer["data"]["result"][0]["value"][1], (CALM_PUSHES * 100).to_string());
    assert!(server.metric("millrace_push_refused_total{reason=\"tenant_inflight_bytes\"}") >= 1.0);
    assert!(server.metric("loki_discarded_samples_total{reason=\"rate_limited\",tenant=\"greedy\"}") >= 500.0);
}

/// Sends a head and one byte of a body.
fn begin_upload(server: &Server, tenant: &str, bytes: usize) -> TcpStream {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = format!(
        "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Scope-OrgID: {tenant}\r\nContent-Length: {bytes}\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.set_read_timeout(Some(Duration::from_millis(1))).expect("set");
    let _ = stream.read(&mut [0; 1]);
    stream
}
