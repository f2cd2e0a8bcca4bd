//! The settings of the audit trail.

use serde::{Deserialize, Serialize};

use crate::types::ids::TenantId;
use crate::types::units::GoDuration;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditConfig {
    /// None: where callers say who they are.
    pub enabled: Option<bool>,
    /// Whether questions about labels, series, volumes and patterns are recorded, too.
    pub browsing: bool,
    pub queue_records_max: usize,
    /// How long a question waits for room in the queue before its record is given up.
    pub queue_wait: GoDuration,
    /// How often the ends of chains are signed, kept, and said in the log.
    pub heads_interval: GoDuration,
    /// What they are signed with. None: `audit.pem` in the data directory.
    pub key_file: Option<std::path::PathBuf>,
    /// Where records lie that belong to no tenant that is there.
    pub tenant: Option<String>,
    /// 0: for ever.
    pub retention: GoDuration,
}

impl Default for AuditConfig {
    fn default() -> Self {
        AuditConfig {
            enabled: None,
            browsing: true,
            queue_records_max: 4096,
            queue_wait: GoDuration::from_secs(1),
            heads_interval: GoDuration::from_secs(60),
            key_file: None,
            tenant: None,
            retention: GoDuration(0),
        }
    }
}

impl AuditConfig {
    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.queue_records_max == 0 {
            problems.push("millrace.audit.queue_records_max: at least 1".to_owned());
        }
        if self.heads_interval.0 < 1_000_000_000 {
            problems.push("millrace.audit.heads_interval: at least 1s".to_owned());
        }
        if let Some(Err(error)) = self.tenant.as_deref().map(TenantId::parse) {
            problems.push(format!("millrace.audit.tenant: {error}"));
        }
        problems
    }

    /// Where records lie that belong to no tenant that is there.
    pub fn server_tenant(&self, auth_enabled: bool) -> TenantId {
        let named = if auth_enabled { self.tenant.as_deref().or(Some("millrace")) } else { None };
        named.and_then(|name| TenantId::parse(name).ok()).unwrap_or_else(TenantId::single)
    }
}
