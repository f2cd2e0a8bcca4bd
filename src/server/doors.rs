//! Doors besides HTTP: OpenTelemetry over gRPC, syslog, SQL over Postgres' wire and Arrow Flight.
//!
//! Bound before anything starts, stopped before the store. Certificates of all doors are watched here.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::AnyError;
#[cfg(any(feature = "otlp", feature = "flight"))]
use super::listen::{ListenSettings, Listening};
use crate::api::Shared;
use crate::config::Config;
use crate::receive::syslog::{self, SyslogSockets};
use crate::tasks::Tasks;
use crate::tls::{Tls, TlsConfig};

/// How long doors may take to end.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// Connections of OpenTelemetry's gRPC at once.
#[cfg(feature = "otlp")]
const OTLP_CONNECTIONS_MAX: usize = 10_000;

/// Sockets of the doors.
#[derive(Debug)]
pub(super) struct Doors {
    /// TLS of HTTP, whose listener is the server's own.
    pub(super) http_tls: Option<Tls>,
    grpc: Option<Bound>,
    flight: Option<Bound>,
    postgres: Option<Bound>,
    syslog: SyslogSockets,
}

/// A socket, and how its connections are encrypted.
#[derive(Debug)]
struct Bound {
    listener: TcpListener,
    tls: Option<Tls>,
}

/// Doors that are open.
#[derive(Debug)]
pub(super) struct OpenDoors(Tasks);

impl Doors {
    /// # Errors
    /// The first address that cannot be had, or certificate that is no good, and the setting that names it.
    pub(super) async fn bind(config: &Config) -> Result<Self, AnyError> {
        let server = &config.server;
        let http_tls = tls(&server.http_tls_config, "server.http_tls_config", &[b"http/1.1"])?;
        // Where nothing is said of gRPC and of Postgres, what is said of HTTP counts.
        let own = |tls: &TlsConfig| tls.is_on();
        let or_http = |tls: &TlsConfig| if own(tls) { tls.clone() } else { server.http_tls_config.clone() };
        let of_grpc = || tls(&or_http(&server.grpc_tls_config), "server.grpc_tls_config", &[b"h2"]);
        let millrace = &config.millrace;
        if let Some(missing) = missing_door(config) {
            return Err(missing.into());
        }
        let flight = millrace.flight.listen.filter(|_| cfg!(feature = "flight"));
        let postgres = millrace.postgres.listen.filter(|_| cfg!(feature = "postgres"));
        let of_postgres = || {
            let config = or_http(&millrace.postgres.tls_config);
            tls(&config, "millrace.postgres.tls_config", &[b"postgresql"])
        };
        Ok(Doors {
            http_tls,
            grpc: bound(millrace.otlp_grpc.listen, "millrace.otlp_grpc.listen", of_grpc).await?,
            flight: bound(flight, "millrace.flight.listen", of_grpc).await?,
            postgres: bound(postgres, "millrace.postgres.listen", of_postgres).await?,
            syslog: SyslogSockets::bind(&millrace.syslog).await?,
        })
    }

    /// Says on standard output where they are.
    pub(super) fn announce(&self) -> Result<(), AnyError> {
        let mut out = std::io::stdout();
        if let Some(grpc) = &self.grpc {
            writeln!(out, "otlp   grpc {}", grpc.listener.local_addr()?)?;
        }
        if let Some(udp) = &self.syslog.udp {
            writeln!(out, "syslog udp {}", udp.local_addr()?)?;
        }
        if let Some(tcp) = &self.syslog.tcp {
            writeln!(out, "syslog {} {}", if self.syslog.tls.is_some() { "tls" } else { "tcp" }, tcp.local_addr()?)?;
        }
        if let Some(postgres) = &self.postgres {
            writeln!(out, "postgres {}", postgres.listener.local_addr()?)?;
        }
        if let Some(flight) = &self.flight {
            writeln!(out, "flight {}", flight.listener.local_addr()?)?;
        }
        Ok(())
    }

    pub(super) fn open(self, shared: &Shared) -> Result<OpenDoors, AnyError> {
        let state = &shared.state;
        let (tasks, config) = (Tasks::new(), &state.config);
        let of_doors = [&self.grpc, &self.flight, &self.postgres].into_iter().flatten();
        let encrypted = self.http_tls.iter().chain(of_doors.filter_map(|bound| bound.tls.as_ref()));
        let encrypted = encrypted.chain(&self.syslog.tls);
        for tls in encrypted {
            let (tls, metrics) = (tls.clone(), state.metrics.tls.clone());
            tasks.spawn("certificates", move |stop| tls.watch(metrics, stop));
        }
        let tenant = config.millrace.syslog.tenant_id()?;
        if config.millrace.syslog.is_on() {
            syslog::start(&config.millrace.syslog, tenant, self.syslog, state.door.clone(), &tasks);
        }
        #[cfg(feature = "otlp")]
        if let Some(bound) = self.grpc {
            serve_otlp(bound, shared, &tasks)?;
        }
        #[cfg(feature = "flight")]
        if let Some(bound) = self.flight {
            serve_flight(bound, shared, &tasks)?;
        }
        #[cfg(feature = "postgres")]
        if let Some(bound) = self.postgres {
            serve_postgres(bound, shared, &tasks);
        }
        Ok(OpenDoors(tasks))
    }
}

