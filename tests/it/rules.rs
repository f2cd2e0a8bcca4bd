//! Rules in the real process: alerts reach an Alertmanager, states survive `kill -9`, files change while it runs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::Server;

/// How long a thing may take that takes a second or two on an idle machine.
const WAIT: Duration = Duration::from_secs(40);

/// An HTTP server that keeps what is posted to it.
pub(crate) struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    pub(crate) at: Instant,
}

impl Receiver {
    /// `refuse`: the first requests are answered with 500.
    pub(crate) fn start(refuse: usize) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let kept = requests.clone();
        let refused = std::sync::atomic::AtomicUsize::new(0);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream);
                if let Some((path, headers, body)) = read_request(&mut reader) {
                    let number = refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let status = if number < refuse { "500 Internal Server Error" } else { "200 OK" };
                    if number >= refuse {
                        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                        kept.lock().expect("not poisoned").push(Request { path, headers, body, at: Instant::now() });
                    }
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    let _ = reader.get_mut().write_all(answer.as_bytes());
                }
            }
        });
        Receiver { port, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("not poisoned").clone()
    }

    /// Alerts of this name, oldest first, with the request they came in.
    fn alerts(&self, name: &str) -> Vec<(Request, Value)> {
        let of = |request: Request| {
            let alerts = request.body.as_array().cloned().unwrap_or_default();
            alerts.into_iter().map(move |alert| (request.clone(), alert))
        };
        let all = self.requests().into_iter().flat_map(of);
        all.filter(|(_, alert)| alert["labels"]["alertname"] == name).collect()
    }
}

type Parts = (String, BTreeMap<String, String>, Vec<u8>);

fn read_request(reader: &mut impl BufRead) -> Option<Parts> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, headers, body))
}

pub(crate) fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as i64
}

pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < WAIT, "not within {WAIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn push(server: &Server, service: &str, lines: &[&str]) {
    let values: Vec<Value> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| json!([(now_ns() - 10_000_000 + at as i64).to_string(), line]))
        .collect();
    server.push(&json!({"streams": [{"stream": {"service": service}, "values": values}]}));
}

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    config: PathBuf,
}

impl World {
    pub(crate) fn new(managers: &str, rules: &str) -> World {
        World::with_views(managers, rules, "[]")
    }

    pub(crate) fn with_views(managers: &str, rules: &str, views: &str) -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let rules_directory = directory.path().join("rules");
        std::fs::create_dir_all(&rules_directory).expect("made");
        std::fs::write(rules_directory.join("rules.yaml"), rules).expect("written");
        let config = directory.path().join("config.yaml");
        let text = format!(
            r#"
auth_enabled: false
server: {{http_listen_address: 127.0.0.1}}
ruler:
  storage: {{type: local, local: {{directory: {}}}}}
  alertmanager_url: {managers}
  external_url: http://grafana:3000
  datasource_uid: loki
  external_labels: {{cluster: test}}
  evaluation_interval: 1s
  poll_interval: 200ms
  resend_delay: 2s
millrace:
  flow: {{delay: 200ms, idle_after: 2s, continuous_views: {views}}}
"#,
            rules_directory.display()
        );
        std::fs::write(&config, text).expect("written");
        World { directory, config }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn start(&self) -> Server {
        Server::start(&self.data(), Some(&self.config), &[])
    }

    pub(crate) fn rules(&self) -> PathBuf {
        self.directory.path().join("rules/rules.yaml")
    }
}

