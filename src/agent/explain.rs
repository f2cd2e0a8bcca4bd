//! What a configuration does, in plain words; what does not work here, and what to write instead.

mod stages;

use serde_json::Value as Yaml;

use super::config::{AgentConfig, ScrapeConfig};
use super::relabel::RelabelConfig;
use super::run::check_syntax;

/// An explanation, in Markdown that reads well as it is.
pub fn explain(config: &AgentConfig, notes: &[String]) -> String {
    let mut out = String::from("# What this configuration does\n\n");
    let clients: Vec<String> = config
        .all_clients()
        .map(|client| {
            let tenant =
                if client.tenant_id.is_empty() { String::new() } else { format!(" as tenant {}", client.tenant_id) };
            let drops = if client.drop_rate_limited_batches { "; batches refused with 429 are dropped" } else { "" };
            format!(
                "- Lines go to {}{tenant}, in batches of up to {} bytes or {} of waiting{drops}.\n",
                client.url, client.batchsize, client.batchwait
            )
        })
        .collect();
    out.push_str(&clients.concat());
    if clients.is_empty() {
        out.push_str("- **No clients: the agent does not start.** Add `clients: [{url: http://localhost:3100/loki/api/v1/push}]`.\n");
    }
    out.push_str(&format!(
        "- How far files were read is kept in {}. Promtail and this agent can take over from each other there.\n",
        config.positions.filename
    ));
    if config.limits_config.readline_rate_enabled {
        let limits = &config.limits_config;
        let over = if limits.readline_rate_drop { "more is dropped" } else { "more waits" };
        out.push_str(&format!(
            "- At most {} lines a second are sent in all, {} at once; {over}.\n",
            limits.readline_rate, limits.readline_burst
        ));
    }
    if !config.server.disable {
        out.push_str(&format!("- /ready, /targets and /metrics are on port {}.\n", config.server.http_listen_port));
    }
    for job in &config.scrape_configs {
        explain_job(job, &mut out);
    }
    out.push_str("\n# What to know\n\n");
    let mut words: Vec<String> = notes.to_vec();
    match check_syntax(config) {
        Ok(more) => words.extend(more),
        Err(error) => words.push(format!("**The agent does not start:** {error}")),
    }
    if config.scrape_configs.iter().any(|job| has_stage(&job.pipeline_stages, "replace")) {
        words.push(
            "replace: constant replacements of the line are also made in labels, metadata and extracted values that came from it; `line_only: true` on a stage is Promtail's way".to_owned(),
        );
    }
    let retries: Vec<u32> = config.all_clients().map(|client| client.backoff_config.max_retries).collect();
    if config.millrace.buffer.max_size.0 > 0 && retries.iter().any(|tries| *tries > 0) {
        words.push(format!(
            "backoff_config.max_retries drops nothing here: what a server does not take waits on disk, up to {} a client (millrace.buffer.max_size; 0 is Promtail's way)",
            config.millrace.buffer.max_size
        ));
    }
    if words.is_empty() {
        out.push_str("Nothing: everything works as in Promtail.\n");
    }
    for word in words {
        out.push_str(&format!("- {word}\n"));
    }
    out
}

