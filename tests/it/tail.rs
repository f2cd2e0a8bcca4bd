//! Live tails over a websocket: history, new lines, filters, tenants, slow readers, limits, the end.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::http::Request;
use tungstenite::{Message, WebSocket, client};

use crate::harness::Server;

/// How long a frame may take on a busy machine.
const FRAME_WAIT: Duration = Duration::from_secs(20);

fn now_ns() -> i64 {
    chrono::Utc::now().timestamp_nanos_opt().expect("a time of this century")
}

fn open(server: &Server, params: &[(&str, &str)], headers: &[(&str, &str)]) -> WebSocket<TcpStream> {
    let host = server.url.trim_start_matches("http://");
    let query: Vec<String> = params
        .iter()
        .map(|(name, value)| {
            format!("{name}={}", percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC))
        })
        .collect();
    let mut request = Request::builder()
        .uri(format!("ws://{host}/loki/api/v1/tail?{}", query.join("&")))
        .header("Host", host)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", tungstenite::handshake::client::generate_key());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let stream = TcpStream::connect(host).expect("the server listens");
    stream.set_read_timeout(Some(FRAME_WAIT)).expect("settable");
    client(request.body(()).expect("a request"), stream).expect("the socket opens").0
}

/// The next frame of lines; pings are passed over.
fn frame(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match socket.read().expect("a frame in time") {
            Message::Text(text) => return serde_json::from_str(text.as_str()).expect("a frame is JSON"),
            Message::Close(reason) => panic!("closed: {reason:?}"),
            _ => {}
        }
    }
}

/// Lines until there are `count`.
fn lines(socket: &mut WebSocket<TcpStream>, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        let frame = frame(socket);
        for stream in frame["streams"].as_array().expect("streams") {
            found.extend(
                stream["values"].as_array().expect("values").iter().map(|v| v[1].as_str().expect("text").to_owned()),
            );
        }
    }
    found
}

fn push(server: &Server, service: &str, lines: &[String], headers: &[(&str, &str)]) {
    let now = now_ns() - lines.len() as i64;
    let values: Vec<_> =
        lines.iter().enumerate().map(|(at, line)| json!([(now + at as i64).to_string(), line])).collect();
    let body = json!({"streams": [{"stream": {"service": service}, "values": values}]}).to_string();
    let headers: Vec<_> = headers.iter().copied().chain([("Content-Type", "application/json")]).collect();
    let answer = server.post("/loki/api/v1/push", &headers, body.as_bytes());
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn numbered(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|at| format!("level=info line={at}")).collect()
}

