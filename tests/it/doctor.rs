//! `millrace doctor` finds flipped bits wherever they are, names them, and mends what can be mended.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;

use crate::harness::{Server, repository};
use crate::promql::{RECEIVER_ON, samples, write};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
const LINES_A_PUSH: usize = 50;

fn millrace(arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_millrace")).args(arguments).output().expect("it runs")
}

/// Exit code and what was said, of `millrace doctor` on a data directory.
fn doctor(data: &Path, more: &[&str]) -> (i32, String) {
    let data = data.to_str().expect("a temporary path is UTF-8");
    let output = millrace(&[&["doctor", "--data", data][..], more].concat());
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().expect("it ended by itself"), said)
}

fn push(server: &Server, number: usize) {
    let values: Vec<_> = (0..LINES_A_PUSH)
        .map(|line| {
            let at = number * LINES_A_PUSH + line;
            json!([(START_S as usize * 1_000_000_000 + at * 1_000).to_string(), format!("line {at}")])
        })
        .collect();
    server.push(&json!({"streams": [{"stream": {"service": "patient"}, "values": values}]}));
}

fn count(server: &Server) -> usize {
    server.number(r#"sum(count_over_time({service="patient"}[1h]))"#, START_S + 1800) as usize
}

/// A data directory with pushes `0..flushed` in files, one flush each, and the rest in the log only.
fn patient(directory: &Path, flushed: usize, pushes: usize) -> PathBuf {
    let data = directory.join("data");
    let server = Server::start(&data, Some(&repository("tests/golden/config.yaml")), &[]);
    for number in 0..pushes {
        push(&server, number);
        if number < flushed {
            server.flush();
        }
    }
    server.kill();
    data
}

fn start(data: &Path) -> Server {
    Server::start(data, Some(&repository("tests/golden/config.yaml")), &[])
}

/// Files below `directory` whose name ends so, sorted.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { files(&path, end) } else { vec![path] })
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    found.sort();
    found
}

fn flip(path: &Path, at: impl FnOnce(usize) -> usize) {
    let mut content = std::fs::read(path).expect("readable");
    let at = at(content.len());
    content[at] ^= 0x10;
    std::fs::write(path, content).expect("written");
}

#[test]
fn a_healthy_directory_is_well_also_while_the_server_runs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = patient(directory.path(), 2, 4);
    let (code, said) = doctor(&data, &[]);
    assert!(code == 0 && said.contains("all is well") && said.contains("files: 2 with 100 rows"), "{said}");
    let server = start(&data);
    let (code, said) = doctor(&data, &[]);
    assert!(code == 0 && said.contains("a server runs here"), "{said}");
    let (code, said) = doctor(&data, &["--repair"]);
    assert!(code == 2 && said.contains("stop it before"), "{said}");
    assert_eq!(count(&server), 4 * LINES_A_PUSH);
    drop(server);
    let url = data.join("logs");
    let output = millrace(&["doctor", "--url", url.to_str().expect("UTF-8"), "--quick"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_flipped_bit_in_the_log_costs_nothing_and_two_cost_one_record() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = patient(directory.path(), 0, 6);
    let segment = files(&data.join("wal"), ".wal").remove(0);
    flip(&segment, |length| length / 2);
    let (code, said) = doctor(&data, &[]);
    assert!(code == 1 && said.contains("one bit was flipped") && said.contains("--repair"), "{said}");
    let (code, said) = doctor(&data, &["--repair"]);
    assert!(code == 0 && said.contains("repaired: written anew"), "{said}");
    assert_eq!(files(&data.join("quarantine"), ".wal").len(), 1, "the damaged one is kept");
    assert_eq!(doctor(&data, &[]).0, 0);
    flip(&segment, |length| length / 2);
    flip(&segment, |length| length / 2 + 1);
    let (code, said) = doctor(&data, &[]);
    assert!(code == 1 && said.contains("PROBLEM") && said.contains("are lost"), "{said}");
    let (code, said) = doctor(&data, &["--repair"]);
    assert!(code == 0 && said.contains("repaired: written anew"), "{said}");
    assert_eq!(count(&start(&data)), 5 * LINES_A_PUSH);
}

#[test]
fn a_torn_tail_and_a_lost_name_of_the_log_are_mended() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = patient(directory.path(), 1, 3);
    let segment = files(&data.join("wal"), ".wal").pop().expect("a segment");
    let mut content = std::fs::read(&segment).expect("readable");
    content.extend_from_slice(b"torn by a crash");
    std::fs::write(&segment, content).expect("written");
    std::fs::remove_file(data.join("wal/IDENTITY")).expect("removed");
    let (code, said) = doctor(&data, &[]);
    assert!(code == 1 && said.contains("IDENTITY is missing") && said.contains("note:"), "{said}");
    let (code, said) = doctor(&data, &["--repair"]);
    assert!(code == 0 && said.contains("cut off") && said.contains("the one log that the table knows"), "{said}");
    assert_eq!(count(&start(&data)), 3 * LINES_A_PUSH);
}

