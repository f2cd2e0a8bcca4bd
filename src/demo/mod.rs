//! `millrace demo`: a server with something in it, and what to look at.
//!
//! ```text
//! start the server ─▶ push the last hour of a made-up gateway, one minute after another ─▶ print the story
//!                  ─▶ go on pushing as time passes, until Ctrl-C
//! ```
//!
//! The traffic is the exercise's: requests as JSON lines, a feature store's logfmt, errors, latency, one spike.

mod story;
mod traffic;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use crate::http_client;
use crate::telemetry::logging::LogLevel;
use crate::types::time::{Clock, UnixNanos};

use traffic::Traffic;

/// Derived metrics, and alerts that the spike fires.
const RULES: &str = include_str!("rules.yaml");

/// How much of the past is made.
const PAST_MINUTES: i64 = 60;
/// When, before now, the spike began, and how long it is.
const SPIKE_MINUTES_AGO: i64 = 20;
const SPIKE_MINUTES: i64 = 5;
/// How often new lines are made while the demo runs.
const LIVE_PERIOD: Duration = Duration::from_secs(1);
/// How long the server may take to start.
const START_WAIT: Duration = Duration::from_secs(30);

const MINUTE_NS: i64 = 60_000_000_000;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the server with the demo's traffic until it is stopped.
pub async fn run(mut config: Config, log_level: LogLevel, data: PathBuf) -> Result<(), AnyError> {
    let rules = data.join("demo-rules");
    std::fs::create_dir_all(&rules)?;
    std::fs::write(rules.join("demo.yaml"), RULES)?;
    config.ruler.storage.local.directory = Some(rules);
    let address = config.listen_address();
    let server = tokio::spawn(crate::server::run(config, log_level));
    let feeding = tokio::spawn(async move {
        if let Err(error) = feed(&address, &data).await {
            let _ = writeln!(std::io::stderr(), "millrace: demo: {error}");
        }
    });
    let ended = server.await?;
    feeding.abort();
    ended
}

async fn feed(address: &str, data: &std::path::Path) -> Result<(), AnyError> {
    wait_ready(address).await?;
    let clock = Clock::system();
    let now = clock.now();
    let spike_from = UnixNanos(now.0 - SPIKE_MINUTES_AGO * MINUTE_NS);
    let spike = spike_from..UnixNanos(spike_from.0 + SPIKE_MINUTES * MINUTE_NS);
    let mut traffic = Traffic::new(spike.clone());
    let mut lines = 0;
    let mut from = UnixNanos(now.0 - PAST_MINUTES * MINUTE_NS);
    while from < now {
        let to = UnixNanos(from.0 + MINUTE_NS).min(now);
        lines += push(address, &mut traffic, from, to).await?;
        from = to;
    }
    story::tell(address, data, lines, &spike)?;
    let mut tick = tokio::time::interval(LIVE_PERIOD);
    loop {
        tick.tick().await;
        let to = clock.now();
        push(address, &mut traffic, from, to).await?;
        from = to;
    }
}

async fn push(address: &str, traffic: &mut Traffic, from: UnixNanos, to: UnixNanos) -> Result<usize, AnyError> {
    let (body, lines) = traffic.between(from, to);
    if lines > 0 {
        let answer = http_client::post_json(address, "/loki/api/v1/push", &body).await?;
        if answer.status != 204 {
            return Err(format!("the push was answered with {}: {}", answer.status, answer.body).into());
        }
    }
    Ok(lines)
}

async fn wait_ready(address: &str) -> Result<(), AnyError> {
    let ready = async {
        while !http_client::get(address, "/ready").await.is_ok_and(|answer| answer.status == 200) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(START_WAIT, ready).await.map_err(|_| "the server did not become ready".into())
}
