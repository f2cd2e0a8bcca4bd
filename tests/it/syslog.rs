//! A real rsyslog sends over UDP and TCP, in both formats and both framings, and to the bulk door.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::clients::now_s;
use crate::harness::Server;

const LINES: usize = 25;
/// Each way, with the tag of its messages.
const WAYS: [&str; 6] = ["udp-new", "udp-old", "tcp-counted", "tcp-lines", "tcp-old", "bulk"];

/// Ends with the test.
struct Rsyslog(Child);

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().expect("address:port")
}

fn configuration(directory: &Path, udp: &str, tcp: &str, http: &str) -> String {
    let forward = |protocol: &str, port: &str, template: &str, framing: &str| {
        format!(
            r#"action(type="omfwd" target="127.0.0.1" port="{port}" protocol="{protocol}" template="{template}" TCP_Framing="{framing}")"#
        )
    };
    let (new, old) = ("RSYSLOG_SyslogProtocol23Format", "RSYSLOG_TraditionalForwardFormat");
    let bulk = format!(
        r#"action(type="omelasticsearch" server="127.0.0.1" serverport="{http}" template="doc" searchIndex="rsyslog" searchType="" bulkmode="on")"#
    );
    let actions = [
        forward("udp", udp, new, "traditional"),
        forward("udp", udp, old, "traditional"),
        forward("tcp", tcp, new, "octet-counted"),
        forward("tcp", tcp, new, "traditional"),
        forward("tcp", tcp, old, "octet-counted"),
        bulk,
    ];
    let directory = directory.display();
    let mut text =
        format!("global(workDirectory=\"{directory}\")\nmodule(load=\"imfile\")\nmodule(load=\"omelasticsearch\")\n");
    text.push_str(
        r#"template(name="doc" type="list" option.json="on") { constant(value="{\"@timestamp\":\"") property(name="timereported" dateFormat="rfc3339") constant(value="\",\"message\":\"") property(name="msg") constant(value="\",\"service\":{\"name\":\"bulk\"}}") }
"#,
    );
    for (way, action) in WAYS.iter().zip(actions) {
        text.push_str(&format!(
            "ruleset(name=\"{way}\") {{ {action} }}\ninput(type=\"imfile\" File=\"{directory}/{way}.log\" Tag=\"{way}:\" Severity=\"error\" Facility=\"local3\" ruleset=\"{way}\")\n"
        ));
    }
    text
}

#[test]
fn rsyslog_sends_by_every_way() {
    if Command::new("rsyslogd").arg("-v").output().is_err() {
        eprintln!("SKIPPED: syslog from rsyslog not tested, because there is no rsyslogd; .ci/run installs it");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.yaml");
    let text = "auth_enabled: false\nserver: {http_listen_address: 127.0.0.1}\nmillrace: {syslog: {udp: \"127.0.0.1:0\", tcp: \"127.0.0.1:0\"}}\n";
    std::fs::write(&config, text).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    for way in WAYS {
        let lines: String = (0..LINES).map(|at| format!("{way} \"line\" {at}\n")).collect();
        std::fs::write(directory.path().join(format!("{way}.log")), lines).expect("written");
    }
    let (udp, tcp) = (server.address("syslog udp "), server.address("syslog tcp "));
    let file = directory.path().join("rsyslog.conf");
    let text = configuration(directory.path(), port(&udp), port(&tcp), port(&server.url));
    std::fs::write(&file, text).expect("written");
    let said = std::fs::File::create(directory.path().join("rsyslog.out")).expect("created");
    let errors = said.try_clone().expect("cloned");
    let started = Command::new("rsyslogd")
        .env("TZ", "UTC")
        .args(["-n", "-f"])
        .arg(&file)
        .arg("-i")
        .arg(directory.path().join("rsyslog.pid"))
        .stdout(Stdio::from(said))
        .stderr(Stdio::from(errors))
        .spawn();
    let _rsyslog = Rsyslog(started.expect("rsyslogd starts"));
    let stream = |way: &str| match way {
        "bulk" => r#"{index="rsyslog", service_name="bulk"}"#.to_owned(),
        way => format!(r#"{{job="syslog", app="{way}"}} | facility="local3" | severity="error""#),
    };
    let counts = || -> Vec<(&str, f64)> {
        let count = |way| format!("sum(count_over_time({} |= `{way} \"line\"` [1h])) or vector(0)", stream(way));
        WAYS.iter().map(|way| (*way, server.number(&count(way), now_s() + 5))).collect()
    };
    let expected: Vec<_> = WAYS.iter().map(|way| (*way, LINES as f64)).collect();
    let began = Instant::now();
    while counts() != expected && began.elapsed() < Duration::from_secs(40) {
        std::thread::sleep(Duration::from_millis(300));
    }
    let said = std::fs::read_to_string(directory.path().join("rsyslog.out")).unwrap_or_default();
    assert_eq!(counts(), expected, "rsyslog: {said}");
}
