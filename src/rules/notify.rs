//! Alerts on their way to Alertmanagers.
//!
//! ```text
//! Notifier::send ─▶ a queue for each manager (newest state of an alert wins, oldest alerts pushed out) ─▶ POST
//!                                                       ▲────────── failed: waits longer each time ────────┘
//! ```
//!
//! Source: Alertmanager's API v2, `POST /api/v2/alerts`, an array of
//! `{labels, annotations, startsAt, endsAt, generatorURL}`.
//! Invariants: a manager that is away does not hold up another; an alert is in a queue once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::rules::alerts::{Alert, AlertState};
use crate::rules::render::rfc3339;
use crate::rules::settings::AlertmanagerClientConfig;
use crate::telemetry::rules::RuleMetrics;
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::time::UnixNanos;

/// Alerts in one request.
const BATCH_ALERTS_MAX: usize = 256;
/// Waits after failures: from the first to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// An alert as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub tenant: TenantId,
    pub labels: Labels,
    body: Value,
}

impl Notification {
    /// `valid_until` is when the manager takes a firing alert for resolved if it hears nothing more.
    pub fn new(
        tenant: &TenantId,
        alert: &Alert,
        external_labels: &Labels,
        link: &str,
        valid_until: UnixNanos,
    ) -> Notification {
        let labels = Labels::from_pairs(external_labels.iter().chain(alert.labels.iter()));
        let starts = alert.fired_at.unwrap_or(alert.active_at);
        let ends = match alert.state {
            AlertState::Inactive => alert.resolved_at.unwrap_or(valid_until),
            AlertState::Pending | AlertState::Firing => valid_until,
        };
        let body = json!({
            "labels": object(&labels),
            "annotations": object(&alert.annotations),
            "startsAt": rfc3339(starts),
            "endsAt": rfc3339(ends),
            "generatorURL": link,
        });
        Notification { tenant: tenant.clone(), labels, body }
    }
}

fn object(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<Map<_, _>>())
}

/// Sends to every manager. Share it behind an `Arc`.
#[derive(Debug)]
pub struct Notifier {
    managers: Vec<Arc<Manager>>,
    metrics: RuleMetrics,
}

/// How managers are reached.
#[derive(Debug, Clone)]
pub struct NotifierSettings {
    pub managers: Vec<String>,
    pub client: AlertmanagerClientConfig,
    pub queue_alerts_max: usize,
    pub timeout: Duration,
}

#[derive(Debug)]
struct Manager {
    url: String,
    /// What metrics and logs show: without a password.
    shown: String,
    authorization: Option<String>,
    queue_alerts_max: usize,
    queue: Mutex<VecDeque<Notification>>,
    filled: Notify,
}

impl Notifier {
    /// # Errors
    /// When the credentials cannot be read.
    pub fn new(settings: &NotifierSettings, metrics: RuleMetrics) -> Result<Self, String> {
        let own = authorization(&settings.client)?;
        let mut managers = Vec::new();
        for address in &settings.managers {
            let mut url = url::Url::parse(address).map_err(|error| format!("{address:?}: {error}"))?;
            let in_url =
                (!url.username().is_empty()).then(|| basic(url.username(), url.password().unwrap_or_default()));
            let _ = url.set_username("").and_then(|()| url.set_password(None));
            let shown = url.to_string().trim_end_matches('/').to_owned();
            managers.push(Arc::new(Manager {
                url: format!("{shown}/api/v2/alerts"),
                shown,
                authorization: in_url.or_else(|| own.clone()),
                queue_alerts_max: settings.queue_alerts_max,
                queue: Mutex::default(),
                filled: Notify::new(),
            }));
        }
        Ok(Notifier { managers, metrics })
    }

    pub fn has_managers(&self) -> bool {
        !self.managers.is_empty()
    }

    /// Puts alerts into every queue. Never waits.
    pub fn send(&self, alerts: &[Notification]) {
        for manager in &self.managers {
            let dropped = manager.put(alerts);
            if dropped > 0 {
                self.metrics.notifications_dropped.inc_by(dropped as u64);
                tracing::warn!(
                    manager = manager.shown,
                    dropped,
                    "the queue of an Alertmanager is full; its oldest alerts are dropped"
                );
            }
        }
    }

