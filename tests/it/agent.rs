//! `millrace agent` as a real process: files into a real server, kills and rotation, listeners, a stub of Docker.

mod docker;
mod kills;
#[cfg(all(feature = "kafka", feature = "flight", feature = "otlp", feature = "postgres"))]
mod secure;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Server, repository};

const WAIT: Duration = Duration::from_secs(40);

/// A running agent; dropped means killed.
struct Agent {
    child: Child,
    url: String,
}

impl Agent {
    fn start(config: &Path, log: &Path) -> Agent {
        let log_file = OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let from = log_file.metadata().expect("there").len();
        let mut child = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args(["agent", &format!("-config.file={}", config.display()), "-server.http-listen-port=0"])
            .args(["-server.http-listen-address=127.0.0.1", "-server.enable-runtime-reload"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .expect("the binary starts");
        let started = Instant::now();
        loop {
            let said = fs::read_to_string(log).unwrap_or_default();
            let said = said.get(from as usize..).unwrap_or_default();
            let line = said.lines().find(|line| line.contains("server listening on addresses"));
            if let Some(address) = line.and_then(|line| line.split("127.0.0.1:").nth(1)) {
                let port: String = address.chars().take_while(char::is_ascii_digit).collect();
                return Agent { child, url: format!("http://127.0.0.1:{port}") };
            }
            assert!(child.try_wait().expect("asked").is_none(), "the agent ended: {said}");
            assert!(started.elapsed() < WAIT, "the agent does not listen: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        match agent.get(format!("{}{path}", self.url)).call() {
            Ok(mut answer) => (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap_or_default()),
            Err(error) => (0, error.to_string()),
        }
    }

    /// Whether it could be given huge pages, where the kernel says so.
    fn may_take_huge_pages(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        status.lines().any(|line| line.starts_with("THP_enabled:") && line.ends_with('1'))
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Place { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        path
    }

    /// A configuration that sends to `url`; `jobs` is the list of scrape configurations.
    fn config(&self, url: &str, jobs: &str) -> PathBuf {
        let positions = self.path("positions.yaml");
        self.write(
            "agent.yaml",
            &format!(
                "positions: {{filename: {}}}\nclients: [{{url: '{url}/loki/api/v1/push', batchwait: 100ms, backoff_config: {{min_period: 50ms, max_period: 200ms}}}}]\ntarget_config: {{sync_period: 200ms}}\nglobal: {{file_watch_config: {{min_poll_frequency: 20ms, max_poll_frequency: 20ms}}}}\nscrape_configs:\n{jobs}",
                positions.display()
            ),
        )
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let started = Instant::now();
    loop {
        match holds() {
            Ok(()) => return,
            Err(words) if started.elapsed() > WAIT => panic!("{what}: {words}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn now_s() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

/// All lines of a query, oldest first, with the labels of their streams.
fn lines(server: &Server, query: &str) -> Vec<(String, String)> {
    let end = ((now_s() + 3600) as i128 * 1_000_000_000).to_string();
    let start = ((now_s() - 6 * 3600) as i128 * 1_000_000_000).to_string();
    let answer = server.get(
        "/loki/api/v1/query_range",
        &[("query", query), ("start", &start), ("end", &end), ("limit", "5000"), ("direction", "forward")],
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let mut all = Vec::new();
    for stream in body["data"]["result"].as_array().expect("streams") {
        for value in stream["values"].as_array().expect("values") {
            all.push((
                value[0].as_str().expect("a time").to_owned(),
                stream["stream"].to_string(),
                value[1].as_str().expect("a line").to_owned(),
            ));
        }
    }
    all.sort();
    all.into_iter().map(|(_, labels, line)| (labels, line)).collect()
}

fn only_lines(server: &Server, query: &str) -> Vec<String> {
    lines(server, query).into_iter().map(|(_, line)| line).collect()
}

#[test]
fn files_arrive_masked_and_the_agent_shows_itself() {
    let place = Place::new();
    let server = Server::start(&place.path("data"), None, &[]);
    let exercise = fs::read_to_string(repository("tests/configs/exercise-promtail.yaml")).expect("readable");
    let stages = exercise
        .split("pipeline_stages:")
        .nth(1)
        .and_then(|rest| rest.split("  ####").next())
        .expect("the first job's");
    let jobs = format!(
        "- job_name: gateway\n  static_configs:\n  - targets: [localhost]\n    labels: {{job: gateway, __path__: '{}/gate*.log'}}\n  pipeline_stages:{}",
        place.directory.path().display(),
        stages.replace("\n    ", "\n  ")
    );
    let config = place.config(&server.url, &jobs);
    let agent = Agent::start(&config, &place.path("agent.txt"));
    assert_eq!(agent.get("/ready").0, 500);
    place.write(
        "gateway.log",
        "{\"level\":\"info\",\"message\":\"User test@example.com logged in\",\"user_id\":\"12345\"}\n{\"level\":\"error\",\"event\":\"mail to a@b.example\",\"latency_ms\":0.3}\n",
    );
    eventually("two lines", || {
        let found = lines(&server, r#"{job="gateway"}"#);
        let texts: Vec<&str> = found.iter().map(|(_, line)| line.as_str()).collect();
        let expected = [
            r#"{"level":"info","message":"User ***REDACTED_EMAIL*** logged in","user_id":"***REDACTED***"}"#,
            r#"{"level":"error","event":"mail to ***REDACTED_EMAIL***","latency_ms":0.3}"#,
        ];
        if texts.len() != 2 || !expected.iter().all(|line| texts.contains(line)) {
            return Err(format!("{found:?}"));
        }
        match found.iter().any(|(labels, _)| labels.contains("mail to ***REDACTED_EMAIL***")) {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
    assert!(!agent.may_take_huge_pages());
    assert_eq!(agent.get("/ready"), (200, "Ready".to_owned()));
    assert!(agent.get("/targets").1.contains("gateway.log"));
    let metrics = agent.get("/metrics").1;
    for part in [
        "promtail_sent_entries_total{host=\"127.0.0.1:",
        "promtail_custom_log_errors_total{",
        "promtail_custom_request_duration_seconds_from_logs_bucket{",
        "promtail_read_lines_total{path=",
        "promtail_files_active_total 1",
    ] {
        assert!(metrics.contains(part), "{part}\n{metrics}");
    }
    assert!(agent.get("/config").1.contains("job_name: gateway"));
    // Reloaded with other labels; the positions stay.
    let text = fs::read_to_string(&config).expect("readable");
    fs::write(&config, text.replace("{job: gateway,", "{job: renamed,")).expect("written");
    assert_eq!(agent.get("/reload").0, 200);
    OpenOptions::new()
        .append(true)
        .open(place.path("gateway.log"))
        .expect("opened")
        .write_all(b"after\n")
        .expect("written");
    eventually("a line after the reload", || {
        let found = only_lines(&server, r#"{job="renamed"}"#);
        if found == ["after"] { Ok(()) } else { Err(format!("{found:?}")) }
    });
    fs::write(&config, "nonsense: [").expect("written");
    assert_eq!(agent.get("/reload").0, 500);
    agent.stop();
    let positions = fs::read_to_string(place.path("positions.yaml")).expect("written");
    let size = fs::metadata(place.path("gateway.log")).expect("there").len();
    assert!(positions.contains(&format!("gateway.log: \"{size}\"")), "{positions}");
}

fn tail_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().take(80).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_server_that_is_away_costs_nothing() {
    let place = Place::new();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let syslog = free_port();
    let jobs = format!("- job_name: s\n  syslog: {{listen_address: '127.0.0.1:{syslog}', labels: {{job: syslog}}}}\n");
    let config = place.config(&format!("http://127.0.0.1:{port}"), &jobs);
    let agent = Agent::start(&config, &place.path("agent.txt"));
    let send = |from: usize, to: usize| {
        let mut stream = TcpStream::connect(("127.0.0.1", syslog)).expect("it listens");
        for number in from..to {
            stream.write_all(format!("<34>1 - h a - - - line {number}\n").as_bytes()).expect("sent");
            std::thread::sleep(Duration::from_millis(4));
        }
    };
    send(0, 200);
    // Stopped with the server away: what it had is on disk.
    std::thread::sleep(Duration::from_millis(300));
    agent.stop();
    let agent = Agent::start(&config, &place.path("agent.txt"));
    send(200, 300);
    let server = Server::start(&place.path("data"), None, &["--http-port", &port.to_string()]);
    eventually("every message", || {
        let found = only_lines(&server, r#"{job="syslog"}"#);
        let expected: Vec<String> = (0..300).map(|number| format!("line {number}")).collect();
        if found == expected { Ok(()) } else { Err(format!("{} of 300", found.len())) }
    });
    assert!(agent.get("/metrics").1.contains("promtail_syslog_target_entries_total 100"));
}

#[test]
fn listeners_take_syslog_and_pushes() {
    let place = Place::new();
    let server = Server::start(&place.path("data"), None, &[]);
    let (udp, push) = (free_port(), free_port());
    let jobs = format!(
        "- job_name: s\n  syslog: {{listen_address: '127.0.0.1:{udp}', listen_protocol: udp, labels: {{job: syslog}}}}\n  relabel_configs:\n  - {{source_labels: [__syslog_message_app_name], target_label: app}}\n- job_name: p\n  loki_push_api: {{server: {{http_listen_address: 127.0.0.1, http_listen_port: {push}}}, labels: {{via: agent}}, use_incoming_timestamp: true}}\n  pipeline_stages:\n  - replace: {{expression: '(\\S+@\\S+)', replace: X}}\n"
    );
    let config = place.config(&server.url, &jobs);
    let agent = Agent::start(&config, &place.path("agent.txt"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let body = json!({"streams": [{"stream": {"job": "pushed", "who": "a@b.example"}, "values": [[(now_s() * 1_000_000_000).to_string(), "mail c@d.example", {"who": "e@f.example"}]]}]});
    let pushed = ureq::post(format!("http://127.0.0.1:{push}/loki/api/v1/push"))
        .header("Content-Type", "application/json")
        .send(body.to_string().as_bytes())
        .expect("taken");
    assert_eq!(pushed.status(), 204);
    // Answered means safe: it is there now.
    let found = lines(&server, r#"{job="pushed", via="agent"}"#);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].1, "mail X");
    assert!(!found[0].0.contains('@'), "{found:?}");
    let raw =
        ureq::post(format!("http://127.0.0.1:{push}/promtail/api/v1/raw")).send(&b"one\ntwo\n"[..]).expect("taken");
    assert_eq!(raw.status(), 204);
    assert_eq!(only_lines(&server, r#"{via="agent", job=""}"#).len(), 2);
    eventually("a datagram", || {
        let _ = socket.send_to(b"<165>1 2003-10-11T22:14:15.003Z h web 1 ID47 - hello", ("127.0.0.1", udp));
        match lines(&server, r#"{job="syslog"}"#).first() {
            Some((labels, line)) if line == "hello" && labels.contains("\"app\":\"web\"") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    drop(agent);
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}

#[test]
fn promtails_flags_on_the_command_line() {
    let place = Place::new();
    let exercise = repository("tests/configs/exercise-promtail.yaml");
    let config = format!("-config.file={}", exercise.display());
    let run = |arguments: &[&str], input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args(arguments)
            .current_dir(place.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (good, out, _) = run(&["agent", &config, "-check-syntax"], "");
    assert!(good && out.ends_with("Valid config file! No syntax issues found\n"), "{out}");
    let line = "{\"level\":\"info\",\"message\":\"User test@example.com logged in\",\"user_id\":\"12345\"}\n";
    let (good, out, err) = run(&["agent", &config, "-stdin", "-dry-run", "-inspect"], line);
    assert!(good, "{err}");
    assert!(
        out.ends_with(
            "{\"level\":\"info\",\"message\":\"User ***REDACTED_EMAIL*** logged in\",\"user_id\":\"***REDACTED***\"}\n"
        ),
        "{out}"
    );
    assert!(err.contains("── replace"), "{err}");
    let (good, out, _) = run(&["agent", "import", &exercise.display().to_string()], "");
    assert!(good && out.contains("Docker containers with label logging=promtail"), "{out}");
    let bad = place.write(
        "bad.yaml",
        "clients: [{url: 'http://a/'}]\nscrape_configs: [{job_name: k, kubernetes_sd_configs: [{role: pod}]}]\n",
    );
    let (good, out, _) = run(&["agent", "import", &bad.display().to_string()], "");
    assert!(!good && out.contains("kubernetes_sd_configs is not supported; read /var/log/pods"), "{out}");
    let (good, out, _) = run(
        &["pipeline", "test", "--config", &exercise.display().to_string(), "--stage-by-stage", "--color", "always"],
        line,
    );
    assert!(good && out.contains("\u{1b}[32m+level=\"info\"\u{1b}[0m"), "{out}");
    // What standard input gave arrives in a server.
    let server = Server::start(&place.path("data"), None, &[]);
    let (good, _, err) = run(
        &["agent", "-stdin", &format!("-client.url={}/loki/api/v1/push", server.url), "-client.external-labels=dc=x"],
        "hello\n",
    );
    assert!(good, "{err}");
    assert_eq!(only_lines(&server, r#"{job="stdin", dc="x"}"#), ["hello"]);
}
