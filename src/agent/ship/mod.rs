//! Sending: each client on its own, so that none holds up another.
//!
//! ```text
//! entries ─▶ intake (bounded) ─▶ batcher: a batch a tenant, by size and age ─▶ outbox ─▶ sender ─▶ POST
//!                                                                          │ full          └─ 204: receipts end
//!                                                                          └▶ spool on disk (bounded): receipts end
//! ```
//!
//! Invariants: batches of a client are sent in order; a receipt ends when the server has the lines, when they are on
//! disk, or when the configuration says that they are given up.

mod batch;
mod batcher;
mod http;
mod outbox;
mod sender;
mod spool;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::batcher::Batcher;
use self::http::Endpoint;
use self::outbox::Outbox;
use self::sender::Sender;
use self::spool::Spool;
use super::config::{BufferConfig, ClientConfig, LimitsConfig, WhenFull};
use super::feed::Intake;
use super::metrics::AgentMetrics;
use crate::tasks::Tasks;
use crate::types::time::Clock;

pub use http::ShipError;

/// Batches of entries that wait for a client's batcher; at some hundred lines each, a few megabytes.
const INTAKE_BATCHES_MAX: usize = 16;

/// A running client.
#[derive(Debug)]
pub struct Client {
    pub name: String,
    outbox: Arc<Outbox>,
}

/// What clients are made with.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub limits: LimitsConfig,
    pub buffer: BufferConfig,
    /// How many clients there are in all.
    pub clients: usize,
    pub metrics: AgentMetrics,
    pub clock: Clock,
    /// Rung when the sources have ended: what is there is sent or kept, then the tasks end.
    pub stop: CancellationToken,
}

impl Client {
    /// Starts a client's tasks.
    ///
    /// # Errors
    /// Files of the configuration that cannot be read, a buffer that cannot be opened.
    pub fn start(
        config: &ClientConfig,
        directory: &Path,
        around: &Surroundings,
        tasks: &Tasks,
    ) -> Result<(Client, Intake), ShipError> {
        let endpoint = Endpoint::new(config)?;
        let name = endpoint.name().to_owned();
        let drops_oldest = match around.buffer.when_full {
            WhenFull::Auto => around.clients > 1,
            WhenFull::Wait => false,
            WhenFull::DropOldest => true,
        };
        let spool = match around.buffer.max_size.0 {
            0 => None,
            most => Some(Spool::open(&directory.join(&name), most)?),
        };
        let outbox = Arc::new(Outbox::new(&name, endpoint.host(), spool, drops_oldest, around.metrics.clone()));
        let (intake, received) = mpsc::channel(INTAKE_BATCHES_MAX);
        let mut batcher = Batcher::new(config, endpoint.host(), around, outbox.clone());
        tasks.spawn("batcher", |_| async move { batcher.run(received).await });
        let sender = Sender::new(config, endpoint, around.metrics.clone(), outbox.clone(), around.clock.clone());
        let stop = around.stop.clone();
        tasks.spawn("sender", |_| async move { sender.run(stop).await });
        Ok((Client { name, outbox }, intake))
    }

    /// Whether its sender has ended: everything was sent, or kept.
    pub fn has_ended(&self) -> bool {
        self.outbox.has_ended()
    }
}
