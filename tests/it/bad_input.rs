//! Bodies that no sane client sends, by the real server: each is refused with the right status, or counted, and what
//! comes after it is served.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::clients::now_s;
use crate::harness::{Reply, Server, repository};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
/// How long what is counted may take to show.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a refused body may leave in memory, allocator and debug build included.
const SLACK_BYTES: usize = 400 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("in memory")
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("in memory")
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).expect("in memory")
}

/// An OTLP request with one line `x`, without a time.
const OTLP: &[u8] = b"\x0a\x09\x12\x07\x12\x05\x2a\x03\x0a\x01x";

fn otlp(server: &Server, encoding: &str, body: &[u8]) -> Reply {
    let headers = [("Content-Type", "application/x-protobuf"), ("Content-Encoding", encoding)];
    server.post("/otlp/v1/logs", &headers, body)
}

fn push_json(server: &Server, body: &[u8]) -> Reply {
    server.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body)
}

fn one_line(time: &str, line: &str) -> Vec<u8> {
    json!({"streams": [{"stream": {"service": "odd"}, "values": [[time, line]]}]}).to_string().into_bytes()
}

#[test]
fn corrupt_and_cut_compression_is_refused_and_nothing_of_it_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let status = |encoding: &str, body: &[u8]| otlp(&server, encoding, body).status;
    let count = || server.number(r#"sum(count_over_time({service_name=~".+"}[1h]))"#, now_s() + 5);
    let mut sound = 0.0;
    for (encoding, body) in [("gzip", gzip(OTLP)), ("zstd", zstd(OTLP)), ("lz4", lz4(OTLP))] {
        let answer = otlp(&server, encoding, &body);
        assert!(answer.status < 300, "{encoding}: {} {}", answer.status, answer.text());
        sound += 1.0;
        for end in [body.len() - 1, body.len() - 4, body.len() / 2, 5] {
            assert_eq!(status(encoding, &body[..end]), 400, "{encoding} cut at {end} of {}", body.len());
        }
        let mut corrupt = body.clone();
        corrupt[..4].fill(0xaa);
        assert_eq!(status(encoding, &corrupt), 400, "{encoding} with a wrong head");
        let other = if encoding == "gzip" { "zstd" } else { "gzip" };
        assert_eq!(status(other, &body), 400, "{encoding} said to be {other}");
    }
    assert_eq!(status("br", OTLP), 400);
    let protobuf = [("Content-Type", "application/x-protobuf")];
    let body = snappy(b"\x0a\x0e\x0a\x07{a=\"b\"}\x12\x03\x12\x01x");
    for body in
        [&body[..body.len() - 1], &body[1..], b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
    {
        let answer = server.post("/loki/api/v1/push", &protobuf, body);
        assert!([400, 413].contains(&answer.status), "{} {}", answer.status, answer.text());
    }
    assert_eq!(count(), sound, "only what was sound is there");
    assert_eq!(server.metric("loki_panic_total "), 0.0);
}

#[test]
fn bombs_and_huge_bodies_are_refused_without_their_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let before = server.rss_bytes();
    // 300 MB each, from a megabyte or two, at most.
    let blank = vec![b' '; 300 << 20];
    let bombs = [("gzip", gzip(&blank)), ("zstd", zstd(&blank)), ("lz4", lz4(&blank))];
    drop(blank);
    for (encoding, bomb) in &bombs {
        let answer = otlp(&server, encoding, bomb);
        assert_eq!(answer.status, 413, "{encoding} {}", answer.text());
    }
    // A bomb within a bomb is the inner one's bytes.
    let twice = gzip(&bombs[0].1);
    assert_eq!(otlp(&server, "gzip", &twice).status, 400);
    // More than may come, by its length alone: it is not read.
    let answer = announce(&server, 200 << 20);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // 99 MB of one line is read, and the line is too long.
    let answer = push_json(&server, &one_line(&now_ns().to_string(), &"x".repeat(99 << 20)));
    assert!(answer.status == 400 && answer.text().contains("max entry size"), "{} {}", answer.status, answer.text());
    // 99 MB of nothing.
    let answer = push_json(&server, &vec![b'['; 99 << 20]);
    assert_eq!(answer.status, 400);
    assert!(server.metric("loki_discarded_bytes_total{reason=\"line_too_long\",tenant=\"fake\"}") > (98 << 20) as f64);
    assert_eq!(push_json(&server, &one_line(&now_ns().to_string(), "fine")).status, 204);
    let after = server.rss_bytes();
    assert!(after < before + SLACK_BYTES, "{before} bytes before, {after} after");
    assert_eq!(server.metric("loki_panic_total "), 0.0);
    assert_eq!(server.metric("millrace_push_inflight_bytes "), 0.0);
}

fn now_ns() -> i64 {
    now_s() * 1_000_000_000
}

/// The first line of the answer to a body of which only the length came.
fn announce(server: &Server, bytes: usize) -> String {
    use std::io::BufRead;

    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).expect("it listens");
    let head = format!(
        "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut line = String::new();
    std::io::BufReader::new(stream).read_line(&mut line).expect("an answer");
    line
}

