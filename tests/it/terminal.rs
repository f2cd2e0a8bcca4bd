//! `millrace query` and `millrace sql`: the real program against a server, and against what lies in a directory.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Server, repository};

const START_NS: i64 = 1_768_471_200_000_000_000;
const FROM: [&str; 4] = ["--from", "2026-01-15T09:59:00Z", "--to", "2026-01-15T11:00:00Z"];

/// What a run of the program said, and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    for name in ["MILLRACE_ADDR", "LOKI_ADDR", "MILLRACE_ORG_ID", "LOKI_ORG_ID", "MILLRACE_BEARER_TOKEN"] {
        command.env_remove(name);
    }
    command.args(arguments).env("TZ", "UTC");
    command
}

fn finish(mut command: Command, input: &str) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(arguments: &[&str]) -> Said {
    finish(command(arguments), "")
}

fn good(arguments: &[&str]) -> String {
    let said = run(arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}: {}{}", said.out, said.err);
    said.out
}

fn server(directory: &Path) -> Server {
    let server = Server::start(&directory.join("data"), Some(&repository("tests/golden/config.yaml")), &[]);
    for at in 0..25_i64 {
        let ts = (START_NS + at * 60_000_000_000).to_string();
        let level = if at % 5 == 0 { "error" } else { "info" };
        let stream = json!({"service": "api", "pod": format!("p{}", at % 2)});
        let line = format!("level={level} n={at}");
        server.push(&json!({"streams": [{"stream": stream, "values": [[ts, line, {"trace": format!("t{at}")}]]}]}));
        if at == 12 {
            server.flush();
        }
    }
    server
}