    /// Delivers until `stop`; what is queued then is tried once more.
    pub async fn run(&self, timeout: Duration, stop: CancellationToken) {
        // https needs a provider; whoever comes first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = match reqwest::Client::builder().timeout(timeout).build() {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "alerts cannot be sent: no HTTP client");
                return;
            }
        };
        let all = self.managers.iter().map(|manager| manager.deliver(&client, &self.metrics, stop.clone()));
        futures::future::join_all(all).await;
    }
}

impl Manager {
    /// Answers how many were pushed out.
    fn put(&self, alerts: &[Notification]) -> usize {
        let mut queue = self.queue.lock();
        for alert in alerts {
            let known = queue.iter_mut().find(|known| known.tenant == alert.tenant && known.labels == alert.labels);
            match known {
                Some(known) => *known = alert.clone(),
                None => queue.push_back(alert.clone()),
            }
        }
        let dropped = queue.len().saturating_sub(self.queue_alerts_max);
        queue.drain(..dropped);
        drop(queue);
        self.filled.notify_one();
        dropped
    }

    /// The oldest alerts of one tenant.
    fn batch(&self) -> Option<(TenantId, Vec<Notification>)> {
        let mut queue = self.queue.lock();
        let tenant = queue.front()?.tenant.clone();
        let mut batch = Vec::new();
        let mut rest = VecDeque::with_capacity(queue.len());
        for alert in queue.drain(..) {
            if alert.tenant == tenant && batch.len() < BATCH_ALERTS_MAX {
                batch.push(alert)
            } else {
                rest.push_back(alert)
            }
        }
        *queue = rest;
        Some((tenant, batch))
    }

    /// Puts back what could not be sent, unless something newer is there.
    fn put_back(&self, batch: Vec<Notification>) {
        let mut queue = self.queue.lock();
        for alert in batch.into_iter().rev() {
            if !queue.iter().any(|known| known.tenant == alert.tenant && known.labels == alert.labels) {
                queue.push_front(alert);
            }
        }
    }

    async fn deliver(&self, client: &reqwest::Client, metrics: &RuleMetrics, stop: CancellationToken) {
        let mut wait = RETRY_FIRST;
        loop {
            let Some((tenant, batch)) = self.batch() else {
                if stop.is_cancelled() {
                    return;
                }
                tokio::select! {
                    () = self.filled.notified() => {}
                    () = stop.cancelled() => {}
                }
                continue;
            };
            let count = batch.len() as u64;
            match self.post(client, &tenant, &batch).await {
                Ok(()) => {
                    metrics.notifications_sent.with_label_values(&[self.shown.as_str()]).inc_by(count);
                    wait = RETRY_FIRST;
                }
                Err(error) => {
                    metrics.notification_errors.with_label_values(&[self.shown.as_str()]).inc_by(count);
                    tracing::warn!(
                        manager = self.shown,
                        alerts = count,
                        error,
                        "alerts could not be sent; trying again"
                    );
                    self.put_back(batch);
                    if stop.is_cancelled() {
                        return;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = stop.cancelled() => {}
                    }
                    wait = (wait * 2).min(RETRY_LONGEST);
                }
            }
        }
    }

