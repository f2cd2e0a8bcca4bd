//! The Kafka door: records become rows, each exactly once, whatever dies.
//!
//! ```text
//! brokers ─▶ consuming thread ─▶ Mapping, decoders ─▶ head (with positions) ─▶ flush ─▶ one Delta commit: files + txn
//!                 │ records that become nothing ─▶ dead-letter topic                     per partition
//!                 └─ paused while the head is full
//! ```
//!
//! The position of a partition is a `txn` of the table, committed with the rows it covers (`types/txn.rs`); the group's
//! offsets in Kafka only mirror it. Rows are queryable from the head before they are committed; what a crash takes
//! from the head is read again. Rows of Kafka are not compared with others to drop repeats: two equal records are two.
//!
//! Reading order: [`settings`], `mapping`, `batch`, `positions`, `consumer`, `source`.
//! Errors: `KafkaError` when it starts; afterwards it goes on, counts and logs.
//! Without the feature `kafka` only [`settings`] are here, so that a configuration with topics is refused by name.

#[cfg(feature = "kafka")]
pub mod batch;
#[cfg(feature = "kafka")]
pub mod check;
#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod consumer;
#[cfg(feature = "kafka")]
mod dead_letter;
#[cfg(feature = "kafka")]
mod fields;
#[cfg(feature = "kafka")]
pub mod mapping;
#[cfg(feature = "kafka")]
pub mod positions;
pub mod settings;
#[cfg(feature = "kafka")]
mod source;
#[cfg(feature = "kafka")]
mod times;

#[cfg(feature = "kafka")]
pub use source::{KafkaError, KafkaSource, Target, start};
