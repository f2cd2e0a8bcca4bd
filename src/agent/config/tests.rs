use super::*;

fn problems(text: &str) -> Vec<String> {
    load(text, None).err().map(|error| error.problems).unwrap_or_default()
}

#[test]
fn the_exercises_file_loads() {
    let loaded = load(include_str!("../../../tests/configs/exercise-promtail.yaml"), None).expect("good");
    let config = loaded.config;
    assert_eq!((config.server.http_listen_port, config.positions.filename.as_str()), (9080, "/tmp/positions.yaml"));
    assert_eq!(config.clients[0].backoff_config.min_period, GoDuration(500_000_000));
    assert_eq!(config.limits_config.readline_burst, 20_000.0);
    let names: Vec<&str> = config.scrape_configs.iter().map(|job| job.job_name.as_str()).collect();
    assert_eq!(names, ["docker-containers", "inference-gateway-file", "syslog"]);
    assert_eq!(loaded.notes, ["server.healthcheck: does nothing here", "server.grpc_listen_port: does nothing here"]);
}

#[test]
fn defaults_are_promtails() {
    let config = load("clients: [{url: 'http://l:3100/loki/api/v1/push'}]", None).expect("good").config;
    let client = &config.clients[0];
    assert_eq!(
        (client.batchsize, client.batchwait, client.timeout),
        (1 << 20, GoDuration::from_secs(1), GoDuration::from_secs(10))
    );
    assert_eq!((client.backoff_config.max_period, client.backoff_config.max_retries), (GoDuration::from_secs(300), 10));
    assert_eq!((config.server.http_listen_port, config.positions.sync_period), (9080, GoDuration::from_secs(10)));
    assert_eq!(load("", None).expect("empty").config, AgentConfig::default());
}

#[test]
fn variables_are_replaced() {
    let lookup = |name: &str| (name == "HOST").then(|| "h".to_owned());
    let config = load("clients: [{url: 'http://${HOST}:${PORT:-3100}/x'}]", Some(&lookup)).expect("good").config;
    assert_eq!(config.clients[0].url, "http://h:3100/x");
}

#[test]
fn what_is_wrong_is_named_with_what_to_write_instead() {
    let check = |text: &str, expected: &[&str]| {
        let found = problems(text);
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for (problem, start) in found.iter().zip(expected) {
            assert!(problem.starts_with(start), "{problem}");
        }
    };
    check("scrape_config: []", &["unknown field `scrape_config`"]);
    check("clients: [{url: x}]", &["clients[0].url: \"x\" is no address"]);
    check(
        "clients: [{url: 'http://a', bearer_token: x, basic_auth: {username: y}, oauth2: {}}]",
        &["clients[0].oauth2 is not supported", "clients[0]: at most one of"],
    );
    check(
        "scrape_configs: [{job_name: a, gelf: {listen_address: x}}, {job_name: a, kubernetes_sd_configs: [{role: pod}], relabel_configs: [{action: x}]}]",
        &[
            "scrape_configs[a].gelf is not supported; send to Vector",
            "found multiple scrape configs with job name \"a\"",
            "scrape_configs[a].kubernetes_sd_configs is not supported; read /var/log/pods",
            "scrape_configs[a].relabel_configs: unknown relabel action",
        ],
    );
    check(
        "scrape_configs: [{job_name: a, decompression: {enabled: true, format: xz}, encoding: utf-16le}]",
        &["scrape_configs[a].decompression.format", "scrape_configs[a].encoding"],
    );
    check(
        "scrape_configs: [{job_name: a, kafka: {topics: [t], brokers: [b], authentication: {type: sasl}}}]",
        &["scrape_configs[a].kafka.authentication.sasl_config.user is required"],
    );
    check("a: [", &["not YAML"]);
}

#[test]
fn what_is_shown_has_no_secrets() {
    let config =
        load("clients: [{url: 'http://a', basic_auth: {username: u, password: hush}}]", None).expect("good").config;
    let shown = serde_json::to_string(&config).expect("serializes");
    assert!(shown.contains("\"username\":\"u\"") && !shown.contains("hush"), "{shown}");
}
