//! One receiver each: a queue, and a task that sends what is in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, Outcome, outcome};
use super::batch::{Request, requests};
use super::proto::encode;
use super::queue::{Queue, QueueError};
use super::settings::{ClientConfig, RemoteWriteConfig};
use crate::derived::Forward;
use crate::store::Sealing;
use crate::telemetry::metrics::Metrics;
use crate::tls::authorities;
use crate::types::ids::TenantId;
use crate::types::sample::{Sample, SampleError};
use crate::types::time::{Clock, NANOS_PER_SECOND};
use crate::wal::FsyncPolicy;

const TENANT_HEADER: &str = "x-scope-orgid";
const USER_AGENT: &str = concat!("millrace/", env!("CARGO_PKG_VERSION"));
/// Bytes of a refusal's text that are shown.
const REASON_BYTES_MAX: usize = 300;

/// Why remote write could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RemoteWriteError {
    #[error("remote write client {name}: {source}")]
    Queue { name: String, source: QueueError },
    #[error("remote write client {name}: {reason}")]
    Client { name: String, reason: String },
}

/// All receivers.
pub struct RemoteWrite {
    clients: Vec<Arc<Client>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    stop: CancellationToken,
}

struct Client {
    name: String,
    config: ClientConfig,
    add_org_id_header: bool,
    headers: HeaderMap,
    http: reqwest::Client,
    queue: Queue,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// Hands samples to every client's log.
struct ToClients(Vec<Arc<Client>>);

impl RemoteWrite {
    /// Opens the queues in `dir` and begins to send.
    pub async fn start(
        config: &RemoteWriteConfig,
        dir: &Path,
        (fsync, sealing): (FsyncPolicy, Option<Sealing>),
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<RemoteWrite, RemoteWriteError> {
        // Another part of the process may have been first; they all mean the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let stop = CancellationToken::new();
        let (mut clients, mut tasks) = (Vec::new(), Vec::new());
        for (name, settings) in config.all() {
            let wrong = |reason: String| RemoteWriteError::Client { name: name.clone(), reason };
            let http = http_client(&settings).map_err(wrong)?;
            let headers = headers(&settings).map_err(wrong)?;
            let sealing = sealing.clone();
            let (queue_dir, bytes_max) = (dir.join(&name), usize::try_from(settings.queue_config.max_bytes.0));
            let opening = tokio::task::spawn_blocking(move || {
                Queue::open(&queue_dir, fsync, sealing, bytes_max.unwrap_or(usize::MAX))
            });
            let opened = opening.await.map_err(|error| wrong(error.to_string()))?;
            let queue = opened.map_err(|source| RemoteWriteError::Queue { name: name.clone(), source })?;
            let client = Arc::new(Client {
                name,
                config: settings,
                add_org_id_header: config.add_org_id_header,
                headers,
                http,
                queue,
                clock: clock.clone(),
                metrics: metrics.clone(),
            });
            tasks.push(tokio::spawn(client.clone().run(stop.clone())));
            clients.push(client);
        }
        Ok(RemoteWrite { clients, tasks, stop })
    }

    /// What the store of derived metrics hands its samples to; none when there is no client.
    pub fn forward(&self) -> Option<Arc<dyn Forward>> {
        (!self.clients.is_empty()).then(|| Arc::new(ToClients(self.clients.clone())) as Arc<dyn Forward>)
    }

    /// Shows queues in metrics; call when metrics are gathered.
    pub fn show(&self) -> impl Fn(&Metrics) + Send + Sync + 'static {
        let clients = self.clients.clone();
        move |metrics| clients.iter().for_each(|client| client.show(metrics))
    }

    /// Ends sending; what waits is sent after the next start.
    pub async fn close(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a remote write client stopped");
            }
        }
        for client in self.clients {
            let closing = tokio::task::spawn_blocking(move || client.queue.close());
            if let Ok(Err(error)) = closing.await {
                tracing::error!(%error, "closing a remote write queue failed");
            }
        }
    }
}

#[async_trait]
impl Forward for ToClients {
    async fn forward(&self, batches: &[(TenantId, Vec<Sample>)]) -> Result<(), SampleError> {
        for client in &self.0 {
            let appended = client.queue.append(batches).await;
            appended.map_err(|error| SampleError::Failed(format!("remote write client {}: {error}", client.name)))?;
        }
        Ok(())
    }
}

