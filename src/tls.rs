//! TLS for listeners: certificates that are read again when their files change, and those that clients show.
//!
//! ```text
//! files ─▶ Tls::open ─▶ accept() ─▶ each new connection            peer_name ◀─ a client's verified certificate
//!    └─ changed ─▶ watch: good → used from now on; bad → the old ones stay, said and counted
//! ```
//!
//! Errors: [`TlsError`] names the file.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use x509_certificate::X509Certificate;

use crate::telemetry::tls::TlsMetrics;

/// How often files are looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(5);
/// How long a handshake may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// Loki's `server.http_tls_config`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsConfig {
    /// PEM: the server's certificate and those that lead to its authority.
    pub cert_file: Option<PathBuf>,
    /// PEM.
    pub key_file: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_auth_type: ClientAuth,
    /// PEM: the authorities of clients.
    pub client_ca_file: Option<PathBuf>,
}

/// Whether clients show certificates; the names are Go's, as Loki has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientAuth {
    #[default]
    #[serde(rename = "", alias = "NoClientCert")]
    None,
    /// Who shows one must show a good one.
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {file}: {source}")]
    Unreadable { file: String, source: std::io::Error },
    #[error("{file} has no {what} in PEM")]
    Missing { file: String, what: &'static str },
    #[error("{0} must be given")]
    NotGiven(&'static str),
    #[error("certificate and key: {0}")]
    Refused(#[from] rustls::Error),
    #[error("client_ca_file: {0}")]
    Authorities(String),
}

/// TLS of one listener. Cheap to clone; clones have the same certificate.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    config: TlsConfig,
    protocols: Vec<Vec<u8>>,
    now: RwLock<Arc<ServerConfig>>,
}

impl TlsConfig {
    /// Whether there is to be TLS.
    pub fn is_on(&self) -> bool {
        self.cert_file.is_some() || self.key_file.is_some()
    }
}

impl Tls {
    /// Reads the files; `protocols` is what connections are for, as ALPN names it.
    ///
    /// # Errors
    /// The first file that is no good.
    pub fn open(config: &TlsConfig, protocols: &[&[u8]]) -> Result<Self, TlsError> {
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let now = RwLock::new(server_config(config, &protocols, &Files::read(config)?)?);
        Ok(Tls(Arc::new(Inner { config: config.clone(), protocols, now })))
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.now.read().clone())
    }

    /// Shakes hands over a new connection.
    ///
    /// # Errors
    /// A handshake that fails; `TimedOut` for one that takes longer than it may.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        tokio::time::timeout(HANDSHAKE_WAIT, self.acceptor().accept(stream)).await?
    }

    /// Takes over what changes in the files, until `stop`.
    pub async fn watch(self, metrics: TlsMetrics, stop: CancellationToken) {
        let mut seen = Files::read(&self.0.config).ok();
        self.show(seen.as_ref(), &metrics);
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_PERIOD) => {}
                () = stop.cancelled() => return,
            }
            let tls = self.clone();
            let read = tokio::task::spawn_blocking(move || Files::read(&tls.0.config)).await;
            let files = match read {
                Ok(Ok(files)) => files,
                // Files are exchanged one after the other: the next look sees them all.
                Ok(Err(_)) | Err(_) => continue,
            };
            if seen.as_ref() == Some(&files) {
                continue;
            }
            match server_config(&self.0.config, &self.0.protocols, &files) {
                Ok(config) => {
                    *self.0.now.write() = config;
                    metrics.reloads.with_label_values(&["success"]).inc();
                    tracing::info!(file = ?self.0.config.cert_file, "a new certificate is shown from now on");
                }
                Err(error) => {
                    metrics.reloads.with_label_values(&["failure"]).inc();
                    tracing::error!(%error, "the new certificate is no good: the old one is shown on");
                }
            }
            self.show(Some(&files), &metrics);
            seen = Some(files);
        }
    }

    /// When the certificate ends, in the metrics.
    fn show(&self, files: Option<&Files>, metrics: &TlsMetrics) {
        let first = files.and_then(|files| certificates(&files.chain).into_iter().next());
        if let Some(Ok(known)) = first.map(|first| X509Certificate::from_der(&first)) {
            metrics.not_after.set(known.validity_not_after().timestamp());
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// Authorities to trust, from a file in PEM.
///
/// # Errors
/// What is wrong with it, behind its path.
pub fn authorities(file: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| wrong(&error))?;
    reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&error))
}

/// The common name of the certificate that a client showed and that was verified.
pub fn peer_name(connection: &rustls::ServerConnection) -> Option<String> {
    let certificate = connection.peer_certificates()?.first()?;
    X509Certificate::from_der(certificate).ok()?.subject_common_name()
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
}

impl Files {
    fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        let file = |path: &Option<PathBuf>, name| path.clone().ok_or(TlsError::NotGiven(name));
        Ok(Files {
            chain: bytes(&file(&config.cert_file, "cert_file")?)?,
            key: bytes(&file(&config.key_file, "key_file")?)?,
            authorities: match config.client_auth_type {
                ClientAuth::None => None,
                _ => Some(bytes(&file(&config.client_ca_file, "client_ca_file")?)?),
            },
        })
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { file: path.display().to_string(), source })
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    rustls_pemfile::certs(&mut BufReader::new(pem)).filter_map(Result::ok).collect()
}

fn server_config(config: &TlsConfig, protocols: &[Vec<u8>], files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let named = |path: &Option<PathBuf>| path.as_deref().unwrap_or(Path::new("")).display().to_string();
    let chain = certificates(&files.chain);
    if chain.is_empty() {
        return Err(TlsError::Missing { file: named(&config.cert_file), what: "certificate" });
    }
    let missing = || TlsError::Missing { file: named(&config.key_file), what: "private key" };
    let key: PrivateKeyDer<'static> =
        rustls_pemfile::private_key(&mut BufReader::new(&files.key[..])).ok().flatten().ok_or_else(missing)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &files.authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            let (added, _) = roots.add_parsable_certificates(certificates(authorities));
            if added == 0 {
                return Err(TlsError::Missing { file: named(&config.client_ca_file), what: "certificate" });
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match config.client_auth_type {
                ClientAuth::RequireAndVerifyClientCert => verifier,
                ClientAuth::VerifyClientCertIfGiven | ClientAuth::None => verifier.allow_unauthenticated(),
            };
            builder
                .with_client_cert_verifier(verifier.build().map_err(|error| TlsError::Authorities(error.to_string()))?)
        }
    };
    let mut server = builder.with_single_cert(chain, key)?;
    server.alpn_protocols = protocols.to_vec();
    Ok(Arc::new(server))
}
