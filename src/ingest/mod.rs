//! The write path after decoding: a batch becomes durable, queryable and in time a file.
//!
//! ```text
//! validate ─▶ LogBatch ─▶ shard: WAL (group commit) ─▶ head ─▶ ack      flush: head ─▶ Parquet ─▶ Delta commit
//! ```

pub mod flush;
pub mod flush_plan;
pub mod level;
pub mod limits;
pub mod service_name;
pub mod shard;
pub mod validate;
