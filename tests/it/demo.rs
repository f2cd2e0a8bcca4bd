//! `millrace demo`: one command, and a newcomer has logs, a spike and links that lead to it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the demo said, and the demo; dropped means killed.
struct Demo {
    child: Child,
    said: Vec<String>,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(url: &str, params: &[(&str, &str)]) -> serde_json::Value {
    let mut request = ureq::get(url);
    for (name, value) in params {
        request = request.query(*name, *value);
    }
    let text = request.call().expect("answered").body_mut().read_to_string().expect("text");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_demo_tells_its_story() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["demo", "--http-port", "0", "--data"])
        .arg(directory.path().join("demo"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stdout = child.stdout.take().expect("piped");
    let mut demo = Demo { child, said: Vec::new() };
    let started = Instant::now();
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let is_last = line.contains("Ctrl-C ends the demo");
        demo.said.push(line);
        if is_last {
            break;
        }
    }
    assert!(started.elapsed() < Duration::from_secs(60), "a newcomer waits no longer: {:?}", demo.said);
    let story = demo.said.join("\n");
    let base =
        demo.said.iter().find_map(|line| line.strip_prefix("listen ")).expect("the server says where it listens");
    assert!(story.contains(&format!("{base}/#explore?q=")), "{story}");
    let count = |query: &str| {
        let answer = get(&format!("{base}/loki/api/v1/query"), &[("query", query)]);
        let value = answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned);
        value.map_or(0.0, |value| value.parse::<f64>().expect("a number"))
    };
    assert!(count(r#"sum(count_over_time({service="inference-gateway"}[1h]))"#) > 20_000.0);
    let spike = count(r#"sum(count_over_time({service="inference-gateway", level="error"}[6m] offset 15m))"#);
    let before = count(r#"sum(count_over_time({service="inference-gateway", level="error"}[6m] offset 30m))"#);
    assert!(spike > 20.0 * before.max(1.0), "{spike} errors in the spike, {before} before it");
    let alerts = || {
        let answer = get(&format!("{base}/prometheus/api/v1/alerts"), &[]);
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        alerts.iter().any(|alert| alert["labels"]["alertname"] == "ErrorBudgetSpent" && alert["state"] == "firing")
    };
    while !alerts() {
        assert!(started.elapsed() < Duration::from_secs(60), "a newcomer sees a firing alert in one minute");
        std::thread::sleep(Duration::from_millis(250));
    }
    let live = Instant::now();
    let now = || count(r#"sum(count_over_time({service="inference-gateway"}[5s]))"#);
    while now() == 0.0 && live.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(live.elapsed() < Duration::from_secs(20), "no new lines came");
}

#[test]
fn ready_asks_the_server() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = crate::harness::Server::start(&directory.path().join("data"), None, &[]);
    let ready = |address: &str| {
        let asked = Command::new(env!("CARGO_BIN_EXE_millrace")).args(["ready", "--address", address]).output();
        asked.expect("the binary runs").status.success()
    };
    assert!(ready(server.url.trim_start_matches("http://")));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    assert!(!ready(&nobody.to_string()));
}
