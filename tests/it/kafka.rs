//! Kafka, with a real broker and kcat: every record once, whatever is killed, moved or broken.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::harness::{Server, repository};

const START_S: i64 = 1_768_471_200;
/// How long records may take to be queryable or committed on a busy machine in a debug build.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbered JSON lines, `from` to `to`.
pub(crate) fn lines(from: usize, to: usize) -> String {
    (from..to)
        .map(|at| {
            let second = START_S + (at % 600) as i64;
            format!("{{\"ts\":{second},\"service\":\"gateway\",\"n\":{at},\"part\":\"{}\"}}\n", at % 5)
        })
        .collect()
}

fn config(directory: &Path, broker: &Broker, more: &str) -> PathBuf {
    let path = directory.join("kafka.yaml");
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let text = format!(
        "{golden}\nkafka:\n  brokers: [\"{}\"]\n  session_timeout: 10s\n{more}\n  topics:\n    - topic: numbers\n      \
         format: json\n      labels: {{fields: {{service: \"\", part: \"\"}}}}\n      timestamp: {{field: ts}}\n      \
         metadata: {{position: true}}\nmillrace:\n  flush:\n    max_bytes: 256KB\n    max_age: 1s\n  table:\n    url: \
         file://{}/table\n",
        broker.address,
        directory.display()
    );
    std::fs::write(&path, text).expect("written");
    path
}

