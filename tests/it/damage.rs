//! Torn and bit-flipped segments, files and commits, met by the running server: named, the rest served, mended where
//! that costs nothing.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::{Server, repository};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
/// Pushes are as far apart, seconds.
const APART_S: i64 = 60;
const LINES_A_PUSH: usize = 400;

fn start(data: &Path) -> Server {
    Server::start(data, Some(&repository("tests/golden/config.yaml")), &[])
}

fn push(server: &Server, number: usize) {
    let values: Vec<_> = (0..LINES_A_PUSH)
        .map(|line| {
            let at_ns = (START_S + number as i64 * APART_S) * 1_000_000_000 + line as i64 * 1_000;
            // Something that does not compress to nothing.
            let noise = (line as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(number as u32);
            json!([at_ns.to_string(), format!("push {number} line {line} noise {noise:016x}")])
        })
        .collect();
    server.push(&json!({"streams": [{"stream": {"service": "hurt"}, "values": values}]}));
}

/// All lines, of as many pushes.
fn count(server: &Server) -> usize {
    server.number(r#"sum(count_over_time({service="hurt"} |= "noise" [2h]))"#, START_S + 3600) as usize
}

/// Status and text of a query for the lines of one push.
fn lines_of(server: &Server, push: usize) -> (u16, String) {
    let start = START_S + push as i64 * APART_S;
    let (start, end) = (start.to_string(), (start + APART_S).to_string());
    let params = [("query", r#"{service="hurt"} |= "noise""#), ("start", &start), ("end", &end), ("limit", "1000")];
    let answer = server.get("/loki/api/v1/query_range", &params);
    (answer.status, answer.text())
}

/// A data directory with `flushed` pushes in a file each, and `more` in the log only.
fn hurt(directory: &Path, flushed: usize, more: usize) -> PathBuf {
    let data = directory.join("data");
    let server = start(&data);
    for number in 0..flushed + more {
        push(&server, number);
        if number < flushed {
            server.flush();
        }
    }
    server.kill();
    data
}

fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { files(&path, end) } else { vec![path] })
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    found.sort();
    found
}

fn flip(path: &Path, bytes: &[usize]) {
    let mut content = std::fs::read(path).expect("readable");
    for at in bytes {
        content[*at] ^= 0x04;
    }
    std::fs::write(path, content).expect("written");
}

/// What the server said on standard error.
fn said(data: &Path) -> String {
    std::fs::read_to_string(data.with_extension("log")).expect("the harness keeps it")
}

fn doctor(data: &Path, more: &[&str]) -> (i32, String) {
    let data = data.to_str().expect("a temporary path is UTF-8");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args([&["doctor", "--data", data][..], more].concat())
        .output()
        .expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().expect("it ended by itself"), said)
}

#[test]
fn a_damaged_log_is_named_and_what_can_be_read_of_it_is_served() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = hurt(directory.path(), 0, 5);
    let segment = files(&data.join("wal"), ".wal").remove(0);
    let length = std::fs::metadata(&segment).expect("there").len() as usize;
    // One bit anywhere costs nothing.
    flip(&segment, &[length / 3]);
    let server = start(&data);
    assert_eq!(count(&server), 5 * LINES_A_PUSH);
    server.kill();
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(said(&data).contains("was damaged") && said(&data).contains(&name), "{}", said(&data));
    // Two in one record cost that record.
    flip(&segment, &[length / 2, length / 2 + 9]);
    let server = start(&data);
    assert_eq!(count(&server), 4 * LINES_A_PUSH);
    assert!(said(&data).contains("records of the write-ahead log are lost"), "{}", said(&data));
    let metrics = server.get("/metrics", &[]).text();
    assert!(metrics.contains("millrace_wal_lost_records 1\n"), "{metrics}");
    // It goes on, and what was damaged is kept.
    push(&server, 7);
    server.kill();
    assert_eq!(files(&data.join("quarantine"), "").len(), 2);
    assert_eq!(doctor(&data, &[]).0, 0);
    assert_eq!(count(&start(&data)), 5 * LINES_A_PUSH);
}

