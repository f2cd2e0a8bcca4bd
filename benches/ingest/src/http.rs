//! As much of HTTP/1.1 as a push takes: one connection, kept open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::AnyError;

pub struct Connection {
    reader: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    pub fn open(url: &str) -> Result<Self, AnyError> {
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let stream = TcpStream::connect(&host).map_err(|error| format!("{host}: {error}"))?;
        stream.set_nodelay(true)?;
        Ok(Connection { reader: BufReader::new(stream), host })
    }

    /// A status, and the text of the answer.
    pub fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> Result<(u16, String), AnyError> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.reader.get_mut().write_all(head.as_bytes())?;
        self.reader.get_mut().write_all(body)?;
        self.answer()
    }

    /// All series of a metric together.
    pub fn sum_of(&mut self, metric: &str) -> Result<u64, AnyError> {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.reader.get_mut().write_all(head.as_bytes())?;
        let (_, text) = self.answer()?;
        let series = text.lines().filter(|line| line.starts_with(metric));
        Ok(series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64)
    }

    fn answer(&mut self) -> Result<(u16, String), AnyError> {
        let (mut status, mut length, mut chunked) = (0, 0, false);
        for at in 0.. {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err("the server closed the connection".into());
            }
            let line = line.trim_end();
            if at == 0 {
                status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or(format!("no HTTP: {line}"))?;
            } else if line.is_empty() {
                break;
            } else if let Some((name, value)) = line.split_once(':') {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse()?,
                    "transfer-encoding" => chunked = true,
                    _ => {}
                }
            }
        }
        let mut body = Vec::new();
        if !chunked {
            body.resize(length, 0);
            self.reader.read_exact(&mut body)?;
        }
        while chunked {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let bytes = usize::from_str_radix(line.trim(), 16)?;
            let start = body.len();
            body.resize(start + bytes, 0);
            self.reader.read_exact(&mut body[start..])?;
            self.reader.read_line(&mut line)?;
            chunked = bytes > 0;
        }
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
