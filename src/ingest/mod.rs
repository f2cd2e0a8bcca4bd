//! The write path after decoding: a batch becomes durable, queryable and in time a file.
//!
//! ```text
//! validate ─▶ LogBatch ─▶ shard: WAL (group commit) ─▶ head ─▶ ack      flush: head ─▶ Parquet ─▶ Delta commit
//! ```

pub mod active_streams;
pub mod arrivals;
pub mod blocked_queries;
mod checks;
pub mod flush;
pub mod flush_plan;
pub mod gate;
pub mod level;
pub mod limits;
pub mod otlp_config;
pub mod overrides;
pub mod rates;
mod refusals;
pub mod retention;
pub mod service_name;
pub mod shard;
pub mod stages;
mod staging;
pub mod validate;
