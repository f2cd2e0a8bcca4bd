//! The table in a bucket of a real S3 server: faults survived, two processes sharing it, secrets kept.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::deletes::delete;
use crate::harness::{Reply, Server, repository};
use crate::s3::{ACCESS_KEY, Asked, Fault, Proxy, S3, SECRET_KEY};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
const LINES_A_PUSH: usize = 20;
/// The phase in which nothing is answered.
const ALL_GONE: &str = "all gone";
/// How long a server may take to see what another committed, or to come back after faults.
const SETTLE_WAIT: Duration = Duration::from_secs(60);

/// The golden settings with a table at `path` of the bucket `logs`.
fn config(directory: &Path, name: &str, endpoint: &str, more: &str) -> PathBuf {
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let own = format!(
        "millrace:\n  table:\n    url: s3://logs/a/table\n    options: {{aws_endpoint: '{endpoint}', aws_access_key_id: {ACCESS_KEY}, aws_secret_access_key: {SECRET_KEY}}}\n    follow_interval: 100ms\n    lease_term: 2s\n{more}"
    );
    let path = directory.join(format!("{name}.yaml"));
    std::fs::write(&path, format!("{golden}\n{own}")).expect("written");
    path
}

/// Lines of one push, told apart by who sent it.
fn body(service: &str, push: usize) -> Vec<u8> {
    let values: Vec<_> = (0..LINES_A_PUSH)
        .map(|line| {
            let at = push * LINES_A_PUSH + line;
            json!([(START_S as usize * 1_000_000_000 + at * 1_000).to_string(), format!("line {at}")])
        })
        .collect();
    json!({"streams": [{"stream": {"service": service}, "values": values}]}).to_string().into_bytes()
}