#[test]
fn queries_are_printed_in_every_form() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = server(directory.path());
    let ask = |query: &str, more: &[&str]| {
        let mut arguments = vec!["query", "--addr", &server.url, query];
        arguments.extend_from_slice(&FROM);
        arguments.extend_from_slice(more);
        good(&arguments)
    };
    let raw = ask(r#"{service="api"}"#, &["--limit", "3", "-o", "raw"]);
    assert_eq!(raw, "level=info n=24\nlevel=info n=23\nlevel=info n=22\n");
    // In pages, each entry once, in order.
    let all = ask(r#"{service="api"}"#, &["--limit", "0", "--batch", "4", "--forward", "-o", "raw"]);
    let numbers: Vec<String> = all.lines().map(|line| line.rsplit('=').next().unwrap_or("").to_owned()).collect();
    assert_eq!(numbers, (0..25).map(|at| at.to_string()).collect::<Vec<_>>());
    let jsonl = ask(r#"{service="api"} |= "n=5""#, &["-o", "jsonl"]);
    let entry: Value = serde_json::from_str(&jsonl).expect("one object");
    assert_eq!((&entry["line"], &entry["timestamp"]), (&json!("level=error n=5"), &json!("2026-01-15T10:05:00Z")));
    assert_eq!((&entry["labels"]["pod"], &entry["labels"]["trace"]), (&json!("p1"), &json!("t5")));
    let shown = ask(r#"{service="api"} |= "n=5""#, &["--quiet", "--timezone", "utc"]);
    assert_eq!(shown, "2026-01-15T10:05:00Z {pod=\"p1\", service=\"api\", service_name=\"api\"} level=error n=5\n");
    let colored = ask(r#"{service="api"} |= "n=5""#, &["--color", "always", "--no-labels"]);
    assert_eq!(colored, "\u{1b}[31m2026-01-15T10:05:00Z\u{1b}[0m \u{1b}[31mlevel=error n=5\u{1b}[0m\n");
    let samples = ask(r#"sum(count_over_time({service="api"}[1h]))"#, &["--instant"]);
    assert_eq!(samples, "2026-01-15T11:00:00Z           24 {}\n");
    let range = ask(r#"sum by (pod) (count_over_time({service="api"}[10m]))"#, &["--step", "10m", "-o", "jsonl"]);
    let series: Vec<Value> = range.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!((series.len(), &series[0]["labels"]["pod"]), (2, &json!("p0")));
    assert_eq!(series[0]["values"][0], json!([1_768_471_740.0, "5"]));
    // What all have in common is said once, beside the lines.
    let mut arguments = vec!["query", "--addr", &server.url, r#"{service="api", pod="p0"}"#];
    arguments.extend_from_slice(&FROM);
    let said = run(&arguments);
    assert!(said.err.contains("Common labels: {pod=\"p0\", service=\"api\""), "{}", said.err);
    assert!(said.out.lines().all(|line| line.contains("Z {} level=")), "{}", said.out);
    let said = run(&["query", "--addr", &server.url, "{"]);
    assert!(said.code == Some(1) && said.err.contains("400 Bad Request: parse error"), "{}", said.err);
    let said = run(&["query", "--addr", "127.0.0.1:1", r#"{a="b"}"#]);
    assert!(said.code == Some(1) && said.err.contains("http://127.0.0.1:1: "), "{}", said.err);
}

#[test]
fn the_data_itself_answers_beside_its_server_and_after_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = server(directory.path());
    let data = directory.path().join("data");
    let before = listing(&data);
    let ask = || {
        let mut arguments = vec!["query", "--data", data.to_str().expect("UTF-8"), r#"{service="api"}"#];
        arguments.extend_from_slice(&FROM);
        arguments.extend_from_slice(&["--limit", "0", "-o", "raw"]);
        good(&arguments)
    };
    let data_text = data.to_str().expect("UTF-8");
    assert_eq!(ask().lines().count(), 25);
    let count = |more: &[&str]| good(&[&["sql", "-c", "select count(*) as n from logs"], more].concat());
    assert_eq!(count(&["--data", data_text]), "n\n25\n");
    assert_eq!(listing(&data), before, "reading changed something");
    server.flush();
    assert_eq!(ask().lines().count(), 25);
    server.kill();
    assert_eq!(ask().lines().count(), 25);
    // The table alone, without the log of a server.
    let url = format!("file://{data_text}/logs");
    assert_eq!(count(&["--url", &url]), "n\n25\n");
    let metric = [r#"sum(count_over_time({service="api"}[1h]))"#, "--to", "2026-01-15T11:00:00Z", "--instant"];
    assert!(good(&[&["query", "--url", &url], &metric[..]].concat()).contains("  24 {}"));
    let said = run(&["query", "--data", data_text, "--tail", r#"{service="api"}"#]);
    assert!(said.code == Some(1) && said.err.contains("--tail needs a server"), "{}", said.err);
    let said = run(&["query", "--data", "/nowhere", r#"{service="api"}"#]);
    assert!(said.code == Some(1) && said.err.contains("/nowhere is not there"), "{}", said.err);
}

/// Every file below a directory with its size.
fn listing(directory: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(listing(&path));
        } else {
            found.push((path.display().to_string(), path.metadata().map_or(0, |metadata| metadata.len())));
        }
    }
    found.sort();
    found
}

#[test]
fn statements_come_from_flags_files_and_pipes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = server(directory.path());
    let sql = |more: &[&str]| good(&[&["sql", "--addr", &server.url], more].concat());
    let levels = "select level, count(*) as n from logs group by 1 order by 1";
    assert_eq!(sql(&["-c", levels]), "level,n\nerror,5\ninfo,20\n");
    assert_eq!(
        sql(&["-c", levels, "--format", "ndjson"]),
        "{\"level\":\"error\",\"n\":5}\n{\"level\":\"info\",\"n\":20}\n"
    );
    assert_eq!(
        sql(&["-c", levels, "--format", "json"]),
        "[{\"level\":\"error\",\"n\":5},{\"level\":\"info\",\"n\":20}]\n"
    );
    let table = "+-------+----+\n| level | n  |\n+-------+----+\n| error | 5  |\n| info  | 20 |\n+-------+----+\n";
    assert_eq!(sql(&["-c", levels, "--format", "table"]), table);
    let cut = sql(&["-c", "select line from logs", "--format", "table", "--max-rows", "2"]);
    assert!(cut.contains("the first 2 rows") && cut.lines().count() == 7, "{cut}");
    assert!(sql(&["-c", "select line from logs where false", "--format", "table"]).contains("| line |"));
    let file = directory.path().join("two.sql");
    std::fs::write(&file, "-- two; of them\nselect 1 as a;\nselect ';' as b;").expect("written");
    assert_eq!(sql(&["-f", file.to_str().expect("UTF-8")]), "a\n1\nb\n;\n");
    let said = finish(command(&["sql", "--addr", &server.url, "--timing"]), "select 1 as a;");
    assert_eq!((said.code, said.out.as_str()), (Some(0), "a\n1\n"));
    assert!(said.err.starts_with("1 row in 0."), "{}", said.err);
    let owners = directory.path().join("owners.csv");
    std::fs::write(&owners, "pod,team\np0,it's a\np1,b\n").expect("written");
    let joined =
        "select o.team, count(*) as n from logs l join owners o on o.pod = l.labels['pod'] group by 1 order by 1";
    let table = format!("owners={}", owners.display());
    assert_eq!(sql(&["--csv", &table, "-c", joined]), "team,n\nb,12\nit's a,13\n");
    let data = directory.path().join("data");
    let direct = ["sql", "--data", data.to_str().expect("UTF-8"), "--csv", &table, "-c", joined];
    assert_eq!(good(&direct), "team,n\nb,12\nit's a,13\n");
    let said = run(&["sql", "--addr", &server.url, "-c", "select * from nothing; select 1"]);
    assert!(said.code == Some(1) && said.err.contains("nothing") && said.out.is_empty(), "{}", said.err);
    let said = run(&["sql", "--addr", &server.url, "-c", "drop table logs"]);
    assert_eq!(said.code, Some(1), "{}", said.out);
}

#[test]
fn who_asks_is_said_by_flags_and_variables() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = directory.path().join("config.yaml");
    let text = "auth_enabled: true\naccess:\n  roles: {reader: [{tenants: [team], actions: [read]}], writer: [{tenants: [team], actions: [write]}]}\n  tokens: [{name: ana, token: let-me-in, roles: [reader]}, {name: agent, token: agent, roles: [writer]}]\nlimits_config: {reject_old_samples: false}\n";
    std::fs::write(&config, text).expect("written");
    let server = Server::start(&data, Some(&config), &["--http-address", "127.0.0.1"]);
    let body = json!({"streams": [{"stream": {"a": "b"}, "values": [[START_NS.to_string(), "hello"]]}]}).to_string();
    let headers = [("Content-Type", "application/json"), ("Authorization", "Bearer agent")];
    assert_eq!(server.post("/loki/api/v1/push", &headers, body.as_bytes()).status, 204);
    let query = [&["query", r#"{a="b"}"#, "-o", "raw"][..], &FROM].concat();
    let with = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = command(&[&query[..], flags].concat());
        command.envs(variables.iter().copied());
        finish(command, "")
    };
    let address = ("MILLRACE_ADDR", server.url.as_str());
    let refused = with(&[address], &[]);
    assert!(refused.code == Some(1) && refused.err.contains("401"), "{}", refused.err);
    let said = with(&[address], &["--bearer-token", "let-me-in"]);
    assert_eq!(said.out, "hello\n", "{}", said.err);
    assert_eq!(
        with(&[("LOKI_ADDR", &server.url), ("LOKI_BEARER_TOKEN", "let-me-in")], &["--org-id", "team"]).out,
        "hello\n"
    );
    let file = directory.path().join("token");
    std::fs::write(&file, "let-me-in\n").expect("written");
    assert_eq!(with(&[address], &["--bearer-token-file", file.to_str().expect("UTF-8")]).out, "hello\n");
    assert_eq!(with(&[address], &["--bearer-token", "let-me-in", "--org-id", "other"]).code, Some(1));
    // Of the data itself one tenant is chosen, where there are several: the refusal was recorded in another.
    let direct = ["--data", data.to_str().expect("UTF-8")];
    let several = with(&[], &direct);
    assert!(several.err.contains("name one with --org-id: millrace, team"), "{}", several.err);
    assert_eq!(with(&[], &[&direct[..], &["--org-id", "team"]].concat()).out, "hello\n");
}

#[test]
fn a_tail_follows_and_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let config = repository("tests/golden/config.yaml");
    let server = Server::start(&data, Some(&config), &[]);
    let port = server.url.rsplit(':').next().expect("a port").to_owned();
    let push = |server: &Server, line: &str| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
        server.push(&json!({"streams": [{"stream": {"a": "b"}, "values": [[now.to_string(), line]]}]}));
    };
    push(&server, "before");
    let mut command = command(&["query", "--addr", &server.url, "--tail", r#"{a="b"}"#, "-o", "raw"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let (said, lines) = std::sync::mpsc::sync_channel(100);
    let stdout = child.stdout.take().expect("piped");
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = said.send(line);
        }
    });
    let next = || lines.recv_timeout(Duration::from_secs(20)).expect("a line comes");
    assert_eq!(next(), "before");
    push(&server, "during");
    assert_eq!(next(), "during");
    server.stop();
    let server = Server::start(&data, Some(&config), &["--http-port", &port]);
    push(&server, "after");
    assert_eq!(next(), "after");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    let started = Instant::now();
    while child.try_wait().expect("it can be asked").is_none() {
        assert!(started.elapsed() < Duration::from_secs(10), "Ctrl-C does not end it");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The shell on a terminal of its own, by `script` of util-linux.
#[test]
fn the_shell_answers_remembers_and_completes() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("there is no `script` here: the shell is not tried");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = server(directory.path());
    let history = directory.path().join("state/history");
    let program =
        format!("{} sql --addr {} --history {}", env!("CARGO_BIN_EXE_millrace"), server.url, history.display());
    let mut script = Command::new("script");
    script.args(["-qefc", &program, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("it runs");
    let (mut keyboard, mut screen) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let (said, pieces) = std::sync::mpsc::sync_channel::<Vec<u8>>(1000);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = screen.read(&mut bytes) {
            let _ = said.send(bytes[..length].to_vec());
        }
    });
    // As a person does: the next after the answer.
    let mut seen = String::new();
    let mut wait_for = |expected: &str| {
        while !seen.contains(expected) {
            let piece = pieces.recv_timeout(Duration::from_secs(20));
            let piece = piece.unwrap_or_else(|_| panic!("no {expected:?} in {seen}"));
            seen.push_str(&String::from_utf8_lossy(&piece));
        }
        seen.clear();
    };
    wait_for("help");
    for (typed, expected) in [
        ("select count(*)\n", "count"),
        (" as n from logs;\n", "| 25 |"),
        ("\\d files\n", "line_bytes"),
        ("sel\t 7 as seven;\n", "| 7     |"),
        ("\\f csv\n", "millrace> "),
        ("select 8 as eight;\n", "eight\r\n8\r\n"),
        ("select * from nothing;\n", "not found"),
        ("\\timing\n", "timing is off"),
    ] {
        std::thread::sleep(Duration::from_millis(300));
        keyboard.write_all(typed.as_bytes()).expect("it reads");
        wait_for(expected);
    }
    std::thread::sleep(Duration::from_millis(300));
    keyboard.write_all(b"\\q\n").expect("it reads");
    assert!(child.wait().expect("it ends").success());
    let remembered = std::fs::read_to_string(&history).expect("it is written");
    assert!(remembered.contains("select 7 as seven;") || remembered.contains("select 8 as eight;"), "{remembered}");
}
