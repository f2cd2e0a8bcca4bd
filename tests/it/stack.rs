//! What is in `docker/`: checked against public schemas, and the gateway started by hand.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Server, repository};

fn python() -> Option<std::path::PathBuf> {
    let found = std::env::var_os("MILLRACE_TEST_PYTHON").map(std::path::PathBuf::from);
    if found.is_none() {
        eprintln!("SKIPPED: schemas of docker/ not checked, because MILLRACE_TEST_PYTHON is not set; .ci/run sets it");
    }
    found
}

/// A program that was installed beside the Python of the tests.
fn run(python: &Path, program: &str, arguments: &[&str]) {
    let ended = Command::new(python.with_file_name(program)).args(arguments).output().expect("the program runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{program} {arguments:?}: {said}");
}

#[test]
fn the_compose_file_fits_its_schema() {
    let Some(python) = python() else { return };
    let file = repository("docker/compose.yaml");
    run(&python, "check-jsonschema", &["--builtin-schema", "vendor.compose-spec", &file.to_string_lossy()]);
}

#[test]
fn the_kubernetes_manifests_fit_their_schemas() {
    let Some(python) = python() else { return };
    let file = repository("docker/kubernetes/millrace.yaml");
    run(&python, "kubernetes-validate", &["--strict", &file.to_string_lossy()]);
}

#[test]
fn what_compose_mounts_is_there() {
    let text = std::fs::read_to_string(repository("docker/compose.yaml")).expect("readable");
    let mounts = text.lines().map(str::trim).filter_map(|line| line.strip_prefix("- ."));
    let mut seen = 0;
    for mount in mounts {
        let path = format!(".{}", mount.split(':').next().unwrap_or(""));
        assert!(repository("docker").join(&path).exists(), "docker/compose.yaml mounts {path}");
        seen += 1;
    }
    assert!(seen >= 6, "only {seen} mounts");
}

#[test]
fn the_image_runs_as_nobody_and_is_asked_for_its_health() {
    let text = std::fs::read_to_string(repository("docker/Dockerfile")).expect("readable");
    let last_stage = text.rsplit("\nFROM ").next().expect("a stage");
    for needed in ["USER 65532:65532", "HEALTHCHECK", "ENTRYPOINT", "VOLUME /data"] {
        assert!(last_stage.contains(needed), "the image has no {needed}");
    }
    assert!(!last_stage.contains("apt-get"), "the image installs packages");
}

#[test]
fn the_configurations_of_the_stack_are_good() {
    let verify = |path: &Path| {
        let checked = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args(["serve", "--verify-config", "--config"])
            .arg(path)
            .output()
            .expect("the binary runs");
        assert!(checked.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&checked.stderr));
    };
    verify(&repository("docker/millrace/config.yaml"));
    let manifests = std::fs::read_to_string(repository("docker/kubernetes/millrace.yaml")).expect("readable");
    let block =
        manifests.split("  config.yaml: |\n").nth(1).and_then(|rest| rest.split("\n---").next()).expect("a config");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("config.yaml");
    let lines: Vec<&str> = block.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    std::fs::write(&path, lines.join("\n")).expect("written");
    verify(&path);
}

/// A process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

/// The exercise's load test in small: requests to the gateway, whose lines are then asked for.
#[test]
fn the_demo_gateway_logs_what_it_is_asked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let port = free_port();
    let gateway = Command::new("python3")
        .arg(repository("docker/gateway/gateway.py"))
        .env("PORT", port.to_string())
        .env("PUSH_URL", format!("{}/loki/api/v1/push", server.url))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 runs");
    let _gateway = Running(gateway);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let base = format!("http://127.0.0.1:{port}");
    let started = Instant::now();
    while agent.get(format!("{base}/health")).call().is_err() {
        assert!(started.elapsed() < Duration::from_secs(30), "the gateway does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    for at in 0..30 {
        let body = format!(r#"{{"image_url": "https://example.com/image_{at}.jpg", "model_version": "v1.2.0"}}"#);
        let answer =
            agent.post(format!("{base}/api/v1/predict")).header("Content-Type", "application/json").send(&body);
        assert!([200, 500, 503].contains(&answer.expect("answered").status().as_u16()));
    }
    let count = || {
        let now = chrono::Utc::now().timestamp() + 5;
        server
            .number(r#"sum(count_over_time({service="inference-gateway"} | json | path="/api/v1/predict" [10m]))"#, now)
    };
    while count() < 30.0 && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(count(), 30.0);
}
