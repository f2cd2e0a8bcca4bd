//! `millrace.syslog` in the configuration: where messages come in, and what they become.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::tls::TlsConfig;
use crate::types::ids::TenantId;
use crate::types::units::{ByteSize, GoDuration};

/// Everything about the syslog door; off while it listens nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyslogConfig {
    /// `address:port`; none: off.
    pub udp: Option<SocketAddr>,
    pub tcp: Option<SocketAddr>,
    /// Encrypts TCP (RFC 5425); without it connections are taken as they are, also where HTTP has TLS.
    pub tls_config: TlsConfig,
    /// Whose the messages are; none: the one tenant of a server without authentication.
    pub tenant: Option<String>,
    pub labels: SyslogLabels,
    /// Whether the message's own time counts, when it has one; else the time it arrived.
    pub use_message_time: bool,
    /// Zone of times that name none, as in the IANA database.
    pub timezone: String,
    /// Longer messages are cut.
    pub message_bytes_max: ByteSize,
    pub connections_max: usize,
    /// Connections that are silent so long are closed.
    pub idle_timeout: GoDuration,
    /// How long messages wait for company before they are stored.
    pub linger: GoDuration,
}

/// Where labels come from; all else is structured metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyslogLabels {
    /// Constants.
    #[serde(rename = "static")]
    pub constants: BTreeMap<String, String>,
    /// Field → label.
    pub fields: BTreeMap<SyslogField, String>,
}

/// A field of a message that can be a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyslogField {
    /// The sender's address when the message names no host.
    Hostname,
    AppName,
    ProcId,
    MsgId,
    Facility,
    Severity,
    SourceIp,
}

impl Default for SyslogConfig {
    fn default() -> Self {
        SyslogConfig {
            udp: None,
            tcp: None,
            tls_config: TlsConfig::default(),
            tenant: None,
            labels: SyslogLabels::default(),
            use_message_time: true,
            timezone: "UTC".to_owned(),
            message_bytes_max: ByteSize(64 << 10),
            connections_max: 1024,
            idle_timeout: GoDuration::from_secs(600),
            linger: GoDuration(100_000_000),
        }
    }
}

impl Default for SyslogLabels {
    fn default() -> Self {
        SyslogLabels {
            constants: BTreeMap::from([("job".to_owned(), "syslog".to_owned())]),
            fields: BTreeMap::from([
                (SyslogField::Hostname, "host".to_owned()),
                (SyslogField::AppName, "app".to_owned()),
            ]),
        }
    }
}

impl SyslogConfig {
    pub fn is_on(&self) -> bool {
        self.udp.is_some() || self.tcp.is_some()
    }

    /// Whose the messages are.
    ///
    /// # Errors
    /// What is wrong with `tenant`.
    pub fn tenant_id(&self) -> Result<TenantId, String> {
        self.tenant
            .as_deref()
            .map_or_else(|| Ok(TenantId::single()), TenantId::parse)
            .map_err(|error| error.to_string())
    }

    /// What no single key shows.
    pub fn problems(&self, auth_enabled: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(error) = self.tenant_id() {
            problems.push(format!("millrace.syslog.tenant: {error}"));
        }
        if self.is_on() && auth_enabled && self.tenant.is_none() {
            problems.push("millrace.syslog.tenant: with auth_enabled, name the tenant of syslog's messages".to_owned());
        }
        if self.tls_config.is_on() && self.tcp.is_none() {
            problems.push("millrace.syslog.tls_config: TLS is of TCP; set millrace.syslog.tcp".to_owned());
        }
        if self.timezone.parse::<chrono_tz::Tz>().is_err() {
            problems.push(format!("millrace.syslog.timezone: {:?} is not in the IANA database", self.timezone));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_named() {
        let check = |json: &str, auth: bool, expected: &[&str]| {
            let config: SyslogConfig = serde_json::from_str(json).expect("well-formed");
            let problems = config.problems(auth);
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            assert!(problems.iter().zip(expected).all(|(problem, start)| problem.starts_with(start)), "{problems:?}");
        };
        check("{}", true, &[]);
        check(r#"{"udp":"127.0.0.1:514"}"#, false, &[]);
        check(r#"{"udp":"127.0.0.1:514"}"#, true, &["millrace.syslog.tenant: with auth_enabled"]);
        check(
            r#"{"udp":"127.0.0.1:514","tls_config":{"cert_file":"c"}}"#,
            false,
            &["millrace.syslog.tls_config: TLS is of TCP"],
        );
        check(r#"{"tenant":"a/b","timezone":"Mars"}"#, false, &["millrace.syslog.tenant", "millrace.syslog.timezone"]);
        assert!(serde_json::from_str::<SyslogConfig>(r#"{"labels":{"fields":{"colour":"c"}}}"#).is_err());
        assert!(serde_json::from_str::<SyslogConfig>(r#"{"udp":"everywhere"}"#).is_err());
    }
}
