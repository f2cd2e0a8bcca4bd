//! The agent: reads what machines write and ships it, from Promtail's configuration and in Promtail's place.
//!
//! ```text
//! files (globs, rotation) ─┐
//! docker, journal, syslog ─┼─▶ relabel ─▶ Feed: pipeline stages ─▶ each client: batches ─▶ outbox ─▶ POST ─▶ ack
//! push, kafka, stdin ──────┘                                                  (memory, disk)          │
//!                                             positions.yaml ◀── receipts of the lines end ◀──────────┘
//! ```
//!
//! A line's position is committed when every client has it, or has it on disk: a kill at any moment loses nothing that
//! the source still has. What was sent and not acknowledged is sent again; the server drops exact repeats.
//!
//! Invariants: nothing is unbounded: intakes, outboxes, the buffer on disk, lines and packed lines have named limits.
//! Errors: [`AgentError`] at the start; while it runs, what fails is said, counted and tried again.

pub mod config;
pub mod explain;
pub mod feed;
pub mod files;
pub mod flags;
pub mod metrics;
pub mod positions;
pub mod relabel;
mod run;
mod server;
pub mod ship;
pub mod show;
mod sources;
pub mod targets;

pub use run::{AgentError, Mode, Reread, check_syntax, run};
