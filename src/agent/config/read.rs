//! From text to a checked configuration.

use serde_json::Value as Yaml;

use super::{AgentConfig, ScrapeConfig};
use crate::agent::relabel::Relabel;

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    pub problems: Vec<String>,
}

impl ConfigError {
    pub fn one(problem: impl Into<String>) -> Self {
        ConfigError { problems: vec![problem.into()] }
    }
}

/// Keys of published configurations that do nothing, by the path of their mapping.
const UNUSED: &[(&[&str], &[&str])] = &[
    (&[], &["wal"]),
    (
        &["server"],
        &[
            "healthcheck",
            "grpc_listen_port",
            "grpc_listen_address",
            "grpc_server_max_recv_msg_size",
            "grpc_server_max_send_msg_size",
            "grpc_server_max_concurrent_streams",
            "graceful_shutdown_timeout",
            "http_server_read_timeout",
            "http_server_write_timeout",
            "http_server_idle_timeout",
            "http_path_prefix",
            "http_listen_network",
            "http_listen_conn_limit",
            "register_instrumentation",
            "log_source_ips_enabled",
            "log_source_ips_header",
            "log_request_at_info_level_enabled",
            "reload",
        ],
    ),
];

/// A configuration and what is worth saying about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: AgentConfig,
    pub notes: Vec<String>,
}

/// Gives variables their values.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Reads a configuration; `environment` replaces `${VAR}`.
///
/// # Errors
/// What is no YAML, has unknown keys or values of the wrong kind, or cannot be done here.
pub fn load(text: &str, environment: Option<Environment<'_>>) -> Result<Loaded, ConfigError> {
    let expanded;
    let text = match environment {
        None => text,
        Some(lookup) => {
            expanded = crate::types::environment::expand(text, lookup).map_err(|e| ConfigError::one(e.to_string()))?;
            &expanded
        }
    };
    let mut tree: Yaml =
        crate::pipeline::yaml::parse(text).map_err(|error| ConfigError::one(format!("not YAML: {error}")))?;
    if tree.is_null() {
        tree = Yaml::Object(serde_json::Map::new());
    }
    let mut notes = Vec::new();
    for (path, names) in UNUSED {
        let mut place = Some(&mut tree);
        for step in *path {
            place = place.and_then(|place| place.get_mut(*step));
        }
        let Some(map) = place.and_then(Yaml::as_object_mut) else { continue };
        for name in *names {
            if map.shift_remove(*name).is_some() {
                let full: Vec<&str> = path.iter().copied().chain([*name]).collect();
                notes.push(format!("{}: does nothing here", full.join(".")));
            }
        }
    }
    drop_nulls(&mut tree);
    let config: AgentConfig = serde_json::from_value(tree).map_err(|error| ConfigError::one(error.to_string()))?;
    check(&config)?;
    if config.tracing.enabled {
        notes.push("tracing.enabled: the agent sends no traces".to_owned());
    }
    if config.options.stream_lag_labels.is_some() {
        notes.push("options.stream_lag_labels: lag is not measured".to_owned());
    }
    Ok(Loaded { config, notes })
}

/// A key without a value is as good as no key, as in Go. Stages have nulls of their own.
fn drop_nulls(tree: &mut Yaml) {
    match tree {
        Yaml::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.iter_mut().filter(|(name, _)| *name != "pipeline_stages").for_each(|(_, value)| drop_nulls(value));
        }
        Yaml::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn check(config: &AgentConfig) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    for (at, client) in config.all_clients().enumerate() {
        let name = format!("clients[{at}]");
        match url::Url::parse(&client.url) {
            Ok(url) if ["http", "https"].contains(&url.scheme()) && url.has_host() => {}
            _ => problems
                .push(format!("{name}.url: {:?} is no address; write http://loki:3100/loki/api/v1/push", client.url)),
        }
        if client.oauth2.is_some() {
            problems.push(format!(
                "{name}.oauth2 is not supported; use bearer_token_file with a token that something else renews"
            ));
        }
        if !client.tls_config.server_name.is_empty() {
            problems
                .push(format!("{name}.tls_config.server_name is not supported; use the certificate's name in the URL"));
        }
        let ways = [
            client.basic_auth.is_some(),
            !client.bearer_token.is_empty() || !client.bearer_token_file.is_empty(),
            client.authorization.is_some(),
        ];
        if ways.iter().filter(|given| **given).count() > 1 {
            problems.push(format!(
                "{name}: at most one of basic_auth, bearer_token & bearer_token_file, authorization must be configured"
            ));
        }
    }
    let mut names: Vec<&str> = Vec::new();
    for job in &config.scrape_configs {
        if names.contains(&job.job_name.as_str()) && !job.job_name.is_empty() {
            problems.push(format!("found multiple scrape configs with job name \"{}\"", job.job_name));
        }
        names.push(&job.job_name);
        check_job(job, &mut problems);
    }
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
}