/// A door that is asked for and that this build does not have. Those that are open by default, at any free port, are
/// asked for when they name a port.
fn missing_door(config: &Config) -> Option<&'static str> {
    let millrace = &config.millrace;
    let names_port = |listen: Option<SocketAddr>| listen.is_some_and(|address| address.port() != 0);
    let missing = [
        (
            millrace.otlp_grpc.listen.is_some() && cfg!(not(feature = "otlp")),
            "millrace.otlp_grpc.listen: this build has no gRPC (cargo feature otlp)",
        ),
        (
            names_port(millrace.flight.listen) && cfg!(not(feature = "flight")),
            "millrace.flight.listen: this build has no Arrow Flight (cargo feature flight)",
        ),
        (
            names_port(millrace.postgres.listen) && cfg!(not(feature = "postgres")),
            "millrace.postgres.listen: this build has no Postgres door (cargo feature postgres)",
        ),
    ];
    missing.into_iter().find_map(|(is_missing, text)| is_missing.then_some(text))
}

async fn bound(
    address: Option<SocketAddr>,
    setting: &str,
    tls: impl Fn() -> Result<Option<Tls>, AnyError>,
) -> Result<Option<Bound>, AnyError> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|error| format!("{setting}: {address}: {error}"))?;
    Ok(Some(Bound { listener, tls: tls()? }))
}

fn tls(config: &TlsConfig, setting: &str, protocols: &[&[u8]]) -> Result<Option<Tls>, AnyError> {
    if !config.is_on() {
        return Ok(None);
    }
    Ok(Some(Tls::open(config, protocols).map_err(|error| format!("{setting}: {error}"))?))
}

#[cfg(feature = "postgres")]
fn serve_postgres(bound: Bound, shared: &Shared, tasks: &Tasks) {
    use crate::api::postgres::Door;
    use crate::api::tenant::PeerCertificate;
    use crate::tls::peer_name;

    let tls = bound.tls;
    let door = Door {
        shared: shared.clone(),
        connections_max: shared.state.config.millrace.postgres.connections_max,
        acceptor: std::sync::Arc::new(move || tls.as_ref().map(Tls::acceptor)),
        peer_of: |connection| peer_name(connection).map(|common_name| PeerCertificate { common_name }),
    };
    tasks.spawn("postgres", move |stop| door.serve(bound.listener, stop));
}

#[cfg(feature = "flight")]
fn serve_flight(bound: Bound, shared: &Shared, tasks: &Tasks) -> Result<(), AnyError> {
    let settings = ListenSettings {
        tls: bound.tls,
        connections_max: shared.state.config.millrace.flight.connections_max,
        metrics: shared.state.metrics.clone(),
        door: Some("flight"),
    };
    let (connections, shared) = (Listening::new(bound.listener, settings)?, shared.clone());
    tasks.spawn("flight", move |stop| async move {
        if let Err(error) = crate::api::flight::serve(shared, connections, stop).await {
            tracing::error!(%error, "the Flight door closed");
        }
    });
    Ok(())
}

#[cfg(feature = "otlp")]
fn serve_otlp(bound: Bound, shared: &Shared, tasks: &Tasks) -> Result<(), AnyError> {
    use std::sync::Arc;

    use tonic::codegen::BoxFuture;
    use tonic::transport::Server;

    use crate::api::tenant::{self, Peer};
    use crate::receive::otlp_grpc::LogsService;

    /// Calls of one connection at once; more wait in the connection.
    const CALLS_MAX: u32 = 64;

    let state = shared.state.clone();
    let door = state.door.clone();
    let settings = ListenSettings {
        tls: bound.tls,
        connections_max: OTLP_CONNECTIONS_MAX,
        metrics: state.metrics.clone(),
        door: None,
    };
    let connections = Listening::new(bound.listener, settings)?;
    let identify = move |headers: axum::http::HeaderMap, call: axum::http::Extensions| -> BoxFuture<_, _> {
        let state = state.clone();
        let peer = call.get::<Peer>().cloned().unwrap_or_default();
        Box::pin(async move { tenant::of_push(&state, &headers, &peer).await })
    };
    let service = LogsService::new(door, Arc::new(identify));
    tasks.spawn("otlp grpc", move |stop| async move {
        let served = Server::builder()
            .max_concurrent_streams(CALLS_MAX)
            .http2_keepalive_interval(Some(Duration::from_secs(60)))
            .add_service(service)
            .serve_with_incoming_shutdown(connections, stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the gRPC door closed");
        }
    });
    Ok(())
}

impl OpenDoors {
    /// Takes nothing new; what came is stored.
    pub(super) async fn close(self) {
        let stubborn = self.0.shutdown(STOP_WAIT).await;
        if !stubborn.is_empty() {
            tracing::warn!(tasks = stubborn.join(", "), "doors did not close in time");
        }
    }
}
