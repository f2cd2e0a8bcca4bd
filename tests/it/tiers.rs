//! Files move to colder buckets as they age; queries, restarts and backups do not notice. All of it encrypted.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Server, repository};
use crate::s3::{ACCESS_KEY, Fault, Proxy, S3, SECRET_KEY};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
const LINES: usize = 200;
/// How long moves may take.
const MOVE_WAIT: Duration = Duration::from_secs(60);

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

/// Old streams go to `cold`, tepid ones to `warm`, young ones stay: whatever the clock says, the rows are older than
/// two hours and younger than a hundred years.
fn config(directory: &Path, endpoint: &str) -> PathBuf {
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let keys = directory.join("keys");
    said(&["keys", "generate", text(&keys), "--id", "k"]);
    let options =
        format!("{{aws_endpoint: '{endpoint}', aws_access_key_id: {ACCESS_KEY}, aws_secret_access_key: {SECRET_KEY}}}");
    let own = format!(
        r#"
compactor:
  compaction_interval: 100ms
  retention_delete_delay: 0s
millrace:
  compaction:
    enabled: false
  table:
    request_timeout: 2s
    retry_timeout: 1s
  encryption:
    key_file: {}
  cache:
    directory: {}
  tiers:
    levels:
      - name: warm
        url: s3://warm/logs
        options: {options}
        after: 1h
        classes: [{{selector: '{{service="young"}}', after: 876000h}}]
      - name: cold
        url: s3://cold
        options: {options}
        after: 2h
        classes: [{{selector: '{{service=~"young|tepid"}}', after: 876000h}}]
"#,
        keys.display(),
        directory.join("blocks").display()
    );
    let path = directory.join("config.yaml");
    std::fs::write(&path, format!("{golden}{own}")).expect("written");
    path
}

fn push(server: &Server, service: &str) {
    let values: Vec<_> = (0..LINES)
        .map(|at| json!([(START_S as usize * 1_000_000_000 + at * 1_000).to_string(), format!("{service} line {at}")]))
        .collect();
    server.push(&json!({"streams": [{"stream": {"service": service}, "values": values}]}));
    server.flush();
}

fn count(server: &Server, service: &str) -> usize {
    let query = format!(r#"sum(count_over_time({{service=~"{service}"}} |= "line" [1h]))"#);
    server.number(&query, START_S + 1800) as usize
}

/// Files by tier: hot, warm, cold; and those that are due to move.
fn status(config: &Path, data: &Path) -> (Vec<u64>, u64) {
    let told = said(&["tiers", "status", "--json", "--config", text(config), "--data", text(data)]);
    let tiers: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let number = |tier: &Value, name: &str| tier[name].as_u64().expect("a number");
    (tiers.iter().map(|tier| number(tier, "files")).collect(), tiers.iter().map(|tier| number(tier, "due_files")).sum())
}

fn parquet_files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let count = |path: PathBuf| match path.is_dir() {
        true => parquet_files(&path),
        false => {
            usize::from(path.to_string_lossy().ends_with(".parquet") && path.to_string_lossy().contains("tenant="))
        }
    };
    entries.map(count).sum()
}

#[test]
fn files_move_by_age_and_class_and_no_query_notices() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    let config = config(directory.path(), &proxy.endpoint);
    let data = directory.path().join("data");
    let server = Server::start(&data, Some(&config), &[]);
    for service in ["old", "tepid", "young"] {
        push(&server, service);
    }
    let started = Instant::now();
    while status(&config, &data).0 != [1, 1, 1] || parquet_files(&data.join("logs")) > 1 {
        assert_eq!(count(&server, ".+"), 3 * LINES, "while files move");
        assert!(started.elapsed() < MOVE_WAIT, "{:?}", status(&config, &data));
    }
    assert_eq!(status(&config, &data).1, 0, "nothing is due any more");
    assert_eq!((s3.objects("warm", "logs/tenant=fake").len(), s3.objects("cold", "tenant=fake").len()), (1, 1));
    let metrics = server.get("/metrics", &[]).text();
    for line in ["millrace_tier_files{tier=\"hot\"} 1", "millrace_tier_files{tier=\"cold\"} 1"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }

    // After a kill, from the buckets, then from the cache: on disk too, so a restart needs only sizes.
    server.kill();
    let server = Server::start(&data, Some(&config), &[]);
    assert_eq!(count(&server, "old|tepid"), 2 * LINES);
    // Listings of the upkeep may come at any time; reads of files must not.
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    proxy.faults(move |asked| {
        let is_read = asked.method == "GET" && asked.path.contains(".parquet");
        counted.fetch_add(usize::from(is_read), Ordering::SeqCst);
        Fault::None
    });
    for (service, streams) in [("old", 1), ("tepid", 1), ("old|tepid", 2), (".+", 3)] {
        assert_eq!(count(&server, service), streams * LINES, "{service}");
    }
    assert_eq!(reads.load(Ordering::SeqCst), 0, "all of it came from the cache");
    assert!(server.get("/metrics", &[]).text().contains("millrace_cache_blocks{outcome=\"memory\"}"));

    // Tools see through tiers, too.
    let at = ["--config", text(&config), "--data", text(&data)];
    let doctor = said(&[&["doctor"][..], &at].concat());
    assert!(doctor.contains("all is well") && doctor.contains("files: 3 with 600 rows"), "{doctor}");
    let keys = said(&[&["keys", "status"][..], &at].concat());
    assert!(keys.contains("newest") && !keys.contains("not sealed"), "{keys}");
    let backups = directory.path().join("backups");
    said(&[&["backup", "create", text(&backups)][..], &at].concat());
    server.stop();

    // A restore has everything in its own place, without the buckets.
    proxy.faults(|_| Fault::Status(503));
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let alone = directory.path().join("alone.yaml");
    let key_file = directory.path().join("keys");
    std::fs::write(&alone, format!("{golden}\nmillrace:\n  encryption:\n    key_file: {}\n", key_file.display()))
        .expect("written");
    let restored = directory.path().join("restored");
    said(&["backup", "restore", text(&backups), "--config", text(&alone), "--data", text(&restored)]);
    assert_eq!(count(&Server::start(&restored, Some(&alone), &[]), ".+"), 3 * LINES);
}

#[test]
fn a_tier_that_is_gone_fails_its_queries_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    let config = config(directory.path(), &proxy.endpoint);
    let data = directory.path().join("data");
    let server = Server::start(&data, Some(&config), &[]);
    push(&server, "old");
    push(&server, "young");
    let started = Instant::now();
    while status(&config, &data).0 != [1, 0, 1] {
        assert!(started.elapsed() < MOVE_WAIT, "{:?}", status(&config, &data));
    }
    server.stop();
    std::fs::remove_dir_all(directory.path().join("blocks")).expect("the cache may go at any time");
    proxy.faults(|_| Fault::Status(503));
    let server = Server::start(&data, Some(&config), &[]);
    let query = [("query", r#"sum(count_over_time({service="old"}[1h]))"#), ("time", "1768473000")];
    let answer = server.get("/loki/api/v1/query", &query);
    assert!(answer.status >= 500, "an answer without the rows of the tier: {}", answer.text());
    proxy.faults(|_| Fault::None);
    assert_eq!(count(&server, ".+"), 2 * LINES, "and it comes back by itself");
}