    async fn post(&self, client: &reqwest::Client, tenant: &TenantId, batch: &[Notification]) -> Result<(), String> {
        let body: Vec<&Value> = batch.iter().map(|alert| &alert.body).collect();
        let mut request = client.post(&self.url).header("X-Scope-OrgID", tenant.as_str()).json(&body);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = answer.text().await.unwrap_or_default();
        let words: String = text.trim().chars().take(200).collect();
        // What the manager does not understand now, it will not later: told once, not tried again for ever.
        if status.is_client_error() && status.as_u16() != 429 && status.as_u16() != 401 && status.as_u16() != 403 {
            tracing::error!(manager = self.shown, %status, words, "an Alertmanager refused alerts; they are dropped");
            return Ok(());
        }
        Err(format!("{status}: {words}"))
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn authorization(client: &AlertmanagerClientConfig) -> Result<Option<String>, String> {
    if !client.basic_auth_username.is_empty() {
        return Ok(Some(basic(&client.basic_auth_username, &client.basic_auth_password)));
    }
    let credentials = match &client.credentials_file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("ruler.alertmanager_client.credentials_file: {}: {error}", path.display()))?,
        None => client.credentials.clone(),
    };
    let credentials = credentials.trim();
    let kind = if client.kind.is_empty() { "Bearer" } else { client.kind.as_str() };
    Ok((!credentials.is_empty()).then(|| format!("{kind} {credentials}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(name: &str, value: &str) -> Notification {
        Notification { tenant: TenantId::single(), labels: Labels::from_pairs([("a", name)]), body: Value::from(value) }
    }

    fn manager(queue_alerts_max: usize) -> Manager {
        Manager {
            url: String::new(),
            shown: String::new(),
            authorization: None,
            queue_alerts_max,
            queue: Mutex::default(),
            filled: Notify::new(),
        }
    }

    #[test]
    fn a_queue_holds_each_alert_once_and_the_newest_of_all() {
        let manager = manager(2);
        assert_eq!(manager.put(&[notification("x", "1"), notification("y", "1"), notification("x", "2")]), 0);
        assert_eq!(manager.put(&[notification("z", "1")]), 1);
        let (_, batch) = manager.batch().expect("alerts wait");
        assert_eq!(batch, [notification("y", "1"), notification("z", "1")]);
        assert_eq!(manager.put(&[notification("y", "2")]), 0);
        manager.put_back(batch);
        let (_, batch) = manager.batch().expect("alerts wait");
        assert_eq!(batch, [notification("z", "1"), notification("y", "2")]);
        assert!(manager.batch().is_none());
    }

    #[test]
    fn an_alert_is_what_the_api_documents() {
        let alert = Alert {
            labels: Labels::from_pairs([("alertname", "High"), ("region", "own")]),
            annotations: Labels::from_pairs([("summary", "s")]),
            state: AlertState::Firing,
            value: 1.0,
            active_at: UnixNanos(0),
            fired_at: Some(UnixNanos(60_000_000_000)),
            resolved_at: None,
            keep_since: None,
            last_sent: None,
            sent_as: None,
        };
        let external = Labels::from_pairs([("region", "eu"), ("cluster", "c")]);
        let until = UnixNanos(300_000_000_000);
        let sent = Notification::new(&TenantId::single(), &alert, &external, "http://g", until);
        assert_eq!(
            sent.body,
            json!({
                "labels": {"alertname": "High", "cluster": "c", "region": "own"},
                "annotations": {"summary": "s"},
                "startsAt": "1970-01-01T00:01:00Z",
                "endsAt": "1970-01-01T00:05:00Z",
                "generatorURL": "http://g",
            })
        );
        let resolved = Alert { state: AlertState::Inactive, resolved_at: Some(UnixNanos(120_000_000_000)), ..alert };
        let sent = Notification::new(&TenantId::single(), &resolved, &external, "", until);
        assert_eq!(sent.body["endsAt"], "1970-01-01T00:02:00Z");
    }

    #[test]
    fn who_we_are_is_said_as_configured() {
        let client = |user: &str, credentials: &str, kind: &str| AlertmanagerClientConfig {
            basic_auth_username: user.to_owned(),
            basic_auth_password: "p".to_owned(),
            credentials: credentials.to_owned(),
            kind: kind.to_owned(),
            credentials_file: None,
        };
        assert_eq!(authorization(&client("", "", "")), Ok(None));
        assert_eq!(authorization(&client("u", "", "")), Ok(Some("Basic dTpw".to_owned())));
        assert_eq!(authorization(&client("", "t", "")), Ok(Some("Bearer t".to_owned())));
        assert_eq!(authorization(&client("", "t", "Token")), Ok(Some("Token t".to_owned())));
    }
}