#[test]
fn history_comes_first_and_every_line_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    push(&server, "tailed", &numbered(0, 50), &[]);
    let mut socket = open(&server, &[("query", r#"{service="tailed"}"#), ("limit", "20")], &[]);
    for part in 1..20 {
        push(&server, "tailed", &numbered(part * 50, part * 50 + 50), &[]);
        push(&server, "other", &numbered(0, 5), &[]);
    }
    let got = lines(&mut socket, 20 + 950);
    assert_eq!(got, [numbered(30, 50), numbered(50, 1000)].concat());
    let text = server.get("/metrics", &[]).text();
    assert!(text.contains("loki_querier_tail_active 1"), "{text}");
}

#[test]
fn the_pipeline_runs_and_labels_are_told_apart_when_asked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let query = r#"{service="tailed"} |= "line=7" | logfmt | line_format "n {{.line}}""#;
    let mut plain = open(&server, &[("query", query)], &[]);
    let flags = [("X-Loki-Response-Encoding-Flags", "categorize-labels")];
    let mut apart = open(&server, &[("query", query), ("delay_for", "1")], &flags);
    push(&server, "tailed", &numbered(0, 10), &[]);
    let sent = Instant::now();
    let merged = frame(&mut plain);
    let expected =
        json!({"detected_level": "info", "level": "info", "line": "7", "service": "tailed", "service_name": "tailed"});
    assert_eq!(merged["streams"][0]["stream"], expected);
    assert_eq!(merged["streams"][0]["values"][0][1], "n 7");
    assert!(merged.get("encodingFlags").is_none());
    let frame = frame(&mut apart);
    assert!(sent.elapsed() >= Duration::from_millis(900), "delay_for holds entries back");
    assert_eq!(frame["encodingFlags"], json!(["categorize-labels"]));
    assert_eq!(frame["streams"][0]["stream"], json!({"service": "tailed", "service_name": "tailed"}));
    let more = &frame["streams"][0]["values"][0][2];
    assert_eq!(more["structuredMetadata"], json!({"detected_level": "info"}));
    assert_eq!(more["parsed"], json!({"level": "info", "line": "7"}));
}

#[test]
fn a_bad_tail_is_refused_before_the_upgrade() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let check = |params: &[(&str, &str)], text: &str| {
        let answer = server.get("/loki/api/v1/tail", params);
        assert_eq!(answer.status, 400, "{params:?}: {}", answer.text());
        assert!(answer.text().contains(text), "{params:?}: {}", answer.text());
    };
    check(&[("query", "{")], "parse error");
    check(&[("query", r#"rate({service="a"}[1m])"#)], "only log selector is supported");
    check(&[("query", r#"{service="a"}"#), ("delay_for", "6")], "delay_for can't be greater than 5");
    check(&[("query", r#"{service="a"}"#), ("limit", "0")], "limit must be a positive value");
}

#[test]
fn tenants_are_apart_and_have_a_limit() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.yaml");
    std::fs::write(&config, "auth_enabled: true\nserver: {http_listen_address: 127.0.0.1}\nlimits_config: {max_concurrent_tail_requests: 1}\n").expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    let (a, b) = ([("X-Scope-OrgID", "a")], [("X-Scope-OrgID", "b")]);
    let query = [("query", r#"{service="tailed"}"#)];
    let mut of_a = open(&server, &query, &a);
    let mut of_b = open(&server, &query, &b);
    push(&server, "tailed", &["for b".to_owned()], &b);
    assert_eq!(lines(&mut of_b, 1), ["for b"]);
    push(&server, "tailed", &["for a".to_owned()], &a);
    assert_eq!(lines(&mut of_a, 1), ["for a"], "the line of another tenant was seen");
    let mut second = open(&server, &query, &a);
    let ended = loop {
        match second.read().expect("a close frame") {
            Message::Close(frame) => break frame.expect("with a reason"),
            _ => continue,
        }
    };
    assert_eq!(u16::from(ended.code), 1011);
    assert_eq!(ended.reason.as_str(), "max concurrent tail requests limit exceeded, count > limit (2 > 1)");
    assert_eq!(server.get("/loki/api/v1/tail", &query).status, 401);
    let several = server.get_with("/loki/api/v1/tail", &query, &[("X-Scope-OrgID", "a|b")]);
    assert_eq!(several.status, 400);
}

#[test]
fn a_slow_reader_is_told_what_it_missed_and_holds_up_nobody() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let query = [("query", r#"{service="flood"}"#)];
    let mut slow = open(&server, &query, &[]);
    let mut quick = open(&server, &[("query", r#"{service="flood"} |= "seldom""#)], &[]);
    let padding = "x".repeat(800);
    for part in 0..60 {
        let lines: Vec<String> = (0..1000).map(|at| format!("part={part} line={at} {padding}")).collect();
        push(&server, "flood", &lines, &[]);
    }
    push(&server, "flood", &["seldom and last".to_owned()], &[]);
    assert_eq!(lines(&mut quick, 1), ["seldom and last"], "another tail went on");
    let (mut got, mut dropped, mut last) = (0, 0, String::new());
    while last != "seldom and last" {
        let frame = frame(&mut slow);
        for entry in frame["dropped_entries"].as_array().into_iter().flatten() {
            assert_eq!(entry["labels"]["service"], "flood");
            assert!(entry["timestamp"].as_str().is_some_and(|at| at.parse::<i64>().is_ok()), "{entry}");
            dropped += 1;
        }
        for stream in frame["streams"].as_array().expect("streams") {
            for value in stream["values"].as_array().expect("values") {
                got += 1;
                value[1].as_str().expect("text").clone_into(&mut last);
            }
        }
    }
    assert!(dropped > 0 && got < 60_001, "{got} lines came, {dropped} were told to be dropped");
}

#[test]
fn a_tail_ends_with_the_server() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let mut socket = open(&server, &[("query", r#"{service="tailed"}"#)], &[]);
    let answer = server.post("/ingester/shutdown", &[], b"");
    assert_eq!(answer.status, 204, "{}", answer.text());
    let ended = loop {
        match socket.read() {
            Ok(Message::Close(frame)) => break frame,
            Ok(_) => continue,
            Err(error) => panic!("no close frame: {error}"),
        }
    };
    assert_eq!(ended.map(|frame| frame.reason.as_str().to_owned()).as_deref(), Some("the server is stopping"));
}
