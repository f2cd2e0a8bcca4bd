//! Remote write of the real binary to a small receiver: what arrives, retries, refusals, `kill -9`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use millrace::remote_write::proto;
use millrace::types::labels::Labels;
use millrace::types::sample::Sample;
use millrace::types::time::UnixNanos;

use crate::harness::Server;
use crate::promql::{RECEIVER_ON, write};

/// How long samples may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);
/// 2026-01-15T10:00:00Z.
const START_S: i64 = 1_768_471_200;

/// One request that was answered with 2xx.
#[derive(Debug, Clone)]
struct Received {
    headers: Vec<(String, String)>,
    samples: Vec<Sample>,
}

/// Takes requests and answers them as it is told.
struct Receiver {
    url: String,
    /// What the next requests are answered with.
    status: Arc<AtomicU16>,
    received: Arc<std::sync::Mutex<Vec<Received>>>,
    refused: Arc<AtomicU16>,
}

impl Receiver {
    fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/api/v1/write", listener.local_addr().expect("bound"));
        let receiver = Receiver {
            url,
            status: Arc::new(AtomicU16::new(status)),
            received: Arc::default(),
            refused: Arc::default(),
        };
        let (status, received, refused) =
            (receiver.status.clone(), receiver.received.clone(), receiver.refused.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (status, received, refused) = (status.clone(), received.clone(), refused.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(connection.try_clone().expect("cloned"));
                    while let Some(request) = read_request(&mut reader) {
                        let code = status.load(Ordering::SeqCst);
                        if (200..300).contains(&code) {
                            received.lock().expect("no panics").push(request);
                        } else {
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                        answer(&connection, code);
                    }
                });
            }
        });
        receiver
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Times and values that arrived, each once.
    fn arrived(&self) -> BTreeSet<(i64, u64)> {
        let received = self.received.lock().expect("no panics");
        let samples = received.iter().flat_map(|request| request.samples.iter());
        samples.map(|sample| (sample.time.0, sample.value.to_bits())).collect()
    }

    fn wait_for(&self, samples: &[Sample]) {
        let expected: BTreeSet<_> = samples.iter().map(|one| (one.time.0, one.value.to_bits())).collect();
        let started = Instant::now();
        while !expected.is_subset(&self.arrived()) {
            assert!(started.elapsed() < PATIENCE, "{} of {} arrived", self.arrived().len(), expected.len());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut headers = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let text = line.trim_end();
        if text.is_empty() {
            break;
        }
        if let Some((name, value)) = text.split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let samples = proto::decode(&body).expect("a write request");
    Some(Received { headers, samples })
}

fn answer(mut connection: &TcpStream, status: u16) {
    let _ = write!(connection, "HTTP/1.1 {status} Said\r\nContent-Length: 3\r\n\r\nno\n");
}

fn config(receiver: &Receiver) -> String {
    format!(
        "auth_enabled: true\n{RECEIVER_ON}ruler:\n  remote_write:\n    enabled: true\n    clients:\n      main:\n        url: {}\n        headers:\n          X-Team: logs\n          X-Scope-OrgID: somebody\n        basic_auth:\n          username: mill\n          password: race\n        queue_config:\n          max_samples_per_send: 7\n          batch_send_deadline: 50ms\n          max_backoff: 200ms\n",
        receiver.url
    )
}

fn start(directory: &std::path::Path, receiver: &Receiver) -> Server {
    let file = directory.join("config.yaml");
    std::fs::write(&file, config(receiver)).expect("written");
    Server::start(&directory.join("data"), Some(&file), &[])
}

fn samples(from: i64, count: i64) -> Vec<Sample> {
    let labels = Labels::from_pairs([("__name__", "log:error_rate:1m"), ("service", "gateway")]);
    let sample = |at: i64| Sample {
        labels: labels.clone(),
        time: UnixNanos((START_S + at) * 1_000_000_000),
        value: at as f64 / 4.0,
    };
    (from..from + count).map(sample).collect()
}

#[test]
fn samples_arrive_in_batches_with_what_was_configured() {
    let directory = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(204);
    let server = start(directory.path(), &receiver);
    write(&server, Some("one"), &samples(0, 20));
    write(&server, Some("two"), &samples(100, 1));
    receiver.wait_for(&[samples(0, 20), samples(100, 1)].concat());
    let received = receiver.received.lock().expect("no panics").clone();
    assert!(received.iter().all(|request| request.samples.len() <= 7), "{received:?}");
    for request in &received {
        let header = |name: &str| {
            request
                .headers
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
                .collect::<Vec<_>>()
        };
        let tenant = if request.samples[0].time.0 < (START_S + 100) * 1_000_000_000 { "one" } else { "two" };
        assert_eq!(header("x-scope-orgid"), [tenant]);
        assert_eq!(header("x-team"), ["logs"]);
        assert_eq!(header("authorization"), ["Basic bWlsbDpyYWNl"]);
        assert_eq!(header("content-encoding"), ["snappy"]);
        assert_eq!(header("content-type"), ["application/x-protobuf"]);
        assert_eq!(header("x-prometheus-remote-write-version"), ["0.1.0"]);
        assert!(header("user-agent")[0].starts_with("millrace/"));
    }
    let times: Vec<i64> = received.iter().flat_map(|request| request.samples.iter().map(|one| one.time.0)).collect();
    assert!(times.is_sorted(), "one after the other keeps the order");
}

#[test]
fn failures_are_tried_again_and_refusals_are_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(503);
    let server = start(directory.path(), &receiver);
    write(&server, Some("one"), &samples(0, 3));
    for status in [503, 429, 500] {
        receiver.set(status);
        let before = receiver.refused.load(Ordering::SeqCst);
        let started = Instant::now();
        while receiver.refused.load(Ordering::SeqCst) < before + 2 {
            assert!(started.elapsed() < PATIENCE, "not tried again after {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    receiver.set(204);
    receiver.wait_for(&samples(0, 3));
    // For good: counted, and the next samples go on.
    receiver.set(400);
    write(&server, Some("one"), &samples(10, 2));
    let started = Instant::now();
    let failed = "millrace_remote_write_samples_total{client=\"main\",outcome=\"failed\"} 2";
    while !server.get("/metrics", &[]).text().contains(failed) {
        assert!(started.elapsed() < PATIENCE, "{}", server.get("/metrics", &[]).text());
        std::thread::sleep(Duration::from_millis(20));
    }
    receiver.set(204);
    write(&server, Some("one"), &samples(20, 2));
    receiver.wait_for(&samples(20, 2));
    assert_eq!(receiver.arrived().len(), 5);
}

#[test]
fn kill_nine_loses_nothing_that_was_recorded() {
    let directory = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start(500);
    let mut all = Vec::new();
    for round in 0..3 {
        let server = start(directory.path(), &receiver);
        let new = samples(round * 100, 30);
        write(&server, Some("one"), &new);
        all.extend(new);
        if round == 1 {
            // Some of them are on their way when it is killed.
            receiver.set(204);
            std::thread::sleep(Duration::from_millis(120));
            receiver.set(500);
        }
        server.kill();
    }
    receiver.set(204);
    let server = start(directory.path(), &receiver);
    receiver.wait_for(&all);
    assert_eq!(receiver.arrived().len(), all.len(), "nothing that was never recorded");
    server.stop();
}
