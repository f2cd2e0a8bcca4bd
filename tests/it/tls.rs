//! TLS on every listener, seen by curl, psql, psycopg's libpq, ADBC and gRPC: certificates, those of clients, and new ones.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::authority::Authority;
use crate::clients::{installed, run};
use crate::harness::{Server, repository};
use crate::postgres::wait_for;

/// A server with a certificate of `authority`.
pub(crate) fn start(authority: &Authority, client_auth: &str, more: &str) -> Server {
    authority.sign("server", "millrace");
    let text = format!(
        "auth_enabled: false\nlimits_config: {{reject_old_samples: false}}\nserver:\n  http_listen_address: 127.0.0.1\n  http_tls_config: {{cert_file: {}, key_file: {}, client_auth_type: {client_auth}, client_ca_file: {}}}\nmillrace: {{otlp_grpc: {{listen: \"127.0.0.1:0\"}}}}\n{more}",
        authority.path("server.pem"),
        authority.path("server.key"),
        authority.path("ca.pem"),
    );
    let path = authority.directory.join("config.yaml");
    std::fs::write(&path, text).expect("written");
    let server = Server::launch(&authority.directory.join("data"), Some(&path), &[], &[]);
    let server = server.unwrap_or_else(|said| panic!("it did not start: {said:?}"));
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let ready = || curl(authority, &server, "/ready", &[]).0;
    let _ = wait_for(|| {
        Some(ready()).filter(|ready| ready == "200" || (client_auth.starts_with("Require") && ready == "000"))
    });
    server
}

/// The status, and the body.
pub(crate) fn curl(authority: &Authority, server: &Server, path: &str, arguments: &[&str]) -> (String, String) {
    let output = Command::new("curl")
        .args(["-s", "--cacert", &authority.path("ca.pem"), "-w", "\n%{http_code}"])
        .args(arguments)
        .arg(format!("{}{path}", server.url))
        .output()
        .expect("curl runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = said.rsplit_once('\n').unwrap_or(("", &said));
    (status.to_owned(), body.to_owned())
}

/// Asks over the Postgres wire; `user` has its certificate, if it has one.
fn psql(authority: &Authority, server: &Server, mode: &str, user: &str, root: &str) -> String {
    let address = server.address("postgres ");
    let port = address.rsplit_once(':').expect("a port").1.to_owned();
    let mut said = format!(
        "host=localhost hostaddr=127.0.0.1 port={port} user={user} dbname=millrace sslmode={mode} sslrootcert={root} connect_timeout=30"
    );
    if authority.directory.join(format!("{user}.pem")).exists() {
        said += &format!(
            " sslcert={} sslkey={}",
            authority.path(&format!("{user}.pem")),
            authority.path(&format!("{user}.key"))
        );
    }
    let output =
        Command::new("psql").args(["-X", "-A", "-t", "-w", &said, "-c", "select 40 + 2"]).output().expect("psql runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn adbc(script: &Path, server: &Server, options: &[String]) -> Value {
    let address = server.address("flight ").replace("127.0.0.1", "localhost");
    let mut command = Command::new(script);
    command.arg(repository("tests/clients/flight.py")).args(["ask", &address, "select 40 + 2"]).args(options);
    let said = run(&mut command);
    said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()).unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn every_listener_shows_the_certificate() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(directory.path(), "test authority");
    let other = directory.path().join("other");
    std::fs::create_dir(&other).expect("made");
    Authority::new(&other, "somebody else");
    let server = start(&authority, "NoClientCert", "");
    // HTTP.
    assert_eq!(curl(&authority, &server, "/ready", &[]).0, "200");
    let plain = Command::new("curl").args(["-s", &server.url.replace("https:", "http:")]).output().expect("curl runs");
    assert!(!plain.status.success(), "plain HTTP is answered");
    let stranger = Command::new("curl")
        .args(["-s", "--cacert", &other.join("ca.pem").display().to_string(), &server.url])
        .output()
        .expect("curl runs");
    assert_eq!(stranger.status.code(), Some(60), "another authority is taken");
    let old = curl(&authority, &server, "/ready", &["--tlsv1.2", "--tls-max", "1.2"]);
    assert_eq!(old.0, "200", "TLS 1.2");
    // The Postgres wire, encrypted or not, as the client likes.
    if Command::new("psql").arg("--version").output().is_ok() {
        assert_eq!(psql(&authority, &server, "verify-full", "ana", &authority.path("ca.pem")), "42\n");
        assert_eq!(psql(&authority, &server, "disable", "ana", &authority.path("ca.pem")), "42\n");
        let stranger = psql(&authority, &server, "verify-full", "ana", &other.join("ca.pem").display().to_string());
        assert!(stranger.contains("certificate verify failed"), "{stranger}");
    }
    let Some(python) = installed("MILLRACE_TEST_PYTHON", "ADBC and gRPC with TLS") else { return };
    // Flight.
    let asked = adbc(&python, &server, &[format!("ca={}", authority.path("ca.pem"))]);
    assert_eq!(asked["value"], serde_json::json!([[42]]), "{asked}");
    let stranger = adbc(&python, &server, &[format!("ca={}", other.join("ca.pem").display())]);
    assert_eq!(stranger["check"], "error", "{stranger}");
    // OpenTelemetry's gRPC.
    let script = r#"
import sys, grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
credentials = grpc.ssl_channel_credentials(open(sys.argv[2], "rb").read())
stub = LogsServiceStub(grpc.secure_channel(sys.argv[1].replace("127.0.0.1", "localhost"), credentials))
request = ExportLogsServiceRequest()
request.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "encrypted"
stub.Export(request, timeout=60)
print("exported")
"#;
    let ca = authority.path("ca.pem");
    let said = run(Command::new(&python).args(["-c", script, &server.address("otlp   grpc "), &ca]));
    assert!(said.contains("exported"), "{said}");
    let found = curl(&authority, &server, "/api/v1/sql?query=select+line+from+logs&format=csv", &[]);
    assert_eq!(found, ("200".to_owned(), "line\nencrypted\n".to_owned()));
}

#[test]
fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(directory.path(), "test authority");
    let server = start(&authority, "NoClientCert", "");
    let address = server.url.trim_start_matches("https://").to_owned();
    let shown = || {
        let script = "openssl s_client -connect $0 </dev/null 2>/dev/null | openssl x509 -noout -subject";
        let output = Command::new("sh").args(["-c", script, &address]).output().expect("openssl runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let metric = |name: &str| {
        let text = curl(&authority, &server, "/metrics", &[]).1;
        let value = text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        value.and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0)
    };
    assert_eq!(shown(), "subject=CN = millrace");
    assert!(metric("millrace_tls_certificate_not_after_seconds ") > 1.8e9);
    authority.sign("server", "renewed");
    wait_for(|| (shown() == "subject=CN = renewed").then_some(()));
    wait_for(|| (metric("millrace_tls_reloads_total{outcome=\"success\"} ") >= 1.0).then_some(()));
    std::fs::write(authority.path("server.pem"), "not a certificate").expect("written");
    wait_for(|| (metric("millrace_tls_reloads_total{outcome=\"failure\"} ") >= 1.0).then_some(()));
    assert_eq!(shown(), "subject=CN = renewed");
    server.stop();
}

