//! The least of an HTTP client, for talking to a Millrace on this machine: `millrace ready`, `millrace demo`.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// `GET http://address/path`.
pub async fn get(address: &str, path: &str) -> std::io::Result<Answer> {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"), "").await
}

/// `POST http://address/path` with a JSON body.
pub async fn post_json(address: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    request(address, &head, body).await
}

async fn request(address: &str, head: &str, body: &str) -> std::io::Result<Answer> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        parse(&String::from_utf8_lossy(&answer))
    };
    tokio::time::timeout(WAIT_MAX, asking).await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

fn parse(answer: &str) -> std::io::Result<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("the answer is not HTTP"))?;
    Ok(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let check = |text, expected: Option<(u16, &str)>| {
            assert_eq!(
                parse(text).ok().map(|answer| (answer.status, answer.body)),
                expected.map(|(status, body)| (status, body.to_owned()))
            );
        };
        check("HTTP/1.1 200 OK\r\nA: b\r\n\r\nready\n", Some((200, "ready\n")));
        check("HTTP/1.1 204 No Content\r\n\r\n", Some((204, "")));
        check("nonsense", None);
    }
}
