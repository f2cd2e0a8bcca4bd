//! Settings as YAML for people, with secrets masked.

use serde_json::{Map, Value};

use crate::config::Config;

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Effective,
    /// Only what differs from the defaults.
    Diff,
    Defaults,
}

#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    #[error("settings as a tree: {0}")]
    Tree(#[from] serde_json::Error),
    #[error("settings as YAML: {0}")]
    Yaml(String),
}

/// Settings as YAML.
pub fn print(config: &Config, mode: Mode) -> Result<String, PrintError> {
    let defaults = serde_json::to_value(Config::default())?;
    let mut tree = match mode {
        Mode::Effective => serde_json::to_value(config)?,
        Mode::Defaults => defaults,
        Mode::Diff => {
            difference(&serde_json::to_value(config)?, &defaults).unwrap_or_else(|| Value::Object(Map::new()))
        }
    };
    mask(&mut tree);
    serde_saphyr::to_string(&tree).map_err(|error| PrintError::Yaml(error.to_string()))
}

fn difference(actual: &Value, default: &Value) -> Option<Value> {
    match (actual, default) {
        (Value::Object(actual), Value::Object(default)) => {
            let differing = actual.iter().filter_map(|(key, value)| {
                let inner = match default.get(key) {
                    Some(default) => difference(value, default)?,
                    None => value.clone(),
                };
                Some((key.clone(), inner))
            });
            let differing: Map<String, Value> = differing.collect();
            (!differing.is_empty()).then_some(Value::Object(differing))
        }
        _ => (actual != default).then(|| actual.clone()),
    }
}

/// Hides values of keys that name secrets, and passwords in URLs.
fn mask(tree: &mut Value) {
    const SECRETS: [&str; 13] = [
        "password",
        "password_hash",
        "scram",
        "secret",
        "token",
        "token_sha256",
        "access_key",
        "account_key",
        "credentials",
        "key_base64",
        "sas_key",
        "service_account",
        "connection_string",
    ];
    match tree {
        Value::Object(keys) => {
            for (key, value) in keys {
                let is_secret = SECRETS.iter().any(|secret| key.to_ascii_lowercase().ends_with(secret));
                match value {
                    Value::String(text) if is_secret && !text.is_empty() => "********".clone_into(text),
                    value => mask(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::String(text) => {
            if let Some(masked) = without_password(text) {
                *text = masked;
            }
        }
        _ => {}
    }
}

fn without_password(text: &str) -> Option<String> {
    let mut url = url::Url::parse(text).ok()?;
    url.password()?;
    url.set_password(Some("********")).ok()?;
    Some(url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let mut tree =
            serde_json::json!({"a": {"secret_access_key": "x", "url": "http://me:pw@host/p"}, "b": ["https://h/"]});
        mask(&mut tree);
        let expected = serde_json::json!({"a": {"secret_access_key": "********", "url": "http://me:********@host/p"}, "b": ["https://h/"]});
        assert_eq!(tree, expected);
    }

    #[test]
    fn only_differences_are_printed() {
        let mut config = Config::default();
        config.server.http_listen_port = 3200;
        assert_eq!(print(&config, Mode::Diff).expect("prints").trim(), "server:\n  http_listen_port: 3200");
        assert!(print(&config, Mode::Defaults).expect("prints").contains("http_listen_port: 3100"));
    }
}
