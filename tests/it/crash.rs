//! Ingest, compaction, retention and deletes at once, killed at named points and at random ones: nothing acknowledged
//! is lost, nothing is there twice, nothing deleted comes back.
//!
//! `MILLRACE_CRASH_ROUNDS` says how many kills; by default each point once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::compaction::configured;
use crate::harness::Server;

/// Seconds; the golden configuration accepts any age, and the retention of `gone` none.
const START_S: i64 = 1_768_471_200;
const LINES_A_PUSH: usize = 20;
/// Pushes of one colour; a delete takes a whole colour.
const PUSHES_A_COLOUR: usize = 6;
/// Where it is killed; none: at some moment, from outside.
const POINTS: &[Option<&str>] = &[
    Some("flush.written"),
    None,
    Some("flush.committed"),
    Some("store.put@7"),
    Some("store.named@9"),
    Some("merge.written"),
    None,
    Some("swap.commit@2"),
    Some("swap.committed"),
    Some("delete.pending"),
    Some("delete.swapped"),
    Some("delete.processed"),
    Some("ledger.put@2"),
    Some("ledger.written"),
    Some("store.put=full@6-9"),
    None,
];

fn config(directory: &Path) -> PathBuf {
    let compactor = "  retention_enabled: true\n  compaction_interval: 60ms\n  retention_delete_delay: 0s\n  delete_request_cancel_period: 0s";
    let millrace =
        "  flush:\n    max_bytes: 64KB\n    max_age: 300ms\n  compaction:\n    settled_after: 0s\n    min_files: 2";
    let config = configured(directory, compactor, millrace);
    let text = std::fs::read_to_string(&config).expect("readable");
    let rules = "limits_config:\n  retention_stream:\n    - {selector: '{class=\"gone\"}', priority: 1, period: 24h}\n";
    std::fs::write(&config, text.replace("limits_config:\n", rules)).expect("written");
    config
}

fn colour(push: usize) -> usize {
    push / PUSHES_A_COLOUR
}

fn body(push: usize) -> String {
    let values = |class: &str| -> Vec<Value> {
        let line = |line: usize| {
            let at = push * LINES_A_PUSH + line;
            let ts = START_S as usize * 1_000_000_000 + at * 1_000_000;
            json!([ts.to_string(), format!("{class} colour-{:05} line {at}", colour(push))])
        };
        (0..LINES_A_PUSH).map(line).collect()
    };
    json!({"streams": [
        {"stream": {"service": "crash", "class": "kept", "part": (push % 3).to_string()}, "values": values("kept")},
        {"stream": {"service": "crash", "class": "doomed"}, "values": values("doomed")},
        {"stream": {"service": "crash", "class": "gone"}, "values": values("gone")},
    ]})
    .to_string()
}

fn send(url: &str, push: usize) -> bool {
    let sent = ureq::post(format!("{url}/loki/api/v1/push"))
        .header("Content-Type", "application/json")
        .send(body(push).as_bytes());
    sent.is_ok_and(|answer| answer.status() == 204)
}

