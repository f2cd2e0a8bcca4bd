//! SQL through JDBC: the drivers of Postgres and of Arrow Flight SQL, and what DBeaver asks of the catalog.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::clients::{installed, run};
use crate::harness::{Server, repository};
use crate::postgres::{push, with_rows};

/// What the driver behind `url` saw, by check.
fn ask(jars: &Path, url: &str, what: &str) -> BTreeMap<String, String> {
    let said = run(Command::new("java")
        // Arrow's buffers need it.
        .arg("--add-opens=java.base/java.nio=ALL-UNNAMED")
        .arg("-cp")
        .arg(jars.join("*"))
        .arg(repository("tests/clients/jdbc/Ask.java"))
        .args([url, "ana", "", what]));
    let seen: BTreeMap<_, _> = said
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    assert!(!seen.is_empty(), "{said}");
    seen
}

fn postgres_url(server: &Server) -> String {
    format!("jdbc:postgresql://{}/millrace", server.address("postgres "))
}

/// What both drivers see alike.
fn check_queries(seen: &BTreeMap<String, String>) {
    let check = |name: &str, expected: &str| {
        assert_eq!(seen.get(name).map(String::as_str), Some(expected), "{name} of {seen:#?}");
    };
    check("lines", "[level=info n=0, level=info n=1, level=info n=2]");
    check("first, ms", "1768471200000");
    check("rows of api", "2");
    check("rows of worker", "1");
    check("rows of nobody", "0");
    check("parameters", "42 so!");
    check("series", "12502500 6251250.0 true");
    check("columns of logs", "[timestamp, labels, level, line, metadata]");
    check("keys", "[]");
    check("valid", "true");
    let has = |name: &str, part: &str| {
        assert!(seen.get(name).is_some_and(|said| said.contains(part)), "{name} of {seen:#?}");
    };
    has("select * from no_such_view", "not found");
    has("tables", "logs");
    has("schemas", "public");
}

#[test]
fn the_drivers_of_postgres_and_flight_ask_prepare_and_look_around() {
    let Some(jars) = installed("MILLRACE_TEST_JDBC", "JDBC") else { return };
    let (_directory, server) = with_rows(None);
    push(&server, None, None);
    let seen = ask(&jars, &postgres_url(&server), "queries");
    check_queries(&seen);
    assert_eq!(seen["columns"], "[timestamp:TIMESTAMP, level:VARCHAR, line:VARCHAR]");
    assert!(seen["create table t as select 1"].contains("read-only"), "{seen:#?}");
    assert_eq!(seen["types known"], "true");
    let url = format!("jdbc:arrow-flight-sql://{}/?useEncryption=false", server.address("flight "));
    let seen = ask(&jars, &url, "queries");
    check_queries(&seen);
    assert_eq!(seen["product"], "Millrace");
}

#[test]
fn dbeaver_finds_the_views() {
    let Some(jars) = installed("MILLRACE_TEST_JDBC", "JDBC") else { return };
    let (_directory, server) = with_rows(None);
    let seen = ask(&jars, &postgres_url(&server), "catalog");
    for name in ["session", "version", "types", "settings"] {
        assert_eq!(seen[name], "rows", "{name} of {seen:#?}");
    }
    assert!(seen["databases"].contains("millrace") && seen["schemas"].contains("public"), "{seen:#?}");
    for view in ["logs", "streams", "metrics", "patterns", "query_log", "rules", "files"] {
        assert!(seen["relations"].contains(view), "{view} of {seen:#?}");
    }
    assert_eq!(seen["columns"], "rows timestamp labels level line metadata");
}
