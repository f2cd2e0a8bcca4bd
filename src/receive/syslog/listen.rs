//! Sockets to queue, queue to [`Door`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::framing::{Frame, Framer};
use super::rows::{Received, Rows};
use super::settings::SyslogConfig;
use crate::receive::door::Door;
use crate::tasks::Tasks;
use crate::tls::Tls;
use crate::types::ids::TenantId;

/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Messages stored together, at most.
const BATCH_MESSAGES_MAX: usize = 4_096;
/// Their bytes, at most, but for one message.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Bytes read from a connection at once.
const READ_BYTES: usize = 16 << 10;

/// Takes datagrams, one message each.
pub(super) async fn receive_datagrams(
    socket: UdpSocket,
    send: mpsc::Sender<Received>,
    door: Door,
    bytes_max: usize,
    stop: CancellationToken,
) {
    let metrics = door.metrics.clone();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (bytes, from) = match received {
            Ok((bytes, from)) => (bytes, from.ip()),
            Err(error) => {
                tracing::warn!(%error, "syslog: a datagram could not be received");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        metrics.syslog.messages.with_label_values(&["udp"]).inc();
        if bytes > bytes_max {
            metrics.syslog.cut.inc();
        }
        let bytes = Bytes::copy_from_slice(&buffer[..bytes.min(bytes_max)]);
        if send.try_send(Received { bytes, from, at: door.clock.now() }).is_err() {
            metrics.syslog.dropped.inc();
        }
    }
}

/// Takes connections.
#[derive(Clone)]
pub(super) struct TcpDoor {
    tls: Option<Tls>,
    send: mpsc::Sender<Received>,
    door: Door,
    tasks: Tasks,
    bytes_max: usize,
    idle_timeout: Duration,
    connections: Arc<Semaphore>,
}

impl TcpDoor {
    pub(super) fn new(
        config: &SyslogConfig,
        tls: Option<Tls>,
        send: mpsc::Sender<Received>,
        door: Door,
        tasks: Tasks,
    ) -> Self {
        TcpDoor {
            tls,
            send,
            door,
            tasks,
            bytes_max: usize::try_from(config.message_bytes_max.0).unwrap_or(usize::MAX),
            idle_timeout: config.idle_timeout.to_std(),
            connections: Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS))),
        }
    }

    pub(super) async fn run(self, listener: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok((stream, from)) => (stream, from.ip()),
                Err(error) => {
                    tracing::warn!(%error, "syslog: a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = self.connections.clone().try_acquire_owned() else {
                tracing::warn!(%from, "syslog: too many connections (millrace.syslog.connections_max); one is closed");
                self.door.metrics.syslog.connections_refused.inc();
                continue;
            };
            let of_this = self.clone();
            self.tasks.spawn("syslog connection", move |stop| async move {
                let metrics = of_this.door.metrics.clone();
                metrics.syslog.connections.inc();
                of_this.take(stream, from, stop).await;
                metrics.syslog.connections.dec();
                drop(place);
            });
        }
    }

    /// Reads what the connection has, decrypted where it is encrypted.
    async fn take(&self, stream: TcpStream, from: IpAddr, stop: CancellationToken) {
        let Some(tls) = &self.tls else { return self.read(stream, from, stop).await };
        match tls.accept(stream).await {
            Ok(stream) => self.read(stream, from, stop).await,
            Err(error) => {
                self.door.metrics.tls.failed_handshakes.inc();
                tracing::warn!(%error, %from, "syslog: a handshake of TLS failed");
            }
        }
    }

    /// Reads messages until the connection ends, is silent for long, or makes no sense.
    async fn read(&self, mut stream: impl AsyncRead + Unpin, from: IpAddr, stop: CancellationToken) {
        let mut framer = Framer::new(self.bytes_max);
        loop {
            framer.buffer.reserve(READ_BYTES);
            let read = tokio::select! {
                () = stop.cancelled() => break,
                read = tokio::time::timeout(self.idle_timeout, stream.read_buf(&mut framer.buffer)) => read,
            };
            match read {
                Ok(Ok(bytes)) if bytes > 0 => {}
                _ => break,
            }
            loop {
                match framer.next() {
                    Ok(Some(frame)) => {
                        if !self.hand_on(frame, from).await {
                            return;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, %from, "syslog: a connection is closed");
                        self.door.metrics.syslog.broken.inc();
                        return;
                    }
                }
            }
        }
        if let Some(frame) = framer.finish() {
            self.hand_on(frame, from).await;
        }
    }

    /// False when nobody takes messages any more.
    async fn hand_on(&self, frame: Frame, from: IpAddr) -> bool {
        let metrics = &self.door.metrics.syslog;
        metrics.messages.with_label_values(&["tcp"]).inc();
        if frame.cut {
            metrics.cut.inc();
        }
        self.send.send(Received { bytes: frame.bytes, from, at: self.door.clock.now() }).await.is_ok()
    }
}

/// Stores what waits in the queue.
pub(super) struct Collector {
    pub(super) tenant: TenantId,
    pub(super) rows: Arc<Rows>,
    pub(super) linger: Duration,
    pub(super) door: Door,
}

impl Collector {
    /// Runs until all senders are gone and the queue is empty.
    pub(super) async fn run(self, mut waiting: mpsc::Receiver<Received>) {
        while let Some(first) = waiting.recv().await {
            self.door.metrics.syslog.queued.set(waiting.len() as i64);
            let mut bytes = first.bytes.len();
            let mut batch = vec![first];
            let filling = async {
                while batch.len() < BATCH_MESSAGES_MAX && bytes < BATCH_BYTES_MAX {
                    match waiting.recv().await {
                        Some(message) => {
                            bytes += message.bytes.len();
                            batch.push(message);
                        }
                        None => break,
                    }
                }
            };
            let _ = tokio::time::timeout(self.linger, filling).await;
            let rows = self.rows.clone();
            let bytes = batch.iter().map(|message| message.bytes.len()).sum();
            let stored = self.door.take_waiting(&self.tenant, bytes, move |gate, _| rows.decode(&batch, gate)).await;
            if let Err(refused) = stored {
                // What limits refuse is counted by reason; this says it in words.
                tracing::debug!(error = %refused, tenant = %self.tenant, "syslog: messages were refused");
            }
        }
    }
}