impl Client {
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let deadline = self.config.queue_config.batch_send_deadline.to_std();
        let samples_max = self.config.queue_config.max_samples_per_send;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.queue.wait() => {}
            }
            if !self.queue.has(samples_max) {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(deadline) => {}
                }
            }
            let entries = self.queue.oldest(samples_max);
            let Some(last) = entries.last().map(|entry| entry.lsn) else { continue };
            let batches = entries.iter().flat_map(|entry| entry.batches.iter());
            for request in requests(batches, samples_max) {
                if !self.send(&request, &stop).await {
                    return;
                }
            }
            let client = self.clone();
            let done = tokio::task::spawn_blocking(move || client.queue.done(last)).await;
            if let Ok(Err(error)) = done {
                tracing::warn!(%error, client = self.name, "the position of remote write could not be kept; a restart sends some samples again");
            }
        }
    }

    /// Sends until there is a final answer; false when it should stop instead.
    async fn send(&self, request: &Request, stop: &CancellationToken) -> bool {
        let (tenant, samples) = request;
        let body = encode(samples);
        let queue = &self.config.queue_config;
        let mut backoff = Backoff::new(queue.min_backoff.to_std(), queue.max_backoff.to_std());
        let counted = |outcome: &str| {
            let counter = self.metrics.derived.remote_samples.with_label_values(&[self.name.as_str(), outcome]);
            counter.inc_by(samples.len() as u64);
        };
        let mut tries = 0_u32;
        loop {
            let posting = self.post(tenant, body.clone());
            let (status, retry_after, reason) = tokio::select! {
                () = stop.cancelled() => return false,
                answer = posting => answer,
            };
            self.metrics.derived.remote_requests.with_label_values(&[self.name.as_str(), &status.to_string()]).inc();
            match outcome(status, retry_after.as_deref(), queue.retry_on_http_429) {
                Outcome::Sent => {
                    counted("sent");
                    return true;
                }
                Outcome::Refused => {
                    counted("failed");
                    tracing::error!(client = self.name, %tenant, status, reason, samples = samples.len(), "a receiver refused samples; they are not sent again");
                    return true;
                }
                Outcome::TryAgain { after } => {
                    let wait = backoff.next(after);
                    tries += 1;
                    if tries.is_power_of_two() {
                        tracing::warn!(client = self.name, %tenant, status, reason, tries, ?wait, "samples could not be sent; they are tried again");
                    }
                    if !pause(wait, stop).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Status (0: no answer), `Retry-After`, and what went wrong in words.
    async fn post(&self, tenant: &TenantId, body: Vec<u8>) -> (u16, Option<String>, String) {
        let mut request = self.http.post(&self.config.url).headers(self.headers.clone()).body(body);
        if self.add_org_id_header {
            request = request.header(TENANT_HEADER, tenant.as_str());
        }
        let request = match self.authorized(request).await {
            Ok(request) => request,
            Err(reason) => return (0, None, reason),
        };
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let retry_after = answer.headers().get(header::RETRY_AFTER);
                let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
                let is_success = answer.status().is_success();
                let text = if is_success { String::new() } else { answer.text().await.unwrap_or_default() };
                let reason: String = text.chars().take(REASON_BYTES_MAX).collect();
                (status, retry_after, reason.trim().to_owned())
            }
            Err(error) => (0, None, error.to_string()),
        }
    }

    /// With a secret that may lie in a file, which may have changed.
    async fn authorized(&self, request: reqwest::RequestBuilder) -> Result<reqwest::RequestBuilder, String> {
        if let Some(basic) = &self.config.basic_auth {
            let password = secret(&basic.password, basic.password_file.as_deref()).await?;
            return Ok(request.basic_auth(&basic.username, Some(password)));
        }
        if let Some(authorization) = &self.config.authorization {
            let credentials = secret(&authorization.credentials, authorization.credentials_file.as_deref()).await?;
            return Ok(request.header(header::AUTHORIZATION, format!("{} {credentials}", authorization.kind)));
        }
        Ok(request)
    }

    fn show(&self, metrics: &Metrics) {
        let (bytes, dropped, oldest) = self.queue.state();
        let shown = &metrics.derived;
        shown.remote_queue_bytes.with_label_values(&[&self.name]).set(bytes as i64);
        let dropped_samples = shown.remote_samples.with_label_values(&[self.name.as_str(), "dropped"]);
        dropped_samples.inc_by(dropped);
        let lag = oldest.map_or(0, |oldest| (self.clock.now().0.saturating_sub(oldest.0) / NANOS_PER_SECOND).max(0));
        shown.remote_lag_seconds.with_label_values(&[&self.name]).set(lag);
    }
}

/// False when it should stop instead.
async fn pause(wait: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

async fn secret(text: &str, file: Option<&Path>) -> Result<String, String> {
    let Some(file) = file else { return Ok(text.to_owned()) };
    let read = tokio::fs::read_to_string(file).await;
    read.map(|text| text.trim().to_owned()).map_err(|error| format!("{}: {error}", file.display()))
}

fn http_client(config: &ClientConfig) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(config.remote_timeout.to_std())
        .redirect(reqwest::redirect::Policy::none())
        .danger_accept_invalid_certs(config.tls_config.insecure_skip_verify);
    if let Some(file) = &config.tls_config.ca_file {
        for certificate in authorities(file)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| error.to_string())
}

fn headers(config: &ClientConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        // The tenant is named by us alone, as in Loki.
        if name.eq_ignore_ascii_case(TENANT_HEADER) {
            continue;
        }
        let known = HeaderName::try_from(name.as_str()).map_err(|error| format!("header {name:?}: {error}"))?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|error| format!("header {name:?}: {error}"))?;
        headers.insert(known, value);
    }
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert("X-Prometheus-Remote-Write-Version", HeaderValue::from_static("0.1.0"));
    Ok(headers)
}
