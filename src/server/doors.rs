//! Doors besides HTTP: OpenTelemetry over gRPC, syslog, the Postgres wire. Bound before anything starts, stopped before the store.

use std::io::Write;
use std::time::Duration;

use tokio::net::TcpListener;

use super::AnyError;
#[cfg(feature = "otlp")]
use crate::api::AppState;
use crate::api::Shared;
#[cfg(feature = "postgres")]
use crate::api::postgres;
use crate::config::Config;
use crate::receive::syslog::{self, SyslogSockets};
use crate::tasks::Tasks;

/// How long doors may take to end.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// Sockets of the doors.
#[derive(Debug)]
pub(super) struct Doors {
    grpc: Option<TcpListener>,
    syslog: SyslogSockets,
    postgres: Option<TcpListener>,
}

/// Doors that are open.
#[derive(Debug)]
pub(super) struct OpenDoors(Tasks);

impl Doors {
    /// # Errors
    /// The first address that cannot be had, and the setting that names it.
    pub(super) async fn bind(config: &Config) -> Result<Self, AnyError> {
        let mut grpc = None;
        if let Some(address) = config.millrace.otlp_grpc.listen {
            if cfg!(not(feature = "otlp")) {
                return Err("millrace.otlp_grpc.listen: this build has no gRPC (cargo feature otlp)".into());
            }
            let bound = TcpListener::bind(address).await;
            grpc = Some(bound.map_err(|error| format!("millrace.otlp_grpc.listen: {address}: {error}"))?);
        }
        let mut postgres = None;
        if let Some(address) = config.millrace.postgres.listen
            && cfg!(feature = "postgres")
        {
            let bound = TcpListener::bind(address).await;
            postgres = Some(bound.map_err(|error| format!("millrace.postgres.listen: {address}: {error}"))?);
        }
        Ok(Doors { grpc, syslog: SyslogSockets::bind(&config.millrace.syslog).await?, postgres })
    }

    /// Says on standard output where they are.
    pub(super) fn announce(&self) -> Result<(), AnyError> {
        let mut out = std::io::stdout();
        if let Some(grpc) = &self.grpc {
            writeln!(out, "otlp   grpc {}", grpc.local_addr()?)?;
        }
        if let Some(udp) = &self.syslog.udp {
            writeln!(out, "syslog udp {}", udp.local_addr()?)?;
        }
        if let Some(tcp) = &self.syslog.tcp {
            writeln!(out, "syslog tcp {}", tcp.local_addr()?)?;
        }
        if let Some(postgres) = &self.postgres {
            writeln!(out, "postgres {}", postgres.local_addr()?)?;
        }
        Ok(())
    }

    pub(super) fn open(self, shared: &Shared) -> Result<OpenDoors, AnyError> {
        let state = &shared.state;
        let (tasks, config) = (Tasks::new(), &state.config);
        let tenant = config.millrace.syslog.tenant_id()?;
        if config.millrace.syslog.is_on() {
            syslog::start(&config.millrace.syslog, tenant, self.syslog, state.door.clone(), &tasks);
        }
        #[cfg(feature = "otlp")]
        if let Some(listener) = self.grpc {
            serve_grpc(listener, state.clone(), &tasks);
        }
        #[cfg(feature = "postgres")]
        if let Some(listener) = self.postgres {
            let door = postgres::Door {
                shared: shared.clone(),
                connections_max: config.millrace.postgres.connections_max,
                acceptor: std::sync::Arc::new(|| None),
                peer_of: |_| None,
            };
            tasks.spawn("postgres", move |stop| door.serve(listener, stop));
        }
        Ok(OpenDoors(tasks))
    }
}

#[cfg(feature = "otlp")]
fn serve_grpc(listener: TcpListener, state: AppState, tasks: &Tasks) {
    use std::sync::Arc;

    use tonic::codegen::BoxFuture;
    use tonic::transport::Server;
    use tonic::transport::server::TcpIncoming;

    use crate::api::tenant;
    use crate::receive::otlp_grpc::LogsService;

    /// Calls of one connection at once; more wait in the connection.
    const CALLS_MAX: u32 = 64;

    let door = state.door.clone();
    let identify = move |headers: axum::http::HeaderMap| -> BoxFuture<_, _> {
        let state = state.clone();
        Box::pin(async move { tenant::of_push(&state, &headers).await })
    };
    let service = LogsService::new(door, Arc::new(identify));
    tasks.spawn("otlp grpc", move |stop| async move {
        let served = Server::builder()
            .max_concurrent_streams(CALLS_MAX)
            .http2_keepalive_interval(Some(Duration::from_secs(60)))
            .add_service(service)
            .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the gRPC door closed");
        }
    });
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
