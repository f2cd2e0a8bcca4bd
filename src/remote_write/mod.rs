//! Derived samples to Prometheus receivers: `ruler.remote_write`, protocol version 1.
//!
//! ```text
//! derived::Store::sync ─▶ forward ─▶ each client: its own log (kill -9 loses nothing) ─▶ queue (bytes bounded)
//!                                       ▲ replay from POSITION at a start                   │ batches by tenant
//!                                       └── position after each answer ◀── POST ◀── snappy ◀┘ backoff on 5xx, 429
//! ```
//!
//! Invariants: what was forwarded is sent until it is answered with 2xx, refused for good (other 4xx), or pushed out of
//! a full queue, and each of these is counted; a crash between an answer and its position sends a sample again.
//! Errors: [`SampleError`](crate::types::sample::SampleError) when a client's log takes nothing.

mod backoff;
mod batch;
mod client;
pub mod proto;
mod queue;
pub mod settings;

pub use client::{RemoteWrite, RemoteWriteError};
pub use settings::RemoteWriteConfig;
