//! `millrace.cluster` in the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Other processes over the same table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// `http(s)://host:port` of processes whose recent rows are shown here; `dns+http://host:port` for all addresses of a
    /// name.
    pub peers: Vec<String>,
    /// File with the secret that all processes share; without it none tells its rows.
    pub token_file: Option<PathBuf>,
    /// PEM file of authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl ClusterConfig {
    /// What no single key shows.
    pub fn problems(&self, table_is_shared: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for peer in &self.peers {
            let address = peer.strip_prefix("dns+").unwrap_or(peer);
            let good =
                url::Url::parse(address).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
            if !good {
                problems.push(format!("millrace.cluster.peers: {peer:?} is no address; write http://host:3100"));
            }
        }
        if !self.peers.is_empty() && self.token_file.is_none() {
            problems.push("millrace.cluster.token_file: peers ask for the secret that all processes share".to_owned());
        }
        if !self.peers.is_empty() && !table_is_shared {
            problems.push("millrace.cluster.peers: peers share a table; set millrace.table.url".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_named() {
        let check = |json: &str, shared: bool, expected: &[&str]| {
            let config: ClusterConfig = serde_json::from_str(json).expect("well-formed");
            let problems = config.problems(shared);
            assert!(problems.len() == expected.len(), "{problems:?}");
            assert!(problems.iter().zip(expected).all(|(problem, start)| problem.contains(start)), "{problems:?}");
        };
        check("{}", false, &[]);
        check(r#"{"peers":["http://a:3100","dns+https://b:1"],"token_file":"t"}"#, true, &[]);
        check(r#"{"peers":["a:3100"],"token_file":"t"}"#, true, &["is no address"]);
        check(r#"{"peers":["http://a:3100"]}"#, false, &["token_file", "set millrace.table.url"]);
    }
}
