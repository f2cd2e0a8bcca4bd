//! Answers from a server, by Loki's API and by `/api/v1/sql`.

use std::collections::VecDeque;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use reqwest::header::{CONNECTION, UPGRADE};
use reqwest::{Certificate, Client, Identity, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{AnyError, LogAsk, Rows, Samples, Shown, SourceArgs, When, or_variable, sort};
use crate::types::labels::Labels;

/// How long a server may take to take a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Bytes of an error that are shown.
const ERROR_BYTES_MAX: usize = 2000;

/// The server answered, but not with an answer.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {status}: {text}")]
pub(crate) struct Refused {
    address: String,
    pub(crate) status: StatusCode,
    text: String,
}

/// A server, and who asks it.
pub(crate) struct Server {
    client: Client,
    address: String,
    tenant: Option<String>,
    token: Option<String>,
    /// Name and password.
    account: Option<(String, Option<String>)>,
}

impl Server {
    pub(super) fn new(args: &SourceArgs) -> Result<Self, AnyError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder().http1_only().connect_timeout(CONNECT_WAIT);
        let file = |flag: &Option<std::path::PathBuf>, name: &str| {
            let flag = flag.as_ref().map(|path| path.to_string_lossy().into_owned());
            or_variable(flag.as_ref(), name)
        };
        let read = |path: &str| std::fs::read(path).map_err(|error| format!("{path}: {error}"));
        if let Some(path) = file(&args.ca_cert, "CA_CERT_PATH") {
            for certificate in Certificate::from_pem_bundle(&read(&path)?)? {
                client = client.add_root_certificate(certificate);
            }
        }
        if let (Some(cert), Some(key)) = (file(&args.cert, "CLIENT_CERT_PATH"), file(&args.key, "CLIENT_KEY_PATH")) {
            let both = [read(&cert)?, b"\n".to_vec(), read(&key)?].concat();
            client = client.identity(Identity::from_pem(&both)?);
        }
        if args.tls_skip_verify {
            client = client.danger_accept_invalid_certs(true);
        }
        let token = match file(&args.bearer_token_file, "BEARER_TOKEN_FILE") {
            Some(path) => Some(String::from_utf8(read(&path)?)?.trim().to_owned()),
            None => or_variable(args.bearer_token.as_ref(), "BEARER_TOKEN"),
        };
        let password = or_variable(args.password.as_ref(), "PASSWORD");
        let account = or_variable(args.username.as_ref(), "USERNAME").map(|name| (name, password));
        Ok(Server { client: client.build()?, address: args.address(), tenant: args.tenant(), token, account })
    }

    fn signed(&self, mut request: RequestBuilder) -> RequestBuilder {
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        } else if let Some((name, password)) = &self.account {
            request = request.basic_auth(name, password.as_ref());
        }
        request
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, AnyError> {
        let answer = self.signed(request).send().await.map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() || answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
        }
        let status = answer.status();
        let mut body = answer.text().await.unwrap_or_default();
        body.truncate(body.floor_char_boundary(ERROR_BYTES_MAX));
        Err(Refused { address: self.address.clone(), status, text: body.trim().to_owned() }.into())
    }

    /// The cause in words: that of `reqwest` alone says little.
    fn unreachable(&self, error: &reqwest::Error) -> AnyError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        format!("{}: {cause}", self.address).into()
    }

    async fn get(&self, path: &str, params: &[(&str, String)]) -> Result<Value, AnyError> {
        let request = self.client.get(format!("{}{path}", self.address)).query(params);
        let request = request.header("X-Loki-Response-Encoding-Flags", "categorize-labels");
        Ok(serde_json::from_slice(&self.send(request).await?.bytes().await?)?)
    }

    pub(super) async fn logs(&self, ask: &LogAsk<'_>) -> Result<Vec<Shown>, AnyError> {
        let params = [
            ("query", ask.query.to_owned()),
            ("start", ask.start.to_string()),
            ("end", ask.end.to_string()),
            ("limit", ask.limit.to_string()),
            ("direction", if ask.forward { "forward" } else { "backward" }.to_owned()),
        ];
        let answer = self.get("/loki/api/v1/query_range", &params).await?;
        let mut entries = entries(&answer["data"]["result"])?;
        sort(&mut entries, ask.forward);
        Ok(entries)
    }

    pub(super) async fn metric(&self, query: &str, when: When) -> Result<Vec<Samples>, AnyError> {
        let answer = match when {
            When::At(time) => {
                let params = [("query", query.to_owned()), ("time", time.to_string())];
                self.get("/loki/api/v1/query", &params).await?
            }
            When::Range { start, end, step } => {
                let mut params =
                    vec![("query", query.to_owned()), ("start", start.to_string()), ("end", end.to_string())];
                params.extend(step.map(|step| ("step", (step as f64 / 1e9).to_string())));
                self.get("/loki/api/v1/query_range", &params).await?
            }
        };
        samples(&answer["data"])
    }

    pub(super) async fn sql(&self, statement: &str) -> Result<Rows, AnyError> {
        let request = self.client.post(format!("{}/api/v1/sql?format=arrow", self.address));
        let request = request.header("Content-Type", "text/plain").body(statement.to_owned());
        let body = self.send(request).await?.bytes_stream();
        let body = body.map(|bytes| bytes.map_err(|error| AnyError::from(format!("the answer broke off: {error}"))));
        let mut batches = Decoding { body: body.boxed(), decoder: StreamDecoder::new(), rest: Buffer::default() };
        // The schema comes before all rows.
        let mut first = VecDeque::new();
        while batches.decoder.schema().is_none() {
            match batches.next().await? {
                Some(batch) => first.push_back(batch),
                None => break,
            }
        }
        let schema = batches.decoder.schema().ok_or("the answer is no Arrow stream")?;
        let rest = futures::stream::unfold(Some((first, batches)), |state| async move {
            let (mut first, mut batches) = state?;
            match first.pop_front() {
                Some(batch) => Some((Ok(batch), Some((first, batches)))),
                None => match batches.next().await {
                    Ok(Some(batch)) => Some((Ok(batch), Some((first, batches)))),
                    Ok(None) => None,
                    Err(error) => Some((Err(error), None)),
                },
            }
        });
        Ok(Rows { schema, batches: rest.boxed() })
    }

    /// Lines as they arrive, from `start` on.
    pub(crate) async fn tail(&self, query: &str, start: i64, limit: usize, delay: u32) -> Result<Tail, AnyError> {
        let params = [
            ("query", query.to_owned()),
            ("start", start.to_string()),
            ("limit", limit.to_string()),
            ("delay_for", delay.to_string()),
        ];
        let request = self.client.get(format!("{}/loki/api/v1/tail", self.address)).query(&params);
        let request = request
            .header("X-Loki-Response-Encoding-Flags", "categorize-labels")
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", tokio_tungstenite::tungstenite::handshake::client::generate_key());
        let answer = self.send(request).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(format!("{}: {}: no websocket", self.address, answer.status()).into());
        }
        let upgraded = answer.upgrade().await?;
        Ok(Tail(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await))
    }
}