fn push(server: &Server, service: &str, number: usize) {
    let answer = server.post("/loki/api/v1/push", &[("Content-Type", "application/json")], &body(service, number));
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn count(server: &Server) -> usize {
    server.number(r#"sum(count_over_time({service=~".+"}[1h]))"#, START_S + 1800) as usize
}

fn count_of(answer: &Reply) -> usize {
    let value = &answer.json()["data"]["result"][0]["value"][1];
    value.as_str().and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Waits until `server` counts `expected`, from above or from below.
fn comes_to(server: &Server, expected: usize) {
    let started = Instant::now();
    while count(server) != expected {
        assert!(started.elapsed() < SETTLE_WAIT, "{} and not {expected} after {SETTLE_WAIT:?}", count(server));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until `server` counts `expected`; more is an error at once.
fn settles_at(server: &Server, expected: usize) {
    let started = Instant::now();
    loop {
        let found = count(server);
        assert!(found <= expected, "{found} of {expected}: rows are doubled");
        if found == expected {
            return;
        }
        assert!(started.elapsed() < SETTLE_WAIT, "{found} of {expected} after {SETTLE_WAIT:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_bucket_holds_the_table_and_no_one_sees_the_secret() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    // As a Loki user names the bucket.
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let loki = format!(
        "{golden}\ncommon:\n  storage:\n    s3: {{s3: 's3://{ACCESS_KEY}:{SECRET_KEY}@{}/logs', insecure: true, s3forcepathstyle: true}}\n",
        proxy.endpoint.trim_start_matches("http://")
    );
    let config = directory.path().join("loki.yaml");
    std::fs::write(&config, loki).expect("written");
    let data = directory.path().join("data");
    let server = Server::start(&data, Some(&config), &[]);
    assert!(server.banner.iter().any(|line| line.contains("s3://logs/millrace/logs")), "{:?}", server.banner);
    push(&server, "kept", 0);
    server.flush();
    push(&server, "kept", 1);
    assert_eq!(count(&server), 2 * LINES_A_PUSH);
    let shown = server.get("/config", &[]).text();
    assert!(shown.contains("common:") && !shown.contains(SECRET_KEY), "{shown}");
    let metrics = server.get("/metrics", &[]).text();
    assert!(metrics.contains("millrace_store_requests{operation=\"put\",store=\"table\"}"), "{metrics}");
    server.kill();
    let server = Server::start(&data, Some(&config), &["--log-level", "debug"]);
    assert_eq!(count(&server), 2 * LINES_A_PUSH);
    server.stop();
    let log = std::fs::read_to_string(data.with_extension("log")).expect("the log is kept");
    assert!(!log.contains(SECRET_KEY) && log.contains("stopped"), "{log}");
    assert_eq!(s3.objects("logs", "millrace/logs/tenant=fake").len(), 2);
    assert!(s3.objects("logs", "millrace/logs/_millrace").is_empty(), "the probe is left");
    assert!(!data.join("logs").exists());
}

#[test]
fn a_wrong_secret_and_a_store_without_conditions_are_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    let good = config(directory.path(), "good", &proxy.endpoint, "    retry_timeout: 1s\n");
    let wrong = std::fs::read_to_string(&good).expect("readable").replace(SECRET_KEY, "another-secret");
    std::fs::write(&good, wrong).expect("written");
    let said = refused(&directory.path().join("data"), &good);
    assert!(said.contains("s3://logs/a/table") && said.contains("403"), "{said}");
    assert!(!said.contains("another-secret"), "{said}");

    let Some(open) = S3::start(&directory.path().join("open"), false) else { return };
    let proxy = Proxy::start(&open);
    proxy.faults(|_| Fault::Unconditional);
    let config = config(directory.path(), "open", &proxy.endpoint, "");
    let unsigned = std::fs::read_to_string(&config)
        .expect("readable")
        .replace("options: {", "options: {aws_skip_signature: 'true', ");
    std::fs::write(&config, unsigned).expect("written");
    let said = refused(&directory.path().join("data"), &config);
    assert!(said.contains("ignores If-None-Match"), "{said}");
}

/// What the server says when it does not start.
fn refused(data: &Path, config: &Path) -> String {
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["serve", "--http-port", "0", "--data"])
        .arg(data)
        .arg("--config")
        .arg(config)
        .output()
        .expect("it runs");
    assert!(!ended.status.success());
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[test]
fn two_processes_write_one_bucket_and_read_each_others_rows() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    let config = config(directory.path(), "shared", &proxy.endpoint, "");
    let data = |name: &str| directory.path().join(name);
    let (one, two) = (Server::start(&data("one"), Some(&config), &[]), Server::start(&data("two"), Some(&config), &[]));
    const ROUNDS: usize = 12;
    std::thread::scope(|scope| {
        for (name, server) in [("one", &one), ("two", &two)] {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    push(server, name, round);
                    server.flush();
                }
            });
        }
    });
    let expected = 2 * ROUNDS * LINES_A_PUSH;
    settles_at(&one, expected);
    settles_at(&two, expected);
    let of_two = one.number(r#"sum(count_over_time({service="two"}[1h]))"#, START_S + 1800) as usize;
    assert_eq!(of_two, ROUNDS * LINES_A_PUSH);
    // What is only in the head of one is not another's to see until it is flushed; a restart changes nothing.
    push(&two, "two", ROUNDS);
    two.kill();
    let two = Server::start(&data("two"), Some(&config), &[]);
    assert_eq!(count(&two), expected + LINES_A_PUSH);
    two.stop();
    settles_at(&one, expected + LINES_A_PUSH);
    // The upkeep may have merged files meanwhile, which takes some away.
    let commits = s3.objects("logs", "a/table/_delta_log");
    let text = |name: &String| std::fs::read_to_string(directory.path().join("s3/logs").join(name)).expect("readable");
    let commits = commits.iter().filter(|name| name.ends_with(".json")).map(text);
    let flushes = commits.filter(|text| text.contains(r#"{"add":"#) && !text.contains(r#"{"remove":"#)).count();
    assert_eq!(flushes, 2 * ROUNDS + 1, "one commit a flush");
}

/// Who does the upkeep, by what a process knows.
fn in_charge(server: &Server) -> Option<String> {
    let status = server.get("/api/v1/table/status", &[]).json();
    status["in_charge"].as_str().map(str::to_owned)
}

#[test]
fn of_two_processes_one_does_the_upkeep_and_the_other_when_it_is_gone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    let compacting = "  compaction: {min_files: 2}\ncompactor: {compaction_interval: 100ms}\n";
    let config = config(directory.path(), "two", &proxy.endpoint, compacting);
    let data = |name: &str| directory.path().join(name);
    let (one, two) = (Server::start(&data("one"), Some(&config), &[]), Server::start(&data("two"), Some(&config), &[]));
    let known = crate::postgres::wait_for(|| in_charge(&two).filter(|holder| in_charge(&one).as_ref() == Some(holder)));
    let asked = |server: &Server| server.post("/api/v1/table/upkeep", &[], b"");
    let answers = [asked(&one), asked(&two)].map(|answer| (answer.status, answer.text()));
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 503).collect();
    assert!(refused.len() == 1 && refused[0].1.contains(&known), "{answers:?}");
    let (holder, other) = if answers[0].0 == 204 { (one, two) } else { (two, one) };
    assert_eq!(holder.metric("millrace_upkeep_lease_held ") + other.metric("millrace_upkeep_lease_held "), 1.0);
    holder.kill();
    // What comes now is merged by the one that is left.
    for number in 0..4 {
        push(&other, "x", number);
        other.flush();
    }
    let merged = crate::postgres::wait_for(|| {
        let status = other.get("/api/v1/table/status", &[]).json();
        (status["files"] == 1).then_some(status)
    });
    assert_ne!(merged["in_charge"].as_str(), Some(known.as_str()), "{merged}");
    assert_eq!(count(&other), 4 * LINES_A_PUSH);
    other.stop();
    // Given back, it is had at once: a term would be two seconds.
    let next = Server::start(&data("three"), Some(&config), &[]);
    let began = Instant::now();
    crate::postgres::wait_for(|| (next.metric("millrace_upkeep_lease_held ") == 1.0).then_some(()));
    assert!(began.elapsed() < Duration::from_millis(1_900), "{:?}", began.elapsed());
    next.stop();
}

#[test]
fn a_delete_asked_of_one_process_is_hidden_by_the_other() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    let more =
        "compactor:\n  retention_enabled: true\n  compaction_interval: 200ms\n  delete_request_cancel_period: 24h\n";
    let config = config(directory.path(), "deletes", &proxy.endpoint, more);
    let data = |name: &str| directory.path().join(name);
    let (one, two) = (Server::start(&data("one"), Some(&config), &[]), Server::start(&data("two"), Some(&config), &[]));
    push(&one, "one", 0);
    one.flush();
    // Rows that only the other one has are asked for as well: what it holds in memory came before the request.
    push(&two, "two", 0);
    comes_to(&two, 2 * LINES_A_PUSH);
    let of_one = delete(&one, r#"{service="one"}"#, 0, 600);
    delete(&one, r#"{service="two"}"#, 0, 600);
    comes_to(&two, 0);
    push(&two, "two", 1);
    comes_to(&two, LINES_A_PUSH);
    // What is taken back is seen by both again, also after the other one was killed.
    assert_eq!(one.delete(&format!("/loki/api/v1/delete?request_id={of_one}&force=true")).status, 204);
    comes_to(&two, 2 * LINES_A_PUSH);
    two.kill();
    let two = Server::start(&data("two"), Some(&config), &[]);
    comes_to(&two, 2 * LINES_A_PUSH);
}

#[test]
fn faults_of_the_store_lose_nothing_and_double_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    let config = config(
        directory.path(),
        "faults",
        &proxy.endpoint,
        "    request_timeout: 1s\n    retry_timeout: 3s\n  flush:\n    max_bytes: 64KB\n    max_age: 1s\n",
    );
    let data = directory.path().join("data");
    let server = Server::start(&data, Some(&config), &[]);
    let mut number = 0;
    let mut phase = |name: &str, choose: Box<dyn FnMut(&Asked<'_>) -> Fault + Send>| {
        let before = proxy.counts().1;
        proxy.faults(choose);
        let until = Instant::now() + Duration::from_millis(2500);
        while Instant::now() < until || proxy.counts().1 == before {
            // Pushes are acknowledged by the log of this machine, whatever the store does.
            push(&server, "faulty", number);
            number += 1;
            if name == ALL_GONE {
                // An error, never an answer without the rows that are in the store.
                let asked = [("query", r#"sum(count_over_time({service=~".+"}[1h]))"#), ("time", "1768473000")];
                let answer = server.get("/loki/api/v1/query", &asked);
                let rows = number * LINES_A_PUSH;
                assert!(answer.status >= 500 || count_of(&answer) == rows, "{}", answer.text());
            } else {
                assert_eq!(count(&server), number * LINES_A_PUSH, "in phase {name}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let mut seen = 0;
    let mut every = move |n: usize| {
        seen += 1;
        seen % n == 0
    };
    let mut other = every;
    phase("some 500s", Box::new(move |_| if every(3) { Fault::Status(500) } else { Fault::None }));
    phase("lost in the middle of puts", {
        let lost = AtomicBool::new(false);
        Box::new(move |asked| {
            let is_data = asked.method == "PUT" && !asked.is_conditional;
            if is_data && !lost.fetch_xor(true, Ordering::SeqCst) { Fault::LostMidBody } else { Fault::None }
        })
    });
    phase("answers to commits lost", {
        let lost = AtomicUsize::new(0);
        Box::new(move |asked| {
            let is_lost = asked.is_conditional && lost.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            if is_lost { Fault::AnswerLost } else { Fault::None }
        })
    });
    phase("slow", Box::new(move |_| if other(4) { Fault::Slow(Duration::from_millis(1500)) } else { Fault::None }));
    phase(ALL_GONE, Box::new(|_| Fault::Status(503)));
    let pushed = number * LINES_A_PUSH;
    proxy.faults(|_| Fault::None);
    server.flush();
    assert_eq!(count(&server), pushed);
    server.kill();
    let server = Server::start(&data, Some(&config), &[]);
    assert_eq!(count(&server), pushed);
    // Another process sees the same rows in the table alone.
    let reader = Server::start(&directory.path().join("reader"), Some(&config), &[]);
    assert_eq!(count(&reader), pushed);
}