#[test]
fn a_log_that_lost_its_newest_records_joins_the_table_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = hurt(directory.path(), 3, 0);
    for segment in files(&data.join("wal"), ".wal") {
        std::fs::remove_file(segment).expect("removed");
    }
    let server = start(&data);
    push(&server, 3);
    server.kill();
    let server = start(&data);
    assert_eq!(count(&server), 4 * LINES_A_PUSH, "a record of the new log is not taken for one of the old");
}

#[test]
fn a_flipped_bit_of_a_file_is_named_wherever_it_is_and_flipped_back() {
    const FILES: usize = 9;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = hurt(directory.path(), FILES + 1, 0);
    let commits = files(&data.join("logs/_delta_log"), ".json");
    let named = |number: usize| -> PathBuf {
        let commit = std::fs::read_to_string(&commits[number + 1]).expect("readable");
        let end = commit.find(".parquet").expect("a file");
        let name = &commit[commit[..end].rfind("part-").expect("a name")..end];
        files(&data.join("logs"), ".parquet")
            .into_iter()
            .find(|path| path.to_string_lossy().contains(name))
            .expect("the file is there")
    };
    let damaged: Vec<PathBuf> = (0..FILES).map(named).collect();
    for (number, path) in damaged.iter().enumerate() {
        let length = std::fs::metadata(path).expect("there").len() as usize;
        // From the first byte to the last.
        flip(path, &[(length - 1) * number / (FILES - 1)]);
    }
    let server = start(&data);
    let mut silent = Vec::new();
    for (number, path) in damaged.iter().enumerate() {
        let (status, text) = lines_of(&server, number);
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let is_whole = status == 200 && text.matches("noise").count() >= LINES_A_PUSH;
        if !(status >= 500 && text.contains(&name)) {
            silent.push((number, status, is_whole, text.chars().take(200).collect::<String>()));
        }
    }
    assert!(silent.is_empty(), "{silent:?}");
    let (status, text) = lines_of(&server, FILES);
    assert_eq!(status, 200, "the rest is served: {text}");
    push(&server, FILES + 1);
    assert_eq!(lines_of(&server, FILES + 1).0, 200);
    server.stop();
    let (code, said) = doctor(&data, &[]);
    assert!(code == 1 && said.contains(&format!("{FILES} problems")), "{said}");
    let (code, said) = doctor(&data, &["--repair"]);
    assert!(code == 0 && said.matches("flipped back").count() == FILES, "{said}");
    assert_eq!(count(&start(&data)), (FILES + 2) * LINES_A_PUSH);
}

#[test]
fn a_damaged_commit_is_named_and_mended_where_that_costs_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = hurt(directory.path(), 4, 1);
    let commits = files(&data.join("logs/_delta_log"), ".json");
    let length = |path: &Path| std::fs::metadata(path).expect("there").len() as usize;
    // A bit in an old one, and the newest torn between two lines.
    flip(&commits[2], &[length(&commits[2]) / 2]);
    let newest = commits.last().expect("a commit");
    let content = std::fs::read(newest).expect("readable");
    let line = content.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    std::fs::write(newest, &content[..line]).expect("written");
    let (code, told) = doctor(&data, &[]);
    assert!(code == 1 && told.contains("its checksum does not fit"), "{told}");
    let server = start(&data);
    assert_eq!(count(&server), 5 * LINES_A_PUSH);
    server.kill();
    assert!(said(&data).contains("flipped back") && said(&data).contains("moved to"), "{}", said(&data));
    assert_eq!(doctor(&data, &[]).0, 0);
    // More than a bit of one that later ones build upon: it cannot be guessed.
    flip(&commits[2], &[length(&commits[2]) / 2, length(&commits[2]) / 3]);
    let refused = Server::launch(&data, Some(&repository("tests/golden/config.yaml")), &[], &[]);
    assert!(refused.is_err(), "it started");
    let name = commits[2].file_name().expect("a name").to_string_lossy().into_owned();
    assert!(said(&data).contains(&name) && said(&data).contains("checksum"), "{}", said(&data));
    let (code, told) = doctor(&data, &["--repair"]);
    assert!(code == 1 && told.contains(&name) && told.contains("backup"), "{told}");
}
