//! Encrypted at rest: no plain text on disk, wrong keys named, keys rotated, backups as secret as what they copy.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;

use crate::harness::{Server, repository};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
const LINES: usize = 300;
/// In every line, label and metadata.
const SECRET: &str = "zebra-quagga-okapi";

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

fn millrace(arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_millrace")).args(arguments).output().expect("it runs")
}

fn said(arguments: &[&str]) -> String {
    let output = millrace(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The golden settings with keys.
fn config(directory: &Path, keys: &Path, more: &str) -> PathBuf {
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let path = directory.join("config.yaml");
    let own = format!("millrace:\n  encryption:\n    key_file: {}\n{more}", keys.display());
    std::fs::write(&path, format!("{golden}\n{own}")).expect("written");
    path
}

fn push(server: &Server, from: usize) {
    let values: Vec<_> = (from..from + LINES)
        .map(|at| {
            let time = (START_S as usize * 1_000_000_000 + at * 1_000).to_string();
            json!([time, format!("line {at} of {SECRET}"), {"trace": format!("{SECRET}-{at}")}])
        })
        .collect();
    server.push(&json!({"streams": [{"stream": {"service": "sealed", "animal": SECRET}, "values": values}]}));
}

fn count(server: &Server) -> usize {
    server.number(&format!(r#"sum(count_over_time({{animal="{SECRET}"}} |= "{SECRET}" [1h]))"#), START_S + 1800)
        as usize
}

/// Files below `directory` in which `needle` is to be read.
fn files_with(directory: &Path, needle: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let found = entries.flat_map(|path| match path.is_dir() {
        true => files_with(&path, needle),
        false => {
            let content = std::fs::read(&path).unwrap_or_default();
            let has = content.windows(needle.len()).any(|window| window == needle.as_bytes());
            if has { vec![path] } else { Vec::new() }
        }
    });
    found.collect()
}

#[test]
fn no_plain_text_is_on_disk_and_keys_are_needed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, keys, backups) =
        (directory.path().join("data"), directory.path().join("keys"), directory.path().join("backups"));
    said(&["keys", "generate", text(&keys), "--id", "first"]);
    let sealed = config(directory.path(), &keys, "");
    let at = ["--config", text(&sealed), "--data", text(&data)];
    let server = Server::start(&data, Some(&sealed), &[]);
    push(&server, 0);
    server.flush();
    push(&server, LINES);
    assert_eq!(count(&server), 2 * LINES);
    for needle in [SECRET, "sealed", "ts_ns", "millrace.streams", "commitInfo"] {
        assert_eq!(files_with(&data, needle), Vec::<PathBuf>::new(), "{needle} can be read");
    }
    said(&[&["backup", "create", text(&backups)][..], &at].concat());
    for needle in [SECRET, "commitInfo"] {
        assert_eq!(files_with(&backups, needle), Vec::<PathBuf>::new(), "{needle} can be read in the backup");
    }
    // Rows in the log and in files, after a kill.
    server.kill();
    let server = Server::start(&data, Some(&sealed), &[]);
    assert_eq!(count(&server), 2 * LINES);
    server.stop();

    // Without keys, and with another key of the same name or of another.
    let refused = millrace(&["serve", "--http-port", "0", "--data", text(&data)]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("is sealed, and no keys were given"), "{error}");
    for (id, expected) in [("first", "key first does not open it"), ("other", "sealed with key first")] {
        let wrong = directory.path().join(format!("wrong-{id}"));
        said(&["keys", "generate", text(&wrong), "--id", id]);
        let config = config(directory.path(), &wrong, "");
        let refused = millrace(&["serve", "--http-port", "0", "--data", text(&data), "--config", text(&config)]);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && error.contains(expected), "{error}");
    }

    // The backup is restored with the keys.
    let sealed = config(directory.path(), &keys, "");
    let restored = directory.path().join("restored");
    said(&["backup", "restore", text(&backups), "--config", text(&sealed), "--data", text(&restored)]);
    assert_eq!(count(&Server::start(&restored, Some(&sealed), &[])), 2 * LINES);
}

#[test]
fn keys_rotate_and_old_ones_are_no_longer_needed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, keys) = (directory.path().join("data"), directory.path().join("keys"));
    said(&["keys", "generate", text(&keys), "--id", "old"]);
    let sealed = config(directory.path(), &keys, "");
    let at = ["--config", text(&sealed), "--data", text(&data)];
    let server = Server::start(&data, Some(&sealed), &[]);
    push(&server, 0);
    server.flush();
    server.stop();
    said(&["keys", "generate", text(&keys), "--id", "new"]);
    let server = Server::start(&data, Some(&sealed), &[]);
    push(&server, LINES);
    assert_eq!(count(&server), 2 * LINES);
    // While the server reads and writes.
    let rotated = said(&[&["keys", "rotate"][..], &at].concat());
    assert!(rotated.contains("under key new now"), "{rotated}");
    assert_eq!(count(&server), 2 * LINES);
    for round in 2..4 {
        push(&server, round * LINES);
        server.flush();
    }
    let status = said(&[&["keys", "status"][..], &at].concat());
    let of_old: Vec<&str> =
        status.lines().find(|line| line.starts_with("old ")).expect("listed").split_whitespace().collect();
    assert_eq!((of_old[1], of_old.last()), ("0", Some(&"0")), "{status}");
    server.stop();
    let newest: String = std::fs::read_to_string(&keys).expect("there").lines().last().expect("a key").to_owned();
    std::fs::write(&keys, newest).expect("written");
    let server = Server::start(&data, Some(&sealed), &[]);
    assert_eq!(count(&server), 4 * LINES);
}

#[test]
fn a_plain_data_directory_is_sealed_by_rotation() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, keys) = (directory.path().join("data"), directory.path().join("keys"));
    let server = Server::start(&data, Some(&repository("tests/golden/config.yaml")), &[]);
    push(&server, 0);
    server.flush();
    push(&server, LINES);
    server.kill();
    assert!(!files_with(&data, SECRET).is_empty());
    said(&["keys", "generate", text(&keys), "--id", "k"]);
    let strict = config(directory.path(), &keys, "");
    let refused = millrace(&["serve", "--http-port", "0", "--data", text(&data), "--config", text(&strict)]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("it is not sealed"), "{error}");
    let lenient = config(directory.path(), &keys, "    allow_plain: true\n");
    let server = Server::start(&data, Some(&lenient), &[]);
    assert_eq!(count(&server), 2 * LINES);
    let at = ["--config", text(&lenient), "--data", text(&data)];
    let busy = millrace(&[&["keys", "rotate"][..], &at].concat());
    assert!(
        !busy.status.success() && String::from_utf8_lossy(&busy.stderr).contains("while no server runs"),
        "{busy:?}"
    );
    for round in 2..4 {
        push(&server, round * LINES);
        server.flush();
    }
    server.stop();
    said(&[&["keys", "rotate"][..], &at].concat());
    assert_eq!(files_with(&data, SECRET), Vec::<PathBuf>::new());
    let strict = config(directory.path(), &keys, "");
    assert_eq!(count(&Server::start(&data, Some(&strict), &[])), 4 * LINES);
}
