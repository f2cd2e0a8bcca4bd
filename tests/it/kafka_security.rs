//! Brokers that ask who one is: TLS with certificates, SASL over TLS, for the server and for the agent, with a real broker.

use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::broker::{Broker, free_port};
use crate::harness::{Server, repository};
use crate::kafka::{check_distinct, count, lines, wait_for};

/// How long a broker that refuses may take to say so, on a busy machine in a debug build.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const PASSWORD: &str = "the-password-of-alice";

/// A broker with a listener for certificates and one for passwords.
pub(crate) struct Guarded {
    pub(crate) broker: Broker,
    pub(crate) authority: Authority,
    ssl: u16,
    pub(crate) sasl: u16,
    directory: tempfile::TempDir,
}

impl Guarded {
    pub(crate) fn start() -> Option<Guarded> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let authority = Authority::new(directory.path(), "authority");
        for name in ["broker", "client"] {
            authority.sign(name, name);
        }
        let read = |file: &str| std::fs::read_to_string(authority.path(file)).expect("readable");
        // Kafka reads key and certificate from one file.
        std::fs::write(authority.path("store.pem"), format!("{}{}", read("broker.key"), read("broker.pem")))
            .expect("written");
        let (ssl, sasl) = (free_port(), free_port());
        let properties = format!(
            "message.max.bytes=8388608\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL\n\
             ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
             listener.name.ssl.ssl.client.auth=required\nsasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"{PASSWORD}\";\n\
             listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n",
            authority.path("store.pem"),
            authority.path("ca.pem"),
        );
        let scram = |bits: u16| format!("SCRAM-SHA-{bits}=[name=alice,password={PASSWORD}]");
        let format = ["--add-scram", &scram(256), "--add-scram", &scram(512)].map(str::to_owned);
        let format: Vec<&str> = format.iter().map(String::as_str).collect();
        let broker = Broker::start_on(&[("SSL", ssl), ("SASL_SSL", sasl)], &properties, &format)?;
        Some(Guarded { broker, authority, ssl, sasl, directory })
    }

    /// A server that reads the topic, with `security`, into a table called `name`.
    fn server(&self, name: &str, port: u16, security: &str) -> Server {
        let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
        let path = self.directory.path().join(format!("{name}.yaml"));
        let text = format!(
            "{golden}\nkafka:\n  brokers: [\"127.0.0.1:{port}\"]\n  group: {name}\n  session_timeout: 10s\n  security: {security}\n  \
             topics: [{{topic: numbers, format: json, labels: {{fields: {{service: \"\"}}}}, timestamp: {{field: ts}}}}]\n"
        );
        std::fs::write(&path, text).expect("written");
        Server::start(&self.directory.path().join(name), Some(&path), &[])
    }
}

#[test]
fn brokers_that_ask_for_certificates_and_passwords_get_them() {
    let Some(guarded) = Guarded::start() else { return };
    guarded.broker.produce("numbers", &lines(0, 60), &[]);
    let path = |file: &str| guarded.authority.path(file);
    let password_file = path("password");
    std::fs::write(&password_file, format!("{PASSWORD}\n")).expect("written");
    let ca = path("ca.pem");
    let scram = |mechanism: &str, password: &str| {
        format!("{{protocol: sasl_ssl, sasl_mechanism: {mechanism}, username: alice, {password}, ca_file: {ca}}}")
    };
    let certificates = format!(
        "{{protocol: ssl, ca_file: {ca}, cert_file: {}, key_file: {}}}",
        path("client.pem"),
        path("client.key")
    );
    let ways = [
        ("certificates", guarded.ssl, certificates),
        ("plain", guarded.sasl, scram("PLAIN", &format!("password: {PASSWORD}"))),
        ("scram", guarded.sasl, scram("SCRAM-SHA-256", &format!("password_file: {password_file}"))),
        ("longer", guarded.sasl, scram("SCRAM-SHA-512", &format!("password: {PASSWORD}"))),
    ];
    for (name, port, security) in ways {
        let server = guarded.server(name, port, &security);
        wait_for(&server, 60);
        check_distinct(&server, 60);
        assert!(!server.get("/config", &[]).text().contains(PASSWORD), "{name}: the password is shown");
        server.stop();
    }
    // Refused: the server is there, says why, and goes on asking.
    let server = guarded.server("refused", guarded.sasl, &scram("SCRAM-SHA-512", "password: not-the-one"));
    let log = guarded.directory.path().join("refused.log");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let started = Instant::now();
    while !said().contains("SASL authentication error") && !said().contains("Authentication failed") {
        assert!(started.elapsed() < PATIENCE, "{}", said());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!said().contains("not-the-one"), "the password is in the log");
    assert_eq!((server.get("/ready", &[]).status, count(&server)), (200, 0));
}