#[test]
fn a_client_is_who_its_certificate_says() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(directory.path(), "test authority");
    for name in ["ana", "eve", "nobody"] {
        authority.sign(name, name);
    }
    let roles = "access:\n  roles: {reader: [{tenants: ['*'], actions: [read]}], agent: [{tenants: ['*'], actions: [write]}]}\n  certificates: [{common_name: ana, roles: [reader]}, {common_name: eve, roles: [agent]}]\n";
    let server = start(&authority, "VerifyClientCertIfGiven", roles);
    let ask = |name: Option<&str>| {
        let files = name.map(|name| [authority.path(&format!("{name}.pem")), authority.path(&format!("{name}.key"))]);
        let shown: Vec<&str> = files.iter().flat_map(|[cert, key]| ["--cert", cert, "--key", key]).collect();
        curl(&authority, &server, "/api/v1/sql?query=select+1+as+n&format=csv", &shown).0
    };
    assert_eq!(ask(Some("ana")), "200");
    assert_eq!(ask(Some("eve")), "403", "she only pushes");
    assert_eq!(ask(Some("nobody")), "401", "signed, but not known");
    assert_eq!(ask(None), "401");
    if Command::new("psql").arg("--version").output().is_ok() {
        let ca = authority.path("ca.pem");
        assert_eq!(psql(&authority, &server, "verify-full", "ana", &ca), "42\n");
        let refused = psql(&authority, &server, "verify-full", "eve", &ca);
        assert!(refused.contains("eve may not read"), "{refused}");
        let asked = psql(&authority, &server, "verify-full", "nobody", &ca);
        assert!(asked.contains("no password supplied"), "{asked}");
    }
    let Some(python) = installed("MILLRACE_TEST_PYTHON", "ADBC with certificates") else { return };
    let options = |name: &str| {
        let file = |option: &str, file: String| format!("{option}={}", authority.path(&file));
        [file("ca", "ca.pem".into()), file("cert", format!("{name}.pem")), file("key", format!("{name}.key"))]
    };
    assert_eq!(adbc(&python, &server, &options("ana"))["value"], serde_json::json!([[42]]));
    assert_eq!(adbc(&python, &server, &options("eve"))["value"][0], "UNAUTHORIZED");
    assert_eq!(adbc(&python, &server, &options("nobody"))["value"][0], "UNAUTHENTICATED");
}

