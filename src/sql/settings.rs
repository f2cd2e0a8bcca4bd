//! The settings of the doors of SQL beside HTTP.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::tls::TlsConfig;

/// SQL over the Postgres wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// None: off.
    #[serde(with = "listen")]
    pub listen: Option<SocketAddr>,
    /// Connections at once; more are refused.
    pub connections_max: usize,
    /// Its own certificate; none: that of HTTP.
    pub tls_config: TlsConfig,
}

/// SQL over Arrow Flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlightConfig {
    /// None: off.
    #[serde(with = "listen")]
    pub listen: Option<SocketAddr>,
    /// Connections at once; more are refused.
    pub connections_max: usize,
}

/// Any free port, for this machine alone.
fn loopback() -> Option<SocketAddr> {
    Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

impl Default for PostgresConfig {
    fn default() -> Self {
        PostgresConfig { listen: loopback(), connections_max: 100, tls_config: TlsConfig::default() }
    }
}

impl Default for FlightConfig {
    fn default() -> Self {
        FlightConfig { listen: loopback(), connections_max: 100 }
    }
}

/// An address; empty or null: none.
mod listen {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&address.map(|address| address.to_string()).unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        match text.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                serde::de::Error::custom(format!("{text:?} is no address and port, such as 127.0.0.1:5432"))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_address_turns_a_door_off() {
        let read = |text: &str| serde_json::from_str::<PostgresConfig>(text).map(|config| config.listen);
        assert_eq!(read("{}").expect("the default"), loopback());
        assert_eq!(read(r#"{"listen": ""}"#).expect("off"), None);
        assert_eq!(read(r#"{"listen": null}"#).expect("off"), None);
        assert_eq!(read(r#"{"listen": "[::1]:5432"}"#).expect("on"), "[::1]:5432".parse().ok());
        assert!(read(r#"{"listen": "5432"}"#).is_err_and(|error| error.to_string().contains("127.0.0.1:5432")));
    }
}
