//! Starts the real binary, speaks HTTP to it, and kills it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a server may take to say where it listens.
const START_WAIT: Duration = Duration::from_secs(30);

/// A running server; dropped means killed.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    /// What it printed before it was ready.
    pub(crate) banner: Vec<String>,
}

/// A status and a body.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }
}

/// Path of a file in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Server {
    /// Starts on a free port with the given configuration file and data directory.
    pub(crate) fn start(data: &Path, config: Option<&Path>, arguments: &[&str]) -> Server {
        Server::start_with(data, config, arguments, &[])
    }

    /// Starts with variables of the environment.
    pub(crate) fn start_with(
        data: &Path,
        config: Option<&Path>,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Server {
        let server = Server::launch(data, config, arguments, variables).unwrap_or_else(|said| {
            panic!("the server did not say where it listens; it said {said:?}");
        });
        // With a failpoint it may be gone before it is asked.
        if variables.is_empty() {
            server.wait_ready();
        }
        server
    }

    /// Starts; what it said when it ended instead.
    pub(crate) fn launch(
        data: &Path,
        config: Option<&Path>,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Server, Vec<String>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.arg("serve").arg("--data").arg(data).args(arguments);
        if !arguments.contains(&"--http-port") {
            command.args(["--http-port", "0"]);
        }
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        let mut child = command
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let (said, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        let log = data.with_extension("log");
        std::thread::spawn(move || {
            let mut file = std::fs::File::create(log).expect("a log file beside the data");
            std::io::copy(&mut BufReader::new(stderr), &mut file)
        });
        let started = Instant::now();
        let mut banner = Vec::new();
        let url = loop {
            match lines.recv_timeout(START_WAIT.saturating_sub(started.elapsed())) {
                Ok(line) => {
                    let url = line
                        .split_whitespace()
                        .find(|word| word.starts_with("http://") || word.starts_with("https://"))
                        .map(str::to_owned);
                    banner.push(line);
                    if let Some(url) = url {
                        break url.trim_end_matches('/').to_owned();
                    }
                }
                Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(banner);
                }
            }
        };
        Ok(Server { child, url, banner })
    }

    /// The value of one series of `/metrics`.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics", &[]).text();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {series}"))
    }

    /// Of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ended by itself; anything else fails the test.
    pub(crate) fn wait_for_end(mut self) {
        let started = Instant::now();
        while self.child.try_wait().expect("it can be asked").is_none() {
            assert!(started.elapsed() < START_WAIT, "it did not end by itself");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_ready(&self) {
        let started = Instant::now();
        while started.elapsed() < START_WAIT {
            if self.get("/ready", &[]).status == 200 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not ready after {START_WAIT:?}");
    }

    pub(crate) fn get(&self, path: &str, params: &[(&str, &str)]) -> Reply {
        self.get_with(path, params, &[])
    }

    pub(crate) fn get_with(&self, path: &str, params: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let mut request = agent().get(format!("{}{path}", self.url));
        for (name, value) in params {
            request = request.query(*name, *value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        reply(request.call())
    }

    /// A reply with its headers.
    pub(crate) fn get_full(
        &self,
        path: &str,
        params: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> (Reply, ureq::http::HeaderMap) {
        let mut request = agent().get(format!("{}{path}", self.url));
        for (name, value) in params {
            request = request.query(*name, *value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.call();
        let headers = answer.as_ref().map(|answer| answer.headers().clone()).unwrap_or_default();
        (reply(answer), headers)
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request = agent().post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        reply(request.send(body))
    }

    /// A reply with its headers.
    pub(crate) fn post_full(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (Reply, ureq::http::HeaderMap) {
        let mut request = agent().post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send(body);
        let headers = answer.as_ref().map(|answer| answer.headers().clone()).unwrap_or_default();
        (reply(answer), headers)
    }

    /// Memory of the process now, bytes.
    pub(crate) fn rss_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        kilobytes.and_then(|text| text.parse::<usize>().ok()).expect("a number") * 1024
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        reply(agent().delete(format!("{}{path}", self.url)).call())
    }

    /// Pushes JSON; anything but 204 fails the test.
    pub(crate) fn push(&self, body: &Value) {
        let answer =
            self.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body.to_string().as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// What the banner says behind `name`: where a door listens.
    pub(crate) fn address(&self, name: &str) -> String {
        let found = self.banner.iter().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name:?} in {:?}", self.banner)).to_owned()
    }

    pub(crate) fn flush(&self) {
        let answer = self.post("/flush", &[], b"");
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// The one number of an instant query such as `sum(count_over_time(…))`; 0 when the vector is empty.
    pub(crate) fn number(&self, query: &str, time_s: i64) -> f64 {
        let answer = self.get("/loki/api/v1/query", &[("query", query), ("time", &time_s.to_string())]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        let value = body["data"]["result"].get(0).map(|sample| sample["value"][1].clone());
        value.map_or(0.0, |value| value.as_str().expect("a sample value is a string").parse().expect("a number"))
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and the wait for a clean end.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "SIGTERM ended with {ended}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(120)))
        .build()
        .into()
}

fn reply(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Reply {
    match answer {
        Ok(response) => {
            let status = response.status().as_u16();
            let mut body = Vec::new();
            let _ = response.into_body().into_reader().read_to_end(&mut body);
            Reply { status, body }
        }
        Err(error) => Reply { status: 0, body: error.to_string().into_bytes() },
    }
}
