//! A real S3-compatible server (`s3s-fs`), and a proxy before it that can misbehave.
//!
//! ```text
//! millrace ─▶ Proxy: 500s, slow, lost in the middle of a put, answer lost, header lost ─▶ s3s-fs ─▶ files
//! ```
//!
//! The server looks whether an object is there and then writes it, in two steps. Amazon's does both in one; so
//! the proxy lets one conditional put through at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const ACCESS_KEY: &str = "AKIAMILLRACETEST";
pub(crate) const SECRET_KEY: &str = "not-to-be-seen-anywhere";

/// A running S3 server; dropped means killed.
pub(crate) struct S3 {
    child: Child,
    port: u16,
    root: PathBuf,
}

impl S3 {
    /// With some buckets and one pair of keys; without `keys` anyone may write. None, with a loud message, where
    /// `.ci/run` did not bring the server.
    pub(crate) fn start(root: &Path, keys: bool) -> Option<S3> {
        let Some(binary) = binary() else {
            eprintln!("SKIPPED: buckets not tested, because there is no s3s-fs; .ci/run installs it");
            return None;
        };
        for bucket in ["logs", "warm", "cold", "backup"] {
            std::fs::create_dir_all(root.join(bucket)).expect("a directory for the bucket");
        }
        let port = free_port();
        let mut command = Command::new(binary);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        if keys {
            command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]);
        }
        let child = command.arg(root).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("s3s-fs starts");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "s3s-fs does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(S3 { child, port, root: root.to_owned() })
    }

    /// Names of the objects below `prefix` of a bucket.
    pub(crate) fn objects(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let root = self.root.join(bucket);
        let mut found = Vec::new();
        walk(&root.join(prefix), &mut found);
        let relative = |path: &PathBuf| path.strip_prefix(&root).expect("below").to_string_lossy().into_owned();
        found.iter().map(relative).filter(|name| !name.contains("/.") && !name.starts_with('.')).collect()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn walk(directory: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { walk(&path, out) } else { out.push(path) }
    }
}

fn binary() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("MILLRACE_TEST_S3").map(PathBuf::from) {
        assert!(named.exists(), "MILLRACE_TEST_S3: {} is not there; .ci/run installs it", named.display());
        return Some(named);
    }
    let installed = PathBuf::from(std::env::var_os("HOME")?).join(".cache/millrace/s3/bin/s3s-fs");
    installed.exists().then_some(installed)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// What the proxy does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Status(u16),
    /// Nothing is said for this long; then it goes on.
    Slow(Duration),
    /// Half of the body is passed on, then the connection ends.
    LostMidBody,
    /// The request is carried out, its answer is not passed on.
    AnswerLost,
    /// The request is passed on without this condition.
    Unconditional,
}

/// What is known of a request when its fault is chosen.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) is_conditional: bool,
}

type Chooser = Box<dyn FnMut(&Asked<'_>) -> Fault + Send>;

/// Stands before a server and passes requests on, or not.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: u16,
    choose: Mutex<Chooser>,
    one_conditional_put: Mutex<()>,
    requests: AtomicUsize,
    faults: AtomicUsize,
}

impl Proxy {
    pub(crate) fn start(s3: &S3) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Shared {
            upstream: s3.port,
            choose: Mutex::new(Box::new(|_| Fault::None)),
            one_conditional_put: Mutex::new(()),
            requests: AtomicUsize::new(0),
            faults: AtomicUsize::new(0),
        });
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = of_thread.clone();
                std::thread::spawn(move || shared.serve(client));
            }
        });
        Proxy { endpoint, shared }
    }

    /// From now on `choose` says what becomes of requests.
    pub(crate) fn faults(&self, choose: impl FnMut(&Asked<'_>) -> Fault + Send + 'static) {
        *self.shared.choose.lock().expect("no test panics in it") = Box::new(choose);
    }

    /// Requests, and how many of them met a fault, so far.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.shared.requests.load(Ordering::SeqCst), self.shared.faults.load(Ordering::SeqCst))
    }
}

impl Shared {
    /// One request a connection: each end says `Connection: close`.
    fn serve(&self, client: TcpStream) -> Option<()> {
        let mut from_client = BufReader::new(client.try_clone().ok()?);
        let head = read_head(&mut from_client)?;
        let mut words = head[0].split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let header = |name: &str| {
            head[1..].iter().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let is_conditional = header("if-none-match").is_some() && method == "PUT";
        let fault = (self.choose.lock().ok()?)(&Asked { method, path, is_conditional });
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.faults.fetch_add(usize::from(fault != Fault::None), Ordering::SeqCst);
        if let Fault::Slow(pause) = fault {
            std::thread::sleep(pause);
        }
        let wanted = if fault == Fault::LostMidBody { length / 2 } else { length };
        let mut body = vec![0; wanted];
        from_client.read_exact(&mut body).ok()?;
        let mut client = client;
        if let Fault::Status(status) = fault {
            let text = "<Error><Code>Injected</Code><Message>a fault of the test</Message></Error>";
            let answer =
                format!("HTTP/1.1 {status} Fault\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
            return client.write_all(answer.as_bytes()).ok();
        }
        let _one_at_a_time = is_conditional.then(|| self.one_conditional_put.lock());
        let mut upstream = TcpStream::connect(("127.0.0.1", self.upstream)).ok()?;
        let dropped = |line: &&String| {
            let name = line.split(':').next().unwrap_or("");
            let is_condition = name.eq_ignore_ascii_case("if-none-match") && fault == Fault::Unconditional;
            !is_condition && !name.eq_ignore_ascii_case("connection")
        };
        let lines: Vec<&str> = head.iter().filter(dropped).map(String::as_str).collect();
        let passed_on = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
        upstream.write_all(passed_on.as_bytes()).ok()?;
        upstream.write_all(&body).ok()?;
        if fault == Fault::LostMidBody {
            return None;
        }
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).ok()?;
        if fault == Fault::AnswerLost {
            return None;
        }
        client.write_all(&answer).ok()
    }
}

fn read_head(from: &mut impl BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            return (!lines.is_empty()).then_some(lines);
        }
        lines.push(line);
    }
}
