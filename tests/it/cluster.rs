//! Several processes over one table: each sees the others' rows at once, and each row once while it goes into a file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::clients::now_s;
use crate::harness::Server;

/// How long a row that was acknowledged by one process may take to be seen by another, on a machine that does much else.
/// It becomes a file much later.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory with a table and processes over it.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("token"), "the secret of this cluster\n").expect("written");
        Place { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self, name: &str, more: &str, peers: &[&str]) -> PathBuf {
        let text = format!(
            "auth_enabled: false\nserver: {{http_listen_address: 127.0.0.1}}\nlimits_config: {{reject_old_samples: false}}\nmillrace:\n  table: {{url: 'file://{}', follow_interval: 50ms, lease_term: 2s}}\n  cluster: {{token_file: {}, peers: {}}}\n{more}",
            self.path("table").display(),
            self.path("token").display(),
            json!(peers),
        );
        let path = self.path(&format!("{name}.yaml"));
        std::fs::write(&path, text).expect("written");
        path
    }

    fn start(&self, name: &str, peers: &[&str]) -> Server {
        self.start_with(name, "", peers)
    }

    fn start_with(&self, name: &str, more: &str, peers: &[&str]) -> Server {
        Server::start(&self.path(name), Some(&self.config(name, more, peers)), &[])
    }
}

fn push(server: &Server, service: &str, at: usize) -> u16 {
    let ts = (now_s() as i128 * 1_000_000_000 + at as i128).to_string();
    let body = json!({"streams": [{"stream": {"service": service}, "values": [[ts, format!("line {at}")]]}]});
    server.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body.to_string().as_bytes()).status
}

fn count(server: &Server, service: &str) -> usize {
    server.number(&format!(r#"sum(count_over_time({{service="{service}"}}[1h]))"#), now_s() + 60) as usize
}

fn comes_to(server: &Server, service: &str, expected: usize) {
    let started = Instant::now();
    let mut found = 0;
    while started.elapsed() < PATIENCE {
        found = count(server, service);
        assert!(found <= expected, "{found} of {expected}: some are there twice");
        if found == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{found} of {expected}");
}

#[test]
fn rows_are_seen_by_others_at_once_and_once_while_they_become_files() {
    let place = Place::new();
    let (one, two) = (place.start("one", &[]), place.start("two", &[]));
    let reader = place.start("reader", &[&one.url, &two.url]);
    // Before anything is in a file.
    for (server, service) in [(&one, "one"), (&two, "two")] {
        assert_eq!(push(server, service, 0), 204);
        comes_to(&reader, service, 1);
    }
    let labels = reader.get("/loki/api/v1/label/service/values", &[]).text();
    assert!(labels.contains("one") && labels.contains("two"), "{labels}");
    // While both push and flush, a count is never more than was sent, and comes to what was acknowledged.
    let (sent, acknowledged, over) = (AtomicUsize::new(1), AtomicUsize::new(1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (server, service) in [(&one, "one"), (&two, "two")] {
            let (sent, acknowledged, over) = (&sent, &acknowledged, &over);
            scope.spawn(move || {
                for at in 1..150 {
                    let counts = service == "one";
                    sent.fetch_add(usize::from(counts), Ordering::SeqCst);
                    assert_eq!(push(server, service, at), 204);
                    acknowledged.fetch_add(usize::from(counts), Ordering::SeqCst);
                    if at % 10 == 0 {
                        server.flush();
                    }
                }
                if service == "one" {
                    over.store(true, Ordering::SeqCst);
                }
            });
        }
        let mut looks = 0;
        while !over.load(Ordering::SeqCst) {
            let before = acknowledged.load(Ordering::SeqCst);
            let started = Instant::now();
            loop {
                let found = count(&reader, "one");
                assert!(found <= sent.load(Ordering::SeqCst), "{found}: some are there twice");
                if found >= before {
                    break;
                }
                assert!(started.elapsed() < PATIENCE, "{found} of {before} that were acknowledged");
                std::thread::sleep(Duration::from_millis(20));
            }
            looks += 1;
        }
        assert!(looks > 2, "{looks}");
    });
    comes_to(&reader, "one", 150);
    comes_to(&reader, "two", 150);
    one.flush();
    two.flush();
    comes_to(&reader, "one", 150);
    crate::postgres::wait_for(|| (reader.metric("millrace_cluster_replica_rows ") == 0.0).then_some(()));
    comes_to(&reader, "two", 150);
}

#[test]
fn a_process_that_is_killed_and_comes_back_loses_and_doubles_nothing_for_others() {
    let place = Place::new();
    let one = place.start("one", &[]);
    // The same port again, so that the peer is found.
    let port = one.url.rsplit(':').next().expect("a port").to_owned();
    let reader = place.start("reader", &[&one.url]);
    for at in 0..20 {
        assert_eq!(push(&one, "one", at), 204);
    }
    comes_to(&reader, "one", 20);
    one.kill();
    // They were acknowledged: they stay visible while their process is away.
    assert_eq!(count(&reader, "one"), 20);
    let config = place.path("one.yaml");
    let one = Server::start(&place.path("one"), Some(&config), &["--http-port", &port]);
    for at in 20..30 {
        assert_eq!(push(&one, "one", at), 204);
    }
    comes_to(&reader, "one", 30);
    one.flush();
    comes_to(&reader, "one", 30);
    // And the reader when it comes back.
    reader.kill();
    assert_eq!(push(&one, "one", 30), 204);
    let reader = Server::start(&place.path("reader"), Some(&place.path("reader.yaml")), &[]);
    comes_to(&reader, "one", 31);
    one.stop();
    comes_to(&reader, "one", 31);
}

#[test]
fn rows_are_told_to_those_alone_who_show_the_secret() {
    let place = Place::new();
    let one = place.start("one", &[]);
    assert_eq!(push(&one, "one", 0), 204);
    let ask = |shown: &str| one.get_with("/api/v1/cluster/rows", &[], &[("Authorization", shown)]).status;
    assert_eq!(ask("Bearer not it"), 401);
    assert_eq!(ask(""), 401);
    let without = place.directory.path().join("without.yaml");
    std::fs::write(&without, "auth_enabled: false\nserver: {http_listen_address: 127.0.0.1}\n").expect("written");
    let alone = Server::start(&place.path("alone"), Some(&without), &[]);
    assert_eq!(alone.get("/api/v1/cluster/rows", &[]).status, 404);
    // A peer with another secret sees what is in files, and says why.
    std::fs::write(place.path("token"), "another").expect("written");
    let reader = place.start("reader", &[&one.url]);
    crate::postgres::wait_for(|| {
        said(&place.path("reader")).contains("a peer's recent rows are not known").then_some(())
    });
    assert_eq!(count(&reader, "one"), 0);
    one.flush();
    comes_to(&reader, "one", 1);
}

fn said(data: &Path) -> String {
    std::fs::read_to_string(data.with_extension("log")).unwrap_or_default()
}
