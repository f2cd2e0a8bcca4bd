//! The syslog door: RFC 5424 and RFC 3164 over UDP, TCP and TLS (RFC 5425).
//!
//! ```text
//! UDP ─▶ datagram ─(try; full → dropped, counted)─┐
//! TCP ─▶ Framer ─▶ message ─(waits)───────────────┴▶ queue (1024 messages) ─▶ batch (linger) ─▶ rows ─▶ Door
//! ```
//!
//! Nobody is answered, so nothing is refused: when a limit of rate, the room or the store says "later", the batch waits,
//! the queue fills, TCP senders are slowed by their own connection, and datagrams are dropped and counted.
//! Reading order: [`settings`], `message`, `framing`, `rows`, `listen`.

mod framing;
mod listen;
mod message;
mod rows;
pub mod settings;

use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

use self::listen::{Collector, TcpDoor, receive_datagrams};
use self::rows::Rows;
use self::settings::SyslogConfig;
use crate::receive::door::Door;
use crate::tasks::Tasks;
use crate::tls::Tls;
use crate::types::ids::TenantId;

/// Messages that wait to be stored; with the largest allowed size, 64 MiB by default.
const QUEUE_MESSAGES_MAX: usize = 1024;

/// Where messages come in.
#[derive(Debug, Default)]
pub struct SyslogSockets {
    pub udp: Option<UdpSocket>,
    pub tcp: Option<TcpListener>,
    /// Of TCP.
    pub tls: Option<Tls>,
}

impl SyslogSockets {
    /// # Errors
    /// The address that cannot be had, or the certificate that is no good.
    pub async fn bind(config: &SyslogConfig) -> Result<Self, String> {
        let mut sockets = SyslogSockets::default();
        if let Some(address) = config.udp {
            let bound = UdpSocket::bind(address).await;
            sockets.udp = Some(bound.map_err(|error| format!("millrace.syslog.udp: {address}: {error}"))?);
        }
        if config.tls_config.is_on() {
            let tls = Tls::open(&config.tls_config, &[]);
            sockets.tls = Some(tls.map_err(|error| format!("millrace.syslog.tls_config: {error}"))?);
        }
        if let Some(address) = config.tcp {
            let bound = TcpListener::bind(address).await;
            sockets.tcp = Some(bound.map_err(|error| format!("millrace.syslog.tcp: {address}: {error}"))?);
        }
        Ok(sockets)
    }
}

/// Takes messages until `tasks` are told to stop; those already received are stored first.
pub fn start(config: &SyslogConfig, tenant: TenantId, sockets: SyslogSockets, door: Door, tasks: &Tasks) {
    let (send, waiting) = mpsc::channel(QUEUE_MESSAGES_MAX);
    if let Some(socket) = sockets.udp {
        let (send, door, bytes_max) = (send.clone(), door.clone(), config.message_bytes_max.0);
        tasks.spawn("syslog udp", move |stop| receive_datagrams(socket, send, door, bytes_max as usize, stop));
    }
    if let Some(listener) = sockets.tcp {
        let accepting = TcpDoor::new(config, sockets.tls, send.clone(), door.clone(), tasks.clone());
        tasks.spawn("syslog tcp", move |stop| accepting.run(listener, stop));
    }
    drop(send);
    let collector = Collector { tenant, rows: Arc::new(Rows::new(config)), linger: config.linger.to_std(), door };
    tasks.spawn("syslog", move |_| collector.run(waiting));
}
