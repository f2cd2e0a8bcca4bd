//! Pushes a load to a running server, or produces it to Kafka, and says what the server made of a CPU second.
//!
//! ```text
//! push-*.json (gen_logs.py) ─▶ bodies, made before the clock starts ─▶ N connections ─▶ server
//!                                                                        /proc/PID ─▶ CPU seconds, memory
//! ```
//!
//! ```sh
//! cargo build --release --manifest-path benches/ingest/Cargo.toml
//! ingest push  http://127.0.0.1:3100 LOAD --pid PID [--format json] [--connections 4] [--seconds 600]
//! ingest kafka 127.0.0.1:9092 TOPIC LOAD            one record a line, its key the stream; by kcat
//! ingest watch http://127.0.0.1:3100 --pid PID --lines 2000000        until so many lines were taken
//! ```
//!
//! With `--seconds` the load is sent again and again, each time later by as much as it spans, and memory is printed.

mod http;
mod load;
mod process;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Connection;
use load::{Format, Load};
use process::{Process, Used};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ingest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), AnyError> {
    let arguments = Arguments::parse(arguments)?;
    match arguments.words().as_slice() {
        ["push", url, directory] => push(&arguments, url, directory),
        ["kafka", brokers, topic, directory] => Load::read(directory)?.produce(brokers, topic),
        ["watch", url] => watch(&arguments, url),
        _ => Err("push URL LOAD, kafka BROKERS TOPIC LOAD, or watch URL; see the head of benches/ingest/src/main.rs".into()),
    }
}

/// Words, and `--name value`.
struct Arguments {
    words: Vec<String>,
    options: Vec<(String, String)>,
}

impl Arguments {
    fn parse(arguments: Vec<String>) -> Result<Self, AnyError> {
        let (mut words, mut options) = (Vec::new(), Vec::new());
        let mut arguments = arguments.into_iter();
        while let Some(word) = arguments.next() {
            match word.strip_prefix("--") {
                Some(name) => options.push((name.to_owned(), arguments.next().ok_or(format!("{word}: of what?"))?)),
                None => words.push(word),
            }
        }
        Ok(Arguments { words, options })
    }

    fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, AnyError> {
        self.text(name).map_or(Ok(default), |text| text.parse().map_err(|_| format!("--{name}: {text} is no number").into()))
    }

    fn process(&self) -> Result<Process, AnyError> {
        Ok(Process { pid: self.number("pid", 0)? })
    }
}

fn push(arguments: &Arguments, url: &str, directory: &str) -> Result<(), AnyError> {
    let format = Format::parse(arguments.text("format").unwrap_or("protobuf"))?;
    let (process, connections) = (arguments.process()?, arguments.number("connections", 4)?);
    let seconds = arguments.number("seconds", 0)?;
    let load = Load::read(directory)?;
    let mut bodies = load.bodies(format, 0);
    println!("{} bodies, {} lines, {:.1} MB of lines; {format:?}, {connections} connections", bodies.len(), load.lines, load.line_bytes as f64 / 1e6);
    let (started, before) = (Instant::now(), process.used()?);
    let (mut pass, mut retried) = (0_u64, 0);
    loop {
        retried += send(url, &bodies, connections, format, &process)?;
        pass += 1;
        if started.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        let used = process.used()?.since(&before);
        let rate = (load.lines * pass) as f64 / started.elapsed().as_secs_f64();
        println!("{:4.0} s  {pass} passes  {rate:.0} lines/s  {:.1} CPU s  {} MB resident", started.elapsed().as_secs_f64(), used.cpu_seconds, process.used()?.resident_bytes / 1_000_000);
        bodies = load.bodies(format, pass);
    }
    let used = process.used()?.since(&before);
    report(started.elapsed(), load.lines * pass, load.line_bytes * pass, &used);
    println!("{retried} pushes were refused for a while and sent again");
    Ok(())
}

/// Sends all bodies; answers how often one was sent again.
fn send(url: &str, bodies: &[Vec<u8>], connections: u64, format: Format, process: &Process) -> Result<u64, AnyError> {
    let (next, retried) = (AtomicUsize::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections.max(1))
            .map(|_| {
                scope.spawn(|| -> Result<(), AnyError> {
                    let mut connection = Connection::open(url)?;
                    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                        loop {
                            let (status, text) = connection.post("/loki/api/v1/push", format.content_type(), body)?;
                            match status {
                                200..=299 => break,
                                429 | 503 => {
                                    retried.fetch_add(1, Ordering::Relaxed);
                                    std::thread::sleep(Duration::from_millis(100));
                                }
                                _ => return Err(format!("{status} {text}").into()),
                            }
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| AnyError::from("a connection panicked"))?)
    })?;
    process.used()?;
    Ok(retried.into_inner())
}

/// Waits until the server took `--lines` more lines than it has now, or from its start with `--from 0`.
fn watch(arguments: &Arguments, url: &str) -> Result<(), AnyError> {
    let (process, lines) = (arguments.process()?, arguments.number("lines", 0)?);
    let mut connection = Connection::open(url)?;
    let mut taken = || connection.sum_of("loki_distributor_lines_received_total");
    let first = arguments.text("from").map_or_else(&mut taken, |from| Ok(from.parse()?))?;
    let bytes_first = 0_u64;
    let (started, before) = (Instant::now(), process.used()?);
    let mut most = 0;
    while taken()? < first + lines {
        std::thread::sleep(Duration::from_millis(100));
        most = most.max(process.used()?.resident_bytes);
    }
    let bytes = Connection::open(url)?.sum_of("loki_distributor_bytes_received_total")?.saturating_sub(bytes_first);
    report(started.elapsed(), lines, bytes, &process.used()?.since(&before));
    println!("{} MB resident at most", most / 1_000_000);
    Ok(())
}

fn report(elapsed: Duration, lines: u64, line_bytes: u64, used: &Used) {
    let (seconds, cpu) = (elapsed.as_secs_f64(), used.cpu_seconds.max(1e-9));
    let megabytes = line_bytes as f64 / 1e6;
    println!(
        "{seconds:.1} s, {cpu:.2} server CPU s: {:.1} MB of lines and {:.0} lines a CPU second; {:.1} MB/s, {:.0} lines/s; {} MB resident now, {} MB at most",
        megabytes / cpu,
        lines as f64 / cpu,
        megabytes / seconds,
        lines as f64 / seconds,
        used.resident_bytes / 1_000_000,
        used.peak_bytes / 1_000_000,
    );
}