/// Asks the doomed lines of a colour away.
fn ask_away(url: &str, colour: usize) -> bool {
    let query = format!(r#"{{class="doomed"}} |= "colour-{colour:05}""#);
    let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = format!("{url}/loki/api/v1/delete?query={query}&start={START_S}&end={}", START_S + 3600);
    ureq::post(url).send_empty().is_ok_and(|answer| answer.status() == 204)
}

/// What is known to have been answered.
#[derive(Default)]
struct Answered {
    pushes: AtomicUsize,
    /// Colours below were asked away.
    colours: AtomicUsize,
}

impl Answered {
    fn check(&self, server: &Server, when: &str) {
        let (pushes, colours) = (self.pushes.load(Ordering::SeqCst), self.colours.load(Ordering::SeqCst));
        let count = |filter: &str| {
            let query = format!(r#"sum(count_over_time({{service="crash", {filter} [2h]))"#);
            server.number(&query, START_S + 3600) as usize
        };
        assert_eq!(count(r#"class="kept"}"#), pushes * LINES_A_PUSH, "kept lines {when}");
        let doomed = pushes.saturating_sub(colours * PUSHES_A_COLOUR) * LINES_A_PUSH;
        assert_eq!(count(r#"class="doomed"}"#), doomed, "lines that nobody asked away {when}");
    }

    /// Pushes, and asks colours away that are complete, until a request fails or `stop`.
    fn drive(&self, url: &str, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            let push = self.pushes.load(Ordering::SeqCst);
            if colour(push) > self.colours.load(Ordering::SeqCst) + 1 {
                if !ask_away(url, self.colours.load(Ordering::SeqCst)) {
                    return;
                }
                self.colours.fetch_add(1, Ordering::SeqCst);
            }
            if !send(url, push) {
                return;
            }
            self.pushes.store(push + 1, Ordering::SeqCst);
        }
    }
}

#[test]
fn whatever_it_was_doing_a_kill_loses_doubles_and_revives_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = config(directory.path());
    let rounds = std::env::var("MILLRACE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(POINTS.len());
    let answered = Arc::new(Answered::default());
    for round in 0..rounds {
        let point = POINTS[round % POINTS.len()];
        let variables: Vec<(&str, &str)> = point.iter().map(|point| ("MILLRACE_FAILPOINT", *point)).collect();
        // It may be killed before it says where it listens.
        if let Ok(server) = Server::launch(&data, Some(&config), &[], &variables) {
            let stop = Arc::new(AtomicBool::new(false));
            let driver = {
                let (answered, stop, url) = (answered.clone(), stop.clone(), server.url.clone());
                std::thread::spawn(move || answered.drive(&url, &stop))
            };
            let started = Instant::now();
            let patience = Duration::from_millis(600 + 90 * (round as u64 % 7));
            while started.elapsed() < patience && !driver.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
            server.kill();
            stop.store(true, Ordering::SeqCst);
            driver.join().expect("the driver ends");
        }
        // What was not answered may be there already: it is asked for again, as clients do.
        let server = Server::start(&data, Some(&config), &[]);
        let when = format!("after round {round}, {point:?}");
        let push = answered.pushes.load(Ordering::SeqCst);
        assert!(send(&server.url, push), "{when}");
        answered.pushes.store(push + 1, Ordering::SeqCst);
        let next = answered.colours.load(Ordering::SeqCst);
        if colour(push) > next {
            assert!(ask_away(&server.url, next), "{when}");
            answered.colours.store(next + 1, Ordering::SeqCst);
        }
        answered.check(&server, &when);
        server.kill();
    }
    // Left alone it comes to rest, and nothing changes for those who look.
    let server = Server::start(&data, Some(&config), &[]);
    // The upkeep gives way to everything else on a busy machine: it is given up when nothing moves.
    let mut moved = (0, Instant::now());
    loop {
        let requests = server.get("/loki/api/v1/delete", &[]).json();
        let requests = requests.as_array().expect("a list");
        let done = requests.iter().filter(|request| request["status"] == "processed").count();
        if done == requests.len() {
            break;
        }
        if done > moved.0 {
            moved = (done, Instant::now());
        }
        assert!(moved.1.elapsed() < Duration::from_secs(240), "deletes are not carried out: {done} are");
        std::thread::sleep(Duration::from_millis(50));
    }
    let started = Instant::now();
    server.flush();
    while server.get("/api/v1/retention/preview", &[]).json() != json!([]) {
        assert!(started.elapsed() < Duration::from_secs(240), "retention is not applied");
        std::thread::sleep(Duration::from_millis(50));
    }
    answered.check(&server, "at rest");
    let gone = server.number(r#"sum(count_over_time({class="gone"}[2h]))"#, START_S + 3600);
    assert_eq!(gone, 0.0);
    assert!(answered.pushes.load(Ordering::SeqCst) > 3 * rounds, "too few pushes to mean anything");
}
