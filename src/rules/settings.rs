//! `ruler:` with Loki's names, and `millrace.flow:` for what is ours alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::remote_write::RemoteWriteConfig;
use crate::rules::views::{ContinuousViewConfig, translate};
use crate::types::ids::TenantId;
use crate::types::units::{ByteSize, GoDuration};

/// Rules and alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RulerConfig {
    pub storage: RuleStorageConfig,
    /// How often groups are evaluated that say nothing of it.
    pub evaluation_interval: GoDuration,
    /// How often rule files are looked at again.
    pub poll_interval: GoDuration,
    /// Whether rules can be read and changed over HTTP.
    pub enable_api: bool,
    /// Where Grafana is: alerts link to it.
    pub external_url: String,
    /// Grafana's name of this data source, for links.
    pub datasource_uid: String,
    /// Added to every alert.
    pub external_labels: BTreeMap<String, String>,
    /// Alertmanagers, separated by commas; empty: alerts are kept and shown, not sent.
    pub alertmanager_url: String,
    pub alertmanager_client: AlertmanagerClientConfig,
    /// Alerts that wait for one Alertmanager; more push out the oldest.
    pub notification_queue_capacity: usize,
    pub notification_timeout: GoDuration,
    /// How long until a firing alert is sent again.
    pub resend_delay: GoDuration,
    /// Where recorded samples are sent.
    pub remote_write: RemoteWriteConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleStorageConfig {
    /// Only `local` is read.
    #[serde(rename = "type")]
    pub kind: String,
    pub local: LocalRulesConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalRulesConfig {
    /// Files of the operator: `<tenant>/<file>`, or `<file>.yaml` of the single tenant.
    pub directory: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertmanagerClientConfig {
    pub basic_auth_username: String,
    pub basic_auth_password: String,
    /// `Bearer` when empty.
    #[serde(rename = "type")]
    pub kind: String,
    pub credentials: String,
    pub credentials_file: Option<PathBuf>,
}

/// Continuous operators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowConfig {
    /// How long rows may take to arrive before they are late.
    pub delay: GoDuration,
    /// After which silence a source no longer holds the clock.
    pub idle_after: GoDuration,
    /// How late rows may come and still correct what was recorded.
    pub lateness: GoDuration,
    /// State of one rule.
    pub state_bytes_max: ByteSize,
    /// Evaluations further back than this are left out after a pause.
    pub catch_up: GoDuration,
    /// Time limit of one question that a rule asks.
    pub query_timeout: GoDuration,
    /// Lines that `$sample` shows of an alert.
    pub sample_lines: usize,
    /// SELECTs whose results are kept as tables.
    pub continuous_views: Vec<ContinuousViewConfig>,
}

impl Default for RulerConfig {
    fn default() -> Self {
        RulerConfig {
            storage: RuleStorageConfig::default(),
            evaluation_interval: GoDuration::from_secs(60),
            poll_interval: GoDuration::from_secs(10),
            enable_api: true,
            external_url: String::new(),
            datasource_uid: String::new(),
            external_labels: BTreeMap::new(),
            alertmanager_url: String::new(),
            alertmanager_client: AlertmanagerClientConfig::default(),
            notification_queue_capacity: 10_000,
            notification_timeout: GoDuration::from_secs(10),
            resend_delay: GoDuration::from_secs(60),
            remote_write: RemoteWriteConfig::default(),
        }
    }
}

impl Default for RuleStorageConfig {
    fn default() -> Self {
        RuleStorageConfig { kind: "local".to_owned(), local: LocalRulesConfig::default() }
    }
}

impl Default for FlowConfig {
    fn default() -> Self {
        FlowConfig {
            delay: GoDuration::from_secs(1),
            idle_after: GoDuration::from_secs(10),
            lateness: GoDuration::from_secs(300),
            state_bytes_max: ByteSize(64 << 20),
            catch_up: GoDuration::from_secs(6 * 3600),
            query_timeout: GoDuration::from_secs(60),
            sample_lines: 3,
            continuous_views: Vec::new(),
        }
    }
}

impl RulerConfig {
    /// Where alerts go: base addresses.
    pub fn managers(&self) -> Vec<String> {
        let urls = self.alertmanager_url.split(',').map(str::trim);
        urls.filter(|url| !url.is_empty()).map(|url| url.trim_end_matches('/').to_owned()).collect()
    }

    /// What is wrong with the settings.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, interval) in
            [("evaluation_interval", self.evaluation_interval), ("poll_interval", self.poll_interval)]
        {
            if interval.0 < 1_000_000 || interval.0 % 1_000_000 != 0 {
                problems.push(format!("ruler.{name}: whole milliseconds, more than 0"));
            }
        }
        for url in self.managers() {
            let is_http = url::Url::parse(&url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
            if !is_http {
                problems.push(format!("ruler.alertmanager_url: {url:?} is no http:// or https:// address"));
            }
        }
        if self.notification_queue_capacity == 0 {
            problems.push("ruler.notification_queue_capacity: at least 1".to_owned());
        }
        problems.extend(self.remote_write.problems());
        problems
    }
}

impl FlowConfig {
    /// What is wrong with the settings.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let durations = [
            ("delay", self.delay, 0),
            ("idle_after", self.idle_after, 1),
            ("lateness", self.lateness, 0),
            ("catch_up", self.catch_up, 0),
            ("query_timeout", self.query_timeout, 1),
        ];
        for (name, duration, least) in durations {
            if duration.0 < least {
                problems
                    .push(format!("millrace.flow.{name}: {}", if least == 0 { "0 or more" } else { "more than 0" }));
            }
        }
        let mut names = std::collections::BTreeSet::new();
        for view in &self.continuous_views {
            if let Err(error) = translate(view) {
                problems.push(format!("millrace.flow.continuous_views: {}: {error}", view.name));
            }
            if let Some(tenant) = &view.tenant
                && let Err(error) = TenantId::parse(tenant)
            {
                problems.push(format!("millrace.flow.continuous_views: {}: {error}", view.name));
            }
            if !names.insert((&view.tenant, &view.name)) {
                problems.push(format!("millrace.flow.continuous_views: {} is there twice", view.name));
            }
            if ["logs", "streams", "files", "metrics", "logql"].contains(&view.name.as_str()) {
                problems.push(format!("millrace.flow.continuous_views: {} is the name of another table", view.name));
            }
        }
        if self.state_bytes_max.0 < 1 << 16 {
            problems.push("millrace.flow.state_bytes_max: at least 64KB".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_are_told_apart() {
        let config = RulerConfig { alertmanager_url: " http://a:9093/ ,https://b/x".to_owned(), ..Default::default() };
        assert_eq!(config.managers(), ["http://a:9093", "https://b/x"]);
        assert_eq!(config.problems(), Vec::<String>::new());
        let bad = RulerConfig { alertmanager_url: "alertmanager:9093".to_owned(), ..Default::default() };
        assert_eq!(bad.problems().len(), 1);
        assert_eq!(FlowConfig::default().problems(), Vec::<String>::new());
    }
}
