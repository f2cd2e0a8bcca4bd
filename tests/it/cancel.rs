//! A question that nobody waits for any more costs nothing any more.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Server, repository};

const NOW_S: i64 = 1_768_471_200;
const LINES: i64 = 60_000;
/// How long work may go on; the query itself would take minutes.
const WAIT: Duration = Duration::from_secs(30);

/// CPU time of a process, in ticks of the kernel.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < WAIT, "{what} within {WAIT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server with many lines of one stream.
fn with_lines() -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), Some(&repository("tests/golden/config.yaml")), &[]);
    for chunk in 0..20 {
        let of_chunk = (0..LINES / 20).map(|at| line(chunk * (LINES / 20) + at));
        push(&server, of_chunk.collect());
    }
    (directory, server)
}

fn line(at: i64) -> Value {
    json!([(NOW_S * 1_000_000_000 + at).to_string(), format!(r#"{{"n":{at},"text":"some words of number {at}"}}"#)])
}

fn push(server: &Server, values: Vec<Value>) {
    server.push(&json!({"streams": [{"stream": {"service": "cancelled"}, "values": values}]}));
}

/// Each term looks at all lines in its own way: nothing is shared, nothing is cached.
fn slow_query(terms: usize, words: &str) -> String {
    let mut query = String::from("vector(0)");
    for term in 0..terms {
        let one = format!(
            r#" + sum(count_over_time({{service="cancelled"}} | json | line_format "{{{{.text}}}} {term}" |~ "w(o|0)rds.*{words}" [1h]))"#
        );
        query.write_str(&one).expect("a string takes it");
    }
    query
}

/// Asks, and does not wait for the answer.
fn ask(server: &Server, query: &str) -> TcpStream {
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(&address).expect("it listens");
    let url = url_path(query);
    write!(connection, "GET {url} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
    connection
}

/// The one value of an answer.
fn value(mut connection: TcpStream) -> f64 {
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("an answer");
    let value = text.split_once(r#""value":["#).and_then(|(_, rest)| rest.split('"').nth(1));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_closed_connection_stops_the_work() {
    let (_directory, server) = with_lines();
    let connection = ask(&server, &slow_query(200, "number"));
    let running = || server.metric("millrace_queries_running");
    wait_until("the query runs", || running() == 1.0);
    let before = cpu_ticks(server.pid());
    wait_until("it computes", || cpu_ticks(server.pid()) > before + 20);
    drop(connection);
    wait_until("it is over", || running() == 0.0);
    wait_until("the threads rest", || {
        let before = cpu_ticks(server.pid());
        std::thread::sleep(Duration::from_millis(500));
        cpu_ticks(server.pid()) - before <= 10
    });
    assert_eq!(server.get("/ready", &[]).status, 200);
}

#[test]
fn equal_questions_are_answered_together_unless_a_row_came_between() {
    const TERMS: usize = 6;
    let (_directory, server) = with_lines();
    let query = slow_query(TERMS, "number");
    let joined = || server.metric("millrace_queries_joined");
    let running = || server.metric("millrace_queries_running");
    let first = ask(&server, &query);
    wait_until("the first runs", || running() == 1.0);
    let second = ask(&server, &query);
    wait_until("the second is with it", || joined() == 1.0);
    // Who goes away takes nothing from the other.
    drop(first);
    assert_eq!(value(second), (TERMS as i64 * LINES) as f64);
    let third = ask(&server, &query);
    wait_until("the third runs", || running() == 1.0);
    push(&server, vec![line(LINES)]);
    let fourth = ask(&server, &query);
    assert_eq!(value(fourth), (TERMS as i64 * (LINES + 1)) as f64);
    // Terms that began later may have the row.
    let third = value(third) - (TERMS as i64 * LINES) as f64;
    assert!((0.0..=TERMS as f64).contains(&third), "{third}");
    assert_eq!(joined(), 1.0);
}

fn url_path(query: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let end = (NOW_S + 3_000) * 1_000_000_000;
    format!("/loki/api/v1/query?query={encoded}&time={end}")
}