#[test]
fn without_a_certificate_nobody_is_let_in_where_one_is_required() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(directory.path(), "test authority");
    authority.sign("ana", "ana");
    let server = start(&authority, "RequireAndVerifyClientCert", "");
    assert_eq!(curl(&authority, &server, "/ready", &[]).0, "000");
    let (cert, key) = (authority.path("ana.pem"), authority.path("ana.key"));
    let shown = ["--cert", &cert, "--key", &key];
    let _ = wait_for(|| Some(curl(&authority, &server, "/ready", &shown)).filter(|ready| ready.0 == "200"));
    let failed = curl(&authority, &server, "/metrics", &shown).1;
    let failed =
        failed.lines().find_map(|line| line.strip_prefix("millrace_tls_failed_handshakes_total ").map(str::to_owned));
    assert!(failed.is_some_and(|failed| failed.parse::<f64>().is_ok_and(|failed| failed >= 1.0)));
}

#[test]
fn the_terminal_speaks_tls_and_shows_its_certificate() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(directory.path(), "test authority");
    authority.sign("ana", "ana");
    let server = start(&authority, "RequireAndVerifyClientCert", "");
    let (ca, cert, key) = (authority.path("ca.pem"), authority.path("ana.pem"), authority.path("ana.key"));
    let shown = ["--cert", cert.as_str(), "--key", key.as_str()];
    let _ = wait_for(|| Some(curl(&authority, &server, "/ready", &shown)).filter(|ready| ready.0 == "200"));
    let now_ns = chrono::Utc::now().timestamp_nanos_opt().expect("in range");
    let body = serde_json::json!({"streams": [{"stream": {"app": "a"}, "values": [[now_ns.to_string(), "over TLS"]]}]});
    let push = ["-H", "Content-Type: application/json", "-d", &body.to_string()];
    assert_eq!(curl(&authority, &server, "/loki/api/v1/push", &[&shown[..], &push[..]].concat()).0, "204");
    let ask = |what: &[&str], flags: &[&str], variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args(what)
            .args(["--addr", &server.url])
            .args(flags)
            .envs(variables.iter().copied())
            .output()
            .expect("it runs");
        (
            output.status.success(),
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        )
    };
    let query: &[&str] = &["query", r#"{app="a"}"#, "--output", "raw"];
    let sql: &[&str] = &["sql", "-c", "select line from logs"];
    let flags = ["--ca-cert", ca.as_str(), "--cert", cert.as_str(), "--key", key.as_str()];
    for what in [query, sql] {
        let (succeeded, said) = ask(what, &flags, &[]);
        assert!(succeeded && said.contains("over TLS"), "{what:?}: {said}");
    }
    let variables =
        [("LOKI_CA_CERT_PATH", ca.as_str()), ("LOKI_CLIENT_CERT_PATH", &cert), ("LOKI_CLIENT_KEY_PATH", &key)];
    assert!(ask(query, &[], &variables).1.contains("over TLS"));
    assert!(ask(query, &[&["--tls-skip-verify"][..], &shown[..]].concat(), &[]).1.contains("over TLS"));
    // Another authority, and no certificate of one's own.
    let (succeeded, said) = ask(query, &shown, &[]);
    assert!(!succeeded && said.contains("certificate"), "{said}");
    assert!(!ask(query, &["--ca-cert", ca.as_str()], &[]).0);
    // A tail is a websocket over the same.
    let mut tail = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["query", "--tail", r#"{app="a"}"#, "--output", "raw", "--addr", &server.url])
        .args(flags)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    let (send, came) = std::sync::mpsc::channel();
    let out = tail.stdout.take().expect("piped");
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line);
        send.send(line)
    });
    let line = came.recv_timeout(std::time::Duration::from_secs(30));
    let _ = (tail.kill(), tail.wait());
    assert!(line.as_ref().is_ok_and(|line| line.contains("over TLS")), "{line:?}");
}

#[test]
fn a_start_says_which_file_is_no_good() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(directory.path(), "test authority");
    authority.sign("server", "millrace");
    for (cert, key, expected) in [
        ("missing.pem", "server.key", "missing.pem"),
        ("server.key", "server.key", "has no certificate in PEM"),
        ("server.pem", "server.pem", "has no private key in PEM"),
    ] {
        let path = directory.path().join("config.yaml");
        let text = format!(
            "auth_enabled: false\nserver: {{http_listen_address: 127.0.0.1, http_tls_config: {{cert_file: {}, key_file: {}}}}}\n",
            authority.path(cert),
            authority.path(key)
        );
        std::fs::write(&path, text).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args(["serve", "--http-port", "0", "--data"])
            .arg(directory.path().join("data"))
            .arg("--config")
            .arg(&path)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected) && said.contains("http_tls_config"), "{said}");
    }
}