/// An open tail.
pub(crate) struct Tail(WebSocketStream<reqwest::Upgraded>);

/// What a tail says.
pub(crate) struct Arrived {
    pub(crate) entries: Vec<Shown>,
    /// Entries that this reader was too slow for.
    pub(crate) dropped: usize,
}

impl Tail {
    /// The next entries; none when the server ended it.
    pub(crate) async fn next(&mut self) -> Result<Option<Arrived>, AnyError> {
        while let Some(message) = self.0.next().await {
            match message? {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text)?;
                    let mut entries = entries(&frame["streams"])?;
                    sort(&mut entries, true);
                    let dropped = frame["dropped_entries"].as_array().map_or(0, Vec::len);
                    return Ok(Some(Arrived { entries, dropped }));
                }
                Message::Close(Some(frame)) if !frame.reason.is_empty() => {
                    return Err(format!("the server ended the tail: {}", frame.reason).into());
                }
                Message::Close(_) => return Ok(None),
                Message::Ping(payload) => self.0.send(Message::Pong(payload)).await?,
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Batches out of the bytes of an Arrow stream.
struct Decoding {
    body: BoxStream<'static, Result<bytes::Bytes, AnyError>>,
    decoder: StreamDecoder,
    rest: Buffer,
}

impl Decoding {
    /// The next batch; also none while only the schema has come.
    async fn next(&mut self) -> Result<Option<RecordBatch>, AnyError> {
        loop {
            while !self.rest.is_empty() {
                if let Some(batch) = self.decoder.decode(&mut self.rest)? {
                    return Ok(Some(batch));
                }
            }
            match self.body.next().await {
                Some(bytes) => self.rest = Buffer::from(bytes?),
                None => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
            }
        }
    }
}

/// Entries of a list of streams.
fn entries(streams: &Value) -> Result<Vec<Shown>, AnyError> {
    let mut found = Vec::new();
    for stream in streams.as_array().into_iter().flatten() {
        let labels = labels(&stream["stream"]);
        for value in stream["values"].as_array().into_iter().flatten() {
            let ts = value[0].as_str().and_then(|ts| ts.parse().ok()).ok_or("an entry without a time")?;
            let line = value[1].as_str().ok_or("an entry without a line")?.to_owned();
            let of_entry = ["structuredMetadata", "parsed"].map(|kind| labels_of(&value[2][kind]));
            let fields = Labels::from_pairs(of_entry.iter().flatten().copied());
            found.push(Shown { ts, labels: labels.clone(), fields, line });
        }
    }
    Ok(found)
}

/// Series of `data`, whatever its kind.
fn samples(data: &Value) -> Result<Vec<Samples>, AnyError> {
    let point = |value: &Value| -> Option<(i64, String)> {
        let seconds = value[0].as_f64()?;
        Some(((seconds * 1000.0).round() as i64 * 1_000_000, value[1].as_str()?.to_owned()))
    };
    let wrong = || AnyError::from("a sample that is none");
    if data["resultType"] == "scalar" {
        // Loki's scalars have milliseconds.
        let (at, value) = point(&data["result"]).ok_or_else(wrong)?;
        return Ok(vec![Samples { labels: Labels::default(), points: vec![(at / 1000, value)] }]);
    }
    if data["resultType"] == "streams" {
        return Err("the query is a log query".into());
    }
    let mut found = Vec::new();
    for series in data["result"].as_array().into_iter().flatten() {
        let many = series["values"].as_array().map_or(&[][..], Vec::as_slice).iter();
        let one = Some(&series["value"]).filter(|value| !value.is_null());
        let points = many.chain(one).map(|value| point(value).ok_or_else(wrong)).collect::<Result<_, _>>()?;
        found.push(Samples { labels: labels(&series["metric"]), points });
    }
    Ok(found)
}

fn labels(object: &Value) -> Labels {
    Labels::from_pairs(labels_of(object))
}

fn labels_of(object: &Value) -> Vec<(&str, &str)> {
    let pairs = object.as_object().into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_read() {
        let streams = json!([
            {"stream": {"a": "b"}, "values": [["2", "two", {"structuredMetadata": {"t": "1"}, "parsed": {"p": "2"}}]]},
            {"stream": {"a": "c"}, "values": [["1", "one"], ["3", "three", {}]]},
        ]);
        let mut found = entries(&streams).expect("entries");
        sort(&mut found, false);
        let shown: Vec<_> = found
            .iter()
            .map(|entry| format!("{} {} {} {}", entry.ts, entry.labels, entry.fields, entry.line))
            .collect();
        assert_eq!(shown, [r#"3 {a="c"} {} three"#, r#"2 {a="b"} {p="2", t="1"} two"#, r#"1 {a="c"} {} one"#]);
        assert!(entries(&json!([{"stream": {}, "values": [[1, "x"]]}])).is_err());
    }

    #[test]
    fn samples_of_every_kind_are_read() {
        let check = |data: Value, expected: &str| {
            let found = samples(&data).expect("samples");
            let shown: Vec<_> = found.iter().map(|one| format!("{} {:?}", one.labels, one.points)).collect();
            assert_eq!(shown.join("; "), expected);
        };
        check(
            json!({"resultType": "matrix", "result": [{"metric": {"a": "b"}, "values": [[1, "2"], [1.5, "3"]]}]}),
            r#"{a="b"} [(1000000000, "2"), (1500000000, "3")]"#,
        );
        check(
            json!({"resultType": "vector", "result": [{"metric": {}, "value": [1, "2"]}]}),
            r#"{} [(1000000000, "2")]"#,
        );
        check(json!({"resultType": "scalar", "result": [1000, "2"]}), r#"{} [(1000000000, "2")]"#);
        assert!(samples(&json!({"resultType": "streams", "result": []})).is_err());
    }
}
