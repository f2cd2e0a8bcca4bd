//! SQL over the Postgres wire: `psql`, Grafana's PostgreSQL data source, psycopg, SQLAlchemy, DBeaver.
//!
//! ```text
//! accept ─▶ Wire (TLS or not) ─▶ Startup: who, which tenants ─▶ Session: their views + pg_catalog
//!   └ too many: 53300              └ 28P01, 3D000, 42501           ▲ Queries: Query │ Parse, Bind, Execute
//!                                                                  └ CancelRequest, a client that goes, a stop
//! ```
//!
//! The protocol is pgwire's, the catalog datafusion-postgres'; what runs goes the way of `/api/v1/sql`
//! ([`crate::api::statement`]). Reading order: `wire`, `startup`, `session`, `queries`, `rows`.
//!
//! Invariants: a connection sees what its login may see; nothing writes (25006); no result is held as a whole.

mod cancel;
mod control;
mod copy;
mod cursors;
mod empty;
mod errors;
mod functions;
mod params;
mod queries;
mod read_only;
mod rows;
mod session;
mod startup;
mod wire;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, DefaultClient, NoopHandler, PgWireConnectionState, RandomPidSecretKeyGenerator,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use datafusion_postgres::pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::cancel::Cancels;
use self::queries::Queries;
use self::session::{Prepared, Session};
use self::startup::Startup;
use self::wire::{Watch, Wire};
use crate::api::Shared;
use crate::api::tenant::PeerCertificate;

/// The name of this door, for the record and for metrics.
const DOOR: &str = "postgres";
/// How long a login may take.
const LOGIN_WAIT: Duration = Duration::from_secs(60);
/// After this without a message, what was left half read is closed.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// How long a statement may go on once the server stops.
const STOP_WAIT: Duration = Duration::from_secs(5);

type Socket = Framed<Wire, PgWireMessageServerCodec<Prepared>>;

/// Gives the certificate that is to be shown now; none: connections are not encrypted.
pub type Acceptor = Arc<dyn Fn() -> Option<TlsAcceptor> + Send + Sync>;

/// Says who the client of an encrypted connection is, if it showed a certificate that was verified.
pub type PeerOf = fn(&tokio_rustls::rustls::ServerConnection) -> Option<PeerCertificate>;

/// The door, before it is open.
pub struct Door {
    pub shared: Shared,
    pub connections_max: usize,
    pub acceptor: Acceptor,
    pub peer_of: PeerOf,
}

/// What all connections share.
struct Common {
    door: Door,
    cancels: Cancels,
    numbers: Arc<RandomPidSecretKeyGenerator>,
}

impl Door {
    /// Takes connections until `stop`, then waits for those that are open.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let metrics = self.shared.state.metrics.clone();
        let places = Arc::new(Semaphore::new(self.connections_max.max(1)));
        let common = Arc::new(Common { door: self, cancels: Cancels::default(), numbers: Arc::default() });
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the Postgres door cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                metrics.sql_doors.refused.with_label_values(&[DOOR]).inc();
                turn_away(&stream);
                continue;
            };
            let (common, stop, metrics) = (common.clone(), stop.clone(), metrics.clone());
            connections.spawn(async move {
                let open = metrics.sql_doors.connections.with_label_values(&[DOOR]);
                open.inc();
                let talk = AssertUnwindSafe(common.talk(stream, stop)).catch_unwind();
                match talk.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "a Postgres connection broke off"),
                    Err(panic) => {
                        metrics.panics.inc();
                        let panic = crate::tasks::panic_text(&*panic);
                        tracing::error!(panic, "a Postgres connection panicked");
                    }
                }
                open.dec();
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
    }
}

impl Common {
    async fn talk(&self, stream: TcpStream, stop: CancellationToken) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let address = stream.peer_addr()?;
        let watch = Watch::new(&stream)?;
        let deadline = tokio::time::Instant::now() + LOGIN_WAIT;
        let negotiating = tokio::time::timeout_at(deadline, Wire::negotiate(stream, (self.door.acceptor)()));
        let wire = negotiating.await.map_err(std::io::Error::other)??;
        let encrypted = wire.tls().is_some();
        let peer = wire.tls().and_then(|stream| (self.door.peer_of)(stream.get_ref().1));
        let session = Arc::new(OnceLock::new());
        let startup = Startup {
            shared: self.door.shared.clone(),
            session: session.clone(),
            cancels: self.cancels.clone(),
            numbers: self.numbers.clone(),
            peer,
            proving: Mutex::default(),
            cancellable: Mutex::default(),
        };
        let client = DefaultClient::new(address, encrypted);
        let mut socket: Socket = Framed::new(wire, PgWireMessageServerCodec::new(client));
        socket.set_state(PgWireConnectionState::AwaitingStartup);
        let connection = Connection {
            startup: Arc::new(startup),
            queries: Arc::new(Queries::new(session.clone())),
            cancels: Arc::new(self.cancels.clone()),
            session,
            watch,
        };
        connection.talk(&mut socket, deadline, &stop).await
    }
}

