//! Files people have: Loki's, the exercise's, misspelt ones.

use super::*;
use crate::config::load::load;

fn loaded(text: &str) -> Loaded {
    load(text, None).expect("a good configuration")
}

#[test]
fn default_yaml_states_the_defaults() {
    let loaded = loaded(DEFAULT_YAML);
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.unused, Vec::<String>::new());
}

#[test]
fn default_yaml_names_every_setting() {
    let document: serde_json::Value = serde_saphyr::from_str(DEFAULT_YAML).expect("YAML");
    fn missing(ours: &serde_json::Value, stated: &serde_json::Value, path: &str, out: &mut Vec<String>) {
        for (key, value) in ours.as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            match stated.get(key) {
                None => out.push(path),
                Some(stated) => missing(value, stated, &path, out),
            }
        }
    }
    let mut out = Vec::new();
    missing(&serde_json::to_value(Config::default()).expect("a tree"), &document, "", &mut out);
    assert_eq!(out, Vec::<String>::new());
}

#[test]
fn the_golden_configuration_is_used_whole() {
    let loaded = loaded(
        "auth_enabled: false\nserver:\n  http_listen_address: 127.0.0.1\n  http_listen_port: 3100\nlimits_config:\n  reject_old_samples: false\n  creation_grace_period: 87600h\n  allow_structured_metadata: true\n  volume_enabled: true\n  max_query_length: 0\n  max_query_series: 5000\n  ingestion_rate_mb: 1000\n  ingestion_burst_size_mb: 2000\n  per_stream_rate_limit: 1GB\n  per_stream_rate_limit_burst: 2GB\n  max_entries_limit_per_query: 5000\n  discover_log_levels: true\n  split_queries_by_interval: 0\n",
    );
    let limits = &loaded.config.limits_config;
    assert_eq!((limits.max_query_length, limits.max_query_series), (GoDuration(0), 5000));
    assert_eq!((limits.ingestion_rate_mb, limits.reject_old_samples), (1000.0, false));
    assert_eq!(loaded.config.listen_address(), "127.0.0.1:3100");
    assert!(loaded.unused.iter().all(|key| key.starts_with("limits_config.")), "{:?}", loaded.unused);
}

#[test]
fn the_exercises_file_of_loki_2_9_starts() {
    let loaded = loaded(include_str!("fixtures/exercise-loki.yaml"));
    let config = &loaded.config;
    assert_eq!(config.data_dir(), PathBuf::from("/loki/millrace"));
    assert_eq!(config.query_timeout(&config.limits_config), GoDuration::from_secs(60));
    assert_eq!(config.querier.max_concurrent, 10);
    assert_eq!(config.limits_config.ingestion_rate_mb, 10.0);
    for key in [
        "storage_config.boltdb_shipper",
        "compactor.shared_store",
        "ruler.enable_alertmanager_v2",
        "schema_config.configs",
        "server.grpc_listen_port",
    ] {
        assert!(loaded.unused.iter().any(|unused| unused == key), "{key} in {:?}", loaded.unused);
    }
    assert!(!loaded.auth_by_default);
}

#[test]
fn all_problems_are_told_at_once() {
    let check = |text: &str, expected: &[&str]| {
        let problems = load(text, None).map(|_| Vec::new()).unwrap_or_else(|error| error.problems);
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{problem:?} does not say {expected:?}");
        }
    };
    check(
        "sever:\n  a: 1\nserver:\n  http_listen_prot: 1\n  http_listen_port: many\nmillrace:\n  wal:\n    fsync: sometimes\n    fsink: 1\n",
        &[
            "sever: unknown key; did you mean server?",
            "server.http_listen_prot: unknown key; did you mean server.http_listen_port?",
            "server.http_listen_port: invalid type",
            "millrace.wal.fsync: unknown variant `sometimes`",
            "millrace.wal.fsink: unknown key; did you mean millrace.wal.fsync?",
        ],
    );
    check("- 1\n", &["not a mapping"]);
    check("a: [\n", &["not YAML"]);
    check("limits_config:\n  max_query_length: 5 parsecs\n", &["limits_config.max_query_length"]);
    check("server:\n  log_level: loud\n", &["server.log_level: one of"]);
    check("", &[]);
    check("# nothing\n", &[]);
    check("server:\n", &[]);
}

#[test]
fn a_file_silent_about_auth_means_loki() {
    assert!(loaded("server: {}\n").config.auth_enabled);
    assert!(loaded("server: {}\n").auth_by_default);
    assert!(!loaded("auth_enabled: false\n").config.auth_enabled);
    assert!(!Config::default().auth_enabled);
}

#[test]
fn variables_only_when_asked() {
    let text = "auth_enabled: ${AUTH:-false}\n";
    let none = |_: &str| None;
    assert!(!load(text, Some(&none)).expect("good").config.auth_enabled);
    assert!(load(text, None).is_err());
}

#[test]
fn data_goes_where_a_loki_file_says() {
    let check =
        |text: &str, expected: &str| assert_eq!(loaded(text).config.data_dir(), PathBuf::from(expected), "{text}");
    check("auth_enabled: false\n", "millrace-data");
    check("common:\n  path_prefix: /var/loki\n", "/var/loki/millrace");
    check("ingester:\n  wal:\n    dir: /loki/wal\n", "/loki/millrace");
    check("millrace:\n  data_dir: /data\ncommon:\n  path_prefix: /var/loki\n", "/data");
}