#[test]
fn absurd_times_are_refused_or_kept_and_found() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    // By default nothing is taken that is not of these days.
    let server = Server::start(&directory.path().join("strict"), None, &[]);
    let nines = "253402300799000000000";
    for time in
        ["-1", "0", "-9223372036854775808", "9223372036854775807", nines, "-99999999999999999999", "1e18", "now", ""]
    {
        let answer = push_json(&server, &one_line(time, "x"));
        assert_eq!(answer.status, 400, "{time}: {}", answer.text());
    }
    let discarded =
        |reason: &str| server.metric(&format!("loki_discarded_samples_total{{reason=\"{reason}\",tenant=\"fake\"}}"));
    assert_eq!(discarded("greater_than_max_sample_age"), 3.0);
    assert_eq!(discarded("too_far_in_future"), 1.0);
    // Elastic and OTLP name what they refuse.
    let bulk = "{\"create\":{\"_index\":\"a\"}}\n{\"@timestamp\":\"9999-12-31T23:59:59Z\",\"message\":\"x\"}\n{\"create\":{\"_index\":\"a\"}}\n{\"@timestamp\":9223372036854775807,\"message\":\"x\"}\n";
    let answer = server.post("/_bulk", &[("Content-Type", "application/x-ndjson")], bulk.as_bytes());
    let items = answer.json()["items"].clone();
    assert_eq!((&items[0]["create"]["status"], &items[1]["create"]["status"]), (&400.into(), &400.into()), "{items}");
    // Where every age is taken the ends of time are kept, found, and survive a flush and a restart.
    let golden = repository("tests/golden/config.yaml");
    let server = Server::start(&data, Some(&golden), &[]);
    for (at, time) in ["-9223372036854775808", "-9223372036854775807", "-1", "0", "1"].iter().enumerate() {
        let answer = push_json(&server, &one_line(time, &format!("absurd {at}")));
        assert!([204, 400].contains(&answer.status), "{time}: {} {}", answer.status, answer.text());
    }
    assert_eq!(push_json(&server, &one_line(&format!("{START_S}000000000"), "usual")).status, 204);
    server.flush();
    let lines = |server: &Server, start: &str, end: &str| {
        let params = [("query", r#"{service="odd"}"#), ("start", start), ("end", end), ("limit", "100")];
        let answer = server.get("/loki/api/v1/query_range", &params);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let streams = answer.json()["data"]["result"].as_array().cloned().unwrap_or_default();
        streams.iter().map(|stream| stream["values"].as_array().map_or(0, Vec::len)).sum::<usize>()
    };
    assert_eq!(lines(&server, "-1", "10"), 3, "around the epoch");
    assert_eq!(lines(&server, "1768471199", "1768471201"), 1);
    server.kill();
    let server = Server::start(&data, Some(&golden), &[]);
    assert_eq!(lines(&server, "-1", "10"), 3, "around the epoch, after a restart");
    assert_eq!(lines(&server, "1768471199", "1768471201"), 1);
    assert_eq!(server.metric("loki_panic_total "), 0.0);
}

#[test]
fn wrong_schemas_are_named_at_every_door() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.yaml");
    let text = "auth_enabled: false\nserver: {http_listen_address: 127.0.0.1}\nmillrace: {syslog: {udp: \"127.0.0.1:0\", tcp: \"127.0.0.1:0\"}}\n";
    std::fs::write(&config, text).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    let check = |path: &str, content_type: &str, body: &[u8], statuses: &[u16]| {
        let answer = server.post(path, &[("Content-Type", content_type)], body);
        assert!(statuses.contains(&answer.status), "{path} {content_type}: {} {}", answer.status, answer.text());
        assert!(!answer.body.is_empty(), "{path}: refused without a word");
    };
    let (json_type, protobuf) = ("application/json", "application/x-protobuf");
    let otlp_json = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#;
    // The body of one door at another.
    check("/loki/api/v1/push", json_type, otlp_json, &[422]);
    check("/loki/api/v1/push", protobuf, &snappy(OTLP), &[400, 422]);
    check("/loki/api/v1/push", protobuf, otlp_json, &[400]);
    check("/otlp/v1/logs", json_type, &one_line("1", "x"), &[400, 422]);
    check("/otlp/v1/logs", protobuf, &one_line("1", "x"), &[400, 422]);
    check("/_bulk", json_type, &one_line("1", "x"), &[400]);
    check("/loki/api/v1/push", json_type, br#"{"streams":{"stream":{},"values":[]}}"#, &[400]);
    check("/loki/api/v1/push", json_type, br#"{"streams":[{"stream":{"a":"b"},"values":[[1,"x"]]}]}"#, &[400]);
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    check("/loki/api/v1/push", json_type, format!("{{\"x\":{deep},\"streams\":[]}}").as_bytes(), &[400]);
    check("/otlp/v1/logs", json_type, format!("{{\"x\":{deep}}}").as_bytes(), &[400, 422]);
    // Syslog answers nobody: what is no message is a line, what is no frame ends its connection and is counted.
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (to_udp, to_tcp) = (server.address("syslog udp "), server.address("syslog tcp "));
    for datagram in [&b"\xff\xfe\x00\x80"[..], b"<999>x", &[b'<'; 9_000], b""] {
        udp.send_to(datagram, &to_udp).expect("sent");
    }
    let mut broken = TcpStream::connect(&to_tcp).expect("it listens");
    broken.write_all(b"99999999999999999999 <13>x").expect("sent");
    let mut sound = TcpStream::connect(&to_tcp).expect("it listens");
    sound.write_all(b"<13>1 - h app - - - sound\n").expect("sent");
    let started = Instant::now();
    let arrived = || server.number(r#"sum(count_over_time({job="syslog"} |= "sound"[1h]))"#, now_s() + 5);
    while arrived() < 1.0 || server.metric("millrace_syslog_broken_total ") < 1.0 {
        assert!(started.elapsed() < PATIENCE, "the sound message does not arrive");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.metric("loki_panic_total "), 0.0);
}

#[test]
fn poisoned_records_of_every_kind_stop_no_partition() {
    let Some(broker) = Broker::start_with("message.max.bytes=130000000\nsocket.request.max.bytes=140000000\n") else {
        return;
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let topics: String = [
        ("raw", "raw"),
        ("docs", "json"),
        ("pushes", "loki_json"),
        ("protos", "loki_protobuf"),
        ("otlps", "otlp_protobuf"),
    ]
    .iter()
    .map(|(topic, format)| format!("    - {{topic: {topic}, format: {format}, labels: {{topic: service}}}}\n"))
    .collect();
    let text = format!("{golden}\nkafka:\n  brokers: [\"{}\"]\n  topics:\n{topics}", broker.address);
    let config = directory.path().join("config.yaml");
    std::fs::write(&config, text).expect("written");
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    // A record of 100 MB before a sound one, in the same partition.
    let huge = file("huge", &vec![b'x'; 100 << 20]);
    broker.produce_file("raw", &huge, &["-p", "0", "-X", "message.max.bytes=125000000"]);
    broker.produce("raw", "sound\n", &["-p", "0"]);
    let time = format!("{START_S}000000000");
    let sound_push = json!({"streams": [{"stream": {"service": "pushes"}, "values": [[time, "sound"]]}]}).to_string();
    // The last is a document, though no push.
    for poison in ["\u{0}\u{1}", "[1]", "{\"a\":", &"[".repeat(100_000), "{\"streams\":5}"] {
        for topic in ["docs", "pushes"] {
            broker.produce_file(topic, &file("poison", poison.as_bytes()), &["-p", "0"]);
        }
    }
    for poison in [
        &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..],
        b"\x0a\xff\xff\xff\xff\x0f",
        &gzip(OTLP),
        &snappy(&vec![0xff; 1 << 20]),
    ] {
        for topic in ["protos", "otlps"] {
            broker.produce_file(topic, &file("poison", poison), &["-p", "0"]);
        }
    }
    broker.produce("docs", "{\"m\":\"sound\"}\n", &["-p", "0"]);
    broker.produce("pushes", &format!("{sound_push}\n"), &["-p", "0"]);
    broker.produce_file("otlps", &file("sound", OTLP), &["-p", "0"]);
    broker.produce_file(
        "protos",
        &file("sound", b"\x0a\x18\x0a\x12{service=\"protos\"}\x12\x02\x12\x00"),
        &["-p", "0"],
    );
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    let metric = |series: &str| {
        let text = server.get("/metrics", &[]).text();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    let expected =
        [("raw", 2.0, 1.0), ("docs", 6.0, 4.0), ("pushes", 6.0, 5.0), ("protos", 5.0, 4.0), ("otlps", 5.0, 4.0)];
    let state = || {
        expected.map(|(topic, ..)| {
            let of = |name: &str| metric(&format!("millrace_kafka_{name}_total{{topic=\"{topic}\"}}"));
            (topic, of("records"), of("rejected"))
        })
    };
    let started = Instant::now();
    while state() != expected && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(state(), expected, "topic, records, rejected");
    // The sound ones are there, whatever came before them.
    let taken = server.metric("loki_distributor_lines_received_total{tenant=\"fake\"}");
    assert_eq!(taken, 6.0);
    assert_eq!(metric("loki_panic_total "), 0.0);
    let found: Value = server
        .get("/loki/api/v1/query", &[("query", r#"count_over_time({service="pushes"}[1h])"#), ("time", "1768473000")])
        .json();
    assert_eq!(found["data"]["result"][0]["value"][1], "1");
    // Positions went past the poison: a restart reads none of it again.
    server.stop();
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    broker.produce("raw", "after\n", &["-p", "0"]);
    let started = Instant::now();
    let records = |server: &Server| {
        let text = server.get("/metrics", &[]).text();
        let of_raw = "millrace_kafka_records_total{topic=\"raw\"}";
        text.lines().find_map(|line| line.strip_prefix(of_raw)?.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    while records(&server) < 1.0 && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(records(&server), 1.0);
}
