//! SQL over Arrow Flight: the ADBC drivers, `pyarrow`, JDBC.
//!
//! ```text
//! Handshake (Basic) ─▶ a token for this server ─┐
//! Bearer, Basic, x-scope-orgid ─────────────────┴▶ Caller ─▶ GetFlightInfo: planned, a ticket ─▶ DoGet: rows, as they
//!                                                            CreatePrepared ─▶ DoPut: values ─┘     are found
//! ```
//!
//! What runs goes the way of `/api/v1/sql` ([`crate::api::statement`]); a ticket is the statement itself and is worth
//! nothing without a caller who may read. Reading order: `logins`, `statements`, `prepared`, `metadata`, `service`.
//!
//! Invariants: nothing writes; no result is held as a whole; who goes away stops the work.

mod keys;
mod logins;
mod metadata;
mod prepared;
mod service;
mod statements;

use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use self::service::FlightDoor;
use crate::api::Shared;

/// The name of this door, for the record and for metrics.
const DOOR: &str = "flight";
/// Calls of one connection at once; more wait in the connection.
const CALLS_MAX: u32 = 64;
/// Bytes of one message of a client: a statement, or the values of its parameters.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Serves connections until `stop`.
///
/// # Errors
/// When the door cannot go on.
pub async fn serve<C>(
    shared: Shared,
    connections: impl Stream<Item = std::io::Result<C>>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let service = FlightServiceServer::new(FlightDoor::new(shared)).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Server::builder()
        .max_concurrent_streams(CALLS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .add_service(service)
        .serve_with_incoming_shutdown(connections, stop.cancelled_owned())
        .await
}
