//! `kafka`: topics that are read, and how the brokers know us.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::client::TlsConfig;

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    pub brokers: Vec<String>,
    pub topics: Vec<String>,
    pub group_id: String,
    pub version: String,
    /// `range`, `roundrobin` or `sticky`.
    pub assignor: String,
    pub use_incoming_timestamp: bool,
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Authentication::is_none")]
    pub authentication: Authentication,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        KafkaConfig {
            brokers: Vec::new(),
            topics: Vec::new(),
            group_id: "promtail".to_owned(),
            version: "2.2.1".to_owned(),
            assignor: "range".to_owned(),
            use_incoming_timestamp: false,
            labels: BTreeMap::new(),
            authentication: Authentication::default(),
        }
    }
}

/// How the brokers know us.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authentication {
    #[serde(rename = "type")]
    pub kind: AuthenticationKind,
    /// Of `ssl`.
    pub tls_config: TlsConfig,
    /// Of `sasl`.
    pub sasl_config: SaslConfig,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthenticationKind {
    #[default]
    None,
    Ssl,
    Sasl,
}

/// A name and a password, with TLS around them or without.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SaslConfig {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; empty is the first.
    pub mechanism: String,
    pub user: String,
    #[serde(skip_serializing)]
    pub password: String,
    pub use_tls: bool,
    pub ca_file: String,
    /// Read, then refused: the name is that of the broker's address.
    pub server_name: String,
    pub insecure_skip_verify: bool,
}

impl Authentication {
    fn is_none(&self) -> bool {
        self.kind == AuthenticationKind::None
    }

    /// What the configuration asks for and cannot have; the first, after the name of the block.
    pub fn problem(&self) -> Option<String> {
        let sasl = &self.sasl_config;
        match self.kind {
            AuthenticationKind::None => None,
            AuthenticationKind::Ssl if !self.tls_config.server_name.is_empty() => Some(
                "tls_config.server_name is not supported; use the certificate's name in the broker's address"
                    .to_owned(),
            ),
            AuthenticationKind::Ssl => None,
            AuthenticationKind::Sasl if !["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].contains(&sasl.mechanism()) => {
                let found = sasl.mechanism();
                Some(format!("sasl_config.mechanism: {found:?} is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"))
            }
            AuthenticationKind::Sasl if !sasl.server_name.is_empty() => Some(
                "sasl_config.server_name is not supported; use the certificate's name in the broker's address"
                    .to_owned(),
            ),
            AuthenticationKind::Sasl if sasl.user.is_empty() => Some("sasl_config.user is required".to_owned()),
            AuthenticationKind::Sasl => None,
        }
    }

    /// As librdkafka's properties.
    pub fn properties(&self) -> Vec<(&'static str, &str)> {
        let (tls, sasl) = (&self.tls_config, &self.sasl_config);
        let mut properties = match self.kind {
            AuthenticationKind::None => Vec::new(),
            AuthenticationKind::Ssl => vec![
                ("security.protocol", "ssl"),
                ("ssl.ca.location", &*tls.ca_file),
                ("ssl.certificate.location", &*tls.cert_file),
                ("ssl.key.location", &*tls.key_file),
                ("enable.ssl.certificate.verification", if tls.insecure_skip_verify { "false" } else { "" }),
            ],
            AuthenticationKind::Sasl => vec![
                ("security.protocol", if sasl.use_tls { "sasl_ssl" } else { "sasl_plaintext" }),
                ("sasl.mechanism", sasl.mechanism()),
                ("sasl.username", &*sasl.user),
                ("sasl.password", &*sasl.password),
                ("ssl.ca.location", &*sasl.ca_file),
                ("enable.ssl.certificate.verification", if sasl.insecure_skip_verify { "false" } else { "" }),
            ],
        };
        properties.retain(|(_, value)| !value.is_empty());
        properties
    }
}

impl SaslConfig {
    fn mechanism(&self) -> &str {
        if self.mechanism.is_empty() { "PLAIN" } else { &self.mechanism }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promtails_blocks_are_read() {
        let check = |yaml: &str, expected: Result<&str, &str>| {
            let authentication: Authentication = serde_saphyr::from_str(yaml).expect("well-formed");
            let properties = authentication.properties();
            let shown: Vec<String> = properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let found = authentication.problem().map_or(Ok(shown.join(" ")), Err);
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
        };
        check("{}", Ok(""));
        check(
            "{type: ssl, tls_config: {ca_file: /ca, cert_file: /c, key_file: /k}}",
            Ok("security.protocol=ssl ssl.ca.location=/ca ssl.certificate.location=/c ssl.key.location=/k"),
        );
        check(
            "{type: sasl, sasl_config: {user: u, password: p, use_tls: true, insecure_skip_verify: true}}",
            Ok(
                "security.protocol=sasl_ssl sasl.mechanism=PLAIN sasl.username=u sasl.password=p enable.ssl.certificate.verification=false",
            ),
        );
        check("{type: sasl}", Err("sasl_config.user is required"));
        check(
            "{type: sasl, sasl_config: {user: u, mechanism: GSSAPI}}",
            Err("sasl_config.mechanism: \"GSSAPI\" is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        );
        let shown = serde_json::to_string(&SaslConfig { password: "secret".to_owned(), ..SaslConfig::default() });
        assert!(!shown.expect("a text").contains("secret"));
    }
}