/// The rule of this name as the server shows it.
pub(crate) fn rule(server: &Server, name: &str) -> Value {
    let answer = server.get("/prometheus/api/v1/rules", &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let groups = answer.json()["data"]["groups"].as_array().cloned().unwrap_or_default();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
    rules.into_iter().find(|rule| rule["name"] == name).unwrap_or(Value::Null)
}

fn active_at(server: &Server, name: &str, state: &str) -> Option<String> {
    let rule = rule(server, name);
    let alert = rule["alerts"].as_array()?.iter().find(|alert| alert["state"] == state)?.clone();
    Some(alert["activeAt"].as_str().expect("a time").to_owned())
}

const ALERTS: &str = r#"
groups:
  - name: quick
    rules:
      - alert: TooManyErrors
        expr: sum by (service) (count_over_time({service="gw"} |= "error" [3s])) > 2
        labels: {severity: "{{ if gt $value 4.0 }}critical{{ else }}warning{{ end }}"}
        annotations:
          summary: "{{ $labels.service }} has {{ $value }} errors"
          lines: "{{ $sample }}"
          link: "{{ $grafanaURL }}"
  - name: slow
    interval: 1h
    rules:
      - alert: NotAtTheNextHour
        expr: sum(count_over_time({service="gw"} |= "error" [1m])) > 2
"#;

#[test]
fn an_alert_reaches_every_manager_and_is_resolved() {
    // The first manager is broken at first; the second is not held up by it.
    let (broken, other) = (Receiver::start(2), Receiver::start(0));
    let managers = format!("{}, http://user:secret@127.0.0.1:{}", broken.url(), other.port);
    let world = World::new(&managers, ALERTS);
    let server = world.start();
    until("rules run", || (rule(&server, "TooManyErrors")["health"] == "ok").then_some(()));
    assert_eq!(rule(&server, "TooManyErrors")["evaluation"], "incremental");
    let pushed = Instant::now();
    push(&server, "gw", &["error one", "fine", "error two", "error three", "error four", "error five"]);
    push(&server, "other", &["error", "error", "error", "error"]);
    let (request, alert) = until("the alert", || {
        other.alerts("TooManyErrors").into_iter().find(|(_, a)| a["labels"]["severity"] == "critical")
    });
    // The documented schema, field by field.
    assert_eq!(request.path, "/api/v2/alerts");
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["authorization"], "Basic dXNlcjpzZWNyZXQ=");
    assert_eq!(request.headers["x-scope-orgid"], "fake");
    assert_eq!(
        alert["labels"],
        json!({"alertname": "TooManyErrors", "cluster": "test", "service": "gw", "severity": "critical"})
    );
    let annotations = &alert["annotations"];
    assert_eq!(annotations["summary"], "gw has 5 errors");
    assert_eq!(annotations["lines"], "error five\nerror four\nerror three");
    let link = annotations["link"].as_str().expect("text");
    assert!(link.starts_with("http://grafana:3000/explore?left=") && link.contains("count_over_time"), "{link}");
    assert_eq!(alert["generatorURL"], annotations["link"]);
    let fields: Vec<&str> = alert.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(fields, ["labels", "annotations", "startsAt", "endsAt", "generatorURL"]);
    let time = |alert: &Value, field: &str| {
        let text = alert[field].as_str().expect("a time").to_owned();
        chrono::DateTime::parse_from_rfc3339(&text).unwrap_or_else(|e| panic!("{text}: {e}"))
    };
    assert!(time(&alert, "endsAt") > time(&alert, "startsAt"));
    // A group of an hour did not wait for the hour.
    let (request, _) = until("the alert of the slow group", || other.alerts("NotAtTheNextHour").into_iter().next());
    let after = request.at.duration_since(pushed);
    assert!(after < Duration::from_secs(20), "{after:?}");
    // Resolved when the errors left the window; `endsAt` is then in the past.
    let (_, resolved) = until("the resolution", || {
        let last = other.alerts("TooManyErrors").into_iter().rfind(|(_, a)| a["labels"]["severity"] == "critical")?;
        (time(&last.1, "endsAt").timestamp_nanos_opt()? <= now_ns()).then_some(last)
    });
    assert_eq!(resolved["startsAt"], alert["startsAt"]);
    until("the broken manager has it too", || broken.alerts("TooManyErrors").into_iter().next());
    let metrics = server.get("/metrics", &[]).text();
    let counted = |name: &str| metrics.lines().any(|line| line.starts_with(name) && !line.ends_with(" 0"));
    for name in [
        "loki_prometheus_notifications_sent_total",
        "loki_prometheus_notifications_errors_total",
        "loki_prometheus_rule_evaluations_total",
        "loki_prometheus_rule_group_last_evaluation_timestamp_seconds",
        "loki_prometheus_rule_group_duration_seconds_count",
        "millrace_rule_state_bytes",
    ] {
        assert!(counted(name), "{name} is not counted in\n{metrics}");
    }
    server.stop();
}

const TIMERS: &str = r#"
groups:
  - name: g
    rules:
      - alert: Held
        expr: sum(count_over_time({service="gw"} |= "held" [10m])) > 0
        for: 8s
      - alert: Firing
        expr: sum(count_over_time({service="gw"} |= "firing" [10m])) > 0
"#;

#[test]
fn timers_and_firing_alerts_survive_a_kill() {
    let manager = Receiver::start(0);
    let world = World::new(&manager.url(), TIMERS);
    let server = world.start();
    until("rules run", || (rule(&server, "Held")["health"] == "ok").then_some(()));
    push(&server, "gw", &["held", "firing"]);
    let held = until("the alert is pending", || active_at(&server, "Held", "pending"));
    let firing = until("the alert fires", || active_at(&server, "Firing", "firing"));
    let (_, first) = until("it is told", || manager.alerts("Firing").into_iter().next());
    server.kill();
    let server = world.start();
    // As if nothing had happened: the same beginnings, and the timer ends when it would have ended.
    assert_eq!(active_at(&server, "Firing", "firing"), Some(firing));
    let before = manager.alerts("Firing").len();
    let (_, again) = until("it is told again", || manager.alerts("Firing").into_iter().nth(before));
    assert_eq!(again["startsAt"], first["startsAt"]);
    assert_eq!(until("the timer ends", || active_at(&server, "Held", "firing")), held);
    let (_, told) = until("that is told", || manager.alerts("Held").into_iter().next());
    let time = |text: &Value| chrono::DateTime::parse_from_rfc3339(text.as_str().expect("a time")).expect("RFC 3339");
    let waited = time(&told["startsAt"]) - chrono::DateTime::parse_from_rfc3339(&held).expect("RFC 3339");
    assert!(waited.num_seconds() >= 8 && waited.num_seconds() <= 12, "held for {waited}");
    server.stop();
}

