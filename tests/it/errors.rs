//! What is refused, and in which words: `tests/errors.txt`, one case a paragraph.
//!
//! ```text
//! {service="a"} |~ "("
//! = 400 parse error : stage '|~ "("' : error parsing regexp: missing closing ): `(`
//! ```
//!
//! A case is a query, or a path with its parameters. Texts are Loki's: recorded ones are in `tests/golden`, the others
//! follow its source. `UPDATE_ERRORS=1` writes what is answered now, for a look at the difference.

use crate::harness::{Server, repository};

const FILE: &str = "tests/errors.txt";
const START: &str = "1768471200000000000";
const END: &str = "1768474800000000000";

fn answer(server: &Server, case: &str) -> String {
    let reply = match case.strip_prefix('/') {
        Some(path) => server.get(&format!("/{path}"), &[]),
        None => {
            let params = [("query", case), ("start", START), ("end", END), ("step", "60")];
            server.get("/loki/api/v1/query_range", &params)
        }
    };
    // What is accepted, Loki accepts too, often to one's surprise.
    if reply.status == 200 {
        return "200".to_owned();
    }
    format!("{} {}", reply.status, reply.text().trim_end().replace('\n', "\\n"))
}

#[test]
fn every_refusal_has_its_words() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&directory.path().join("data"), None, &[]);
    let text = std::fs::read_to_string(repository(FILE)).expect("a file of cases");
    let mut now = String::new();
    let mut case: Option<&str> = None;
    for line in text.lines() {
        match (line.strip_prefix("= "), case) {
            (Some(_), Some(asked)) => {
                now.push_str(&format!("= {}\n", answer(&server, asked)));
                case = None;
            }
            _ => {
                now.push_str(line);
                now.push('\n');
                case = Some(line).filter(|line| !line.is_empty() && !line.starts_with('#'));
            }
        }
    }
    if std::env::var_os("UPDATE_ERRORS").is_some() {
        std::fs::write(repository(FILE), &now).expect("written");
        return;
    }
    for (expected, answered) in text.lines().zip(now.lines()) {
        assert_eq!(answered, expected);
    }
    assert!(text.lines().filter(|line| line.starts_with("= ")).count() > 90, "cases are left out");
}

#[test]
fn an_instant_log_query_is_answered_where_it_is_allowed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("config.yaml");
    let golden = std::fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    std::fs::write(&config, golden + "\nmillrace:\n  query:\n    instant_log_queries: true\n").expect("written");
    let server = Server::start(&directory.path().join("data"), Some(&config), &[]);
    let values = [[START, "first"], ["1768471200000000001", "second"], ["1768471200000000002", "third"]];
    server.push(&serde_json::json!({"streams": [{"stream": {"service": "a"}, "values": values}]}));
    let params = [("query", r#"{service="a"}"#), ("time", "1768471200000000001"), ("limit", "1")];
    let headers = [("X-Query-Tags", "Source=cron job")];
    let reply = server.get_with("/loki/api/v1/query", &params, &headers);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    assert_eq!(answer["data"]["resultType"], "streams");
    assert_eq!(answer["data"]["result"][0]["values"], serde_json::json!([["1768471200000000001", "second"]]));
    let said = || std::fs::read_to_string(directory.path().join("data.log")).unwrap_or_default();
    let started = std::time::Instant::now();
    while !said().contains("source=cron job") && started.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(said().contains("source=cron job"), "{}", said());
}
