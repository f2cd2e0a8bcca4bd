//! Backups of a running server, restored, answer as it did; damage is told; old ones are pruned.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::golden::{How, Place, disagreements, push_dataset};
use crate::harness::{Server, repository};
use crate::s3::{ACCESS_KEY, Proxy, S3, SECRET_KEY};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
const LINES_A_PUSH: usize = 20;

/// Runs `millrace backup …` with the keys of the test's bucket in the environment.
fn millrace(arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .output()
        .expect("it runs")
}

/// What a command that must succeed said.
fn said(arguments: &[&str]) -> String {
    let output = millrace(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

fn body(push: usize) -> Vec<u8> {
    let values: Vec<_> = (0..LINES_A_PUSH)
        .map(|line| {
            let at = push * LINES_A_PUSH + line;
            json!([(START_S as usize * 1_000_000_000 + at * 1_000).to_string(), format!("line {at}")])
        })
        .collect();
    json!({"streams": [{"stream": {"service": "saved"}, "values": values}]}).to_string().into_bytes()
}

fn push(server: &Server, number: usize) {
    let answer = server.post("/loki/api/v1/push", &[("Content-Type", "application/json")], &body(number));
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn count(server: &Server) -> usize {
    server.number(r#"sum(count_over_time({service="saved"}[1h]))"#, START_S + 1800) as usize
}

#[test]
fn the_golden_corpus_is_answered_the_same_after_a_restore() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, backups) = (directory.path().join("data"), directory.path().join("backups"));
    let config = repository("tests/golden/config.yaml");
    let server = Server::start(&data, Some(&config), &[]);
    push_dataset(&server, Place::HalfAndHalf);
    let created = said(&["backup", "create", text(&backups), "--data", text(&data), "--config", text(&config)]);
    assert!(created.starts_with("backup 2"), "{created}");
    server.kill();
    let restored = directory.path().join("restored");
    let to = ["--data", text(&restored), "--config", text(&config)];
    let told = said(&[&["backup", "restore", text(&backups)][..], &to].concat());
    assert!(told.contains("start the server there"), "{told}");
    let server = Server::start(&restored, Some(&config), &[]);
    let (asked, unexpected) = disagreements(&server, How::Whole);
    assert!(unexpected.is_empty(), "{} of {asked}:\n{}", unexpected.len(), unexpected.join("\n"));
    let refused = millrace(&[&["backup", "restore", text(&backups)][..], &to].concat());
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("not empty"));
}

#[test]
fn backups_taken_during_pushes_and_flushes_hold_all_that_was_acknowledged_before() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let s3 = S3::start(&directory.path().join("s3"), true);
    let (data, config) = (directory.path().join("data"), directory.path().join("config.yaml"));
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let flush = "millrace:\n  flush:\n    max_bytes: 64KB\n    max_age: 1s\n";
    std::fs::write(&config, format!("{golden}\n{flush}")).expect("written");
    // To a bucket where there is one, else to a directory.
    let proxy = s3.as_ref().map(Proxy::start);
    let (to, option) = match &proxy {
        Some(proxy) => ("s3://backup/daily".to_owned(), format!("aws_endpoint={}", proxy.endpoint)),
        None => (text(&directory.path().join("backups")).to_owned(), "aws_region=unused".to_owned()),
    };
    let at = [to.as_str(), "--option", &option, "--config", text(&config)];
    let server = Server::start(&data, Some(&config), &[]);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut least = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                push(&server, acknowledged.load(Ordering::SeqCst));
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                server.flush();
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        });
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(1100));
            least.push(acknowledged.load(Ordering::SeqCst));
            said(&[&["backup", "create"][..], &at, &["--data", text(&data), "--keep", "2"]].concat());
        }
        stop.store(true, Ordering::SeqCst);
    });
    server.stop();
    let listed = said(&[&["backup", "list"][..], &at, &["--json"]].concat());
    let ids: Vec<String> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(ids.len(), 2, "two are kept: {listed}");
    let verified = said(&[&["backup", "verify"][..], &at, &["--id", "all"]].concat());
    assert_eq!(verified.matches(": good,").count(), 2, "{verified}");
    for (id, least) in ids.iter().zip(&least[1..]) {
        let restored = directory.path().join(id);
        said(&[&["backup", "restore"][..], &at, &["--id", id, "--data", text(&restored)]].concat());
        let server = Server::start(&restored, Some(&config), &[]);
        let rows = count(&server);
        assert!(rows >= least * LINES_A_PUSH, "{rows} rows in {id}, {least} pushes were acknowledged before");
        assert_eq!(rows % LINES_A_PUSH, 0, "whole pushes only");
        let lines = server.number(
            &format!(r#"sum(count_over_time({{service="saved"}} |= "line {}" [1h]))"#, rows - 1),
            START_S + 1800,
        );
        assert_eq!(lines, 1.0, "the newest line of {rows} is there once");
        // And it goes on from there.
        push(&server, rows / LINES_A_PUSH);
        assert_eq!(count(&server), rows + LINES_A_PUSH);
    }
}

#[test]
fn a_damaged_backup_and_a_restore_cut_short_are_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, backups) = (directory.path().join("data"), directory.path().join("backups"));
    let config = repository("tests/golden/config.yaml");
    let server = Server::start(&data, Some(&config), &[]);
    push(&server, 0);
    server.flush();
    server.stop();
    said(&["backup", "create", text(&backups), "--data", text(&data)]);
    assert!(said(&["backup", "list", text(&backups)]).contains("VERSION"));
    let largest = walk(&backups.join("blobs"))
        .into_iter()
        .max_by_key(|path| path.metadata().expect("there").len())
        .expect("a blob");
    let mut content = std::fs::read(&largest).expect("readable");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&largest, &content).expect("written");
    let verified = millrace(&["backup", "verify", text(&backups)]);
    assert!(!verified.status.success());
    assert!(String::from_utf8_lossy(&verified.stdout).contains("another hash"), "{verified:?}");
    let restored = directory.path().join("restored");
    let cut_short = millrace(&["backup", "restore", text(&backups), "--data", text(&restored)]);
    assert!(!cut_short.status.success());
    let started = millrace(&["serve", "--http-port", "0", "--data", text(&restored)]);
    assert!(!started.status.success());
    assert!(String::from_utf8_lossy(&started.stderr).contains("a restore was cut short"), "{started:?}");
    content[middle] ^= 1;
    std::fs::write(&largest, &content).expect("written");
    said(&["backup", "restore", text(&backups), "--data", text(&restored)]);
    assert_eq!(count(&Server::start(&restored, Some(&config), &[])), LINES_A_PUSH);
}

fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
