//! From text to settings: what is ours is checked key by key, so that all problems are told at once.

use serde_json::{Map, Value};

use crate::config::known::{self, Known, join};
use crate::config::{Config, env};

/// Settings, and what should be said about the file they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// Dotted keys that Loki knows and that do nothing here.
    pub unused: Vec<String>,
    /// Whether the file was silent about `auth_enabled`, which then is on as in Loki.
    pub auth_by_default: bool,
}

/// Gives a variable's value.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} problem(s):\n  {}", problems.len(), problems.join("\n  "))]
pub struct ConfigError {
    pub problems: Vec<String>,
}

/// Reads a Loki or Millrace configuration.
///
/// `environment` gives variables when the file may refer to them.
pub fn load(text: &str, environment: Option<Environment<'_>>) -> Result<Loaded, ConfigError> {
    let alone = |problem: String| ConfigError { problems: vec![problem] };
    let expanded = match environment {
        Some(lookup) => env::expand(text, lookup).map_err(|error| alone(error.to_string()))?,
        None => text.to_owned(),
    };
    let document = parse(&expanded).map_err(alone)?;
    let silent_about_auth = !document.contains_key("auth_enabled");
    let mut reader = Reader::new();
    if silent_about_auth {
        reader.effective["auth_enabled"] = Value::Bool(true);
    }
    let defaults = reader.defaults.clone();
    reader.read_block("", &document, defaults.as_object());
    let config = serde_json::from_value::<Config>(reader.effective).map_err(|error| alone(error.to_string()));
    let mut problems = reader.problems;
    match config {
        Ok(config) => {
            problems.extend(check(&config));
            if problems.is_empty() {
                return Ok(Loaded { config, unused: reader.unused, auth_by_default: silent_about_auth });
            }
        }
        Err(error) if problems.is_empty() => problems = error.problems,
        Err(_) => {}
    }
    Err(ConfigError { problems })
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Map::new());
    }
    match serde_saphyr::from_str::<Value>(text) {
        Ok(Value::Object(document)) => Ok(document),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err("the file is not a mapping of settings".to_owned()),
        Err(error) => Err(format!("not YAML: {error}")),
    }
}

/// What no single key shows, of settings from anywhere.
pub fn check_all(config: &Config) -> Result<(), ConfigError> {
    let problems = check(config);
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
}

fn check(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let mut demand = |holds: bool, problem: &str| {
        if !holds {
            problems.push(problem.to_owned());
        }
    };
    let level = config.server.log_level.as_str();
    demand(
        ["trace", "debug", "info", "warn", "error"].contains(&level),
        "server.log_level: one of trace, debug, info, warn, error",
    );
    demand(["logfmt", "json"].contains(&config.server.log_format.as_str()), "server.log_format: logfmt or json");
    demand(config.querier.max_concurrent > 0, "querier.max_concurrent: at least 1");
    demand(config.distributor.max_recv_msg_size.0 > 0, "distributor.max_recv_msg_size: more than 0");
    demand(config.millrace.flush.max_bytes.0 >= 1 << 16, "millrace.flush.max_bytes: at least 64KB");
    demand(config.millrace.table.follow_interval.0 > 0, "millrace.table.follow_interval: more than 0");
    demand(config.millrace.table.lease_term.0 >= 1_000_000_000, "millrace.table.lease_term: at least 1s");
    demand(config.millrace.table.request_timeout.0 > 0, "millrace.table.request_timeout: more than 0");
    demand(config.millrace.table.retry_timeout.0 > 0, "millrace.table.retry_timeout: more than 0");
    demand(config.millrace.flush.max_age.0 > 0, "millrace.flush.max_age: more than 0");
    demand(config.millrace.wal.fsync_interval.0 > 0, "millrace.wal.fsync_interval: more than 0");
    demand(config.millrace.wal.segment_bytes.0 >= 1 << 16, "millrace.wal.segment_bytes: at least 64KB");
    demand(config.millrace.query.memory_bytes_max.0 >= 16 << 20, "millrace.query.memory_bytes_max: at least 16MB");
    demand(
        config.millrace.push.inflight_bytes_max.0 >= config.distributor.max_recv_msg_size.0,
        "millrace.push.inflight_bytes_max: at least distributor.max_recv_msg_size, else a large push never has room",
    );
    problems.extend(config.tier_problems());
    problems.extend(config.table_location().err().map(|error| error.to_string()));
    problems.extend(config.kafka.problems());
    problems.extend(config.access.problems());
    problems.extend(config.ruler.problems());
    problems.extend(config.millrace.flow.problems());
    problems.extend(config.limits_config.problems().into_iter().map(|problem| format!("limits_config.{problem}")));
    problems.extend(config.millrace.audit.problems());
    problems.extend(config.compactor.problems());
    problems.extend(config.millrace.compaction.problems());
    problems.extend(config.millrace.syslog.problems(config.auth_enabled));
    problems.extend(config.millrace.cluster.problems(config.table_is_shared()));
    problems
}

struct Reader {
    /// The default settings as a tree: the keys that are ours.
    defaults: Value,
    /// The settings so far.
    effective: Value,
    unused: Vec<String>,
    problems: Vec<String>,
}

impl Reader {
    fn new() -> Self {
        let defaults = serde_json::to_value(Config::default()).expect("settings have string keys and finite numbers");
        Reader { effective: defaults.clone(), defaults, unused: Vec::new(), problems: Vec::new() }
    }

    /// Looks at every key of a block. `ours`: the block's default settings, if it is ours.
    fn read_block(&mut self, block: &str, keys: &Map<String, Value>, ours: Option<&Map<String, Value>>) {
        for (key, value) in keys {
            let path = join(block, key);
            match (ours.and_then(|ours| ours.get(key)), value) {
                (Some(Value::Object(_)), Value::Null) => {}
                (Some(Value::Object(inner)), Value::Object(keys)) if !inner.is_empty() => {
                    self.read_block(&path, keys, Some(inner));
                }
                (Some(_), value) => self.set(&path, value),
                (None, value) => self.read_foreign(block, key, value, ours),
            }
        }
    }

    fn read_foreign(&mut self, block: &str, key: &str, value: &Value, ours: Option<&Map<String, Value>>) {
        let path = join(block, key);
        match (known::look_up(block, key), value) {
            (Known::Block, Value::Object(keys)) => self.read_block(&path, keys, None),
            (Known::Block, Value::Null) => {}
            (Known::Block | Known::Leaf, _) => self.unused.push(path),
            (Known::Unknown, _) => {
                let names = ours.into_iter().flatten().map(|(name, _)| name.as_str());
                let hint =
                    known::nearest(block, key, names).map(|name| format!("; did you mean {}?", join(block, &name)));
                self.problems.push(format!("{path}: unknown key{}", hint.unwrap_or_default()));
            }
        }
    }

    /// Takes one setting of ours, if it is well-formed.
    fn set(&mut self, path: &str, value: &Value) {
        let pointer = format!("/{}", path.replace('.', "/"));
        let mut alone = self.defaults.clone();
        let place = alone.pointer_mut(&pointer).expect("the path was found in the defaults");
        if value.is_null() && !place.is_null() {
            return;
        }
        place.clone_from(value);
        match serde_json::from_value::<Config>(alone) {
            Ok(_) => self.effective.pointer_mut(&pointer).expect("same shape as the defaults").clone_from(value),
            Err(error) => self.problems.push(format!("{path}: {error}")),
        }
    }
}
