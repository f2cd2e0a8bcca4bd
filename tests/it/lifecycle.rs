//! Start, stop, start again; what an operator and Grafana ask first.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Server, repository};

const NOW_S: i64 = 1_768_471_200;

fn push_three(server: &Server) {
    let values: Vec<_> =
        (0..3).map(|at| json!([(NOW_S * 1_000_000_000 + at).to_string(), format!("line {at}")])).collect();
    server.push(&json!({"streams": [{"stream": {"service": "kept"}, "values": values}]}));
}

#[test]
fn starts_fast_and_a_second_start_finds_everything() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = repository("tests/golden/config.yaml");
    let started = Instant::now();
    let server = Server::start(&data, Some(&config), &[]);
    // Not a benchmark: a start that takes this long is a defect even in a debug build on a busy machine.
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(server.banner.iter().any(|line| line.contains(&data.display().to_string())), "{:?}", server.banner);
    push_three(&server);
    server.stop();
    let server = Server::start(&data, Some(&config), &[]);
    assert_eq!(server.number(r#"sum(count_over_time({service="kept"}[1h]))"#, NOW_S + 60), 3.0);
    let names = server.get("/loki/api/v1/labels", &[("start", "1768471000"), ("end", "1768472000")]).json();
    assert_eq!(names["data"], json!(["service", "service_name"]));
}

#[test]
fn grafanas_health_check_is_answered() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let params = [("query", "vector(1)+vector(1)"), ("direction", "backward"), ("time", "4000000000")];
    let answer = server.get("/loki/api/v1/query", &params).json();
    assert_eq!(answer["data"]["resultType"], "vector");
    assert_eq!(answer["data"]["result"], json!([{"metric": {}, "value": [4_000_000_000_i64, "2"]}]));
    assert_eq!(server.get("/ready", &[]).text().trim(), "ready");
    assert!(server.get("/loki/api/v1/status/buildinfo", &[]).json()["version"].is_string());
    assert!(server.get("/metrics", &[]).text().contains("loki_build_info"));
    assert!(server.get("/config", &[]).text().contains("auth_enabled"));
    assert_eq!(server.get("/no/such/page", &[]).status, 404);
}

#[test]
fn the_exercises_loki_configuration_starts_and_names_what_does_not_apply() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let server = Server::start(&data, Some(&repository("tests/configs/exercise-loki.yaml")), &[]);
    assert_eq!(server.get("/ready", &[]).status, 200);
    let log = std::fs::read_to_string(data.with_extension("log")).expect("the log is kept");
    let said = format!("{log}\n{}", server.banner.join("\n"));
    for ignored in ["schema_config", "ingester.lifecycler", "storage_config.boltdb_shipper"] {
        assert!(said.contains(ignored), "{ignored} is not named in: {said}");
    }
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_known_name() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.yaml");
    std::fs::write(&config, "limits_config:\n  max_line_sizes: 1KB\n").expect("written");
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["serve", "--http-port", "0", "--data"])
        .arg(directory.path().join("data"))
        .arg("--config")
        .arg(&config)
        .output()
        .expect("it runs");
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("max_line_sizes") && said.contains("max_line_size"), "{said}");
}

#[test]
fn tenants_see_only_their_own() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.yaml");
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    std::fs::write(&config, golden.replace("auth_enabled: false", "auth_enabled: true")).expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    for (tenant, line) in [("crimson", "crimson line"), ("azure", "azure line")] {
        let body = json!({"streams": [{"stream": {"service": tenant}, "values": [[(NOW_S * 1_000_000_000).to_string(), line]]}]});
        let headers = [("Content-Type", "application/json"), ("X-Scope-OrgID", tenant)];
        assert_eq!(server.post("/loki/api/v1/push", &headers, body.to_string().as_bytes()).status, 204);
    }
    for flushed in [false, true] {
        if flushed {
            assert_eq!(server.post("/flush", &[("X-Scope-OrgID", "crimson")], b"").status, 204);
        }
        for (tenant, other) in [("crimson", "azure"), ("azure", "crimson")] {
            let headers = [("X-Scope-OrgID", tenant)];
            let range = [("start", "1768471000"), ("end", "1768472000")];
            let logs = [("query", r#"{service=~".+"}"#), range[0], range[1]];
            let doors = [
                server.get_with("/loki/api/v1/query_range", &logs, &headers),
                server.get_with("/loki/api/v1/label/service/values", &range, &headers),
                server.get_with("/loki/api/v1/series", &range, &headers),
                server.get_with("/api/v1/sql", &[("query", "select line, labels from logs")], &headers),
                server.get_with("/api/v1/sql", &[("query", "select labels from streams")], &headers),
            ];
            for door in doors {
                assert_eq!(door.status, 200, "{}", door.text());
                assert!(door.text().contains(tenant) && !door.text().contains(other), "{tenant}: {}", door.text());
            }
        }
        let nobody = server.get("/loki/api/v1/labels", &[]);
        assert_eq!((nobody.status, nobody.text().trim()), (401, "no org id"));
    }
}
