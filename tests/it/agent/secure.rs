//! The agent where somebody asks who it is: TLS, tokens, passwords, certificates, and Kafka's brokers; syslog over TLS.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{Agent, Place, eventually, free_port, now_s, only_lines};
use crate::authority::Authority;
use crate::harness::Server;
use crate::kafka_security::{Guarded, PASSWORD};
use crate::tls;

const LINES: usize = 200;

/// What `millrace password` makes of a password: a setting of an account.
fn password_hash(password: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .arg("password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("piped").write_all(format!("{password}\n").as_bytes()).expect("written");
    let said = String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("a text");
    said.lines().find(|line| line.starts_with("password_hash: ")).expect("a hash").to_owned()
}

#[test]
fn lines_go_to_a_server_that_asks_who_sends_them_and_one_client_refused_holds_up_no_other() {
    let place = Place::new();
    let authority = Authority::new(place.directory.path(), "authority");
    authority.sign("eve", "eve");
    let access = format!(
        "access:\n  roles: {{agent: [{{tenants: ['*'], actions: [write]}}], reader: [{{tenants: ['*'], actions: [read]}}]}}\n  \
         tokens: [{{name: t, token: agent-token, roles: [agent]}}, {{name: r, token: reader-token, roles: [reader]}}]\n  \
         accounts: [{{name: ben, {}, roles: [agent]}}]\n  certificates: [{{common_name: eve, roles: [agent]}}]\n",
        password_hash("bens-password")
    );
    let server = tls::start(&authority, "VerifyClientCertIfGiven", &access);
    let path = |file: &str| authority.path(file);
    place.write("token", "agent-token\n");
    place.write("password", "bens-password\n");
    let client = |way: &str, auth: &str, tls: &str| {
        format!(
            "- {{url: '{}/loki/api/v1/push', batchwait: 50ms, external_labels: {{way: {way}}}, {auth} tls_config: {{ca_file: {}{tls}}}, backoff_config: {{min_period: 50ms, max_period: 100ms, max_retries: 3}}}}\n",
            server.url,
            path("ca.pem")
        )
    };
    let clients = [
        client("token", &format!("bearer_token_file: {},", place.path("token").display()), ""),
        client("authorization", "authorization: {credentials: agent-token},", ""),
        client(
            "password",
            &format!("basic_auth: {{username: ben, password_file: {}}},", place.path("password").display()),
            "",
        ),
        client("certificate", "", &format!(", cert_file: {}, key_file: {}", path("eve.pem"), path("eve.key"))),
        client("wrong", "bearer_token: not-a-token,", ""),
        client("nobody", "", ""),
    ];
    let log = place.path("in.log");
    let text: String = (0..LINES).map(|at| format!("line {at}\n")).collect();
    place.write("in.log", &text);
    let config = place.write(
        "agent.yaml",
        &format!(
            "positions: {{filename: {}}}\nclients:\n{}scrape_configs:\n- job_name: f\n  static_configs: [{{labels: {{job: f, __path__: {}}}}}]\n",
            place.path("positions.yaml").display(),
            clients.concat(),
            log.display()
        ),
    );
    let agent = Agent::start(&config, &place.path("agent.txt"));
    let query = "/loki/api/v1/query?query=sum+by+(way)+(count_over_time(%7Bjob%3D%22f%22%7D%5B1h%5D))";
    eventually("lines of four clients", || {
        let header = "Authorization: Bearer reader-token";
        let (status, body) = tls::curl(&authority, &server, query, &["-H", header]);
        let answer: serde_json::Value =
            serde_json::from_str(&body).map_err(|error| format!("{status} {error} {body}"))?;
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let mut ways: Vec<String> =
            series.iter().map(|one| format!("{}={}", one["metric"]["way"], one["value"][1])).collect();
        ways.sort();
        let expected =
            ["authorization", "certificate", "password", "token"].map(|way| format!("\"{way}\"=\"{LINES}\""));
        if ways == expected { Ok(()) } else { Err(format!("{ways:?}")) }
    });
    let (_, metrics) = agent.get("/metrics");
    // Clients of one host are counted together: two were refused.
    let dropped = metrics.lines().find(|line| line.starts_with("promtail_dropped_entries_total"));
    assert!(dropped.is_some_and(|line| line.ends_with(&format!(" {}", 2 * LINES))), "{metrics}");
    // Who it is remains between the two.
    for secret in ["agent-token", "bens-password", "not-a-token"] {
        let shown = [agent.get("/config").1, std::fs::read_to_string(place.path("agent.txt")).expect("a log")];
        assert!(shown.iter().all(|text| !text.contains(secret)), "{secret} is shown");
    }
    agent.stop();
}

#[test]
fn records_of_brokers_that_ask_for_a_password_are_read_once_over_a_kill() {
    let Some(guarded) = Guarded::start() else { return };
    let place = Place::new();
    let server = Server::start(&place.path("data"), None, &[]);
    let jobs = format!(
        "- job_name: k\n  kafka:\n    brokers: ['127.0.0.1:{}']\n    topics: [agent-lines]\n    labels: {{job: k}}\n    authentication: {{type: sasl, sasl_config: {{mechanism: SCRAM-SHA-512, user: alice, password: {PASSWORD}, use_tls: true, ca_file: {}}}}}\n  relabel_configs:\n  - {{source_labels: [__meta_kafka_topic], target_label: topic}}\n  pipeline_stages:\n  - replace: {{expression: '(\\S+@\\S+)', replace: X}}\n",
        guarded.sasl,
        guarded.authority.path("ca.pem"),
    );
    let config = place.config(&server.url, &jobs);
    let produce = |from: usize, to: usize| {
        let lines: String = (from..to).map(|at| format!("{} record {at} of a{at}@b.example\n", now_s())).collect();
        guarded.broker.produce("agent-lines", &lines, &[]);
    };
    let arrived = |expected: usize| {
        eventually("records", || {
            let mut found = only_lines(&server, r#"{job="k", topic="agent-lines"}"#);
            assert!(found.iter().all(|line| line.ends_with(" of X")), "{found:?}");
            found.sort();
            found.dedup();
            if found.len() == expected { Ok(()) } else { Err(format!("{} of {expected}", found.len())) }
        });
    };
    produce(0, 40);
    let agent = Agent::start(&config, &place.path("agent.txt"));
    arrived(40);
    agent.kill();
    produce(40, 80);
    let agent = Agent::start(&config, &place.path("agent.txt"));
    arrived(80);
    agent.stop();
    assert!(!std::fs::read_to_string(place.path("agent.txt")).expect("a log").contains(PASSWORD), "it is in the log");
}

/// Sends lines over TLS as `openssl s_client` does; what it said.
fn send_encrypted(authority: &Authority, address: &str, lines: &str, more: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            address,
            "-CAfile",
            &authority.path("ca.pem"),
            "-verify_return_error",
            "-no_ign_eof",
        ])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    // Who is refused may be gone already.
    let _ = client.stdin.take().expect("piped").write_all(lines.as_bytes());
    let output = client.wait_with_output().expect("it ends");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn syslog_comes_encrypted_to_server_and_agent_and_the_agent_asks_for_certificates() {
    let place = Place::new();
    let authority = Authority::new(place.directory.path(), "authority");
    for name in ["server", "sender"] {
        authority.sign(name, name);
    }
    let (cert, key, ca) = (authority.path("server.pem"), authority.path("server.key"), authority.path("ca.pem"));
    let text = format!(
        "auth_enabled: false\nserver: {{http_listen_address: 127.0.0.1}}\nmillrace: {{syslog: {{tcp: '127.0.0.1:0', tls_config: {{cert_file: {cert}, key_file: {key}}}}}}}\n"
    );
    let config = place.write("server.yaml", &text);
    let server = Server::start(&place.path("data"), Some(&config), &[]);
    let port = free_port();
    let jobs = format!(
        "- job_name: s\n  syslog: {{listen_address: '127.0.0.1:{port}', labels: {{job: agent}}, tls_config: {{cert_file: {cert}, key_file: {key}, ca_file: {ca}}}}}\n"
    );
    let agent = Agent::start(&place.config(&server.url, &jobs), &place.path("agent.txt"));
    let message = |text: &str| format!("<165>1 - host app - - - {text}\n");
    let to_server: String = (0..LINES).map(|at| message(&format!("server {at}"))).collect();
    let said = send_encrypted(&authority, &server.address("syslog tls "), &to_server, &[]);
    let shown = ["-cert", &authority.path("sender.pem"), "-key", &authority.path("sender.key")];
    let agents = format!("127.0.0.1:{port}");
    let to_agent: String = (0..LINES).map(|at| message(&format!("agent {at}"))).collect();
    let said = said + &send_encrypted(&authority, &agents, &to_agent, &shown);
    let refused = send_encrypted(&authority, &agents, &message("from nobody"), &[]);
    let arrived = |job: &str, who: &str| {
        eventually("messages", || {
            let mut found = only_lines(&server, &format!("{{job=\"{job}\"}}"));
            let mut expected: Vec<String> = (0..LINES).map(|at| format!("{who} {at}")).collect();
            found.sort();
            expected.sort();
            if found == expected { Ok(()) } else { Err(format!("{found:?}: {said}")) }
        });
    };
    arrived("syslog", "server");
    arrived("agent", "agent");
    let log = std::fs::read_to_string(place.path("agent.txt")).expect("a log");
    assert!(log.contains("a syslog connection failed in its handshake of TLS"), "{log}{refused}");
    agent.stop();
}
