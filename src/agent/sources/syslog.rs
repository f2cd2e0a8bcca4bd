//! `syslog`: a listener for messages: TCP, TLS or UDP.
//!
//! Labels: `__syslog_connection_ip_address`, `__syslog_message_{severity,facility,hostname,app_name,proc_id,msg_id}` and,
//! when asked for, `__syslog_message_sd_<id>_<name>`; relabelling makes labels of them.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use super::syslog_message::{Message, frames};
use super::{Around, Labelling, SourceError};
use crate::agent::config::SyslogConfig;
use crate::pipeline::{Entry, sanitized_label_name};
use crate::tasks::Tasks;
use crate::tls::Tls;

/// Connections at once; each has a buffer of one message.
const CONNECTIONS_MAX: usize = 1_024;
/// The largest datagram.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

struct Listener {
    config: SyslogConfig,
    tls: Option<Tls>,
    labelling: Labelling,
    around: Around,
}

/// Listens until the sources are stopped.
pub(super) async fn start(
    config: &SyslogConfig,
    labelling: Labelling,
    around: &Around,
    tasks: &Tasks,
) -> Result<(), SourceError> {
    let job = around.feed.job().to_owned();
    let address = config.listen_address.clone();
    let wrong = |source| SourceError::Listen { job: job.clone(), address: address.clone(), source };
    let tls = config.server_tls().map(|tls| Tls::open(&tls, &[])).transpose();
    let tls =
        tls.map_err(|error| SourceError::Config { job: job.clone(), words: format!("syslog.tls_config: {error}") })?;
    let listener = Arc::new(Listener { config: config.clone(), tls, labelling, around: around.clone() });
    let (name, bound);
    if config.listen_protocol == "udp" {
        let socket = UdpSocket::bind(&config.listen_address).await.map_err(wrong)?;
        (name, bound) = ("Syslog", socket.local_addr().map_err(wrong)?);
        tasks.spawn("syslog", |_| async move { listener.datagrams(socket).await });
    } else {
        let socket = TcpListener::bind(&config.listen_address).await.map_err(wrong)?;
        (name, bound) = ("Syslog", socket.local_addr().map_err(wrong)?);
        tasks.spawn("syslog", |_| async move { listener.connections(socket).await });
    }
    tracing::info!(address = %bound, protocol = config.listen_protocol, "syslog listening on address");
    around.targets.single(&job, name, &bound.to_string(), String::new(), &config.listen_protocol);
    Ok(())
}

impl Listener {
    async fn connections(self: Arc<Self>, socket: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let stop = self.around.stop.clone();
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, from)) => {
                    let listener = self.clone();
                    tokio::spawn(async move {
                        listener.take(stream, from).await;
                        drop(place);
                    });
                }
                Err(error) => tracing::warn!(%error, "a syslog connection could not be taken"),
            }
        }
    }

    /// Reads what the connection has, decrypted where it is encrypted.
    async fn take(&self, stream: TcpStream, from: SocketAddr) {
        let Some(tls) = &self.tls else { return self.connection(stream, from).await };
        match tls.accept(stream).await {
            Ok(stream) => self.connection(stream, from).await,
            Err(error) => tracing::warn!(%error, %from, "a syslog connection failed in its handshake of TLS"),
        }
    }

    async fn connection(&self, mut stream: impl AsyncRead + Unpin, from: SocketAddr) {
        let mut buffer = Vec::new();
        let idle = self.config.idle_timeout.to_std();
        loop {
            let read = tokio::select! {
                read = tokio::time::timeout(idle, stream.read_buf(&mut buffer)) => read,
                () = self.around.stop.cancelled() => return,
            };
            let is_over = !matches!(read, Ok(Ok(more)) if more > 0);
            // The last message may have no end.
            if is_over && !buffer.is_empty() && !buffer.ends_with(b"\n") {
                buffer.push(b'\n');
            }
            match frames(&mut buffer, self.config.max_message_length) {
                Ok(messages) => self.push(&messages, from).await,
                Err(()) => {
                    self.around.metrics.syslog_errors.with_label_values::<&str>(&[]).inc();
                    tracing::warn!(%from, longest = self.config.max_message_length, "a syslog message is too long; the connection is closed");
                    return;
                }
            }
            if is_over {
                return;
            }
        }
    }

    async fn datagrams(self: Arc<Self>, socket: UdpSocket) {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let received = tokio::select! {
                received = socket.recv_from(&mut datagram) => received,
                () = self.around.stop.cancelled() => return,
            };
            if let Ok((length, from)) = received {
                let text = String::from_utf8_lossy(&datagram[..length]);
                self.push(&[text.trim_end_matches(['\n', '\r', '\0']).to_owned()], from).await;
            }
        }
    }

    async fn push(&self, messages: &[String], from: SocketAddr) {
        let entries: Vec<Entry> = messages.iter().filter_map(|text| self.entry(text, from)).collect();
        self.around.metrics.syslog_entries.with_label_values::<&str>(&[]).inc_by(entries.len() as u64);
        if !entries.is_empty() {
            self.around.feed.push(entries).await;
        }
    }

    fn entry(&self, text: &str, from: SocketAddr) -> Option<Entry> {
        let now_ns = self.around.feed.clock().now().0;
        let message = match self.config.syslog_format.as_str() {
            "rfc3164" => Message::rfc3164(text, now_ns),
            _ => Message::rfc5424(text),
        };
        let Some(message) = message else {
            self.around.metrics.syslog_errors.with_label_values::<&str>(&[]).inc();
            tracing::warn!(%from, "a message is no syslog of the format {}", self.config.syslog_format);
            return None;
        };
        let named = [
            ("severity", message.severity.map(str::to_owned)),
            ("facility", message.facility.map(str::to_owned)),
            ("hostname", message.hostname),
            ("app_name", message.app_name),
            ("proc_id", message.proc_id),
            ("msg_id", message.msg_id),
        ];
        let mut labels = vec![("__syslog_connection_ip_address".to_owned(), from.ip().to_string())];
        labels.extend(named.into_iter().filter_map(|(name, value)| Some((format!("__syslog_message_{name}"), value?))));
        if self.config.label_structured_data {
            labels.extend(message.structured_data.iter().map(|(id, name, value)| {
                let (id, name) = (sanitized_label_name(&id.replace('@', "_")), sanitized_label_name(name));
                (format!("__syslog_message_sd_{id}_{name}"), value.clone())
            }));
        }
        let labels = self.labelling.of(labels)?;
        let ts_ns = message.time_ns.filter(|_| self.config.use_incoming_timestamp).unwrap_or(now_ns);
        let line = if self.config.use_rfc5424_message { text.to_owned() } else { message.text };
        Some(Entry::new(labels, ts_ns, line))
    }
}
