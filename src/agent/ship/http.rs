//! One request to one server: address, secrets, TLS, and what its answer means.

use std::io;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use url::Url;

use super::batch::Batch;
use crate::agent::config::ClientConfig;

/// Why a client cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    #[error("{what} {path}: {source}")]
    File { what: &'static str, path: String, source: io::Error },
    #[error("the buffer on disk: {0}")]
    Buffer(#[from] io::Error),
    #[error("client {url}: {words}")]
    Client { url: String, words: String },
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken {
        status: u16,
    },
    /// No answer, or one that says to try again.
    TryAgain {
        status: Option<u16>,
        words: String,
    },
    /// An answer that will not change.
    Refused {
        status: u16,
        words: String,
    },
}

/// How a request says who it is from.
#[derive(Debug, Clone)]
enum Credentials {
    None,
    Header(HeaderValue),
    /// Read anew for each request, since it may be renewed.
    File {
        kind: String,
        path: String,
    },
    Basic {
        username: String,
        password: String,
        password_file: String,
    },
}

/// A server.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: Url,
    name: String,
    host: String,
    http: reqwest::Client,
    headers: HeaderMap,
    credentials: Credentials,
    timeout: Duration,
}

impl Endpoint {
    pub(super) fn new(config: &ClientConfig) -> Result<Self, ShipError> {
        let wrong = |words: String| ShipError::Client { url: config.url.clone(), words };
        let url = Url::parse(&config.url).map_err(|error| wrong(error.to_string()))?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let name = if config.name.is_empty() {
            // The buffer on disk is found again by what the client is.
            let what = format!("{}\n{}", config.url, config.tenant_id);
            format!("{:016x}", xxhash_rust::xxh3::xxh3_64(what.as_bytes()))
        } else {
            config.name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_', "_")
        };
        let http = http_client(config)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("millrace-agent/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in &config.headers {
            let name: HeaderName =
                name.parse().map_err(|_| wrong(format!("headers: {name:?} is no name of a header")))?;
            let value = value.parse().map_err(|_| wrong(format!("headers: the value of {name} is none")))?;
            headers.insert(name, value);
        }
        let credentials = credentials(config).map_err(wrong)?;
        Ok(Endpoint { url, name, host, http, headers, credentials, timeout: config.timeout.to_std() })
    }

    /// What its buffer and its metrics are called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Label `host` of Promtail's metrics.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Sends a batch once.
    pub(super) async fn send(&self, batch: &Batch) -> Outcome {
        let try_again = |words: String| Outcome::TryAgain { status: None, words };
        let authorization = match self.authorization() {
            Ok(authorization) => authorization,
            Err(words) => return try_again(words),
        };
        let mut request = self
            .http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .timeout(self.timeout)
            .body(batch.body.clone());
        if !batch.tenant.is_empty() {
            request = request.header("X-Scope-OrgID", &batch.tenant);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        match request.send().await {
            Err(error) => try_again(words_of(&error)),
            Ok(answer) => {
                let status = answer.status().as_u16();
                if answer.status().is_success() {
                    return Outcome::Taken { status };
                }
                let text = answer.text().await.unwrap_or_default();
                let words = text.lines().next().unwrap_or_default().chars().take(1024).collect();
                if status == 429 || status / 100 == 5 {
                    Outcome::TryAgain { status: Some(status), words }
                } else {
                    Outcome::Refused { status, words }
                }
            }
        }
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let read = |path: &str| {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            Ok::<_, String>(text.trim().to_owned())
        };
        match &self.credentials {
            Credentials::None => Ok(None),
            Credentials::Header(value) => Ok(Some(value.clone())),
            Credentials::File { kind, path } => secret(&format!("{kind} {}", read(path)?)).map(Some),
            Credentials::Basic { username, password, password_file } => {
                let password = if password_file.is_empty() { password.clone() } else { read(password_file)? };
                basic(username, &password).map(Some)
            }
        }
    }
}

fn secret(text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "the credentials have characters no header may have".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, String> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    secret(&format!("Basic {text}"))
}

fn credentials(config: &ClientConfig) -> Result<Credentials, String> {
    if let Some(auth) = &config.basic_auth {
        let username = match auth.username_file.as_str() {
            "" => auth.username.clone(),
            path => std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?.trim().to_owned(),
        };
        let (password, password_file) = (auth.password.clone(), auth.password_file.clone());
        return Ok(Credentials::Basic { username, password, password_file });
    }
    if !config.bearer_token.is_empty() {
        return Ok(Credentials::Header(secret(&format!("Bearer {}", config.bearer_token))?));
    }
    if !config.bearer_token_file.is_empty() {
        return Ok(Credentials::File { kind: "Bearer".to_owned(), path: config.bearer_token_file.clone() });
    }
    if let Some(auth) = &config.authorization {
        let kind = if auth.kind.is_empty() { "Bearer".to_owned() } else { auth.kind.clone() };
        return Ok(match auth.credentials_file.as_str() {
            "" => Credentials::Header(secret(&format!("{kind} {}", auth.credentials))?),
            path => Credentials::File { kind, path: path.to_owned() },
        });
    }
    let url = Url::parse(&config.url).map_err(|error| error.to_string())?;
    if !url.username().is_empty() {
        return Ok(Credentials::Header(basic(url.username(), url.password().unwrap_or_default())?));
    }
    Ok(Credentials::None)
}

fn http_client(config: &ClientConfig) -> Result<reqwest::Client, ShipError> {
    // The provider of cryptography is the process's; another part may have chosen it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wrong = |words: String| ShipError::Client { url: config.url.clone(), words };
    let read = |what: &'static str, path: &str| {
        std::fs::read(path).map_err(|source| ShipError::File { what, path: path.to_owned(), source })
    };
    let tls = &config.tls_config;
    let mut builder = reqwest::Client::builder().danger_accept_invalid_certs(tls.insecure_skip_verify);
    if !tls.ca_file.is_empty() {
        let certificates = reqwest::Certificate::from_pem_bundle(&read("tls_config.ca_file", &tls.ca_file)?);
        builder = builder.tls_built_in_root_certs(false);
        for certificate in certificates.map_err(|error| wrong(format!("tls_config.ca_file: {}", words_of(&error))))? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    if !tls.cert_file.is_empty() {
        let mut pem = read("tls_config.cert_file", &tls.cert_file)?;
        pem.push(b'\n');
        pem.extend(read("tls_config.key_file", &tls.key_file)?);
        let identity = reqwest::Identity::from_pem(&pem);
        builder = builder.identity(identity.map_err(|error| wrong(format!("tls_config: {}", words_of(&error))))?);
    }
    if !config.follow_redirects {
        builder = builder.redirect(reqwest::redirect::Policy::none());
    }
    if !config.proxy_url.is_empty() {
        let proxy = reqwest::Proxy::all(&config.proxy_url);
        builder = builder.proxy(proxy.map_err(|error| wrong(format!("proxy_url: {}", words_of(&error))))?);
    }
    builder.build().map_err(|error| wrong(words_of(&error)))
}

/// An error with its causes: reqwest's own words alone say little.
fn words_of(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    words
}
