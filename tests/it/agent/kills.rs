//! Every line once, whatever is killed.

use std::fs::File;

use super::*;

/// Killed again and again, agent and server, while files rotate: every line arrives, and once.
#[test]
fn kills_and_rotation_lose_no_line_and_double_none() {
    const FILES: usize = 8;
    const LINES_A_FILE: usize = 2_500;
    let place = Place::new();
    let golden = fs::read_to_string(repository("tests/golden/config.yaml")).expect("readable");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let server_config = place.write("server.yaml", &golden);
    let data = place.path("data");
    let arguments = ["--http-port".to_owned(), port.to_string()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let start = || Server::start(&data, Some(&server_config), &arguments);
    let mut server = Some(start());
    let jobs = format!(
        "- job_name: app\n  static_configs:\n  - labels: {{job: app, __path__: '{}/app.log'}}\n  pipeline_stages:\n  - regex: {{expression: 'n=(?P<n>\\d+) t=(?P<t>\\d+)'}}\n  - timestamp: {{source: t, format: UnixNs}}\n",
        place.directory.path().display()
    );
    let url = format!("http://127.0.0.1:{port}");
    let config = place.config(&url, &jobs);
    let log = place.path("agent.txt");
    let mut agent = Some(Agent::start(&config, &log));
    let begun_ns = now_s() * 1_000_000_000;
    let mut written = 0;
    for file in 0..FILES {
        let mut out = File::create(place.path("app.log")).expect("made");
        for part in 0..5 {
            for _ in 0..LINES_A_FILE / 5 {
                writeln!(out, "n={written} t={} some words of a line", begun_ns + written as i64 * 1_000)
                    .expect("written");
                written += 1;
            }
            std::thread::sleep(Duration::from_millis(40));
            if file == 0 && part == 0 {
                // A file that comes and goes before the agent has ever seen it leaves no trace to follow.
                let agent = agent.as_ref().expect("it runs");
                eventually("the first file is followed", || match agent.get("/metrics").1 {
                    metrics if metrics.contains("promtail_files_active_total 1") => Ok(()),
                    metrics => Err(metrics),
                });
            }
            if part == 2 {
                match file % 3 {
                    0 => agent.take().expect("it runs").kill(),
                    1 => server.take().expect("it runs").kill(),
                    _ => {}
                }
            }
        }
        drop(out);
        // Rotated by name, the last few kept: those before were read long ago, or are found by their inode.
        for number in (1..FILES).rev() {
            let _ =
                fs::rename(place.path(&format!("app.log.{number}")), place.path(&format!("app.log.{}", number + 1)));
        }
        fs::rename(place.path("app.log"), place.path("app.log.1")).expect("renamed");
        agent.get_or_insert_with(|| Agent::start(&config, &log));
        server.get_or_insert_with(start);
    }
    File::create(place.path("app.log")).expect("made");
    let server = server.expect("it runs");
    let distinct = r#"count(sum by (n) (count_over_time({job="app"} | regexp "n=(?P<n>[0-9]+) " [1h])))"#;
    let all = r#"sum(count_over_time({job="app"}[1h]))"#;
    eventually("every line", || {
        let found = server.number(all, now_s() + 600);
        if found >= written as f64 { Ok(()) } else { Err(format!("{found} of {written}; {}", tail_of(&log))) }
    });
    assert_eq!(server.number(all, now_s() + 600), written as f64, "no line twice");
    assert_eq!(server.number(distinct, now_s() + 600), written as f64, "every line");
}