fn check_job(job: &ScrapeConfig, problems: &mut Vec<String>) {
    let name = format!("scrape_configs[{}]", job.job_name);
    for (what, given, instead) in unsupported(job) {
        if given {
            problems.push(format!("{name}.{what} is not supported; {instead}"));
        }
    }
    for relabel in &job.relabel_configs {
        if let Err(words) = Relabel::new(relabel) {
            problems.push(format!("{name}.relabel_configs: {words}"));
        }
    }
    if let Some(syslog) = &job.syslog {
        problems.extend(syslog.tls_problem().map(|words| format!("{name}.syslog.{words}")));
        if !["tcp", "udp"].contains(&syslog.listen_protocol.as_str()) {
            problems
                .push(format!("{name}.syslog.listen_protocol: {:?} is neither tcp nor udp", syslog.listen_protocol));
        }
        if !["rfc5424", "rfc3164"].contains(&syslog.syslog_format.as_str()) {
            problems.push(format!(
                "{name}.syslog.syslog_format: {:?} is neither rfc5424 nor rfc3164",
                syslog.syslog_format
            ));
        }
    }
    if let Some(decompression) = &job.decompression
        && decompression.enabled
        && !["gz", "z", "bz2"].contains(&decompression.format.as_str())
    {
        problems.push(format!(
            "{name}.decompression.format: {:?} is not supported; gz, z and bz2 are",
            decompression.format
        ));
    }
    if let Some(kafka) = &job.kafka {
        problems.extend(kafka.authentication.problem().map(|problem| format!("{name}.kafka.authentication.{problem}")));
        if kafka.topics.is_empty() || kafka.brokers.is_empty() {
            problems.push(format!("{name}.kafka: topics and brokers are required"));
        }
    }
    if !job.encoding.is_empty() && !job.encoding.eq_ignore_ascii_case("utf-8") {
        problems.push(format!("{name}.encoding: {:?} is not supported; only utf-8 is", job.encoding));
    }
}

/// Sources that are read and refused: name, whether it is given, what to write instead.
pub(in crate::agent) fn unsupported(job: &ScrapeConfig) -> Vec<(&'static str, bool, &'static str)> {
    let discovery =
        "list the files under static_configs with __path__, or let a program write them to a file for file_sd_configs";
    let through_kafka = "let its vendor's connector write to Kafka, and read that with kafka";
    vec![
        ("gelf", job.gelf.is_some(), "send to Vector or Fluent Bit, and from there to loki_push_api"),
        (
            "gcplog",
            job.gcplog.is_some(),
            "let Vector or the OpenTelemetry Collector read Pub/Sub and send OTLP to the server",
        ),
        ("windows_events", job.windows_events.is_some(), "let Alloy or Fluent Bit on Windows send to the server"),
        (
            "azure_event_hubs",
            job.azure_event_hubs.is_some(),
            "Event Hubs speak Kafka: let the server read them (kafka: in its configuration)",
        ),
        ("cloudflare", job.cloudflare.is_some(), through_kafka),
        ("heroku_drain", job.heroku_drain.is_some(), "use syslog with a TCP drain"),
        (
            "kubernetes_sd_configs",
            job.kubernetes_sd_configs.is_some(),
            "read /var/log/pods/*/*/*.log with __path__ and take namespace, pod and container out of filename with a regex stage and cri",
        ),
        ("consul_sd_configs", job.consul_sd_configs.is_some(), discovery),
        ("consulagent_sd_configs", job.consulagent_sd_configs.is_some(), discovery),
        ("ec2_sd_configs", job.ec2_sd_configs.is_some(), discovery),
        ("gce_sd_configs", job.gce_sd_configs.is_some(), discovery),
        ("azure_sd_configs", job.azure_sd_configs.is_some(), discovery),
        ("dns_sd_configs", job.dns_sd_configs.is_some(), discovery),
        ("openstack_sd_configs", job.openstack_sd_configs.is_some(), discovery),
        ("marathon_sd_configs", job.marathon_sd_configs.is_some(), discovery),
        ("nerve_sd_configs", job.nerve_sd_configs.is_some(), discovery),
        ("serverset_sd_configs", job.serverset_sd_configs.is_some(), discovery),
        ("triton_sd_configs", job.triton_sd_configs.is_some(), discovery),
    ]
}
