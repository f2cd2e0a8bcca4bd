//! Durable means durable: `kill -9` in the middle of a push run loses no acknowledged line and doubles none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Server, repository};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
const LINES_A_PUSH: usize = 50;

fn body(push: usize) -> String {
    let values: Vec<_> = (0..LINES_A_PUSH)
        .map(|line| {
            let at = push * LINES_A_PUSH + line;
            json!([(START_S as usize * 1_000_000_000 + at * 1_000).to_string(), format!("line {at}")])
        })
        .collect();
    json!({"streams": [{"stream": {"service": "killed", "part": (push % 3).to_string()}, "values": values}]})
        .to_string()
}

#[test]
fn acknowledged_lines_survive_kill_nine_and_retries_do_not_double() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = directory.path().join("config.yaml");
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    // Flushes while pushes go on, so that kills fall into every stage of a row's life.
    std::fs::write(&config, format!("{golden}\nmillrace:\n  flush:\n    max_bytes: 64KB\n    max_age: 1s\n"))
        .expect("written");
    let acknowledged = Arc::new(AtomicUsize::new(0));
    for round in 0..4 {
        let server = Server::start(&data, Some(&config), &[]);
        let expected = acknowledged.load(Ordering::SeqCst) * LINES_A_PUSH;
        assert_eq!(count(&server), expected as f64, "after {round} kills");
        let url = server.url.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let pusher = {
            let (acknowledged, stop) = (acknowledged.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let push = acknowledged.load(Ordering::SeqCst);
                    let sent = ureq::post(format!("{url}/loki/api/v1/push"))
                        .header("Content-Type", "application/json")
                        .send(body(push).as_bytes());
                    match sent {
                        // What was not answered is sent again to the next server: it may be there already.
                        Ok(answer) if answer.status() == 204 => acknowledged.store(push + 1, Ordering::SeqCst),
                        _ => return,
                    }
                }
            })
        };
        std::thread::sleep(Duration::from_millis(700 + 150 * round));
        server.kill();
        stop.store(true, Ordering::SeqCst);
        pusher.join().expect("the pusher ends");
        // The push that was under way may be on disk without an answer: ask for it again, as a client would.
        let server = Server::start(&data, Some(&config), &[]);
        let push = acknowledged.load(Ordering::SeqCst);
        let again = server.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body(push).as_bytes());
        assert_eq!(again.status, 204, "{}", again.text());
        acknowledged.store(push + 1, Ordering::SeqCst);
        assert_eq!(count(&server), (acknowledged.load(Ordering::SeqCst) * LINES_A_PUSH) as f64);
        server.kill();
    }
    assert!(acknowledged.load(Ordering::SeqCst) > 20, "too few pushes to mean anything");
}

fn count(server: &Server) -> f64 {
    server.number(r#"sum(count_over_time({service="killed"}[1h]))"#, START_S + 1800)
}

#[test]
fn a_torn_log_tail_is_cut_and_the_rest_is_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = repository("tests/golden/config.yaml");
    let server = Server::start(&data, Some(&config), &[]);
    for push in 0..5 {
        assert_eq!(
            server.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body(push).as_bytes()).status,
            204
        );
    }
    server.kill();
    let newest = std::fs::read_dir(data.join("wal"))
        .expect("a log directory")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .max()
        .expect("a segment");
    use std::io::Write;
    let mut segment = std::fs::OpenOptions::new().append(true).open(newest).expect("opened");
    segment.write_all(&[0x4d; 37]).expect("torn bytes written");
    drop(segment);
    let server = Server::start(&data, Some(&config), &[]);
    assert_eq!(count(&server), (5 * LINES_A_PUSH) as f64);
}

#[test]
fn every_moment_of_a_flush_shows_each_row_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), Some(&repository("tests/golden/config.yaml")), &[]);
    let mut expected = 0;
    for round in 0..10 {
        for push in round * 5..round * 5 + 5 {
            assert_eq!(
                server.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body(push).as_bytes()).status,
                204
            );
            expected += LINES_A_PUSH;
        }
        std::thread::scope(|scope| {
            let flushing = scope.spawn(|| server.flush());
            while !flushing.is_finished() {
                assert_eq!(count(&server), expected as f64, "during flush {round}");
            }
            flushing.join().expect("flushed");
        });
        assert_eq!(count(&server), expected as f64, "after flush {round}");
    }
}

#[test]
fn what_is_in_files_leaves_the_log_and_is_still_known_as_a_repeat() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = repository("tests/golden/config.yaml");
    let push = |server: &Server, push: usize| {
        let sent = server.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body(push).as_bytes());
        assert_eq!(sent.status, 204, "{}", sent.text());
    };
    let log_bytes = || -> u64 {
        let segments = std::fs::read_dir(data.join("wal")).expect("a log directory");
        segments.map(|entry| entry.expect("readable").metadata().expect("a size").len()).sum()
    };
    let server = Server::start(&data, Some(&config), &[]);
    push(&server, 0);
    push(&server, 1);
    let before = log_bytes();
    server.flush();
    // It is kept for some seconds, in case the commit turns out damaged.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while log_bytes() >= before / 2 {
        assert!(std::time::Instant::now() < deadline, "{} bytes of {before} are left", log_bytes());
        std::thread::sleep(Duration::from_millis(200));
    }
    push(&server, 1);
    assert_eq!(count(&server), (2 * LINES_A_PUSH) as f64);
    server.kill();
    let server = Server::start(&data, Some(&config), &[]);
    // One from the files of the last flush, one from the log, and one that is new.
    push(&server, 0);
    push(&server, 1);
    push(&server, 2);
    assert_eq!(count(&server), (3 * LINES_A_PUSH) as f64);
    server.flush();
    assert_eq!(count(&server), (3 * LINES_A_PUSH) as f64);
}
