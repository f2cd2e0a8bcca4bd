//! Rules over records of Kafka: each record is in one window, once, whatever is killed in between.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::harness::{Server, repository};
use crate::kafka::count_all;

/// How long what was left undone may take on a busy machine in a debug build.
const PATIENCE: Duration = Duration::from_secs(90);
const ROUNDS: usize = 3;
const BATCHES: usize = 12;
const RECORDS: usize = 25;

/// Windows of a second, a second apart: every record is in exactly one.
const RULES: &str = r#"groups:
- name: windows
  interval: 1s
  lateness: 5m
  rules:
  - record: made:lines
    expr: sum by (service) (count_over_time({service="gateway"} | json | n >= 0 [1s]))
  - record: made:parts
    expr: sum by (part) (count_over_time({service="gateway"} | json [1s]))
"#;

fn config(directory: &Path, broker: &Broker) -> PathBuf {
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let rules = directory.join("rules");
    std::fs::create_dir_all(&rules).expect("made");
    std::fs::write(rules.join("rules.yaml"), RULES).expect("written");
    let text = format!(
        "{golden}\nruler:\n  storage: {{type: local, local: {{directory: {}}}}}\n  evaluation_interval: 1s\nkafka:\n  brokers: [\"{}\"]\n  session_timeout: 6s\n  topics: [{{topic: numbers, format: json, labels: {{fields: {{service: \"\"}}}}}}]\nmillrace:\n  flow: {{delay: 200ms, idle_after: 2s}}\n  flush: {{max_bytes: 256KB, max_age: 1s}}\n",
        rules.display(),
        broker.address,
    );
    let path = directory.join("config.yaml");
    std::fs::write(&path, text).expect("written");
    path
}

/// The sum of everything that was recorded, by PromQL.
fn recorded(server: &Server, metric: &str) -> f64 {
    let query = format!("sum(sum_over_time({metric}[30m]))");
    let answer = server.get("/prometheus/api/v1/query", &[("query", &query)]).json();
    answer["data"]["result"][0]["value"][1].as_str().map_or(0.0, |text| text.parse().expect("a number"))
}

/// The windows that were recorded otherwise than the query engine counts them: time, recorded, counted.
fn differences(server: &Server) -> String {
    let now = chrono::Utc::now().timestamp();
    let (start, end) = ((now - 600).to_string(), now.to_string());
    let ask = |path: &str, query: &str| {
        let answer = server.get(path, &[("query", query), ("start", &start), ("end", &end), ("step", "1")]).json();
        let values = answer["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
        let sample =
            |value: &serde_json::Value| Some((value[0].as_f64()? as i64, value[1].as_str()?.parse::<f64>().ok()?));
        values.iter().filter_map(sample).collect::<std::collections::BTreeMap<i64, f64>>()
    };
    let counted = ask("/loki/api/v1/query_range", "sum(count_over_time({service=\"gateway\"}[1s]))");
    let recorded = ask("/prometheus/api/v1/query_range", "sum(last_over_time(made:lines[1s]))");
    let times: std::collections::BTreeSet<i64> = counted.keys().chain(recorded.keys()).copied().collect();
    let different = times.into_iter().map(|at| (at, recorded.get(&at), counted.get(&at))).filter(|(_, a, b)| a != b);
    format!("{:?}", different.collect::<Vec<_>>())
}

#[test]
fn each_record_is_in_one_window_over_kills_of_the_server() {
    let Some(broker) = Broker::start() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (config, data) = (config(directory.path(), &broker), directory.path().join("data"));
    let mut produced = 0;
    let mut produce = || {
        let lines: String = (produced..produced + RECORDS)
            .map(|at| format!("{{\"service\":\"gateway\",\"n\":{at},\"part\":\"p{}\",\"noise\":\"{at:x}\"}}\n", at % 3))
            .collect();
        broker.produce("numbers", &lines, &[]);
        produced += RECORDS;
        produced
    };
    for round in 0..ROUNDS {
        let server = Server::start(&data, Some(&config), &[]);
        for _ in 0..BATCHES {
            produce();
            std::thread::sleep(Duration::from_millis(200));
        }
        // At another moment between two evaluations each time.
        std::thread::sleep(Duration::from_millis(300 * round as u64));
        server.kill();
        // Nobody reads these for a while.
        produce();
    }
    let server = Server::start(&data, Some(&config), &[]);
    let expected = produce() as f64;
    let started = Instant::now();
    loop {
        let (lines, parts) = (recorded(&server, "made:lines"), recorded(&server, "made:parts"));
        if (lines, parts) == (expected, expected) {
            break;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{lines} and {parts} of {expected} in windows; {} rows are there; {}",
            count_all(&server),
            differences(&server)
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    // It stays so: nothing is counted again.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((recorded(&server, "made:lines"), recorded(&server, "made:parts")), (expected, expected));
    assert_eq!(count_all(&server), expected as usize);
}
