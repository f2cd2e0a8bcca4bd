//! Sends what is in an outbox, one batch after the other, until the server has each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::http::{Endpoint, Outcome};
use super::outbox::{Next, Outbox};
use crate::agent::config::{BackoffConfig, ClientConfig};
use crate::agent::metrics::AgentMetrics;
use crate::types::time::Clock;

/// How long what is left may be sent when the agent ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Sender {
    endpoint: Endpoint,
    backoff: BackoffConfig,
    drops_rate_limited: bool,
    metrics: AgentMetrics,
    outbox: Arc<Outbox>,
    clock: Clock,
}

/// How the sending of one batch ended.
enum End {
    Done,
    /// The agent ends before the server had it.
    Unsent,
}

impl Sender {
    pub(super) fn new(
        config: &ClientConfig,
        endpoint: Endpoint,
        metrics: AgentMetrics,
        outbox: Arc<Outbox>,
        clock: Clock,
    ) -> Self {
        let host = [endpoint.host()];
        for counter in [&metrics.encoded_bytes, &metrics.sent_bytes, &metrics.sent_entries] {
            // Shown from the start, as Promtail does.
            counter.with_label_values(&host);
        }
        let drops_rate_limited = config.drop_rate_limited_batches;
        Sender { endpoint, backoff: config.backoff_config.clone(), drops_rate_limited, metrics, outbox, clock }
    }

    /// Until nothing more comes; what cannot be sent by then is kept on disk.
    pub(super) async fn run(self, stop: CancellationToken) {
        let farewell = CancellationToken::new();
        let bell = farewell.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
            bell.cancel();
        });
        loop {
            let Some(next) = self.outbox.take() else {
                if self.outbox.is_closed() {
                    break;
                }
                tokio::select! {
                    () = self.outbox.came.notified() => {}
                    () = farewell.cancelled() => break,
                }
                continue;
            };
            match self.send(&next, &farewell).await {
                End::Done => self.outbox.done(next),
                End::Unsent => {
                    self.keep(Some(next));
                    return;
                }
            }
        }
        self.keep(None);
    }

    fn keep(&self, unsent: Option<Next>) {
        let lost = self.outbox.keep(unsent);
        if lost > 0 {
            tracing::warn!(
                client = self.endpoint.name(),
                batches = lost,
                "not sent at the end; files are read again from where they were acknowledged"
            );
        }
    }

    async fn send(&self, next: &Next, farewell: &CancellationToken) -> End {
        let batch = next.batch();
        let host = self.endpoint.host();
        let mut tries = 0;
        let mut wait_ns = self.backoff.min_period.nanos().max(1);
        loop {
            let started = Instant::now();
            let outcome = tokio::select! {
                outcome = self.endpoint.send(batch) => outcome,
                () = farewell.cancelled() => return End::Unsent,
            };
            let status = match &outcome {
                Outcome::Taken { status } | Outcome::Refused { status, .. } => *status,
                Outcome::TryAgain { status, .. } => status.unwrap_or(0),
            };
            let code = if status == 0 { "-1".to_owned() } else { status.to_string() };
            self.metrics.request_duration.with_label_values(&[&code, host]).observe(started.elapsed().as_secs_f64());
            match outcome {
                Outcome::Taken { .. } => {
                    self.metrics.sent_bytes.with_label_values(&[host]).inc_by(batch.body.len() as u64);
                    self.metrics.sent_entries.with_label_values(&[host]).inc_by(batch.entries as u64);
                    return End::Done;
                }
                Outcome::Refused { status, words } => {
                    tracing::error!(
                        host,
                        tenant = batch.tenant,
                        status,
                        words,
                        entries = batch.entries,
                        "final error sending batch"
                    );
                    self.outbox.count_dropped(batch, "ingester_error");
                    return End::Done;
                }
                Outcome::TryAgain { status: Some(429), .. } if self.drops_rate_limited => {
                    tracing::warn!(
                        host,
                        tenant = batch.tenant,
                        entries = batch.entries,
                        "dropping batch due to rate limiting at the server"
                    );
                    self.outbox.count_dropped(batch, "rate_limited");
                    return End::Done;
                }
                Outcome::TryAgain { status, words } => {
                    tries += 1;
                    // With a buffer on disk there is a place for what comes meanwhile: nothing is given up.
                    if self.backoff.max_retries > 0 && tries >= self.backoff.max_retries && !self.outbox.has_spool() {
                        tracing::error!(
                            host,
                            tenant = batch.tenant,
                            status,
                            words,
                            entries = batch.entries,
                            "final error sending batch"
                        );
                        let reason = if status == Some(429) { "rate_limited" } else { "ingester_error" };
                        self.outbox.count_dropped(batch, reason);
                        return End::Done;
                    }
                    tracing::warn!(
                        host,
                        tenant = batch.tenant,
                        status,
                        words,
                        tries,
                        "error sending batch, will retry"
                    );
                    self.metrics.batch_retries.with_label_values(&[host, &batch.tenant]).inc();
                }
            }
            let pause = Duration::from_nanos(self.jittered(wait_ns));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = farewell.cancelled() => return End::Unsent,
            }
            wait_ns = wait_ns.saturating_mul(2).min(self.backoff.max_period.nanos().max(1));
        }
    }

    /// Evenly from `wait` up to twice of it, so that agents do not come back all at once.
    fn jittered(&self, wait_ns: i64) -> u64 {
        let wait = u64::try_from(wait_ns).unwrap_or(1).max(1);
        let chance = xxhash_rust::xxh3::xxh3_64(&self.clock.now().0.to_le_bytes());
        wait + chance % wait
    }
}
