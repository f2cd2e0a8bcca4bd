//! Who lines are sent to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::units::GoDuration;

/// One entry of `clients`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    pub name: String,
    pub url: String,
    /// A batch waits at most so long for more lines.
    pub batchwait: GoDuration,
    /// Bytes of lines in a batch.
    pub batchsize: usize,
    pub backoff_config: BackoffConfig,
    /// Sent with every line that has no such label itself.
    pub external_labels: BTreeMap<String, String>,
    /// Of a request.
    pub timeout: GoDuration,
    /// Goes as `X-Scope-OrgID`; empty sends none.
    pub tenant_id: String,
    /// A 429 drops the batch instead of trying again.
    pub drop_rate_limited_batches: bool,
    pub headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    #[serde(skip_serializing)]
    pub bearer_token: String,
    pub bearer_token_file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// Read, then refused.
    #[serde(skip_serializing)]
    pub oauth2: Option<serde_json::Value>,
    pub proxy_url: String,
    pub tls_config: TlsConfig,
    pub follow_redirects: bool,
    /// Accepted; HTTP/1.1 is spoken.
    pub enable_http2: bool,
    /// Accepted; lag is not measured.
    #[serde(skip_serializing)]
    pub stream_lag_labels: Option<String>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            name: String::new(),
            url: String::new(),
            batchwait: GoDuration::from_secs(1),
            batchsize: 1 << 20,
            backoff_config: BackoffConfig::default(),
            external_labels: BTreeMap::new(),
            timeout: GoDuration::from_secs(10),
            tenant_id: String::new(),
            drop_rate_limited_batches: false,
            headers: BTreeMap::new(),
            basic_auth: None,
            bearer_token: String::new(),
            bearer_token_file: String::new(),
            authorization: None,
            oauth2: None,
            proxy_url: String::new(),
            tls_config: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            stream_lag_labels: None,
        }
    }
}

/// How long to wait between tries: doubling, with chance.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackoffConfig {
    pub min_period: GoDuration,
    pub max_period: GoDuration,
    /// Tries before a batch is dropped; 0 never drops. With a buffer on disk nothing is dropped: it is tried on.
    pub max_retries: u32,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        BackoffConfig { min_period: GoDuration(500_000_000), max_period: GoDuration::from_secs(300), max_retries: 10 }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    pub username: String,
    pub username_file: String,
    #[serde(skip_serializing)]
    pub password: String,
    pub password_file: String,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    /// `Bearer` when empty.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing)]
    pub credentials: String,
    pub credentials_file: String,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    pub ca_file: String,
    pub cert_file: String,
    pub key_file: String,
    /// Read, then refused: the name is that of the URL.
    pub server_name: String,
    pub insecure_skip_verify: bool,
    pub min_version: String,
    pub max_version: String,
}
