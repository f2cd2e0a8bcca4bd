//! Containers, through a stub of Docker's daemon.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;

use super::*;

/// A daemon that speaks as much of Docker's HTTP API as the agent asks for.
fn docker_stub(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
                let mut out = stream;
                loop {
                    let mut request = String::new();
                    if reader.read_line(&mut request).unwrap_or(0) == 0 {
                        return;
                    }
                    let mut header = String::new();
                    while reader.read_line(&mut header).unwrap_or(0) > 2 {
                        header.clear();
                    }
                    let path = request.split_whitespace().nth(1).unwrap_or_default().to_owned();
                    let body = if path.starts_with("/containers/json") {
                        assert!(path.contains("logging%3Dpromtail"), "{path}");
                        json!([{"Id": "abc", "Names": ["/gateway"], "Labels": {"com.docker.compose.service": "inference-gateway", "environment": "lab"}, "HostConfig": {"NetworkMode": "lab"}, "NetworkSettings": {"Networks": {}}, "Ports": []}]).to_string()
                    } else if path.starts_with("/containers/abc/json") {
                        json!({"Config": {"Tty": false}}).to_string()
                    } else {
                        assert!(
                            path.starts_with("/containers/abc/logs?follow=1&stdout=1&stderr=1&timestamps=1&since="),
                            "{path}"
                        );
                        let time = now_s();
                        let mut body = Vec::new();
                        for (stream, text) in [(1_u8, "out"), (2, "err")] {
                            let line = format!(
                                "{} {{\"level\":\"info\",\"message\":\"{text} a@b.example\"}}\n",
                                rfc3339(time)
                            );
                            body.extend_from_slice(&[stream, 0, 0, 0]);
                            body.extend_from_slice(&(line.len() as u32).to_be_bytes());
                            body.extend_from_slice(line.as_bytes());
                        }
                        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
                        let _ = out.write_all(format!("{:x}\r\n", body.len()).as_bytes());
                        let _ = out.write_all(&body);
                        let _ = out.write_all(b"\r\n");
                        // Followed: the connection stays until the other side goes.
                        let _ = reader.read_to_end(&mut Vec::new());
                        return;
                    };
                    let _ = out.write_all(
                        format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        )
                        .as_bytes(),
                    );
                }
            });
        }
    });
}

fn rfc3339(unix_s: i64) -> String {
    let output = Command::new("date")
        .args(["-u", "-d", &format!("@{unix_s}"), "+%Y-%m-%dT%H:%M:%S.123456789Z"])
        .output()
        .expect("date runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The exercise's first job as it stands, but for where Docker and the server are.
#[test]
fn containers_are_followed_through_dockers_api() {
    let place = Place::new();
    let server = Server::start(&place.path("data"), None, &[]);
    let socket = place.path("docker.sock");
    docker_stub(&socket);
    let exercise = fs::read_to_string(repository("tests/configs/exercise-promtail.yaml")).expect("readable");
    let config = exercise
        .replace("unix:///var/run/docker.sock", &format!("unix://{}", socket.display()))
        .replace("http://loki:3100", &server.url)
        .replace("/tmp/positions.yaml", &place.path("positions.yaml").display().to_string())
        .replace("/var/log/", &format!("{}/", place.directory.path().display()));
    let config = place.write("promtail.yaml", &config);
    let agent = Agent::start(&config, &place.path("agent.txt"));
    eventually("both streams of the container", || {
        let found = lines(&server, r#"{service="inference-gateway"}"#);
        let has = |stream: &str, line: &str| {
            found.iter().any(|(labels, text)| {
                labels.contains(&format!("\"stream\":\"{stream}\""))
                    && labels.contains("\"container\":\"gateway\"")
                    && labels.contains("\"cluster\":\"lab-cluster\"")
                    && labels.contains("\"level\":\"info\"")
                    && text == line
            })
        };
        let out = has("stdout", r#"{"level":"info","message":"out ***REDACTED_EMAIL***"}"#);
        let err = has("stderr", r#"{"level":"info","message":"err ***REDACTED_EMAIL***"}"#);
        if out && err { Ok(()) } else { Err(format!("{found:?}; {}", tail_of(&place.path("agent.txt")))) }
    });
    agent.stop();
    assert!(fs::read_to_string(place.path("positions.yaml")).expect("written").contains("cursor-abc: \""));
}
