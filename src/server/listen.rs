//! Connections of one listener, encrypted or not, ready to be served.
//!
//! ```text
//! accept ─ too many open → closed ─▶ handshake, beside the others ─ late, bad → counted ─▶ Connection ─▶ HTTP, gRPC
//! ```
//!
//! Invariant: a client that is slow with its handshake keeps nobody else waiting.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use crate::api::tenant::{Peer, PeerCertificate};
use crate::telemetry::metrics::Metrics;
use crate::tls::{Tls, peer_name};

/// Connections that are ready and wait to be served.
const READY_MAX: usize = 64;
/// After a failure to accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener; dropped means closed.
pub(super) struct Listening {
    address: SocketAddr,
    ready: mpsc::Receiver<Connection>,
    _accepting: AbortOnDropHandle<()>,
}

/// What a listener is made with.
pub(super) struct ListenSettings {
    pub(super) tls: Option<Tls>,
    /// Connections at once; more are closed.
    pub(super) connections_max: usize,
    pub(super) metrics: Arc<Metrics>,
    /// Its name among the doors of SQL, for metrics; none for others.
    pub(super) door: Option<&'static str>,
}

/// A connection that may be read and written.
pub(super) struct Connection {
    stream: Socket,
    peer: Peer,
    _open: Open,
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Counts a connection while it is open.
struct Open {
    metrics: Arc<Metrics>,
    door: Option<&'static str>,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn count(&self, change: i64) {
        if let Some(door) = self.door {
            self.metrics.sql_doors.connections.with_label_values(&[door]).add(change);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count(-1);
    }
}

impl Listening {
    /// # Errors
    /// When the listener has no address.
    pub(super) fn new(listener: TcpListener, settings: ListenSettings) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (send, ready) = mpsc::channel(READY_MAX);
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, settings, send)));
        Ok(Listening { address, ready, _accepting: accepting })
    }
}

async fn accept(listener: TcpListener, settings: ListenSettings, ready: mpsc::Sender<Connection>) {
    let places = Arc::new(Semaphore::new(settings.connections_max.max(1)));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            if let Some(door) = settings.door {
                settings.metrics.sql_doors.refused.with_label_values(&[door]).inc();
            }
            continue;
        };
        let open = Open { metrics: settings.metrics.clone(), door: settings.door, _place: place };
        open.count(1);
        let (tls, ready) = (settings.tls.clone(), ready.clone());
        tokio::spawn(async move {
            let metrics = open.metrics.clone();
            match shake_hands(stream, tls).await {
                Ok((stream, certificate)) => {
                    let peer = Peer { address: Some(address), certificate };
                    // Nobody serves any more: the connection closes.
                    let _ = ready.send(Connection { stream, peer, _open: open }).await;
                }
                Err(error) => {
                    metrics.tls.failed_handshakes.inc();
                    tracing::debug!(%error, %address, "a handshake failed");
                }
            }
        });
    }
}

async fn shake_hands(stream: TcpStream, tls: Option<Tls>) -> io::Result<(Socket, Option<PeerCertificate>)> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok((Socket::Plain(stream), None)) };
    let stream = tls.accept(stream).await?;
    let certificate = peer_name(stream.get_ref().1).map(|common_name| PeerCertificate { common_name });
    Ok((Socket::Tls(Box::new(stream)), certificate))
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Socket::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Socket::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Socket::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Socket::Plain(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(context),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// For gRPC.
impl Stream for Listening {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|next| next.map(Ok))
    }
}

#[cfg(any(feature = "otlp", feature = "flight"))]
impl tonic::transport::server::Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, Listening>> for Peer {
    fn connect_info(stream: axum::serve::IncomingStream<'_, Listening>) -> Self {
        stream.remote_addr().clone()
    }
}

/// For HTTP.
impl axum::serve::Listener for Listening {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        match self.ready.recv().await {
            Some(connection) => {
                let peer = connection.peer.clone();
                (connection, peer)
            }
            // The task that accepts never ends by itself.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: Some(self.address), certificate: None })
    }
}