#[test]
fn a_damaged_file_is_found_and_given_up_on_demand() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = patient(directory.path(), 3, 3);
    let parquet = files(&data.join("logs"), ".parquet");
    assert_eq!(parquet.len(), 3);
    flip(&parquet[0], |_| 40);
    flip(&parquet[0], |_| 60);
    std::fs::remove_file(&parquet[1]).expect("removed");
    let (code, said) = doctor(&data, &[]);
    assert!(code == 1 && said.contains("it is missing; 50 rows of tenant fake"), "{said}");
    assert!(said.contains("its checksum does not fit") && said.contains("2 problems are left"), "{said}");
    let (code, said) = doctor(&data, &["--repair"]);
    assert!(code == 1 && said.contains("2 problems are left"), "rows are not given up without a word: {said}");
    let (code, said) = doctor(&data, &["--drop-lost"]);
    assert!(code == 0 && said.contains("taken out of the table"), "{said}");
    assert_eq!(files(&data.join("logs/_quarantine"), ".parquet").len(), 1);
    assert_eq!(doctor(&data, &[]).0, 0);
    assert_eq!(count(&start(&data)), LINES_A_PUSH);
}

#[test]
fn a_torn_newest_commit_is_taken_back_and_the_log_has_its_rows() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = patient(directory.path(), 2, 3);
    let commit = files(&data.join("logs/_delta_log"), ".json").pop().expect("a commit");
    std::fs::write(&commit, "").expect("written");
    let (code, said) = doctor(&data, &[]);
    assert!(code == 1 && said.contains("it is empty") && said.contains("--repair"), "{said}");
    let (code, said) = doctor(&data, &["--repair"]);
    assert!(code == 0, "{said}");
    assert_eq!(count(&start(&data)), 3 * LINES_A_PUSH);
}

#[test]
fn a_damaged_checkpoint_is_made_anew_and_orphans_are_moved_away() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = patient(directory.path(), 3, 3);
    let log = data.join("logs/_delta_log");
    // A checkpoint that no one can read, and the hint that points to it.
    std::fs::write(log.join("00000000000000000002.checkpoint.parquet"), "PAR1 nonsense PAR1").expect("written");
    std::fs::write(log.join("_last_checkpoint"), r#"{"version":2,"size":5}"#).expect("written");
    let live = files(&data.join("logs"), ".parquet").into_iter().find(|path| !path.starts_with(&log)).expect("a file");
    let orphan = live.with_file_name("part-nobody.parquet");
    std::fs::copy(&live, &orphan).expect("copied");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    std::fs::File::options().write(true).open(&orphan).and_then(|file| file.set_modified(old)).expect("aged");
    let (code, said) = doctor(&data, &[]);
    assert!(
        code == 1 && said.contains("checkpoint.parquet") && said.contains("no version of the table names it"),
        "{said}"
    );
    let (code, said) = doctor(&data, &["--repair"]);
    assert!(code == 0 && said.contains("a new checkpoint of version 3"), "{said}");
    assert!(!orphan.exists());
    let (code, said) = doctor(&data, &[]);
    assert!(code == 0 && said.contains("all is well"), "{said}");
    assert_eq!(count(&start(&data)), 3 * LINES_A_PUSH);
}

#[test]
fn the_table_of_metrics_is_looked_at_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, config) = (directory.path().join("data"), directory.path().join("config.yaml"));
    std::fs::write(&config, format!("auth_enabled: false\n{RECEIVER_ON}")).expect("written");
    let server = Server::start(&data, Some(&config), &[]);
    write(&server, None, &samples(20));
    server.stop();
    let (code, said) = doctor(&data, &[]);
    assert!(code == 0 && said.contains("metrics, files: 1 with 60 samples, every byte read"), "{said}");
    let file = files(&data.join("metrics"), ".parquet").remove(0);
    flip(&file, |length| length / 2);
    let (code, said) = doctor(&data, &[]);
    assert!(code == 1 && said.contains("PROBLEM: metrics, file ") && said.contains("checksum does not fit"), "{said}");
    std::fs::remove_file(&file).expect("removed");
    let (code, said) = doctor(&data, &["--quick"]);
    assert!(code == 1 && said.contains("it is missing; 60 samples of tenant fake"), "{said}");
}