fn explain_job(job: &ScrapeConfig, out: &mut String) {
    out.push_str(&format!("\n## Job {}\n\n", job.job_name));
    for group in &job.static_configs {
        let labels: Vec<String> = group
            .labels
            .iter()
            .filter(|(name, _)| !name.starts_with("__"))
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        match group.labels.get("__path__") {
            Some(path) => {
                let except = group.labels.get("__path_exclude__");
                let except = except.map(|path| format!(", but not {path}")).unwrap_or_default();
                out.push_str(&format!("- Reads {path}{except}, with the labels {} and filename.\n", listed(&labels)));
            }
            None => out.push_str("- A group without __path__: nothing is read of it.\n"),
        }
    }
    for sd in &job.file_sd_configs {
        out.push_str(&format!("- Reads the files that are listed in {}.\n", sd.files.join(", ")));
    }
    for docker in &job.docker_sd_configs {
        let filters: Vec<String> =
            docker.filters.iter().map(|filter| format!("{} {}", filter.name, filter.values.join(" or "))).collect();
        let only = if filters.is_empty() { String::new() } else { format!(" with {}", filters.join(" and ")) };
        out.push_str(&format!(
            "- Reads the logs of Docker containers{only} through {}, looking for new ones every {}.\n",
            docker.host, docker.refresh_interval
        ));
    }
    if let Some(journal) = &job.journal {
        out.push_str(&format!("- Follows systemd's journal with journalctl, from at most {} ago.\n", journal.max_age));
    }
    if let Some(syslog) = &job.syslog {
        out.push_str(&format!(
            "- Listens for {} messages on {} ({}).\n",
            syslog.syslog_format,
            syslog.listen_address,
            if syslog.server_tls().is_some() { "tls" } else { &syslog.listen_protocol }
        ));
    }
    if let Some(push) = &job.loki_push_api {
        out.push_str(&format!("- Takes pushes of other agents on port {}.\n", push.server.http_listen_port));
    }
    if let Some(kafka) = &job.kafka {
        out.push_str(&format!(
            "- Reads the Kafka topics {} of {} as group {}.\n",
            kafka.topics.join(", "),
            kafka.brokers.join(", "),
            kafka.group_id
        ));
    }
    for rule in &job.relabel_configs {
        out.push_str(&format!("- {}\n", explain_rule(rule)));
    }
    if let Some(list) = job.pipeline_stages.as_array() {
        out.push_str("- Each line then goes through these stages:\n");
        stages::explain(list, 1, out);
    }
}

fn listed(items: &[String]) -> String {
    if items.is_empty() { "of relabelling".to_owned() } else { items.join(", ") }
}

fn explain_rule(rule: &RelabelConfig) -> String {
    let sources = rule.source_labels.join(", ");
    let is_all = rule.regex == "(.*)";
    let when = if is_all { String::new() } else { format!(" that matches {}", rule.regex) };
    match rule.action.to_lowercase().as_str() {
        "replace" | "" if is_all && rule.replacement == "$1" => format!("{} is {sources}.", rule.target_label),
        "replace" | "" => format!("{} becomes {:?} for a {sources}{when}.", rule.target_label, rule.replacement),
        "keep" => format!("Only targets with a {sources}{when} are read."),
        "drop" => format!("Targets with a {sources}{when} are not read."),
        "keepequal" => format!("Only targets whose {sources} is their {} are read.", rule.target_label),
        "dropequal" => format!("Targets whose {sources} is their {} are not read.", rule.target_label),
        "hashmod" => format!("{} is a number below {} made of {sources}.", rule.target_label, rule.modulus),
        "labelmap" => format!("Labels named {} are copied to {:?}.", rule.regex, rule.replacement),
        "labeldrop" => format!("Labels named {} are taken away.", rule.regex),
        "labelkeep" => format!("Only labels named {} stay.", rule.regex),
        "lowercase" => format!("{} is {sources} in small letters.", rule.target_label),
        "uppercase" => format!("{} is {sources} in capitals.", rule.target_label),
        other => format!("An unknown action {other:?}."),
    }
}

fn has_stage(stages: &Yaml, name: &str) -> bool {
    match stages {
        Yaml::Array(list) => list.iter().any(|stage| has_stage(stage, name)),
        Yaml::Object(map) => map
            .iter()
            .any(|(key, inner)| key == name || inner.get("stages").is_some_and(|nested| has_stage(nested, name))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::load;

    #[test]
    fn the_exercises_configuration_in_plain_words() {
        let loaded = load(include_str!("../../tests/configs/exercise-promtail.yaml"), None).expect("it loads");
        let text = explain(&loaded.config, &loaded.notes);
        for part in [
            "Lines go to http://loki:3100/loki/api/v1/push, in batches of up to 1048576 bytes or 1s of waiting.",
            "kept in /tmp/positions.yaml",
            "Docker containers with label logging=promtail through unix:///var/run/docker.sock, looking for new ones every 5s",
            "container becomes \"$1\" for a __meta_docker_container_name that matches /(.*).",
            "service is __meta_docker_container_label_com_docker_compose_service.",
            "Reads /var/log/inference-gateway/*.log, with the labels environment=\"lab\", job=\"inference-gateway\", service=\"inference-gateway\" and filename.",
            "labels: level, logger, event, status_code, method become labels.",
            "server.healthcheck: does nothing here",
            "spells out a whole match",
            "log_errors_total counts what meets its filter",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