#[test]
fn files_change_while_the_server_runs() {
    let world = World::new("", "groups: [{name: a, rules: [{alert: One, expr: vector(1)}]}]");
    let server = world.start();
    until("the rule fires", || (rule(&server, "One")["state"] == "firing").then_some(()));
    let since = active_at(&server, "One", "firing");
    write(&world.rules(), "groups: [{name: a, rules: [{alert: One, expr: vector(1)}, {alert: Two, expr: vector(2)}]}]");
    until("the new rule fires", || (rule(&server, "Two")["state"] == "firing").then_some(()));
    assert_eq!(active_at(&server, "One", "firing"), since, "its alert goes on");
    // A bad file changes nothing.
    write(&world.rules(), "groups: [{name: a, rules: [{alert: One, expr: vector(}]}]");
    until("the bad file is noticed", || {
        server.get("/metrics", &[]).text().contains("millrace_rule_files_good 0").then_some(())
    });
    assert_eq!(rule(&server, "Two")["state"], "firing");
    write(&world.rules(), "groups: []");
    until("the rules are gone", || rule(&server, "One").is_null().then_some(()));
    server.stop();
}

pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

#[test]
fn groups_are_set_and_deleted_over_http() {
    let world = World::new("", "groups: [{name: file, rules: [{alert: OfFile, expr: vector(1)}]}]");
    let server = world.start();
    let group = "name: api\ninterval: 1s\nrules:\n- alert: OfApi\n  expr: vector(2) > 1\n  labels: {team: x}\n";
    for prefix in ["/loki/api/v1/rules", "/api/prom/rules"] {
        let set = server.post(&format!("{prefix}/my%2Fspace"), &[], group.as_bytes());
        assert_eq!(
            (set.status, set.text().as_str()),
            (202, r#"{"status":"success","data":null,"errorType":"","error":""}"#)
        );
        let listed = server.get(prefix, &[]).text();
        assert!(
            listed.contains("\"my/space\":\n    - name: api\n      interval: 1s\n")
                || listed.contains("my/space:\n    - name: api\n"),
            "{listed}"
        );
        assert!(listed.contains("rules.yaml:\n    - name: file\n"), "{listed}");
        let one = server.get(&format!("{prefix}/my%2Fspace/api"), &[]).text();
        assert!(one.starts_with("name: api\n") && one.contains("alert: OfApi"), "{one}");
        let filtered = server.get(prefix, &[("labels", "team:x")]).text();
        assert!(filtered.contains("OfApi") && !filtered.contains("OfFile"), "{filtered}");
        until("it runs", || (rule(&server, "OfApi")["state"] == "firing").then_some(()));
        let delete = |path: &str| server.delete(&format!("{prefix}/{path}"));
        assert_eq!((delete("my%2Fspace/nope").status, delete("nope").status), (404, 404));
        assert_eq!(delete("my%2Fspace/nope").text(), "group does not exist\n");
        assert_eq!(delete("my%2Fspace/api").status, 202);
        assert!(rule(&server, "OfApi").is_null(), "at once");
        let missing = server.get(&format!("{prefix}/my%2Fspace"), &[]);
        assert_eq!((missing.status, missing.text().as_str()), (404, "no rule groups found\n"));
        let bad = server.post(&format!("{prefix}/ns"), &[], b"name: x\nrules: [{alert: A, expr: 'sum('}]");
        assert_eq!(bad.status, 400);
        assert!(bad.text().contains("could not parse expression"), "{}", bad.text());
        let of_file = server.post(&format!("{prefix}/rules.yaml"), &[], group.as_bytes());
        assert_eq!(of_file.status, 400, "{}", of_file.text());
        assert_eq!(server.get(&format!("{prefix}/..%2Fx"), &[]).status, 500);
    }
    let filtered = |params: &[(&str, &str)]| {
        let answer = server.get("/prometheus/api/v1/rules", params);
        (answer.status, answer.json()["data"]["groups"].as_array().map_or(0, Vec::len))
    };
    assert_eq!(filtered(&[("type", "alert")]), (200, 1));
    assert_eq!(filtered(&[("type", "record")]), (200, 0));
    assert_eq!(filtered(&[("type", "other")]), (400, 0));
    assert_eq!(filtered(&[("rule_name", "nope")]), (200, 0));
    let alerts = until("the alert is active", || {
        let alerts = server.get("/prometheus/api/v1/alerts", &[]).json()["data"]["alerts"].clone();
        (alerts[0]["state"] == "firing").then_some(alerts)
    });
    assert_eq!(
        (alerts[0]["labels"]["alertname"].as_str(), alerts[0]["value"].as_str()),
        (Some("OfFile"), Some("1e+00"))
    );
    server.stop();
}

const COUNTED: &str = r#"
groups:
  - name: g
    interval: 2s
    rules:
      - record: lines:2s
        expr: sum(count_over_time({service="gw"}[2s]))
      - record: lines:twice
        expr: lines:2s * 2
      - alert: Many
        expr: lines:2s > 3
"#;

#[test]
fn recorded_counts_are_exact_over_kills() {
    let world = World::new("", COUNTED);
    let mut server = world.start();
    until("rules run", || (rule(&server, "lines:2s")["health"] == "ok").then_some(()));
    let first_s = now_ns() / 1_000_000_000;
    let (mut pushed, mut number) = (0, 0);
    let started = Instant::now();
    let mut kills = 0;
    while started.elapsed() < Duration::from_secs(12) {
        let lines: Vec<Value> = (0..5)
            .map(|_| {
                number += 1;
                json!([now_ns().to_string(), format!("line {number}")])
            })
            .collect();
        server.push(&json!({"streams": [{"stream": {"service": "gw"}, "values": lines}]}));
        pushed += 5;
        if started.elapsed() > Duration::from_secs(4 * (kills + 1)) && kills < 2 {
            kills += 1;
            server.kill();
            server = world.start();
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(kills, 2);
    let metric = |query: &str| -> f64 {
        let answer = server.get("/prometheus/api/v1/query", &[("query", query)]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let value = answer.json()["data"]["result"][0]["value"][1].clone();
        value.as_str().map_or(0.0, |value| value.parse().expect("a number"))
    };
    let window = (now_ns() / 1_000_000_000 - first_s) + 60;
    let sum = format!("sum(sum_over_time(lines:2s[{window}s]))");
    until("every line is counted", || (metric(&sum) >= f64::from(pushed)).then_some(()));
    // None twice: not now, and not when all that could come late has come.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(metric(&sum), f64::from(pushed));
    let asked =
        server.number(&format!("sum(count_over_time({{service=\"gw\"}}[{window}s]))"), now_ns() / 1_000_000_000);
    assert_eq!(asked, f64::from(pushed));
    assert_eq!(metric(&format!("sum(sum_over_time(lines:twice[{window}s]))")), 2.0 * f64::from(pushed));
    assert_eq!(rule(&server, "lines:twice")["evaluation"], "query");
    assert!(
        metric(&format!("sum(count_over_time(ALERTS{{alertname=\"Many\",alertstate=\"firing\"}}[{window}s]))")) > 0.0
    );
    server.stop();
}

#[test]
fn a_window_says_what_it_lacks() {
    let rules = "groups:\n- name: g\n  interval: 1s\n  lateness: 2s\n  rules:\n  - record: lines\n    expr: sum(count_over_time({service=\"late\"}[1s]))\n";
    let world = World::new("''", rules);
    let server = world.start();
    push(&server, "late", &["in time"]);
    let rule = || server.get("/prometheus/api/v1/rules", &[]).json()["data"]["groups"][0]["rules"][0].clone();
    until("an evaluation", || Some(rule()).filter(|rule| rule["rows"] == 1 && !rule["lastEvaluation"].is_null()));
    assert_eq!(rule()["incompleteWindows"], json!([]));
    let late_ns = now_ns() - 60_000_000_000;
    let values: Vec<Value> = (0..3).map(|at| json!([(late_ns + at).to_string(), format!("late {at}")])).collect();
    // The clock has to have passed before a window is final.
    std::thread::sleep(Duration::from_secs(4));
    server.push(&json!({"streams": [{"stream": {"service": "late"}, "values": values}]}));
    let found = until("the late rows", || Some(rule()).filter(|rule| rule["lateRows"] == 3));
    let windows = found["incompleteWindows"].as_array().expect("a list");
    assert_eq!(windows.len(), 1, "{found}");
    assert_eq!(
        (&windows[0]["rows"], &windows[0]["lateRows"], &windows[0]["completeness"]),
        (&json!(3), &json!(3), &json!(0.0))
    );
    assert!(found["completeness"].as_f64().is_some_and(|part| part < 0.5), "{found}");
}