/// One connection.
struct Connection {
    startup: Arc<Startup>,
    queries: Arc<Queries>,
    cancels: Arc<Cancels>,
    session: Arc<OnceLock<Arc<Session>>>,
    watch: Watch,
}

/// What comes next.
enum Next {
    Message(PgWireFrontendMessage),
    Idle,
    End,
    Fatal(PgWireError),
}

impl Connection {
    async fn talk(
        &self,
        socket: &mut Socket,
        deadline: tokio::time::Instant,
        stop: &CancellationToken,
    ) -> std::io::Result<()> {
        loop {
            let message = match next(socket, deadline, stop).await {
                Next::Message(message) => message,
                Next::Idle => {
                    socket.portal_store().clear_portals();
                    if let Some(session) = self.session.get() {
                        session.cursors.clear();
                    }
                    continue;
                }
                Next::End => return Ok(()),
                Next::Fatal(error) => return process_error(socket, error, false).await,
            };
            let (in_login, waits_for_sync) = (is_in_login(socket), message.is_extended_query());
            let is_cancel = matches!(message, PgWireFrontendMessage::CancelRequest(_));
            let done = self.answer(socket, message, stop).await;
            if is_cancel {
                return Ok(());
            }
            if let Err(error) = done {
                if let Some(session) = self.session.get() {
                    session.leave_places();
                }
                let ends = in_login || errors::is_fatal(&error);
                let info = ErrorInfo::from(error);
                tracing::debug!(code = info.code, error = info.message, "a Postgres client is told");
                process_error(socket, PgWireError::UserError(Box::new(info)), waits_for_sync).await?;
                if ends {
                    return Ok(());
                }
            }
        }
    }

    /// Answers a message; stops if the client goes away meanwhile.
    async fn answer(
        &self,
        socket: &mut Socket,
        message: PgWireFrontendMessage,
        stop: &CancellationToken,
    ) -> Result<(), PgWireError> {
        let answering = process_message(
            message,
            socket,
            self.startup.clone(),
            self.queries.clone(),
            self.queries.clone(),
            Arc::new(NoopHandler),
            self.cancels.clone(),
        );
        tokio::pin!(answering);
        let gone = async {
            tokio::select! {
                () = self.watch.gone() => {}
                () = async {
                    stop.cancelled().await;
                    tokio::time::sleep(STOP_WAIT).await;
                } => {}
            }
        };
        tokio::select! {
            done = &mut answering => return done,
            () = gone => {}
        }
        if let Some(session) = self.session.get() {
            session.cancel();
        }
        answering.await
    }
}

async fn next(socket: &mut Socket, deadline: tokio::time::Instant, stop: &CancellationToken) -> Next {
    let in_login = is_in_login(socket);
    let late = async {
        match in_login {
            true => tokio::time::sleep_until(deadline).await,
            false => tokio::time::sleep(IDLE_MAX).await,
        }
    };
    tokio::select! {
        message = socket.next() => match message {
            None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => Next::End,
            Some(Ok(message)) => Next::Message(message),
            Some(Err(error)) => Next::Fatal(errors::fatal("08P01", error.to_string())),
        },
        () = late => if in_login { Next::End } else { Next::Idle },
        () = stop.cancelled() => Next::Fatal(errors::fatal("57P01", "terminating connection: the server stops")),
    }
}

fn is_in_login(socket: &Socket) -> bool {
    matches!(
        socket.state(),
        PgWireConnectionState::AwaitingSslRequest
            | PgWireConnectionState::AwaitingStartup
            | PgWireConnectionState::AuthenticationInProgress
    )
}

/// Tells a client that there are too many, before it said anything.
fn turn_away(stream: &TcpStream) {
    let info = ErrorInfo::new("FATAL".to_owned(), "53300".to_owned(), "sorry, too many clients already".to_owned());
    let mut bytes = bytes::BytesMut::new();
    if PgWireBackendMessage::ErrorResponse(info.into()).encode(&mut bytes).is_ok() {
        // It is refused in any case.
        let _ = stream.try_write(&bytes);
    }
}