pub(crate) fn count(server: &Server) -> usize {
    let answer = server.get(
        "/loki/api/v1/query",
        &[("query", r#"sum(count_over_time({service="gateway"}[1h]))"#), ("time", &(START_S + 1800).to_string())],
    );
    let answer = answer.json();
    answer["data"]["result"][0]["value"][1].as_str().map_or(0, |text| text.parse().expect("a number"))
}

/// All rows there are.
pub(crate) fn count_all(server: &Server) -> usize {
    let answer = server.get("/api/v1/sql", &[("query", "select count(*) as n from logs")]);
    answer.json()[0]["n"].as_u64().expect("a number") as usize
}

pub(crate) fn wait_for(server: &Server, expected: usize) {
    let started = Instant::now();
    let mut found = 0;
    while started.elapsed() < PATIENCE {
        found = count(server);
        assert!(found <= expected, "{found} rows of {expected}: some are there twice");
        if found == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{found} of {expected} rows after {PATIENCE:?}");
}

/// Each number is there once.
pub(crate) fn check_distinct(server: &Server, expected: usize) {
    let sql = "select count(*) as n, count(distinct line) as d from logs";
    let answer = server.get_with("/api/v1/sql", &[("query", sql)], &[("Accept", "text/csv")]);
    assert_eq!(answer.text().trim(), format!("n,d\n{expected},{expected}"));
}

#[test]
fn records_are_queryable_at_once_and_stored_once_through_kills_and_a_broker_restart() {
    let Some(mut broker) = Broker::start() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = config(directory.path(), &broker, "");
    let data = directory.path().join("data");
    broker.produce("numbers", &lines(0, 100), &[]);
    let server = Server::start(&data, Some(&config), &[]);
    wait_for(&server, 100);
    broker.produce("numbers", &lines(100, 101), &[]);
    let started = Instant::now();
    wait_for(&server, 101);
    // Not a benchmark: a second is the promise, the rest is a busy machine.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?} until a record could be queried", started.elapsed());
    server.kill();
    let mut produced = 101;
    for round in 0..4 {
        let server = Server::start(&data, Some(&config), &[]);
        let next = produced + 5_000;
        std::thread::scope(|scope| {
            let producing = scope.spawn(|| broker.produce("numbers", &lines(produced, next), &[]));
            std::thread::sleep(Duration::from_millis(400 + 300 * round));
            server.kill();
            producing.join().expect("produced");
        });
        produced = next;
    }
    broker.restart();
    let server = Server::start(&data, Some(&config), &[]);
    broker.produce("numbers", &lines(produced, produced + 1_000), &[]);
    produced += 1_000;
    wait_for(&server, produced);
    check_distinct(&server, produced);
    server.stop();
    let server = Server::start(&data, Some(&config), &[]);
    wait_for(&server, produced);
    check_distinct(&server, produced);
    // All rows are in the table already: the partitions may come a moment later.
    let started = Instant::now();
    while !server.get("/metrics", &[]).text().contains("millrace_kafka_rebalances_total{kind=\"assigned\"}") {
        assert!(started.elapsed() < PATIENCE, "no partition is assigned");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_second_instance_shares_the_partitions_and_the_table() {
    let Some(broker) = Broker::start() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = config(directory.path(), &broker, "");
    let first = Server::start(&directory.path().join("first"), Some(&config), &[]);
    broker.produce("numbers", &lines(0, 5_000), &[]);
    let second = std::thread::scope(|scope| {
        let producing = scope.spawn(|| broker.produce("numbers", &lines(5_000, 20_000), &[]));
        let second = Server::start(&directory.path().join("second"), Some(&config), &[]);
        std::thread::sleep(Duration::from_secs(2));
        producing.join().expect("produced");
        second
    });
    // What one instance has committed the other sees; what is only in the other's memory is committed by age.
    wait_for(&first, 20_000);
    wait_for(&second, 20_000);
    // One leaves without a word: its partitions go to the other, which reads what was not committed again.
    broker.produce("numbers", &lines(20_000, 22_000), &[]);
    second.kill();
    broker.produce("numbers", &lines(22_000, 25_000), &[]);
    wait_for(&first, 25_000);
    check_distinct(&first, 25_000);
}

/// Where an instance dies; none: at some moment, from outside.
const POINTS: [Option<&str>; 6] =
    [Some("flush.written"), Some("flush.committed"), None, Some("flush.written@2"), None, Some("flush.committed@2")];

#[test]
fn instances_that_join_and_die_and_a_broker_that_restarts_under_them_store_each_record_once() {
    const A_ROUND: usize = 4_000;
    let Some(mut broker) = Broker::start() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = config(directory.path(), &broker, "");
    let (first_data, second_data) = (directory.path().join("first"), directory.path().join("second"));
    let mut first = Server::start(&first_data, Some(&config), &[]);
    let mut produced = 0;
    for (round, point) in POINTS.into_iter().enumerate() {
        let variables: Vec<(&str, &str)> = point.iter().map(|point| ("MILLRACE_FAILPOINT", *point)).collect();
        let next = produced + A_ROUND;
        let text = lines(produced, next);
        std::thread::scope(|scope| {
            // kcat sends again what a broker that went did not answer; the broker knows it by its number.
            let producing = scope.spawn(|| broker.produce("numbers", &text, &["-X", "enable.idempotence=true"]));
            // It joins, takes partitions from the first, and dies there or when it is killed.
            let second = Server::launch(&second_data, Some(&config), &[], &variables);
            std::thread::sleep(Duration::from_millis(1_500 + 400 * round as u64));
            drop(second);
            producing.join().expect("produced");
        });
        produced = next;
        if round % 2 == 1 {
            first.kill();
            first = Server::start(&first_data, Some(&config), &[]);
        }
        if round % 3 == 2 {
            // The first goes on consuming while the broker is away and comes back.
            broker.restart();
        }
    }
    wait_for(&first, produced);
    check_distinct(&first, produced);
    let second = Server::start(&second_data, Some(&config), &[]);
    wait_for(&second, produced);
    check_distinct(&second, produced);
}

#[test]
fn poisoned_records_go_to_the_dead_letter_topic_and_stop_nothing() {
    let Some(broker) = Broker::start() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = config(directory.path(), &broker, "  dead_letter_topic: dead");
    broker.produce("numbers", &lines(0, 10), &[]);
    broker.produce("numbers", "this is no JSON\n", &["-H", "who=kcat"]);
    broker.produce("numbers", &lines(10, 20), &[]);
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    wait_for(&server, 20);
    let started = Instant::now();
    let mut letters = String::new();
    while letters.is_empty() && started.elapsed() < PATIENCE {
        letters = broker.consume("dead", "%h|%s\n");
    }
    assert!(letters.contains("this is no JSON") && letters.contains("who=kcat"), "{letters}");
    assert!(letters.contains("millrace-reason=not a JSON object"), "{letters}");
    assert!(letters.contains("millrace-topic=numbers"), "{letters}");
}

#[test]
fn kafka_check_shows_what_records_would_become() {
    let Some(broker) = Broker::start() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = config(directory.path(), &broker, "");
    broker.produce("numbers", &lines(0, 3), &["-p", "0"]);
    broker.produce("numbers", "broken\n", &["-p", "0"]);
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["kafka", "check", "--config"])
        .arg(&config)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    for expected in
        ["partition 0: offsets 0 to 4", r#""service":"gateway""#, "rejected: not a JSON object", "tenant   fake"]
    {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
}
